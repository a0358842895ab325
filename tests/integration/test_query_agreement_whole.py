# SPDX-License-Identifier: Apache-2.0
"""Matching in memory and in PostgreSQL must agree on whole queries at random: identity, types, scopes, geo, links.

What ``q`` says of attributes is in ``test_query_agreement``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.entities import ExpandedEntity
from broker.expiry import is_expired, without_expired
from broker.query import EntityQuery, EntitySelector, compile_query, parse_geo
from broker.query.tree import (
    And,
    AttributePath,
    LinkedPath,
    Operator,
    Or,
    ScopePattern,
    Term,
    TypeName,
    Value,
    ValueKind,
)
from support.cluster import Cluster
from support.queries import (
    START,
    Connection,
    documents,
    expand,
    geo,
    instance,
    query_database,
    random_checks,
    selected,
    store,
    trees,
)


@pytest.fixture(scope="module")
def connection(cluster: Cluster) -> Iterator[Connection]:
    """A database of the module's own."""
    with query_database(cluster) as connection:
        yield connection


def agree(
    connection: Connection, entities: list[ExpandedEntity], query: EntityQuery, now: datetime | None = None
) -> None:
    """Both find the same, by id."""
    there = [
        entity if now is None else without_expired(entity, now)
        for entity in entities
        if now is None or not is_expired(entity, now)
    ]
    by_id = {entity.id: entity for entity in there}
    matcher = compile_query(query, by_id.get)
    assert selected(connection, query, now=now) == sorted(entity.id for entity in there if matcher(entity)), query


def formulas(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Conjunctions and disjunctions of ``leaves``, within each other."""
    return st.recursive(
        leaves,
        lambda inner: st.builds(
            lambda kind, operands: kind(tuple(operands)),
            st.sampled_from([And, Or]),
            st.lists(inner, min_size=2, max_size=3),
        ),
        max_leaves=4,
    )


fewer_checks = settings(random_checks, max_examples=100)  # their statements are long, and take their time to plan
TYPES = ["urn:t:A", "urn:t:B", "urn:t:C"]
IDS = ["urn:x:1", "urn:x:10", "urn:x:2", "urn:y:1", "urn:X:1", "urn:x:水", "urn:x:1.5"]
PATTERNS = [
    "^urn:x:1",
    "^urn:x:1$",
    "^urn:x:",
    "1$",
    "^urn:[xX]:",
    "^urn:x:\\.",
    "x|y",
    "^urn:x:1|y",
    "(^urn:y)",
    "^urn:x:1?",
]
LEVELS = ["A", "B", "A.1"]

scope_texts = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=3).flatmap(
    lambda levels: st.sampled_from(["/" + "/".join(levels), "/".join(levels)])
)
scope_patterns = st.builds(
    ScopePattern,
    st.lists(st.sampled_from([*LEVELS, "+"]), min_size=1, max_size=3).map(tuple),
    st.booleans(),
) | st.just(ScopePattern((), subtree=True))
type_trees = formulas(st.builds(TypeName, st.sampled_from(TYPES)))
scope_trees = formulas(scope_patterns)
types_of_entities = st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True).map(tuple)
selectors = st.builds(
    EntitySelector,
    st.lists(st.sampled_from(IDS), max_size=2).map(tuple),
    st.none() | st.sampled_from(PATTERNS),
    st.none() | type_trees,
)
points = st.builds(lambda x, y: geo("Point", [138 + x / 4, 34 + y / 4]), st.integers(0, 4), st.integers(0, 4))
places = st.builds(
    lambda relation, x, y: parse_geo(relation, "Point", [138 + x / 4, 34 + y / 4], expand=expand),
    st.sampled_from(["near;maxDistance==30000", "near;minDistance==30000", "equals", "disjoint"]),
    st.integers(0, 4),
    st.integers(0, 4),
)


@st.composite
def entity_lists(draw: st.DrawFn, attributes: st.SearchStrategy[dict[str, Any]] | None = None) -> list[ExpandedEntity]:
    """Some entities with types, scopes, attributes and perhaps a place."""
    attributes = documents(0) if attributes is None else attributes
    return [
        ExpandedEntity(
            entity_id,
            draw(types_of_entities),
            draw(attributes) | ({expand("location"): {"@none": draw(points)}} if draw(st.booleans()) else {}),
            tuple(draw(st.lists(scope_texts, max_size=2))),
            START,
            START,
        )
        for entity_id in draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=6, unique=True))
    ]


@random_checks
@given(found=entity_lists(), asked=st.lists(type_trees, min_size=1, max_size=6))
def test_random_types_agree(connection: Connection, found: list[ExpandedEntity], asked: list[Any]) -> None:
    store(connection, found)
    for tree in asked:
        agree(connection, found, EntityQuery(types=tree))


@random_checks
@given(found=entity_lists(), asked=st.lists(scope_trees, min_size=1, max_size=6))
def test_random_scopes_agree(connection: Connection, found: list[ExpandedEntity], asked: list[Any]) -> None:
    store(connection, found)
    for tree in asked:
        agree(connection, found, EntityQuery(scope=tree))


@random_checks
@given(
    found=entity_lists(),
    query=st.builds(
        EntityQuery,
        ids=st.just(()) | st.lists(st.sampled_from(IDS), min_size=1, max_size=3).map(tuple),
        id_pattern=st.none() | st.sampled_from(PATTERNS),
        types=st.none() | type_trees,
        attributes=st.just(()) | st.just((expand("a"),)) | st.just((expand("a"), expand("location"))),
        q=st.none() | trees,
        geo=st.none() | places,
        scope=st.none() | scope_trees,
        selectors=st.just(()) | st.lists(selectors, min_size=1, max_size=2).map(tuple),
    ),
)
def test_random_whole_queries_agree(connection: Connection, found: list[ExpandedEntity], query: EntityQuery) -> None:
    """Everything that a query can ask, together."""
    store(connection, found)
    agree(connection, found, query)


def relationship(value: Any) -> dict[str, Any]:
    return instance("Relationship", "object", value)


RELATION = expand("rel")
ids = st.sampled_from(IDS)
links = st.dictionaries(
    st.sampled_from(["@none", "urn:d:1"]),
    st.one_of(
        ids.map(relationship),
        st.lists(ids, max_size=2).map(relationship),
        st.lists(ids, max_size=2).map(
            lambda uris: instance("ListRelationship", "objectList", [{"object": uri} for uri in uris])
        ),
        st.sampled_from(IDS).map(lambda text: instance("Property", "value", text)),
    ),
    min_size=1,
    max_size=2,
)
linked_documents = st.builds(lambda document, there: document | {RELATION: there}, documents(0), links)
targets = st.one_of(
    st.sampled_from(["a", "b", "rel"]).map(lambda name: AttributePath((expand(name),))),
    st.just(AttributePath((expand("a"),), "unitCode")),
    st.just(AttributePath((), "createdAt")),
)
linked_paths = st.recursive(
    targets,
    lambda inner: st.builds(
        LinkedPath, st.just(RELATION), st.lists(st.sampled_from(TYPES), max_size=2, unique=True).map(tuple), inner
    ),
    max_leaves=1,
).filter(lambda path: isinstance(path, LinkedPath))
linked_terms = st.one_of(
    st.builds(Term, linked_paths, st.sampled_from([Operator.EXISTS, Operator.ABSENT])),
    st.builds(
        Term,
        linked_paths,
        st.sampled_from([Operator.EQUAL, Operator.UNEQUAL]),
        st.builds(Value, st.just(ValueKind.TEXT), st.sampled_from(["a", "3", "urn:x:1"])),
    ),
    st.builds(
        Term,
        linked_paths,
        st.sampled_from([Operator.GREATER, Operator.LESS_EQUAL]),
        st.builds(Value, st.just(ValueKind.NUMBER), st.sampled_from([0, 1, 3.5])),
    ),
)


@fewer_checks
@given(found=entity_lists(linked_documents), asked=st.lists(formulas(linked_terms), min_size=1, max_size=4))
def test_random_linked_queries_agree(connection: Connection, found: list[ExpandedEntity], asked: list[Any]) -> None:
    """Paths through Relationships of any form, to several steps, in circles too."""
    store(connection, found)
    for tree in asked:
        agree(connection, found, EntityQuery(q=tree))


NOW = START + timedelta(hours=1)
expiries = st.sampled_from(["2026-01-01T00:30:00Z", "2026-01-01T01:00:00Z", "2026-01-01T01:00:00.5Z"])


def expiring(document: dict[str, Any], expiry: list[str | None]) -> dict[str, Any]:
    """``document`` with these expiries for its instances and their sub-attributes, in turn."""
    turn = iter(expiry * 10)

    def one(body: dict[str, Any]) -> dict[str, Any]:
        due = next(turn)
        more = {"expiresAt": due} if due else {}
        return body | more | ({"attrs": expiring(body["attrs"], expiry[1:] + expiry[:1])} if "attrs" in body else {})

    return {name: {key: one(body) for key, body in several.items()} for name, several in document.items()}


@fewer_checks
@given(
    found=entity_lists(st.builds(expiring, documents(1), st.lists(st.none() | expiries, min_size=2, max_size=4))),
    gone=st.lists(st.booleans(), min_size=6, max_size=6),
    asked=st.lists(
        st.builds(
            EntityQuery,
            attributes=st.just(()) | st.just((expand("a"),)),
            q=st.none() | trees,
            geo=st.none() | places,
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_what_has_expired_is_not_found(
    connection: Connection, found: list[ExpandedEntity], gone: list[bool], asked: list[EntityQuery]
) -> None:
    """Entities, attributes and sub-attributes that wait to be collected are there for neither (clause 4.22)."""
    entities = [
        replace(entity, expires_at=NOW) if past else _with_fleeting_place(entity)
        for entity, past in zip(found, gone, strict=False)
    ]
    store(connection, entities)
    for query in asked:
        agree(connection, entities, query, now=NOW)


def _with_fleeting_place(entity: ExpandedEntity) -> ExpandedEntity:
    """Every second entity's place has expired."""
    location = expand("location")
    if location not in entity.attributes or entity.id < "urn:x:2":
        return entity
    place = entity.attributes[location]["@none"] | {"expiresAt": "2026-01-01T00:10:00Z"}
    return entity.with_attributes(entity.attributes | {location: {"@none": place}})

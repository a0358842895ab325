# SPDX-License-Identifier: Apache-2.0
"""Entities and queries, by hand and at random, for the tests that two readers of a query agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from broker.entities import ExpandedEntity
from broker.expiry import earliest_expiry
from broker.query import EntityQuery, indexed_geometry
from broker.query.tree import (
    ORDERING,
    And,
    AttributePath,
    Operator,
    Or,
    Pattern,
    Range,
    Term,
    Value,
    ValueKind,
    ValueList,
)
from context_store.compiled import to_psycopg
from context_store.entities.type_pages import select_page
from context_store.queries.statements import INDEX_FUNCTIONS
from context_store.queries.templates import Template, shape_of
from schemas.terms import NGSI_LD

from .cluster import Cluster

TENANT = 1
START = datetime(2026, 1, 1, tzinfo=UTC)
Connection = psycopg.Connection[tuple[Any, ...]]


def expand(name: str) -> str:
    """A stand-in for a context: core names and everything else."""
    return (NGSI_LD if name in ("location", "observationSpace") else "https://example.org/") + name


def store(connection: Connection, entities: list[ExpandedEntity], tenant: int = TENANT) -> None:
    """Replace the entities of a tenant."""
    connection.execute("delete from entity where tenant_id = %s", [tenant])
    rows = [
        {
            "tenant": tenant,
            "id": entity.id,
            "types": list(entity.types),
            "document": json.dumps(entity.attributes),
            "location": json.dumps(geometry) if (geometry := indexed_geometry(entity)) else None,
            "scopes": list(entity.scopes),
            "created_at": entity.created_at or START,
            "modified_at": entity.modified_at or START,
            "expires_at": entity.expires_at,
            "attributes_expire_at": earliest_expiry(entity.attributes),
        }
        for entity in entities
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into entity"
            " (tenant_id, id, types, document, location, scopes, created_at, modified_at, expires_at,"
            " attributes_expire_at)"
            " values (%(tenant)s, %(id)s, %(types)s, %(document)s::jsonb,"
            " st_force2d(st_geomfromgeojson(%(location)s::text)), %(scopes)s, %(created_at)s, %(modified_at)s,"
            " %(expires_at)s, %(attributes_expire_at)s)",
            rows,
        )


def selected(
    connection: Connection, query: EntityQuery, tenant: int = TENANT, now: datetime | None = None
) -> list[str]:
    """Ids that PostgreSQL finds, in its order, by the statement of ``EntityStore.query``."""
    shape, slots = shape_of(query)
    template = Template(*to_psycopg(select_page(shape, tenant_id=tenant, limit=100_000, columns=("id",), now=now)))
    cursor = psycopg.RawCursor(connection).execute(template.text, template.filled(slots, {}), prepare=False)
    return [row[0] for row in cursor]


@contextmanager
def query_database(cluster: Cluster) -> Iterator[Connection]:
    """A connection to a database of its own, as the hub's role and as tenant 1 of two."""
    name = cluster.create_migrated("native")
    with psycopg.connect(cluster.url(name), autocommit=True) as connection:
        with cluster.admin(name) as admin:
            for function in INDEX_FUNCTIONS:
                admin.execute(f"alter function {function} leakproof")
        connection.execute("insert into tenant (name) values ('other')")
        connection.execute("set minamo.tenant to '1'")
        yield connection
    cluster.drop(name)


def instance(kind: str, member: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"type": kind, member: value, **more}


def prop(value: Any, **more: Any) -> dict[str, Any]:
    return instance("Property", "value", value, **more)


def geo(type: str, coordinates: Any) -> dict[str, Any]:
    return instance("GeoProperty", "value", {"type": type, "coordinates": coordinates})


def entity(short_id: str, /, *kinds: str, scopes: tuple[str, ...] = (), **attributes: Any) -> ExpandedEntity:
    """An entity; an attribute is one instance, or several by datasetId."""
    document = {
        expand(key): value if "type" not in value or isinstance(value["type"], dict) else {"@none": value}
        for key, value in attributes.items()
    }
    iris = tuple(expand(kind) for kind in kinds or ("Thing",))
    return ExpandedEntity(f"urn:x:{short_id}", iris, document, scopes, START, START)


def sub(**attributes: Any) -> dict[str, Any]:
    return {expand(key): {"@none": value} for key, value in attributes.items()}


NAMES = [expand("a"), expand("b")]
DATASETS = ["@none", "urn:d:1", "urn:d:2"]
WORDS = ["", "a", "ab", "B", "水位", "3", "true", "urn:x:1", "2026-11-21", "10:00:00Z", 'q"\\', "2026-11-21T07:47:43Z"]
TIMES = ["2026-11-21T07:47:43Z", "2026-11-21T07:47:43.5Z", "2026-11-21T07:47:43.50Z", "2026-11-21T07:47:40Z"]
PATTERNS = ["^a", "b$", "^$", "水", "[0-9]", "a|B", "^(ab?|2026.*Z)$", "\\.5"]

numbers = st.sampled_from([0, 1, 3, -1, 3.0, 0.1, 3.5, 1e20, 2**53])
scalars = st.one_of(numbers, st.booleans(), st.none(), st.sampled_from(WORDS + TIMES))
typed_values = st.builds(lambda value: {"@type": "DateTime", "@value": value}, st.one_of(scalars, st.just([1])))
plain = st.one_of(scalars, typed_values)
objects = st.dictionaries(
    st.sampled_from(["a", "b", "en", "*", "object"]), plain | st.lists(plain, max_size=2), max_size=3
)
json_values = st.one_of(
    plain,
    objects,
    st.lists(st.one_of(plain, objects, st.lists(scalars, max_size=2)), max_size=3),
    st.builds(dict, a=objects),
)
words = st.sampled_from(WORDS)
one_or_several = st.one_of(words, st.lists(words, max_size=3))


def instances_of(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """Instances of every kind, with sub-attributes ``depth`` levels deep."""
    kinds = st.one_of(
        st.builds(prop, json_values),
        st.builds(prop, json_values),
        st.builds(lambda value: instance("Relationship", "object", value), one_or_several),
        st.builds(lambda value: instance("VocabProperty", "vocab", value), one_or_several),
        st.builds(lambda value: instance("JsonProperty", "json", value), json_values),
        st.builds(lambda value: instance("ListProperty", "valueList", value), st.lists(plain, max_size=3)),
        st.builds(
            lambda uris: instance("ListRelationship", "objectList", [{"object": uri} for uri in uris]),
            st.lists(words, max_size=3),
        ),
        st.builds(
            lambda value: instance("LanguageProperty", "languageMap", value),
            st.dictionaries(st.sampled_from(["en", "a", "ja"]), one_or_several, max_size=3),
        ),
    )
    members = st.fixed_dictionaries(
        {}, optional={"observedAt": st.sampled_from(TIMES), "unitCode": words, "modifiedAt": st.sampled_from(TIMES)}
    )
    whole = st.builds(lambda body, more: body | more, kinds, members)
    if depth == 0:
        return whole
    return st.builds(lambda body, attrs: body | {"attrs": attrs} if attrs else body, whole, documents(depth - 1))


def documents(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    several = st.dictionaries(st.sampled_from(DATASETS), instances_of(depth), min_size=1, max_size=2)
    return st.dictionaries(st.sampled_from(NAMES), several, max_size=2)


numeric = st.builds(Value, st.just(ValueKind.NUMBER), numbers)
textual = st.builds(Value, st.sampled_from([ValueKind.TEXT, ValueKind.URI]), st.sampled_from(WORDS + TIMES))
moments = st.builds(
    Value,
    st.just(ValueKind.DATE_TIME),
    st.sampled_from(["2026-11-21T07:47:43", "2026-11-21T07:47:43.5", "2026-11-21T07:47:40", "2026-01-01T00:00:00"]),
)
days = st.builds(Value, st.just(ValueKind.DATE), st.sampled_from(["2026-11-21", "2026-11-20"]))
hours = st.builds(Value, st.just(ValueKind.TIME), st.sampled_from(["10:00:00", "09:59:59.5"]))
comparable = st.one_of(
    numeric, st.builds(Value, st.just(ValueKind.TEXT), st.sampled_from(WORDS + TIMES)), moments, days, hours
)
literals = st.one_of(comparable, textual, st.builds(Value, st.just(ValueKind.BOOLEAN), st.booleans()))
paths = st.one_of(
    st.builds(
        AttributePath,
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=2).map(tuple),
        st.none(),
        st.sampled_from([(), (), (), ("*",), ("a",), ("en",), ("a", "b")]),
    ),
    st.builds(
        AttributePath,
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=2).map(tuple),
        st.sampled_from(["observedAt", "unitCode", "datasetId", "modifiedAt"]),
    ),
    st.builds(AttributePath, st.just(()), st.sampled_from(["createdAt", "modifiedAt", "expiresAt"])),
)
terms = st.one_of(
    st.builds(Term, paths, st.sampled_from([Operator.EXISTS, Operator.ABSENT])),
    st.builds(Term, paths, st.sampled_from(sorted(ORDERING)), comparable),
    st.builds(
        Term,
        paths,
        st.sampled_from([Operator.EQUAL, Operator.UNEQUAL]),
        st.one_of(
            literals,
            st.builds(ValueList, st.lists(literals, min_size=2, max_size=3).map(tuple)),
            st.one_of(*(st.builds(Range, kind, kind) for kind in (numeric, moments, days, hours))),
            st.builds(Range, *[st.builds(Value, st.just(ValueKind.TEXT), words)] * 2),
        ),
    ),
    st.builds(
        Term,
        paths,
        st.sampled_from([Operator.PATTERN, Operator.NOT_PATTERN]),
        st.builds(Pattern, st.sampled_from(PATTERNS)),
    ),
)
trees = st.recursive(
    terms,
    lambda inner: st.builds(
        lambda kind, operands: kind(tuple(operands)),
        st.sampled_from([And, Or]),
        st.lists(inner, min_size=2, max_size=3),
    ),
    max_leaves=4,
)
random_checks = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)

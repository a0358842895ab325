# SPDX-License-Identifier: Apache-2.0
"""A statement filled from its template is the statement that is built for the query itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.query import EntityQuery, EntitySelector, parse_q, parse_types
from broker.query.tree import Or, TypeName
from context_store.compiled import to_psycopg
from context_store.entities.type_pages import is_walk, select_page
from context_store.queries.statements import count_entities
from context_store.queries.templates import Template, numbered, shape_of
from tests.support.queries import expand, random_checks, trees

NAMES = st.sampled_from([expand(name) for name in ("a", "b", '"q"', "水位")])
type_trees = st.none() | NAMES.map(TypeName) | st.lists(NAMES.map(TypeName), min_size=2, max_size=3).map(tuple).map(Or)
names = st.lists(NAMES, max_size=2).map(tuple)
queries = st.builds(
    EntityQuery,
    ids=names,
    types=type_trees,
    attributes=names,
    q=st.none() | trees,
    selectors=st.just(()) | st.builds(EntitySelector, names, st.just("^a"), type_trees).map(lambda one: (one,)),
)


def direct(query: EntityQuery) -> tuple[bytes, list[Any]]:
    text, values = to_psycopg(select_page(query, tenant_id=1, limit=20, columns=("id",)))
    plain, names = numbered(text)
    return plain, [values[name] for name in names]


def by_template(query: EntityQuery) -> tuple[bytes, list[Any]]:
    shape, slots = shape_of(query)
    template = Template(*to_psycopg(select_page(shape, tenant_id=1, limit=20, columns=("id",))))
    return template.text, template.filled(slots, {})


@random_checks
@given(query=queries)
def test_a_filled_template_is_the_statement_of_the_query(query: EntityQuery) -> None:
    assert by_template(query) == direct(query)


def asked(types: str, q: str) -> EntityQuery:
    return EntityQuery(types=parse_types(types, expand), q=parse_q(q, expand))


@pytest.mark.parametrize(
    "other",
    [
        asked("Station", 'depth>2.5;code=="B"'),
        asked("River", 'level>7;code=="C"'),
        asked("水門", 'level>1;code=="水"'),
    ],
)
def test_other_names_and_values_have_the_same_shape(other: EntityQuery) -> None:
    assert shape_of(other)[0] == shape_of(asked("River", 'level>1;code=="B"'))[0]


@pytest.mark.parametrize(
    "other", [asked("River", "level<1"), asked("River|Lake", "level>1"), asked("River", 'level>"1"')]
)
def test_what_changes_the_statement_changes_the_shape(other: EntityQuery) -> None:
    assert shape_of(other)[0] != shape_of(asked("River", "level>1"))[0]


def test_what_changes_with_each_request_comes_before_what_the_template_has() -> None:
    shape, slots = shape_of(asked("River", "level>1"))
    template = Template(*to_psycopg(count_entities(shape, tenant_id=0)))
    values = template.filled(slots, {"tenant_id": 7})
    assert 7 in values
    assert "1" in values


def test_a_page_of_a_type_has_one_plan_whatever_is_asked() -> None:
    assert is_walk(asked("River", "level>1"))
    assert not is_walk(EntityQuery(types=parse_types("River", expand), id_pattern="^urn:x:"))
    assert not is_walk(EntityQuery(q=parse_q("level>1", expand)))

# SPDX-License-Identifier: Apache-2.0
"""Statements of one shape share their text and keep their values."""

from __future__ import annotations

from broker.query import EntityQuery, parse_q, parse_types
from context_store.compiled import to_psycopg
from context_store.queries.statements import select_entities


def expand(name: str) -> str:
    return "https://example.org/" + name


def query(types: str, q: str) -> EntityQuery:
    return EntityQuery(types=parse_types(types, expand), q=parse_q(q, expand))


def statement(types: str, q: str, tenant_id: int = 1) -> tuple[bytes, dict[str, object]]:
    return to_psycopg(select_entities(query(types, q), tenant_id=tenant_id, limit=20))


def test_other_values_are_the_same_text() -> None:
    assert statement("River", "level>1")[0] == statement("Station", "depth>2", 7)[0]


def test_each_statement_has_its_own_values() -> None:
    statement("River", "level>1")
    _, values = statement("Station", "depth>2", 7)
    assert values["tenant_id"] == 7
    assert ["https://example.org/Station"] in values.values()
    assert "https://example.org/depth" in values.values()
    assert not any("River" in str(value) or "level" in str(value) for value in values.values())


def test_another_operator_is_another_text() -> None:
    assert statement("River", "level>1")[0] != statement("River", "level<1")[0]


def test_another_kind_of_value_is_another_text() -> None:
    assert statement("River", "level>1")[0] != statement("River", 'level>"1"')[0]

# SPDX-License-Identifier: Apache-2.0
"""Entities that are there when their indexes come are found by them, too."""

from __future__ import annotations

import psycopg
import pytest

from broker.query import EntityQuery, parse_id_pattern, parse_scopes
from context_store.compiled import to_psycopg
from context_store.database import SESSION_OPTIONS
from context_store.entities.type_pages import select_page
from context_store.migrate import migrate

_INSERT = """
    insert into entity (tenant_id, id, types, document, scopes, created_at, modified_at)
    values (1, %s, '{urn:T}', '{}', %s, now(), now())
"""


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (EntityQuery(scope=parse_scopes("/Japan/#")), ["urn:A", "urn:b"]),
        (EntityQuery(scope=parse_scopes("Japan/Aoi")), ["urn:A"]),
        (EntityQuery(id_pattern=parse_id_pattern("^urn:[aA]")), ["urn:A", "urn:a"]),
        (EntityQuery(id_pattern=parse_id_pattern("^urn:b")), ["urn:b"]),
    ],
)
def test_old_entities_are_found(empty_database_url: str, query: EntityQuery, found: list[str]) -> None:
    migrate(empty_database_url, "0010")
    with psycopg.connect(empty_database_url, options=SESSION_OPTIONS) as connection:
        connection.execute("select set_config('minamo.tenant', '1', false)")
        for name, scopes in {"urn:a": [], "urn:A": ["/Japan/Aoi"], "urn:b": ["Japan", "/Other"]}.items():
            connection.execute(_INSERT, (name, scopes))
        connection.commit()
        migrate(empty_database_url)
        page = select_page(query, tenant_id=1, limit=10, columns=("id",))
        assert [row[0] for row in connection.execute(*to_psycopg(page))] == found

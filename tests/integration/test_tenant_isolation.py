# SPDX-License-Identifier: Apache-2.0
"""Row-level security below the code: a transaction of one tenant sees and writes nothing of another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from context_store.database import ALL_TENANTS, SET_TENANT, Database
from context_store.tenants import Tenants

TABLES = (
    "entity",
    "attribute_instance",
    "change_event",
    "subscription",
    "delivery_stream",
    "delivery",
    "device",
    "quarantine",
    "alert_rule",
    "alert_state",
    "alert",
    "alert_event",
    "entity_map",
    "entity_map_entry",
    "jsonld_context",
    "entity_identity",
    "scope_instance",
    "rollup_10m",
    "rollup_1h",
    "rollup_1d",
    "rollup_note",
)
INSERT = """insert into entity (tenant_id, id, types, document, created_at, modified_at)
            values (%s, 'urn:x:1', '{urn:x:T}', '{}', now(), now())"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database as the hub's own role sees it."""
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.close()


async def count(database: Database, tenant_id: int) -> int:
    async with database.transaction(tenant_id) as connection:
        row = await (await connection.execute("select count(*) from entity")).fetchone()
        assert row is not None
        return int(row[0])


async def test_a_tenant_sees_only_its_own_rows(database: Database) -> None:
    tenants = Tenants(database)
    mishima, mitaka = await tenants.find_or_create("mishima"), await tenants.find_or_create("mitaka")
    for tenant_id in (mishima, mitaka):
        async with database.transaction(tenant_id) as connection:
            await connection.execute(INSERT, (tenant_id,))
    assert await count(database, mishima) == 1
    assert await count(database, mitaka) == 1
    assert await count(database, ALL_TENANTS) == 2


async def test_a_tenant_cannot_write_rows_of_another(database: Database) -> None:
    mishima = await Tenants(database).find_or_create("mishima")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(mishima) as connection:
            await connection.execute(INSERT, (1,))


async def test_a_transaction_without_a_tenant_fails_instead_of_seeing_everything(database: Database) -> None:
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute(INSERT, (1,))
    async with await database.listen_connection() as connection:
        with pytest.raises(psycopg.errors.UndefinedObject):
            await connection.execute("select * from entity")


async def test_the_tenant_of_a_transaction_does_not_outlive_it(database: Database) -> None:
    async with await database.listen_connection() as connection:
        async with connection.transaction():
            await connection.execute(SET_TENANT, ("1",))
            await connection.execute(INSERT, (1,))
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            await connection.execute("select * from entity")


async def test_every_table_with_a_tenant_is_protected(database: Database) -> None:
    async with database.transaction(ALL_TENANTS) as connection:
        rows = await (
            await connection.execute(
                """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                    where n.nspname = 'minamo' and c.relkind in ('r', 'p') and not c.relispartition
                      and c.relrowsecurity and c.relforcerowsecurity"""
            )
        ).fetchall()
        unprotected = await (
            await connection.execute(
                """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                     join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
                    where n.nspname = 'minamo' and c.relkind in ('r', 'p') and not c.relispartition
                      and not c.relrowsecurity and c.relname <> 'tenant'"""
            )
        ).fetchall()
    assert {name for (name,) in rows} == set(TABLES)
    assert unprotected == []

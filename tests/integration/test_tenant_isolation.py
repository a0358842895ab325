# SPDX-License-Identifier: Apache-2.0
"""Row-level security below the code: a transaction of one tenant sees and writes nothing of another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

import context_store
from context_store.database import ALL_TENANTS, SET_TENANT, Database
from context_store.history.partitions import HISTORY, HYPERTABLE, Partitions
from context_store.tenants import Tenants
from support.cluster import StoreMode

TABLES = (
    "entity",
    "attribute_instance",
    "change_event",
    "subscription",
    "delivery_stream",
    "delivery",
    "device",
    "device_model",
    "quarantine",
    "poll",
    "inbox",
    "alert_rule",
    "alert_state",
    "alert",
    "alert_event",
    "incident",
    "alarm",
    "alarm_step",
    "audit_entry",
    "audience_rule",
    "briefed_person",
    "forecast_run",
    "forecast_line",
    "forecast_series",
    "forecast_layer",
    "contact_document",
    "contact_notice",
    "web_push_browser",
    "drill",
    "entity_map",
    "entity_map_entry",
    "jsonld_context",
    "entity_identity",
    "scope_instance",
    "rollup_10m",
    "rollup_1h",
    "rollup_1d",
    "rollup_note",
    "retention_rule",
    "quality_decision",
    "csource_registration",
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


INSTANCE = """insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, value_hash, kind,
                                              recorded_at)
              values (1, %s, 1, '2026-11-01T00:00:00Z', 0, 1, now()) on conflict do nothing"""


@pytest.fixture
async def with_history(database: Database) -> tuple[Database, int, int]:
    """Two tenants with an instance each of the same entity number."""
    tenants = Tenants(database)
    mishima, mitaka = await tenants.find_or_create("mishima"), await tenants.find_or_create("mitaka")
    await Partitions(database, HISTORY).ensure([datetime(2026, 11, 1, tzinfo=UTC)])
    for tenant_id in (mishima, mitaka):
        async with database.transaction(tenant_id) as connection:
            await connection.execute(INSTANCE, (tenant_id,))
    return database, mishima, mitaka


@pytest.mark.parametrize(
    "statement",
    [
        "select * from attribute_instance",
        "update attribute_instance set number_value = 1",
        "delete from attribute_instance",
    ],
)
async def test_history_of_others_is_neither_seen_nor_changed(
    with_history: tuple[Database, int, int], statement: LiteralString
) -> None:
    """With TimescaleDB it is a view that keeps tenants apart, and not row-level security."""
    database, mishima, mitaka = with_history
    async with database.transaction(mishima) as connection:
        assert (await connection.execute(statement)).rowcount == 1
    async with database.transaction(mitaka) as connection:
        rows = await (await connection.execute("select tenant_id, number_value from attribute_instance")).fetchall()
    assert rows == [(mitaka, None)]


@pytest.mark.parametrize("statement", [INSTANCE, "update attribute_instance set tenant_id = %s"])
async def test_history_of_others_is_not_written(
    with_history: tuple[Database, int, int], statement: LiteralString
) -> None:
    database, mishima, _ = with_history
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.WithCheckOptionViolation)):
        async with database.transaction(mishima) as connection:
            await connection.execute(statement, (1,))


async def test_history_without_a_tenant_fails(with_history: tuple[Database, int, int]) -> None:
    async with await with_history[0].listen_connection() as connection:
        with pytest.raises(psycopg.errors.UndefinedObject):
            await connection.execute("select * from attribute_instance")


def test_nothing_but_the_upkeep_of_the_store_goes_past_the_view() -> None:
    """Row-level security does not hold for the table behind it."""
    root = Path(context_store.__file__).parent
    naming = {path.name for path in root.rglob("*.py") if HYPERTABLE in path.read_text()}
    assert naming <= {"partitions.py", "timescale.py", "store_status.py", "to_timescale.py"}


async def test_every_table_with_a_tenant_is_protected(database: Database, store_mode: StoreMode) -> None:
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
    behind_view = {HYPERTABLE} if store_mode == "timescale" else set()
    assert {name for (name,) in rows} == set(TABLES) - ({"attribute_instance"} if behind_view else set())
    assert {name for (name,) in unprotected} == behind_view

# SPDX-License-Identifier: Apache-2.0
"""Partitions are there when they are needed and gone when their time is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from context_store.database import ALL_TENANTS, Database
from context_store.history.partitions import CHANGES, HISTORY, Partitions

NOW = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database."""
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.close()


async def names(database: Database, table: str) -> list[str]:
    async with database.transaction(ALL_TENANTS) as connection:
        rows = await (
            await connection.execute(
                """select c.relname from pg_inherits join pg_class c on c.oid = inhrelid
                    where inhparent = %s::regclass order by 1""",
                (table,),
            )
        ).fetchall()
    return [name for (name,) in rows]


@pytest.mark.parametrize("store_mode", ["native"], indirect=True)
async def test_months_of_history_over_the_end_of_the_year(database: Database) -> None:
    await Partitions(database, HISTORY).ensure([NOW, NOW + timedelta(days=32)])
    assert await names(database, "attribute_instance") == ["attribute_instance_2026_11", "attribute_instance_2027_01"]


async def test_days_of_change_events_ahead(database: Database) -> None:
    await Partitions(database, CHANGES).ensure_ahead(NOW, 2)
    expected = ["2026_11_29", "2026_11_30", "2026_12_01", "2026_12_02"]
    assert await names(database, "change_event") == ["change_event_" + day for day in expected]


async def test_many_processes_may_ask_for_the_same_partition_at_once(database: Database) -> None:
    await asyncio.gather(*(Partitions(database, CHANGES).ensure([NOW]) for _ in range(8)))
    assert await names(database, "change_event") == ["change_event_2026_11_30"]


async def test_only_what_ended_before_the_horizon_is_dropped(database: Database) -> None:
    partitions = Partitions(database, CHANGES)
    await partitions.ensure_ahead(NOW, 1)
    dropped = await partitions.drop_before(NOW)
    assert dropped == ["change_event_2026_11_29"]
    await partitions.ensure([NOW - timedelta(days=1)])
    assert "change_event_2026_11_29" in await names(database, "change_event")


async def test_old_history_is_dropped_in_either_store_mode(database: Database) -> None:
    history = Partitions(database, HISTORY)
    old, new = NOW - timedelta(days=100), NOW
    await history.ensure([old, new])
    async with database.transaction(ALL_TENANTS) as connection:
        for moment in (old, new):
            await connection.execute(
                """insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, value_hash, kind,
                                                   recorded_at) values (1, 1, 1, %s, 0, 1, now())""",
                (moment,),
            )
    assert len(await history.drop_before(NOW - timedelta(days=50))) >= 1
    async with database.transaction(ALL_TENANTS) as connection:
        rows = await (await connection.execute("select observed_at from attribute_instance")).fetchall()
    assert rows == [(new,)]

# SPDX-License-Identifier: Apache-2.0
"""What is over is removed, what somebody still wants is not, and rollups outlive their instances."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from broker.history.retention import ALL_TYPES, Kept
from context_store.database import ALL_TENANTS, Database
from context_store.history.evolution import EvolutionStore
from context_store.history.partitions import HISTORY, Partitions
from context_store.history.retention import Removed, Retention, put_rule
from context_store.history.rollups import Rollups
from context_store.history.terms import TermIds
from context_store.tenants import Tenants

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
NOW: Final = datetime(2026, 6, 1, 1, tzinfo=UTC)
DAYS: Final = (NOW - START).days
LEVEL: Final = "urn:x:level"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Three entities: a River and a Rain of the tenant default, a River of mitaka; a level every six hours, rolled."""
    opened = Database(database_url)
    await opened.open()
    await Tenants(opened).find_or_create("mitaka")
    await Partitions(opened, HISTORY).ensure(START + timedelta(days=days) for days in range(DAYS + 1))
    level = (await TermIds(opened).resolve([LEVEL]))[LEVEL]
    async with opened.transaction(ALL_TENANTS) as connection:
        for key, tenant_id, kind in ((1, 1, "River"), (2, 1, "Rain"), (3, 2, "River")):
            await connection.execute(
                """insert into entity_identity (entity_key, tenant_id, id, types, created_at, modified_at)
                   values (%s, %s, %s, %s, now(), now())""",
                (key, tenant_id, f"urn:x:{key}", [kind]),
            )
            await connection.execute(
                """insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, value_hash, kind,
                                                   recorded_at, number_value)
                   select %s, %s, %s, t, 0, 1, t, 1 from generate_series(%s::timestamptz, %s, interval '6 hours') t""",
                (key, tenant_id, level, START, NOW),
            )
    await Rollups(opened).run(NOW)
    yield opened
    await opened.close()


async def oldest(database: Database, table: str = "attribute_instance", column: str = "observed_at") -> dict[int, int]:
    """By entity, how many days ago its oldest row is."""
    async with database.transaction(ALL_TENANTS) as connection:
        statement = f"select entity_key, min({column}) from {table} group by 1"
        rows = await (await connection.execute(statement.encode())).fetchall()
    return {key: (NOW - moment).days for key, moment in rows}


async def rule(database: Database, tenant_id: int, entity_type: str, kept: Kept) -> None:
    async with database.transaction(tenant_id) as connection:
        await put_rule(connection, tenant_id, entity_type, kept)


async def retire(database: Database, *default: int | None) -> Removed:
    return await Retention(database, Kept(*default)).run(NOW)


async def numbers(database: Database) -> Any:
    async with database.transaction(ALL_TENANTS) as connection:
        rows = await (await connection.execute("select sum(numbers) from rollup_1d")).fetchone()
    return rows and rows[0]


async def add(database: Database, moment: datetime) -> None:
    async with database.transaction(1) as connection:
        await connection.execute(
            """insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, value_hash, kind,
                                               recorded_at, number_value)
               select 1, 1, term_id, %s, 9, 1, now(), 9 from term where name = %s""",
            (moment, LEVEL),
        )


async def test_each_type_of_each_tenant_has_its_own_time(database: Database) -> None:
    await rule(database, 1, "River", Kept(60))
    await rule(database, 1, ALL_TYPES, Kept(20))
    before = await numbers(database)
    await retire(database, None)
    assert await oldest(database) == {1: 60, 2: 20, 3: DAYS}
    assert await oldest(database, "rollup_10m", "bucket") == {1: DAYS, 2: DAYS, 3: DAYS}
    assert await numbers(database) == before


async def test_what_nobody_wants_is_dropped_whole(database: Database) -> None:
    removed = await retire(database, 40)
    assert len(removed.partitions) >= 3
    assert await oldest(database) == {1: 40, 2: 40, 3: 40}
    assert (await oldest(database, "rollup_1h", "bucket"))[1] == DAYS


async def test_nothing_is_dropped_that_one_wants_for_ever(database: Database) -> None:
    await rule(database, 2, ALL_TYPES, Kept())
    removed = await retire(database, 40)
    assert removed.partitions == []
    assert await oldest(database) == {1: 40, 2: 40, 3: DAYS}


async def test_a_late_reading_of_a_day_that_is_gone_leaves_its_rollups(database: Database) -> None:
    before = await numbers(database)
    await retire(database, 40)
    await Partitions(database, HISTORY).ensure([START])
    await add(database, START + timedelta(hours=5))
    await Rollups(database).run(NOW)
    assert await numbers(database) == before
    async with database.transaction(ALL_TENANTS) as connection:
        assert (await connection.execute("select 1 from rollup_note")).rowcount == 0


async def test_nothing_is_removed_before_it_is_rolled(database: Database) -> None:
    await add(database, START + timedelta(hours=5))
    await retire(database, 40)
    assert (await oldest(database))[1] == DAYS
    await Rollups(database).run(NOW)
    await retire(database, 40)
    assert (await oldest(database))[1] == 40
    assert await numbers(database) == 3 * (DAYS * 4) + 1


async def test_rollups_have_times_of_their_own(database: Database) -> None:
    await rule(database, 1, "River", Kept(20, 40, 60, 80))
    await retire(database, None)
    found = [(await oldest(database, f"rollup_{tier}", "bucket"))[1] for tier in ("10m", "1h", "1d")]
    assert found == [40, 60, 80]
    assert (await oldest(database, "rollup_10m", "bucket"))[2] == DAYS


async def test_history_that_is_deleted_leaves_no_rollups(database: Database) -> None:
    await retire(database, 40)
    evolution = EvolutionStore(database, TermIds(database), Partitions(database, HISTORY))
    await evolution.delete_attribute(1, "urn:x:1", LEVEL)
    await evolution.delete(1, "urn:x:2")
    await Rollups(database).run(NOW)
    for tier in ("10m", "1h", "1d"):
        assert set(await oldest(database, f"rollup_{tier}", "bucket")) == {3}


async def test_it_runs_once_a_day(database: Database) -> None:
    retention = Retention(database, Kept(40))
    assert await retention.run_daily(NOW) is not None
    assert await retention.run_daily(NOW) is None
    assert await retention.run_daily(NOW + timedelta(days=1)) is not None

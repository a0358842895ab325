# SPDX-License-Identifier: Apache-2.0
"""Rollups of history say what the instances say, at every moment, whoever writes and whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import pytest
from psycopg import AsyncConnection

from broker.errors import StoreUnavailable
from broker.history.aggregation import Aggregation, AggregationMethod, parse_period
from context_store.database import ALL_TENANTS, SET_TENANT, Database
from context_store.history import aggregates
from context_store.history.instances import Series
from context_store.history.partitions import HISTORY, Partitions
from context_store.history.rollup_answers import METHODS
from context_store.history.rollups import Rollups, read_state
from context_store.history.terms import TermIds
from context_store.history.writing import InstanceRows
from support.cluster import Cluster

START: Final = datetime(2026, 2, 27, 21, tzinfo=UTC)  # a month ends soon
KEYS: Final = (1, 2)
LEVEL, STATUS = "urn:x:level", "urn:x:status"
Random = random.Random


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, max_size=12)
    await opened.open()
    await Partitions(opened, HISTORY).ensure(START + timedelta(days=days) for days in range(-40, 40))
    yield opened
    await opened.close()


class Scribe:
    """Writes history as the hub does, by the rows; ``numbers`` makes it reproducible."""

    def __init__(self, database: Database, numbers: Random) -> None:
        self._database = database
        self._terms = TermIds(database)
        self._numbers = numbers

    async def write(self, first: datetime, last: datetime, count: int, *, texts: float = 0.0) -> None:
        """Add instances of random times, some of them texts or transient."""
        numbers = self._numbers
        ids = await self._terms.resolve([LEVEL, STATUS])
        rows = InstanceRows()
        for _ in range(count):
            moment = first + (last - first) * numbers.random()
            if numbers.random() < 0.3:  # where a bucket begins is where mistakes are
                moment = moment.replace(minute=numbers.choice([0, 10, 50]), second=0, microsecond=0)
            value: Any = (
                "flooded" if numbers.random() < texts / 2 else numbers.choice([1, 2.5, -3, 0.1, 0.2, 1e9, 1 / 3])
            )
            place = (numbers.choice(KEYS), 1, ids[LEVEL], moment, numbers.choice([0, 0, ids[STATUS]]), 0)
            instance = {"type": "Property", "value": value, "observedAt": moment.isoformat()}
            if numbers.random() < texts / 2:
                instance["expiresAt"] = numbers.choice(["2026-01-01T00:00:00Z", "2126-01-01T00:00:00Z"])
            rows.add(place, instance)
        async with self._database.transaction(1) as connection:
            await rows.insert(connection, datetime.now(UTC))

    async def alter(self) -> None:
        """Remove an instance, cease to believe one, or move what is said of one."""
        statement = self._numbers.choice(
            [
                "delete from attribute_instance",
                "update attribute_instance set superseded_at = now()",
                "update attribute_instance set number_value = number_value + 1, quality = 2",
            ]
        )
        async with self._database.transaction(1) as connection:
            await connection.execute(
                statement.encode()
                + b" where instance_key = (select instance_key from attribute_instance order by instance_key"
                b" offset %s %% (select greatest(count(*), 1) from attribute_instance) limit 1)",
                (self._numbers.randrange(10_000),),
            )


def question(numbers: Random) -> tuple[Aggregation, datetime, datetime | None]:
    period = parse_period(numbers.choice(["PT10M", "PT30M", "PT1H", "PT3H", "P1D", "P2D", "P1M", "PT7M", "PT0S"]))
    start = START + timedelta(hours=numbers.randrange(-60, 60))
    start = start.replace(hour=0) if numbers.random() < 0.4 else start
    start += timedelta(minutes=numbers.choice([0, 0, 0, 10, 3]))
    end = numbers.choice([None, start + timedelta(minutes=numbers.randrange(10, 10_000))])
    methods = numbers.sample(sorted(METHODS), k=3)
    return Aggregation(tuple(AggregationMethod(name) for name in methods), period), start, end


class Asker:
    """Asks the same with and without rollups, of one snapshot."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self._terms = TermIds(database)
        self._monkeypatch = monkeypatch

    async def ask(
        self, connection: AsyncConnection, asked: tuple[Aggregation, datetime, datetime | None], *, rolled: bool
    ) -> aggregates.Aggregated:
        aggregation, start, end = asked
        level = (await self._terms.resolve([LEVEL]))[LEVEL]
        values = {
            "tenant_id": 1,
            "datasets": None,
            "start": start.isoformat(),
            "end": end.isoformat() if end else "infinity",
            "only_observed": True,
            "removed": None,
            "known_at": "infinity",
        }
        slots = [Series(key, level, key) for key in KEYS]
        with self._monkeypatch.context() as patched:
            if not rolled:
                patched.setattr(aggregates, "cuts", lambda *_: None)
            return await aggregates.aggregate(connection, self._terms, aggregation, slots, values, "observed_at")

    async def agree(self, connection: AsyncConnection, numbers: Random, count: int = 10) -> None:
        for _ in range(count):
            asked = question(numbers)
            rolled = await self.ask(connection, asked, rolled=True)
            assert rolled == await self.ask(connection, asked, rolled=False), asked


@pytest.fixture
def asker(database: Database, monkeypatch: pytest.MonkeyPatch) -> Asker:
    return Asker(database, monkeypatch)


async def rolled_until(database: Database) -> datetime | None:
    async with database.transaction(ALL_TENANTS) as connection:
        return (await read_state(connection)).rolled_until


async def rows_of(database: Database, statement: Any) -> list[Any]:
    async with database.transaction(ALL_TENANTS) as connection:
        return await (await connection.execute(statement)).fetchall()


@pytest.mark.parametrize("seed", range(4))
async def test_answers_are_those_of_the_instances_whatever_happens_to_them(
    database: Database, asker: Asker, seed: int
) -> None:
    """Late, corrected, removed instances and texts among them, and any number of steps in between."""
    numbers = random.Random(seed)
    scribe, rollups = Scribe(database, numbers), Rollups(database)
    now = START - timedelta(days=1)
    await scribe.write(START - timedelta(days=3), START, 200)
    for _ in range(12):
        now += timedelta(hours=numbers.randrange(1, 15))
        await scribe.write(now - timedelta(hours=3), now, 30, texts=numbers.choice([0, 0, 0, 0.1]))
        await scribe.write(START - timedelta(days=3), now, 10)
        await scribe.alter()
        for _ in range(numbers.randrange(4)):
            await rollups.step(now)
        async with database.transaction(1) as connection:
            await asker.agree(connection, numbers)
    assert await rolled_until(database) is not None


async def test_everybody_at_once_and_workers_that_die(
    database: Database, database_name: str, asker: Asker, cluster: Cluster
) -> None:
    """Writers and askers go on while the connections of workers are cut: every snapshot is right."""
    numbers = random.Random(7)
    clock = [START]
    ended = asyncio.Event()

    async def work() -> None:
        rollups = Rollups(database)
        while not ended.is_set():
            with contextlib.suppress(StoreUnavailable, psycopg.OperationalError):
                if not await rollups.step(clock[0]):
                    await asyncio.sleep(0.002)

    async def write(seed: int) -> None:
        scribe = Scribe(database, random.Random(seed))
        for _ in range(25):
            with contextlib.suppress(StoreUnavailable, psycopg.OperationalError):
                await scribe.write(clock[0] - timedelta(hours=4), clock[0], 5)
                await scribe.write(START - timedelta(days=2), clock[0], 2)
                await scribe.alter()
            clock[0] += timedelta(minutes=20)

    async def kill() -> None:
        with cluster.admin(database_name) as admin:
            while not ended.is_set():
                await asyncio.sleep(0.05)
                admin.execute(
                    """select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted
                          and classid = 0 and objid = x'726f6c6c'::int and random() < 0.3"""
                )

    async def ask() -> None:
        async with await database.listen_connection() as connection:
            await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            while not ended.is_set():
                async with connection.transaction():
                    await connection.execute(SET_TENANT, ("1",))
                    await asker.agree(connection, numbers, 2)
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for task in (work, work, kill, ask):
            group.create_task(task())
        async with asyncio.TaskGroup() as writers:
            for seed in range(3):
                writers.create_task(write(seed))
        ended.set()
    await Rollups(database).run(clock[0] + timedelta(days=2))
    assert await rows_of(database, "select * from rollup_note") == []
    async with database.transaction(1) as connection:
        await asker.agree(connection, numbers, 30)


async def test_an_hour_is_not_rolled_while_a_writer_may_not_know_of_it(database: Database, asker: Asker) -> None:
    scribe, rollups = Scribe(database, random.Random(1)), Rollups(database)
    await scribe.write(START - timedelta(hours=2), START, 10)
    async with database.transaction(1) as slow:
        await slow.execute(
            """insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, value_hash, kind,
                                               recorded_at, number_value)
               values (1, 1, (select term_id from term where name = %s), %s, 0, 1, now(), 77)""",
            (LEVEL, START - timedelta(hours=1)),
        )
        await rollups.run(START + timedelta(hours=1))
        assert await rolled_until(database) is None
    await rollups.run(START + timedelta(hours=1))
    assert await rolled_until(database) == START
    assert (77.0,) in await rows_of(database, "select highest from rollup_1h")
    async with database.transaction(1) as connection:
        await asker.agree(connection, random.Random(1))


async def test_readings_in_time_note_nothing_and_late_ones_their_day(database: Database) -> None:
    scribe, rollups = Scribe(database, random.Random(1)), Rollups(database)
    await rollups.run(START)
    await scribe.write(START, START + timedelta(hours=1), 20)
    assert await rows_of(database, "select * from rollup_note") == []
    await scribe.write(START - timedelta(hours=10), START - timedelta(hours=9), 20)
    days = {(START - timedelta(hours=10)).date(), (START - timedelta(hours=9)).date()}
    assert {day for (day,) in await rows_of(database, "select day from rollup_note")} == days
    await rollups.run(START)
    assert await rows_of(database, "select * from rollup_note") == []
    assert len(await rows_of(database, "select 1 from rollup_1h")) > 0


async def test_a_bucket_tells_extremes_the_last_and_how_many_are_good(database: Database) -> None:
    rollups = Rollups(database)
    async with database.transaction(1) as connection:
        for minute, value, quality in ((1, 5.0, None), (2, 9.0, 2), (3, -1.0, 1), (55, 4.0, None)):
            await connection.execute(
                """insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, value_hash, kind,
                   recorded_at, number_value, quality) values (1, 1, 1, %s, 0, 1, now(), %s, %s)""",
                (START + timedelta(minutes=minute), value, quality),
            )
    await rollups.run(START + timedelta(days=2))
    columns = "lowest, highest, last_value, last_at, numbers, good, others, total::float8, squares::float8"
    expected = (-1.0, 9.0, 4.0, START + timedelta(minutes=55), 4, 3, 0, 17.0, 123.0)
    assert await rows_of(database, f"select {columns} from rollup_1h") == [expected]
    assert await rows_of(database, f"select {columns} from rollup_1d") == [expected]
    assert len(await rows_of(database, "select 1 from rollup_10m")) == 2


async def test_an_hour_of_another_cluster_is_drawn_anew(database: Database) -> None:
    """After a restore into another cluster, numbers of transactions begin anew."""
    rollups = Rollups(database)
    await rollups.step(START)
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute("update rollup_state set horizon = '999999999999'")
    await rollups.run(START)
    assert await rolled_until(database) == START - timedelta(hours=1)

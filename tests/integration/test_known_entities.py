# SPDX-License-Identifier: Apache-2.0
"""What a writer of readings remembers of entities is believed only while nobody else has written them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.devices.model import AttributeMapping, Device
from broker.intake.readings import CommitSummary, Observation
from context_store.database import ALL_TENANTS, Database
from context_store.history.partitions import CHANGES, HISTORY, Partitions
from context_store.history.terms import TermIds
from context_store.intake.batch import EntityState
from context_store.intake.commits import PostgresReadingStore
from context_store.intake.known import KnownEntities
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

T0 = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
LEVEL = AttributeMapping("level", "urn:x:level", "MTR")
GAUGE = Device(1, "gauge", "gauge", "gauge", "urn:ngsi-ld:W:1", ("urn:x:W",), (LEVEL,))
OTHER = replace(GAUGE, device_id="other", key="other", entity_id="urn:ngsi-ld:W:2")
# As somebody else changes an entity: the present value, and an attribute that no reading has.
CHANGE = """update entity set modified_at = now(), document = document || '{
    "urn:x:level": {"@none": {"type": "Property", "value": 7.5, "observedAt": "2026-11-21T08:05:00Z"}},
    "urn:x:note": {"@none": {"type": "Property", "value": 1}}}'"""


class Writer:
    """One process that writes readings."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._store = PostgresReadingStore(database, TermIds(database), Partitions(database, HISTORY))

    async def commit(self, minutes: float, value: float, *devices: Device) -> CommitSummary:
        at = T0 + timedelta(minutes=minutes)
        observations = [Observation(device, at, ((LEVEL, value),)) for device in devices or (GAUGE,)]
        return await self._store.commit(observations, [])

    async def ask(self, statement: str) -> list[tuple[Any, ...]]:
        async with self.database.transaction(ALL_TENANTS) as connection:
            return await (await connection.execute(statement)).fetchall()  # type: ignore[arg-type]

    async def do(self, statement: str) -> None:
        async with self.database.transaction(ALL_TENANTS) as connection:
            await connection.execute(statement)  # type: ignore[arg-type]

    async def steps(self) -> list[tuple[float | None, float]]:
        """The values before and after each change."""
        return await self.ask(
            """select (c -> 'before' ->> 'value')::float8, (c -> 'after' ->> 'value')::float8
                 from change_event, json_array_elements(changes::json) c
                where operation = 'updated' and c ->> 'attribute' = 'urn:x:level' order by event_id"""
        )


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[Writer]:
    database = Database(database_url)
    await database.open()
    await Partitions(database, CHANGES).ensure_ahead(datetime.now(UTC), 2)
    yield Writer(database)
    await database.close()


async def test_a_change_by_somebody_else_is_what_the_next_reading_follows(writer: Writer) -> None:
    for minute in range(2):
        await writer.commit(minute, float(minute))
    await writer.do(CHANGE)
    await writer.commit(10, 8.0)
    assert await writer.steps() == [(None, 0.0), (0.0, 1.0), (7.5, 8.0)]
    assert await writer.ask("select document ? 'urn:x:note' from entity") == [(True,)]


async def test_a_change_that_a_batch_had_to_wait_for_is_what_it_follows(writer: Writer) -> None:
    for minute in range(2):
        await writer.commit(minute, float(minute))
    async with writer.database.transaction(ALL_TENANTS) as connection:
        await connection.execute(CHANGE)
        batch = asyncio.create_task(writer.commit(10, 8.0))
        await eventually(lambda: _is_waiting(writer))
    await batch
    assert (await writer.steps())[-1] == (7.5, 8.0)


async def test_an_entity_deleted_meanwhile_is_made_again(writer: Writer) -> None:
    for minute in range(2):
        await writer.commit(minute, float(minute))
    await writer.do("delete from entity")
    summary = await writer.commit(10, 8.0)
    assert (summary.current, await writer.steps()) == (1, [(None, 0.0), (0.0, 1.0), (None, 8.0)])


async def test_two_writers_that_take_turns_lose_and_double_nothing(writer: Writer) -> None:
    second = Writer(writer.database)
    for minute in range(6):
        await (second if minute % 2 else writer).commit(minute, float(minute))
    repeated = [await one.commit(minute, float(minute)) for one in (writer, second) for minute in range(6)]
    assert [summary.repeated for summary in repeated] == [1] * 12
    assert await writer.steps() == [(None, 0.0), *((float(n), float(n + 1)) for n in range(5))]


async def test_known_and_new_entities_share_a_batch(writer: Writer) -> None:
    await writer.commit(0, 0.0)
    await writer.commit(1, 1.0, GAUGE, OTHER)
    await writer.commit(2, 2.0, GAUGE, OTHER)
    assert await writer.steps() == [(None, 0.0), (0.0, 1.0), (None, 1.0), (1.0, 2.0), (1.0, 2.0)]


def test_those_that_were_written_last_are_remembered(store_mode: str) -> None:
    known = KnownEntities(most=2)
    states = {(1, str(number)): EntityState(number, 1, None, ("7", T0)) for number in range(3)}
    for place, state in states.items():
        known.keep({place: state}, None)
    assert list(known.take(dict.fromkeys(states, ()))) == [(1, "1"), (1, "2")]


async def _is_waiting(writer: Writer) -> bool:
    return (await writer.ask("select count(*) > 0 from pg_locks where not granted"))[0][0] is True

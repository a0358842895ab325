# SPDX-License-Identifier: Apache-2.0
"""Committing readings: the rules of time, idempotency, and everything in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import sql

from broker.devices.model import AttributeMapping, Device
from broker.errors import StoreUnavailable
from broker.intake.readings import Observation, Quarantined, Reason, UnstorableBatch
from broker.quality import GOOD
from context_store.database import ALL_TENANTS, Database
from context_store.events import ChangeFeed
from context_store.history.partitions import CHANGES, HISTORY, Partitions
from context_store.history.terms import TermIds
from context_store.intake.commits import PostgresReadingStore

T0 = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
LEVEL = AttributeMapping("level", "urn:x:level", "MTR")
STATE = AttributeMapping("state", "urn:x:state")
GAUGE = Device(1, "gauge", "gauge", "gauge", "urn:ngsi-ld:W:1", ("urn:x:W",), (LEVEL, STATE), location=(138.9, 35.1))
SPARE = Device(1, "spare", "spare", "spare", "urn:ngsi-ld:W:1", ("urn:x:W",), (LEVEL,))


class Store:
    """A reading store and questions to its database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        terms = TermIds(database)
        history = Partitions(database, HISTORY)
        self.store = PostgresReadingStore(database, terms, history)

    async def commit(self, *observations: Observation, quarantined: list[Quarantined] | None = None) -> Any:
        return await self.store.commit(list(observations), quarantined or [])

    async def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        async with self.database.transaction(ALL_TENANTS) as connection:
            return await (await connection.execute(statement, parameters)).fetchall()  # type: ignore[arg-type]

    async def level(self) -> tuple[str, float]:
        rows = await self.ask("select document->'urn:x:level'->'@none' from entity")
        return rows[0][0]["observedAt"], rows[0][0]["value"]

    async def history(self) -> list[tuple[datetime, float]]:
        return await self.ask(
            """select observed_at, number_value from attribute_instance join term on term_id = attribute_id
                where name = 'urn:x:level' order by observed_at, instance_key"""
        )

    async def events(self) -> list[tuple[str, Any]]:
        return await self.ask(
            """select c->'after'->>'observedAt', c->'after'->'value' from change_event, json_array_elements(changes) c
                where c->>'attribute' = 'urn:x:level' order by event_id"""
        )


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A reading store on an empty database."""
    database = Database(database_url)
    await database.open()
    await Partitions(database, CHANGES).ensure_ahead(datetime.now(UTC), 2)
    yield Store(database)
    await database.close()


def level(minutes: float, value: float, device: Device = GAUGE) -> Observation:
    return Observation(device, T0 + timedelta(minutes=minutes), ((LEVEL, value),))


async def test_first_reading_makes_the_entity_with_its_place(store: Store) -> None:
    await store.commit(level(0, 1.0))
    rows = await store.ask("select id, types, st_x(location), st_y(location) from entity")
    assert rows == [("urn:ngsi-ld:W:1", ["urn:x:W"], 138.9, 35.1)]
    assert await store.level() == ("2026-11-21T08:00:00Z", 1.0)


async def test_devices_that_report_first_together_have_an_entity_each_with_history_and_event_by_themselves(
    store: Store,
) -> None:
    second = replace(GAUGE, key="second", name="second", entity_id="urn:ngsi-ld:W:2")
    await store.commit(level(0, 1.0), level(0, 2.0, second))
    made = await store.ask(
        """select e.entity_id, s.name, count(i.*) from change_event e join term s on s.term_id = e.source_id
             join attribute_instance i on i.entity_key = e.entity_key and i.source_id = e.source_id
            where e.operation = 'created' group by 1, 2 order by 1"""
    )
    assert made == [("urn:ngsi-ld:W:1", GAUGE.key, 3), ("urn:ngsi-ld:W:2", "second", 3)]  # name, place and level


async def test_newest_by_observed_at_is_current_whatever_comes_last(store: Store) -> None:
    summary = await store.commit(level(10, 1.2), level(5, 1.1))
    assert (summary.current, summary.late) == (1, 1)
    assert await store.level() == ("2026-11-21T08:10:00Z", 1.2)
    assert [value for _, value in await store.history()] == [1.1, 1.2]


async def test_late_reading_gives_no_change_event(store: Store) -> None:
    await store.commit(level(10, 1.2))
    await store.commit(level(5, 9.9))
    assert await store.events() == [("2026-11-21T08:10:00Z", 1.2)]


async def test_the_same_reading_again_changes_nothing(store: Store) -> None:
    await store.commit(level(0, 1.0), level(0, 1.0))
    summary = await store.commit(level(0, 1.0))
    assert summary.repeated == 1
    assert await store.history() == [(T0, 1.0)]
    assert len(await store.events()) == 1


async def test_late_reading_again_is_stored_once(store: Store) -> None:
    await store.commit(level(10, 1.2))
    for _ in range(3):
        await store.commit(level(5, 1.1))
    assert [value for _, value in await store.history()] == [1.1, 1.2]


async def test_what_is_there_although_nothing_tells_of_it_is_stored_once(store: Store) -> None:
    """The current state was put back, by a restore of it alone, say."""
    await store.commit(level(0, 1.0))
    await store.ask("update entity set document = document - 'urn:x:level', look_until = null returning 1")
    await store.commit(level(0, 1.0), level(10, 2.0))
    assert await store.history() == [(T0, 1.0), (T0 + timedelta(minutes=10), 2.0)]
    assert (await store.level())[1] == 2.0


async def test_correction_of_the_newest_becomes_current_and_stands_beside_the_first(store: Store) -> None:
    await store.commit(level(0, 1.0))
    summary = await store.commit(level(0, 1.5))
    assert summary.corrections == 1
    assert await store.level() == ("2026-11-21T08:00:00Z", 1.5)
    assert await store.history() == [(T0, 1.0), (T0, 1.5)]


async def test_a_repeat_of_what_was_corrected_does_not_undo_the_correction(store: Store) -> None:
    await store.commit(level(0, 1.0))
    await store.commit(level(0, 1.5))
    summary = await store.commit(level(0, 1.0))
    assert summary.repeated == 1
    assert await store.level() == ("2026-11-21T08:00:00Z", 1.5)


async def test_a_repeat_of_what_was_corrected_in_the_same_batch_does_not_undo_it(store: Store) -> None:
    await store.commit(level(0, 1.0), level(0, 1.5), level(0, 1.0))
    assert await store.level() == ("2026-11-21T08:00:00Z", 1.5)
    assert await store.history() == [(T0, 1.0), (T0, 1.5)]


async def test_two_devices_of_one_station_are_two_sources(store: Store) -> None:
    await store.commit(level(0, 1.0), level(0, 1.0, SPARE), level(5, 1.1, SPARE))
    assert await store.level() == ("2026-11-21T08:05:00Z", 1.1)


async def test_every_reading_of_a_batch_is_an_event_in_order(store: Store) -> None:
    await store.commit(level(0, 1.0), level(5, 1.1), level(10, 1.2))
    assert [value for _, value in await store.events()] == [1.0, 1.1, 1.2]


async def test_event_carries_the_value_before(store: Store) -> None:
    await store.commit(level(0, 1.0))
    await store.commit(level(5, 1.1))
    rows = await store.ask("select changes->0->'before'->>'value' from change_event order by event_id desc limit 1")
    assert rows == [("1.0",)]


async def test_text_and_boolean_values_are_kept_in_their_kind(store: Store) -> None:
    await store.commit(Observation(GAUGE, T0, ((STATE, "wet"),)))
    await store.commit(Observation(GAUGE, T0 + timedelta(minutes=1), ((STATE, True),)))
    rows = await store.ask(
        """select text_value, boolean_value from attribute_instance join term on term_id = attribute_id
            where name = 'urn:x:state' order by observed_at"""
    )
    assert rows == [("wet", None), (None, True)]


async def test_other_attributes_of_the_entity_stay(store: Store) -> None:
    await store.commit(Observation(GAUGE, T0, ((LEVEL, 1.0), (STATE, "wet"))))
    await store.commit(level(5, 1.1))
    rows = await store.ask("select document->'urn:x:state'->'@none'->>'value' from entity")
    assert rows == [("wet",)]


async def test_created_at_of_an_attribute_is_kept_over_updates(store: Store) -> None:
    await store.commit(level(0, 1.0))
    first = (await store.ask("select document->'urn:x:level'->'@none'->>'createdAt' from entity"))[0][0]
    await store.commit(level(5, 1.1))
    assert (await store.ask("select document->'urn:x:level'->'@none'->>'createdAt' from entity"))[0][0] == first


async def test_quarantined_messages_are_kept_with_their_bytes(store: Store) -> None:
    fault = Quarantined(T0, "minamo/v1/x/readings", b"\x00\xff", Reason.UNDECODABLE, "not JSON\0", "x")
    summary = await store.commit(level(0, 1.0), quarantined=[fault])
    assert summary.quarantined == 1
    rows = await store.ask("select topic, payload, reason, detail, device_key, state from quarantine")
    assert rows == [("minamo/v1/x/readings", b"\x00\xff", "undecodable", "not JSON�", "x", "held")]


async def test_a_batch_the_database_refuses_is_not_stored_in_part(store: Store) -> None:
    with pytest.raises(UnstorableBatch):
        await store.commit(level(0, 1.0), Observation(GAUGE, T0, ((STATE, "nul \0"),)))
    assert await store.ask("select * from entity") == []
    assert await store.ask("select * from attribute_instance") == []


async def test_readings_far_in_the_past_find_a_partition(store: Store) -> None:
    await store.commit(level(0, 1.0), level(-60 * 24 * 365 * 6, 0.5))
    assert [value for _, value in await store.history()] == [0.5, 1.0]


async def test_a_database_that_is_away_is_said_to_be_so() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none", wait_s=0.2)
    await database.open()
    with pytest.raises(StoreUnavailable):
        await Store(database).commit(level(0, 1.0))
    await database.close()


async def test_readings_wait_for_a_partition_that_is_missing_and_are_not_called_wrong(store: Store) -> None:
    partitions = await store.ask(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'change_event'::regclass"
    )
    async with store.database.transaction(ALL_TENANTS) as connection:
        for (name,) in partitions:
            await connection.execute(sql.SQL("drop table {}").format(sql.Identifier(name)))
    with pytest.raises(StoreUnavailable, match="no partition"):
        await store.commit(level(0, 1.0))
    await Partitions(store.database, CHANGES).ensure_ahead(datetime.now(UTC), 2)
    await store.commit(level(0, 1.0))
    assert len(await store.events()) == 1


async def test_readers_of_events_see_in_full_that_a_reading_is_good_and_the_table_has_it_short(store: Store) -> None:
    judged = GAUGE.attributes[0]
    first, second, third = (
        Observation(GAUGE, T0 + timedelta(minutes=5 * turn), ((judged, 1.0 + turn / 10),)) for turn in range(3)
    )
    await store.commit(first)
    await store.commit(second, third)
    async with ChangeFeed(store.database, "alerts").batch() as (_, events):
        told = [change[side] for event in events[-2:] for change in event.changes for side in ("before", "after")]
    stored = (await store.ask("select changes::text from change_event order by event_id desc limit 1"))[0][0]
    assert [(instance["value"], instance["attrs"]) for instance in told] == [
        (value, GOOD) for value in (1.0, 1.1, 1.1, 1.2)
    ]
    assert stored.count("good") == 2
    assert "attrs" not in stored

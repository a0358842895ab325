# SPDX-License-Identifier: Apache-2.0
"""The second time: what the hub believes of a moment, and what it believed before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from api.hub import Hub
from broker.contexts.jsonld import core_terms
from broker.devices.model import AttributeMapping, Device
from broker.entities import EntityChange
from broker.expansion import EntityFragment, expand_entity
from broker.history.temporal_input import expand_temporal
from broker.intake.readings import Observation
from broker.operations import delete_attribute, merge_entity, update_attributes
from broker.times import to_text
from context_store.database import ALL_TENANTS, SESSION_OPTIONS
from context_store.entities.batch import BatchItem, EntityBatch
from context_store.entities.store import EntityStore
from context_store.history.evolution import EvolutionStore
from context_store.intake.commits import PostgresReadingStore
from context_store.migrate import migrate
from support.hub import hub_for

TENANT = 1
RIVER = "urn:ngsi-ld:River:abe"
LEVEL = "https://uri.etsi.org/ngsi-ld/default-context/waterLevel"
MAPPING = AttributeMapping("level", LEVEL)
GAUGE = Device(1, "gauge", "gauge", "gauge", RIVER, ("urn:x:River",), (MAPPING,))
SPARE = Device(1, "spare", "spare", "spare", RIVER, ("urn:x:River",), (MAPPING,))
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEGIN = datetime(2026, 11, 22, 8, tzinfo=UTC)


class Clock:
    """Each write is a second after the one before."""

    def __init__(self) -> None:
        self.seconds = 0

    def __call__(self) -> datetime:
        self.seconds += 1
        return BEGIN + timedelta(seconds=self.seconds)


class Story:
    """Writes by all ways, and what history has of the level then."""

    def __init__(self, hub: Hub) -> None:
        clock = Clock()
        self.hub = hub
        self.readings = PostgresReadingStore(hub.database, hub.terms, hub.history, clock)
        self.entities = EntityStore(hub.database, hub.terms, hub.history, clock=clock)
        self.batch = EntityBatch(hub.database, hub.terms, hub.history, clock=clock)
        self.evolution = EvolutionStore(hub.database, hub.terms, hub.history, clock=clock)

    async def read(self, *readings: tuple[int, float], device: Device = GAUGE) -> Any:
        """Readings as (minute, value), in one batch."""
        observations = [Observation(device, at(minute), ((MAPPING, value),)) for minute, value in readings]
        return await self.readings.commit(observations, [])

    async def patch(self, **level: Any) -> None:
        given = EntityFragment(expand_entity({"id": RIVER, "type": "T", "waterLevel": level}, core_terms()).attributes)
        await self.entities.change(TENANT, RIVER, lambda stored, now: update_attributes(stored, given, now))

    async def tell(self, *levels: dict[str, Any]) -> None:
        """By the temporal API."""
        body = {"id": RIVER, "type": "urn:x:River", "waterLevel": list(levels)}
        await self.evolution.upsert(TENANT, RIVER, expand_temporal(body, core_terms()))

    async def rows(self) -> list[tuple[int, Any, int, int | None]]:
        """(minute, value, recorded, superseded) in the order of learning; seconds since the story began."""
        statement = """
            select extract(epoch from observed_at - %s)::int / 60, number_value,
                   extract(epoch from recorded_at - %s)::int, extract(epoch from superseded_at - %s)::int
              from attribute_instance join term on term_id = attribute_id
             where name = %s and has_observed_at order by recorded_at, instance_key
        """
        async with self.hub.database.transaction(ALL_TENANTS) as connection:
            return await (await connection.execute(statement, (NOON, BEGIN, BEGIN, LEVEL))).fetchall()

    async def believed(self) -> list[tuple[int, Any]]:
        """(minute, value) of what is believed, in the order of time."""
        return sorted(row[:2] for row in await self.rows() if row[3] is None)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def level(value: Any, minute: int | None, **members: Any) -> dict[str, Any]:
    observed = {} if minute is None else {"observedAt": to_text(at(minute))}
    return {"type": "Property", "value": value, **observed, **members}


@pytest.fixture
async def story(database_url: str) -> AsyncIterator[Story]:
    async with hub_for(database_url) as hub:
        yield Story(hub)


async def test_a_corrected_reading_is_believed_until_its_correction_is_recorded(story: Story) -> None:
    await story.read((0, 1.0))
    await story.read((0, 1.5))
    assert await story.rows() == [(0, 1.0, 1, 2), (0, 1.5, 2, None)]


async def test_a_late_reading_corrects_what_was_known_of_its_moment(story: Story) -> None:
    await story.read((0, 1.0), (10, 2.0))
    summary = await story.read((0, 1.5))
    assert (summary.late, await story.rows()) == (1, [(0, 1.0, 1, 2), (10, 2.0, 1, None), (0, 1.5, 2, None)])


async def test_a_late_repeat_of_a_corrected_reading_changes_nothing(story: Story) -> None:
    await story.read((0, 1.0), (10, 2.0))
    await story.read((0, 1.5))
    summary = await story.read((0, 1.0))
    assert (summary.repeated, await story.believed()) == (1, [(0, 1.5), (10, 2.0)])


async def test_corrections_within_a_batch_are_superseded_at_once(story: Story) -> None:
    await story.read((10, 2.0))
    await story.read((0, 1.0), (0, 1.5), (0, 1.0), (0, 1.7))
    assert await story.rows() == [(10, 2.0, 1, None), (0, 1.0, 2, 2), (0, 1.5, 2, 2), (0, 1.7, 2, None)]


async def test_a_device_does_not_correct_another_one(story: Story) -> None:
    await story.read((0, 1.0), (10, 2.0))
    await story.read((0, 1.5), device=SPARE)
    assert await story.believed() == [(0, 1.0), (0, 1.5), (10, 2.0)]


async def test_a_write_of_the_same_observed_at_is_a_correction_whoever_told_before(story: Story) -> None:
    await story.read((0, 1.0))
    await story.patch(**level(1.5, 0))
    assert await story.rows() == [(0, 1.0, 1, 2), (0, 1.5, 2, None)]


async def test_what_an_api_corrected_stays_so_when_the_device_sends_it_again(story: Story) -> None:
    await story.read((0, 1.0), (10, 2.0))
    await story.tell(level(1.5, 0))
    await story.read((0, 1.0))
    assert await story.believed() == [(0, 1.5), (10, 2.0)]


async def test_a_value_can_be_corrected_back_by_an_api(story: Story) -> None:
    await story.read((0, 9.0))
    for value in (1.0, 1.5, 1.0, 1.5):
        await story.patch(**level(value, 0))
    rows = [row[1:] for row in await story.rows()]
    assert rows == [(9.0, 1, 2), (1.0, 2, 3), (1.5, 3, 4), (1.0, 4, 5), (1.5, 5, None)]


async def test_a_change_of_a_sub_attribute_alone_is_a_correction(story: Story) -> None:
    await story.read((0, 1.0))
    await story.patch(**level(1.0, 0, accuracy={"type": "Property", "value": 2}))
    assert await story.rows() == [(0, 1.0, 1, 2), (0, 1.0, 2, None)]


async def test_what_is_believed_already_is_not_told_again(story: Story) -> None:
    for _ in range(2):
        await story.tell(level(1, 0, accuracy={"type": "Property", "value": 2}))
    assert len(await story.rows()) == 1


async def test_writes_without_a_time_of_observation_correct_nothing(story: Story) -> None:
    await story.read((0, 1.0))
    await story.patch(**level(1.5, None))
    assert await story.rows() == [(0, 1.0, 1, None)]


@pytest.mark.parametrize("older", [-10, None], ids=["an older value", "a value without observedAt"])
async def test_a_reading_is_a_correction_also_after_something_older_became_current(
    story: Story, older: int | None
) -> None:
    await story.read((0, 1.0))
    await story.patch(**level(5.0, older))
    await story.read((0, 1.5))
    assert (0, 1.0, 1, 3) in await story.rows()


async def test_a_reading_is_a_correction_also_after_the_attribute_was_deleted(story: Story) -> None:
    await story.read((0, 1.0))
    await story.entities.change(TENANT, RIVER, lambda stored, now: delete_attribute(stored, LEVEL, now))
    await story.read((0, 1.5))
    assert (0, 1.0, 1, 3) in await story.rows()


async def test_a_write_corrects_what_only_history_knows(story: Story) -> None:
    await story.read((0, 1.0))
    await story.tell(level(2.0, 30))
    await story.patch(**level(2.5, 30))
    assert await story.believed() == [(0, 1.0), (30, 2.5)]


async def test_items_of_one_batch_correct_each_other(story: Story) -> None:
    await story.read((0, 1.0))

    def merging(value: float, minute: int) -> BatchItem:
        body = {"id": RIVER, "type": "T", "waterLevel": level(value, minute)}
        given = EntityFragment(expand_entity(body, core_terms()).attributes)

        def operation(stored: Any, now: datetime) -> EntityChange:
            change: EntityChange = merge_entity(stored, given, now)
            return change

        return BatchItem(RIVER, operation)

    await story.batch.run(TENANT, [merging(2.0, 10), merging(2.5, 10), merging(1.5, 0)])
    assert await story.believed() == [(0, 1.5), (10, 2.5)]


async def test_all_instances_of_a_batch_are_history_also_without_a_time_of_observation(story: Story) -> None:
    await story.read((0, 1.0))
    items = []
    for value in (1.0, 2.0, 1.0):
        given = EntityFragment(
            expand_entity({"id": RIVER, "type": "T", "waterLevel": level(value, None)}, core_terms()).attributes
        )
        items.append(BatchItem(RIVER, lambda stored, now, given=given: update_attributes(stored, given, now)))  # type: ignore[misc]
    await story.batch.run(TENANT, items)
    statement = "select number_value from attribute_instance where not has_observed_at and number_value > 0 order by 1"
    async with story.hub.database.transaction(ALL_TENANTS) as connection:
        found = await (await connection.execute(statement)).fetchall()
    assert found == [(1.0,), (1.0,), (2.0,)]


async def test_a_deleted_instance_is_believed_no_longer_and_not_forgotten(story: Story) -> None:
    await story.tell(level(1, 0))
    statement = "select instance_key from attribute_instance"
    async with story.hub.database.transaction(ALL_TENANTS) as connection:
        ((instance,),) = await (await connection.execute(statement)).fetchall()
    await story.evolution.delete_instance(TENANT, RIVER, LEVEL, instance)
    assert await story.rows() == [(0, 1.0, 1, 2)]
    await story.tell(level(1, 0))
    assert await story.rows() == [(0, 1.0, 1, 2), (0, 1.0, 3, None)]


def test_values_kept_side_by_side_before_are_put_in_their_order(empty_database_url: str) -> None:
    migrate(empty_database_url, "0008")
    with psycopg.connect(empty_database_url, options=SESSION_OPTIONS, autocommit=True) as connection:
        connection.execute("set minamo.tenant = 0")
        if is_partitioned(connection):
            connection.execute("create table history partition of attribute_instance default")
        connection.execute(
            """insert into entity (tenant_id, id, types, document, created_at, modified_at)
               values (1, 'urn:x', '{T}', '{}', now(), now())"""
        )
        connection.execute(
            """insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, has_observed_at,
                      source_id, value_hash, kind, recorded_at, number_value)
               select entity_key, 1, 1, '2026-01-01', o, s, v, 1, timestamptz '2026-02-01' + make_interval(secs => v), v
                 from entity, (values (true, 1, 1), (true, 1, 2), (true, 1, 3), (true, 2, 4), (false, 3, 5),
                                      (false, 3, 6)) as r (o, s, v)"""
        )
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url, options=SESSION_OPTIONS) as connection:
        connection.execute("set minamo.tenant = 0")
        rows = connection.execute(
            """select value_hash, extract(second from superseded_at)::int from attribute_instance order by value_hash"""
        ).fetchall()
        look_until = connection.execute("select look_until from entity").fetchall()
    assert rows == [(1, 2), (2, 3), (3, None), (4, None), (5, None), (6, None)]
    assert look_until == [(datetime(2026, 1, 1, tzinfo=UTC),)]


def is_partitioned(connection: psycopg.Connection) -> bool:
    row = connection.execute("select relkind = 'p' from pg_class where relname = 'attribute_instance'").fetchone()
    return bool(row and row[0])

# SPDX-License-Identifier: Apache-2.0
"""What is transient goes on time: never read, soon collected, with its events, and its history as the rules say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.hub import Hub
from broker.contexts.jsonld import core_terms
from broker.entities import ExpandedEntity
from broker.errors import ResourceNotFound
from broker.expansion import EntityFragment, expand_entity
from broker.operations import append_attributes, create_entity
from broker.query import EntityQuery, parse_types
from broker.times import to_text
from context_store.entities.batch import BatchItem, EntityBatch
from context_store.entities.expiry import ExpiryStore
from context_store.entities.store import EntityStore

TENANT = 1
RIVER = "urn:ngsi-ld:River:abe"
START = datetime.now(UTC).replace(microsecond=0)
SOON = to_text(START + timedelta(seconds=5))

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(hub: Hub, clock: Clock) -> EntityStore:
    return EntityStore(hub.database, hub.terms, hub.history, clock=clock)


@pytest.fixture
def expiry(hub: Hub, clock: Clock) -> ExpiryStore:
    return ExpiryStore(hub.database, hub.writer, clock=clock)


def river(**members: Any) -> ExpandedEntity:
    return expand_entity({"id": RIVER, "type": "River", **members}, core_terms())


def level(value: int, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **members}


def names(entity: ExpandedEntity) -> set[str]:
    return {iri.rpartition("/")[2] for iri in entity.attributes}


async def operations(hub: Hub) -> list[str]:
    async with hub.database.transaction(TENANT) as connection:
        cursor = await connection.execute("select operation from change_event order by event_id")
        return [row[0] for row in await cursor.fetchall()]


async def history(hub: Hub) -> list[tuple[float | None, bool]]:
    async with hub.database.transaction(TENANT) as connection:
        cursor = await connection.execute(
            "select number_value, removed from attribute_instance order by removed, number_value"
        )
        return await cursor.fetchall()


async def test_an_expired_attribute_is_not_read_before_it_is_collected(store: EntityStore, clock: Clock) -> None:
    await store.create(TENANT, river(level=level(1, expiresAt=SOON), name="安倍川"))
    assert names(await store.get(TENANT, RIVER)) == {"level", "name"}
    clock.pass_s(5)
    assert names(await store.get(TENANT, RIVER)) == {"name"}
    page = await store.query(TENANT, EntityQuery(types=parse_types("River", core_terms().expand_term)), limit=10)
    assert [names(entity) for entity in page.entities] == [{"name"}]


async def test_an_expired_entity_is_deleted_once_and_its_history_stays(
    hub: Hub, store: EntityStore, expiry: ExpiryStore, clock: Clock
) -> None:
    await store.create(TENANT, river(level=level(1), expiresAt=SOON))
    assert await expiry.collect(10) == 0
    clock.pass_s(5)
    assert await expiry.collect(10) == 1
    assert await expiry.collect(10) == 0
    assert await operations(hub) == ["created", "deleted"]
    assert await history(hub) == [(1, False), (None, True)]
    with pytest.raises(ResourceNotFound):
        await store.get(TENANT, RIVER)


async def test_a_transient_attribute_goes_with_its_history(
    hub: Hub, store: EntityStore, expiry: ExpiryStore, clock: Clock
) -> None:
    await store.create(TENANT, river(level=level(1, expiresAt=SOON), depth=level(7)))
    clock.pass_s(1)
    fragment = EntityFragment(river(level=level(2, expiresAt=SOON)).attributes)
    await store.change(TENANT, RIVER, lambda stored, now: append_attributes(stored, fragment, now))
    clock.pass_s(5)
    assert await expiry.collect(10) == 1
    assert await operations(hub) == ["created", "updated", "updated"]
    assert await history(hub) == [(7, False)]
    assert await expiry.collect(10) == 0


async def test_what_was_durable_before_stays_in_history_with_its_end(
    hub: Hub, store: EntityStore, expiry: ExpiryStore, clock: Clock
) -> None:
    await store.create(TENANT, river(level=level(1)))
    clock.pass_s(1)
    fragment = EntityFragment(river(level=level(2, expiresAt=SOON)).attributes)
    await store.change(TENANT, RIVER, lambda stored, now: append_attributes(stored, fragment, now))
    clock.pass_s(5)
    await expiry.collect(10)
    assert await history(hub) == [(1, False), (None, True)]


async def test_an_attribute_made_durable_in_time_stays(
    hub: Hub, store: EntityStore, expiry: ExpiryStore, clock: Clock
) -> None:
    await store.create(TENANT, river(level=level(1, expiresAt=SOON)))
    fragment = EntityFragment(river(level=level(2)).attributes)
    clock.pass_s(1)
    await store.change(TENANT, RIVER, lambda stored, now: append_attributes(stored, fragment, now))
    clock.pass_s(10)
    assert await expiry.collect(10) == 0
    assert names(await store.get(TENANT, RIVER)) == {"level"}


async def test_a_write_takes_what_has_expired_for_gone(hub: Hub, store: EntityStore, clock: Clock) -> None:
    await store.create(TENANT, river(level=level(1, expiresAt=SOON)))
    clock.pass_s(6)
    fragment = EntityFragment(river(level=level(2)).attributes)
    outcome = await store.change(
        TENANT, RIVER, lambda stored, now: append_attributes(stored, fragment, now, overwrite=False)
    )
    assert not outcome.not_updated
    assert await operations(hub) == ["created", "updated", "updated"]
    assert await history(hub) == [(2, False)]


async def test_a_batch_creates_anew_what_has_expired(hub: Hub, store: EntityStore, clock: Clock) -> None:
    await store.create(TENANT, river(level=level(1), expiresAt=SOON))
    clock.pass_s(6)
    batch = EntityBatch(hub.database, hub.terms, hub.history, clock=clock)
    again = river(level=level(2))
    outcomes = await batch.run(TENANT, [BatchItem(RIVER, lambda stored, now: create_entity(stored, again, now))])
    assert not isinstance(outcomes[0], Exception)
    assert (await store.get(TENANT, RIVER)).expires_at is None
    assert await operations(hub) == ["created", "deleted", "created"]

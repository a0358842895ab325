# SPDX-License-Identifier: Apache-2.0
"""Entities in PostgreSQL: an operation writes current state, history and a change event, or nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.hub import Hub
from broker.contexts.jsonld import core_terms
from broker.entities import ExpandedEntity
from broker.errors import AlreadyExists, BadRequestData, ResourceNotFound
from broker.expansion import EntityFragment, expand_entity
from broker.operations import append_attributes, delete_entity, merge_entity
from broker.query import EntityQuery, parse_types
from context_store.entities.store import EntityStore

TENANT = 1
RIVER = "urn:ngsi-ld:River:abe"
LEVEL = "https://uri.etsi.org/ngsi-ld/default-context/waterLevel"

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


@pytest.fixture
def store(hub: Hub) -> EntityStore:
    return EntityStore(hub.database, hub.terms, hub.history)


def river(identifier: str = RIVER, **members: Any) -> ExpandedEntity:
    return expand_entity({"id": identifier, "type": "River", "waterLevel": 1.5, **members}, core_terms())


def level(value: float) -> EntityFragment:
    return EntityFragment(river(waterLevel=value).attributes)


async def count(hub: Hub, table: str) -> int:
    statements = {"attribute_instance": "select count(*) from attribute_instance",
                  "change_event": "select count(*) from change_event"}  # fmt: skip
    async with hub.database.transaction(TENANT) as connection:
        row = await (await connection.execute(statements[table])).fetchone()
    assert row is not None
    return int(row[0])


async def test_what_was_created_can_be_read(store: EntityStore) -> None:
    await store.create(TENANT, river())
    entity = await store.get(TENANT, RIVER)
    assert entity.attributes[LEVEL]["@none"]["value"] == 1.5
    assert entity.created_at == entity.modified_at


async def test_a_creation_is_in_history_and_in_the_change_events(hub: Hub, store: EntityStore) -> None:
    await store.create(TENANT, river())
    assert (await count(hub, "attribute_instance"), await count(hub, "change_event")) == (1, 1)


async def test_an_entity_is_created_once(hub: Hub, store: EntityStore) -> None:
    results = await asyncio.gather(*(store.create(TENANT, river()) for _ in range(5)), return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, AlreadyExists) for result in results) == 4
    assert await count(hub, "change_event") == 1


async def test_an_operation_that_changes_nothing_writes_nothing(hub: Hub, store: EntityStore) -> None:
    await store.create(TENANT, river())
    await store.change(TENANT, RIVER, lambda stored, now: append_attributes(stored, level(2), now, overwrite=False))
    assert await count(hub, "change_event") == 1


async def test_an_operation_that_fails_writes_nothing(hub: Hub, store: EntityStore) -> None:
    await store.create(TENANT, river())

    def failing(_stored: ExpandedEntity, _now: datetime) -> Any:
        raise BadRequestData("no")

    with pytest.raises(BadRequestData):
        await store.change(TENANT, RIVER, failing)
    assert await count(hub, "change_event") == 1


async def test_concurrent_changes_of_one_entity_all_happen(store: EntityStore) -> None:
    await store.create(TENANT, river())

    def fragment(number: int) -> EntityFragment:
        return EntityFragment(
            expand_entity({"id": RIVER, "type": "River", f"a{number}": number}, core_terms()).attributes
        )

    await asyncio.gather(
        *(
            store.change(TENANT, RIVER, lambda stored, now, n=n: merge_entity(stored, fragment(n), now))  # type: ignore[misc]
            for n in range(10)
        )
    )
    assert len((await store.get(TENANT, RIVER)).attributes) == 11


@pytest.mark.parametrize("attributes", [None, (LEVEL,)], ids=["whole", "parts"])
async def test_a_change_at_a_moment_that_history_has_is_made_all_the_same(
    hub: Hub, attributes: tuple[str, ...] | None
) -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    store = EntityStore(hub.database, hub.terms, hub.history, clock=lambda: now)  # a clock that was set back
    await store.create(TENANT, river())
    for value in (2, 1.5):
        await store.change(
            TENANT,
            RIVER,
            lambda stored, now, value=value: append_attributes(stored, level(value), now, overwrite=True),  # type: ignore[misc]
            attributes=attributes,
        )
    assert (await store.get(TENANT, RIVER)).attributes[LEVEL]["@none"]["value"] == 1.5
    assert (await count(hub, "attribute_instance"), await count(hub, "change_event")) == (2, 3)


async def test_a_deleted_entity_is_gone_and_its_history_is_not(hub: Hub, store: EntityStore) -> None:
    await store.create(TENANT, river())
    await store.change(TENANT, RIVER, lambda stored, _now: delete_entity(stored))
    with pytest.raises(ResourceNotFound):
        await store.get(TENANT, RIVER)
    assert await count(hub, "attribute_instance") == 2  # the value, and that it ended


async def test_an_operation_on_another_type_does_not_find_the_entity(store: EntityStore) -> None:
    await store.create(TENANT, river())
    types = parse_types("Lake", core_terms().expand_term)
    with pytest.raises(ResourceNotFound):
        await store.change(TENANT, RIVER, lambda stored, _now: delete_entity(stored), types=types)


async def test_an_expired_entity_is_gone_before_it_is_collected(store: EntityStore) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    await store.create(TENANT, river(expiresAt=past.strftime("%Y-%m-%dT%H:%M:%SZ")))
    with pytest.raises(ResourceNotFound):
        await store.get(TENANT, RIVER)
    assert (await store.query(TENANT, EntityQuery(ids=(RIVER,)), limit=5)).entities == ()


async def test_an_expired_entity_makes_room_for_a_new_one(store: EntityStore) -> None:
    await store.create(TENANT, river(expiresAt="2020-01-01T00:00:00Z"))
    await store.create(TENANT, river(waterLevel=7))
    assert (await store.get(TENANT, RIVER)).attributes[LEVEL]["@none"]["value"] == 7


async def test_tenants_do_not_see_each_other(hub: Hub, store: EntityStore) -> None:
    other = await hub.tenants.find_or_create("kamakura")
    await store.create(TENANT, river())
    await store.create(other, river(waterLevel=9))
    assert (await store.get(TENANT, RIVER)).attributes[LEVEL]["@none"]["value"] == 1.5
    assert len((await store.query(other, EntityQuery(), limit=10)).entities) == 1


async def test_pages_cover_a_result_without_overlap(store: EntityStore) -> None:
    for number in range(5):
        await store.create(TENANT, river(f"urn:x:{number}"))
    pages = [await store.query(TENANT, EntityQuery(), limit=2, offset=offset, count=True) for offset in (0, 2, 4)]
    assert [entity.id for page in pages for entity in page.entities] == [f"urn:x:{number}" for number in range(5)]
    assert [page.more for page in pages] == [True, True, False]
    assert {page.total for page in pages} == {5}


async def test_only_the_number_of_results(store: EntityStore) -> None:
    await store.create(TENANT, river())
    page = await store.query(TENANT, EntityQuery(), limit=0, count=True)
    assert (page.entities, page.total, page.more) == ((), 1, False)


async def test_what_postgresql_cannot_store_is_the_fault_of_the_request(store: EntityStore) -> None:
    with pytest.raises(BadRequestData):
        await store.create(TENANT, river(note="a\0b"))

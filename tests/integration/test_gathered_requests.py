# SPDX-License-Identifier: Apache-2.0
"""Concurrent requests share transactions, and yet each is for itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from api.hub import Hub
from broker.contexts.jsonld import core_terms
from broker.entities import EntityChange, ExpandedEntity
from broker.errors import BadRequestData, ResourceNotFound
from broker.expansion import EntityFragment, expand_entity, expand_fragment
from broker.operations import UpdateOutcome, append_attributes, delete_entity, update_attributes
from context_store.entities.store import EntityStore

TENANT = 1
LEVEL = "https://uri.etsi.org/ngsi-ld/default-context/waterLevel"

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


@pytest.fixture
def store(hub: Hub) -> EntityStore:
    return EntityStore(hub.database, hub.terms, hub.history)


def river(number: int, value: Any = 0.0) -> ExpandedEntity:
    return expand_entity({"id": f"urn:ngsi-ld:River:{number}", "type": "River", "waterLevel": value}, core_terms())


def levelled(value: Any) -> Callable[[ExpandedEntity, datetime], UpdateOutcome]:
    fragment = EntityFragment(river(0, value).attributes)
    return lambda stored, now: append_attributes(stored, fragment, now)


async def transactions(hub: Hub) -> int:
    """How many transactions wrote change events."""
    async with hub.database.transaction(TENANT) as connection:
        row = await (await connection.execute("select count(distinct transaction_id) from change_event")).fetchone()
    assert row is not None
    return int(row[0])


async def values(store: EntityStore, count: int) -> list[Any]:
    found = await asyncio.gather(*(store.get(TENANT, f"urn:ngsi-ld:River:{n}") for n in range(count)))
    return [entity.attributes[LEVEL]["@none"]["value"] for entity in found]


async def test_concurrent_changes_share_transactions(hub: Hub, store: EntityStore) -> None:
    await asyncio.gather(*(store.create(TENANT, river(n)) for n in range(40)))
    await asyncio.gather(*(store.change(TENANT, f"urn:ngsi-ld:River:{n}", levelled(n)) for n in range(40)))
    assert await values(store, 40) == list(range(40))
    assert await transactions(hub) <= 6


async def test_concurrent_changes_of_one_entity_see_each_other(store: EntityStore) -> None:
    await store.create(TENANT, river(0, 0))

    def counted(stored: ExpandedEntity, now: datetime) -> UpdateOutcome:
        return levelled(stored.attributes[LEVEL]["@none"]["value"] + 1)(stored, now)

    await asyncio.gather(*(store.change(TENANT, "urn:ngsi-ld:River:0", counted) for _ in range(50)))
    assert await values(store, 1) == [50]


async def test_each_of_them_is_in_the_history(hub: Hub, store: EntityStore) -> None:
    await store.create(TENANT, river(0, 0))
    await asyncio.gather(*(store.change(TENANT, "urn:ngsi-ld:River:0", levelled(n)) for n in range(1, 30)))
    async with hub.database.transaction(TENANT) as connection:
        rows = await (
            await connection.execute("select number_value, observed_at from attribute_instance order by observed_at")
        ).fetchall()
    assert sorted(row[0] for row in rows) == list(range(30))
    assert len({row[1] for row in rows}) == 30


async def test_one_that_is_refused_leaves_the_others_alone(store: EntityStore) -> None:
    await asyncio.gather(*(store.create(TENANT, river(n)) for n in range(5)))
    work = [store.change(TENANT, f"urn:ngsi-ld:River:{n}", levelled(n)) for n in (0, 1, 99, 3)]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert isinstance(results[2], ResourceNotFound)
    assert await values(store, 5) == [0, 1, 0, 3, 0]


async def test_one_that_the_database_refuses_leaves_the_others_alone(store: EntityStore) -> None:
    await asyncio.gather(*(store.create(TENANT, river(n)) for n in range(5)))
    work = [store.change(TENANT, f"urn:ngsi-ld:River:{n}", levelled("\0" if n == 2 else n)) for n in range(5)]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert [type(result) for result in results if isinstance(result, Exception)] == [BadRequestData]
    assert await values(store, 5) == [0, 1, 0, 3, 4]


async def test_one_with_a_fault_of_ours_leaves_the_others_alone(store: EntityStore) -> None:
    await asyncio.gather(*(store.create(TENANT, river(n)) for n in range(5)))

    def broken(_stored: ExpandedEntity, _now: datetime) -> UpdateOutcome:
        raise RuntimeError("a fault")

    work = [
        store.change(TENANT, f"urn:ngsi-ld:River:{n}", broken if n == 2 else levelled(n)) for n in range(5)
    ]  # fmt: skip
    results = await asyncio.gather(*work, return_exceptions=True)
    assert [type(result) for result in results if isinstance(result, Exception)] == [RuntimeError]
    assert await values(store, 5) == [0, 1, 0, 3, 4]


async def test_an_id_too_long_for_the_index_is_refused_alone(store: EntityStore) -> None:
    long = expand_entity({"id": "urn:ngsi-ld:River:" + _noise(9000), "type": "River"}, core_terms())
    results = await asyncio.gather(
        store.create(TENANT, river(0)), store.create(TENANT, long), store.create(TENANT, river(1)),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(result) for result in results] == [type(None), BadRequestData, type(None)]


async def test_a_deletion_and_changes_at_once_leave_a_consistent_state(hub: Hub, store: EntityStore) -> None:
    await store.create(TENANT, river(0))

    def deleted(stored: ExpandedEntity, _now: datetime) -> EntityChange:
        return delete_entity(stored)

    name = "urn:ngsi-ld:River:0"
    results = await asyncio.gather(
        store.change(TENANT, name, levelled(1)), store.change(TENANT, name, deleted),
        store.change(TENANT, name, levelled(2)), store.create(TENANT, river(0, 7)),
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(results[2], ResourceNotFound)
    assert await values(store, 1) == [7]


def _noise(length: int) -> str:
    """Text that does not compress: an index entry is compressed before it is found too long."""
    chance = random.Random(1)
    return "".join(chance.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(length))


class TestChangesThatLookAtSomeAttributes:
    """Only those attributes are read; the others stay as they are, whatever becomes of the entity."""

    OTHER = "https://uri.etsi.org/ngsi-ld/default-context/name"

    async def _stored(self, store: EntityStore, **more: Any) -> None:
        body = {"id": "urn:ngsi-ld:River:0", "type": "River", "waterLevel": 1.0, "name": "Abe", **more}
        await store.create(TENANT, expand_entity(body, core_terms()))

    async def _after(self, store: EntityStore, body: dict[str, Any], **operation: Any) -> ExpandedEntity:
        fragment = expand_fragment(body, core_terms(), allow_null=True)
        names = tuple(fragment.attributes)

        def change(stored: ExpandedEntity, now: datetime) -> UpdateOutcome:
            assert operation.get("whole") or stored.attributes.keys() <= {*names}
            return update_attributes(stored, fragment, now)

        await store.change(TENANT, "urn:ngsi-ld:River:0", change, attributes=names)
        return await store.get(TENANT, "urn:ngsi-ld:River:0")

    async def test_they_find_no_others_and_leave_them(self, store: EntityStore) -> None:
        await self._stored(store)
        entity = await self._after(store, {"waterLevel": 2.0})
        assert entity.attributes[LEVEL]["@none"]["value"] == 2.0
        assert entity.attributes[self.OTHER]["@none"]["value"] == "Abe"

    @pytest.mark.parametrize("body", [{"waterLevel": "urn:ngsi-ld:null"}, {"type": "Stream", "waterLevel": 2.0}])
    async def test_what_needs_the_whole_entity_gets_it(self, store: EntityStore, body: dict[str, Any]) -> None:
        await self._stored(store)
        entity = await self._after(store, body, whole=True)
        assert (LEVEL in entity.attributes) == ("type" in body)
        assert entity.attributes[self.OTHER]["@none"]["value"] == "Abe"

    async def test_an_attribute_that_has_expired_goes_with_the_change(self, store: EntityStore) -> None:
        name = {"type": "Property", "value": "Abe", "expiresAt": "2020-01-01T00:00:00Z"}
        await self._stored(store, name=name)
        entity = await self._after(store, {"waterLevel": 2.0}, whole=True)
        assert entity.attributes.keys() == {LEVEL}

    async def test_creating_again_what_has_expired_is_a_new_entity(self, store: EntityStore) -> None:
        await self._stored(store, expiresAt="2020-01-01T00:00:00Z")
        await store.create(TENANT, river(0, 3.0))
        entity = await store.get(TENANT, "urn:ngsi-ld:River:0")
        assert entity.attributes.keys() == {LEVEL}

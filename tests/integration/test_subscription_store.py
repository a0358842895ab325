# SPDX-License-Identifier: Apache-2.0
"""Subscriptions as rows of a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.contexts.jsonld import core_terms
from broker.entities import ExpandedEntity
from broker.errors import AlreadyExists, ResourceNotFound
from broker.operations import create_entity, delete_entity
from broker.query import EntityQuery
from broker.subscriptions import Document, expand_subscription
from context_store.caches import version_of
from context_store.database import ALL_TENANTS, Database
from context_store.deliveries.outbox import NewDelivery, Priority, insert_deliveries
from context_store.entities.changes import EntityWriter
from context_store.history.partitions import CHANGES, HISTORY, Partitions
from context_store.history.terms import TermIds
from context_store.subscriptions import rows as store
from context_store.subscriptions.notified_entities import entities_by_key, matching_entities
from context_store.subscriptions.rows import SubscriptionStore
from context_store.tenants import Tenants
from schemas.terms import DEFAULT_VOCABULARY

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

TENANT = 1
ID = "urn:ngsi-ld:Subscription:1"
NOW = datetime.now(UTC)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, max_size=8)
    await database.open()
    await Partitions(database, CHANGES).ensure_ahead(NOW, 2)
    yield database
    await database.close()


@pytest.fixture
def subscriptions(database: Database) -> SubscriptionStore:
    return SubscriptionStore(database)


def document(**members: Any) -> Document:
    body = {
        "type": "Subscription",
        "entities": [{"type": "River"}],
        "notification": {"endpoint": {"uri": "http://example.org/"}},
        **members,
    }
    return expand_subscription(body, core_terms())


async def version(database: Database) -> int:
    async with database.transaction(ALL_TENANTS) as connection:
        return await version_of(connection, store.CACHE)


async def test_subscription_is_what_was_created(subscriptions: SubscriptionStore) -> None:
    await subscriptions.create(TENANT, ID, document(q="level>2"), ["https://example.org/c.jsonld"])
    stored = await subscriptions.get(TENANT, ID)
    assert stored.document == document(q="level>2")
    assert stored.context == ["https://example.org/c.jsonld"]
    assert stored.created_at == stored.modified_at


async def test_id_is_taken_once_in_a_tenant(database: Database, subscriptions: SubscriptionStore) -> None:
    other = await Tenants(database).find_or_create("other")
    await subscriptions.create(TENANT, ID, document(), None)
    await subscriptions.create(other, ID, document(), None)
    with pytest.raises(AlreadyExists, match=ID):
        await subscriptions.create(TENANT, ID, document(), None)


async def test_other_tenants_see_nothing(database: Database, subscriptions: SubscriptionStore) -> None:
    other = await Tenants(database).find_or_create("other")
    await subscriptions.create(TENANT, ID, document(), None)
    assert await subscriptions.page(other, limit=10) == ([], False, None)
    with pytest.raises(ResourceNotFound):
        await subscriptions.delete(other, ID)


async def test_pages_are_in_the_order_of_creation(subscriptions: SubscriptionStore) -> None:
    ids = [f"urn:ngsi-ld:Subscription:{name}" for name in "cab"]
    for subscription_id in ids:
        await subscriptions.create(TENANT, subscription_id, document(), None)
    first, more, total = await subscriptions.page(TENANT, limit=2, count=True)
    rest, no_more, _ = await subscriptions.page(TENANT, limit=2, offset=2)
    assert [item.id for item in (*first, *rest)] == ids
    assert (more, no_more, total) == (True, False, 3)


@pytest.mark.parametrize("operation", ["get", "delete", "update"])
async def test_what_is_not_there(subscriptions: SubscriptionStore, operation: str) -> None:
    arguments = (lambda stored: stored,) if operation == "update" else ()
    with pytest.raises(ResourceNotFound, match=ID):
        await getattr(subscriptions, operation)(TENANT, ID, *arguments)


async def test_every_change_makes_copies_stale(database: Database, subscriptions: SubscriptionStore) -> None:
    versions = [await version(database)]
    await subscriptions.create(TENANT, ID, document(), None)
    versions.append(await version(database))
    await subscriptions.update(TENANT, ID, lambda _stored, sending: (document(isActive=False), sending))
    versions.append(await version(database))
    await subscriptions.delete(TENANT, ID)
    versions.append(await version(database))
    assert versions == sorted(set(versions))


async def test_only_live_subscriptions_without_a_period_are_loaded(
    database: Database, subscriptions: SubscriptionStore
) -> None:
    soon = NOW + timedelta(hours=1)
    await subscriptions.create(TENANT, ID, document(expiresAt=f"{soon:%Y-%m-%dT%H:%M:%SZ}"), None)
    await subscriptions.create(TENANT, ID + ":expired", document(expiresAt="2020-01-01T00:00:00Z"), None)
    await subscriptions.create(TENANT, ID + ":paused", document(isActive=False), None)
    await subscriptions.create(TENANT, ID + ":periodic", document(timeInterval=5), None)
    async with database.transaction(ALL_TENANTS) as connection:
        keys, changed = await store.load_changed(connection, -1)
    assert ([stored.id for stored in changed], keys) == ([ID], {stored.key for stored in changed})


async def test_what_was_written_since_a_version_is_loaded(database: Database, subscriptions: SubscriptionStore) -> None:
    for number in range(3):
        await subscriptions.create(TENANT, f"{ID}:{number}", document(), None)
    known = await version(database)
    await subscriptions.update(TENANT, f"{ID}:1", lambda stored, sending: (stored, sending))
    await subscriptions.delete(TENANT, f"{ID}:2")
    await subscriptions.create(TENANT, f"{ID}:3", document(), None)
    async with database.transaction(ALL_TENANTS) as connection:
        keys, changed = await store.load_changed(connection, known)
    assert ({stored.id for stored in changed}, len(keys)) == ({f"{ID}:1", f"{ID}:3"}, 3)


async def test_deleting_takes_its_undelivered_notifications_along(
    database: Database, subscriptions: SubscriptionStore
) -> None:
    await subscriptions.create(TENANT, ID, document(), None)
    key = (await subscriptions.get(TENANT, ID)).key
    async with database.transaction(ALL_TENANTS) as connection:
        made = NewDelivery(TENANT, "notification", Priority.NORMAL, "a", "http://example.org/", 1, b"", {}, key)
        await insert_deliveries(connection, [made])
    await subscriptions.delete(TENANT, ID)
    async with database.transaction(ALL_TENANTS) as connection:
        assert await (await connection.execute("select 1 from delivery")).fetchall() == []


async def test_numbers_go_on_where_they_were(database: Database, subscriptions: SubscriptionStore) -> None:
    await subscriptions.create(TENANT, ID, document(), None)
    key = (await subscriptions.get(TENANT, ID)).key
    async with database.transaction(ALL_TENANTS) as connection:
        assert await store.hold(connection, [key, 999]) == {key: store.Progress(0, None, "http://example.org/")}
        await store.advance(connection, {key: 3}, NOW)
    async with database.transaction(ALL_TENANTS) as connection:
        assert await store.hold(connection, [key]) == {key: store.Progress(3, NOW, "http://example.org/")}
    counters = (await subscriptions.get(TENANT, ID)).counters
    assert (counters.times_sent, counters.last_notification) == (3, NOW)


async def test_failures_are_booked_with_the_reason(database: Database, subscriptions: SubscriptionStore) -> None:
    await subscriptions.create(TENANT, ID, document(), None)
    key = (await subscriptions.get(TENANT, ID)).key
    async with database.transaction(ALL_TENANTS) as connection:
        await store.book_failures(connection, {key: (2, "bad\0 document"), 999: (1, "gone")})
    counters = (await subscriptions.get(TENANT, ID)).counters
    assert counters.times_failed == 2
    assert counters.last_failure is not None


async def test_period_comes_due_and_goes_on(database: Database, subscriptions: SubscriptionStore) -> None:
    await subscriptions.create(TENANT, ID, document(timeInterval=0.2), None)
    async with database.transaction(ALL_TENANTS) as connection:
        assert await store.take_due(connection, 10) == []
    await asyncio.sleep(0.3)
    async with database.transaction(ALL_TENANTS) as connection:
        due = await store.take_due(connection, 10)
        async with database.transaction(ALL_TENANTS) as other:
            assert await store.take_due(other, 10) == []  # one worker at a time
        await store.set_next(connection, due[0].key, timedelta(hours=1))
    assert [stored.id for stored in due] == [ID]
    async with database.transaction(ALL_TENANTS) as connection:
        assert await store.take_due(connection, 10) == []


async def test_changing_something_else_keeps_the_rhythm(database: Database, subscriptions: SubscriptionStore) -> None:
    await subscriptions.create(TENANT, ID, document(timeInterval=0.2), None)
    await asyncio.sleep(0.3)
    await subscriptions.update(TENANT, ID, lambda stored, sending: ({**stored, "description": "x"}, sending))
    async with database.transaction(ALL_TENANTS) as connection:
        assert len(await store.take_due(connection, 10)) == 1
    await subscriptions.update(TENANT, ID, lambda stored, sending: ({**stored, "timeInterval": 60}, sending))
    async with database.transaction(ALL_TENANTS) as connection:
        assert await store.take_due(connection, 10) == []


def river(number: int, level: float = 1.0) -> ExpandedEntity:
    attributes = {DEFAULT_VOCABULARY + "level": {"@none": {"type": "Property", "value": level}}}
    return ExpandedEntity(f"urn:ngsi-ld:River:{number}", (DEFAULT_VOCABULARY + "River",), attributes, ("/Japan",))


async def test_entities_by_number_as_they_are_or_last_were(database: Database) -> None:
    writer = EntityWriter(TermIds(database), Partitions(database, HISTORY))
    async with database.transaction(TENANT) as connection:
        created = [create_entity(None, river(number), NOW) for number in (1, 2)]
        keys = [await writer.write(connection, TENANT, None, change, source="", now=NOW) for change in created]
        deleted = delete_entity(created[1].entity)
        await writer.write(connection, TENANT, keys[1], deleted, source="", now=NOW)
    async with database.transaction(ALL_TENANTS) as connection:
        found = await entities_by_key(connection, [*keys, 999])
    assert {key: stored.entity for key, stored in found.items()} == {
        key: change.entity for key, change in zip(keys, created, strict=True)
    }


async def test_matching_entities_come_in_pages(database: Database) -> None:
    writer = EntityWriter(TermIds(database), Partitions(database, HISTORY))
    async with database.transaction(TENANT) as connection:
        for number in range(5):
            await writer.write(connection, TENANT, None, create_entity(None, river(number), NOW), source="", now=NOW)
    async with database.transaction(ALL_TENANTS) as connection:
        first = await matching_entities(connection, TENANT, EntityQuery(), limit=3, after=None)
        rest = await matching_entities(connection, TENANT, EntityQuery(), limit=3, after=first[-1].id)
    assert [entity.id for entity in (*first, *rest)] == [river(number).id for number in range(5)]

# SPDX-License-Identifier: Apache-2.0
"""From change events to notifications in the outbox (clause 5.8.6).

A batch of events is matched, numbered and put into the outbox in the transaction that moves the feed on: each
notification is made exactly once, whatever dies. A subscription whose notification cannot be made gets the reason
written down and holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import psycopg
import structlog
from psycopg import AsyncConnection

from api.hub import Hub
from api.workers.feed import FeedLoop
from broker.entities import AttributeChange, ExpandedEntity
from broker.errors import StoreUnavailable
from broker.jsonld import ContextResolver, core_terms
from broker.linked import Linked, linked_entities
from broker.subscriptions import (
    EntityEvent,
    Indexed,
    NotificationContext,
    SubscriptionIndex,
    indexed,
    notification_body,
    notification_context,
    notification_data,
    notification_headers,
    read_subscription,
    state_after,
    state_before,
)
from context_store import subscriptions as store
from context_store.caches import version_of
from context_store.database import ALL_TENANTS, Database
from context_store.deliveries import NewDelivery, Priority, insert_deliveries
from context_store.entities import get_entities
from context_store.events import ChangeEvent, ChangeFeed
from context_store.tenants import DEFAULT_TENANT, Tenants

log = structlog.get_logger(__name__)

# A subscription is not told of what was committed before it. Events carry the start of their transaction, which may
# lie before that commit; up to this far, telling too much is better than too little.
_LONGEST_WRITE: Final = timedelta(seconds=5)
_PERIODIC_POLL_S: Final = 0.5
_PERIODIC_BATCH: Final = 50  # periodic subscriptions in one transaction
_ENTITIES_IN_A_NOTIFICATION: Final = 1000
_PAUSE_AFTER_ERROR_S: Final = 1.0


class SubscriptionWorker:
    """Notifies of changes and periodically, until cancelled."""

    def __init__(self, hub: Hub, poll_s: float) -> None:
        maker = NotificationMaker(hub.contexts, hub.tenants)
        feed = ChangeFeed(hub.database, "subscriptions", limit=hub.settings.worker_batch_events)
        self._changes = FeedLoop("subscriptions", feed, ChangeNotifier(maker).process, poll_s=poll_s)
        self._periodic = PeriodicNotifier(hub.database, maker)

    def wake(self) -> None:
        """There may be new change events."""
        self._changes.wake()

    async def check(self) -> None:
        """For health: raises while the changes cannot be processed."""
        await self._changes.check()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._changes.run(), name="notify of changes")
            tasks.create_task(self._periodic.run(), name="notify periodically")


@dataclass(slots=True)
class _Failures:
    """Notifications that could not be made, by subscription: how many, and the last reason."""

    by_key: dict[int, tuple[int, str]] = field(default_factory=dict)

    def add(self, key: int, subscription_id: str, error: Exception) -> None:
        times, _ = self.by_key.get(key, (0, ""))
        self.by_key[key] = (times + 1, f"{type(error).__name__}: {error}")
        log.warning("subscription.failed", subscription=subscription_id, error=str(error))


class NotificationMaker:
    """Makes deliveries of entities for subscriptions."""

    def __init__(self, contexts: ContextResolver, tenants: Tenants) -> None:
        self._contexts = contexts
        self._tenants = tenants

    async def context_of(self, entry: Indexed) -> NotificationContext:
        """The ``@context`` of its notifications; raises ``LdContextNotAvailable``."""
        terms = await self._contexts.resolve(entry.context, await self._tenants.name(entry.tenant_id))
        return notification_context(entry.context, terms, core_terms(), entry.subscription.endpoint.accept)

    async def delivery(
        self,
        entry: Indexed,
        data: list[dict[str, Any]],
        context: NotificationContext,
        *,
        about: str,
        sequence: int,
        now: datetime,
    ) -> NewDelivery:
        """One notification; those ``about`` the same leave one after the other."""
        subscription = entry.subscription
        name = await self._tenants.name(entry.tenant_id)
        headers = notification_headers(subscription.endpoint, context, None if name == DEFAULT_TENANT else name)
        return NewDelivery(
            tenant_id=entry.tenant_id,
            kind="notification",
            priority=Priority.NORMAL,
            order_key=f"{entry.key}:{about}",
            destination=subscription.endpoint.uri,
            subscription_key=entry.key,
            sequence=sequence,
            body=notification_body(subscription, data, context, f"urn:ngsi-ld:Notification:{uuid4()}", now),
            headers=headers | {"Minamo-Sequence": str(sequence)},
        )


@dataclass(frozen=True, slots=True)
class _Concern:
    """A change and the subscriptions it concerns."""

    change: ChangeEvent
    event: EntityEvent
    candidates: list[Indexed]


@dataclass(slots=True)
class _Batch:
    """What becomes of a batch: numbers given so far, deliveries, failures."""

    now: datetime
    progress: dict[int, store.Progress]
    sequences: dict[int, int] = field(default_factory=dict)
    deliveries: list[NewDelivery] = field(default_factory=list)
    failures: _Failures = field(default_factory=_Failures)

    def is_wanted(self, entry: Indexed) -> bool:
        """Whether the subscription still exists and lets a notification pass now (``throttling``)."""
        progress = self.progress.get(entry.key)
        if progress is None:
            return False
        throttling = entry.subscription.throttling
        if throttling is None:
            return True
        if entry.key in self.sequences:  # one was made a moment ago, in this batch
            return False
        return progress.notified_at is None or self.now - progress.notified_at >= throttling

    def next_sequence(self, key: int) -> int:
        return self.sequences.get(key, self.progress[key].sequence) + 1


class ChangeNotifier:
    """What the subscriptions worker does with a batch of change events."""

    def __init__(self, maker: NotificationMaker) -> None:
        self._maker = maker
        self._version = -1
        self._index = SubscriptionIndex()
        self._since: dict[int, datetime] = {}

    async def process(self, connection: AsyncConnection, events: list[ChangeEvent]) -> None:
        """Put the notifications of ``events`` into the outbox, in the caller's transaction."""
        await self._refresh(connection)
        now = datetime.now(UTC)
        concerns = [concern for event in events if (concern := self._concern(event, now)) is not None]
        if not concerns:
            return
        states = await _states(connection, events, {concern.change.entity_key for concern in concerns})
        failures = _Failures()
        matched = []
        for concern in concerns:
            state = states[concern.change.event_id]
            matched.append((concern, state, await _matching(connection, concern, state, failures)))
        keys = {entry.key for _, _, entries in matched for entry in entries}
        batch = _Batch(now, await store.hold(connection, keys), failures=failures)
        for concern, state, entries in matched:
            for entry in entries:
                await self._notify(connection, batch, entry, concern, state)
        await insert_deliveries(connection, batch.deliveries)
        await store.advance(connection, batch.sequences, now)
        await store.book_failures(connection, failures.by_key)

    async def _refresh(self, connection: AsyncConnection) -> None:
        """Make a new index when subscriptions have changed."""
        version = await version_of(connection, store.CACHE)
        if version == self._version:
            return
        failures, entries = _Failures(), []
        rows = await store.load_subscriptions(connection)
        for stored in rows:
            try:
                entries.append(_indexed(stored))
            except Exception as error:  # noqa: BLE001 - one that cannot be read must not stop the others
                failures.add(stored.key, stored.id, error)
        await store.book_failures(connection, failures.by_key)
        self._index = SubscriptionIndex(entries)
        self._since = {stored.key: stored.created_at - _LONGEST_WRITE for stored in rows}
        self._version = version
        log.info("subscriptions.loaded", count=len(entries), unreadable=len(failures.by_key))

    def _concern(self, change: ChangeEvent, now: datetime) -> _Concern | None:
        if not len(self._index):
            return None
        event = _entity_event(change)
        candidates = [
            entry
            for entry in self._index.candidates(event)
            if entry.subscription.is_live(now) and change.recorded_at >= self._since[entry.key]
        ]
        return _Concern(change, event, candidates) if candidates else None

    async def _notify(
        self, connection: AsyncConnection, batch: _Batch, entry: Indexed, concern: _Concern, state: ExpandedEntity
    ) -> None:
        if not batch.is_wanted(entry):
            return
        sequence = batch.next_sequence(entry.key)
        about = str(concern.change.entity_key)
        try:
            context = await self._maker.context_of(entry)
            time = concern.change.recorded_at
            linked = await _linked(connection, entry, [state]) if concern.event.operation != "deleted" else []
            data = notification_data(entry.subscription, [(state, concern.event)], linked, context.terms, time)
            delivery = await self._maker.delivery(entry, data, context, about=about, sequence=sequence, now=batch.now)
        except (StoreUnavailable, psycopg.Error):
            raise
        except Exception as error:  # noqa: BLE001 - see the module
            batch.failures.add(entry.key, entry.subscription.id, error)
            return
        batch.deliveries.append(delivery)
        batch.sequences[entry.key] = sequence


def _indexed(stored: store.StoredSubscription) -> Indexed:
    subscription = read_subscription(stored.document, stored.id)
    context = stored.document.get("jsonldContext", stored.context)
    return indexed(stored.key, stored.tenant_id, subscription, context)


def _entity_event(change: ChangeEvent) -> EntityEvent:
    changes = tuple(
        AttributeChange(item["attribute"], item["dataset"], item.get("before"), item.get("after"))
        for item in change.changes
    )
    return EntityEvent(change.tenant_id, change.entity_id, tuple(change.entity_types), change.operation, changes)


async def _linked(connection: AsyncConnection, entry: Indexed, roots: list[ExpandedEntity]) -> list[Linked]:
    """The entities that a subscription with ``join`` wants beside ``roots``, as they are now."""
    subscription = entry.subscription
    if not subscription.retrieval.depth:
        return []

    async def fetch(ids: Collection[str]) -> Mapping[str, ExpandedEntity]:
        found = await get_entities(connection, entry.tenant_id, ids)
        return {entity_id: stored.entity for entity_id, stored in found.items()}

    return await linked_entities(roots, subscription.form, subscription.retrieval, fetch)


async def _matching(
    connection: AsyncConnection, concern: _Concern, state: ExpandedEntity, failures: _Failures
) -> list[Indexed]:
    """Those candidates whose ``q``, ``geoQ`` and ``scopeQ`` the entity meets."""
    found = []
    for entry in concern.candidates:
        try:
            if not entry.matches(state):
                continue
            query = entry.subscription.query
            if entry.needs_linked and not await store.matches_linked(connection, entry.tenant_id, query, state.id):
                continue
        except psycopg.Error:
            raise
        except Exception as error:  # noqa: BLE001 - see the module
            failures.add(entry.key, entry.subscription.id, error)
        else:
            found.append(entry)
    return found


async def _states(
    connection: AsyncConnection, events: list[ChangeEvent], entity_keys: set[int]
) -> dict[int, ExpandedEntity]:
    """By event, the entity as the event left it; for a deletion, as it was before.

    Worked out backwards from the present state, because later changes have been made to it already. Changes later
    than this batch cannot be taken back, but the values that the event wrote are always the event's.
    """
    found = await store.entities_by_key(connection, entity_keys)
    states: dict[int, ExpandedEntity] = {}
    present = {key: stored.entity for key, stored in found.items()}
    for change in reversed(events):
        key = change.entity_key
        if key not in entity_keys:
            continue
        event = _entity_event(change)
        entity = present.get(key) or ExpandedEntity(event.entity_id, event.types)
        if change.operation == "deleted":
            states[change.event_id] = present[key] = entity if key in found else state_before(entity, event)
        else:
            states[change.event_id] = state_after(entity, event)
            present[key] = state_before(states[change.event_id], event)
    return states


class PeriodicNotifier:
    """Notifications of subscriptions with a ``timeInterval``."""

    def __init__(self, database: Database, maker: NotificationMaker) -> None:
        self._database = database
        self._maker = maker

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            pause = _PERIODIC_POLL_S
            try:
                if await self.step(datetime.now(UTC)) == _PERIODIC_BATCH:
                    continue
            except StoreUnavailable as exc:
                log.warning("periodic.store_unavailable", error=str(exc))
                pause = _PAUSE_AFTER_ERROR_S
            except psycopg.Error:
                log.exception("periodic.failed")
                pause = _PAUSE_AFTER_ERROR_S
            await asyncio.sleep(pause)

    async def step(self, now: datetime) -> int:
        """Notify for those that are due; returns how many there were."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            due = await store.take_due(connection, _PERIODIC_BATCH)
            failures = _Failures()
            for stored in due:
                await store.set_next(connection, stored.key, timedelta(seconds=stored.document["timeInterval"]))
                try:
                    async with connection.transaction():
                        await self._notify(connection, _indexed(stored), now)
                except StoreUnavailable:
                    raise
                except Exception as error:  # noqa: BLE001 - see the module
                    failures.add(stored.key, stored.id, error)
            await store.book_failures(connection, failures.by_key)
        return len(due)

    async def _notify(self, connection: AsyncConnection, entry: Indexed, now: datetime) -> None:
        """All entities that match, in as many notifications as it takes; none when nothing matches."""
        if not entry.subscription.is_live(now):
            return
        context = await self._maker.context_of(entry)
        sequence = (await store.hold(connection, [entry.key]))[entry.key].sequence
        after, deliveries = None, []
        limit = _ENTITIES_IN_A_NOTIFICATION
        while True:
            query = entry.subscription.query
            page = await store.matching_entities(connection, entry.tenant_id, query, limit=limit, after=after)
            if page:
                linked = await _linked(connection, entry, page)
                roots = [(entity, None) for entity in page]
                data = notification_data(entry.subscription, roots, linked, context.terms)
                sequence, after = sequence + 1, page[-1].id
                deliveries.append(
                    await self._maker.delivery(entry, data, context, about="periodic", sequence=sequence, now=now)
                )
            if len(page) < limit:
                break
        await insert_deliveries(connection, deliveries)
        await store.advance(connection, {entry.key: sequence} if deliveries else {}, now)

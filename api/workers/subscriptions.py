# SPDX-License-Identifier: Apache-2.0
"""From change events to notifications in the outbox (clause 5.8.6).

A batch of events is matched, numbered and put into the outbox in the transaction that moves the feed on: each
notification is made exactly once, whatever dies. A subscription whose notification cannot be made gets the reason
written down and holds up nobody.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import psycopg
from psycopg import AsyncConnection

from api.hub import Hub
from api.workers.feed import FeedLoop
from api.workers.notifications import Failures, Happening, NotificationMaker, Sheet, numbered
from api.workers.periodic import PeriodicNotifier
from api.workers.subscription_directory import SubscriptionDirectory
from api.workers.waiting import let_others_work
from broker.alerts import ALERT_TYPE
from broker.audiences import Audience
from broker.entities import AttributeChange, ExpandedEntity
from broker.errors import StoreUnavailable
from broker.subscriptions import Concern, EntityEvent, Indexed, state_after, state_before
from broker.subscriptions.seen import event_without, without
from context_store.audiences.rules import hidden_of, seeing_as
from context_store.deliveries.outbox import NewDelivery, insert_deliveries
from context_store.events import ChangeEvent, ChangeFeed
from context_store.subscriptions import rows as store
from context_store.subscriptions.notified_entities import entities_by_key, matches_linked

_AT_ONCE: Final = 50  # notifications made before other tasks have their turn: alerts above all


class SubscriptionWorker:
    """Notifies of changes and periodically, until cancelled."""

    def __init__(self, hub: Hub, poll_s: float) -> None:
        maker = NotificationMaker(hub.contexts, hub.tenants)
        limit = hub.settings.worker_batch_events
        # Changes of alerts do not wait behind all others.
        others = ChangeFeed(hub.database, "subscriptions", limit=limit, without=ALERT_TYPE)
        alerts = ChangeFeed(hub.database, "subscriptions of alerts", limit=limit, only=ALERT_TYPE)
        self._changes = FeedLoop("subscriptions", others, ChangeNotifier(maker).process, poll_s=poll_s)
        self._alerts = FeedLoop("subscriptions of alerts", alerts, ChangeNotifier(maker).process, poll_s=poll_s)
        self._periodic = PeriodicNotifier(hub.database, maker)

    def wake(self) -> None:
        """There may be new change events."""
        self._alerts.wake()
        self._changes.wake()

    async def check(self) -> None:
        """For health: raises while the changes cannot be processed."""
        await self._alerts.check()
        await self._changes.check()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._alerts.run(), name="notify of alerts")
            tasks.create_task(self._changes.run(), name="notify of changes")
            tasks.create_task(self._periodic.run(), name="notify periodically")


@dataclass(frozen=True, slots=True)
class _Concerned:
    """A change, and where those that it concerns are in the index."""

    change: ChangeEvent
    event: EntityEvent
    concern: Concern
    state: ExpandedEntity | None = None
    audience: Audience = Audience.STAFF


@dataclass(slots=True)
class _Batch:
    """What becomes of a batch. ``progress`` is that of subscriptions with ``throttling``.

    Notifications are written first and numbered afterwards, because numbers need the subscriptions' rows, and whoever
    books what was delivered should not wait for those while others are being written.
    """

    now: datetime
    progress: dict[int, store.Progress]
    sheet: Sheet
    failures: Failures
    drafts: list[tuple[Indexed, NewDelivery]] = field(default_factory=list)
    drafted: set[int] = field(default_factory=set)

    async def draft(self, entry: Indexed, happening: Happening) -> None:
        """Write a notification for ``entry``, if it may want one."""
        throttled = entry.subscription.throttling is not None
        if throttled and (entry.key in self.drafted or not _lets_pass(entry, self.progress.get(entry.key), self.now)):
            return
        try:
            self.drafts.append((entry, await self.sheet.draft(entry, happening)))
        except (StoreUnavailable, psycopg.Error):
            raise
        except Exception as error:  # noqa: BLE001 - see the module
            self.failures.add(entry.key, entry.subscription.id, error)
        else:
            self.drafted.add(entry.key)

    def numbered(self, progress: dict[int, store.Progress]) -> tuple[list[NewDelivery], dict[int, int]]:
        """The deliveries, and the last number of each subscription, whose rows are locked since ``progress``."""
        sequences: dict[int, int] = {}
        deliveries = []
        for entry, draft in self.drafts:
            present = progress.get(entry.key)
            if present is None or not _lets_pass(entry, present, self.now):
                continue
            sequences[entry.key] = sequences.get(entry.key, present.sequence) + 1
            # The receiver may have moved since the subscription was read, and what waited for it with it.
            deliveries.append(replace(numbered(draft, sequences[entry.key]), destination=present.endpoint))
        return deliveries, sequences


def _lets_pass(entry: Indexed, progress: store.Progress | None, now: datetime) -> bool:
    """Whether ``throttling`` lets a notification pass now."""
    throttling = entry.subscription.throttling
    if throttling is None or progress is None or progress.notified_at is None:
        return True
    return now - progress.notified_at >= throttling


class ChangeNotifier:
    """What the subscriptions worker does with a batch of change events."""

    def __init__(self, maker: NotificationMaker) -> None:
        self._maker = maker
        self._directory = SubscriptionDirectory()

    async def process(self, connection: AsyncConnection, events: list[ChangeEvent]) -> None:
        """Put the notifications of ``events`` into the outbox, in the caller's transaction."""
        await self._directory.refresh(connection)
        now = datetime.now(UTC)
        concerned = []
        for number, event in enumerate(events):
            if (found := self._concerned(event)) is not None:
                concerned.append(found)
            await let_others_work(number)
        if not concerned:
            return
        states = await _states(connection, events, {found.change.entity_key for found in concerned})
        concerned = [replace(found, state=states[found.change.event_id]) for found in concerned]
        failures = Failures()
        matched = []
        for number, found in enumerate(concerned + await self._seen(connection, concerned)):
            await let_others_work(number)
            state = states[found.change.event_id] if found.state is None else found.state
            if entries := await self._matching(connection, found, state, now, failures):
                matched.append((found, state, entries))
        throttled = {e.key for _, _, entries in matched for e in entries if e.subscription.throttling is not None}
        progress = await store.progress_of(connection, throttled) if throttled else {}
        batch = _Batch(now, progress, self._maker.sheet(connection, now), failures)
        for number, (found, state, entries) in enumerate(matched):
            await let_others_work(number)
            happening = Happening(str(found.change.entity_key), [(state, found.event)], found.change.recorded_at)
            for entry in entries:
                await batch.draft(entry, happening)
                if len(batch.drafts) % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        if batch.drafts:
            deliveries, sequences = batch.numbered(await store.hold(connection, batch.drafted))
            await insert_deliveries(connection, deliveries)
            await store.advance(connection, sequences, now)
        await store.book_failures(connection, failures.by_key)

    def _concerned(self, change: ChangeEvent) -> _Concerned | None:
        if not len(self._directory.index):
            return None
        event = _entity_event(change)
        concern = self._directory.index.look_up(event)
        return None if concern is None else _Concerned(change, event, concern)

    async def _seen(self, connection: AsyncConnection, concerned: list[_Concerned]) -> list[_Concerned]:
        """The same for subscribers who are not staff: without what they must not see."""
        seen = []
        for audience in self._directory.audiences:
            keys = {(found.change.tenant_id, found.change.entity_key) for found in concerned}
            hidden = await hidden_of(connection, keys, audience)
            for found in concerned:
                names = hidden.get(found.change.entity_key)
                if names is None or found.state is None:
                    continue
                event = event_without(found.event, names)
                if (concern := self._directory.index.look_up(event)) is not None:
                    state = without(found.state, names)
                    seen.append(_Concerned(found.change, event, concern, state, audience))
        return seen

    async def _matching(
        self, connection: AsyncConnection, found: _Concerned, state: ExpandedEntity, now: datetime, failures: Failures
    ) -> list[Indexed]:
        """Those live subscriptions that the change concerns and whose query the entity meets."""
        recorded_at = found.change.recorded_at
        matching = []
        for entry in found.concern.candidates(state):
            if (
                entry.audience is not found.audience
                or not entry.subscription.is_live(now)
                or not self._directory.tells(entry.key, recorded_at)
            ):
                continue
            try:
                if entry.matches(state) and await _meets_linked(connection, entry, state):
                    matching.append(entry)
            except psycopg.Error:
                raise
            except Exception as error:  # noqa: BLE001 - see the module
                failures.add(entry.key, entry.subscription.id, error)
        return matching


def _entity_event(change: ChangeEvent) -> EntityEvent:
    changes = tuple(
        AttributeChange(item["attribute"], item["dataset"], item.get("before"), item.get("after"))
        for item in change.changes
    )
    return EntityEvent(change.tenant_id, change.entity_id, tuple(change.entity_types), change.operation, changes)


async def _meets_linked(connection: AsyncConnection, entry: Indexed, state: ExpandedEntity) -> bool:
    """Whether the entities linked to it are as ``q`` asks, where it asks."""
    if not entry.needs_linked:
        return True
    async with seeing_as(connection, entry.tenant_id, entry.audience):
        return await matches_linked(connection, entry.tenant_id, entry.subscription.query, state.id)


async def _states(
    connection: AsyncConnection, events: list[ChangeEvent], entity_keys: set[int]
) -> dict[int, ExpandedEntity]:
    """By event, the entity as the event left it; for a deletion, as it was before.

    Worked out backwards from the present state, because later changes have been made to it already. Changes later
    than this batch cannot be taken back, but the values that the event wrote are always the event's.
    """
    found = await entities_by_key(connection, entity_keys)
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

# SPDX-License-Identifier: Apache-2.0
"""Notifications of subscriptions with a ``timeInterval`` (clause 5.8.6): all entities that match, each time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
import structlog
from psycopg import AsyncConnection

from api.workers.notifications import Failures, Happening, NotificationMaker
from api.workers.subscription_directory import indexed_subscription
from broker.errors import StoreUnavailable
from broker.subscriptions import Indexed
from context_store.audiences.rules import seeing_as
from context_store.database import ALL_TENANTS, Database
from context_store.deliveries.outbox import insert_deliveries
from context_store.subscriptions import rows as store
from context_store.subscriptions.notified_entities import matching_entities

log = structlog.get_logger(__name__)

_POLL_S: Final = 0.5
_BATCH: Final = 50  # subscriptions in one transaction
_ENTITIES_IN_A_NOTIFICATION: Final = 1000
_PAUSE_AFTER_ERROR_S: Final = 1.0


class PeriodicNotifier:
    """Notifies periodically, until cancelled."""

    def __init__(self, database: Database, maker: NotificationMaker) -> None:
        self._database = database
        self._maker = maker

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            pause = _POLL_S
            try:
                if await self.step(datetime.now(UTC)) == _BATCH:
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
            due = await store.take_due(connection, _BATCH)
            failures = Failures()
            for stored in due:
                await store.set_next(connection, stored.key, timedelta(seconds=stored.document["timeInterval"]))
                try:
                    async with connection.transaction():
                        await self._notify(connection, indexed_subscription(stored), now)
                except StoreUnavailable:
                    raise
                except Exception as error:  # noqa: BLE001 - one that fails must not stop the others
                    failures.add(stored.key, stored.id, error)
            await store.book_failures(connection, failures.by_key)
        return len(due)

    async def _notify(self, connection: AsyncConnection, entry: Indexed, now: datetime) -> None:
        """All entities that match, in as many notifications as it takes; none when nothing matches."""
        if not entry.subscription.is_live(now):
            return
        sheet = self._maker.sheet(connection, now)
        sequence = (await store.hold(connection, [entry.key]))[entry.key].sequence
        after, deliveries = None, []
        limit = _ENTITIES_IN_A_NOTIFICATION
        while True:
            query = entry.subscription.query
            async with seeing_as(connection, entry.tenant_id, entry.audience):
                page = await matching_entities(connection, entry.tenant_id, query, limit=limit, after=after)
            if page:
                sequence, after = sequence + 1, page[-1].id
                happening = Happening("periodic", [(entity, None) for entity in page])
                deliveries.append(await sheet.delivery(entry, happening, sequence))
            if len(page) < limit:
                break
        await insert_deliveries(connection, deliveries)
        await store.advance(connection, {entry.key: sequence} if deliveries else {}, now)

# SPDX-License-Identifier: Apache-2.0
"""Telling subscribers of registrations that come, change and go (clause 5.11.7).

Registrations change rarely, so notifications are made in the transaction that changes one, or a subscription: each
exactly once, and whoever is told knows which registrations there are from then on. They leave by the outbox, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from psycopg import AsyncConnection

from api.hub import Hub
from broker.contexts.jsonld import core_terms
from broker.errors import NgsiLdError
from broker.registrations.subscriptions import (
    Reason,
    SourceSubscription,
    Told,
    read_source_subscription,
    source_notification,
)
from broker.subscriptions import NotificationContext, notification_context, notification_headers
from context_store.deliveries.outbox import NewDelivery, Priority, insert_deliveries
from context_store.registrations.rows import StoredRegistration, all_registrations
from context_store.sealing import hide, in_registration
from context_store.subscriptions import rows as store
from context_store.subscriptions.rows import StoredSubscription
from context_store.tenants import DEFAULT_TENANT

log = structlog.get_logger(__name__)


class SourceNotifier:
    """Makes the notifications of subscriptions to registrations, in the transactions of others."""

    def __init__(self, hub: Hub) -> None:
        self._contexts = hub.contexts
        self._tenants = hub.tenants

    async def registration_changed(
        self, connection: AsyncConnection, before: StoredRegistration | None, after: StoredRegistration | None
    ) -> None:
        """A registration came, changed or went; nobody else changes one until the transaction ends."""
        present = after or before
        if present is None:
            return
        now = datetime.now(UTC)
        for stored in await store.about_sources(connection, present.tenant_id):
            subscription = read_source_subscription(stored.document, stored.id)
            reason = subscription.reason(before.read() if before else None, after.read() if after else None, now)
            if reason is not None:
                await self._notify(connection, stored, subscription, reason, [present])

    async def subscription_changed(
        self, connection: AsyncConnection, before: StoredSubscription | None, after: StoredSubscription
    ) -> None:
        """A subscription is new or was changed: it is told of what matches now and did not, and the reverse.

        One that is paused knows of nothing: when it is active again it is told of all that matches.
        """
        now = datetime.now(UTC)
        subscription = read_source_subscription(after.document, after.id)
        if not subscription.base.is_live(now):
            return
        registrations = await all_registrations(connection, after.tenant_id)
        known = [] if before is None else _matching(before, registrations, now)
        matching = _matching(after, registrations, now)
        news = [found for found in matching if found not in known]
        gone = [found for found in known if found not in matching]
        for reason, found in ((Reason.NEWLY_MATCHING, news), (Reason.NO_LONGER_MATCHING, gone)):
            await self._notify(connection, after, subscription, reason, found)

    async def notify_periodically(self, connection: AsyncConnection, stored: StoredSubscription, now: datetime) -> None:
        """The time of a subscription with a ``timeInterval`` has come: all that matches, whatever has changed."""
        found = _matching(stored, await all_registrations(connection, stored.tenant_id), now)
        subscription = read_source_subscription(stored.document, stored.id)
        await self._notify(connection, stored, subscription, Reason.UPDATED, found)

    async def _notify(
        self,
        connection: AsyncConnection,
        stored: StoredSubscription,
        subscription: SourceSubscription,
        reason: Reason,
        found: Sequence[StoredRegistration],
    ) -> None:
        """Put one notification of ``found`` into the outbox; none of nothing."""
        progress = (await store.hold(connection, [stored.key])).get(stored.key) if found else None
        if progress is None:
            return
        now, sequence = datetime.now(UTC), progress.sequence + 1
        try:
            context, tenant = await self._context(stored, subscription), await self._tenants.name(stored.tenant_id)
        except NgsiLdError as error:
            log.warning("subscription.failed", subscription=stored.id, error=str(error))
            await store.book_failures(connection, {stored.key: (1, f"{type(error).__name__}: {error}")})
            return
        headers = notification_headers(subscription.endpoint, context, None if tenant == DEFAULT_TENANT else tenant)
        identity = (f"urn:ngsi-ld:ContextSourceNotification:{uuid4()}", now)
        delivery = NewDelivery(
            tenant_id=stored.tenant_id,
            kind="notification",
            priority=Priority.BULK if subscription.endpoint.is_bulk else Priority.NORMAL,
            order_key=f"{stored.key}:registrations",
            destination=progress.endpoint,
            subscription_key=stored.key,
            sequence=sequence,
            body=source_notification(subscription, reason, map(_told, found), context, identity),
            headers=headers | {"Minamo-Sequence": str(sequence)},
        )
        await insert_deliveries(connection, [delivery])
        await store.advance(connection, {stored.key: sequence}, now)

    async def _context(self, stored: StoredSubscription, subscription: SourceSubscription) -> NotificationContext:
        context = stored.document.get("jsonldContext", stored.context)
        terms = await self._contexts.resolve(context, await self._tenants.name(stored.tenant_id))
        return notification_context(context, terms, core_terms(), subscription.endpoint.accept)


def _matching(
    stored: StoredSubscription, registrations: Iterable[StoredRegistration], now: datetime
) -> list[StoredRegistration]:
    """What a subscription knows of; nothing when it is not active."""
    subscription = read_source_subscription(stored.document, stored.id)
    if not subscription.base.is_live(now):
        return []
    return [found for found in registrations if subscription.asks_for(found.read())]


def _told(stored: StoredRegistration) -> Told:
    return Told(stored.id, in_registration(stored.document, hide), stored.read(), stored.counters)

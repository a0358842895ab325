# SPDX-License-Identifier: Apache-2.0
"""Making notifications of entities: what is the same for several subscriptions is made once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import uuid4

import structlog
from psycopg import AsyncConnection

from broker.alerts import ALERT_TYPE
from broker.contexts.jsonld import ContextResolver, core_terms
from broker.entities import ExpandedEntity
from broker.linked import Linked, linked_entities
from broker.subscriptions import (
    EntityEvent,
    Indexed,
    NotificationContext,
    notification_body,
    notification_context,
    notification_data,
    notification_headers,
    shared_part,
)
from context_store.audiences.rules import seeing_as
from context_store.deliveries.outbox import NewDelivery, Priority
from context_store.entities.changes import get_entities
from context_store.tenants import DEFAULT_TENANT, Tenants

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Failures:
    """Notifications that could not be made, by subscription: how many, and the last reason."""

    by_key: dict[int, tuple[int, str]] = field(default_factory=dict)

    def add(self, key: int, subscription_id: str, error: Exception) -> None:
        """One more."""
        times, _ = self.by_key.get(key, (0, ""))
        self.by_key[key] = (times + 1, f"{type(error).__name__}: {error}")
        log.warning("subscription.failed", subscription=subscription_id, error=str(error))


@dataclass(frozen=True, slots=True)
class Happening:
    """What a notification tells: entities, each with what happened to it, and when. ``about`` orders deliveries."""

    about: str
    roots: Sequence[tuple[ExpandedEntity, EntityEvent | None]]
    time: datetime | None = None

    @property
    def present(self) -> list[ExpandedEntity]:
        """The entities that are still there."""
        return [entity for entity, event in self.roots if event is None or event.operation != "deleted"]


class NotificationMaker:
    """Makes deliveries of entities for subscriptions."""

    def __init__(self, contexts: ContextResolver, tenants: Tenants) -> None:
        self._contexts = contexts
        self._tenants = tenants

    def sheet(self, connection: AsyncConnection, now: datetime) -> Sheet:
        """For the notifications of one transaction."""
        return Sheet(self, connection, now)

    async def context_of(self, entry: Indexed) -> NotificationContext:
        """The ``@context`` of its notifications; raises ``LdContextNotAvailable``."""
        terms = await self._contexts.resolve(entry.context, await self._tenants.name(entry.tenant_id))
        return notification_context(entry.context, terms, core_terms(), entry.subscription.endpoint.accept)

    async def tenant_header(self, tenant_id: int) -> str | None:
        """The name of the tenant; None for the default one."""
        name = await self._tenants.name(tenant_id)
        return None if name == DEFAULT_TENANT else name


class Sheet:
    """Notifications of one transaction. Contexts are resolved once, and what several bodies share is written once."""

    def __init__(self, maker: NotificationMaker, connection: AsyncConnection, now: datetime) -> None:
        self._maker = maker
        self._connection = connection
        self._now = now
        self._contexts: dict[tuple[int, bytes], NotificationContext] = {}
        self._happening: Happening | None = None
        self._parts: dict[tuple[int, bytes], bytes] = {}

    async def delivery(self, entry: Indexed, happening: Happening, sequence: int) -> NewDelivery:
        """One notification. Those of the same happening should come one after the other."""
        return numbered(await self.draft(entry, happening), sequence)

    async def draft(self, entry: Indexed, happening: Happening) -> NewDelivery:
        """The same, without a number."""
        subscription = entry.subscription
        context = await self._context(entry)
        part = await self._part(entry, happening, context)
        notification_id = f"urn:ngsi-ld:Notification:{uuid4()}"
        tenant = await self._maker.tenant_header(entry.tenant_id)
        return NewDelivery(
            tenant_id=entry.tenant_id,
            kind="notification",
            priority=_priority(entry, happening),
            order_key=f"{entry.key}:{happening.about}",
            destination=subscription.endpoint.uri,
            subscription_key=entry.key,
            sequence=0,
            body=notification_body(subscription, part, context, notification_id, self._now),
            headers=notification_headers(subscription.endpoint, context, tenant),
        )

    async def _context(self, entry: Indexed) -> NotificationContext:
        place = entry.tenant_id, entry.shape
        known = self._contexts.get(place)
        if known is None:
            known = self._contexts[place] = await self._maker.context_of(entry)
        return known

    async def _part(self, entry: Indexed, happening: Happening, context: NotificationContext) -> bytes:
        if happening is not self._happening:
            self._happening, self._parts = happening, {}
        place = entry.tenant_id, entry.shape
        known = self._parts.get(place)
        if known is None:
            linked = await _linked(self._connection, entry, happening.present)
            data = notification_data(entry.subscription, happening.roots, linked, context.terms, happening.time)
            known = self._parts[place] = shared_part(entry.subscription, data, context)
        return known


def numbered(draft: NewDelivery, sequence: int) -> NewDelivery:
    """``draft`` with its number, which its receiver is told."""
    return replace(draft, sequence=sequence, headers={**draft.headers, "Minamo-Sequence": str(sequence)})


def _priority(entry: Indexed, happening: Happening) -> Priority:
    """What is about an alert goes before everything; bulk consumers come after all others."""
    if any(ALERT_TYPE in entity.types for entity, _ in happening.roots):
        return Priority.ALERT
    return Priority.BULK if entry.subscription.endpoint.is_bulk else Priority.NORMAL


async def _linked(connection: AsyncConnection, entry: Indexed, roots: list[ExpandedEntity]) -> list[Linked]:
    """The entities that a subscription with ``join`` wants beside ``roots``, as they are now."""
    subscription = entry.subscription
    if not subscription.retrieval.depth:
        return []

    async def fetch(ids: Collection[str]) -> Mapping[str, ExpandedEntity]:
        async with seeing_as(connection, entry.tenant_id, entry.audience):
            found = await get_entities(connection, entry.tenant_id, ids)
        return {entity_id: stored.entity for entity_id, stored in found.items()}

    return await linked_entities(roots, subscription.form, subscription.retrieval, fetch)

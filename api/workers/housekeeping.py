# SPDX-License-Identifier: Apache-2.0
"""Scheduled upkeep: partitions ahead of time, what outlived its retention removed. Safe in many processes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from api.hub import Hub
from broker.errors import StoreUnavailable
from context_store.database import ALL_TENANTS
from context_store.entities.maps import EntityMapStore
from context_store.events import oldest_unread
from context_store.history.timescale import apply_compression

log = structlog.get_logger(__name__)

_EVENT_DAYS_AHEAD: Final = 3
_HISTORY_DAYS_AHEAD: Final = 40
_EVERY_MINUTES: Final = 30
_UNUSED_CONTEXTS: Final = timedelta(days=30)  # addresses of inline contexts that nobody has asked for
_UNREAD_MARGIN: Final = timedelta(hours=1)  # events written by transactions that were open for long


async def make_partitions(hub: Hub, now: datetime) -> None:
    """Make the partitions that the next days need."""
    await hub.changes.ensure_ahead(now, _EVENT_DAYS_AHEAD)
    await hub.history.ensure_ahead(now, _HISTORY_DAYS_AHEAD)
    days = hub.settings.timescale_compress_after_days
    await apply_compression(hub.database, timedelta(days=days) if days is not None else None)


async def remove_expired(hub: Hub, now: datetime) -> None:
    """Remove change events and deliveries past their retention, unused contexts, expired entity maps."""
    horizon = now - timedelta(hours=hub.settings.event_retention_hours)
    dropped = await hub.changes.drop_before(await _event_horizon(hub, horizon))
    removed = await hub.deliveries.purge(now - timedelta(hours=hub.settings.notification_retention_hours))
    contexts = await hub.hosted_contexts.remove_unused(now - _UNUSED_CONTEXTS)
    maps = await EntityMapStore(hub.database).remove_expired(now)
    settings = hub.settings
    quarantined = await hub.quarantine.expire(
        _days_before(now, settings.quarantine_held_days), _days_before(now, settings.quarantine_resolved_days)
    )
    if quarantined:
        log.info("housekeeping.quarantine_expired", messages=quarantined)
    if dropped or removed or contexts or maps:
        log.info("housekeeping.removed", partitions=dropped, deliveries=removed, contexts=contexts, entity_maps=maps)


def _days_before(now: datetime, days: int | None) -> datetime | None:
    return None if days is None else now - timedelta(days=days)


async def _event_horizon(hub: Hub, horizon: datetime) -> datetime:
    """No event is removed that somebody has still to read, however old it is."""
    async with hub.database.transaction(ALL_TENANTS) as connection:
        unread = await oldest_unread(connection)
    return min(horizon, unread - _UNREAD_MARGIN) if unread else horizon


async def refresh_contexts(hub: Hub) -> None:
    """Ask the sources of fetched contexts whether they have changed; what was made with an old one is dropped."""
    for url in await hub.context_loader.refresh_stale():
        hub.contexts.forget(url)


async def upkeep(hub: Hub) -> None:
    """Both, now; a database that is away is tried again at the next turn."""
    now = datetime.now(UTC)
    with contextlib.suppress(StoreUnavailable):
        await make_partitions(hub, now)
        await remove_expired(hub, now)
        await refresh_contexts(hub)


@asynccontextmanager
async def housekeeping(hub: Hub) -> AsyncIterator[None]:
    """Upkeep at once and then on a schedule, while the block runs."""
    await upkeep(hub)
    scheduler = AsyncIOScheduler(timezone=UTC)
    scheduler.add_job(upkeep, "interval", minutes=_EVERY_MINUTES, args=[hub], coalesce=True, max_instances=1)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)

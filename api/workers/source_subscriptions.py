# SPDX-License-Identifier: Apache-2.0
"""What subscriptions to registrations need from time (clause 5.11.7): periods, and registrations that expire."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
import structlog

from api.hub import Hub
from api.ngsild.source_notifications import SourceNotifier
from broker.errors import StoreUnavailable
from context_store.database import ALL_TENANTS
from context_store.registrations.rows import RegistrationStore
from context_store.subscriptions import rows as store

log = structlog.get_logger(__name__)

_EVERY_S: Final = 1.0
_BATCH: Final = 50


async def follow_registrations(hub: Hub) -> None:
    """Until cancelled; while the database is away, what is due waits."""
    notifier = SourceNotifier(hub)
    registrations = RegistrationStore(hub.database, notifier.registration_changed)
    while True:
        try:
            await registrations.collect()
            while await notify_of_registrations(hub, notifier, datetime.now(UTC)) == _BATCH:
                pass
        except (StoreUnavailable, psycopg.Error) as error:
            log.warning("source_subscriptions.failed", error=str(error))
        await asyncio.sleep(_EVERY_S)


async def notify_of_registrations(hub: Hub, notifier: SourceNotifier, now: datetime) -> int:
    """Notify for those whose time has come; returns how many there were."""
    async with hub.database.transaction(ALL_TENANTS) as connection:
        due = await store.take_due(connection, _BATCH, about_sources=True)
        for stored in due:
            await store.set_next(connection, stored.key, timedelta(seconds=stored.document["timeInterval"]))
            await notifier.notify_periodically(connection, stored, now)
    return len(due)

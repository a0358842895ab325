# SPDX-License-Identifier: Apache-2.0
"""What waits in the database, as gauges: backlogs are to be seen before they hurt."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Final

from api.hub import Hub
from api.metrics import (
    FEED_LAG,
    PENDING,
    PENDING_AGE,
    QUARANTINE_HELD,
    ROLLUP_LAG,
    SUBSCRIPTION_AGE,
    SUBSCRIPTION_PENDING,
)
from broker.errors import StoreUnavailable
from context_store.database import ALL_TENANTS
from context_store.deliveries.status import DeliveryStatusStore
from context_store.events import consumer_lag
from context_store.history.rollups import read_state

_EVERY_S: Final = 10.0
_SUBSCRIPTIONS_SHOWN: Final = 10  # series that come and go must stay few


async def watch_backlogs(hub: Hub) -> None:
    """Measure every ten seconds until cancelled; while the database is away the gauges keep their last value."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            await measure_backlogs(hub)
        await asyncio.sleep(_EVERY_S)


async def measure_backlogs(hub: Hub) -> None:
    """Set the gauges to what is there now."""
    counts = await hub.deliveries.counts()
    async with hub.database.transaction(ALL_TENANTS) as connection:
        lags = await consumer_lag(connection)
        held = await hub.quarantine.counts(connection)
        rolled_until = (await read_state(connection)).rolled_until
    PENDING.clear()
    PENDING_AGE.clear()
    for kind, state, count, age in counts:
        PENDING.labels(kind, state).set(count)
        if state == "pending":
            PENDING_AGE.labels(kind).set(age)
    await _measure_subscriptions(hub)
    for consumer, (behind, _) in lags.items():
        FEED_LAG.labels(consumer).set(max(behind, 0))
    if rolled_until is not None:
        ROLLUP_LAG.set((datetime.now(UTC) - rolled_until).total_seconds())
    QUARANTINE_HELD.clear()
    for reason, count in held.items():
        QUARANTINE_HELD.labels(reason).set(count)


async def _measure_subscriptions(hub: Hub) -> None:
    worst = await DeliveryStatusStore(hub.database).worst(_SUBSCRIPTIONS_SHOWN)
    SUBSCRIPTION_PENDING.clear()
    SUBSCRIPTION_AGE.clear()
    for tenant, subscription, pending, age in worst:
        SUBSCRIPTION_PENDING.labels(tenant, subscription).set(pending)
        SUBSCRIPTION_AGE.labels(tenant, subscription).set(age)

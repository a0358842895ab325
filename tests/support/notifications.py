# SPDX-License-Identifier: Apache-2.0
"""Subscriptions and their notifications without the changes behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import httpx
import orjson

from adapters.channels.sending import Senders
from adapters.web.guard import Reach
from api.hub import Hub
from api.workers.deliveries import DeliveryLanes, DeliveryWorker
from api.workers.shares import RetryPolicy
from context_store.database import ALL_TENANTS
from context_store.deliveries.outbox import NewDelivery, Priority, insert_deliveries

QUICK = RetryPolicy(first_s=0.05, longest_s=0.2)
DEAD_AT_ONCE = RetryPolicy(max_age=timedelta(0))


async def subscribe(client: httpx.AsyncClient, uri: str, **headers: str) -> str:
    """A subscription of everything of a type; its id."""
    document: dict[str, Any] = {
        "type": "Subscription",
        "entities": [{"type": "Gauge"}],
        "notification": {"endpoint": {"uri": uri, "accept": "application/json"}},
    }
    response = await client.post("/ngsi-ld/v1/subscriptions", json=document, headers=headers)
    assert response.status_code == 201, response.text
    return response.headers["location"].rsplit("/", 1)[-1]


async def notify(hub: Hub, subscription_id: str, count: int, *, entities: int = 1, size: int = 0) -> None:
    """Make ``count`` notifications as the subscriptions worker does; ``{"number": sequence}`` and ``size`` letters."""
    async with hub.database.transaction(ALL_TENANTS) as connection:
        row = await (
            await connection.execute(
                """update subscription set last_sequence = last_sequence + %s where id = %s
                   returning tenant_id, subscription_key, endpoint, last_sequence""",
                (count, subscription_id),
            )
        ).fetchone()
        assert row is not None
        tenant_id, key, endpoint, last = row
        deliveries = [
            NewDelivery(
                tenant_id=tenant_id,
                kind="notification",
                priority=Priority.NORMAL,
                order_key=f"{key}:{number % entities}",
                destination=endpoint,
                subscription_key=key,
                sequence=number,
                body=orjson.dumps({"number": number, "filling": "x" * size}),
                headers={"Content-Type": "application/json", "Minamo-Sequence": str(number)},
            )
            for number in range(last - count + 1, last + 1)
        ]
        await insert_deliveries(connection, deliveries)


@asynccontextmanager
async def delivering(hub: Hub, policy: RetryPolicy = QUICK) -> AsyncIterator[None]:
    """Deliveries are made for the block."""
    async with Senders(timeout_s=5.0, reach=Reach(allow_loopback=True)) as sender:
        lanes = DeliveryLanes(
            [DeliveryWorker(hub.deliveries, sender, policy=policy, lane=lane, poll_s=0.02) for lane in Priority]
        )
        task = asyncio.create_task(lanes.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

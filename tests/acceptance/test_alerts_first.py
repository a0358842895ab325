# SPDX-License-Identifier: Apache-2.0
"""Alerts go before everything: from the change to the receiver, while a bulk consumer is far behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

import httpx
import pytest

from api.hub import Hub
from broker.alerts import ALERT_TYPE
from context_store.database import ALL_TENANTS
from support.hub import hub_for
from support.notifying import ENTITIES, create, running, set_level, subscribe
from support.receiver import Receiver
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

BULK = {"notifierInfo": [{"key": "Minamo-Priority", "value": "bulk"}]}
ALERTS = 20
LONGEST_S = 2.0  # the bulk consumer is more than ten seconds behind meanwhile
RIVERS = 100


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url, worker_poll_ms=20) as hub:
        yield hub


async def waiting(hub: Hub, priority: int) -> int:
    async with hub.database.transaction(ALL_TENANTS) as connection:
        cursor = await connection.execute(
            "select coalesce(sum(pending), 0)::int from delivery_stream where priority = %s", (priority,)
        )
        row = await cursor.fetchone()
        return int(row[0]) if row else 0


async def keep_changing(client: httpx.AsyncClient) -> None:
    """All rivers, again and again, without a pause."""
    level = 0
    while True:
        level += 1
        body = [
            {"id": f"urn:ngsi-ld:River:{number}", "type": "River", "level": {"type": "Property", "value": level}}
            for number in range(RIVERS)
        ]
        await client.post("/ngsi-ld/v1/entityOperations/upsert", json=body)


async def write_alert(client: httpx.AsyncClient, number: int) -> datetime:
    before = datetime.now(UTC)
    response = await client.post(ENTITIES, json={"id": f"urn:ngsi-ld:Alert:{number}", "type": ALERT_TYPE})
    assert response.status_code == 201
    return before


async def test_alerts_overtake_a_saturated_bulk_consumer(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    async with Receiver() as bulk:
        bulk.delay_s = 0.1
        await subscribe(client, bulk.url, notification={"endpoint": {"uri": bulk.url, **BULK}})
        await subscribe(client, receiver.url, entities=[{"type": ALERT_TYPE}], notificationTrigger=["entityCreated"])
        async with running(hub):
            changing = asyncio.create_task(keep_changing(client))
            await eventually(lambda: _at_least(hub, 500), timeout_s=30)
            written = [await write_alert(client, number) for number in range(ALERTS)]
            arrived = await receiver.wait_for(ALERTS, timeout_s=20)
            assert await waiting(hub, 9) > 500
            changing.cancel()
            with suppress(asyncio.CancelledError):
                await changing
    latencies = [(request.at - before).total_seconds() for request, before in zip(arrived, written, strict=True)]
    assert max(latencies) < LONGEST_S


async def _at_least(hub: Hub, count: int) -> bool:
    return await waiting(hub, 9) >= count


async def test_bulk_consumers_come_after_others(hub: Hub, client: httpx.AsyncClient, receiver: Receiver) -> None:
    async with Receiver() as bulk:
        bulk.delay_s = 5
        for number in range(20):
            await subscribe(client, bulk.url, notification={"endpoint": {"uri": f"{bulk.url}/{number}", **BULK}})
        await subscribe(client, receiver.url)
        async with running(hub):
            entity_id = await create(client)
            await set_level(client, entity_id, 2.0)
            await receiver.wait_for(2, timeout_s=5)
    assert await waiting(hub, 9) > 0


async def test_priority_that_does_not_exist_is_refused(client: httpx.AsyncClient) -> None:
    endpoint = {"uri": "http://127.0.0.1:9/", "notifierInfo": [{"key": "Minamo-Priority", "value": "alert"}]}
    body = {"type": "Subscription", "entities": [{"type": "River"}], "notification": {"endpoint": endpoint}}
    assert (await client.post("/ngsi-ld/v1/subscriptions", json=body)).status_code == 400

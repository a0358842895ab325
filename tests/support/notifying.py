# SPDX-License-Identifier: Apache-2.0
"""A hub that notifies, for tests of subscriptions from the API to the receiver: its workers, and requests to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from api.hub import Hub
from api.roles import make_sender
from api.workers.delivery_policy import make_delivery_worker
from api.workers.subscriptions import SubscriptionWorker

from .receiver import Received

SUBSCRIPTIONS = "/ngsi-ld/v1/subscriptions"
ENTITIES = "/ngsi-ld/v1/entities"
POLL_S = 0.02


@asynccontextmanager
async def running(hub: Hub) -> AsyncIterator[None]:
    """Both workers, until the block ends; then they are gone as if their process had been killed."""
    async with make_sender(hub.settings) as sender:
        tasks = [
            asyncio.create_task(SubscriptionWorker(hub, POLL_S).run()),
            asyncio.create_task(make_delivery_worker(hub, sender).run()),
        ]
        try:
            yield
            for task in tasks:
                assert not task.done(), task
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def subscribe(client: httpx.AsyncClient, url: str, tenant: str | None = None, **members: Any) -> str:
    notification = {"endpoint": {"uri": url}, **members.pop("notification", {})}
    body = {"type": "Subscription", "entities": [{"type": "River"}], **members, "notification": notification}
    response = await client.post(SUBSCRIPTIONS, json=body, headers={"NGSILD-Tenant": tenant} if tenant else {})
    assert response.status_code == 201, response.text
    return response.headers["Location"].rpartition("/")[2]


async def create(client: httpx.AsyncClient, number: int = 1, level: float = 1.0, **more: Any) -> str:
    entity_id = f"urn:ngsi-ld:River:{number}"
    headers = more.pop("headers", {})
    body = {"id": entity_id, "type": "River", "level": {"type": "Property", "value": level}, **more}
    response = await client.post(ENTITIES, json=body, headers=headers)
    assert response.status_code == 201, response.text
    return entity_id


async def set_level(client: httpx.AsyncClient, entity_id: str, level: float) -> None:
    body = {"level": {"type": "Property", "value": level}}
    response = await client.patch(f"{ENTITIES}/{entity_id}/attrs", json=body)
    assert response.status_code == 204, response.text


def levels(requests: list[Received]) -> list[float]:
    return [request.json["data"][0]["level"]["value"] for request in requests]

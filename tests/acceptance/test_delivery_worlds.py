# SPDX-License-Identifier: Apache-2.0
"""Worlds that notifications live in: a hot entity, a noisy neighbour, slow and dead receivers, workers that die.

What is due is known beforehand, so delivered/due is exact: 1.0 once repeats are dropped by their sequence numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from api.hub import Hub
from support.hub import hub_for
from support.notifying import ENTITIES, create, running, set_level, subscribe
from support.receiver import Received, Receiver
from support.waiting import eventually
from support.work_process import work_process

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

UPDATED = {"notificationTrigger": ["attributeUpdated"]}
BATCH = "/ngsi-ld/v1/entityOperations"


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url, worker_poll_ms=20, delivery_backoff_max_s=1) as hub:
        yield hub


@pytest.fixture
async def workers(hub: Hub) -> AsyncIterator[None]:
    async with running(hub):
        yield


def entity(number: int, level: float) -> dict[str, Any]:
    level_property = {"type": "Property", "value": level}
    return {"id": f"urn:ngsi-ld:River:{number}", "type": "River", "level": level_property}


async def batch(client: httpx.AsyncClient, operation: str, level: float, count: int, tenant: str = "default") -> None:
    """All entities at once, in batches of 500."""
    for start in range(0, count, 500):
        body = [entity(number, level) for number in range(start, min(start + 500, count))]
        response = await client.post(f"{BATCH}/{operation}", json=body, headers={"NGSILD-Tenant": tenant})
        assert response.status_code in (201, 204), response.text


def levels_by_entity(requests: list[Received]) -> dict[str, list[float]]:
    """The levels that each entity was notified with, in the order of arrival; repeats are dropped by their numbers."""
    seen: set[tuple[str, str]] = set()
    result: dict[str, list[float]] = {}
    for request in requests:
        told = request.json
        number = told["subscriptionId"], request.headers["minamo-sequence"]
        if number not in seen:
            seen.add(number)
            for told_of in told["data"]:
                result.setdefault(told_of["id"], []).append(told_of["level"]["value"])
    return result


@pytest.mark.slow
async def test_ten_times_the_load_of_orion_1650(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    """1,000 entities, one subscription, 5 updates each in bursts: 5,000 notifications, each once, in order."""
    await batch(client, "create", 0, 1000)
    await subscribe(client, receiver.url, **UPDATED)
    for level in range(1, 6):
        await batch(client, "update", level, 1000)
    await receiver.wait_for(5000, timeout_s=120)
    assert sorted(int(request.headers["minamo-sequence"]) for request in receiver.received) == list(range(1, 5001))
    assert levels_by_entity(receiver.accepted) == {f"urn:ngsi-ld:River:{n}": [1, 2, 3, 4, 5] for n in range(1000)}


async def test_hot_entity_is_told_to_all_in_order(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    entity_id = await create(client, 1, 0)
    for _ in range(10):
        await subscribe(client, receiver.url, **UPDATED)
    for level in range(1, 51):
        await set_level(client, entity_id, level)
    await receiver.wait_for(500, timeout_s=60)
    by_subscription: dict[str, list[Received]] = {}
    for request in receiver.accepted:
        by_subscription.setdefault(request.json["subscriptionId"], []).append(request)
    told = [levels_by_entity(requests) for requests in by_subscription.values()]
    assert told == [{entity_id: list(range(1, 51))}] * 10


async def test_noisy_tenant_delays_no_other(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    """What a quiet tenant has to tell arrives long before the flood of another one is through."""
    async with Receiver() as flooded:
        flooded.delay_s = 0.05
        await batch(client, "create", 0, 400, tenant="noisy")
        await subscribe(client, flooded.url, tenant="noisy", **UPDATED)
        await subscribe(client, receiver.url)
        await batch(client, "update", 1, 400, tenant="noisy")
        await eventually(lambda: len(flooded.received) > 0)
        for number in range(10):
            await create(client, number)
        await receiver.wait_for(10)
        assert len(flooded.accepted) < 200
        await flooded.wait_for(400, timeout_s=60)


async def test_slow_subscriber_holds_up_none_of_ten_fast_ones(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    async with AsyncExitStack() as stack:
        fast = [await stack.enter_async_context(Receiver()) for _ in range(10)]
        receiver.delay_s = 0.5
        await batch(client, "create", 0, 20)
        for url in (receiver.url, *(other.url for other in fast)):
            await subscribe(client, url, **UPDATED)
        await batch(client, "update", 1, 20)
        for other in fast:
            await other.wait_for(20)
        assert len(receiver.accepted) < 20
        await receiver.wait_for(20, timeout_s=30)


async def test_receiver_that_is_away_all_the_time_gets_everything_when_it_is_back(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    await batch(client, "create", 0, 100)
    await subscribe(client, receiver.url, **UPDATED)
    await receiver.close()
    for level in range(1, 6):
        await batch(client, "update", level, 100)
    async with Receiver() as other:  # which hears of it meanwhile
        await subscribe(client, other.url, **UPDATED)
        await batch(client, "update", 6, 100)
        await other.wait_for(100)
    await receiver.open()
    await receiver.wait_for(600, timeout_s=60)
    assert levels_by_entity(receiver.accepted) == {f"urn:ngsi-ld:River:{n}": [1, 2, 3, 4, 5, 6] for n in range(100)}


async def test_what_was_not_delivered_goes_to_where_the_receiver_has_moved(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    subscription_id = await subscribe(client, receiver.url)
    await receiver.close()
    await create(client, 1, 7)
    async with Receiver() as moved:
        endpoint = {"notification": {"endpoint": {"uri": moved.url}}}
        response = await client.patch(f"/ngsi-ld/v1/subscriptions/{subscription_id}", json=endpoint)
        assert response.status_code == 204
        assert levels_by_entity(await moved.wait_for(1)) == {"urn:ngsi-ld:River:1": [7]}


@pytest.mark.slow
@pytest.mark.kill
async def test_worker_that_is_killed_while_it_sends_loses_nothing(
    database_url: str, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """SIGKILL between the commit of a notification and the end of its delivery; another worker finishes."""
    await batch(client, "create", 0, 50)
    await subscribe(client, receiver.url, **UPDATED)
    async with work_process(database_url, delivery_timeout_s="1") as first:
        receiver.status = lambda _request: first.kill() or 500  # type: ignore[func-returns-value]
        for level in range(1, 4):
            await batch(client, "update", level, 50)
        await eventually(lambda: len(receiver.received) > 0)
    receiver.status = 200
    async with work_process(database_url, delivery_timeout_s="1"):
        await receiver.wait_for(150, timeout_s=90)
    assert levels_by_entity(receiver.accepted) == {f"urn:ngsi-ld:River:{n}": [1, 2, 3] for n in range(50)}


@pytest.mark.slow
async def test_two_workers_share_the_work_and_know_the_same_subscriptions(
    database_url: str, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """Whichever process takes a change: what was created or deleted just before it holds already."""
    async with work_process(database_url), work_process(database_url):
        await batch(client, "create", 0, 50)
        kept = await subscribe(client, receiver.url, **UPDATED)
        for level in range(1, 5):
            passing = await subscribe(client, receiver.url, **UPDATED)
            await batch(client, "update", level, 50)
            await receiver.wait_for(100 * level, timeout_s=60)
            response = await client.delete(f"/ngsi-ld/v1/subscriptions/{passing}")
            assert response.status_code == 204
    of_kept = [request for request in receiver.accepted if request.json["subscriptionId"] == kept]
    assert levels_by_entity(of_kept) == {f"urn:ngsi-ld:River:{n}": [1, 2, 3, 4] for n in range(50)}
    assert len({(r.json["subscriptionId"], r.headers["minamo-sequence"]) for r in receiver.accepted}) == 400


async def test_many_writers_at_once_lose_nothing(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    """Transactions that commit in another order than they began are all seen."""
    entities = [await create(client, number, 0) for number in range(20)]
    await subscribe(client, receiver.url, **UPDATED)

    async def write(entity_id: str) -> None:
        for level in range(1, 11):
            response = await client.patch(
                f"{ENTITIES}/{entity_id}/attrs", json={"level": {"type": "Property", "value": level}}
            )
            assert response.status_code == 204

    await asyncio.gather(*map(write, entities))
    await receiver.wait_for(200, timeout_s=60)
    assert levels_by_entity(receiver.accepted) == {entity_id: list(range(1, 11)) for entity_id in entities}

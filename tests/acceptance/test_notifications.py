# SPDX-License-Identifier: Apache-2.0
"""Subscriptions from the API to the receiver: API, matching worker and delivery worker on one real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from api.hub import Hub
from context_store.database import ALL_TENANTS
from support.hub import hub_for
from support.notifying import ENTITIES, SUBSCRIPTIONS, create, levels, running, set_level, subscribe
from support.receiver import Received, Receiver
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

SILENCE_S = 0.4  # how long nothing has to come until it is believed that nothing comes


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url, worker_poll_ms=20, delivery_backoff_max_s=1) as hub:
        yield hub


@pytest.fixture
async def workers(hub: Hub) -> AsyncIterator[None]:
    async with running(hub):
        yield


async def test_change_is_notified(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    subscription_id = await subscribe(client, receiver.url)
    entity_id = await create(client)
    await set_level(client, entity_id, 2.5)
    first, second = await receiver.wait_for(2)
    assert second.json["subscriptionId"] == subscription_id
    assert second.json["data"] == [{"id": entity_id, "type": "River", "level": {"type": "Property", "value": 2.5}}]
    assert second.headers["content-type"] == "application/json"
    assert "json-ld#context" in second.headers["link"]
    assert (first.headers["minamo-sequence"], second.headers["minamo-sequence"]) == ("1", "2")
    assert "ngsild-tenant" not in second.headers


async def test_receiver_that_asks_at_once_finds_its_answer_counted(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    subscription_id = await subscribe(client, receiver.url)
    await create(client)
    await receiver.wait_for(1)
    stored = (await client.get(f"{SUBSCRIPTIONS}/{subscription_id}")).json()["notification"]
    assert stored["timesSent"] == 1
    assert stored["lastSuccess"] >= stored["lastNotification"]


async def test_asking_does_not_wait_for_a_receiver_that_takes_its_time(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    receiver.delay_s = 5.0
    subscription_id = await subscribe(client, receiver.url)
    await create(client)
    await eventually(lambda: receiver.under_way == 1)
    async with asyncio.timeout(4.0):
        stored = (await client.get(f"{SUBSCRIPTIONS}/{subscription_id}")).json()["notification"]
    assert "lastSuccess" not in stored


async def test_nothing_is_lost_under_bursts(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    """The load of Orion-LD issue 1650: 100 entities, one subscription, no throttling, 5 updates each."""
    entities = [await create(client, number, 0) for number in range(100)]
    await subscribe(client, receiver.url, notificationTrigger=["attributeUpdated"])

    async def burst(entity_id: str) -> None:
        for level in range(1, 6):
            await set_level(client, entity_id, level)

    await asyncio.gather(*map(burst, entities))
    await receiver.wait_for(500, timeout_s=30)
    assert sorted(int(request.headers["minamo-sequence"]) for request in receiver.received) == list(range(1, 501))
    for entity_id in entities:
        of_entity = [request for request in receiver.received if request.json["data"][0]["id"] == entity_id]
        assert levels(of_entity) == [1, 2, 3, 4, 5]


async def test_each_notification_has_the_values_of_its_change(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    entity_id = await create(client, 1, 0, flow={"type": "Property", "value": 0})
    async with running(hub):
        await asyncio.sleep(SILENCE_S)
    await subscribe(client, receiver.url, watchedAttributes=["level"])
    for number in range(1, 4):
        await set_level(client, entity_id, number)
        body = {"flow": {"type": "Property", "value": number * 10}}
        await client.patch(f"{ENTITIES}/{entity_id}/attrs", json=body)
    async with running(hub):
        await receiver.wait_for(3)
    seen = [(data["level"]["value"], data["flow"]["value"]) for r in receiver.accepted for data in r.json["data"]]
    assert seen[-3:] == [(1, 0), (2, 10), (3, 20)]


async def test_query_is_asked_of_the_state_after_the_change(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    await subscribe(client, receiver.url, q="level>2")
    entity_id = await create(client, 1, 1)
    for level in (3, 1, 4):
        await set_level(client, entity_id, level)
    await receiver.wait_for(2)
    await asyncio.sleep(SILENCE_S)
    assert levels(receiver.received) == [3, 4]


async def test_throttled_notifications_are_left_out(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    entity_id = await create(client)
    await asyncio.sleep(SILENCE_S)
    await subscribe(client, receiver.url, throttling=1, notificationTrigger=["attributeUpdated"])
    for level in range(2, 10):
        await set_level(client, entity_id, level)
    await receiver.wait_for(1)
    await asyncio.sleep(1.1)
    await set_level(client, entity_id, 99)
    await receiver.wait_for(2)
    assert levels(receiver.received) == [2, 99]


async def test_deleted_entity_is_notified(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    await subscribe(client, receiver.url, notificationTrigger=["entityDeleted"], scopeQ="/Japan")
    entity_id = await create(client, scope="/Japan")
    await client.delete(f"{ENTITIES}/{entity_id}")
    (request,) = await receiver.wait_for(1)
    assert request.json["data"][0].keys() == {"id", "type", "scope", "deletedAt"}


async def test_tenants_are_kept_apart(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    await subscribe(client, receiver.url, tenant="shizuoka")
    await create(client, 1)
    await create(client, 2, headers={"NGSILD-Tenant": "shizuoka"})
    (request,) = await receiver.wait_for(1)
    await asyncio.sleep(SILENCE_S)
    assert request.json["data"][0]["id"] == "urn:ngsi-ld:River:2"
    assert request.headers["ngsild-tenant"] == "shizuoka"
    assert len(receiver.received) == 1


async def test_paused_and_deleted_subscriptions_are_silent(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    paused = await subscribe(client, receiver.url)
    deleted = await subscribe(client, receiver.url)
    await client.patch(f"{SUBSCRIPTIONS}/{paused}", json={"isActive": False})
    await client.delete(f"{SUBSCRIPTIONS}/{deleted}")
    entity_id = await create(client)
    await asyncio.sleep(SILENCE_S)
    assert receiver.received == []
    await client.patch(f"{SUBSCRIPTIONS}/{paused}", json={"isActive": True})
    await set_level(client, entity_id, 7)
    assert levels(await receiver.wait_for(1)) == [7]


async def test_all_matching_entities_are_notified_periodically(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    for number in range(3):
        await create(client, number, number)
    await subscribe(client, receiver.url, timeInterval=1, q="level>=1")
    await receiver.wait_for(2)
    for request in receiver.accepted:
        assert [entity["id"][-1] for entity in request.json["data"]] == ["1", "2"]
    await asyncio.sleep(SILENCE_S)
    assert len(receiver.accepted) == 2


async def test_subscription_that_cannot_be_read_stops_no_other(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    broken = await subscribe(client, receiver.url)
    await subscribe(client, receiver.url)
    async with hub.database.transaction(ALL_TENANTS) as connection:
        await connection.execute(
            """update subscription set document = '{"notification": {}}' where id = %s""", (broken,)
        )
    async with running(hub):
        await create(client)
        await receiver.wait_for(1)
    async with hub.database.transaction(ALL_TENANTS) as connection:
        row = await (
            await connection.execute("select times_failed, last_error from subscription where id = %s", (broken,))
        ).fetchone()
    assert row is not None
    assert row[0] == 1
    assert "notification.endpoint.uri" in row[1]


async def test_work_goes_on_where_it_was_broken_off(hub: Hub, client: httpx.AsyncClient, receiver: Receiver) -> None:
    await subscribe(client, receiver.url)
    entity_id = await create(client, 1, 0)
    for level in range(1, 60):
        await set_level(client, entity_id, level)
        if level % 10 == 0:
            async with running(hub):
                await asyncio.sleep(0.03)  # cancelled in the middle of something
    async with running(hub):
        await eventually(lambda: len(_by_sequence(receiver)) == 60)
    by_sequence = _by_sequence(receiver)  # some may have come twice
    assert levels([by_sequence[number] for number in range(1, 61)]) == list(range(60))


def _by_sequence(receiver: Receiver) -> dict[int, Received]:
    return {int(request.headers["minamo-sequence"]): request for request in receiver.accepted}


async def test_receiver_that_was_away_gets_everything_in_order(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    await subscribe(client, receiver.url)
    entity_id = await create(client, 1, 0)
    await receiver.wait_for(1)
    await receiver.close()
    for level in range(1, 20):
        await set_level(client, entity_id, level)
    await asyncio.sleep(SILENCE_S)
    await receiver.open()
    await receiver.wait_for(20)
    assert levels(receiver.accepted) == list(range(20))


async def test_fifty_subscriptions_to_one_change(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    ids = {await subscribe(client, receiver.url) for _ in range(50)}
    await create(client)
    await receiver.wait_for(50)
    assert {request.json["subscriptionId"] for request in receiver.accepted} == ids


async def test_counters_tell_what_became_of_it(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    answers = iter([500, 200])
    receiver.status = lambda _request: next(answers)
    subscription_id = await subscribe(client, receiver.url)
    await create(client)
    await receiver.wait_for(1)

    async def settled() -> bool:
        return "lastSuccess" in (await client.get(f"{SUBSCRIPTIONS}/{subscription_id}")).json()["notification"]

    await eventually(settled)
    shown = (await client.get(f"{SUBSCRIPTIONS}/{subscription_id}")).json()["notification"]
    assert (shown["timesSent"], shown["timesFailed"], shown["status"]) == (1, 1, "ok")


async def test_receiver_that_is_gone_ends_the_subscription_for_everybody_to_see(
    client: httpx.AsyncClient, workers: None, receiver: Receiver
) -> None:
    receiver.status = 410
    path = f"{SUBSCRIPTIONS}/{await subscribe(client, receiver.url)}"
    await create(client)

    async def ended() -> bool:
        return (await client.get(path)).json()["status"] == "paused"

    await eventually(ended)
    shown = (await client.get(path)).json()
    assert (shown["isActive"], shown["notification"]["status"]) == (False, "failed")
    assert shown["notification"]["lastErrorReason"].startswith("Ended, because the receiver is gone: HTTP 410")


async def test_subscription_that_ended_can_go_on(client: httpx.AsyncClient, workers: None, receiver: Receiver) -> None:
    receiver.status = 410
    path = f"{SUBSCRIPTIONS}/{await subscribe(client, receiver.url)}"
    entity_id = await create(client, 1, 1)

    async def ended() -> bool:
        return (await client.get(path)).json()["status"] == "paused"

    await eventually(ended)
    receiver.status = 200
    await client.patch(path, json={"isActive": True})
    await set_level(client, entity_id, 2)
    assert levels(await receiver.wait_for(1)) == [2]


async def test_changes_before_the_subscription_are_not_told(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await create(client, 1)
    async with hub.database.transaction(ALL_TENANTS) as connection:  # the worker has been away for a while
        await connection.execute("update change_event set recorded_at = recorded_at - interval '10 seconds'")
    await subscribe(client, receiver.url)
    async with running(hub):
        await create(client, 2)
        await receiver.wait_for(1)
        await asyncio.sleep(SILENCE_S)
    assert [request.json["data"][0]["id"] for request in receiver.received] == ["urn:ngsi-ld:River:2"]


@pytest.mark.parametrize(
    ("uri", "status"),
    [("ftp://x/", 400), ("http://user:secret@x/", 400), ("no url", 400), ("mqtt://x", 400), ("mqtt://x/a/+", 400)],
)
async def test_endpoint_that_cannot_be_served_is_refused(client: httpx.AsyncClient, uri: str, status: int) -> None:
    body = {"type": "Subscription", "entities": [{"type": "River"}], "notification": {"endpoint": {"uri": uri}}}
    response = await client.post(SUBSCRIPTIONS, json=body)
    assert response.status_code == 400
    assert "notification.endpoint.uri" in response.json()["detail"]


async def test_life_of_a_subscription(client: httpx.AsyncClient) -> None:
    subscription_id = await subscribe(client, "http://example.org/", description="levels")
    path = f"{SUBSCRIPTIONS}/{subscription_id}"
    assert (await client.get(path)).json()["description"] == "levels"
    assert (await client.patch(path, json={"description": "urn:ngsi-ld:null"})).status_code == 204
    assert "description" not in (await client.get(path)).json()
    assert [item["id"] for item in (await client.get(SUBSCRIPTIONS)).json()] == [subscription_id]
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404

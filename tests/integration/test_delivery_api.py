# SPDX-License-Identifier: Apache-2.0
"""How deliveries go, dead letters and catching up: through the API, on real rows and a real receiver."""

from __future__ import annotations

import httpx
import pytest

from api.hub import Hub
from api.workers.shares import RetryPolicy
from api.workers.watch import measure_backlogs
from context_store.database import ALL_TENANTS
from support.notifications import DEAD_AT_ONCE, delivering, notify, subscribe
from support.receiver import Receiver
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


async def status(client: httpx.AsyncClient, subscription: str) -> dict[str, object]:
    found: dict[str, object] = (await client.get(f"/api/v1/subscriptions/{subscription}")).json()
    return found


async def letters(client: httpx.AsyncClient, **parameters: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (await client.get("/api/v1/dead-letters", params=parameters)).json()["deadLetters"]
    return found


async def dead(hub: Hub, client: httpx.AsyncClient, receiver: Receiver, count: int = 3) -> str:
    """A subscription with ``count`` dead letters."""
    subscription = await subscribe(client, receiver.url)
    await notify(hub, subscription, count)
    receiver.status = 422
    async with delivering(hub, DEAD_AT_ONCE):
        await eventually(lambda: _has(client, subscription, "deadLetters", count))
    receiver.status = 200
    return subscription


async def _has(client: httpx.AsyncClient, subscription: str, member: str, value: object) -> bool:
    return (await status(client, subscription))[member] == value


def numbers(receiver: Receiver) -> list[int]:
    return [request.json["number"] for request in receiver.accepted]


async def test_status_tells_what_waits(hub: Hub, client: httpx.AsyncClient) -> None:
    subscription = await subscribe(client, "http://127.0.0.1:9/")
    await notify(hub, subscription, 5, entities=2)
    found = await status(client, subscription)
    assert (found["pending"], found["lastSequence"], found["inFlight"]) == (5, 5, 0)
    assert 0 <= float(str(found["oldestPendingSeconds"])) < 60


async def test_status_tells_the_answer_of_a_receiver_that_fails(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    subscription = await subscribe(client, receiver.url)
    await notify(hub, subscription, 1)
    receiver.status = 503
    async with delivering(hub):
        await receiver.wait_for_requests(1)
        await eventually(lambda: _has(client, subscription, "stalled", 1))
    found = await status(client, subscription)
    assert "503" in str(found["lastError"])
    assert found["lastFailure"] is not None


async def test_status_of_one_that_does_not_exist_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/subscriptions/urn:x:1")).status_code == 404


async def test_list_has_all_in_the_order_of_creation(client: httpx.AsyncClient) -> None:
    ids = [await subscribe(client, f"http://127.0.0.1:9/{n}") for n in range(3)]
    pages = [(await client.get(f"/api/v1/subscriptions?limit=2&offset={n}")).json()["subscriptions"] for n in (0, 2)]
    assert [found["id"] for page in pages for found in page] == ids


async def test_dead_letters_are_listed_newest_first_in_pages(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await dead(hub, client, receiver)
    first = await letters(client, limit="2")
    rest = await letters(client, limit="2", before=str(first[-1]["id"]))
    assert [letter["sequence"] for letter in first + rest] == [3, 2, 1]


async def test_dead_letter_shows_body_headers_and_answers(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await dead(hub, client, receiver, 1)
    (listed,) = await letters(client)
    letter = (await client.get(f"/api/v1/dead-letters/{listed['id']}")).json()
    assert letter["body"]["number"] == 1
    assert letter["headers"]["Minamo-Sequence"] == "1"
    assert [(answer["status"], answer["error"]) for answer in letter["answers"]] == [(422, "HTTP 422: ")]


async def test_one_dead_letter_is_replayed(hub: Hub, client: httpx.AsyncClient, receiver: Receiver) -> None:
    await dead(hub, client, receiver)
    second = next(letter for letter in await letters(client) if letter["sequence"] == 2)
    assert (await client.post(f"/api/v1/dead-letters/{second['id']}/replay")).json() == {"replayed": 1}
    async with delivering(hub):
        await receiver.wait_for(1)
    assert numbers(receiver) == [2]
    assert [letter["sequence"] for letter in await letters(client)] == [3, 1]


async def test_all_of_a_subscription_are_replayed_in_order_before_what_is_newer(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    subscription = await dead(hub, client, receiver)
    await notify(hub, subscription, 2)
    answer = await client.post("/api/v1/dead-letters/replay", params={"subscriptionId": subscription})
    assert answer.json() == {"replayed": 3}
    async with delivering(hub):
        await receiver.wait_for(5)
    assert numbers(receiver) == [1, 2, 3, 4, 5]


async def test_replay_goes_where_the_subscription_goes_now(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    subscription = await dead(hub, client, receiver, 1)
    async with Receiver() as moved:
        fragment = {"notification": {"endpoint": {"uri": moved.url}}}
        path = f"/ngsi-ld/v1/subscriptions/{subscription}"
        assert (await client.patch(path, json=fragment)).status_code == 204
        await client.post("/api/v1/dead-letters/replay")
        async with delivering(hub):
            await moved.wait_for(1)


async def test_replayed_delivery_is_tried_for_as_long_as_a_new_one(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await dead(hub, client, receiver, 1)
    async with hub.database.transaction(ALL_TENANTS) as connection:
        await connection.execute("update delivery set created_at = now() - interval '9 days', queued_at = created_at")
    answers = iter([500, 200])
    receiver.status = lambda _request: next(answers)
    await client.post("/api/v1/dead-letters/replay")
    async with delivering(hub):
        await receiver.wait_for(1)
    assert await letters(client) == []


async def test_dropped_letter_is_gone_and_not_sent(hub: Hub, client: httpx.AsyncClient, receiver: Receiver) -> None:
    subscription = await dead(hub, client, receiver)
    number = (await letters(client))[0]["id"]
    assert (await client.delete(f"/api/v1/dead-letters/{number}")).status_code == 204
    assert (await client.delete(f"/api/v1/dead-letters/{number}")).status_code == 404
    answer = await client.delete("/api/v1/dead-letters", params={"subscriptionId": subscription})
    assert answer.json() == {"dropped": 2}
    assert await letters(client) == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_dead_letters_of_another_tenant_do_not_exist(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver, method: str
) -> None:
    await dead(hub, client, receiver, 1)
    (letter,) = await letters(client)
    await subscribe(client, receiver.url, **{"NGSILD-Tenant": "other"})
    client.headers["NGSILD-Tenant"] = "other"
    assert await letters(client) == []
    assert (await client.request(method, f"/api/v1/dead-letters/{letter['id']}")).status_code == 404
    assert (await client.post("/api/v1/dead-letters/replay")).json() == {"replayed": 0}


async def test_notifications_are_listed_behind_a_number(hub: Hub, client: httpx.AsyncClient) -> None:
    subscription = await subscribe(client, "http://127.0.0.1:9/")
    await notify(hub, subscription, 5)
    path = f"/api/v1/subscriptions/{subscription}/notifications"
    page = (await client.get(path, params={"after": 2, "limit": 2})).json()
    assert [found["body"]["number"] for found in page["notifications"]] == [3, 4]
    assert (page["missing"], page["last"]) == ([], 5)


async def test_what_is_not_kept_any_more_is_said(hub: Hub, client: httpx.AsyncClient) -> None:
    subscription = await subscribe(client, "http://127.0.0.1:9/")
    await notify(hub, subscription, 9)
    await forget(hub, 1, 2, 5, 6, 9)
    path = f"/api/v1/subscriptions/{subscription}/notifications"
    page = (await client.get(path)).json()
    assert [found["sequence"] for found in page["notifications"]] == [3, 4, 7, 8]
    assert page["missing"] == [{"from": 1, "to": 2}, {"from": 5, "to": 6}]
    rest = (await client.get(path, params={"after": 8})).json()
    assert (rest["notifications"], rest["missing"]) == ([], [{"from": 9, "to": 9}])


async def forget(hub: Hub, *sequences: int) -> None:
    async with hub.database.transaction(ALL_TENANTS) as connection:
        await connection.execute("delete from delivery where sequence = any(%s)", (list(sequences),))


async def test_receiver_catches_up_in_the_order_of_each_entity(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    subscription = await subscribe(client, receiver.url)
    await notify(hub, subscription, 20, entities=2)
    async with delivering(hub):
        await receiver.wait_for(20)
        await eventually(lambda: _has(client, subscription, "pending", 0))
        receiver.accepted.clear()
        answer = await client.post(f"/api/v1/subscriptions/{subscription}/catch-up", json={"after": 4})
        assert (answer.status_code, answer.json()) == (202, {"queued": 16, "missing": []})
        await receiver.wait_for(16)
    again = numbers(receiver)
    assert [[n for n in again if n % 2 == odd] for odd in (0, 1)] == [[*range(6, 21, 2)], [*range(5, 20, 2)]]


async def test_catching_up_on_what_is_not_kept_any_more_is_410_unless_partial(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    subscription = await subscribe(client, receiver.url)
    await notify(hub, subscription, 6)
    async with delivering(hub):
        await receiver.wait_for(6)
        await eventually(lambda: _has(client, subscription, "pending", 0))
    await forget(hub, 1, 2, 4, 6)
    path = f"/api/v1/subscriptions/{subscription}/catch-up"
    gaps = [{"from": 2, "to": 2}, {"from": 4, "to": 4}, {"from": 6, "to": 6}]
    refused = await client.post(path, json={"after": 1})
    assert (refused.status_code, refused.json()["missing"]) == (410, gaps)
    assert (await client.post(path, json={"after": 1, "partial": True})).json() == {"queued": 2, "missing": gaps}


@pytest.mark.parametrize("body", [{}, {"after": -1}, {"after": "1"}, {"after": True}, {"after": 1, "partial": 1}])
async def test_malformed_catch_up_is_400(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    subscription = await subscribe(client, "http://127.0.0.1:9/")
    assert (await client.post(f"/api/v1/subscriptions/{subscription}/catch-up", json=body)).status_code == 400


async def test_gauges_show_the_subscriptions_with_the_most_waiting(hub: Hub, client: httpx.AsyncClient) -> None:
    subscriptions = [await subscribe(client, "http://127.0.0.1:9/") for _ in range(12)]
    for count, subscription in enumerate(subscriptions, 1):
        await notify(hub, subscription, count)
    await measure_backlogs(hub)
    metrics = (await client.get("/metrics")).text
    shown = [line for line in metrics.splitlines() if line.startswith("minamo_subscription_waiting{")]
    assert len(shown) == 10
    assert f'minamo_subscription_waiting{{subscription="{subscriptions[-1]}",tenant="default"}} 12.0' in shown
    assert 'minamo_deliveries_waiting{kind="notification",state="pending"} 78.0' in metrics


async def move(client: httpx.AsyncClient, subscription: str, uri: str) -> None:
    fragment = {"notification": {"endpoint": {"uri": uri}}}
    assert (await client.patch(f"/ngsi-ld/v1/subscriptions/{subscription}", json=fragment)).status_code == 204


async def test_what_waits_goes_to_the_new_address_of_a_receiver_that_moved(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    subscription = await subscribe(client, "http://127.0.0.1:9/")
    await notify(hub, subscription, 5, entities=2)
    async with delivering(hub, RetryPolicy(first_s=600, longest_s=600)):
        await eventually(lambda: _has(client, subscription, "stalled", 2))
        await move(client, subscription, receiver.url)
        await receiver.wait_for(5)
    assert sorted(numbers(receiver)) == [1, 2, 3, 4, 5]


async def test_what_waits_is_there_to_be_pulled_when_the_receiver_comes_for_it(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    subscription = await dead(hub, client, receiver, 2)
    await notify(hub, subscription, 2)
    await move(client, subscription, "minamo:stream")
    found = (await client.get(f"/api/v1/subscriptions/{subscription}/notifications")).json()["notifications"]
    assert [(one["sequence"], one["state"]) for one in found] == [(number, "kept") for number in range(1, 5)]
    now = await status(client, subscription)
    assert (now["pending"], now["deadLetters"], now["oldestPendingSeconds"]) == (0, 0, None)


async def test_what_was_kept_is_sent_to_an_endpoint_that_catches_up(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    subscription = await subscribe(client, "minamo:stream")
    await notify(hub, subscription, 3)
    await move(client, subscription, receiver.url)
    answer = await client.post(f"/api/v1/subscriptions/{subscription}/catch-up", json={"after": 0})
    assert answer.json() == {"queued": 3, "missing": []}
    async with delivering(hub):
        await receiver.wait_for(3)
    assert numbers(receiver) == [1, 2, 3]


async def pause(client: httpx.AsyncClient, subscription: str, *, is_active: bool) -> None:
    answer = await client.patch(f"/ngsi-ld/v1/subscriptions/{subscription}", json={"isActive": is_active})
    assert answer.status_code == 204


async def test_nothing_is_sent_while_a_subscription_is_paused_and_nothing_is_lost(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    subscription = await subscribe(client, receiver.url)
    await notify(hub, subscription, 3)
    await pause(client, subscription, is_active=False)
    other = await subscribe(client, receiver.url)
    await notify(hub, other, 1)
    async with delivering(hub):
        await receiver.wait_for(1)
        assert (await status(client, subscription))["pending"] == 3
        await pause(client, subscription, is_active=True)
        await receiver.wait_for(4)
    assert numbers(receiver) == [1, 1, 2, 3]


async def test_a_subscription_that_is_paused_while_it_is_being_sent_stops_after_what_was_under_way(
    hub: Hub, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    subscription = await subscribe(client, receiver.url)
    await notify(hub, subscription, 30)
    receiver.status = 503
    async with delivering(hub):
        await receiver.wait_for_requests(1)
        await pause(client, subscription, is_active=False)
        receiver.status = 200
        await eventually(lambda: _has(client, subscription, "inFlight", 0))
        attempts = len(receiver.received)
        other = await subscribe(client, receiver.url)
        await notify(hub, other, 1)
        await receiver.wait_for(1)
        await eventually(lambda: _has(client, other, "pending", 0))
    assert len(receiver.received) == attempts + 1
    assert int(str((await status(client, subscription))["pending"])) >= 10  # a worker takes 20 at a time

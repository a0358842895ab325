# SPDX-License-Identifier: Apache-2.0
"""Web Push from a reading to a browser: a push service that opens what it gets, and behaves badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from api.roles import make_sender
from api.workers.contacts import ContactWorker
from api.workers.delivery_policy import make_delivery_worker
from support.alarm_city import RULE, City
from support.hub import client_for, hub_for
from support.push_service import PushBrowser
from support.receiver import Receiver
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

STATION = "urn:ngsi-ld:WaterObserved:ooba"


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[City]:
    settings = {"smtp_from": "minamo@city.example.jp", "delivery_backoff_max_s": 1}
    async with hub_for(database_url, **settings) as hub, client_for(hub) as http:
        one = City(hub, http)
        await one.put_rule(**RULE)
        await put(one, "contacts/desk", name="防災課")
        await put(one, "contact-groups/duty", name="当番", members=[{"contact": "desk"}])
        await put(one, "notification-plans/all", name="全部", steps=[["duty"]])
        yield one


async def put(city: City, path: str, **document: Any) -> None:
    answer = await city.http.put(f"/api/v1/{path}", json=document)
    assert answer.status_code in (200, 201), answer.text


async def enrol(city: City, receiver: Receiver, name: str = "one") -> PushBrowser:
    browser = PushBrowser(receiver.url, (await city.get("/web-push"))["publicKey"], name)
    await city.post("/contacts/desk/browsers", {"subscription": browser.subscription(), "label": name}, 201)
    return browser


async def browsers(city: City) -> list[str]:
    return [one["label"] for one in (await city.get("/contacts/desk/browsers"))["browsers"]]


async def tell(city: City) -> None:
    worker = ContactWorker(city.hub.database, poll_s=1)
    while await worker.turn(datetime.now(UTC)):
        pass


async def notices(city: City) -> list[dict[str, Any]]:
    await tell(city)
    return list(reversed((await city.get("/notices"))["notices"]))


@asynccontextmanager
async def delivering(city: City) -> AsyncIterator[None]:
    async with make_sender(city.hub.settings, city.hub.database) as sender:
        task = asyncio.create_task(make_delivery_worker(city.hub, sender).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def settled(city: City, count: int) -> list[dict[str, Any]]:
    """The notices, when so many have come to an end."""

    async def ended() -> bool:
        return sum(notice["state"] in ("delivered", "failed") for notice in await notices(city)) >= count

    async with delivering(city):
        await eventually(ended)
    return await notices(city)


async def test_alarm_reaches_the_browser_and_only_the_browser_can_read_it(city: City, receiver: Receiver) -> None:
    browser = await enrol(city, receiver)
    await city.measure(STATION, 0, 2.5)
    (notice,) = await settled(city, 1)
    assert (notice["channel"], notice["state"], notice["address"]) == ("webpush", "delivered", "one (127.0.0.1)")
    (request,) = receiver.accepted
    message = browser.open(request)
    assert "氾濫危険水位" in message["title"] and "2.50 m" in message["body"] and message["urgent"]
    assert request.headers["urgency"] == "high" and b"2.50" not in request.body
    assert browser.check_sender(request.headers["authorization"])["sub"] == "mailto:minamo@city.example.jp"


async def test_message_of_a_drill_opens_the_page_of_the_drill(city: City, receiver: Receiver) -> None:
    browser = await enrol(city, receiver)
    await city.measure(STATION, 0, 0.5)
    drill = await city.post("/drills", {"title": "出水期前の訓練", "by": "佐藤", "contacts": ["desk"]}, 201)
    await city.post(f"/drills/{drill['drillId']}/values", {"entityId": STATION, "value": 2.5}, 204)
    await city.work()
    async with delivering(city):

        async def arrived() -> bool:
            await tell(city)
            return bool(receiver.accepted)

        await eventually(arrived)
    message = browser.open(receiver.accepted[0])
    assert message["title"].startswith("【訓練】") and message["tenant"] == drill["tenant"]


@pytest.mark.parametrize("status", [404, 410])
async def test_browser_that_is_gone_is_enrolled_no_more(city: City, receiver: Receiver, status: int) -> None:
    await enrol(city, receiver, "gone")
    await enrol(city, receiver, "there")
    receiver.status = lambda request: status if request.path == "/push/gone" else 201
    await city.measure(STATION, 0, 2.5)
    found = await settled(city, 2)
    assert sorted(notice["state"] for notice in found) == ["delivered", "failed"]
    assert await browsers(city) == ["there"]
    audit = (await city.get("/audit"))["entries"]
    assert [entry["actor"] for entry in audit if entry["action"] == "browser.end"] == ["minamo"]
    await city.measure(STATION, 10, 0.5)
    assert [notice["address"] for notice in await notices(city) if notice["kind"] == "cleared"] == ["there (127.0.0.1)"]


async def test_busy_push_service_is_asked_again_when_it_wants(city: City, receiver: Receiver) -> None:
    browser = await enrol(city, receiver)
    answers = iter([429])
    receiver.status = lambda _: next(answers, 201)
    receiver.headers["Retry-After"] = "2"
    await city.measure(STATION, 0, 2.5)
    (notice,) = await settled(city, 1)
    first, second = (request.at for request in receiver.received)
    assert notice["state"] == "delivered" and (second - first).total_seconds() >= 2
    assert browser.open(receiver.accepted[0])["number"] == notice["number"]


async def test_message_that_is_refused_for_good_is_a_failure_and_the_browser_stays(
    city: City, receiver: Receiver
) -> None:
    await enrol(city, receiver)
    receiver.status = 403
    await city.measure(STATION, 0, 2.5)
    (notice,) = await settled(city, 1)
    assert notice["state"] == "failed" and "403" in notice["error"] and await browsers(city) == ["one"]


async def test_contact_that_cannot_be_reached_is_a_failure_that_is_seen(city: City) -> None:
    await city.measure(STATION, 0, 2.5)
    (notice,) = await notices(city)
    assert (notice["channel"], notice["state"]) == ("none", "failed") and "連絡手段" in notice["error"]


async def test_browser_enrolled_again_gets_each_message_once(city: City, receiver: Receiver) -> None:
    browser = await enrol(city, receiver)
    await city.post("/contacts/desk/browsers", {"subscription": browser.subscription(), "label": "two"}, 201)
    await city.post("/contacts/desk/test", {})
    await settled(city, 1)
    assert await browsers(city) == ["two"] and len(receiver.accepted) == 1
    assert browser.open(receiver.accepted[0])["title"].startswith("【試験】")


async def test_browser_is_taken_away_by_people(city: City, receiver: Receiver) -> None:
    await enrol(city, receiver)
    (one,) = (await city.get("/contacts/desk/browsers"))["browsers"]
    path = f"/api/v1/contacts/desk/browsers/{one['browserId']}"
    assert (await city.http.delete(path)).status_code == 204
    assert (await city.http.delete(path)).status_code == 404
    assert await browsers(city) == []


async def test_key_of_the_hub_stays_and_its_secret_is_nowhere(city: City, receiver: Receiver) -> None:
    browser = await enrol(city, receiver)
    assert (await city.get("/web-push"))["publicKey"] == browser.hub_key
    shown = (await city.http.get("/api/v1/contacts/desk/browsers")).text + (await city.http.get("/api/v1/audit")).text
    assert browser.subscription()["endpoint"] not in shown and browser.subscription()["keys"]["auth"] not in shown

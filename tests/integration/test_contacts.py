# SPDX-License-Identifier: Apache-2.0
"""From a reading to the person: alarms, plans, notices, and real servers at the end of each channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.channels.services import ServiceOptions, Services
from api.roles import make_sender
from api.workers.contacts import ContactWorker
from api.workers.delivery_policy import make_delivery_worker
from context_store.contacts.notices import take_cursor
from context_store.database import ALL_TENANTS
from support.alarm_city import RULE as RIVER_RULE
from support.alarm_city import City as AlarmCity
from support.hub import client_for, hub_for
from support.mail_server import Mailbox, running_mail_server
from support.receiver import Receiver
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

RULE = RIVER_RULE | {"name": {"ja": "水位", "en": "Levels"}, "escalateAfter": [600]}


@dataclass
class City(AlarmCity):
    """The same with a contact worker."""

    async def put(self, path: str, **document: Any) -> None:
        answer = await self.http.put(f"/api/v1/{path}", json=document)
        assert answer.status_code in (200, 201), answer.text

    async def rise(self, minute: float, level: float, river: str = "ooba") -> None:
        """One reading of a station on ``river``, and the rules evaluated on it."""
        names = {"type": "LanguageProperty", "languageMap": {"ja": river, "en": river}}
        await self.measure(f"urn:ngsi-ld:WaterObserved:{river}", minute, level, river=names)

    async def tell(self, now: datetime | None = None) -> None:
        """What a contact worker that has just started does."""
        worker = ContactWorker(self.hub.database, poll_s=1)
        while await worker.turn(now or datetime.now(UTC)):
            pass

    async def notices(self, **parameters: str) -> list[dict[str, Any]]:
        answer = await self.http.get("/api/v1/notices", params=parameters)
        return list(reversed(answer.json()["notices"]))

    async def states(self) -> list[tuple[str, str]]:
        return [(notice["kind"], notice["state"]) for notice in await self.notices()]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mail_server() as running:
        yield running


@pytest.fixture
async def city(database_url: str, mailbox: Mailbox, receiver: Receiver) -> AsyncIterator[City]:
    settings = {
        "smtp_url": mailbox.url,
        "smtp_from": "minamo@city.example.jp",
        "line_channel_token": "token of LINE",
        "line_api_url": receiver.url + "/line",
        "sms_gateway_url": receiver.url + "/sms",
        "sms_gateway_template": '{"message": {"to": ["{to}"], "body": "{text}"}}',
    }
    async with hub_for(database_url, **settings) as hub, client_for(hub) as http:
        one = City(hub, http)
        await one.put("alert-rules/levels", **RULE)
        await one.put("contacts/desk", name="防災課", channels=[{"type": "mail", "address": "desk@city.example.jp"}])
        await one.put("contact-groups/duty", name="当番", members=[{"contact": "desk"}])
        await one.put("notification-plans/all", name="全部", steps=[["duty"]])
        yield one


@asynccontextmanager
async def delivering(city: City) -> AsyncIterator[None]:
    """Deliveries are made for the block."""
    async with make_sender(city.hub.settings, city.hub.database) as sender:
        task = asyncio.create_task(make_delivery_worker(city.hub, sender).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def delivered(city: City, count: int) -> None:
    """Deliver until so many notices have arrived or failed."""

    async def settled() -> bool:
        await city.tell()
        return sum(notice["state"] in ("delivered", "failed") for notice in await city.notices()) >= count

    async with delivering(city):
        await eventually(settled)


async def test_an_alarm_reaches_the_mailbox_in_words(city: City, mailbox: Mailbox) -> None:
    await city.rise(0, 2.5)
    await city.tell()
    await delivered(city, 1)
    (mail,) = mailbox.messages
    assert mail["To"] == "desk@city.example.jp" and mail["Subject"].startswith("【氾濫危険水位】")
    assert "2.50 m" in mail.get_content() and mail["Auto-Submitted"] == "auto-generated"
    (notice,) = await city.notices()
    assert (notice["state"], notice["attempts"], notice["error"]) == ("delivered", 0, None)


async def test_message_says_where_the_level_is_going_and_where_to_answer(city: City, mailbox: Mailbox) -> None:
    for minute, level in ((0, 0.5), (30, 0.7), (60, 2.5)):
        await city.rise(minute, level)
    await ContactWorker(city.hub.database, poll_s=1, public_url="https://city.example.jp/minamo").turn(
        datetime.now(UTC)
    )
    await delivered(city, 1)
    text = mailbox.messages[0].get_content()
    assert "傾向: 60分で +2.00 m（上昇中）" in text
    assert "次にすること: 警報対応の画面で「確認」" in text and "画面: https://city.example.jp/minamo/alarms\n" in text


async def test_nothing_is_said_of_where_a_level_is_going_when_nobody_knows(city: City, mailbox: Mailbox) -> None:
    await city.rise(0, 0.5)
    await city.rise(90, 2.5)
    await delivered(city, 1)
    assert "傾向" not in mailbox.messages[0].get_content()


async def test_mails_of_one_incident_are_one_thread(city: City, mailbox: Mailbox) -> None:
    for minute, level in ((0, 1.5), (10, 2.5), (20, 0.5)):
        await city.rise(minute, level)
        await city.tell()
    await delivered(city, 3)
    assert [mail["Subject"].partition("：")[2] for mail in mailbox.messages] == ["到達", "上昇して到達", "解除"]
    assert len({mail["References"] for mail in mailbox.messages}) == 1
    assert len({mail["Message-ID"] for mail in mailbox.messages}) == 3


async def test_every_channel_gets_what_it_understands(city: City, receiver: Receiver) -> None:
    channels = [
        {"type": "line", "address": "U" + "0" * 32},
        {"type": "sms", "address": "+819012345678"},
        {"type": "slack", "address": receiver.url + "/slack"},
        {"type": "teams", "address": receiver.url + "/teams"},
        {"type": "webhook", "address": receiver.url + "/hook", "secret": "0123456789abcdef"},
    ]
    await city.put("contacts/desk", name="防災課", language="en", channels=channels)
    await city.rise(0, 2.5)
    await delivered(city, 5)
    came = {request.path: request for request in receiver.accepted}
    line = came["/line"]
    assert line.json["to"] == "U" + "0" * 32 and "2.50 m" in line.json["messages"][0]["text"]
    assert line.headers["authorization"] == "Bearer token of LINE" and line.headers["x-line-retry-key"]
    assert came["/sms"].json["message"]["to"] == ["+819012345678"]
    assert came["/slack"].json["text"].startswith("[flood danger level]")
    assert came["/teams"].json["attachments"][0]["content"]["type"] == "AdaptiveCard"
    assert came["/hook"].json["step"]["stage"] == "danger" and came["/hook"].headers["webhook-signature"]


async def test_nobody_answering_brings_the_next_group(city: City) -> None:
    await city.put("contacts/chief", name="課長席", channels=[{"type": "mail", "address": "chief@city.example.jp"}])
    await city.put("contact-groups/heads", name="管理職", members=[{"contact": "chief"}])
    await city.put("notification-plans/all", name="全部", steps=[["duty"], ["heads"]])
    await city.rise(0, 2.5)
    await city.tell()
    await city.let_time_pass(datetime.now(UTC) + timedelta(seconds=601))
    await city.tell()
    told = [(notice["kind"], notice["contactId"]) for notice in await city.notices()]
    assert told == [("raised", "desk"), ("unacknowledged", "desk"), ("unacknowledged", "chief")]
    alarm = (await city.http.get("/api/v1/alarms")).json()["alarms"][0]["alarmId"]
    await city.http.post(f"/api/v1/alarms/{alarm}/acknowledge", json={"by": "防災課"})
    await city.tell()
    assert {n["contactId"] for n in await city.notices() if n["kind"] == "acknowledged"} == {"desk", "chief"}


async def test_a_worker_that_starts_anew_tells_nobody_twice(city: City) -> None:
    await city.rise(0, 2.5)
    for _ in range(3):
        await city.tell()
    assert len(await city.notices()) == 1


async def test_two_workers_tell_nobody_twice(city: City) -> None:
    await city.rise(0, 2.5)
    one, other = (ContactWorker(city.hub.database, poll_s=1) for _ in range(2))
    now = datetime.now(UTC)
    async with city.hub.database.transaction(ALL_TENANTS) as connection:
        assert await take_cursor(connection) is not None
        assert await one.turn(now) == 0
    assert await one.turn(now) + await other.turn(now) == 1
    assert len(await city.notices()) == 1


async def test_looking_for_news_writes_nothing(city: City) -> None:
    async def next_transaction() -> Any:
        async with city.hub.database.transaction(ALL_TENANTS) as connection:
            found = await connection.execute("select pg_snapshot_xmax(pg_current_snapshot())::text")
            return await found.fetchone()

    before = await next_transaction()
    await city.tell()
    assert await next_transaction() == before


async def test_night_is_quiet_but_for_the_highest_levels(city: City) -> None:
    always = [{"from": "00:00", "until": "12:00"}, {"from": "12:00", "until": "00:00"}]
    desk = [{"type": "mail", "address": "desk@city.example.jp"}]
    await city.put("contacts/desk", name="防災課", channels=desk, quiet=always)
    for minute, level in ((0, 1.5), (10, 2.5), (20, 0.5)):
        await city.rise(minute, level)
        await city.tell()
    assert await city.states() == [("raised", "held"), ("escalated", "queued"), ("cleared", "queued")]
    await city.tell(datetime.now(UTC) + timedelta(hours=13))
    assert await city.states() == [
        ("raised", "merged"), ("escalated", "queued"), ("cleared", "queued"), ("digest", "queued"),
    ]  # fmt: skip


async def test_too_many_messages_in_a_minute_come_as_one(city: City, mailbox: Mailbox) -> None:
    desk = [{"type": "mail", "address": "desk@city.example.jp"}]
    await city.put("contacts/desk", name="防災課", channels=desk, digestAbove=2)
    for number in range(5):
        await city.rise(number, 1.5, river=f"river-{number}")
    await city.tell()
    assert [state for _, state in await city.states()] == ["queued"] * 2 + ["held"] * 3
    await city.tell(datetime.now(UTC) + timedelta(seconds=61))
    await delivered(city, 3)
    assert mailbox.messages[-1]["Subject"] == "【まとめ】3 件のお知らせ"
    assert len(mailbox.messages) == 3


async def test_unknown_mailbox_fails_at_once_and_is_shown(city: City, mailbox: Mailbox) -> None:
    mailbox.unknown.add("desk@city.example.jp")
    await city.rise(0, 2.5)
    await delivered(city, 1)
    (notice,) = await city.notices()
    assert notice["state"] == "failed" and "550" in notice["error"]


async def test_full_mail_server_is_tried_again(city: City, mailbox: Mailbox) -> None:
    mailbox.refusal = "452 4.3.1 no space left"
    await city.rise(0, 2.5)
    await city.tell()
    async with delivering(city):

        async def tried() -> bool:
            return bool((await city.notices())[0]["attempts"] >= 1)

        await eventually(tried)
        assert "452" in (await city.notices())[0]["error"]
        mailbox.refusal = None
        await eventually(lambda: len(mailbox.messages) == 1)


async def test_test_goes_out_by_every_channel_and_is_marked(city: City, mailbox: Mailbox) -> None:
    answer = await city.http.post("/api/v1/contacts/desk/test")
    assert len(answer.json()["notices"]) == 1
    await delivered(city, 1)
    assert mailbox.messages[0]["Subject"].startswith("【試験】")


async def test_person_is_told_in_the_language_of_a_catalogue(city: City, mailbox: Mailbox) -> None:
    desk = [{"type": "mail", "address": "desk@city.example.jp"}]
    codes = [one["code"] for one in (await city.http.get("/api/v1/languages")).json()["languages"]]
    assert {"ja", "ja-easy", "en", "pt", "zh", "vi"} <= set(codes)
    await city.put("contacts/desk", name="防災課", channels=desk, language="pt")
    await city.rise(0, 2.5)
    await delivered(city, 1)
    assert mailbox.messages[0]["Subject"] == "[nível de perigo de inundação] urn:ngsi-ld:WaterObserved:ooba: atingido"
    answer = await city.http.put("/api/v1/contacts/desk", json={"name": "x", "language": "xx"})
    assert answer.status_code == 400 and "language" in answer.json()["detail"]


async def test_secrets_are_not_shown(city: City, receiver: Receiver) -> None:
    hook = {"type": "webhook", "address": receiver.url, "secret": "0123456789abcdef"}
    await city.put("contacts/desk", name="防災課", channels=[hook])
    shown = (await city.http.get("/api/v1/contacts/desk")).text
    assert "0123456789abcdef" not in shown and "hasSecret" in shown
    assert "0123456789abcdef" not in (await city.http.get("/api/v1/audit")).text


async def test_what_is_exported_can_be_put_again_with_its_secrets(city: City, receiver: Receiver) -> None:
    hook = {"type": "webhook", "address": receiver.url + "/hook", "secret": "0123456789abcdef"}
    await city.put("contacts/desk", name="防災課", channels=[hook])
    shown = (await city.http.get("/api/v1/contacts/desk")).json()
    await city.put("contacts/desk", **shown | {"name": "防災課 夜間"})
    await city.http.post("/api/v1/contacts/desk/test")
    await delivered(city, 1)
    assert "webhook-signature" in receiver.accepted[0].headers
    moved = [shown["channels"][0] | {"address": receiver.url + "/other"}]
    answer = await city.http.put("/api/v1/contacts/desk", json=shown | {"channels": moved})
    assert answer.status_code == 400 and "secret" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("contact-groups/x", {"name": "x", "members": [{"contact": "nobody"}]}),
        ("notification-plans/x", {"name": "x", "steps": [["nobody"]]}),
    ],
)
async def test_who_is_not_there_cannot_be_named(city: City, path: str, document: dict[str, Any]) -> None:
    answer = await city.http.put(f"/api/v1/{path}", json=document)
    assert answer.status_code == 400 and "nobody" in answer.json()["detail"]


async def test_without_a_mail_server_the_reason_is_shown(city: City) -> None:
    async with Services(ServiceOptions(), timeout_s=1) as services:
        result = await services.send("mailto:desk@city.example.jp", b"{}", "1")
    assert not result.ok and "MINAMO_SMTP_URL" in (result.error or "")

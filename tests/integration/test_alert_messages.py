# SPDX-License-Identifier: Apache-2.0
"""The feed of CAP messages and the messages themselves, over HTTP, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

import feedparser
import httpx
import pytest

from adapters.cap.messages import CapProfile, Status, profile_document
from api.hub import Hub
from broker.alerts import AlertRule, EntitySelector, Level, Place, Sample, alert_message, evaluate
from context_store.alerts.standing import AlertOutcome, StateKey
from context_store.database import ALL_TENANTS
from schemas.terms import ERROR_TYPE
from support.cap import Cap
from support.hub import hub_for
from support.rule_states import load_states

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

START = datetime(2026, 6, 1, tzinfo=UTC)
STATION = "urn:ngsi-ld:WaterObserved:tomoe"
PLACE = Place(STATION, "巴橋", "Tomoe Bridge", {"type": "Point", "coordinates": [138.4, 35.0]})
RULE = AlertRule(
    id="tomoe",
    entities=EntitySelector(ids=(STATION,)),
    attribute="https://example.org/level",
    levels=(Level("caution", 1.0), Level("evacuation_decision", 2.0), Level("danger", 3.0)),
    name_ja="巴川",
    name_en="Tomoe",
    clear_after=timedelta(0),
)
FEED = "/api/v1/alerts/cap"


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url) as hub:
        async with hub.database.transaction(1) as connection:
            await hub.alert_rules.put_rule(connection, 1, RULE, START)
        yield hub


async def count(
    hub: Hub, *levels: float, begin: int = 0, status: Status | None = "Actual", now: datetime = START
) -> None:
    """Evaluate a reading every ten minutes from minute ``begin`` on and record what follows, as the worker does.

    Without ``status``, as it was done before messages were kept.
    """
    key = StateKey(1, RULE.id, 7)
    more: dict[str, Any] = {"cap": profile_document(CapProfile(status, "minamo@city.example.jp"))} if status else {}
    async with hub.database.transaction(ALL_TENANTS) as connection:
        state = (await load_states(hub.alerts, connection, [key]))[key]
        outcomes = []
        for number, level in enumerate(levels):
            state, decisions = evaluate(RULE, state, Sample(START + timedelta(minutes=begin + 10 * number), level))
            outcomes += [AlertOutcome(key, STATION, d, {**alert_message(d, RULE, PLACE), **more}) for d in decisions]
        await hub.alerts.record(connection, outcomes, now)
        await hub.alerts.save_states(connection, {key: state})


async def feed(client: httpx.AsyncClient, url: str = FEED, **parameters: Any) -> Any:
    response = await client.get(url, params=parameters or None)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/atom+xml")
    parsed = feedparser.parse(response.content)
    assert not parsed.bozo
    return parsed


async def message(client: httpx.AsyncClient, path: str) -> Cap:
    response = await client.get(path)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/cap+xml")
    return Cap(response.content)


async def messages(client: httpx.AsyncClient, **parameters: Any) -> list[Cap]:
    """Those of a feed, oldest first."""
    entries = (await feed(client, **parameters)).entries
    return [await message(client, entry.links[0].href) for entry in reversed(entries)]


class TestFeed:
    async def test_it_leads_to_the_chain_of_a_flood(self, hub: Hub, client: httpx.AsyncClient) -> None:
        await count(hub, 0.5, 1.2, 3.5, 1.5, 0.5)
        found = await messages(client)
        assert [m.text("msgType") for m in found] == ["Alert", "Update", "Update", "Update"]
        assert [m.references for m in found] == [[other.triple for other in found[:n]] for n in range(4)]
        assert found[-1].text("info/responseType") == "AllClear"

    async def test_floods_are_chains_of_their_own(self, hub: Hub, client: httpx.AsyncClient) -> None:
        await count(hub, 1.2, 0.5, 1.2, 0.5)
        assert [m.text("msgType") for m in await messages(client)] == ["Alert", "Update"] * 2

    @pytest.mark.parametrize("status", ["Exercise", "Test"])
    async def test_drills_and_tests_are_never_among_what_is_actual(
        self, hub: Hub, client: httpx.AsyncClient, status: Status
    ) -> None:
        await count(hub, 1.2, 0.5, status=status)
        await count(hub, 1.2, begin=60)
        assert [m.text("status") for m in await messages(client)] == ["Actual"]
        assert [m.text("status") for m in await messages(client, status=status)] == [status, status]

    async def test_what_was_recorded_before_messages_were_kept_is_left_out(
        self, hub: Hub, client: httpx.AsyncClient
    ) -> None:
        await count(hub, 1.2, status=None)
        await count(hub, 0.5, begin=60)
        (last,) = await messages(client)
        assert (last.text("msgType"), last.text("info/responseType")) == ("Alert", "AllClear")

    async def test_pages_hold_every_message_once_newest_first(self, hub: Hub, client: httpx.AsyncClient) -> None:
        await count(hub, 1.2, 2.2, 3.2, 2.2, 0.5)
        url: str | None = f"{FEED}?limit=2"
        ids: list[str] = []
        while url:
            page = await feed(client, url)
            ids += [entry.id for entry in page.entries]
            url = next((link.href for link in page.feed.links if link.rel == "next"), None)
        assert ids == [m.text("identifier") for m in reversed(await messages(client))]
        assert len(ids) == 5

    async def test_another_tenant_sees_nothing(self, hub: Hub, client: httpx.AsyncClient) -> None:
        await count(hub, 1.2)
        path = httpx.URL((await feed(client)).entries[0].links[0].href).raw_path.decode()
        other = {"NGSILD-Tenant": "other"}
        made = {"id": "urn:ngsi-ld:River:1", "type": "River"}
        await client.post("/ngsi-ld/v1/entities", json=made, headers=other)
        assert not feedparser.parse((await client.get(FEED, headers=other)).content).entries
        assert (await client.get(path, headers=other)).status_code == 404


class TestConditions:
    async def test_nothing_new_is_304_until_there_is(self, hub: Hub, client: httpx.AsyncClient) -> None:
        await count(hub, 1.2)
        first = await client.get(FEED)
        known = {"If-None-Match": first.headers["ETag"]}
        assert (await client.get(FEED, headers=known)).status_code == 304
        await count(hub, 2.2, begin=60)
        assert (await client.get(FEED, headers=known)).status_code == 200

    async def test_the_date_of_the_newest_message_is_known_too(self, hub: Hub, client: httpx.AsyncClient) -> None:
        await count(hub, 1.2)
        first = await client.get(FEED)
        assert first.headers["Last-Modified"] == format_datetime(START, usegmt=True)
        known = {"If-Modified-Since": first.headers["Last-Modified"]}
        assert (await client.get(FEED, headers=known)).status_code == 304
        await count(hub, 2.2, begin=60, now=START + timedelta(milliseconds=1))
        assert (await client.get(FEED, headers=known)).status_code == 200

    async def test_a_date_too_new_to_be_sure_of_is_not_given(self, hub: Hub, client: httpx.AsyncClient) -> None:
        await count(hub, 1.2, now=datetime.now(UTC) + timedelta(minutes=1))
        assert "Last-Modified" not in (await client.get(FEED)).headers


class TestMessages:
    async def test_without_a_number_it_is_the_newest_of_the_alert(self, hub: Hub, client: httpx.AsyncClient) -> None:
        await count(hub, 3.5, 0.5)
        listed = (await client.get("/api/v1/alerts", params={"state": "all"})).json()["alerts"]
        last = (await messages(client))[-1].triple
        paths = [f"/api/v1/alerts/{quote(alert['id'], safe='')}/cap" for alert in listed]
        assert [(await message(client, path)).triple for path in paths] == [last] * 3

    @pytest.mark.parametrize("path", ["urn:ngsi-ld:Alert:nil/cap", "urn:ngsi-ld:Alert:nil/cap/1"])
    async def test_what_does_not_exist_is_not_found(self, client: httpx.AsyncClient, path: str) -> None:
        response = await client.get(f"/api/v1/alerts/{path}")
        assert (response.status_code, response.json()["type"]) == (404, ERROR_TYPE + "ResourceNotFound")

    async def test_the_number_has_to_be_of_the_alert(self, hub: Hub, client: httpx.AsyncClient) -> None:
        await count(hub, 1.2, 2.2)
        first, second = (entry.links[0].href for entry in reversed((await feed(client)).entries))
        mixed = first.rpartition("/")[0] + "/" + second.rpartition("/")[2]
        assert (await client.get(mixed)).status_code == 404

# SPDX-License-Identifier: Apache-2.0
"""Runs of models from the request to everybody who may see them, to rules, and to their verification."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.alerting.rules import make_evaluator
from api.hub import Hub
from api.workers.feed import FeedLoop
from api.workers.forecasts import ForecastWorker, make_baseline
from broker.forecasts.baseline import MODEL_NAME
from broker.times import to_text
from context_store.database import ALL_TENANTS
from context_store.events import ChangeFeed
from context_store.forecasts.runs import remove_runs
from schemas.contexts import MINAMO_CONTEXT
from support.hub import client_for, hub_for

NUMBERS = itertools.count()
STATION = "urn:ngsi-ld:WaterObserved:tomoe"
STAFF, BRIEFED, PUBLIC = "of the city", "of a company", None
LINK = f'<{MINAMO_CONTEXT}>; rel="http://www.w3.org/ns/json-ld#context"'
NOW = datetime.now(UTC).replace(microsecond=0)
SQUARE = {"type": "Polygon", "coordinates": [[[138, 35], [138.1, 35], [138.1, 35.1], [138, 35.1], [138, 35]]]}
NGSI = "/ngsi-ld/v1"


def after(minutes: float) -> str:
    return to_text(NOW + timedelta(minutes=minutes))


def run_of(issued: float = 0.0, values: tuple[float, ...] = (1.5, 3.5, 2.5), **members: Any) -> dict[str, Any]:
    """A run issued so many minutes from now, for 60, 120, ... minutes later."""
    series = {
        "entityId": STATION,
        "attribute": "waterLevel",
        "unitCode": "MTR",
        "validAt": [after(issued + 60 * (n + 1)) for n in range(len(values))],
        "values": list(values),
        "quantiles": {"0.9": [value + 1 for value in values]},
    }
    return {"model": "rri", "version": "2", "issuedAt": after(issued), "series": [series], **members}


@dataclass
class City:
    hub: Hub
    client: httpx.AsyncClient
    tenant: str

    async def ask(
        self, method: str, path: str, body: Any = None, token: str | None = STAFF, **more: str
    ) -> httpx.Response:
        headers = {"NGSILD-Tenant": self.tenant, "Link": LINK} | more
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        return await self.client.request(method, path, headers=headers, json=body)

    async def get(self, path: str, token: str | None = STAFF, **headers: str) -> Any:
        answer = await self.ask("GET", path, token=token, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, run: dict[str, Any], status: int = 201) -> Any:
        answer = await self.ask("POST", "/api/v1/forecasts", run)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def measure(self, minute: float, value: float) -> None:
        level = {"type": "Property", "value": value, "unitCode": "MTR", "observedAt": after(minute)}
        answer = await self.ask("PATCH", f"{NGSI}/entities/{STATION}/attrs", {"waterLevel": level})
        assert answer.is_success, answer.text

    async def evaluate(self) -> None:
        loop = FeedLoop("alerts", ChangeFeed(self.hub.database, "alerts"), make_evaluator(self.hub).process, poll_s=1)
        while await loop.step():
            pass

    async def put_rule(self, *levels: dict[str, Any]) -> None:
        rule = {
            "name": {"ja": "巴川", "en": "Tomoe"},
            "entities": {"ids": [STATION]},
            "attribute": "waterLevel",
            "levels": list(levels),
        }
        answer = await self.ask("PUT", "/api/v1/alert-rules/tomoe", rule)
        assert answer.is_success, answer.text


def digest(token: str) -> tuple[str]:
    return (hashlib.sha256(token.encode()).hexdigest(),)


@pytest.fixture
async def city(shared_url: str) -> AsyncIterator[City]:
    settings = {
        "api_tokens_sha256": digest(STAFF),
        "briefed_tokens_sha256": digest(BRIEFED),
        "public_access": True,
    }
    async with hub_for(shared_url, **settings) as hub, client_for(hub) as client:
        city = City(hub, client, f"city_{next(NUMBERS)}")
        level = {"type": "Property", "value": 1.0, "unitCode": "MTR", "observedAt": after(-60)}
        made = await city.ask("POST", f"{NGSI}/entities", {"id": STATION, "type": "WaterObserved", "waterLevel": level})
        assert made.status_code == 201
        yield city


async def test_the_newest_run_is_told_and_all_are_kept(city: City) -> None:
    await city.post(run_of(-20, (1.1, 1.2)))
    newer = await city.post(run_of(-10, (1.3, 1.4)))
    await city.post(run_of(-15, (9.9, 9.9)))  # came late
    current = (await city.get("/api/v1/forecasts"))["forecasts"]
    assert [(one["runId"], one["values"], one["status"]) for one in current] == [
        (newer["runId"], [1.3, 1.4], "current")
    ]
    assert len((await city.get("/api/v1/forecast-runs"))["runs"]) == 3
    said = await city.get(f"{NGSI}/entities/{STATION}?attrs=forecast&options=simplified")
    assert said["forecast"]["json"]["values"] == [1.3, 1.4]


async def test_the_same_run_again_changes_nothing_and_another_of_its_name_is_refused(city: City) -> None:
    first = await city.post(run_of())
    assert await city.post(run_of(), 200) == {**first, "isNew": False}
    await city.post(run_of(values=(9.0,)), 409)


async def test_a_run_for_nobody_known_is_refused_with_its_name(city: City) -> None:
    run = run_of()
    run["series"][0]["entityId"] = "urn:ngsi-ld:WaterObserved:typo"
    assert "urn:ngsi-ld:WaterObserved:typo" in (await city.post(run, 400))["detail"]


async def test_an_expired_run_shows_as_expired_and_is_told_nobody(city: City) -> None:
    await city.post(run_of(-200, expiresAt=after(-20)))
    assert [one["status"] for one in (await city.get("/api/v1/forecasts"))["forecasts"]] == ["expired"]
    assert "forecast" not in await city.get(f"{NGSI}/entities/{STATION}")


async def test_forecasts_for_the_public_need_a_permission(city: City) -> None:
    answer = await city.post(run_of(audience={"public": 600}), 422)
    assert "forecast_permission" in answer["detail"]


async def test_each_audience_looks_as_far_ahead_as_the_run_allows(city: City) -> None:
    run = await city.post(run_of(audience={"briefed": 3600}))
    shown = [(await city.get("/api/v1/forecasts?lines=true", token))["forecasts"] for token in (STAFF, BRIEFED, PUBLIC)]
    assert [[(one["line"], one["values"]) for one in lines] for lines in shown] == [
        [("", [1.5, 3.5, 2.5]), ("q0.9", [2.5, 4.5, 3.5])],
        [("", [1.5]), ("q0.9", [2.5])],
        [],
    ]
    names = [
        sorted({"forecast", "briefedForecast"} & (await city.get(f"{NGSI}/entities/{STATION}", token)).keys())
        for token in (STAFF, BRIEFED, PUBLIC)
    ]
    assert names == [["briefedForecast", "forecast"], ["briefedForecast"], []]
    details = [
        (await city.ask("GET", f"/api/v1/forecast-runs/{run['runId']}", token=token)).status_code
        for token in (BRIEFED, PUBLIC)
    ]
    assert details == [200, 404]
    entity = await city.get(f"{NGSI}/temporal/entities/{STATION}", PUBLIC)
    assert not {"forecast", "briefedForecast"} & entity.keys()
    far = await city.get(f"{NGSI}/entities?type=WaterObserved&q=forecast", BRIEFED)
    assert far == []


async def test_inundation_is_geojson_for_its_audience_and_follows_the_newest_run(city: City) -> None:
    layers = [
        {"validAt": after(minutes), "depthFrom": depth, "depthTo": depth + 0.5, "geometry": SQUARE}
        for minutes, depth in ((30, 0.0), (120, 0.5))
    ]
    await city.post({"model": "2d", "issuedAt": after(0), "layers": layers, "audience": {"briefed": 3600}})
    path = f"{NGSI}/entities?type=InundationForecast"
    counts = [
        len((await city.get(path, token, Accept="application/geo+json"))["features"])
        for token in (STAFF, BRIEFED, PUBLIC)
    ]
    assert counts == [2, 1, 0]
    near = f"{path}&georel=intersects&geometry=Point&coordinates=[138.05,35.05]&q=depthFrom>=0.5"
    assert [one["depthTo"]["value"] for one in await city.get(near)] == [1.0]
    await city.post({"model": "2d", "issuedAt": after(1), "layers": layers[:1]})
    assert [one["scope"] for one in await city.get(path)] == ["/audience/staff"]
    detail = await city.get(f"/api/v1/forecast-runs/2d:{NOW:%Y%m%dT%H%M%SZ}:1")
    assert len(detail["layers"]) == 2


async def test_a_rule_raises_by_a_forecast_and_says_so(city: City) -> None:
    await city.put_rule({"stage": "danger", "when": {"forecast": {"atLeast": 3.1, "within": 10800, "model": "rri"}}})
    await city.measure(-1, 1.2)
    await city.post(run_of(0, (1.5, 3.5, 2.5)))
    await city.evaluate()
    alerts = (await city.get("/api/v1/alerts"))["alerts"]
    assert [(one["stage"], one["measures"][0]["kind"], one["measures"][0]["value"]) for one in alerts] == [
        ("danger", "forecast", 3.5)
    ]
    assert "計算値であり、観測値ではありません" in alerts[0]["descriptionJa"]
    assert "with a forecast" in alerts[0]["headlineEn"]
    assert (await city.get("/api/v1/alerts", PUBLIC))["alerts"] == []
    feed = await city.ask("GET", "/api/v1/alerts/cap?status=Test")
    assert "<entry>" not in feed.text  # what a model says is no message to the public


async def test_a_replay_of_rules_knows_what_models_said(city: City) -> None:
    await city.put_rule({"stage": "danger", "when": {"forecast": {"atLeast": 3.1, "within": 10800, "model": "rri"}}})
    await city.post(run_of(-60, (1.5, 3.5, 2.5)))
    for minute in range(-120, 0, 10):
        await city.measure(minute, 1.0)
    question = {"from": after(-130), "to": after(0)}
    answer = (await city.ask("POST", "/api/v1/alert-rules/replay", question)).json()
    (station,) = answer["stations"]
    assert [(one["at"], one["stage"], one["measures"][0]["value"]) for one in station["alerts"]] == [
        (after(-60), "danger", 3.5)
    ]


async def test_forecasts_are_compared_with_what_came(city: City) -> None:
    await city.put_rule({"stage": "caution", "threshold": 1.4})
    for minute in range(-180, 1, 10):
        await city.measure(minute, 2.0 + minute / 100)
    await city.post(run_of(-180, (0.8, 1.2, 2.0), expiresAt=after(-60)))
    answer = await city.get(
        f"/api/v1/forecast-verification?entityId={STATION}&model=rri&from={after(-200)}&to={after(1)}"
    )
    told = {one["leadSeconds"]: (one["forecast"]["bias"], one["persistence"]["bias"]) for one in answer["leads"]}
    assert told == {3600: (0.0, -0.6), 7200: (-0.2, -1.2), 10800: (0.0, -1.8)}
    tables = [one["stages"]["caution"] for one in answer["leads"]]
    assert [(one["hits"], one["misses"]) for one in tables] == [(0, 0), (0, 1), (1, 0)]


async def test_what_rules_watch_is_extrapolated_for_staff_once(city: City) -> None:
    await city.put_rule({"stage": "caution", "threshold": 9.0})
    for minute in range(-40, 1, 5):
        await city.measure(minute, 1.0 + (minute + 40) / 100)
    await city.evaluate()
    worker = ForecastWorker(city.hub)
    now = NOW + timedelta(seconds=30)
    await worker.turn(now)
    mark = now - timedelta(seconds=now.timestamp() % 600)
    assert await make_baseline(city.hub, mark, now) >= 1  # and keeps the first
    shown = (await city.get(f"/api/v1/forecasts?model={MODEL_NAME}"))["forecasts"]
    assert [(one["isBaseline"], one["unitCode"], len(one["values"])) for one in shown] == [(True, "MTR", 6)]
    assert shown[0]["values"][0] == pytest.approx(1.473, abs=0.02)  # 1.40 m and 0.6 m/h that fades
    assert len((await city.get(f"/api/v1/forecast-runs?model={MODEL_NAME}"))["runs"]) == 1
    assert (await city.get("/api/v1/forecasts", BRIEFED))["forecasts"] == []


async def test_runs_that_were_kept_long_enough_are_removed(city: City) -> None:
    old, new = await city.post(run_of(-2000)), await city.post(run_of(-100))
    async with city.hub.database.transaction(ALL_TENANTS) as connection:
        assert await remove_runs(connection, NOW - timedelta(minutes=1000), MODEL_NAME, others=True) >= 1
    assert [one["runId"] for one in (await city.get("/api/v1/forecast-runs"))["runs"]] == [new["runId"]]
    assert (await city.ask("GET", f"/api/v1/forecast-runs/{old['runId']}")).status_code == 404

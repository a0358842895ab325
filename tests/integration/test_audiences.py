# SPDX-License-Identifier: Apache-2.0
"""What is kept from an audience is kept from it on every way out, and cannot be found out through filters."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.alerting.rules import make_evaluator
from api.hub import Hub
from api.workers.feed import FeedLoop
from api.workers.notifications import NotificationMaker
from api.workers.subscriptions import ChangeNotifier
from context_store.audiences.briefed_people import end_subscriptions
from context_store.database import ALL_TENANTS
from context_store.events import ChangeFeed
from schemas.contexts import MINAMO_CONTEXT
from support.hub import client_for, hub_for
from unit.api.test_audience_verdicts import BRIEFED, NGSI, PUBLIC

NUMBERS = itertools.count()
STATION = "urn:ngsi-ld:WaterObserved:tomoe"
HIDDEN_STATION = "urn:ngsi-ld:WaterObserved:hidden-by-scope"
HIDDEN_ENTITY = "urn:ngsi-ld:Plan:1"
BRIEFED_TOKEN, STAFF_TOKEN = "of a company", "of the city"
LINK = f'<{MINAMO_CONTEXT}>; rel="http://www.w3.org/ns/json-ld#context"'
MARKS = {
    None: ("7654.3", "secretLevel", "hidden-by", "FloodPlan", "secretPlace", "3.125", "soonLevel"),
    BRIEFED_TOKEN: ("7654.3", "secretLevel", "hidden-by", "FloodPlan", "secretPlace"),
}
"""What may not be found in any answer."""
RULES = [
    {"type": "WaterObserved", "attribute": "secretLevel", "audience": "staff"},
    {"type": "WaterObserved", "attribute": "secretPlace", "audience": "staff"},
    {"type": "WaterObserved", "attribute": "soonLevel", "audience": "briefed"},
    {"type": "FloodPlan", "audience": "staff"},
]
TIME = "2026-06-02T10:00:00Z"
SPAN = "from=2026-06-01T00:00:00Z&to=2026-06-04T00:00:00Z"


def number(value: float) -> dict[str, Any]:
    return {"type": "Property", "value": value, "unitCode": "MTR", "observedAt": TIME}


ENTITIES = [
    {
        "id": STATION,
        "type": "WaterObserved",
        "waterLevel": number(1.25),
        "soonLevel": number(3.125),
        "secretLevel": number(7654.3),
        "secretPlace": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [138.5, 35.0]}},
        "refPlan": {"type": "Relationship", "object": HIDDEN_ENTITY},
    },
    {"id": HIDDEN_STATION, "type": "WaterObserved", "scope": "/audience/staff", "waterLevel": number(7654.3)},
    {"id": HIDDEN_ENTITY, "type": "FloodPlan", "waterLevel": number(7654.3)},
]
ISSUED = datetime.now(UTC)
FORECAST = {
    "model": "rri",
    "issuedAt": ISSUED.isoformat(),
    "audience": {"briefed": 3600},
    "series": [
        {
            "entityId": STATION,
            "attribute": attribute,
            "validAt": [(ISSUED + timedelta(minutes=minutes)).isoformat() for minutes in (60, 120)],
            "values": [first, 7654.3],
            "quantiles": {"0.9": [first, 7654.3]},
        }
        for attribute, first in (("waterLevel", 3.125), ("secretLevel", 7654.3))
    ],
    "layers": [
        {
            "validAt": (ISSUED + timedelta(minutes=120)).isoformat(),
            "depthFrom": 7654.3,
            "geometry": {"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 1]]]},
        }
    ],
}
DEVICE = {
    "name": "Tomoe",
    "entityId": STATION,
    "entityType": "WaterObserved",
    "attributes": [
        {"field": "a", "attribute": "secretLevel", "unitCode": "MTR"},
        {"field": "b", "attribute": "waterLevel", "unitCode": "MTR"},
    ],
}


RUN = f"rri:{ISSUED:%Y%m%dT%H%M%SZ}:1"


@dataclass
class Ways:
    """A client, and what it may call itself."""

    client: httpx.AsyncClient
    hub: Hub
    tenant: str

    async def ask(self, way: str, token: str | None = None, body: Any = None) -> httpx.Response:
        method, path = way.split(" ", 1)
        headers = {"NGSILD-Tenant": self.tenant} | ({"Link": LINK} if NGSI in path else {})
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        return await self.client.request(method, path, headers=headers, json=body)

    async def found(self, path: str, token: str | None = None) -> Any:
        answer = await self.ask(f"GET {path}", token)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[Ways]:
    def digest(token: str) -> str:
        return hashlib.sha256(token.encode()).hexdigest()

    settings = {
        "api_tokens_sha256": (digest(STAFF_TOKEN),),
        "briefed_tokens_sha256": (digest(BRIEFED_TOKEN),),
        "public_access": True,
    }
    async with hub_for(database_url, **settings) as hub, client_for(hub) as client:
        ways = Ways(client, hub, f"city_{next(NUMBERS)}")
        for entity in ENTITIES:
            assert (await ways.ask(f"POST {NGSI}/entities", STAFF_TOKEN, entity)).status_code == 201
        assert (await ways.ask("PUT /api/v1/audiences", STAFF_TOKEN, {"rules": RULES})).status_code == 200
        for run in (FORECAST, FORECAST | {"model": "hidden-by-nobody", "audience": "staff"}):
            assert (await ways.ask("POST /api/v1/forecasts", STAFF_TOKEN, run)).status_code == 201
        assert (await ways.ask("PUT /api/v1/devices/d1", STAFF_TOKEN, DEVICE)).status_code == 201
        yield ways


@pytest.fixture
async def ways(shared_url: str) -> AsyncIterator[Ways]:
    async with opened(shared_url) as found:
        yield found


QUERY = {"type": "Query", "entities": [{"type": "WaterObserved"}]}
TEMPORAL = {**QUERY, "temporalQ": {"timerel": "after", "timeAt": "2026-06-01T00:00:00Z"}}
OUT: dict[str, list[tuple[str, Any]]] = {
    f"GET {NGSI}/entities": [
        (f"{NGSI}/entities?type=WaterObserved,FloodPlan&count=true", None),
        (f"{NGSI}/entities?type=WaterObserved&options=simplified", None),
        (f"{NGSI}/entities?type=WaterObserved&format=concise&entityMap=true", None),
        (f"{NGSI}/entities?type=WaterObserved&join=inline&joinLevel=1", None),
        (f"{NGSI}/entities?idPattern=.*hidden.*&local=true", None),
        (f"{NGSI}/entities?local=true", None),
    ],
    f"GET {NGSI}/entities/{{entity_id}}": [
        (f"{NGSI}/entities/{STATION}", None),
        (f"{NGSI}/entities/{STATION}?join=flat", None),
        (f"{NGSI}/entities/{HIDDEN_STATION}", None),
        (f"{NGSI}/entities/{HIDDEN_ENTITY}", None),
    ],
    f"POST {NGSI}/entityOperations/query": [(f"{NGSI}/entityOperations/query", QUERY)],
    f"GET {NGSI}/types": [(f"{NGSI}/types", None), (f"{NGSI}/types?details=true", None)],
    f"GET {NGSI}/types/{{name}}": [(f"{NGSI}/types/WaterObserved", None), (f"{NGSI}/types/FloodPlan", None)],
    f"GET {NGSI}/attributes": [(f"{NGSI}/attributes", None), (f"{NGSI}/attributes?details=true", None)],
    f"GET {NGSI}/attributes/{{name}}": [(f"{NGSI}/attributes/secretLevel", None)],
    f"GET {NGSI}/info/sourceIdentity": [(f"{NGSI}/info/sourceIdentity", None)],
    f"GET {NGSI}/entityMaps": [(f"{NGSI}/entityMaps?type=WaterObserved,FloodPlan", None)],
    f"POST {NGSI}/entityMaps": [(f"{NGSI}/entityMaps", QUERY)],
    f"GET {NGSI}/entityMaps/{{map_id}}": [(f"{NGSI}/entityMaps/MAP", None)],
    f"GET {NGSI}/temporal/entityMaps": [
        (f"{NGSI}/temporal/entityMaps?type=WaterObserved&timerel=after&timeAt=2026-06-01T00:00:00Z", None)
    ],
    f"POST {NGSI}/temporal/entityMaps": [(f"{NGSI}/temporal/entityMaps", TEMPORAL)],
    f"GET {NGSI}/temporal/entities": [
        (f"{NGSI}/temporal/entities?type=WaterObserved,FloodPlan&timerel=after&timeAt=2026-06-01T00:00:00Z", None),
        (f"{NGSI}/temporal/entities?type=WaterObserved&lastN=2&options=temporalValues", None),
        (f"{NGSI}/temporal/entities?type=WaterObserved&options=aggregatedValues&aggrMethods=max,totalCount"
         "&aggrPeriodDuration=P1D&timerel=after&timeAt=2026-06-01T00:00:00Z", None),
    ],
    f"GET {NGSI}/temporal/entities/{{entity_id}}": [
        (f"{NGSI}/temporal/entities/{STATION}", None),
        (f"{NGSI}/temporal/entities/{STATION}?attrs=secretLevel", None),
        (f"{NGSI}/temporal/entities/{HIDDEN_STATION}", None),
        (f"{NGSI}/temporal/entities/{HIDDEN_ENTITY}", None),
    ],
    f"POST {NGSI}/temporal/entityOperations/query": [(f"{NGSI}/temporal/entityOperations/query", TEMPORAL)],
    f"GET {NGSI}/jsonldContexts/{{context_id}}": [
        (f"{NGSI}/jsonldContexts/urn:ngsi-ld:jsonldContext:minamo-v1?details=true", None)
    ],
    "GET /api/v1/stations": [("/api/v1/stations", None)],
    "GET /api/v1/stations/{entity_id}/series": [
        (f"/api/v1/stations/{STATION}/series?attribute=secretLevel&{SPAN}", None),
        (f"/api/v1/stations/{HIDDEN_STATION}/series?{SPAN}", None),
    ],
    "GET /api/v1/entities/{entity_id:path}/series/{attribute:path}": [
        (f"/api/v1/entities/{STATION}/series/secretLevel?{SPAN}", None),
        (f"/api/v1/entities/{HIDDEN_STATION}/series/waterLevel?{SPAN}", None),
        (f"/api/v1/entities/{HIDDEN_ENTITY}/series/waterLevel?{SPAN}&format=csv", None),
    ],
    "GET /api/v1/export": [
        (f"/api/v1/export?{SPAN}&type=WaterObserved,FloodPlan", None),
        (f"/api/v1/export?{SPAN}&type=WaterObserved&attrs=secretLevel&corrections=true", None),
        (f"/api/v1/export?{SPAN}&id={HIDDEN_STATION}", None),
    ],
    "GET /api/v1/forecasts": [("/api/v1/forecasts?lines=true", None)],
    "GET /api/v1/forecast-runs": [("/api/v1/forecast-runs", None)],
    "GET /api/v1/forecast-runs/{run_id}": [("/api/v1/forecast-runs/RUN", None)],
    "GET /api/v1/alerts": [("/api/v1/alerts?state=all", None)],
    "GET /api/v1/alerts/cap": [("/api/v1/alerts/cap?status=Test", None)],
    "GET /api/v1/alerts/{alert_id}/cap": [("/api/v1/alerts/urn:x/cap", None)],
    "GET /api/v1/alerts/{alert_id}/cap/{sequence}": [("/api/v1/alerts/urn:x/cap/1", None)],
    f"GET {NGSI}/subscriptions": [(f"{NGSI}/subscriptions", None)],
    f"GET {NGSI}/subscriptions/{{subscription_id}}": [(f"{NGSI}/subscriptions/urn:ngsi-ld:Subscription:staff", None)],
    "GET /api/v1/subscriptions/{subscription_id}/stream": [
        ("/api/v1/subscriptions/urn:ngsi-ld:Subscription:staff/stream", None)
    ],
}  # fmt: skip
ELSEWHERE = {
    # With no data of the city, or followed in tests of their own below.
    "POST /api/v1/session", "DELETE /api/v1/session", "GET /healthz", "GET /readyz", "GET /openapi.json", "GET /docs",
    "GET /", "GET /static", "GET /api/v1/alerts/stream", "POST /api/v1/stream-tickets",
    f"POST {NGSI}/subscriptions", f"PATCH {NGSI}/subscriptions/{{subscription_id}}",
    f"DELETE {NGSI}/subscriptions/{{subscription_id}}",
}  # fmt: skip
SUBSCRIPTION = {
    "type": "Subscription",
    "entities": [{"type": "WaterObserved"}, {"type": "FloodPlan"}],
    "notification": {"endpoint": {"uri": "minamo:stream"}},
}


def test_every_open_way_out_is_gone_through() -> None:
    assert {*OUT} | ELSEWHERE == PUBLIC | BRIEFED


async def _map_of_staff(ways: Ways) -> str:
    made = await ways.ask(f"GET {NGSI}/entities?type=WaterObserved,FloodPlan&entityMap=true", STAFF_TOKEN)
    return made.headers["NGSILD-EntityMap"].rpartition("/")[2] or made.headers["NGSILD-EntityMap"]


@pytest.mark.parametrize("token", [None, BRIEFED_TOKEN], ids=["public", "briefed"])
async def test_no_way_out_tells_what_is_for_staff(ways: Ways, token: str | None) -> None:
    staffs = {**SUBSCRIPTION, "id": "urn:ngsi-ld:Subscription:staff", "q": "secretLevel>7654.3"}
    assert (await ways.ask(f"POST {NGSI}/subscriptions", STAFF_TOKEN, staffs)).status_code == 201
    known = await _map_of_staff(ways)
    leaks, failures = [], []
    for way, asked in OUT.items():
        for path, body in asked:
            request = f"{way.split(' ')[0]} {path.replace('MAP', known).replace('RUN', RUN)}"
            answer = await ways.ask(request, token, body)
            new = [mark for mark in MARKS[token] if mark not in request]  # names of the question may come back
            told = answer.text + str(answer.headers)
            if answer.status_code < 400 and any(mark in told for mark in new):
                leaks.append((request, answer.text[:300]))
            if answer.status_code >= 500:
                failures.append((request, answer.text[:300]))
    assert (leaks, failures) == ([], [])


async def test_staff_is_told_everything(ways: Ways) -> None:
    silent = []
    ways_of_readings = [way for way in OUT if "entities" in way or "export" in way]
    for way in ways_of_readings:
        path, body = OUT[way][0]
        told = await ways.ask(
            f"{way.split(' ')[0]} {path.replace('MAP', await _map_of_staff(ways))}", STAFF_TOKEN, body
        )
        if not any(mark in told.text for mark in ("7654.3", "hidden-by")):
            silent.append((way, told.text[:200]))
    assert silent == []


NOTHING_FOUND = [
    f"{NGSI}/entities?type=WaterObserved&q=secretLevel>1",
    f"{NGSI}/entities?type=WaterObserved&q=secretLevel",
    f"{NGSI}/entities?attrs=secretLevel",
    f"{NGSI}/entities?type=WaterObserved&q=waterLevel>7000",
    f"{NGSI}/entities?type=FloodPlan",
    f"{NGSI}/entities?type=WaterObserved&scopeQ=/audience/%23",
    f"{NGSI}/entities?type=WaterObserved&georel=near;maxDistance==100000&geometry=Point&coordinates=[138.5,35.0]"
    "&geoproperty=secretPlace",
    f"{NGSI}/entities?type=WaterObserved&q=refPlan{{FloodPlan:waterLevel}}>1&join=inline&joinLevel=1",
    f"{NGSI}/temporal/entities?type=WaterObserved&q=secretLevel>1&timerel=after&timeAt=2026-06-01T00:00:00Z",
    f"{NGSI}/temporal/entities?attrs=secretLevel&timerel=after&timeAt=2026-06-01T00:00:00Z",
    f"{NGSI}/temporal/entities?type=FloodPlan&timerel=after&timeAt=2026-06-01T00:00:00Z",
]


async def test_what_is_hidden_cannot_be_found_by_filters(ways: Ways) -> None:
    staff = [path for path in NOTHING_FOUND if await ways.found(path, STAFF_TOKEN) == []]
    public = [path for path in NOTHING_FOUND if await ways.found(path) != []]
    assert (staff, public) == ([], [])


async def test_what_is_hidden_does_not_count(ways: Ways) -> None:
    counted = [
        (await ways.ask(f"GET {NGSI}/entities?type=WaterObserved&count=true&limit=0", token)).headers[
            "NGSILD-Results-Count"
        ]
        for token in (None, STAFF_TOKEN)
    ]
    assert counted == ["1", "2"]


async def test_briefed_callers_see_what_is_for_them_and_the_public_does_not(ways: Ways) -> None:
    seen = [
        sorted(
            {"waterLevel", "soonLevel", "secretLevel"} & (await ways.found(f"{NGSI}/entities/{STATION}", token)).keys()
        )
        for token in (None, BRIEFED_TOKEN, STAFF_TOKEN)
    ]
    assert seen == [["waterLevel"], ["soonLevel", "waterLevel"], ["secretLevel", "soonLevel", "waterLevel"]]


async def test_a_change_of_what_is_hidden_is_no_change_to_the_public(ways: Ways) -> None:
    before = await ways.found(f"{NGSI}/entities/{STATION}?options=sysAttrs")
    assert (
        await ways.ask(f"PATCH {NGSI}/entities/{STATION}/attrs/secretLevel", STAFF_TOKEN, {"value": 9.0})
    ).is_success
    assert await ways.found(f"{NGSI}/entities/{STATION}?options=sysAttrs") == before


async def test_answers_that_are_kept_for_staff_are_nobody_elses(ways: Ways) -> None:
    path = f"GET {NGSI}/temporal/entities/{STATION}?timerel=after&timeAt=2026-06-01T00:00:00Z"
    for _ in range(2):
        assert "secretLevel" in (await ways.ask(path, STAFF_TOKEN)).text
        assert "secretLevel" not in (await ways.ask(path, BRIEFED_TOKEN)).text
        assert "secretLevel" not in (await ways.ask(path)).text


async def test_a_map_of_staff_is_nobody_elses(ways: Ways) -> None:
    known = await _map_of_staff(ways)
    answers = [await ways.ask(f"GET {NGSI}/entityMaps/{known}", token) for token in (None, STAFF_TOKEN)]
    assert [answer.status_code for answer in answers] == [404, 200]


async def test_stations_are_shown_by_what_the_caller_may_see_of_them(ways: Ways) -> None:
    shown = [(await ways.found("/api/v1/stations", token))["stations"] for token in (None, STAFF_TOKEN)]
    assert [[(one["attribute"], one["value"]) for one in stations] for stations in shown] == [
        [("waterLevel", 1.25)],
        [("secretLevel", 7654.3)],
    ]


async def test_a_rule_says_how_many_entities_it_is_about(ways: Ways) -> None:
    rules = (await ways.found("/api/v1/audiences", STAFF_TOKEN))["rules"]
    assert {(rule["type"], rule.get("attribute")): rule["entityCount"] for rule in rules} == {
        ("FloodPlan", None): 1,
        ("WaterObserved", "secretLevel"): 1,
        ("WaterObserved", "secretPlace"): 1,
        ("WaterObserved", "soonLevel"): 1,
    }


async def test_rules_can_be_taken_away_again(ways: Ways) -> None:
    assert (await ways.ask("PUT /api/v1/audiences", STAFF_TOKEN, {"rules": []})).json() == {"rules": []}
    assert (await ways.found(f"{NGSI}/entities/{STATION}"))["secretLevel"]["value"] == 7654.3


@pytest.mark.parametrize("store_mode", ["timescale"], indirect=True)
async def test_history_on_timescaledb_has_what_the_caller_may_see(database_url: str) -> None:
    async with opened(database_url) as ways:
        path = f"{NGSI}/temporal/entities/{STATION}?options=temporalValues"
        evolution = await ways.found(path, BRIEFED_TOKEN)
    assert {"waterLevel", "soonLevel", "secretLevel"} & evolution.keys() == {"waterLevel", "soonLevel"}


async def _set(ways: Ways, entity: str, attribute: str, value: float) -> None:
    path = f"PATCH {NGSI}/entities/{entity}/attrs/{attribute}"
    answer = await ways.ask(path, STAFF_TOKEN, number(value) | {"observedAt": "2026-06-02T10:10:00Z"})
    assert answer.is_success, answer.text


async def _notify(ways: Ways) -> None:
    """What the worker of subscriptions does until everything is told."""
    maker = NotificationMaker(ways.hub.contexts, ways.hub.tenants)
    loop = FeedLoop(
        "subscriptions", ChangeFeed(ways.hub.database, "subscriptions"), ChangeNotifier(maker).process, poll_s=1
    )
    while await loop.step():
        pass


async def _told(ways: Ways, subscription: str) -> list[dict[str, Any]]:
    path = f"/api/v1/subscriptions/{subscription}/notifications"
    return [one["body"]["data"][0] for one in (await ways.found(path, STAFF_TOKEN))["notifications"]]


async def _subscribed(ways: Ways, **members: Any) -> str:
    made = await ways.ask(f"POST {NGSI}/subscriptions", BRIEFED_TOKEN, SUBSCRIPTION | members)
    assert made.status_code == 201, made.text
    return made.headers["Location"].rpartition("/")[2]


async def test_a_subscriber_is_told_what_its_audience_may_see(ways: Ways) -> None:
    await _notify(ways)  # of what was there before
    everything = await _subscribed(ways)
    by_filter = await _subscribed(ways, q="secretLevel>1")
    await _set(ways, STATION, "secretLevel", 7654.31)
    await _set(ways, HIDDEN_STATION, "waterLevel", 7654.32)
    await _set(ways, HIDDEN_ENTITY, "waterLevel", 7654.33)
    await _set(ways, STATION, "soonLevel", 3.5)
    await _notify(ways)
    told = await _told(ways, everything)
    assert [(one["id"], one["soonLevel"]["value"], "secretLevel" in one) for one in told] == [(STATION, 3.5, False)]
    assert await _told(ways, by_filter) == []


async def test_subscriptions_are_their_owners_and_the_staffs(ways: Ways) -> None:
    own = await _subscribed(ways)
    staffs = {**SUBSCRIPTION, "id": "urn:ngsi-ld:Subscription:staff"}
    assert (await ways.ask(f"POST {NGSI}/subscriptions", STAFF_TOKEN, staffs)).status_code == 201
    listed = [
        [one["id"] for one in await ways.found(f"{NGSI}/subscriptions", token)]
        for token in (BRIEFED_TOKEN, STAFF_TOKEN)
    ]
    assert listed == [[own], [own, staffs["id"]]]
    changes = [
        (await ways.ask(f"{method} {NGSI}/subscriptions/{staffs['id']}", BRIEFED_TOKEN, body)).status_code
        for method, body in (("PATCH", {"description": "x"}), ("DELETE", None))
    ]
    assert changes == [404, 404]
    assert (await ways.ask(f"PATCH {NGSI}/subscriptions/{own}", BRIEFED_TOKEN, {"description": "x"})).is_success
    assert (await ways.ask(f"DELETE {NGSI}/subscriptions/{own}", BRIEFED_TOKEN)).is_success


async def test_a_ticket_opens_its_stream_for_who_asked_for_it(ways: Ways) -> None:
    staffs = {**SUBSCRIPTION, "id": "urn:ngsi-ld:Subscription:staff"}
    assert (await ways.ask(f"POST {NGSI}/subscriptions", STAFF_TOKEN, staffs)).status_code == 201
    path = {"path": f"/api/v1/subscriptions/{staffs['id']}/stream"}
    ticket = (await ways.ask("POST /api/v1/stream-tickets", BRIEFED_TOKEN, path)).json()
    assert (await ways.ask(f"GET {ticket['url']}")).status_code == 404
    assert (await ways.ask("POST /api/v1/stream-tickets", None, path)).status_code == 401


async def _raise(ways: Ways, rule_id: str, attribute: str, entity: str, audience: str) -> None:
    rule = {
        "name": {"ja": rule_id, "en": rule_id},
        "entities": {"ids": [entity]},
        "attribute": attribute,
        "levels": [{"stage": "caution", "threshold": 1.0}],
        "audience": audience,
    }
    answer = await ways.ask(f"PUT /api/v1/alert-rules/{rule_id}", STAFF_TOKEN, rule)
    assert answer.is_success, answer.text


async def test_alerts_are_for_the_audience_of_their_rule_and_of_what_it_watches(ways: Ways) -> None:
    await _raise(ways, "open", "waterLevel", STATION, "public")
    await _raise(ways, "closed", "waterLevel", STATION, "staff")
    await _raise(ways, "of-hidden-attribute", "secretLevel", STATION, "public")
    await _raise(ways, "of-hidden-entity", "waterLevel", HIDDEN_STATION, "public")
    loop = FeedLoop("alerts", ChangeFeed(ways.hub.database, "alerts"), make_evaluator(ways.hub).process, poll_s=1)
    while await loop.step():
        pass
    rules = [
        sorted(alert["ruleId"] for alert in (await ways.found("/api/v1/alerts", token))["alerts"])
        for token in (None, STAFF_TOKEN)
    ]
    assert rules == [["open"], ["closed", "of-hidden-attribute", "of-hidden-entity", "open"]]
    entities = [len(await ways.found(f"{NGSI}/entities?type=Alert", token)) for token in (None, STAFF_TOKEN)]
    assert entities == [1, 4]
    feeds = [(await ways.ask("GET /api/v1/alerts/cap?status=Test", token)).text for token in (None, STAFF_TOKEN)]
    assert [feed.count("<entry>") for feed in feeds] == [1, 4]
    alert = (await ways.found(f"{NGSI}/entities?type=Alert"))[0]
    assert "acknowledgedBy" not in alert


async def _briefed(ways: Ways, **members: Any) -> dict[str, Any]:
    person = {"name": "Tomoe Transport", "briefing": "Session of 2026-06-01, text 2"} | members
    made = await ways.ask("POST /api/v1/briefed-people", STAFF_TOKEN, person)
    assert made.status_code == 201, made.text
    return dict(made.json())


async def test_a_briefed_person_sees_until_the_token_is_withdrawn(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("context_store.audiences.briefed_people.KNOWN_FOR", timedelta(0))
    person = await _briefed(ways)
    assert "soonLevel" in await ways.found(f"{NGSI}/entities/{STATION}", person["token"])
    made = await ways.ask(f"POST {NGSI}/subscriptions", person["token"], SUBSCRIPTION)
    assert made.status_code == 201
    assert (await ways.ask("GET /api/v1/alarms", person["token"])).status_code == 403
    assert (await ways.ask(f"DELETE /api/v1/briefed-people/{person['id']}", STAFF_TOKEN)).status_code == 204
    assert (await ways.ask(f"GET {NGSI}/entities/{STATION}", person["token"])).status_code == 401
    assert await ways.found(f"{NGSI}/subscriptions", STAFF_TOKEN) == []
    (listed,) = (await ways.found("/api/v1/briefed-people", STAFF_TOKEN))["people"]
    assert (listed["status"], listed["lastSeenAt"] is not None, "token" in listed) == ("ended", True, False)


async def test_a_token_of_one_city_opens_no_other(ways: Ways) -> None:
    person = await _briefed(ways)
    headers = {"Authorization": f"Bearer {person['token']}", "Link": LINK}
    own = await ways.client.get(f"{NGSI}/entities/{STATION}", headers=headers)  # without naming the city
    other = await ways.client.get(f"{NGSI}/entities", headers=headers | {"NGSILD-Tenant": "default"})
    assert (own.status_code, other.status_code) == (200, 401)


async def test_what_was_subscribed_ends_with_the_briefing(ways: Ways) -> None:
    person = await _briefed(ways, expiresAt=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert (await ways.ask(f"POST {NGSI}/subscriptions", person["token"], SUBSCRIPTION)).status_code == 201
    async with ways.hub.database.transaction(ALL_TENANTS) as connection:
        assert await end_subscriptions(connection, datetime.now(UTC)) == 0
        assert await end_subscriptions(connection, datetime.now(UTC) + timedelta(hours=2)) == 1


@pytest.mark.parametrize(
    "members", [{"name": ""}, {"briefing": 1}, {"expiresAt": "2020-01-01T00:00:00Z"}, {"more": "x"}], ids=str
)
async def test_a_briefing_without_a_name_a_text_or_an_end_is_refused(ways: Ways, members: dict[str, Any]) -> None:
    person = {"name": "A", "briefing": "B"} | members
    assert (await ways.ask("POST /api/v1/briefed-people", STAFF_TOKEN, person)).status_code == 400

# SPDX-License-Identifier: Apache-2.0
"""Drills: the real chain, marked, and out of reach of everybody who was not chosen."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from test_alarms import BRIDGE, MODEL, WEIR, City, at, running

from api.alerting.drills import advance_drills
from api.workers.contacts import ContactWorker
from broker.times import parse_time, to_text
from context_store.contacts.documents import load_roster
from context_store.database import ALL_TENANTS

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

REAL = "http://real.invalid/alerts"
CHOSEN = "http://chosen.invalid/alerts"
HYDROGRAPH = Path(__file__).parents[2] / "api" / "demo" / "hydrographs" / "dead_run.csv"
GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "dead_run_2019-05.txt"


@asynccontextmanager
async def exercising(database_url: str) -> AsyncIterator[City]:
    """A hub with webhooks in its settings, and a flood of an hour at the bridge that nobody was told of."""
    async with running(database_url, alert_webhooks=[REAL]) as city:
        for minute, value in enumerate((0.4, 0.5, 1.5, 2.5, 1.5, 0.5)):
            await city.measure(BRIDGE, 10 * minute, value)
        await city.put_rule()
        yield city


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[City]:
    async with exercising(database_url) as one:
        yield one


async def begin(city: City, **members: Any) -> dict[str, Any]:
    return dict(await city.post("/drills", {"title": "出水期前の訓練", "by": "佐藤"} | members, 201))


async def play(city: City, drill: dict[str, Any]) -> None:
    """The whole record, as a worker does it in its time."""
    if drill["from"] is not None:
        length = (parse_time(drill["to"]) - parse_time(drill["from"])) / drill["speed"]
        for part in range(1, 6):
            await advance_drills(city.hub, parse_time(drill["startedAt"]) + length * part / 5)
    await city.work()


async def in_drill(city: City, drill: dict[str, Any], path: str) -> Any:
    answer = await city.http.get(f"/api/v1{path}", headers={"NGSILD-Tenant": drill["tenant"]})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def destinations(city: City) -> set[str]:
    async with city.hub.database.transaction(0) as connection:
        rows = await (
            await connection.execute("select destination from delivery_stream where kind = 'alert'")
        ).fetchall()
    return {destination for (destination,) in rows}


RECORD = {"from": to_text(at(-5)), "to": to_text(at(60)), "speed": 60}


class TestIsolation:
    async def test_a_flood_is_played_and_nobody_is_told(self, city: City) -> None:
        drill = await begin(city, **RECORD)
        await play(city, drill)
        steps = (await in_drill(city, drill, "/alarms/steps"))["steps"]
        assert [step["kind"] for step in steps] == ["raised", "escalated", "downgraded", "cleared"]
        assert await destinations(city) == set()
        for path in ("/alarms?state=all", "/alarms/steps", "/alerts?state=all", "/incidents?state=all"):
            assert list((await city.http.get(f"/api/v1{path}")).json().values()) == [[]]

    async def test_only_the_chosen_are_told(self, city: City) -> None:
        await play(city, await begin(city, **RECORD, recipients=[CHOSEN]))
        assert await destinations(city) == {CHOSEN}

    async def test_who_changes_rules_within_a_drill_tells_nobody_either(self, city: City) -> None:
        drill = await begin(city)
        await city.post(f"/drills/{drill['drillId']}/values", {"entityId": BRIDGE, "value": 9.0}, 204)
        await city.work()
        gone = await city.http.delete("/api/v1/alert-rules/tomoe", headers={"NGSILD-Tenant": drill["tenant"]})
        assert gone.status_code == 204
        steps = (await in_drill(city, drill, "/alarms/steps"))["steps"]
        assert [step["kind"] for step in steps] == ["raised", "withdrawn"]
        assert await destinations(city) == set()

    async def test_when_it_is_over_the_chosen_are_told_nothing_more(self, city: City) -> None:
        drill = await begin(city, recipients=[CHOSEN])
        path = f"/drills/{drill['drillId']}"
        await city.post(f"{path}/values", {"entityId": BRIDGE, "value": 1.5}, 204)
        await city.post(f"{path}/end", {})
        await city.work()
        assert await destinations(city) == set()
        await city.post(f"{path}/values", {"entityId": BRIDGE, "value": 9.0}, 409)

    async def test_the_real_chain_goes_on_as_ever(self, city: City) -> None:
        await play(city, await begin(city, **RECORD))
        await city.measure(WEIR, 100, 2.5)
        assert await city.steps() == ["raised"]
        assert await destinations(city) == {REAL}

    async def test_another_tenant_does_not_see_it(self, city: City) -> None:
        drill = await begin(city)
        other = {"NGSILD-Tenant": "other"}
        await city.http.post("/ngsi-ld/v1/entities", json={"id": "urn:x:1", "type": "T"}, headers=other)
        assert (await city.http.get("/api/v1/drills", headers=other)).json() == {"drills": []}
        assert (await city.http.get(f"/api/v1/drills/{drill['drillId']}", headers=other)).status_code == 404


class TestMarks:
    async def test_everything_in_a_drill_says_so(self, city: City) -> None:
        drill = await begin(city)
        await city.post(f"/drills/{drill['drillId']}/values", {"entityId": BRIDGE, "value": 9.0}, 204)
        await city.work()
        alerts = (await in_drill(city, drill, "/alerts"))["alerts"]
        assert all(alert["headlineJa"].startswith("【訓練】") for alert in alerts)
        assert all(alert["cap"]["status"] == "Exercise" for alert in alerts)
        (alarm,) = (await in_drill(city, drill, "/alarms"))["alarms"]
        assert (alarm["exercise"], alarm["stationName"]["en"][:10]) == (True, "[EXERCISE]")
        answer = await city.http.get(
            f"/api/v1/alerts/{alerts[0]['id']}/cap", headers={"NGSILD-Tenant": drill["tenant"]}
        )
        assert "<status>Exercise</status>" in answer.text and "【訓練】【訓練】" not in answer.text

    async def test_a_real_alarm_says_that_it_is_none(self, city: City) -> None:
        await city.measure(WEIR, 100, 2.5)
        assert (await city.alarm())["exercise"] is False


class TestReport:
    async def test_it_tells_what_happened_and_how_soon_somebody_answered(self, city: City) -> None:
        drill = await begin(city)
        await city.post(f"/drills/{drill['drillId']}/values", {"entityId": BRIDGE, "value": 1.5}, 204)
        await city.work()
        (alarm,) = (await in_drill(city, drill, "/alarms"))["alarms"]
        path = f"/api/v1/alarms/{alarm['alarmId']}/acknowledge"
        answer = await city.http.post(path, json={"by": "鈴木"}, headers={"NGSILD-Tenant": drill["tenant"]})
        assert answer.status_code == 200
        await city.post(f"/drills/{drill['drillId']}/values", {"entityId": BRIDGE, "value": 2.5}, 204)
        await city.work()
        found = await city.get(f"/drills/{drill['drillId']}")
        assert [step["kind"] for step in found["steps"]] == ["raised", "acknowledged", "escalated"]
        assert [(one["by"], one["seconds"] is None) for one in found["answers"]] == [("鈴木", False), (None, True)]

    async def test_beginning_and_end_are_in_the_audit(self, city: City) -> None:
        drill = await begin(city)
        await city.post(f"/drills/{drill['drillId']}/end", {})
        entries = (await city.get("/audit"))["entries"]
        assert [(entry["action"], entry["target"]) for entry in entries[-2:]] == [
            ("drill.start", drill["drillId"]),
            ("drill.end", drill["drillId"]),
        ]


class TestRecord:
    async def test_moving_it_again_sends_nothing_twice(self, city: City) -> None:
        drill = await begin(city, **RECORD)
        end = parse_time(drill["startedAt"]) + timedelta(hours=1)
        assert await advance_drills(city.hub, end) == 6
        assert await advance_drills(city.hub, end) == 0

    async def test_a_real_flood_gives_the_golden_timeline_in_compressed_time(self, database_url: str) -> None:
        speed, begin_at, end_at = 600.0, parse_time("2019-05-11T00:00:00Z"), parse_time("2019-05-11T06:00:00Z")
        rows = list(csv.DictReader(HYDROGRAPH.read_text().splitlines()))
        values = [
            {"type": "Property", "value": float(row["value"]), "observedAt": row["time"]}
            for row in rows
            if begin_at <= parse_time(row["time"]) < end_at
        ]
        stages = {"standby": "L1", "caution": "L2", "evacuation_decision": "L3", "danger": "L4"}
        levels = [{"stage": stage, "threshold": t} for stage, t in zip(stages, (0.6, 0.9, 1.2, 1.5), strict=True)]
        async with running(database_url) as city:
            entity = {"id": BRIDGE, "type": MODEL + "WaterObserved"}
            past = await city.http.post("/ngsi-ld/v1/temporal/entities", json=entity | {MODEL + "waterLevel": values})
            assert past.status_code == 201, past.text
            await city.measure(BRIDGE, 0, 0.3)
            await city.put_rule(levels=levels, hysteresis=0.1, clearAfter=1800)
            drill = await begin(city, **{"from": to_text(begin_at), "to": to_text(end_at), "speed": speed})
            await play(city, drill)
            report = await city.get(f"/drills/{drill['drillId']}")
            alerts = reversed((await in_drill(city, drill, "/alerts?state=all"))["alerts"])
            raised = [f"{_recorded(drill, alert['raisedAt'])} RAISE {stages[alert['stage']]}" for alert in alerts]
        golden = [line.rsplit(" ", 1)[0] for line in GOLDEN.read_text().splitlines() if line.startswith("2019-05-11")]
        assert raised == [line for line in golden if "RAISE" in line]
        assert [step["kind"] for step in report["steps"]][-1] == "cleared"


def _recorded(drill: dict[str, Any], played: str) -> str:
    """The moment of the record that a moment of the drill stands for."""
    passed = parse_time(played) - parse_time(drill["startedAt"])
    moment = parse_time(drill["from"]) + passed * drill["speed"]
    return to_text(datetime.fromtimestamp(round(moment.timestamp()), UTC))


REFUSED = [
    ({"title": ""}, "title: a text of 1 to 200 characters is expected"),
    ({"from": "2026-06-01T00:00:00Z"}, "from and to are expected together"),
    ({"speed": 0.5}, "speed: a number from 1 to 600 is expected"),
    ({"recipients": ["mailto:x@example.org"]}, "recipients: URLs of webhooks are expected"),
    ({"entityIds": ["urn:x:nobody"]}, "entityIds: there is no station to exercise with"),
    ({"loud": True}, "loud: unknown member"),
]


@pytest.mark.parametrize(("members", "message"), REFUSED, ids=[message for _, message in REFUSED])
async def test_a_plan_with_a_fault_is_refused(city: City, members: dict[str, Any], message: str) -> None:
    answer = await city.post("/drills", {"title": "x"} | members, 400)
    assert answer["detail"].startswith(message)


async def put(city: City, path: str, **document: Any) -> None:
    assert (await city.http.put(f"/api/v1/{path}", json=document)).status_code in (200, 201)


async def invite(city: City) -> None:
    """Two people who are told about everything, one after the other."""
    for name in ("one", "other"):
        channels = [{"type": "webhook", "address": f"http://{name}.invalid/", "secret": "0123456789abcdef"}]
        await put(city, f"contacts/{name}", name=name, channels=channels)
        await put(city, f"contact-groups/{name}", name=name, members=[{"contact": name}])
    await put(city, "notification-plans/all", name="all", steps=[["one", "other"]])


async def tell(city: City) -> None:
    worker = ContactWorker(city.hub.database, poll_s=1)
    while await worker.turn(datetime.now(UTC)):
        pass


async def test_people_who_were_chosen_are_told_and_the_report_says_what(city: City) -> None:
    await invite(city)
    drill = await begin(city, contacts=["one"])
    await city.post(f"/drills/{drill['drillId']}/values", {"entityId": BRIDGE, "value": 2.5}, 204)
    await city.work()
    await tell(city)
    report = await city.get(f"/drills/{drill['drillId']}")
    assert [(n["contactId"], n["kind"], n["state"]) for n in report["notices"]] == [("one", "raised", "queued")]
    assert (await city.get("/notices"))["notices"] == []
    async with city.hub.database.transaction(ALL_TENANTS) as connection:
        found = await connection.execute("select body from delivery where convert_from(body, 'utf8') like '%subject%'")
        (body,) = [orjson.loads(row[0]) for row in await found.fetchall()]
    assert body["subject"].startswith("【訓練】【") and body["subject"].count("訓練") == 1
    assert body["text"].startswith("これは訓練です")


async def test_nobody_is_told_of_a_drill_who_was_not_chosen_or_after_its_end(city: City) -> None:
    await invite(city)
    drill = await begin(city)
    over = await begin(city, contacts=["one"])
    await city.post(f"/drills/{over['drillId']}/end", {})
    for one in (drill, over):
        async with city.hub.database.transaction(ALL_TENANTS) as connection:
            roster = await load_roster(connection, await city.hub.tenants.find_or_create(one["tenant"]))
        assert not roster.contacts
    assert "unknown" in (await city.post("/drills", {"title": "x", "contacts": ["unknown"]}, 400))["detail"]

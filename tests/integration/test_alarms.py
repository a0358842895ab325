# SPDX-License-Identifier: Apache-2.0
"""Alarms from reading to audit on a real PostgreSQL: once each, whatever restarts, and never changed afterwards."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from lxml import etree

from broker.times import to_text
from context_store.database import ALL_TENANTS
from support.alarm_city import MODEL, RULE, START, City, at
from support.hub import client_for, hub_for
from support.served import served

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

BRIDGE = "urn:ngsi-ld:WaterObserved:bridge"
WEIR = "urn:ngsi-ld:WaterObserved:weir"


@asynccontextmanager
async def running(database_url: str, **settings: Any) -> AsyncIterator[City]:
    async with hub_for(database_url, **settings) as hub, client_for(hub) as http:
        yield City(hub, http)


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[City]:
    async with running(database_url) as one:
        await one.put_rule()
        yield one


class TestLife:
    async def test_a_flood_from_calm_to_calm(self, city: City) -> None:
        for minute, value in enumerate((0.5, 1.5, 2.5, 1.5, 0.5)):
            await city.measure(BRIDGE, minute, value)
        assert await city.steps() == ["raised", "escalated", "downgraded", "cleared"]
        (alarm,) = (await city.get("/alarms", state="all"))["alarms"]
        assert (alarm["status"], alarm["highestStage"], alarm["peakValue"]) == ("cleared", "danger", 2.5)
        assert (await city.get("/alarms"))["alarms"] == []

    async def test_the_numbers_of_steps_ascend_and_can_be_followed(self, city: City) -> None:
        for minute, value in enumerate((1.5, 2.5, 0.5)):
            await city.measure(BRIDGE, minute, value)
        steps = (await city.get("/alarms/steps"))["steps"]
        later = (await city.get("/alarms/steps", after=steps[0]["sequence"]))["steps"]
        assert later == steps[1:]

    async def test_whoever_follows_the_steps_and_comes_back_misses_none(self, city: City) -> None:
        for minute, value in enumerate((1.5, 2.5, 0.5)):
            await city.measure(BRIDGE, minute, value)
        steps = (await city.get("/alarms/steps"))["steps"]
        async with served(city.hub) as address, httpx.AsyncClient(timeout=10) as http:
            url, seen = f"http://{address}/api/v1/alarms/stream", {"Last-Event-ID": str(steps[0]["sequence"])}
            async with http.stream("GET", url, headers=seen) as answer:
                told: list[Any] = []
                async for line in answer.aiter_lines():
                    told += [json.loads(line[6:])] if line.startswith("data: ") else []
                    if len(told) == 2:
                        break
        assert told == steps[1:]

    async def test_late_and_repeated_values_make_no_step(self, city: City) -> None:
        await city.measure(BRIDGE, 10, 1.5)
        await city.measure(BRIDGE, 5, 9.0)
        await city.measure(BRIDGE, 10, 0.1)
        assert await city.steps() == ["raised"]

    async def test_the_alert_entities_carry_the_state(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        alarm_id = (await city.alarm())["alarmId"]
        await city.post(f"/alarms/{alarm_id}/acknowledge", {"by": "佐藤"})
        found = await city.http.get(
            "/ngsi-ld/v1/entities?type=https://smartdatamodels.org/dataModel.Alert/Alert&options=keyValues&local=true"
        )
        (entity,) = found.json()
        assert (entity["alarmStatus"], entity["acknowledgedBy"], entity["alarmId"]) == (
            "acknowledged",
            "佐藤",
            alarm_id,
        )

    async def test_a_rule_that_is_removed_withdraws_its_alarm(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 2.5)
        assert (await city.http.delete("/api/v1/alert-rules/tomoe")).status_code == 204
        assert await city.steps() == ["raised", "withdrawn"]

    async def test_an_override_that_is_switched_off_withdraws_there_only(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 2.5)
        await city.measure(WEIR, 0, 2.5)
        await city.put_rule(overrides={WEIR: {"enabled": False}})
        (alarm,) = (await city.get("/alarms"))["alarms"]
        assert alarm["entityId"] == BRIDGE


class TestIncidents:
    async def test_stations_of_a_river_are_one_incident(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        await city.measure(WEIR, 1, 2.5)
        (incident,) = (await city.get("/incidents"))["incidents"]
        assert (incident["name"], incident["stage"], incident["unacknowledged"]) == (
            {"ja": "巴川", "en": "Tomoe"},
            "danger",
            2,
        )
        assert [alarm["entityId"] for alarm in incident["alarms"]] == [BRIDGE, WEIR]

    async def test_it_ends_with_its_last_alarm_and_goes_on_when_the_river_rises_again_soon(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        (incident,) = (await city.get("/incidents"))["incidents"]
        await city.measure(BRIDGE, 1, 0.5)
        assert (await city.get("/incidents"))["incidents"] == []
        await city.measure(WEIR, 2, 1.5)
        (again,) = (await city.get("/incidents"))["incidents"]
        assert again["incidentId"] == incident["incidentId"]
        assert len((await city.get(f"/incidents/{incident['incidentId']}"))["alarms"]) == 2


class TestTimers:
    async def test_escalation_goes_on_after_restarts_and_is_told_once(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        now = datetime.now(UTC)
        for minutes in (5, 11, 11, 12, 31, 99):
            await city.let_time_pass(now + timedelta(minutes=minutes))
        assert await city.steps() == ["raised", "unacknowledged", "unacknowledged"]
        assert (await city.alarm())["escalation"] == 2

    async def test_workers_that_look_at_the_same_time_make_each_step_once(self, city: City) -> None:
        await city.put_rule(noData={"after": 600})
        await city.measure(BRIDGE, 0, 1.5)
        later = datetime.now(UTC) + timedelta(minutes=11)
        await asyncio.gather(*(city.let_time_pass(later) for _ in range(4)))
        assert sorted(await city.steps()) == ["raised", "unacknowledged"]
        assert (await city.alarm())["stagesRaised"] == ["no_data", "caution"]

    async def test_a_clock_that_jumps_back_repeats_nothing(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        now = datetime.now(UTC)
        for minutes in (11, -600, 11):
            await city.let_time_pass(now + timedelta(minutes=minutes))
        assert await city.steps() == ["raised", "unacknowledged"]

    async def test_a_flooded_station_that_falls_silent_is_unknown_and_stays_raised(self, city: City) -> None:
        await city.put_rule(silentAfter=300)
        await city.measure(BRIDGE, 0, 1.5)
        await city.let_time_pass(at(4))
        assert await city.steps() == ["raised"]
        await city.let_time_pass(at(5))
        await city.let_time_pass(at(50))
        assert (await city.steps(), (await city.alarm())["unknown"]) == (["raised", "silent"], True)
        last = await city.alarm()
        assert (last["value"], last["observedAt"]) == (1.5, to_text(at(0)))  # not when the silence was too long
        await city.measure(BRIDGE, 60, 1.5)
        assert ((await city.steps())[-1], (await city.alarm())["unknown"]) == ("returned", False)

    async def test_no_data_is_dated_when_it_was_due_however_late_the_hub_looks(self, city: City) -> None:
        await city.put_rule(noData={"after": 600})
        await city.measure(BRIDGE, 0, 0.5)
        await city.let_time_pass(at(90))
        assert ((await city.alarm())["stage"], (await city.alarm())["openedAt"]) == ("no_data", to_text(at(10)))
        await city.measure(BRIDGE, 95, 0.5)
        assert await city.steps() == ["raised", "cleared"]

    async def test_a_rule_that_learns_of_silence_judges_stations_it_knows(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 0.5)
        await city.put_rule(noData={"after": 600})
        await city.let_time_pass(datetime.now(UTC))
        assert await city.steps() == ["raised"]

    async def test_stations_that_fall_silent_with_their_gateway_are_one_alarm(self, city: City) -> None:
        stations = [f"urn:ngsi-ld:WaterObserved:tower-{number}" for number in range(5)]
        for number, station in enumerate(stations):
            await city.register(station, f"tower-{number}", group="tower-3")
        await city.put_rule(noData={"after": 1200}, escalateAfter=[])
        for minute in (0, 10):
            for number, station in enumerate(stations):
                await city.measure(station, minute + number, 0.5)
        for minute in (31, 33, 36, 60):  # the first is due at 30, the last at 34
            await city.let_time_pass(at(minute))
        alarm = await city.alarm()
        assert (alarm["entityId"], alarm["stage"]) == (stations[0], "no_data")
        (step,) = (await city.get("/alarms/steps"))["steps"]
        assert step["measures"][0] == {
            "kind": "gateway", "attribute": "gateway", "gateway": "tower-3", "limit": 3, "value": 5
        }  # fmt: skip
        # It is back; one station is not, and is an alarm of its own now.
        for station in stations[:4]:
            await city.measure(station, 70, 0.5)
        await city.let_time_pass(at(72))
        alarms = (await city.get("/alarms"))["alarms"]
        assert [(one["entityId"], one["stage"]) for one in alarms] == [(stations[4], "no_data")]
        assert (await city.steps()) == ["raised", "cleared", "raised"]

    async def test_one_silent_station_of_a_gateway_that_is_heard_is_an_alarm(self, city: City) -> None:
        stations = [f"urn:ngsi-ld:WaterObserved:mast-{number}" for number in range(3)]
        for number, station in enumerate(stations):
            await city.register(station, f"mast-{number}", group="mast-1")
        await city.put_rule(noData={"after": 1200})
        for station in stations:
            await city.measure(station, 0, 0.5)
        for station in stations[1:]:
            await city.measure(station, 15, 0.5)
        await city.let_time_pass(at(21))
        assert (await city.alarm())["entityId"] == stations[0]
        assert (await city.get("/alarms/steps"))["steps"][0]["measures"] == []

    async def test_silence_of_a_deleted_station_is_no_news(self, city: City) -> None:
        await city.put_rule(noData={"after": 600})
        await city.measure(BRIDGE, 0, 0.5)
        assert (await city.http.delete(f"/ngsi-ld/v1/entities/{BRIDGE}")).status_code == 204
        await city.work()
        await city.let_time_pass(at(90))
        assert await city.steps() == []

    async def test_a_shelf_ends_by_its_time(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        alarm_id = (await city.alarm())["alarmId"]
        await city.post(f"/alarms/{alarm_id}/shelve", {"reason": "点検", "seconds": 60})
        await city.let_time_pass(datetime.now(UTC) + timedelta(seconds=61))
        assert await city.steps() == ["raised", "shelved", "unshelved"]


class TestPeople:
    async def test_everything_is_in_the_audit_with_who_and_why(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        alarm_id = (await city.alarm())["alarmId"]
        await city.post(f"/alarms/{alarm_id}/shelve", {"by": "鈴木", "reason": "点検中", "seconds": 60})
        await city.post(f"/alarms/{alarm_id}/unshelve", {}, **{"Minamo-Person": "%E4%BD%90%E8%97%A4"})
        entries = (await city.get("/audit"))["entries"]
        assert [(entry["action"], entry["name"], entry["reason"]) for entry in entries] == [
            ("rule.put", None, None),
            ("alarm.shelved", "鈴木", "点検中"),
            ("alarm.unshelved", "佐藤", None),
        ]
        assert entries[0]["details"]["after"]["id"] == "tomoe"

    async def test_the_audit_is_a_file_that_no_spreadsheet_runs(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        alarm_id = (await city.alarm())["alarmId"]
        await city.post(f"/alarms/{alarm_id}/acknowledge", {"by": "=cmd()"})
        text = (await city.http.get("/api/v1/audit?format=csv")).text
        rows = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))
        assert rows[-1]["name"] == "'=cmd()"

    @pytest.mark.parametrize(
        "statement", ["update audit_entry set actor = 'x'", "delete from audit_entry", "truncate audit_entry"]
    )
    async def test_the_database_refuses_to_change_the_audit(self, city: City, statement: Any) -> None:
        with pytest.raises(psycopg.errors.RestrictViolation, match="only ever added"):
            async with city.hub.database.transaction(ALL_TENANTS) as connection:
                await connection.execute(statement)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"seconds": 60}, "reason: a text of 1 to 1000 characters is expected"),
            ({"reason": "x"}, "until: either until or seconds is expected"),
            ({"reason": "x", "seconds": 0}, "seconds: a number above 0 is expected"),
            ({"reason": "x", "seconds": 9e6}, "until: it is not within the next 7 days"),
            ({"reason": "x", "seconds": 60, "for": 1}, "for: unknown member"),
        ],
    )
    async def test_what_is_missing_is_said(self, city: City, body: dict[str, Any], message: str) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        alarm_id = (await city.alarm())["alarmId"]
        assert message in (await city.post(f"/alarms/{alarm_id}/shelve", body, 400))["detail"]

    async def test_five_who_acknowledge_at_once_are_one_step_and_one_line(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        path = f"/alarms/{(await city.alarm())['alarmId']}/acknowledge"
        answers = await asyncio.gather(*(city.post(path, {"by": name}) for name in "ABCDE"))
        assert len({answer["acknowledgedBy"] for answer in answers}) == 1
        assert await city.steps() == ["raised", "acknowledged"]
        actions = [entry["action"] for entry in (await city.get("/audit"))["entries"]]
        assert actions.count("alarm.acknowledged") == 1

    async def test_nothing_is_done_to_a_cleared_alarm(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        alarm_id = (await city.alarm())["alarmId"]
        await city.measure(BRIDGE, 1, 0.5)
        assert (await city.post(f"/alarms/{alarm_id}/acknowledge", {}, 409))["title"]
        await city.post("/alarms/none/acknowledge", {}, 404)

    async def test_another_tenant_sees_nothing(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 1.5)
        alarm_id = (await city.alarm())["alarmId"]
        other = {"NGSILD-Tenant": "other"}
        created = await city.http.post("/ngsi-ld/v1/entities", json={"id": "urn:x:1", "type": "T"}, headers=other)
        assert created.status_code == 201
        for path in ("/alarms", "/alarms/steps", "/incidents", "/audit"):
            answer = await city.http.get(f"/api/v1{path}?state=all", headers=other)
            assert list(answer.json().values()) == [[]]
        answer = await city.http.post(f"/api/v1/alarms/{alarm_id}/acknowledge", json={}, headers=other)
        assert answer.status_code == 404


class TestConditions:
    async def test_other_stations_can_decide(self, city: City) -> None:
        of = [{"level": {"atLeast": 1.0, "entity": entity}} for entity in (BRIDGE, WEIR)]
        when = {"some": {"count": 2, "of": of}}
        await city.put_rule(entities={"ids": [BRIDGE]}, levels=[{"stage": "danger", "when": when}])
        await city.measure(BRIDGE, 0, 1.5)
        assert await city.steps() == []
        await city.measure(WEIR, 1, 1.5)
        alarm = await city.alarm()
        assert (alarm["entityId"], alarm["stage"], alarm["threshold"]) == (BRIDGE, "danger", None)
        (alert,) = (await city.get("/alerts"))["alerts"]
        assert (alert["threshold"], [measure["value"] for measure in alert["measures"]]) == (None, [1.5, 1.5])

    async def test_what_only_others_decided_is_withdrawn_like_anything_else(self, city: City) -> None:
        when = {"level": {"atLeast": 1.0, "entity": WEIR}}
        await city.put_rule(entities={"ids": [BRIDGE]}, levels=[{"stage": "danger", "when": when}])
        made = await city.http.post("/ngsi-ld/v1/entities", json={"id": BRIDGE, "type": MODEL + "WaterObserved"})
        assert made.status_code == 201
        await city.measure(WEIR, 1, 1.5)
        assert await city.steps() == ["raised"]
        await city.put_rule(entities={"ids": [BRIDGE]}, enabled=False)
        assert await city.steps() == ["raised", "withdrawn"]

    async def test_a_cap_message_of_a_condition_says_what_was_compared(self, city: City) -> None:
        when = {"level": {"atLeast": 1.0}}
        await city.put_rule(levels=[{"stage": "danger", "when": when}])
        await city.measure(BRIDGE, 0, 1.5)
        (alert,) = (await city.get("/alerts"))["alerts"]
        text = (await city.http.get(f"/api/v1/alerts/{alert['id']}/cap")).text
        assert "<valueName>level</valueName><value>1.5</value>" in text and "None" not in text

    async def test_silence_is_no_cap_message(self, city: City) -> None:
        await city.put_rule(noData={"after": 600})
        await city.measure(BRIDGE, 0, 0.5)
        await city.let_time_pass(at(90))
        (alert,) = (await city.get("/alerts"))["alerts"]
        assert alert["stage"] == "no_data"
        assert (await city.http.get(f"/api/v1/alerts/{alert['id']}/cap")).status_code == 404

    async def test_a_scope_narrows_a_type(self, city: City) -> None:
        await city.put_rule(entities={"type": "WaterObserved", "scope": "/tomoe/#"})
        await city.measure(BRIDGE, 0, 1.5, scope="/abe")
        await city.measure(WEIR, 0, 1.5, scope="/tomoe/lower")
        assert (await city.alarm())["entityId"] == WEIR

    async def test_a_suspect_value_waits_for_the_next(self, city: City) -> None:
        quality = {"type": "Property", "value": "suspect"}
        level = {"type": "Property", "value": 7.6, "observedAt": to_text(at(1)), "quality": quality}
        await city.measure(BRIDGE, 0, 0.5)
        await city.measure(BRIDGE, 1, 7.6, **{MODEL + "waterLevel": level})
        assert await city.steps() == []
        await city.measure(BRIDGE, 2, 2.6)
        assert await city.steps() == ["raised"]


class TestLongAlerts:
    async def messages(self, city: City) -> list[str]:
        """Descriptions in the feed of CAP messages, the oldest first."""
        feed = etree.fromstring((await city.http.get("/api/v1/alerts/cap?status=Test")).content)
        return [str(node.text) for node in feed.iter("{http://www.w3.org/2005/Atom}summary")][::-1]

    async def test_a_message_is_sent_again_before_it_expires_once_however_many_look(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 2.5)
        now = datetime.now(UTC)
        for hours in (21, 22, 22, 23):
            await city.let_time_pass(now + timedelta(hours=hours))
        first, again = await self.messages(city)
        assert again.startswith("【試験】アラートが続いているため、あらためてお知らせします。")
        assert again.endswith(first.splitlines()[-1].removeprefix("[TEST] "))
        await city.let_time_pass(now + timedelta(hours=44))
        assert len(await self.messages(city)) == 3

    async def test_it_is_an_update_of_the_chain_that_ends_as_ever(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 2.5)
        alert = (await city.get("/alerts"))["alerts"][0]
        await city.let_time_pass(datetime.now(UTC) + timedelta(hours=22))
        text = (await city.http.get(f"/api/v1/alerts/{alert['id']}/cap")).text
        assert "<msgType>Update</msgType>" in text and text.count("<references>") == 1
        assert (await city.get("/alerts"))["alerts"][0]["status"] == "raised"
        await city.measure(BRIDGE, 1, 0.5)
        await city.let_time_pass(datetime.now(UTC) + timedelta(hours=50))
        assert len(await self.messages(city)) == 3

    async def test_what_is_calm_is_not_told_again(self, city: City) -> None:
        await city.measure(BRIDGE, 0, 2.5)
        await city.measure(BRIDGE, 1, 0.5)
        await city.let_time_pass(datetime.now(UTC) + timedelta(hours=50))
        assert len(await self.messages(city)) == 2


class TestFiles:
    async def test_rules_go_out_as_yaml_and_come_back(self, city: City) -> None:
        text = (await city.http.get("/api/v1/alert-rules", headers={"Accept": "application/yaml"})).text
        await city.http.delete("/api/v1/alert-rules/tomoe")
        answer = await city.http.post(
            "/api/v1/alert-rules/import", content=text.encode(), headers={"Content-Type": "application/yaml"}
        )
        assert answer.json() == {
            "rules": [{"id": "tomoe", "created": True, "warnings": []}],
            "removed": [],
            "dryRun": False,
        }
        assert (await city.http.get("/api/v1/alert-rules?format=yaml")).text == text

    async def test_all_rules_or_none(self, city: City) -> None:
        bad = RULE | {"id": "bad", "hysteresis": -1}
        answer = await city.post("/alert-rules/import", {"rules": [RULE | {"id": "good"}, bad]}, 400)
        assert answer["detail"].startswith("rules[1].hysteresis: -1 is below 0")
        assert [rule["id"] for rule in (await city.get("/alert-rules"))["rules"]] == ["tomoe"]

    async def test_replacing_removes_the_others_and_a_dry_run_only_says_so(self, city: City) -> None:
        new = [RULE | {"id": "new"}]
        tried = await city.post("/alert-rules/import?replace=true&dryRun=true", new)
        assert (tried["removed"], [rule["id"] for rule in (await city.get("/alert-rules"))["rules"]]) == (
            ["tomoe"],
            ["tomoe"],
        )
        await city.post("/alert-rules/import?replace=true", new)
        assert [rule["id"] for rule in (await city.get("/alert-rules"))["rules"]] == ["new"]

    async def test_thresholds_that_do_not_ascend_are_imported_with_a_warning_and_evaluated(self, city: City) -> None:
        levels = [{"stage": "caution", "threshold": 3.0}, {"stage": "danger", "threshold": 2.0}]
        answer = await city.post("/alert-rules/import", [RULE | {"id": "tomoe", "levels": levels}])
        assert answer["rules"][0]["warnings"] == ["levels[1].threshold: 2 (danger) is not above 3 (caution)"]
        await city.measure(BRIDGE, 0, 2.5)
        assert (await city.alarm())["stagesRaised"] == ["danger"]


class TestReplay:
    async def test_it_tells_what_was_told_live(self, city: City) -> None:
        for minute, value in enumerate((0.5, 1.5, 2.5, 2.4, 1.5, 0.5)):
            await city.measure(BRIDGE, minute, value)
        answer = await city.post("/alert-rules/replay", {"from": to_text(at(-1)), "to": to_text(at(10))})
        (station,) = answer["stations"]
        live = [step["kind"] for step in (await city.get("/alarms/steps"))["steps"]]
        assert [step["kind"] for step in station["steps"]] == live
        assert (station["readings"], station["raised"]) == (6, [])
        assert max(value for value in station["curve"] if value is not None) == 2.5

    async def test_other_rules_can_be_tried_and_change_nothing(self, city: City) -> None:
        for minute, value in enumerate((0.5, 0.8, 0.5)):
            await city.measure(BRIDGE, minute, value)
        tried = [RULE | {"id": "tried", "levels": [{"stage": "caution", "threshold": 0.7}]}]
        question = {"from": to_text(at(-1)), "to": to_text(at(10)), "rules": tried, "entityIds": [BRIDGE]}
        (station,) = (await city.post("/alert-rules/replay", question))["stations"]
        assert [alert["kind"] for alert in station["alerts"]] == ["raised", "cleared"]
        assert await city.steps() == []
        assert [rule["id"] for rule in (await city.get("/alert-rules"))["rules"]] == ["tomoe"]

    async def test_too_much_is_refused(self, database_url: str) -> None:
        async with running(database_url, rules_replay_max_readings=1000) as city:
            await city.put_rule()
            entity = {"id": BRIDGE, "type": MODEL + "WaterObserved"}
            values = [
                {"type": "Property", "value": 0.5, "observedAt": to_text(START + timedelta(seconds=n))}
                for n in range(1001)
            ]
            made = await city.http.post("/ngsi-ld/v1/temporal/entities", json=entity | {MODEL + "waterLevel": values})
            assert made.status_code == 201, made.text
            await city.measure(BRIDGE, 60, 0.5)
            question = {"from": to_text(at(-1)), "to": to_text(at(100))}
            assert "more than 1000 readings" in (await city.post("/alert-rules/replay", question, 403))["detail"]


async def test_records_are_versions_of_a_document_and_a_setting_makes_no_test_actual(
    city: City, database_url: str
) -> None:
    await city.put_rule()
    for minute, level in ((0, 1.5), (10, 2.5)):
        await city.measure(BRIDGE, minute, level)
    alarm = (await city.alarm())["alarmId"]
    await city.post(f"/alarms/{alarm}/acknowledge", {"by": "佐藤"})
    assert (await city.get("/alarms/records"))["records"] == []
    found = (await city.get("/alarms/records", status="test"))["records"]
    assert [(one["documentId"], one["version"], one["step"]) for one in found] == [
        (alarm, 1, "raised"),
        (alarm, 2, "escalated"),
    ]
    async with running(database_url, cap_status="Actual", cap_sender="minamo@city.example.jp") as live:
        await live.measure(BRIDGE, 20, 0.5)
        await live.measure(WEIR, 20, 2.5)
        actual = (await live.get("/alarms/records"))["records"]
        assert [(one["station"]["id"], one["step"]) for one in actual] == [(WEIR, "raised")]
        answer = await live.http.get("/api/v1/alarms/records", params={"status": "test", "format": "ndjson"})
        assert len(answer.text.splitlines()) == 3 and answer.headers["content-type"] == "application/x-ndjson"
        assert (await live.get("/alarms/records/schema"))["$id"] == actual[0]["schema"]

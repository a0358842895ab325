# SPDX-License-Identifier: Apache-2.0
"""Who is told about which step of an alarm."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from broker.contacts import Contact, Group, Plan, Roster, recipients
from broker.sections import read_document
from support.alarm_steps import step

NOW = datetime(2026, 6, 1, 5, 5, tzinfo=UTC)
NAMES = ("desk", "chief", "mayor", "night", "gone")


def roster(plans: dict[str, dict[str, Any]] | None = None) -> Roster:
    channels = [{"type": "mail", "address": "a@city.example.jp"}]
    contacts = {
        name: read_document(Contact, {"id": name, "name": name, "channels": channels, "enabled": name != "gone"})
        for name in NAMES
    }
    members: dict[str, list[dict[str, Any]]] = {
        "duty": [{"contact": "desk"}, {"contact": "gone"}, {"contact": "night", "from": "2026-06-01T12:00:00Z"}],
        "heads": [{"contact": "chief"}, {"contact": "desk"}],
        "top": [{"contact": "mayor"}],
    }
    groups = {name: read_document(Group, {"id": name, "name": name, "members": who}) for name, who in members.items()}
    given = plans or {"all": {"steps": [["duty"], ["heads"], ["top"]]}}
    return Roster(contacts, groups, {n: read_document(Plan, {"id": n, "name": n, **plan}) for n, plan in given.items()})


def told(document: dict[str, Any], *before: str, plans: dict[str, dict[str, Any]] | None = None) -> list[str]:
    return recipients(roster(plans), document, before, NOW)


def test_those_on_duty_are_told_first() -> None:
    assert told(step()) == ["desk"]


@pytest.mark.parametrize(("escalation", "names"), [(1, ["desk", "chief"]), (2, ["desk", "chief", "mayor"]), (9, None)])
def test_nobody_answering_brings_the_next_groups(escalation: int, names: list[str] | None) -> None:
    found = told(step("unacknowledged", escalation=escalation))
    assert found == (names or ["desk", "chief", "mayor"])


@pytest.mark.parametrize("kind", ["acknowledged", "cleared", "withdrawn", "downgraded", "escalated", "shelved"])
def test_who_knows_of_it_hears_how_it_goes_on(kind: str) -> None:
    assert told(step(kind), "mayor", "gone", "nobody") == ["desk", "mayor"]


@pytest.mark.parametrize("kind", ["downgraded", "silent", "returned"])
def test_nobody_is_told_of_what_is_shelved(kind: str) -> None:
    assert told(step(kind, status="shelved"), "desk") == []


def test_the_end_of_what_is_shelved_is_told() -> None:
    assert told(step("cleared", status="cleared")) == ["desk"]


def test_what_changes_below_the_highest_level_is_told_to_nobody() -> None:
    assert told(step("changed")) == []


@pytest.mark.parametrize(
    ("alarms", "is_told"),
    [
        ({}, True),
        ({"rules": ["levels"]}, True),
        ({"rules": ["rain"]}, False),
        ({"rivers": ["大場川"]}, True),
        ({"rivers": ["Ooba", "Kano"]}, True),
        ({"rivers": ["狩野川"]}, False),
        ({"entities": ["urn:ngsi-ld:WaterObserved:other"]}, False),
        ({"minimumStage": "danger"}, True),
        ({"minimumStage": "overflow"}, False),
    ],
)
def test_plan_is_for_the_alarms_it_names(alarms: dict[str, Any], is_told: bool) -> None:
    assert bool(told(step(), plans={"one": {"alarms": alarms, "steps": [["duty"]]}})) is is_told


def test_who_was_told_of_danger_is_told_when_it_falls_below_what_the_plan_is_for() -> None:
    fallen = step("downgraded", "caution", highestStage="danger")
    assert told(fallen, plans={"one": {"alarms": {"minimumStage": "danger"}, "steps": [["duty"]]}}) == ["desk"]


def test_silence_is_told_whatever_level_a_plan_begins_with() -> None:
    silent = step("raised", "no_data")
    assert told(silent, plans={"one": {"alarms": {"minimumStage": "danger"}, "steps": [["duty"]]}}) == ["desk"]


def test_plan_that_is_not_enabled_tells_nobody() -> None:
    assert told(step(), plans={"one": {"enabled": False, "steps": [["duty"]]}}) == []


def test_two_plans_tell_a_contact_once() -> None:
    assert told(step(), plans={"one": {"steps": [["duty"]]}, "two": {"steps": [["heads"]]}}) == ["desk", "chief"]

# SPDX-License-Identifier: Apache-2.0
"""The life of an alarm: one step for each thing that people have to know, whatever readings, people and time do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from broker.alerts import (
    Alarm,
    AlertRule,
    NoData,
    Place,
    RuleState,
    Sample,
    Step,
    Subject,
    evaluate,
    overdue,
    parse_rule,
    withdraw,
)
from broker.alerts.lifecycle import acknowledge, advance, shelve, time_passes, unshelve
from broker.alerts.replay import Replay, replay_document
from broker.alerts.steps import about_document, step_document
from broker.errors import BadRequestData, Conflict

START = datetime(2026, 6, 1, tzinfo=UTC)
STATION = "urn:ngsi-ld:A:1"
RULE = parse_rule(
    {
        "id": "r",
        "name": {"ja": "規則", "en": "rule"},
        "entities": {"ids": [STATION]},
        "attribute": "https://example.org/level",
        "levels": [
            {"stage": stage, "threshold": n + 1} for n, stage in enumerate(("caution", "evacuation_decision", "danger"))
        ],
        "clearAfter": 0,
        "escalateAfter": [600, 1800],
    }
)
SUBJECT = Subject("r", 7, STATION, RULE.escalate_after)


def minutes(number: float) -> datetime:
    return START + timedelta(minutes=number)


class Life:
    """An alarm under readings, one minute after the other."""

    def __init__(self, rule: AlertRule = RULE) -> None:
        self.rule = rule
        self.state = RuleState()
        self.alarm: Alarm | None = None
        self.steps: list[Step] = []

    def read(self, *values: float) -> list[str]:
        for value in values:
            at = minutes(len(self.steps) + 1) if self.state.newest is None else self.state.newest + timedelta(minutes=1)
            self.state, decisions = evaluate(self.rule, self.state, Sample(at, value))
            self.follow(advance(self.alarm, SUBJECT, decisions, self.state.raised, at))
        return [step.kind for step in self.steps]

    def follow(self, steps: list[Step]) -> None:
        self.steps += steps
        for step in steps:
            self.alarm = step.alarm if step.alarm.cleared_at is None else None

    @property
    def open(self) -> Alarm:
        assert self.alarm is not None
        return self.alarm


class TestReadings:
    def test_a_flood_is_raised_escalated_downgraded_and_cleared(self) -> None:
        life = Life()
        kinds = life.read(0.5, 1.5, 2.5, 3.5, 2.5, 1.5, 0.5)
        assert kinds == ["raised", "escalated", "escalated", "downgraded", "downgraded", "cleared"]
        assert [step.alarm.stage for step in life.steps][-1] == "danger"

    def test_a_jump_over_all_levels_is_one_step_that_names_them(self) -> None:
        life = Life()
        assert life.read(9.0) == ["raised"]
        decision = life.steps[0].decision
        assert decision is not None
        assert decision.stages_crossed == ("caution", "evacuation_decision", "danger")
        assert (life.open.stage, life.open.stages) == ("danger", decision.stages_crossed)

    def test_two_floods_are_two_alarms(self) -> None:
        life = Life()
        life.read(1.5, 0.5, 1.5)
        assert life.steps[0].alarm.alarm_id != life.steps[2].alarm.alarm_id

    def test_a_withdrawn_rule_is_told_as_such(self) -> None:
        life = Life()
        life.read(1.5)
        _, decisions = withdraw(life.state, minutes(9))
        (step,) = advance(life.alarm, SUBJECT, decisions, (), minutes(9))
        assert (step.kind, step.alarm.status) == ("withdrawn", "cleared")

    def test_silence_in_a_flood_is_flooded_and_unknown_until_it_is_heard(self) -> None:
        life = Life()
        life.read(2.5)
        life.state, decisions = overdue(RULE, life.state, minutes(600))
        life.follow(advance(life.alarm, SUBJECT, decisions, life.state.raised, minutes(600)))
        assert (life.open.is_unknown, life.open.stage, life.open.status) == (True, "evacuation_decision", "open")
        assert life.read(2.5) == ["raised", "silent", "returned"]
        assert not life.open.is_unknown

    def test_what_began_before_there_were_alarms_ends_without_a_step(self) -> None:
        state, _ = evaluate(RULE, RuleState(), Sample(minutes(0), 1.5))
        state, decisions = evaluate(RULE, state, Sample(minutes(1), 0.5))
        assert advance(None, SUBJECT, decisions, state.raised, minutes(1)) == []


class TestPeople:
    def test_acknowledging_stops_the_escalation_and_is_noted_once(self) -> None:
        life = Life()
        life.read(1.5)
        step = acknowledge(life.open, "佐藤", minutes(5), "現地へ")
        assert step is not None
        assert (step.alarm.status, step.alarm.acknowledged_by, step.alarm.escalate_at) == ("acknowledged", "佐藤", None)
        assert acknowledge(step.alarm, "鈴木", minutes(6)) is None
        assert time_passes(step.alarm, minutes(999)) is None

    def test_a_higher_level_asks_again(self) -> None:
        life = Life()
        life.read(1.5)
        seen = acknowledge(life.open, "佐藤", minutes(1))
        assert seen is not None
        life.alarm = seen.alarm
        life.read(2.5)
        assert (life.open.status, life.open.acknowledged_by, life.open.escalation) == ("open", None, 0)

    def test_a_lower_level_does_not(self) -> None:
        life = Life()
        life.read(2.5)
        seen = acknowledge(life.open, "佐藤", minutes(1))
        assert seen is not None
        life.alarm = seen.alarm
        life.read(1.5)
        assert (life.open.status, life.open.acknowledged_by) == ("acknowledged", "佐藤")

    @pytest.mark.parametrize(
        ("reason", "until", "message"),
        [
            (" ", 60, "reason: shelving needs one"),
            ("点検", -1, "until: it is not within the next 7 days"),
            ("点検", 7 * 24 * 60 + 1, "until: it is not within the next 7 days"),
        ],
    )
    def test_shelving_needs_a_reason_and_an_end(self, reason: str, until: float, message: str) -> None:
        life = Life()
        life.read(1.5)
        with pytest.raises(BadRequestData, match=message):
            shelve(life.open, "佐藤", reason, minutes(until), minutes(0))

    def test_a_shelf_ends_by_its_time(self) -> None:
        life = Life()
        life.read(1.5)
        shelved = shelve(life.open, "佐藤", "点検", minutes(60), minutes(2)).alarm
        assert time_passes(shelved, minutes(59)) is None
        step = time_passes(shelved, minutes(60))
        assert step is not None
        assert (step.kind, step.reason, step.alarm.status) == ("unshelved", "expired", "open")
        assert step.alarm.escalate_at == minutes(70)

    def test_what_gets_worse_is_on_no_shelf(self) -> None:
        life = Life()
        life.read(1.5)
        life.alarm = shelve(life.open, "佐藤", "点検", minutes(60), minutes(2)).alarm
        assert life.read(3.5)[-1] == "escalated"
        assert (life.open.status, life.open.shelved_until) == ("open", None)

    def test_nothing_can_be_done_to_what_is_cleared(self) -> None:
        life = Life()
        life.read(1.5, 0.5)
        cleared = life.steps[-1].alarm
        for deed in (
            lambda: acknowledge(cleared, "x", minutes(9)),
            lambda: shelve(cleared, "x", "y", minutes(10), minutes(9)),
            lambda: unshelve(cleared, "x", minutes(9)),
        ):
            with pytest.raises(Conflict):
                deed()


class TestTime:
    def test_nobody_acknowledges(self) -> None:
        life = Life()
        life.read(1.5)
        alarm, base = life.open, life.open.escalation_base
        assert time_passes(alarm, base + timedelta(seconds=599)) is None
        first = time_passes(alarm, base + timedelta(seconds=600))
        assert first is not None
        assert (first.kind, first.alarm.escalation) == ("unacknowledged", 1)
        assert time_passes(first.alarm, base + timedelta(seconds=1799)) is None
        second = time_passes(first.alarm, base + timedelta(seconds=1800))
        assert second is not None
        assert (second.alarm.escalation, second.alarm.escalate_at) == (2, None)

    def test_a_hub_that_was_away_for_hours_makes_each_step_once(self) -> None:
        life = Life()
        life.read(1.5)
        alarm, steps = life.open, 0
        while (step := time_passes(alarm, minutes(9999))) is not None:
            alarm, steps = step.alarm, steps + 1
        assert steps == 2

    def test_a_rule_without_escalation_never_escalates(self) -> None:
        _, decisions = evaluate(RULE, RuleState(), Sample(minutes(0), 1.5))
        (step,) = advance(None, replace(SUBJECT, escalate_after=()), decisions, ("caution",), minutes(0))
        assert time_passes(step.alarm, minutes(9999)) is None


def test_a_step_is_facts_without_sentences() -> None:
    life = Life()
    life.read(9.0)
    place = Place(STATION, "巴橋", "Tomoe Bridge", None, "巴川", "Tomoe")
    document = step_document(life.steps[0], about_document(RULE, place), minutes(3))
    assert not [name for name in document if "headline" in name.lower() or "description" in name.lower()]
    assert document["river"] == {"ja": "巴川", "en": "Tomoe"}
    assert (document["kind"], document["stage"], document["value"], document["threshold"]) == (
        "raised",
        "danger",
        9.0,
        3.0,
    )
    assert document["stagesCrossed"] == ["caution", "evacuation_decision", "danger"]


def test_a_replay_tells_what_would_have_happened_with_silence_at_its_time() -> None:
    replay = Replay(parse_rule_with_no_data(), STATION)
    for minute, value in ((0, 0.5), (10, 3.5), (100, 3.5), (110, 0.5)):
        replay.count(Sample(minutes(minute), value))
    replay.finish(minutes(1000))
    document = replay_document(replay)
    told = [(alert["kind"], alert["stage"], alert["at"]) for alert in document["alerts"]]
    assert told == [
        ("raised", "caution", "2026-06-01T00:10:00Z"),
        ("raised", "evacuation_decision", "2026-06-01T00:10:00Z"),
        ("raised", "danger", "2026-06-01T00:10:00Z"),
        ("silent", "danger", "2026-06-01T01:10:00Z"),
        ("returned", "danger", "2026-06-01T01:40:00Z"),
        ("cleared", "danger", "2026-06-01T01:50:00Z"),
        ("cleared", "evacuation_decision", "2026-06-01T01:50:00Z"),
        ("cleared", "caution", "2026-06-01T01:50:00Z"),
        ("raised", "no_data", "2026-06-01T03:50:00Z"),
    ]
    assert [step["kind"] for step in document["steps"]] == ["raised", "silent", "returned", "cleared", "raised"]


def parse_rule_with_no_data() -> AlertRule:
    return replace(RULE, no_data=NoData(timedelta(hours=2)))

# SPDX-License-Identifier: Apache-2.0
"""What keeps alerts trustworthy: suspect values, flapping, silence, thresholds with dates, datums and stations."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.alerts import (
    AlertDecision,
    AlertRule,
    RuleState,
    Sample,
    any_sample_of,
    due_at,
    evaluate,
    overdue,
    parse_rule,
    parse_state,
    rule_document,
    state_document,
    warnings_of,
)
from broker.errors import BadRequestData
from broker.quality import quality_attributes

START = datetime(2026, 6, 1, tzinfo=UTC)
STATION = "urn:ngsi-ld:A:1"


def make_document(**members: Any) -> dict[str, Any]:
    return {
        "id": "r",
        "name": {"ja": "規則", "en": "rule"},
        "enabled": True,
        "entities": {"ids": [STATION]},
        "attribute": "https://example.org/level",
        "unitCode": "MTR",
        "levels": [{"stage": "caution", "threshold": 1.0}, {"stage": "danger", "threshold": 2.0}],
        "hysteresis": 0.1,
        "clearAfter": 0.0,
    } | members


def make_rule(**members: Any) -> AlertRule:
    return parse_rule(make_document(**members))


def at(minutes: float, value: float, **members: Any) -> Sample:
    return Sample(START + timedelta(minutes=minutes), value, **members)


def run(rule: AlertRule, *samples: Sample, state: RuleState | None = None) -> tuple[RuleState, list[AlertDecision]]:
    state = state or RuleState()
    told: list[AlertDecision] = []
    for sample in samples:
        state, decisions = evaluate(rule, state, sample)
        state = parse_state(state_document(state))
        told += decisions
    return state, told


def shown(decisions: list[AlertDecision]) -> list[tuple[str, str, float]]:
    return [(d.kind, d.stage, (d.observed_at - START).total_seconds() / 60) for d in decisions]


class TestSuspect:
    def test_a_single_suspect_value_raises_nothing(self) -> None:
        _, told = run(make_rule(), at(0, 0.2), at(5, 7.6, suspect=True), at(10, 0.2))
        assert told == []

    def test_the_next_good_value_confirms_at_once(self) -> None:
        _, told = run(make_rule(), at(0, 0.2), at(5, 7.6, suspect=True), at(10, 2.5))
        assert shown(told) == [("raised", "caution", 10), ("raised", "danger", 10)]

    def test_the_next_suspect_value_decides_too_and_says_so(self) -> None:
        _, told = run(make_rule(), at(5, 1.6, suspect=True), at(10, 1.7, suspect=True))
        assert shown(told) == [("raised", "caution", 10)]
        assert told[0].suspect

    def test_a_single_suspect_low_value_clears_nothing(self) -> None:
        _, told = run(make_rule(), at(0, 1.5), at(5, -9.0, suspect=True), at(10, 1.5))
        assert shown(told) == [("raised", "caution", 0)]

    def test_a_spike_is_no_peak(self) -> None:
        state, _ = run(make_rule(), at(0, 1.5), at(5, 7.6, suspect=True))
        assert state.levels["caution"].peak == 1.5

    @pytest.mark.parametrize(("quality", "is_sample"), [("good", True), ("missing", False), ("maintenance", False)])
    def test_what_is_missing_or_under_maintenance_is_no_sample(self, quality: str, is_sample: bool) -> None:
        instance = {
            "type": "Property",
            "value": 1.0,
            "observedAt": "2026-06-01T00:00:00Z",
            "attrs": quality_attributes(quality),
        }
        assert (any_sample_of(instance) is not None) is is_sample

    def test_a_value_called_suspect_is_a_suspect_sample(self) -> None:
        attrs = quality_attributes("suspect", ("spike",))
        found = any_sample_of({"type": "Property", "value": 1, "observedAt": "2026-06-01T00:00:00Z", "attrs": attrs})
        assert found is not None
        assert found.suspect


class TestFlapping:
    def test_from_the_fourth_raise_within_an_hour_on_the_level_stays(self) -> None:
        values = [at(2 * n, 1.2 if n % 2 else 0.5) for n in range(1, 20)]
        _, told = run(make_rule(), *values)
        assert [decision.kind for decision in told] == ["raised", "cleared"] * 3 + ["raised"]
        assert [decision.unstable for decision in told] == [False] * 6 + [True]

    def test_an_unstable_level_clears_once_after_a_calm_hour(self) -> None:
        values = [at(2 * n, 1.2 if n % 2 else 0.5) for n in range(1, 9)]
        _, told = run(make_rule(), *values, *(at(16 + 5 * n, 0.5) for n in range(1, 30)))
        assert shown(told)[-1] == ("cleared", "caution", 76)
        assert len(told) == 8

    def test_slow_changes_are_no_flapping(self) -> None:
        _, told = run(make_rule(), *(at(25 * n, 1.2 if n % 2 else 0.5) for n in range(1, 20)))
        assert [decision.unstable for decision in told] == [False] * 19

    def test_it_can_be_switched_off(self) -> None:
        _, told = run(make_rule(flapping=None), *(at(n, 1.2 if n % 2 else 0.5) for n in range(1, 20)))
        assert len(told) == 19


class TestSilence:
    def test_a_flooded_station_that_falls_silent_is_unknown_and_stays_flooded(self) -> None:
        rule = make_rule()
        state, _ = run(rule, at(0, 2.5))
        assert due_at(rule, state) == START + timedelta(hours=1)
        state, told = overdue(rule, state, START + timedelta(hours=9))
        assert shown(told) == [("silent", "danger", 60)]
        assert state.raised == ("caution", "danger")
        assert due_at(rule, state) is None

    def test_it_is_heard_again_once(self) -> None:
        rule = make_rule()
        state, _ = overdue(rule, run(rule, at(0, 2.5))[0], START + timedelta(hours=2))
        assert shown(run(rule, at(125, 2.4), at(130, 2.4), state=state)[1]) == [("returned", "danger", 125)]

    def test_a_calm_station_without_a_rule_for_it_may_be_silent(self) -> None:
        rule = make_rule()
        assert due_at(rule, run(rule, at(0, 0.5))[0]) is None

    def test_no_data_is_raised_at_the_moment_it_was_due_and_cleared_by_the_next_value(self) -> None:
        rule = make_rule(noData={"after": 1200})
        state, told = overdue(rule, run(rule, at(0, 0.5))[0], START + timedelta(days=1))
        assert shown(told) == [("raised", "no_data", 20)]
        assert shown(run(rule, at(300, 0.5), state=state)[1]) == [("cleared", "no_data", 300)]

    def test_the_limit_depends_on_the_last_level(self) -> None:
        rule = make_rule(noData={"after": 90_000, "activeAfter": 1200, "activeFrom": 0.8})
        assert due_at(rule, run(rule, at(0, 0.5))[0]) == START + timedelta(seconds=90_000)
        assert due_at(rule, run(rule, at(0, 0.8))[0]) == START + timedelta(seconds=1200)

    def test_a_sensor_that_falls_silent_under_water_can_raise_a_level(self) -> None:
        rule = make_rule(noData={"after": 1200, "stage": "danger"}, clearAfter=600)
        state, told = overdue(rule, run(rule, at(0, 0.5))[0], START + timedelta(minutes=30))
        assert shown(told) == [("raised", "danger", 20)]
        assert shown(run(rule, at(40, 0.5), at(45, 0.5), at(50, 0.5), state=state)[1]) == [("cleared", "danger", 50)]

    def test_silence_while_flooded_is_told_once_however_often_it_is_looked_at(self) -> None:
        rule = make_rule(noData={"after": 1200})
        state, told = overdue(rule, run(rule, at(0, 1.5))[0], START + timedelta(days=1))
        assert shown(told) == [("raised", "no_data", 20), ("silent", "caution", 60)]
        assert overdue(rule, state, START + timedelta(days=2)) == (state, [])

    def test_a_rule_may_be_about_silence_alone(self) -> None:
        document = {name: value for name, value in make_document(noData={"after": 60}).items() if name != "levels"}
        rule = parse_rule(document)
        assert shown(overdue(rule, run(rule, at(0, 9.9))[0], START + timedelta(hours=1))[1]) == [
            ("raised", "no_data", 1)
        ]


class TestLevels:
    def test_a_level_that_a_station_does_not_have_is_null(self) -> None:
        rule = make_rule(levels=[{"stage": "critical", "threshold": None}, {"stage": "overflow_start", "threshold": 3}])
        assert shown(run(rule, at(0, 9.0))[1]) == [("raised", "overflow_start", 0)]
        assert rule_document(rule)["levels"][0] == {"stage": "critical", "threshold": None}

    def test_the_stages_of_simple_gauges_have_an_order(self) -> None:
        stages = ("observation_start", "critical", "overflow_start")
        rule = make_rule(levels=[{"stage": stage, "threshold": n} for n, stage in enumerate(stages)])
        _, told = run(rule, at(0, 5.0))
        assert told[-1].stages_crossed == stages

    def test_thresholds_hold_from_their_date_on(self) -> None:
        change = "2026-06-01T01:00:00Z"
        old = {"stage": "danger", "threshold": 2.0, "to": change}
        new = {"stage": "danger", "threshold": 3.0, "from": change}
        rule = make_rule(levels=[old, new])
        assert shown(run(rule, at(59, 2.5))[1]) == [("raised", "danger", 59)]
        assert shown(run(rule, at(60, 2.5))[1]) == []
        assert rule_document(rule)["levels"] == [old, new]

    def test_an_alert_that_is_open_when_the_threshold_changes_goes_by_the_new_one(self) -> None:
        change = "2026-06-01T01:00:00Z"
        levels = [
            {"stage": "danger", "threshold": 2.0, "to": change},
            {"stage": "danger", "threshold": 3.0, "from": change},
        ]
        _, told = run(make_rule(levels=levels), at(59, 2.5), at(61, 2.5))
        assert [(d.kind, d.withdrawn) for d in told] == [("raised", False), ("cleared", False)]

    def test_two_entries_of_one_stage_at_one_time_are_refused(self) -> None:
        levels = [
            {"stage": "danger", "threshold": 2.0},
            {"stage": "danger", "threshold": 3.0, "from": "2026-06-01T00:00:00Z"},
        ]
        with pytest.raises(BadRequestData, match=r"^levels\[1\]\.stage: danger does not come after danger$"):
            make_rule(levels=levels)

    def test_thresholds_from_a_datum_are_turned_to_the_zero_of_the_gauge(self) -> None:
        levels = [{"stage": "danger", "threshold": 13.42}]
        rule = make_rule(levels=levels, reference="TP", zeroPoint=10.22)
        assert rule.levels[0].threshold == 3.2
        assert rule_document(rule)["levels"] == levels

    def test_without_the_zero_point_nothing_can_be_compared_and_that_is_said(self) -> None:
        rule = make_rule(reference="TP")
        assert shown(run(rule, at(0, 99.0))[1]) == []
        assert warnings_of(rule) == ["zeroPoint: thresholds from TP cannot be compared without it"]

    def test_thresholds_that_do_not_ascend_are_imported_with_a_warning(self) -> None:
        document = make_document(levels=[{"stage": "caution", "threshold": 2.0}, {"stage": "danger", "threshold": 1.5}])
        rule = parse_rule(document, strict=False)
        assert warnings_of(rule) == ["levels[1].threshold: 1.5 (danger) is not above 2 (caution)"]
        assert shown(run(rule, at(0, 1.7))[1]) == [("raised", "danger", 0)]


class TestTemplates:
    OTHER = "urn:ngsi-ld:A:2"

    def template(self) -> AlertRule:
        return make_rule(
            entities={"type": "https://example.org/A", "scope": "/river/tomoe/#"},
            overrides={
                self.OTHER: {"levels": [{"stage": "danger", "threshold": 5.0}]},
                "urn:x:off": {"enabled": False},
            },
        )

    def test_what_a_station_has_of_its_own_replaces_the_template(self) -> None:
        rule = self.template()
        assert shown(run(rule.for_entity(self.OTHER), at(0, 4.0))[1]) == []
        assert shown(run(rule.for_entity(STATION), at(0, 4.0))[1]) == [
            ("raised", "caution", 0),
            ("raised", "danger", 0),
        ]
        assert run(rule.for_entity("urn:x:off"), at(0, 9.0))[1] == []

    def test_the_rest_of_the_template_stays(self) -> None:
        assert self.template().for_entity(self.OTHER).hysteresis == 0.1

    def test_a_template_is_written_as_it_was_read(self) -> None:
        rule = self.template()
        assert parse_rule(rule_document(rule)) == rule

    @pytest.mark.parametrize(
        ("scopes", "watched"), [(("/river/tomoe/upper",), True), (("/river/abe",), False), ((), False)]
    )
    def test_a_scope_narrows_a_type(self, scopes: tuple[str, ...], watched: bool) -> None:
        assert self.template().entities.matches("urn:any", ("https://example.org/A",), scopes) is watched

    def test_an_override_of_the_attribute_is_refused(self) -> None:
        with pytest.raises(BadRequestData, match=r"^overrides\.urn:x:1\.attribute: unknown member"):
            make_rule(overrides={"urn:x:1": {"attribute": "https://example.org/other"}})

    def test_a_fault_in_an_override_is_found_by_its_path(self) -> None:
        with pytest.raises(BadRequestData) as caught:
            make_rule(overrides={"urn:x:1": {"hysteresis": -1}})
        assert caught.value.detail == "overrides.urn:x:1.hysteresis: -1 is below 0"


def test_states_with_everything_are_read_as_they_were_written() -> None:
    rule = make_rule(levels=[{"stage": "danger", "when": {"rise": {"atLeast": 1, "over": 600}}}], noData={"after": 60})
    state, _ = run(rule, at(0, 1.0), at(5, 1.1, suspect=True))
    state, _ = overdue(rule, state, START + timedelta(hours=1))
    state = replace(state, silent=True)
    assert parse_state(state_document(state)) == state

# SPDX-License-Identifier: Apache-2.0
"""The quality tests one by one, their parameters, and how a judgement stands in an instance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from broker.quality import (
    Checks,
    Flag,
    GapRule,
    Kind,
    QualityParameters,
    Reason,
    checks_for,
    is_doubtful,
    judge,
    judge_alone,
    judgement_of,
    kind_of,
    past_of,
    quality_attributes,
)
from support.quality import JudgedSeries, instance_of

LEVEL = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
START = datetime(2026, 6, 1, tzinfo=UTC)
CHECKS = checks_for(LEVEL, "MTR", QualityParameters(valid=(-1.0, 5.0)))


def minutes(number: float) -> datetime:
    return START + timedelta(minutes=number)


def judged(values: list[float], checks: Checks = CHECKS, step: float = 10) -> list[tuple[str, list[str]]]:
    """What is finally said of readings every ``step`` minutes."""
    series = JudgedSeries(checks)
    for number, value in enumerate(values):
        series.take(minutes(step * number), value)
    return [(str(flag), [str(reason) for reason in reasons]) for _, flag, reasons in series.verdicts.values()]


GOOD: tuple[str, list[str]] = ("good", [])


class TestRange:
    def test_both_ends_of_the_valid_range_are_good(self) -> None:
        assert judge(CHECKS, None, 5.0, START, None).flag == judge(CHECKS, None, -1.0, START, None).flag == Flag.GOOD

    def test_negative_levels_are_legal(self) -> None:
        assert judged([-0.3, -0.31]) == [GOOD, GOOD]

    def test_outside_of_the_valid_range_is_suspect(self) -> None:
        assert judged([5.01]) == [("suspect", ["range"])]

    def test_what_cannot_be_is_suspect_for_that_reason_alone(self) -> None:
        assert judged([1.0, -9999.0, 1.0]) == [GOOD, ("suspect", ["gross"]), GOOD]


class TestSpike:
    def test_one_sample_that_comes_back_stays_suspect(self) -> None:
        assert judged([1.0, 3.0, 1.0]) == [GOOD, ("suspect", ["spike"]), GOOD]

    def test_a_jump_that_holds_is_real_and_so_was_its_first_reading(self) -> None:
        assert judged([1.0, 3.0, 3.1]) == [GOOD, ("good", ["confirmed"]), ("good", ["step"])]

    def test_a_rise_faster_than_the_limit_is_held_back_for_one_reading(self) -> None:
        flags = [flag for flag, _ in judged([0.0, 1.5, 3.0, 4.5])]
        series = JudgedSeries(CHECKS)
        at_once = []
        for number, value in enumerate([0.0, 1.5, 3.0]):
            series.take(minutes(10 * number), value)
            at_once.append(series.flags()[minutes(10 * number)])
        assert flags[:3] == ["good", "good", "good"]
        assert at_once == ["good", "suspect", "good"]

    def test_up_and_down_is_never_confirmed(self) -> None:
        assert [flag for flag, _ in judged([2.0, 4.5, 0.0, 4.5, 2.0], step=4)] == ["good", *["suspect"] * 3, "good"]

    def test_a_real_jump_of_a_slow_sensor_is_confirmed_too(self) -> None:
        assert judged([1.0, 2.2, 2.2], step=14)[1] == ("good", ["confirmed"])

    def test_after_a_long_pause_any_level_may_be(self) -> None:
        assert judged([1.0, 4.5], step=60 * 24) == [GOOD, GOOD]

    def test_a_value_out_of_range_is_nothing_to_compare_with(self) -> None:
        assert judged([1.0, 5.5, 5.6, 1.1]) == [GOOD, *[("suspect", ["range"])] * 2, GOOD]

    def test_what_a_person_said_is_not_taken_back(self) -> None:
        said = quality_attributes(Flag.SUSPECT, ("spike",), manual=True)
        past = past_of({"value": 3.0, "observedAt": "2026-06-01T00:00:00Z", "attrs": said})
        assert past is not None
        assert not judge(CHECKS, past, 3.0, minutes(10), None).confirms


class TestRate:
    CHECKS = checks_for(LEVEL, "MTR", QualityParameters.model_validate({"spike": False}))

    def test_more_than_can_be_in_the_time_is_suspect(self) -> None:
        assert judged([1.0, 3.0, 1.0], self.CHECKS)[1] == ("suspect", ["rate"])

    def test_twice_the_time_allows_twice_the_change(self) -> None:
        assert judged([1.0, 2.9, 1.0], self.CHECKS, step=20) == [GOOD] * 3

    def test_two_readings_within_a_second_may_differ_by_noise(self) -> None:
        assert judged([1.0, 1.02], self.CHECKS, step=1 / 60) == [GOOD] * 2


class TestStuck:
    CHECKS = checks_for(LEVEL, "MTR", QualityParameters.model_validate_json('{"stuck": {"after": 1800, "above": 0.5}}'))

    def test_the_same_value_for_long_is_suspect(self) -> None:
        assert [flag for flag, _ in judged([0.8] * 5, self.CHECKS)] == ["good"] * 3 + ["suspect"] * 2

    def test_low_water_may_stand_still(self) -> None:
        assert judged([0.4] * 9, self.CHECKS) == [GOOD] * 9

    def test_it_is_over_when_the_value_moves(self) -> None:
        assert judged([0.8] * 4 + [0.801], self.CHECKS)[-1] == GOOD

    def test_without_parameters_a_level_is_never_stuck(self) -> None:
        assert judged([0.8] * 1000) == [GOOD] * 1000


class TestClockAndGap:
    def test_dated_after_its_arrival(self) -> None:
        verdict = judge(CHECKS, None, 1.0, START, START - timedelta(seconds=61))
        assert (verdict.flag, verdict.reasons) == (Flag.SUSPECT, (Reason.CLOCK,))

    def test_clocks_may_differ_by_a_minute(self) -> None:
        assert judge(CHECKS, None, 1.0, START, START - timedelta(seconds=60)).is_plain

    def test_a_wrong_clock_makes_no_value_doubtful(self) -> None:
        verdict = judge(CHECKS, None, 1.0, START, START - timedelta(minutes=4))
        assert not is_doubtful(instance_of(START, 1.0, verdict))

    def test_what_arrives_two_days_later_is_good_and_late(self) -> None:
        verdict = judge(CHECKS, None, 1.0, START, START + timedelta(hours=48))
        assert (verdict.flag, verdict.reasons) == (Flag.GOOD, (Reason.LATE,))

    def test_the_first_reading_after_a_pause_says_so(self) -> None:
        checks = checks_for(LEVEL, "MTR", usual_gap=GapRule(1200))
        assert judged([1.0, 1.0], checks, step=21)[1] == ("good", ["gap"])
        assert judged([1.0, 1.0], checks, step=20)[1] == GOOD

    def test_equal_values_around_a_gap_are_not_stuck(self) -> None:
        said = QualityParameters.model_validate_json('{"stuck": {"after": 600}}')
        checks = checks_for(LEVEL, "MTR", said, usual_gap=GapRule(1200))
        assert judged([1.0, 1.0], checks, step=21)[1] == ("good", ["gap"])
        assert judged([1.0, 1.0], checks, step=20)[1] == ("suspect", ["stuck"])

    def test_what_comes_after_newer_ones_is_judged_by_itself(self) -> None:
        assert judge_alone(CHECKS, 4.0, START, None)[:2] == (Flag.GOOD, (Reason.NOT_COMPARED,))
        assert judge_alone(CHECKS, 6.0, START, None)[:2] == (Flag.SUSPECT, (Reason.RANGE, Reason.NOT_COMPARED))


class TestMaintenance:
    def test_it_is_what_is_said_whatever_the_value(self) -> None:
        assert judge(CHECKS, None, 99.0, START, None, maintenance=True).flag == Flag.MAINTENANCE

    def test_it_is_no_reference_for_what_follows(self) -> None:
        past = judge(CHECKS, None, 1.0, START, None).past
        during = judge(CHECKS, past, 4.0, minutes(5), None, maintenance=True)
        again = past_of(instance_of(minutes(5), 4.0, during))
        assert again == during.past
        assert judge(CHECKS, again, 1.1, minutes(10), None).is_plain


class TestWords:
    @pytest.mark.parametrize(
        ("attributes", "expected"),
        [
            (quality_attributes("good"), False),
            (quality_attributes("suspect", ("spike",)), True),
            (quality_attributes("suspect", ("clock",)), False),
            (quality_attributes("suspect"), True),
            (quality_attributes("suspect", ("clock",), manual=True), True),
            (quality_attributes("estimated", ("by hand",), manual=True), False),
            (quality_attributes("maintenance"), True),
            ({}, False),
        ],
    )
    def test_which_values_are_doubtful(self, attributes: dict[str, Any], expected: bool) -> None:
        assert is_doubtful({"value": 1.0, "attrs": attributes}) is expected

    def test_a_judgement_is_read_as_it_was_written(self) -> None:
        attributes = quality_attributes("suspect", ("spike", "late"), manual=True)
        assert judgement_of({"attrs": attributes}) == ("suspect", ("spike", "late"), True)

    @pytest.mark.parametrize(
        "said",
        [
            {},
            {"type": "Property", "value": 5},
            {"type": "Property", "value": "suspect", "attrs": {}},
            quality_attributes("good", last_good=(START, 1.0)),
        ],
    )
    def test_whatever_an_api_wrote_ingest_goes_on(self, said: dict[str, Any]) -> None:
        name = "https://uri.etsi.org/ngsi-ld/default-context/"
        beside = {
            name + "lastGood": {"@none": {"type": "Property", "value": "much"}},
            name + "unchangedSince": {"@none": {"type": "Property", "value": "for long"}},
        }
        instance = {
            "value": 1.0,
            "observedAt": "2026-06-01T00:00:00Z",
            "attrs": {name + "quality": {"@none": {"attrs": beside, **said}}},
        }
        past = past_of(instance)
        assert past is not None
        assert judge(CHECKS, past, 1.1, minutes(10), None).flag == Flag.GOOD


class TestParameters:
    def test_kinds_are_known_by_name_and_unit(self) -> None:
        assert kind_of(LEVEL, "MTR") is Kind.WATER_LEVEL
        assert kind_of("https://smartdatamodels.org/dataModel.Weather/precipitation", "MMT") is Kind.RAIN
        assert kind_of("https://example.org/atmosphericPressure", None) is Kind.AIR_PRESSURE
        assert kind_of(LEVEL, "CEL") is Kind.OTHER

    def test_defaults_are_in_the_unit_of_the_value(self) -> None:
        assert checks_for(LEVEL, "CMT").spike == (100.0, 900.0)
        assert checks_for("urn:x:temperature", "KEL").valid == pytest.approx((223.15, 333.15))

    def test_false_switches_a_test_off(self) -> None:
        said = QualityParameters.model_validate_json('{"spike": false, "rate": false, "gross": false, "gap": false}')
        checks = checks_for(LEVEL, "MTR", said, usual_gap=GapRule(100))
        assert (checks.spike, checks.rate, checks.gross, checks.gap) == (None, None, None, None)

    @pytest.mark.parametrize(
        "text", ['{"spik": false}', '{"spike": {"jump": -1}}', '{"valid": [2, 1]}', '{"valid": "high"}', '{"gap": -1}']
    )
    def test_what_cannot_be_meant_is_refused(self, text: str) -> None:
        with pytest.raises(ValidationError):
            QualityParameters.model_validate_json(text)

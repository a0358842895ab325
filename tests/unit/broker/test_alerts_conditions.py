# SPDX-License-Identifier: Apache-2.0
"""Conditions: rise, time to a threshold, rain, several sensors, AND, OR, NOT; what is unknown decides nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from broker.alerts import (
    AlertRule,
    RuleState,
    Sample,
    Series,
    evaluate,
    parse_rule,
    parse_state,
    rule_document,
    state_document,
)
from broker.alerts.windows import MOST_POINTS, counted, slope_per_hour
from broker.errors import BadRequestData

LEVEL = "https://example.org/level"
RAIN = "https://example.org/rain"
GAUGE = "urn:ngsi-ld:RainGauge:1"
START = datetime(2026, 6, 1, tzinfo=UTC)


def rule_with(when: dict[str, Any], **members: Any) -> AlertRule:
    document = {
        "id": "r",
        "name": {"ja": "規則"},
        "entities": {"ids": ["urn:ngsi-ld:A:1"]},
        "attribute": LEVEL,
        "levels": [{"stage": "caution", "when": when}],
        "clearAfter": 0,
    }
    return parse_rule(document | members)


def at(minutes: float, value: float, **members: Any) -> Sample:
    return Sample(START + timedelta(minutes=minutes), value, **members)


class Run:
    """Samples counted into a rule one after the other; the state goes through its stored form each time."""

    def __init__(self, rule: AlertRule) -> None:
        self.rule = rule
        self.state = RuleState()
        self.told: list[tuple[str, float]] = []

    def count(self, *samples: Sample, series: Series | None = None) -> list[tuple[str, float]]:
        """Everything told so far: (kind, minutes)."""
        for sample in samples:
            self.state, decisions = evaluate(self.rule, self.state, sample, {series} if series else None)
            self.state = parse_state(state_document(self.state))
            self.told += [(d.kind, (d.observed_at - START).total_seconds() / 60) for d in decisions]
        return self.told


RISE = {"rise": {"atLeast": 0.6, "over": 1800}}


class TestRise:
    def test_a_steady_rise_is_told_when_half_of_the_window_is_seen(self) -> None:
        assert Run(rule_with(RISE)).count(*(at(5 * n, 0.06 * n) for n in range(8))) == [("raised", 15)]

    def test_a_slow_rise_is_not(self) -> None:
        assert Run(rule_with(RISE)).count(*(at(5 * n, 0.04 * n) for n in range(20))) == []

    def test_least_squares_are_not_moved_by_one_noisy_value_as_two_points_would_be(self) -> None:
        values = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2]
        assert Run(rule_with(RISE)).count(*(at(5 * n, value) for n, value in enumerate(values))) == []

    def test_suspect_values_do_not_count_towards_a_rate(self) -> None:
        run = Run(rule_with(RISE))
        assert run.count(*(at(5 * n, 0.01 * n) for n in range(6)), at(29, 7.6, suspect=True), at(30, 0.06)) == []

    def test_a_gap_longer_than_half_of_the_window_is_not_a_rate(self) -> None:
        assert Run(rule_with(RISE)).count(at(0, 0.0), at(60, 1.0), at(65, 2.0)) == []

    def test_slope_by_hand(self) -> None:
        assert slope_per_hour([(0, 1.0), (1800, 1.5), (3600, 2.0)], 3600) == pytest.approx(1.0)


class TestReaches:
    def test_the_time_to_a_threshold(self) -> None:
        when = {"reaches": {"threshold": 3.0, "within": 3600, "over": 1800}}
        run = Run(rule_with(when))
        # 1.2 m/h: at 20 minutes 2.0 m are missing no more than an hour, not before.
        assert run.count(*(at(5 * n, 1.6 + 0.1 * n) for n in range(6))) == [("raised", 15)]

    def test_falling_water_reaches_nothing(self) -> None:
        when = {"reaches": {"threshold": 3.0, "within": 3600, "over": 1800}}
        assert Run(rule_with(when)).count(*(at(5 * n, 2.9 - 0.1 * n) for n in range(10))) == []


class TestSum:
    WHEN: ClassVar = {"sum": {"atLeast": 30, "over": 3600, "attribute": RAIN, "entity": GAUGE}}
    SERIES = Series(RAIN, entity=GAUGE)

    def test_rain_of_an_hour(self) -> None:
        run = Run(rule_with(self.WHEN))
        run.count(at(0, 0.2))
        assert run.count(*(at(10 * n, 6.0) for n in range(1, 7)), series=self.SERIES) == [("raised", 50)]

    def test_rain_that_is_too_long_ago_does_not_count(self) -> None:
        run = Run(rule_with(self.WHEN))
        assert run.count(*(at(20 * n, 9.0) for n in range(1, 12)), series=self.SERIES) == []

    def test_a_gauge_that_is_not_heard_any_more_clears_nothing(self) -> None:
        run = Run(rule_with(self.WHEN))
        run.count(at(10, 40.0), series=self.SERIES)
        assert run.count(*(at(60 + 10 * n, 0.2) for n in range(20))) == [("raised", 10)]

    def test_a_counter_is_read_by_its_steps_also_over_a_reset(self) -> None:
        assert counted([(0, 100.0), (1, 105.0), (2, 2.0), (3, 4.0)]) == 9.0

    def test_a_window_is_bounded_and_its_sum_exact(self) -> None:
        run = Run(rule_with({"sum": {"atLeast": 3600, "over": 3600, "attribute": RAIN}}, clearAfter=1800))
        run.count(*(at(n / 60, 1.0) for n in range(1, 3700)), series=Series(RAIN))
        assert len(next(iter(run.state.memory.values()))) <= MOST_POINTS + 2
        assert run.told == [("raised", 60)]


class TestCombinations:
    A, B, C = (Series(LEVEL, entity=f"urn:ngsi-ld:S:{name}") for name in "abc")

    def some(self, count: int) -> dict[str, Any]:
        of = [{"level": {"atLeast": 1.0, "entity": f"urn:ngsi-ld:S:{name}"}} for name in "abc"]
        return {"some": {"count": count, "of": of}}

    def test_two_of_three_sensors(self) -> None:
        run = Run(rule_with(self.some(2)))
        run.count(at(0, 1.5), series=self.A)
        run.count(at(1, 0.2), series=self.B)
        assert run.told == []
        assert run.count(at(2, 1.1), series=self.C) == [("raised", 2)]

    def test_two_of_three_are_over_when_two_are_low_for_sure(self) -> None:
        run = Run(rule_with(self.some(2)))
        for minute, series in enumerate((self.A, self.B)):
            run.count(at(minute, 1.5), series=series)
        run.count(at(3, 0.2), series=self.A)
        assert run.told == [("raised", 1)]
        run.count(at(4, 0.2), series=self.C)
        assert run.told == [("raised", 1), ("cleared", 4)]

    def test_a_level_and_a_rise_or_rain_as_the_practice_of_cities_has_it(self) -> None:
        rain = {"sum": {"atLeast": 30, "over": 3600, "attribute": RAIN, "entity": GAUGE}}
        run = Run(rule_with({"all": [{"level": {"atLeast": 2.0}}, {"any": [RISE, rain]}]}))
        run.count(at(0, 2.1), at(10, 2.1))
        assert run.told == []
        assert run.count(at(11, 35.0), series=TestSum.SERIES) == [("raised", 11)]

    def test_not_has_its_hysteresis_on_the_other_side(self) -> None:
        run = Run(rule_with({"not": {"level": {"atLeast": 1.0, "hysteresis": 0.2}}}))
        run.count(at(0, 0.9))
        assert run.told == []
        assert run.count(at(1, 0.7), at(2, 0.9), at(3, 1.0)) == [("raised", 1), ("cleared", 3)]

    def test_late_values_of_another_sensor_change_nothing(self) -> None:
        run = Run(rule_with(self.some(1)))
        run.count(at(10, 0.2), at(5, 1.5), series=self.A)
        assert run.told == []

    def test_a_decision_says_what_was_compared(self) -> None:
        rule = rule_with(RISE)
        state = RuleState()
        for n in range(4):
            state, decisions = evaluate(rule, state, at(5 * n, 0.1 * n))
        (measure,) = decisions[0].measures
        assert (measure["kind"], measure["limit"], measure["value"]) == ("rise", 0.6, pytest.approx(1.2))
        assert decisions[0].threshold is None


ROUND_TRIPS: list[dict[str, Any]] = [
    RISE | {"rise": RISE["rise"] | {"hysteresis": 0.1}},
    {"not": {"level": {"atLeast": 1.0, "hysteresis": 0.2, "maxAge": 60.0}}},
    {"some": {"count": 1, "of": [{"level": {"atLeast": 1.0, "hysteresis": 0.1, "entity": "urn:x:1"}}]}},
    {"all": [{"sum": {"atLeast": 1.0, "over": 60.0, "hysteresis": 0.0, "counter": True, "attribute": RAIN}}]},
    {"any": [{"reaches": {"threshold": 3.0, "within": 60.0, "over": 60.0, "unitCode": "MTR"}}]},
]


@pytest.mark.parametrize("when", ROUND_TRIPS, ids=lambda when: next(iter(when)))
def test_a_condition_is_written_as_it_was_read(when: dict[str, Any]) -> None:
    assert rule_document(rule_with(when))["levels"] == [{"stage": "caution", "when": when}]


WHEN = "levels[0].when"
REFUSED = [
    (
        {"level": {"atLeast": 1}, "rise": {}},
        f"{WHEN}: exactly one of level, rise, reaches, sum, forecast, all, any, some or not is expected",
    ),
    (
        {"depth": {}},
        f"{WHEN}.depth: unknown condition; known are level, rise, reaches, sum, forecast, all, any, some, not",
    ),
    ({"rise": {"atLeast": 1}}, f"{WHEN}.rise.over: a number is expected, not nothing"),
    ({"rise": {"atLeast": 1, "over": 0}}, f"{WHEN}.rise.over: 0 is not above 0 and at most 259200"),
    ({"some": {"count": 3, "of": [RISE]}}, f"{WHEN}.some.count: 3 of 1"),
    ({"any": []}, f"{WHEN}.any: an array of at least one item is expected, not []"),
    ({"any": [RISE] * 33}, f"{WHEN}: more than 32 comparisons"),
]


@pytest.mark.parametrize(("when", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refusals_of_conditions_name_the_spot(when: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        rule_with(when)
    assert caught.value.detail == message


def test_conditions_are_not_nested_for_ever() -> None:
    deep: dict[str, Any] = RISE
    for _ in range(9):
        deep = {"not": deep}
    with pytest.raises(BadRequestData, match="nested too deep"):
        rule_with(deep)

# SPDX-License-Identifier: Apache-2.0
"""The state machine of threshold rules: raise, clear, confirm, and what never does."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.alerts import (
    AlertDecision,
    AlertRule,
    Confirmation,
    EntitySelector,
    Level,
    RuleState,
    Sample,
    evaluate,
    new_peaks,
    parse_state,
    sample_of,
    state_document,
    withdraw,
)
from broker.errors import MinamoError

START = datetime(2026, 6, 1, tzinfo=UTC)
STAGES = ("standby", "caution", "evacuation_decision", "danger")


def rule(**members: Any) -> AlertRule:
    """0.6 / 0.9 / 1.2 / 1.5 m, hysteresis 0.10 m, cleared after 30 minutes, no confirmation."""
    given_members: dict[str, Any] = {
        "id": "r",
        "entities": EntitySelector(type="urn:x:Station"),
        "attribute": "urn:x:level",
        "levels": tuple(Level(stage, t) for stage, t in zip(STAGES, (0.6, 0.9, 1.2, 1.5), strict=True)),
        "name_ja": "水位",
        "name_en": "level",
    }
    return AlertRule(**(given_members | members))


ONE = (Level("caution", 1.0),)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def samples(*pairs: tuple[float, object]) -> list[Sample]:
    return [Sample(at(minutes), value) for minutes, value in pairs]


def run(
    watched: AlertRule, readings: Iterable[Sample], state: RuleState | None = None
) -> tuple[RuleState, list[AlertDecision]]:
    """Evaluate all ``readings``; the state after them and every decision."""
    state = state or RuleState()
    decided: list[AlertDecision] = []
    for reading in readings:
        state, decisions = evaluate(watched, state, reading)
        decided += decisions
    return state, decided


def lines(decisions: Iterable[AlertDecision]) -> list[tuple[str, str, float]]:
    """``(kind, stage, minutes)`` of each decision."""
    return [(d.kind, d.stage, (d.observed_at - START).total_seconds() / 60) for d in decisions]


class TestRaise:
    def test_a_value_equal_to_the_threshold_raises(self) -> None:
        _, decisions = run(rule(levels=ONE), samples((0, 0.999), (5, 1.0)))
        assert lines(decisions) == [("raised", "caution", 5)]

    def test_it_is_raised_once(self) -> None:
        _, decisions = run(rule(levels=ONE), samples((0, 1.0), (5, 1.2), (10, 0.95), (15, 1.3)))
        assert lines(decisions) == [("raised", "caution", 0)]

    def test_a_jump_raises_every_level_upwards(self) -> None:
        _, decisions = run(rule(), samples((0, 0.2), (5, 1.3)))
        assert lines(decisions) == [("raised", stage, 5) for stage in STAGES[:3]]

    def test_each_decision_of_a_jump_tells_all_levels_crossed(self) -> None:
        _, decisions = run(rule(), samples((0, 0.7), (5, 1.6)))
        assert [decision.stages_crossed for decision in decisions] == [STAGES[:1]] + [STAGES[1:]] * 3

    def test_a_decision_carries_threshold_value_and_time(self) -> None:
        _, decisions = run(rule(levels=ONE), samples((5, 1.25)))
        assert decisions == [AlertDecision("raised", "caution", 1.0, at(5), 1.25, at(5), 1.25, ("caution",))]

    def test_a_disabled_rule_decides_nothing_and_learns_nothing(self) -> None:
        assert run(rule(enabled=False), samples((0, 9.9))) == (RuleState(), [])


class TestConfirmation:
    def test_by_count_the_nth_consecutive_sample_raises(self) -> None:
        watched = rule(levels=ONE, confirmation=Confirmation(count=3))
        _, decisions = run(watched, samples((0, 1.1), (5, 1.1), (10, 0.9), (15, 1.1), (20, 1.1), (25, 1.1)))
        assert lines(decisions) == [("raised", "caution", 25)]

    def test_by_time_the_sample_that_completes_it_raises(self) -> None:
        watched = rule(levels=ONE, confirmation=Confirmation(duration=timedelta(minutes=10)))
        _, decisions = run(watched, samples((0, 1.1), (9, 1.1), (10, 1.1)))
        assert lines(decisions) == [("raised", "caution", 10)]

    def test_with_both_the_first_one_reached_is_enough(self) -> None:
        watched = rule(levels=ONE, confirmation=Confirmation(2, timedelta(minutes=10)))
        _, decisions = run(watched, samples((0, 1.1), (1, 1.1)))
        assert lines(decisions) == [("raised", "caution", 1)]

    def test_a_spike_of_one_sample_raises_nothing(self) -> None:
        watched = rule(confirmation=Confirmation(count=2))
        assert run(watched, samples((0, 0.2), (5, 9.0), (10, 0.2)))[1] == []

    def test_the_peak_counts_the_samples_that_confirmed(self) -> None:
        watched = rule(levels=ONE, confirmation=Confirmation(count=2))
        _, (decision,) = run(watched, samples((0, 1.5), (5, 1.1)))
        assert (decision.peak_value, decision.value) == (1.5, 1.1)


class TestClear:
    def test_the_sample_that_completes_thirty_minutes_below_clears(self) -> None:
        _, decisions = run(rule(levels=ONE), samples((0, 1.0), (5, 0.89), (34, 0.89), (35, 0.89), (40, 0.89)))
        assert lines(decisions) == [("raised", "caution", 0), ("cleared", "caution", 35)]

    def test_threshold_less_hysteresis_itself_is_not_below(self) -> None:
        """1.2 - 0.1 is 1.0999999999999999 in binary; a sample of 1.1 is at the clearing level, 1.0999 below it."""
        watched = rule(levels=(Level("caution", 1.2),))
        state, _ = run(watched, samples((0, 1.2), (5, 1.1), (60, 1.1)))
        assert state.raised == ("caution",)
        assert lines(run(watched, samples((65, 1.0999), (95, 1.0999)), state)[1]) == [("cleared", "caution", 95)]

    def test_one_sample_between_begins_the_thirty_minutes_anew(self) -> None:
        readings = samples((0, 1.0), (5, 0.8), (30, 0.95), (35, 0.8), (60, 0.8), (65, 0.8))
        assert lines(run(rule(levels=ONE), readings)[1])[1:] == [("cleared", "caution", 65)]

    def test_silence_never_clears(self) -> None:
        """Four days without a sample, then one below: that one only begins the thirty minutes."""
        state, decisions = run(rule(levels=ONE), samples((0, 1.0), (6000, 0.2)))
        assert (len(decisions), state.raised) == (1, ("caution",))

    def test_levels_that_clear_together_clear_downwards(self) -> None:
        _, decisions = run(rule(), samples((0, 1.3), (5, 0.1), (35, 0.1)))
        assert lines(decisions)[3:] == [("cleared", stage, 35) for stage in reversed(STAGES[:3])]

    def test_a_clear_names_its_alert_and_the_peak(self) -> None:
        _, decisions = run(rule(levels=ONE), samples((0, 1.0), (5, 2.5), (10, 0.5), (40, 0.4)))
        cleared = decisions[-1]
        assert (cleared.raised_at, cleared.peak_value, cleared.value) == (at(0), 2.5, 0.4)

    def test_with_no_clearing_time_the_first_sample_below_clears(self) -> None:
        watched = rule(levels=ONE, clear_after=timedelta(0))
        assert lines(run(watched, samples((0, 1.0), (5, 0.8)))[1])[1:] == [("cleared", "caution", 5)]


class TestOldAndMissing:
    @pytest.mark.parametrize("value", [None, "1.5", "nan", True, math.nan, math.inf, [1.5], {"v": 1}, 10**400])
    def test_what_is_not_a_number_changes_nothing(self, value: object) -> None:
        state, _ = run(rule(), samples((0, 0.7)))
        assert evaluate(rule(), state, Sample(at(5), value)) == (state, [])

    def test_a_correction_of_the_newest_sample_changes_nothing(self) -> None:
        state, _ = run(rule(), samples((0, 0.2)))
        assert evaluate(rule(), state, Sample(at(0), 5.0)) == (state, [])

    def test_a_late_sample_changes_nothing(self) -> None:
        state, _ = run(rule(), samples((0, 0.2), (10, 0.2)))
        assert evaluate(rule(), state, Sample(at(5), 5.0)) == (state, [])

    def test_a_late_sample_does_not_break_the_clearing_time(self) -> None:
        readings = samples((0, 1.0), (5, 0.5), (20, 0.5), (10, 3.0), (35, 0.5))
        assert lines(run(rule(levels=ONE), readings)[1])[1:] == [("cleared", "caution", 35)]


class TestChangedRule:
    def test_a_raised_level_that_the_rule_lost_is_withdrawn(self) -> None:
        state, _ = run(rule(), samples((0, 1.0)))
        narrower = rule(levels=(Level("standby", 0.6),))
        state, (decision,) = evaluate(narrower, state, Sample(at(5), 1.0))
        assert (decision.kind, decision.stage, decision.withdrawn) == ("cleared", "caution", True)
        assert (decision.threshold, decision.raised_at, state.raised) == (0.9, at(0), ("standby",))

    def test_withdrawing_closes_all_raised_levels_downwards(self) -> None:
        state, _ = run(rule(), samples((0, 1.0)))
        state, decisions = withdraw(parse_state(state_document(state)), at(7))
        assert lines(decisions) == [("cleared", "caution", 7), ("cleared", "standby", 7)]
        assert (state.raised, state.newest) == ((), at(0))

    def test_withdrawing_nothing_decides_nothing(self) -> None:
        assert withdraw(RuleState(), at(0)) == (RuleState(), [])


class TestState:
    def test_an_unknown_version_is_refused(self) -> None:
        with pytest.raises(MinamoError, match="version 2 is not known"):
            parse_state({"version": 2})

    def test_new_peaks_are_those_of_raised_levels(self) -> None:
        before, _ = run(rule(), samples((0, 0.7)))
        after, _ = run(rule(), samples((5, 1.0), (10, 0.95)), before)
        assert new_peaks(before, after) == {"standby": (at(0), 1.0), "caution": (at(5), 1.0)}
        assert new_peaks(after, after) == {}


class TestSampleOf:
    def instance(self, **members: Any) -> dict[str, Any]:
        given_members = {"type": "Property", "value": 1.5, "observedAt": "2026-06-01T00:05:00Z"}
        return {name: value for name, value in (given_members | members).items() if value is not None}

    def test_value_and_observed_at_make_the_sample(self) -> None:
        assert sample_of(rule(), self.instance(unitCode="MTR")) == Sample(at(5), 1.5)

    def test_centimetres_become_metres(self) -> None:
        assert sample_of(rule(), self.instance(value=57, unitCode="CMT")) == Sample(at(5), 0.57)

    def test_a_unit_that_does_not_compare_gives_none(self) -> None:
        assert sample_of(rule(), self.instance(unitCode="MQS")) is None

    def test_without_observed_at_the_time_of_writing_counts(self) -> None:
        instance = self.instance(observedAt=None, modifiedAt="2026-06-01T00:07:00Z")
        assert sample_of(rule(), instance) == Sample(at(7), 1.5)

    def test_a_time_past_the_limit_gives_none(self) -> None:
        assert sample_of(rule(), self.instance(), not_after=at(4)) is None
        assert sample_of(rule(), self.instance(), not_after=at(5)) is not None

    def test_a_relationship_gives_none(self) -> None:
        assert sample_of(rule(), {"type": "Relationship", "object": "urn:x:1"}) is None


STEPS = st.lists(st.integers(1, 40), min_size=1, max_size=60)
VALUES = st.one_of(st.floats(-0.5, 2.5), st.sampled_from([0.5, 0.6, 0.8, 0.9, 1.1, 1.2, 1.4, 1.5]), st.none())
CONFIRMATIONS = st.builds(
    Confirmation,
    st.one_of(st.none(), st.integers(1, 4)),
    st.one_of(st.none(), st.integers(0, 30).map(lambda minutes: timedelta(minutes=minutes))),
)
RULES = st.builds(
    lambda confirmation, hysteresis, clear: rule(
        confirmation=confirmation, hysteresis=hysteresis, clear_after=timedelta(minutes=clear)
    ),
    CONFIRMATIONS,
    st.sampled_from([0.0, 0.1, 0.5]),
    st.integers(0, 60),
)


@st.composite
def series(draw: st.DrawFn) -> list[Sample]:
    """Samples in ascending observation time, minutes apart, some of them missing values."""
    minutes = 0
    drawn = []
    for step in draw(STEPS):
        minutes += step
        drawn.append(Sample(at(minutes), draw(VALUES)))
    return drawn


class TestProperties:
    """Repeated and late samples change nothing; levels alternate and never overtake each other."""

    @given(RULES, series())
    def test_every_sample_twice_changes_nothing(self, watched: AlertRule, readings: list[Sample]) -> None:
        twice = [reading for reading in readings for _ in range(2)]
        assert run(watched, twice) == run(watched, readings)

    @given(RULES, series(), st.randoms(use_true_random=False))
    def test_old_samples_in_any_order_after_the_newest_change_nothing(
        self, watched: AlertRule, readings: list[Sample], order: random.Random
    ) -> None:
        state, _ = run(watched, readings)
        numbers = [reading for reading in readings if reading.value is not None]
        order.shuffle(numbers)
        assert run(watched, numbers, state) == (state, [])

    @given(RULES, series(), st.randoms(use_true_random=False))
    def test_late_samples_in_between_change_nothing(
        self, watched: AlertRule, readings: list[Sample], order: random.Random
    ) -> None:
        mixed: list[Sample] = []
        newest: Sample | None = None
        for reading in readings:
            mixed.append(reading)
            newest = reading if reading.value is not None else newest
            if newest is not None:
                mixed.append(Sample(newest.observed_at - timedelta(minutes=order.randint(0, 90)), 2.0))
        assert run(watched, mixed)[1] == run(watched, readings)[1]

    @given(RULES, series())
    def test_each_level_is_raised_and_cleared_in_turn(self, watched: AlertRule, readings: list[Sample]) -> None:
        _, decisions = run(watched, readings)
        for stage in STAGES:
            kinds = [decision.kind for decision in decisions if decision.stage == stage]
            assert kinds == ["raised", "cleared"] * (len(kinds) // 2) + ["raised"] * (len(kinds) % 2)

    @given(RULES, series())
    def test_no_level_is_raised_above_one_that_is_not(self, watched: AlertRule, readings: list[Sample]) -> None:
        """After every single decision, also within one jump."""
        raised: set[str] = set()
        for decision in run(watched, readings)[1]:
            (raised.add if decision.kind == "raised" else raised.remove)(decision.stage)
            assert raised == set(STAGES[: len(raised)])

    @given(RULES, series())
    def test_decisions_are_true_of_their_sample(self, watched: AlertRule, readings: list[Sample]) -> None:
        for decision in run(watched, readings)[1]:
            if decision.kind == "raised":
                assert decision.value >= decision.threshold
            else:
                assert decision.value < decision.threshold
            assert decision.stage in decision.stages_crossed
            assert decision.peak_value >= decision.value

    @given(RULES, series(), st.integers(0, 60))
    def test_a_restart_at_any_point_changes_nothing(self, watched: AlertRule, readings: list[Sample], cut: int) -> None:
        """The state survives JSON; members may come back in any order, as from jsonb."""
        state, decisions = run(watched, readings[:cut])
        restored = parse_state(json.loads(json.dumps(state_document(state), sort_keys=True)))
        assert restored == state
        after, more = run(watched, readings[cut:], restored)
        assert (after, decisions + more) == run(watched, readings)

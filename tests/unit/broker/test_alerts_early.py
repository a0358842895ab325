# SPDX-License-Identifier: Apache-2.0
"""Alerts of fresh readings before their turn: told once, never cleared by older ones, and in the end as in order."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
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
    Flapping,
    Level,
    RuleState,
    Sample,
    Subject,
    due_at,
    evaluate,
    evaluate_in_turn,
    overdue,
    parse_state,
    passed_over,
    reach_early,
    state_document,
    withdraw,
)
from broker.alerts.lifecycle import Alarm, advance

START = datetime(2026, 6, 1, tzinfo=UTC)
ONE = (Level("caution", 1.0),)
TWO = (*ONE, Level("danger", 2.0))


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def rule(**members: Any) -> AlertRule:
    """1 and 2 m, cleared at once below; no confirmation."""
    given_members: dict[str, Any] = {
        "id": "r",
        "entities": EntitySelector(type="urn:x:Station"),
        "attribute": "urn:x:level",
        "levels": TWO,
        "name_ja": "水位",
        "name_en": "level",
        "hysteresis": 0.0,
        "clear_after": timedelta(),
        "flapping": None,
    }
    return AlertRule(**(given_members | members))


def of(minute: float, value: float, *, suspect: bool = False) -> Sample:
    return Sample(at(minute), value, suspect=suspect)


@dataclass
class Told:
    """A rule at one station, and what everybody is told: alerts by name, alarms by steps."""

    rule: AlertRule
    state: RuleState = field(default_factory=RuleState)
    alerts: dict[tuple[str, datetime], tuple[datetime, datetime | None]] = field(default_factory=dict)
    raises: list[tuple[str, datetime]] = field(default_factory=list)
    alarm: Alarm | None = None
    steps: list[str] = field(default_factory=list)

    def look(self, sample: Sample) -> None:
        """It is fresh, and others wait before it."""
        self._follow(*reach_early(self.rule, self.state, sample))

    def count(self, sample: Sample) -> None:
        """Its turn has come."""
        for missed in passed_over(self.rule, self.state, sample, [self.rule.own]):
            self._follow(*evaluate_in_turn(self.rule, self.state, missed))
        self._follow(*evaluate_in_turn(self.rule, self.state, sample))

    def _follow(self, state: RuleState, decisions: Sequence[AlertDecision]) -> None:
        assert parse_state(state_document(state)) == state
        self.state = state
        for one in decisions:
            name = one.stage, one.raised_at
            if one.kind == "raised":
                assert name not in self.alerts, "told twice"
                self.raises.append(name)
                self.alerts[name] = one.raised_at, None
            elif one.kind == "cleared":
                assert self.alerts[name][1] is None, "cleared twice"
                self.alerts[name] = self.alerts[name][0], one.observed_at
            elif one.kind == "dated":
                self.alerts[name] = one.observed_at, self.alerts[name][1]
        if decisions:
            moment = decisions[0].observed_at
            steps = advance(self.alarm, Subject("r", 1, "urn:x:1"), decisions, state.raised, moment)
            for step in steps:
                self.alarm = None if step.alarm.cleared_at is not None else step.alarm
                self.steps += [step.kind] if step.kind != "changed" else []

    @property
    def episodes(self) -> set[tuple[str, datetime, datetime | None]]:
        return {(stage, *span) for (stage, _), span in self.alerts.items()}


def in_order(watched: AlertRule, samples: Iterable[Sample]) -> Told:
    told = Told(watched)
    for sample in samples:
        told._follow(*evaluate(watched, told.state, sample))
    return told


def episode(stage: str, begun: float, ended: float | None = None) -> tuple[str, datetime, datetime | None]:
    return stage, at(begun), None if ended is None else at(ended)


@pytest.mark.parametrize(
    ("older", "episodes", "steps"),
    [
        pytest.param([], [episode("caution", 9)], ["raised"], id="nothing"),
        pytest.param([(1, 0.5)], [episode("caution", 9)], ["raised"], id="calm"),
        pytest.param([(1, 1.5)], [episode("caution", 1)], ["raised"], id="it began earlier"),
        pytest.param(
            [(1, 1.5), (2, 0.5)], [episode("caution", 1, 2), episode("caution", 9)], ["raised"], id="one before it"
        ),
        pytest.param(
            [(1, 1.5), (2, 0.5), (3, 1.1)],
            [episode("caution", 1, 2), episode("caution", 3)],
            ["raised"],
            id="one before it, and it began earlier",
        ),
        pytest.param(
            [(1, 2.5), (2, 1.5)],
            [episode("danger", 1, 2), episode("caution", 1)],
            ["raised", "escalated", "downgraded"],
            id="a higher one before it",
        ),
    ],
)
def test_older_readings_end_what_they_began_and_nothing_else(
    older: list[tuple[float, float]], episodes: list[Any], steps: list[str]
) -> None:
    told = Told(rule())
    told.look(of(9, 1.2))
    assert told.raises == [("caution", at(9))]
    for sample in (of(*pair) for pair in older):
        told.count(sample)
        assert "caution" in told.state.raised
    told.count(of(9, 1.2))
    assert told.episodes == set(episodes)
    assert told.steps == steps
    assert not told.state.early


def test_what_is_raised_already_is_not_told_again_and_not_cleared_before_the_fresh_reading() -> None:
    told = Told(rule(levels=ONE))
    told.count(of(0, 1.5))
    told.look(of(9, 1.2))
    assert told.raises == [("caution", at(0))]
    told.count(of(1, 0.5))
    assert told.episodes == {episode("caution", 0, 1), episode("caution", 9)}
    told.count(of(9, 1.2))
    told.count(of(10, 0.5))
    assert told.episodes == {episode("caution", 0, 1), episode("caution", 9, 10)}
    assert told.steps == ["raised", "cleared"]


def test_a_fresh_reading_below_clears_nothing() -> None:
    told = Told(rule(levels=ONE))
    told.count(of(0, 1.5))
    told.look(of(9, 0.2))
    assert told.state.raised == ("caution",)


def test_higher_levels_are_raised_early_on_top_of_lower_ones() -> None:
    told = Told(rule())
    told.look(of(8, 1.2))
    told.look(of(9, 2.2))
    told.look(of(9.5, 2.3))
    assert told.steps == ["raised", "escalated"]
    for minute, value in ((8, 1.2), (9, 2.2), (9.5, 2.3), (10, 0.1)):
        told.count(of(minute, value))
    assert told.episodes == {episode("caution", 8, 10), episode("danger", 9, 10)}
    assert told.steps == ["raised", "escalated", "cleared"]


@pytest.mark.parametrize(
    ("watched", "sample"),
    [
        pytest.param(rule(confirmation=Confirmation(count=2)), of(9, 1.5), id="to be confirmed"),
        pytest.param(rule(confirmation=Confirmation(duration=timedelta(minutes=5))), of(9, 1.5), id="to last"),
        pytest.param(rule(), of(9, 1.5, suspect=True), id="suspect"),
        pytest.param(rule(enabled=False), of(9, 1.5), id="switched off"),
        pytest.param(rule(levels=(Level("caution", 1.0, since=at(20)),)), of(9, 1.5), id="not yet a level"),
        pytest.param(rule(), Sample(at(9), None), id="no number"),
        pytest.param(rule(), of(-1, 1.5), id="not newer than what was counted"),
    ],
)
def test_what_does_not_raise_early(watched: AlertRule, sample: Sample) -> None:
    state = RuleState(at(0), 0.5)
    assert reach_early(watched, state, sample) == (state, [])


def test_one_that_never_comes_counts_when_a_newer_one_comes() -> None:
    told = Told(rule(levels=ONE))
    told.look(of(9, 1.2))
    told.count(of(10, 0.5))
    assert told.episodes == {episode("caution", 9, 10)}


def test_one_whose_own_reading_says_less_stays_raised_until_the_next() -> None:
    """It was corrected, or is suspect after all."""
    told = Told(rule(levels=ONE))
    told.look(of(9, 1.2))
    told.count(of(9, 0.5))
    assert told.state.raised == ("caution",)
    told.count(of(10, 0.5))
    assert told.episodes == {episode("caution", 9, 10)}


def test_one_that_never_comes_is_counted_in_when_nothing_is_heard_any_more() -> None:
    watched = rule(levels=ONE, silent_after=timedelta(hours=1))
    state, _ = reach_early(watched, RuleState(), of(9, 1.2))
    assert due_at(watched, state) == at(19)
    state, decisions = overdue(watched, state, at(20))
    assert (state.newest, state.raised, decisions) == (at(9), ("caution",), [])
    assert due_at(watched, state) == at(69)


def test_a_rule_that_ends_withdraws_what_was_raised_early_and_only_that() -> None:
    told = Told(rule(levels=ONE))
    told.look(of(9, 1.2))
    told.count(of(1, 1.5))  # held back
    state, decisions = withdraw(told.state, at(30))
    assert [(one.kind, one.withdrawn, one.raised_at) for one in decisions] == [("cleared", True, at(9))]
    assert not state.raised


def test_a_level_that_the_rule_loses_withdraws_what_was_raised_early() -> None:
    told = Told(rule())
    told.look(of(9, 2.2))
    told.rule = replace(told.rule, levels=ONE)
    for minute in (1, 9):
        told.count(of(minute, 1.5))
    told.count(of(10, 0.1))
    assert not told.state.raised and all(ended for _, _, ended in told.episodes)


LEVELS = st.sampled_from([0.2, 0.8, 0.95, 1.1, 1.8, 2.2, 2.6])
RULES = st.builds(
    lambda hysteresis, clear, flapping, levels: rule(
        hysteresis=hysteresis, clear_after=timedelta(minutes=clear), flapping=flapping, levels=levels
    ),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([0, 2]),
    st.sampled_from([None, Flapping(2, timedelta(minutes=5))]),
    st.sampled_from([ONE, TWO]),
)
SAMPLES = st.lists(st.tuples(LEVELS, st.booleans()), max_size=14).map(
    lambda found: [of(n, value, suspect=chance and n % 3 == 0) for n, (value, chance) in enumerate(found)]
)


class TestAnyMixture:
    @staticmethod
    def mixed(
        watched: AlertRule, samples: Sequence[Sample], chance: random.Random, lost: float = 0.0
    ) -> tuple[Told, list[Sample]]:
        """Some looks at samples ahead, in their order, while all come in turn but some that are ``lost``; what was told
        and what counts."""
        told, turn, seen, counted = Told(watched), 0, 0, []
        while turn < len(samples):
            if chance.random() < 0.5 and seen < len(samples):
                seen = chance.randint(max(seen, turn), len(samples))
                for ahead in samples[seen : seen + 1]:
                    told.look(ahead)
            else:
                sample = samples[turn]
                has_mark = any(mark.at == sample.observed_at for mark in told.state.early.values())
                waiting = {stage for stage, mark in told.state.early.items() if mark.at > sample.observed_at}
                if chance.random() >= lost:
                    told.count(sample)
                    counted.append(sample)
                elif has_mark:
                    counted.append(sample)
                assert waiting <= set(told.state.raised), "cleared by an older reading"
                turn += 1
        return told, counted

    @given(RULES, SAMPLES, st.randoms(use_true_random=False))
    def test_ends_with_the_episodes_of_the_order_and_its_state(
        self, watched: AlertRule, samples: list[Sample], chance: random.Random
    ) -> None:
        told, _ = self.mixed(watched, samples, chance)
        ordered = in_order(watched, samples)
        assert told.episodes == ordered.episodes
        assert told.state.raised == ordered.state.raised
        assert len(told.raises) == len(ordered.raises)

    @given(RULES, SAMPLES, st.randoms(use_true_random=False))
    def test_what_is_lost_after_it_raised_early_counts_at_its_place(
        self, watched: AlertRule, samples: list[Sample], chance: random.Random
    ) -> None:
        told, counted = self.mixed(watched, samples, chance, lost=0.4)
        last = of(99, 0.0)
        told.count(last)
        assert told.episodes == in_order(watched, [*counted, last]).episodes

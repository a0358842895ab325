# SPDX-License-Identifier: Apache-2.0
"""Alerts of fresh readings whose turn has not come: raised early, never cleared early, told once.

Before its turn a reading may raise the levels that need nothing but the newest value. Each leaves a mark
(:class:`Early`) at its place in time. Until the turn has come there:

- older readings are evaluated as ever, but the level stays raised for everybody: what they raise is held back. An
  episode that they end before the mark is one of its own, and is told then as a whole (raised, cleared);
- one that was told already when the reading came is cleared by older readings only together with the raise of the mark.

When the turn comes, the reading is counted in; one that does not come (its moment is passed) is counted in all the
same. An episode that lasts until the mark is the same as that of the mark: it began earlier (kind ``dated``). So any
mixture of old and fresh readings ends with the episodes that their order gives. Implements docs/decisions/0039.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from broker.alerts.conditions import Series
from broker.alerts.evaluation import evaluate, is_confirmed, value_of
from broker.alerts.forecasts import Curve
from broker.alerts.rules import AlertRule
from broker.alerts.states import CALM, AlertDecision, Early, LevelState, RuleState, Sample


def reach_early(rule: AlertRule, state: RuleState, sample: Sample) -> tuple[RuleState, list[AlertDecision]]:
    """What ``sample`` of the rule's own values raises before its turn. A suspect one raises nothing, nor does one that
    would have to be confirmed."""
    value = None if isinstance(sample.value, Curve) or sample.suspect else value_of(sample)
    at = sample.observed_at
    is_old = state.newest is not None and at <= state.newest
    if value is None or is_old or not rule.enabled or not is_confirmed(rule, 1, timedelta()):
        return state, []
    marks = {
        level.stage: Early(at, value, level.threshold, told=state.levels.get(level.stage, CALM).raised_at is None)
        for level in rule.levels
        if level.stage not in state.early
        and level.threshold is not None
        and level.holds_at(at)
        and value >= level.threshold
    }
    if not marks:
        return state, []
    raised = tuple(stage for stage, mark in marks.items() if mark.told)
    decisions = [replace(_raise_of(stage, marks[stage]), stages_crossed=raised) for stage in raised]
    return replace(state, early={**state.early, **marks}), decisions


def passed_over(rule: AlertRule, state: RuleState, sample: Sample, series: Collection[Series]) -> list[Sample]:
    """Early readings before ``sample`` that did not come in their turn: to be counted in before it."""
    if not state.early or rule.own not in series:
        return []
    moments = {mark.at: mark.value for mark in state.early.values() if mark.at < sample.observed_at}
    return [Sample(at, moments[at]) for at in sorted(moments)]


def evaluate_in_turn(
    rule: AlertRule, state: RuleState, sample: Sample, series: Collection[Series] | None = None
) -> tuple[RuleState, list[AlertDecision]]:
    """:func:`~broker.alerts.evaluation.evaluate`, with what was raised early; after :func:`passed_over`."""
    if not state.early:
        return evaluate(rule, state, sample, series)
    before = replace(state, early={})
    after, decided = evaluate(rule, before, sample, series)
    if after is before:
        return state, []
    marks, decisions = _as_told(state.early, decided)
    if series is not None and rule.own not in series:
        return replace(after, early=marks), decisions
    return _come_to(sample.observed_at, replace(after, early=marks), decisions)


def _as_told(
    marks: Mapping[str, Early], decided: Sequence[AlertDecision]
) -> tuple[dict[str, Early], list[AlertDecision]]:
    """``decided`` as it is told beside what was raised early, and the marks after it."""
    marks, told = dict(marks), []
    held = {one.stage for one in decided if one.kind == "raised" and one.stage in marks and marks[one.stage].told}
    for one in decided:
        mark = marks.get(one.stage)
        if mark is None or not one.is_crossing:
            told.append(one)
        elif one.kind == "raised":
            if mark.told:
                marks[one.stage] = replace(mark, held=one.value)
            else:
                told.append(one)
        elif one.withdrawn:
            told.append(replace(one, raised_at=mark.at) if mark.told else one)
            del marks[one.stage]
        elif mark.told:
            whole = (one.stage,)
            begun = replace(_raise_of(one.stage, mark), observed_at=one.raised_at, raised_at=one.raised_at)
            first = mark.value if mark.held is None else mark.held
            told += [replace(begun, value=first, peak_value=first), replace(one, stages_crossed=whole)]
            marks[one.stage] = replace(mark, held=None)
        else:
            told += [one, _raise_of(one.stage, mark)]
            marks[one.stage] = replace(mark, told=True)
    return marks, [_without(one, held) for one in told]


def _without(one: AlertDecision, held: set[str]) -> AlertDecision:
    """``one`` does not speak of stages that were told before."""
    if one.kind != "raised" or not held & set(one.stages_crossed) or one.stage in held:
        return one
    return replace(one, stages_crossed=tuple(stage for stage in one.stages_crossed if stage not in held))


def _come_to(at: datetime, state: RuleState, decisions: list[AlertDecision]) -> tuple[RuleState, list[AlertDecision]]:
    """The turn has come ``at`` this moment: what was raised early until then is raised as everything else."""
    levels, later = dict(state.levels), {}
    for stage, mark in state.early.items():
        level = levels.get(stage, CALM)
        if mark.at > at:
            later[stage] = mark
        elif level.raised_at is None:
            levels[stage] = LevelState(mark.at, mark.threshold, mark.value, raises=level.raises)
        elif mark.told and level.raised_at != mark.at:
            begun = level.raised_at
            levels[stage] = replace(level, raised_at=mark.at)
            value = mark.value if mark.held is None else mark.held
            decisions = [*decisions, replace(_raise_of(stage, mark), kind="dated", observed_at=begun, value=value)]
    return replace(state, levels=levels, early=later), decisions


def _raise_of(stage: str, mark: Early) -> AlertDecision:
    return AlertDecision("raised", stage, mark.threshold, mark.at, mark.value, mark.at, mark.value, (stage,))

# SPDX-License-Identifier: Apache-2.0
"""The state machine behind alerts: a rule, where it stands, and one sample give decisions.

Pure and deterministic by ``observedAt``: the same samples in the same order give the same decisions whenever
and wherever they are evaluated, so that a restart, a replay or a rehearsal on history cannot disagree with the
live run.

- Only samples newer than the newest one seen count. Late, repeated and corrected samples change nothing.
- What is not a number says nothing: missing is not calm, and no sample ever clears by staying away.
- Raise: the sample at or above the threshold that completes the confirmation. Clear: the sample that
  completes ``clear_after`` below ``threshold - hysteresis``.
- A jump over several levels raises each of them, lowest first, and every decision lists them all.
- A suspect sample decides nothing by itself; the next one confirms it, or it was a spike.
- A level that is raised too often is unstable: it stays raised until it has been calm for the time looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from broker.alerts.conditions import Condition, Memory, Series, Term, measures, remember, terms_of, truth
from broker.alerts.forecasts import Curve, remember_curve
from broker.alerts.rules import AlertRule, Level
from broker.alerts.states import (
    CALM,
    DECIMALS,
    AlertDecision,
    LevelState,
    RuleState,
    Sample,
    in_unit,
    number,
    raised_levels,
)
from broker.alerts.windows import Points

Changed = list[tuple[Level, LevelState]]


def evaluate(
    rule: AlertRule, state: RuleState, sample: Sample, series: Collection[Series] | None = None
) -> tuple[RuleState, list[AlertDecision]]:
    """Count ``sample`` in: the state after it, and what it decides, raises upwards and clears downwards.

    ``series``: what the sample is of; None: the rule's own values. Nothing happens while the rule is disabled. A level
    that the rule has lost since is withdrawn.
    """
    value = value_of(sample)
    is_own = series is None or rule.own in series
    is_old = is_own and state.newest is not None and sample.observed_at <= state.newest
    if value is None or is_old or not rule.enabled:
        return state, []
    remembered = _remembered(rule, state, sample, series or (rule.own,)) if rule.has_conditions else state
    if is_own:
        now = RuleState(sample.observed_at, value, state.levels, remembered.memory, remembered.held)
        returned = _returned(state, sample.observed_at, value)
        decided = _decide(rule, now, sample.observed_at, value, sample)
        return decided[0], returned + decided[1]
    if remembered is state:
        return state, []
    at = max(sample.observed_at, state.newest or sample.observed_at)
    return _decide(rule, remembered, at, value if state.newest_value is None else state.newest_value, None)


def decides_otherwise(before: RuleState, after: RuleState) -> bool:
    """Whether more than what was measured is different, or that is the first. :func:`recount` finds the rest again."""
    if (before.newest is None) != (after.newest is None) or bool(before.memory) != bool(after.memory):
        return True
    if before.early != after.early:
        return True
    return before.levels != after.levels or before.silent != after.silent or before.held != after.held


def recount(rule: AlertRule, state: RuleState, sample: Sample, series: Collection[Series]) -> RuleState:
    """Count ``sample`` in again that was counted before, without deciding; it may be in ``state`` already.

    The levels of ``state`` are those after the last sample that changed any (:func:`decides_otherwise`); only what was
    measured since is missing. Suspect samples change what is held back, so windows have them.
    """
    value = value_of(sample)
    is_own = rule.own in series
    if (
        value is None
        or not rule.enabled
        or (is_own and state.newest is not None and sample.observed_at <= state.newest)
    ):
        return state
    counted = state
    if rule.has_conditions and not sample.suspect:
        counted = replace(_remembered(rule, state, sample, series), held=state.held)
    if is_own:
        return replace(counted, newest=sample.observed_at, newest_value=value)
    return counted if counted.memory is not state.memory else state


def value_of(sample: Sample) -> float | None:
    """The number that is told where a sample decides; of a forecast its highest."""
    if isinstance(sample.value, Curve):
        return max((value for _, value in sample.value.points), default=None)
    return number(sample.value)


def withdraw(state: RuleState, at: datetime) -> tuple[RuleState, list[AlertDecision]]:
    """Close all that is raised: the rule is switched off, deleted or no longer watches the entity."""
    early = {s: LevelState(mark.at, mark.threshold, mark.value) for s, mark in state.early.items() if mark.told}
    levels = {**state.levels, **early}
    value = state.newest_value
    if value is None:  # only other series have decided
        value = max((level.peak for _, level in raised_levels(levels) if level.peak is not None), default=0.0)
    return replace(state, levels={}, silent=False, early={}), _withdrawals(levels, at, value)


def new_peaks(before: RuleState, after: RuleState) -> dict[str, tuple[datetime, float]]:
    """Raised stages whose peak is not what it was before: ``{stage: (raised_at, peak)}``."""
    peaks: dict[str, tuple[datetime, float]] = {}
    for stage, level in after.levels.items():
        was = before.levels.get(stage, CALM)
        is_new = (level.raised_at, level.peak) != (was.raised_at, was.peak)
        if is_new and level.raised_at is not None and level.peak is not None:
            peaks[stage] = (level.raised_at, level.peak)
    return peaks


def _decide(
    rule: AlertRule, state: RuleState, at: datetime, value: float, sample: Sample | None
) -> tuple[RuleState, list[AlertDecision]]:
    """Step each level; ``sample`` is of the rule's own values, None when another series has changed."""
    after: dict[str, LevelState] = {}
    raised: Changed = []
    cleared: Changed = []
    suspect = sample is not None and sample.suspect
    for level in rule.levels:
        if not level.holds_at(at):
            continue
        before = state.levels.get(level.stage, CALM)
        if before is CALM and level.threshold is not None and (sample is None or value < level.threshold):
            continue  # calm it was and calm it is: what nearly every reading finds
        now = before
        if sample is not None or level.when is not None:
            reached, is_calm = _compare(rule, level, state.memory, at, value)
            now = _step(rule, level, before, at, value, reached, is_calm, suspect=suspect and level.when is None)
        if now != CALM:
            after[level.stage] = now
        if before.raised_at is None and now.raised_at is not None:
            raised.append((level, now))
        elif before.raised_at is not None and now.raised_at is None:
            cleared.append((level, before))
    decisions = _left_over(rule, state, after, at, value, has_value=sample is not None)
    decisions += _decisions("raised", raised, state.memory, at, value, suspect=suspect)
    decisions += reversed(_decisions("cleared", cleared, state.memory, at, value, suspect=suspect))
    return (replace(state, levels=after) if after or state.levels else state), decisions


def _left_over(
    rule: AlertRule, state: RuleState, after: dict[str, LevelState], at: datetime, value: float, *, has_value: bool
) -> list[AlertDecision]:
    """Stages that no level of the rule stands for now: silence that a value ends, else what the rule has lost."""
    if not state.levels:
        return []
    watched = rule.stages_at(at)
    rest = {stage: level for stage, level in state.levels.items() if stage not in after}
    stepped = {level.stage for level in rule.levels if level.holds_at(at)}
    silences = {stage: level for stage, level in rest.items() if level.by_silence and stage not in stepped}
    decisions = []
    if has_value:
        decisions = [_closed("cleared", item, at, value, (item[0],)) for item in raised_levels(silences)]
    else:
        after |= silences
    lost = {stage: level for stage, level in rest.items() if stage not in watched and stage not in silences}
    return _withdrawals(lost, at, value) + decisions


def _returned(state: RuleState, at: datetime, value: float) -> list[AlertDecision]:
    """A raised station that was silent is heard again."""
    raised = raised_levels(state.levels) if state.silent else []
    if not raised:
        return []
    return [_closed("returned", raised[-1], at, value, tuple(stage for stage, _ in raised))]


def _remembered(rule: AlertRule, state: RuleState, sample: Sample, series: Collection[Series]) -> RuleState:
    """``state`` with ``sample`` in the memory of the conditions; a suspect sample waits for the next one."""
    changed: dict[str, Any] = {}
    held = set(state.held)
    for term in _terms(rule):
        if term.kind == "forecast" or isinstance(sample.value, Curve):
            if term.kind == "forecast" and term.series in series and isinstance(sample.value, Curve):
                points = state.memory.get(term.key, ())
                now = _remembered_curve(term, points, sample.value, rule.unit_code)
                if now is not points:
                    changed[term.key] = now
            continue
        value = _in_unit_of(term, sample, rule.unit_code if rule.own in series else None)
        if term.series not in series or value is None or term.key in changed:
            continue
        if sample.suspect and term.key not in held:
            held.add(term.key)
            continue
        held.discard(term.key)
        points = state.memory.get(term.key, ())
        now = remember(term, points, sample.observed_at.timestamp(), value)
        if now is not points:
            changed[term.key] = now
    if not changed and held == state.held:
        return state
    return replace(state, memory={**state.memory, **changed}, held=frozenset(held))


def _remembered_curve(term: Term, points: Points, curve: Curve, usual: str) -> Points:
    factor = in_unit(1.0, curve.unit_code, term.unit_code or usual)
    return points if factor is None else remember_curve(points, curve, factor)


def _terms(rule: AlertRule) -> list[Term]:
    return [term for condition in rule.conditions() for term in terms_of(condition)]


def _in_unit_of(term: Term, sample: Sample, usual: str | None) -> float | None:
    value = number(sample.value)
    return value if value is None or term.unit_code is None else in_unit(value, sample.unit or usual, term.unit_code)


def _compare(
    rule: AlertRule, level: Level, memory: Memory, at: datetime, value: float
) -> tuple[bool | None, bool | None]:
    """Whether the level is reached, and whether it is calm; neither between the two; None: not known."""
    if level.threshold is not None:
        return value >= level.threshold, value < round(level.threshold - rule.hysteresis, DECIMALS)
    condition: Condition = level.when  # type: ignore[assignment]
    reached = truth(condition, memory, at.timestamp())
    holds_on = truth(condition, memory, at.timestamp(), loose=True)
    return reached, None if holds_on is None else not holds_on


def _step(
    rule: AlertRule,
    level: Level,
    before: LevelState,
    at: datetime,
    value: float,
    reached: bool | None,
    is_calm: bool | None,
    *,
    suspect: bool,
) -> LevelState:
    if before.raised_at is None:
        return before if reached is None else _step_calm(rule, level, before, at, value, reached, suspect=suspect)
    return _step_raised(rule, replace(before, by_silence=False), at, value, is_calm, suspect=suspect)


def _step_calm(
    rule: AlertRule, level: Level, before: LevelState, at: datetime, value: float, reached: bool, *, suspect: bool
) -> LevelState:
    """A level that is not raised: any sample below the threshold begins the confirmation anew."""
    raises = _recent(rule, before.raises, at)
    if not reached:
        return LevelState(raises=raises) if raises else CALM
    since = before.confirming_since or at
    count = before.confirming_count + 1
    peak = before.peak if suspect else _higher(before.peak, value)
    if not is_confirmed(rule, count, at - since) or (suspect and count == 1):
        return LevelState(peak=peak, confirming_since=since, confirming_count=count, raises=raises)
    flapping = rule.flapping
    raises = (*raises, at)[-flapping.count :] if flapping else ()
    unstable = flapping is not None and len(raises) >= flapping.count
    return LevelState(at, level.threshold, _higher(peak, value), raises=raises, unstable=unstable)


def _step_raised(
    rule: AlertRule, before: LevelState, at: datetime, value: float, is_calm: bool | None, *, suspect: bool
) -> LevelState:
    """A raised level: any sample at or above the clearing level begins the clearing time anew."""
    peak = before.peak if suspect else _higher(before.peak, value)
    if is_calm is None:
        return replace(before, peak=peak)
    if not is_calm:
        return replace(before, peak=peak, below_since=None)
    since = before.below_since or at
    is_held = suspect and before.below_since is None
    if at - since < _clear_after(rule, before) or is_held:
        return replace(before, peak=peak, below_since=since)
    raises = () if before.unstable else _recent(rule, before.raises, at)
    return LevelState(raises=raises) if raises else CALM


def is_confirmed(rule: AlertRule, count: int, lasting: timedelta) -> bool:
    """Whether so many samples at or above the threshold, over so much time, raise."""
    asked = rule.confirmation
    return (
        (asked.count is None and asked.duration is None)
        or (asked.count is not None and count >= asked.count)
        or (asked.duration is not None and lasting >= asked.duration)
    )


def _clear_after(rule: AlertRule, level: LevelState) -> timedelta:
    if level.unstable and rule.flapping is not None:
        return max(rule.clear_after, rule.flapping.within)
    return rule.clear_after


def _recent(rule: AlertRule, raises: tuple[datetime, ...], at: datetime) -> tuple[datetime, ...]:
    """Those raises that still count towards flapping."""
    within = rule.flapping.within if rule.flapping else timedelta()
    return tuple(moment for moment in raises if at - moment < within)


def _higher(peak: float | None, value: float) -> float:
    return value if peak is None else max(peak, value)


def _decisions(
    kind: Literal["raised", "cleared"], changed: Changed, memory: Memory, at: datetime, value: float, *, suspect: bool
) -> list[AlertDecision]:
    """Decisions, lowest level first; the state is the one that is raised (before a clear, after a raise)."""
    stages = tuple(level.stage for level, _ in changed)
    return [
        AlertDecision(
            kind=kind,
            stage=level.stage,
            threshold=level.threshold,
            observed_at=at,
            value=value,
            raised_at=state.raised_at or at,
            peak_value=_higher(state.peak, value),
            stages_crossed=stages,
            measures=tuple(measures(level.when, memory, at.timestamp())) if level.when is not None else (),
            suspect=suspect,
            unstable=state.unstable,
        )
        for level, state in changed
    ]


def _withdrawals(levels: Mapping[str, LevelState], at: datetime, value: float) -> list[AlertDecision]:
    """Clear each raised one of ``levels``, highest first."""
    raised = raised_levels(levels)
    stages = tuple(stage for stage, _ in raised)
    return [replace(_closed("cleared", item, at, value, stages), withdrawn=True) for item in reversed(raised)]


def _closed(
    kind: Literal["cleared", "returned"],
    item: tuple[str, LevelState],
    at: datetime,
    value: float,
    stages: tuple[str, ...],
) -> AlertDecision:
    stage, level = item
    return AlertDecision(
        kind=kind,
        stage=stage,
        threshold=level.threshold,
        observed_at=at,
        value=value,
        raised_at=level.raised_at or at,
        peak_value=value if level.peak is None else level.peak,
        stages_crossed=stages,
        by_silence=level.by_silence,
    )

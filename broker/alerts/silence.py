# SPDX-License-Identifier: Apache-2.0
"""Silence: when a station that says nothing is an alert, and when a flooded one becomes unknown.

Decisions carry the moment at which the silence was too long, not the one at which somebody looked: a hub that was away
decides the same as one that was not. Silence never clears anything.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from broker.alerts.early import evaluate_in_turn
from broker.alerts.rules import AlertRule
from broker.alerts.states import CALM, AlertDecision, LevelState, RuleState, Sample, raised_levels

_EARLY_COMES_WITHIN: Final = timedelta(minutes=10)  # after all that could be read was read


def due_at(rule: AlertRule, state: RuleState) -> datetime | None:
    """When silence has to be judged next, if nothing is heard until then."""
    if not state.levels and rule.no_data is None and not state.early:
        return None  # calm it is: nobody waits for anything
    moments = (no_data_at(rule, state), _unknown_at(rule, state), _missed_at(rule, state))
    return min((moment for moment in moments if moment), default=None)


def overdue(rule: AlertRule, state: RuleState, now: datetime) -> tuple[RuleState, list[AlertDecision]]:
    """What silence until ``now`` means: the state after it and the decisions, in the order of their times."""
    decisions = []
    while (due := due_at(rule, state)) is not None and due <= now:
        if due == _missed_at(rule, state):
            state, more = evaluate_in_turn(rule, state, _first_early(state))
            decisions += more
            continue
        state, decision = _unknown(state, due) if due == _unknown_at(rule, state) else _no_data(rule, state, due)
        decisions.append(decision)
    return state, decisions


def no_data_at(rule: AlertRule, state: RuleState) -> datetime | None:
    """When silence is an alert of its own; None: never, or it is one."""
    if rule.no_data is None or not rule.enabled or state.newest is None:
        return None
    is_raised = state.levels.get(rule.no_data.stage, CALM).raised_at is not None
    return None if is_raised else state.newest + rule.no_data.limit(state.newest_value)


def _missed_at(rule: AlertRule, state: RuleState) -> datetime | None:
    """When a reading that raised early is counted in though it has not come in its turn."""
    if not state.early or not rule.enabled:
        return None
    at = _first_early(state).observed_at
    return at + _EARLY_COMES_WITHIN if state.newest is None or state.newest < at else None


def _first_early(state: RuleState) -> Sample:
    first = min(state.early.values(), key=lambda mark: mark.at)
    return Sample(first.at, first.value)


def _unknown_at(rule: AlertRule, state: RuleState) -> datetime | None:
    if rule.silent_after is None or not rule.enabled or state.newest is None or state.silent:
        return None
    is_flooded = any(not level.by_silence for _, level in raised_levels(state.levels))
    return state.newest + rule.silent_after if is_flooded else None


def _unknown(state: RuleState, at: datetime) -> tuple[RuleState, AlertDecision]:
    raised = [item for item in raised_levels(state.levels) if not item[1].by_silence]
    stage, level = raised[-1]
    value = state.newest_value or 0.0
    decision = AlertDecision(
        kind="silent",
        stage=stage,
        threshold=level.threshold,
        observed_at=at,
        value=value,
        raised_at=level.raised_at or at,
        peak_value=value if level.peak is None else level.peak,
        stages_crossed=tuple(stage for stage, _ in raised),
        by_silence=True,
    )
    return replace(state, silent=True), decision


def _no_data(rule: AlertRule, state: RuleState, at: datetime) -> tuple[RuleState, AlertDecision]:
    stage = rule.no_data.stage if rule.no_data else ""
    value = state.newest_value or 0.0
    level = LevelState(raised_at=at, peak=value, by_silence=True)
    decision = AlertDecision("raised", stage, None, at, value, at, value, (stage,), by_silence=True)
    return replace(state, levels={**state.levels, stage: level}), decision

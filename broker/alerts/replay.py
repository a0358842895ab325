# SPDX-License-Identifier: Apache-2.0
"""What would have happened: a rule on a recorded series, with the same code as the live evaluation.

Time is that of the record: silence is judged when it would have been, escalations count from the reading that decided.
Nothing is written and nobody is told.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from broker.alerts.conditions import Series
from broker.alerts.evaluation import evaluate
from broker.alerts.lifecycle import Alarm, Step, Subject, advance
from broker.alerts.rules import AlertRule
from broker.alerts.silence import due_at, overdue
from broker.alerts.states import AlertDecision, RuleState, Sample
from broker.times import to_text


@dataclass(slots=True)
class Replay:
    """One rule at one entity. Samples are counted in the order of their times; then :meth:`finish`."""

    rule: AlertRule
    entity_id: str
    state: RuleState = field(default_factory=RuleState)
    alarm: Alarm | None = None
    decisions: list[AlertDecision] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    readings: int = 0

    def count(self, sample: Sample, series: Collection[Series] | None = None) -> None:
        """Count ``sample`` in (see :func:`~broker.alerts.evaluate`), after the silence before it."""
        self._let_pass(sample.observed_at)
        self.readings += 1
        self.state, decisions = evaluate(self.rule, self.state, sample, series)
        self._follow(decisions)

    def finish(self, until: datetime) -> None:
        """The record ends; what silence means until then."""
        self._let_pass(until)

    def _let_pass(self, until: datetime) -> None:
        due = due_at(self.rule, self.state)
        if due is None or due >= until:
            return
        self.state, decisions = overdue(self.rule, self.state, until)
        for decision in decisions:
            self._follow([decision])

    def _follow(self, decisions: Sequence[AlertDecision]) -> None:
        if not decisions:
            return
        self.decisions += decisions
        subject = Subject(self.rule.id, 0, self.entity_id)
        steps = advance(self.alarm, subject, decisions, self.state.raised, decisions[0].observed_at)
        for step in steps:
            self.alarm = None if step.alarm.cleared_at is not None else step.alarm
        self.steps += [step for step in steps if step.kind != "changed"]


def replay_document(replay: Replay) -> dict[str, Any]:
    """What would have been told, as JSON: levels one by one (``alerts``), and the steps of alarms."""
    return {
        "ruleId": replay.rule.id,
        "ruleName": {"ja": replay.rule.name_ja, "en": replay.rule.name_en},
        "entityId": replay.entity_id,
        "unitCode": replay.rule.unit_code,
        "readings": replay.readings,
        "raised": list(replay.state.raised),
        "alerts": [_alert(decision) for decision in replay.decisions],
        "steps": [_step(step) for step in replay.steps],
    }


def _alert(decision: AlertDecision) -> dict[str, Any]:
    return {
        "at": to_text(decision.observed_at),
        "kind": decision.kind,
        "stage": decision.stage,
        "threshold": decision.threshold,
        "value": decision.value,
        "peakValue": decision.peak_value,
        "stagesCrossed": list(decision.stages_crossed),
        "measures": [dict(measure) for measure in decision.measures],
        "suspect": decision.suspect,
        "unstable": decision.unstable,
        "bySilence": decision.by_silence,
    }


def _step(step: Step) -> dict[str, Any]:
    decision = step.decision
    return {
        "at": to_text(decision.observed_at) if decision else None,
        "kind": step.kind,
        "stage": step.alarm.stage,
        "previousStage": step.previous,
        "value": decision.value if decision else None,
        "unknown": step.alarm.is_unknown,
        "unstable": step.alarm.is_unstable,
    }

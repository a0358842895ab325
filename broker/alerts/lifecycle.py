# SPDX-License-Identifier: Apache-2.0
"""The life of an alarm: what people are told about one rule at one station, from calm to calm.

Alerts are levels that are raised and cleared one by one; an alarm is the whole of it. Each step of its life
(:data:`StepKind`) is one row for those who deliver it: a jump over three levels is one step that names all three.
Pure: an alarm, what happened and the time give the alarm after it and its steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from broker.alerts.states import AlertDecision
from broker.errors import BadRequestData, Conflict
from schemas.stages import RANK

Status = Literal["open", "acknowledged", "shelved", "cleared"]
StepKind = Literal[
    "raised",  # the first level
    "escalated",  # a higher one; whoever had acknowledged is asked again, a shelf is over
    "downgraded",  # a lower one
    "cleared",  # calm
    "withdrawn",  # the rule no longer asks for it
    "silent",  # nothing is heard: flooded as before, and unknown
    "returned",  # heard again
    "unacknowledged",  # nobody has acknowledged in time; ``escalation`` counts how often
    "acknowledged",
    "shelved",
    "unshelved",
    "changed",  # other levels below the same highest one: nothing to tell anybody
]
LONGEST_SHELF: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm. ``stages``: raised now, lowest first; ``highest``: the highest there was.

    ``opened_at`` and ``cleared_at`` are observation times; the other times are the hub's. ``escalate_after``: seconds
    from ``escalation_base`` on, of which ``escalation`` have passed unanswered; ``escalate_at`` is the next.
    """

    alarm_id: str
    rule_id: str
    entity_key: int
    entity_id: str
    opened_at: datetime
    stages: tuple[str, ...]
    highest: str
    escalate_after: tuple[float, ...]
    escalation_base: datetime
    status: Status = "open"
    incident_id: str = ""
    is_unknown: bool = False
    is_unstable: bool = False
    cleared_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    shelved_until: datetime | None = None
    shelved_by: str | None = None
    shelve_reason: str | None = None
    escalation: int = 0
    escalate_at: datetime | None = None

    @property
    def stage(self) -> str:
        """The highest stage now, or the highest there was when nothing is raised any more."""
        return self.stages[-1] if self.stages else self.highest


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the alarm after it, the stage before, and the decision of a reading or what a person said."""

    kind: StepKind
    alarm: Alarm
    previous: str | None = None
    decision: AlertDecision | None = None
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alarm is about."""

    rule_id: str
    entity_key: int
    entity_id: str
    escalate_after: tuple[timedelta, ...] = ()


def advance(
    alarm: Alarm | None, subject: Subject, decisions: Sequence[AlertDecision], stages: tuple[str, ...], now: datetime
) -> list[Step]:
    """The steps that the ``decisions`` of one reading make, after which ``stages`` are raised."""
    steps: list[Step] = []
    for decision in decisions:
        if decision.kind == "dated" and alarm is not None:
            alarm = replace(alarm, opened_at=min(alarm.opened_at, decision.observed_at))
            steps.append(Step("changed", alarm, alarm.stage, decision))
        elif not decision.is_crossing and alarm is not None:
            alarm = replace(alarm, is_unknown=decision.kind == "silent")
            steps.append(Step("silent" if alarm.is_unknown else "returned", alarm, alarm.stage, decision))
    crossings = [decision for decision in decisions if decision.is_crossing]
    if crossings:
        step = _crossing(alarm, subject, crossings, stages, now)
        steps += [step] if step is not None else []
    return steps


def _crossing(
    alarm: Alarm | None, subject: Subject, decisions: Sequence[AlertDecision], stages: tuple[str, ...], now: datetime
) -> Step | None:
    deciding = _highest(decisions)
    unstable = any(decision.unstable and decision.kind == "raised" for decision in decisions)
    if alarm is None:
        if not stages:
            return None  # what began before there were alarms
        return Step("raised", _opened(subject, deciding, stages, unstable, now), None, deciding)
    before = alarm.stage
    if not stages:
        withdrawn = all(decision.withdrawn for decision in decisions)
        return Step("withdrawn" if withdrawn else "cleared", _closed(alarm, deciding.observed_at), before, deciding)
    alarm = replace(alarm, stages=stages, is_unstable=alarm.is_unstable or unstable)
    if RANK[alarm.stage] > RANK[before]:
        higher = alarm.stage if RANK[alarm.stage] > RANK[alarm.highest] else alarm.highest
        return Step("escalated", _asked_again(replace(alarm, highest=higher), now), before, deciding)
    return Step("downgraded" if RANK[alarm.stage] < RANK[before] else "changed", alarm, before, deciding)


def _highest(decisions: Sequence[AlertDecision]) -> AlertDecision:
    """The decision to speak of: the highest that was raised, else the highest that was cleared."""
    return max(decisions, key=lambda decision: (decision.kind == "raised", RANK[decision.stage]))


def _opened(subject: Subject, deciding: AlertDecision, stages: tuple[str, ...], unstable: bool, now: datetime) -> Alarm:
    after = tuple(step.total_seconds() for step in subject.escalate_after)
    alarm = Alarm(
        alarm_id=alarm_id(subject, deciding.observed_at),
        rule_id=subject.rule_id,
        entity_key=subject.entity_key,
        entity_id=subject.entity_id,
        opened_at=deciding.observed_at,
        stages=stages,
        highest=stages[-1],
        escalate_after=after,
        escalation_base=now,
        is_unstable=unstable,
    )
    return _asked_again(alarm, now)


def alarm_id(subject: Subject, opened_at: datetime) -> str:
    """The same whenever it is computed: ``<rule>:<time>:<eight digits of the entity>``."""
    entity = hashlib.sha256(subject.entity_id.encode()).hexdigest()[:8]
    return f"{subject.rule_id}:{opened_at:%Y%m%dT%H%M%S}{f'.{opened_at:%f}' if opened_at.microsecond else ''}Z:{entity}"


def _closed(alarm: Alarm, at: datetime) -> Alarm:
    return replace(alarm, status="cleared", stages=(), cleared_at=at, is_unknown=False, escalate_at=None)


def _asked_again(alarm: Alarm, now: datetime) -> Alarm:
    """Open and not acknowledged, with the clock of escalation at its beginning."""
    return replace(
        alarm,
        status="open",
        acknowledged_at=None,
        acknowledged_by=None,
        shelved_until=None,
        shelved_by=None,
        shelve_reason=None,
        escalation=0,
        escalation_base=now,
        escalate_at=_escalate_at(alarm, now, 0),
    )


def _escalate_at(alarm: Alarm, base: datetime, passed: int) -> datetime | None:
    return base + timedelta(seconds=alarm.escalate_after[passed]) if passed < len(alarm.escalate_after) else None


def acknowledge(alarm: Alarm, by: str, now: datetime, note: str | None = None) -> Step | None:
    """Somebody has seen it; None when that is known already. Raises :class:`Conflict` when it is cleared."""
    _must_be_open(alarm)
    if alarm.status == "acknowledged":
        return None
    seen = replace(_asked_again(alarm, now), status="acknowledged", acknowledged_at=now, acknowledged_by=by)
    return Step("acknowledged", replace(seen, escalate_at=None), alarm.stage, by=by, reason=note)


def shelve(alarm: Alarm, by: str, reason: str, until: datetime, now: datetime) -> Step:
    """Nobody is to be told until then, unless it gets worse; it needs a reason.

    Raises :class:`BadRequestData`, or :class:`Conflict` when the alarm is cleared.
    """
    _must_be_open(alarm)
    if not reason.strip():
        raise BadRequestData("reason: shelving needs one / 理由が必要です")
    if not now < until <= now + LONGEST_SHELF:
        raise BadRequestData(f"until: it is not within the next {LONGEST_SHELF.days} days / 期限は7日以内です")
    shelved = replace(_asked_again(alarm, now), status="shelved", shelved_until=until, shelved_by=by)
    return Step("shelved", replace(shelved, shelve_reason=reason, escalate_at=None), alarm.stage, by=by, reason=reason)


def unshelve(alarm: Alarm, by: str | None, now: datetime, reason: str | None = None) -> Step:
    """The shelf is over: by somebody, or (None) by its time. Raises :class:`Conflict` when there is none."""
    if alarm.status != "shelved":
        raise Conflict(f"Alarm {alarm.alarm_id} is {alarm.status}, not shelved")
    return Step("unshelved", _asked_again(alarm, now), alarm.stage, by=by, reason=reason)


def time_passes(alarm: Alarm, now: datetime) -> Step | None:
    """What is due by now: the end of a shelf, or the next escalation. None: nothing."""
    if alarm.status == "shelved" and alarm.shelved_until is not None and alarm.shelved_until <= now:
        return unshelve(alarm, None, now, "expired")
    if alarm.status != "open" or alarm.escalate_at is None or alarm.escalate_at > now:
        return None
    passed = alarm.escalation + 1
    following = _escalate_at(alarm, alarm.escalation_base, passed)
    return Step("unacknowledged", replace(alarm, escalation=passed, escalate_at=following), alarm.stage)


def _must_be_open(alarm: Alarm) -> None:
    if alarm.status == "cleared":
        raise Conflict(f"Alarm {alarm.alarm_id} is cleared / 解除済みです")

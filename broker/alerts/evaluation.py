# SPDX-License-Identifier: Apache-2.0
"""The state machine behind threshold alerts: a rule, where it stands, and one sample give decisions.

Pure and deterministic by ``observedAt``: the same samples in the same order give the same decisions whenever
and wherever they are evaluated, so that a restart, a replay or a rehearsal on history cannot disagree with the
live run.

- Only samples newer than the newest one seen count. Late, repeated and corrected samples change nothing.
- What is not a number says nothing: missing is not calm, and no sample ever clears by staying away.
- Raise: the sample at or above the threshold that completes the confirmation. Clear: the sample that
  completes ``clear_after`` below ``threshold - hysteresis``.
- A jump over several levels raises each of them, lowest first, and every decision lists them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

from broker.alerts.rules import AlertRule, Level
from broker.entities import AttributeKind, Instance
from broker.errors import MinamoError
from broker.times import parse_time, to_text
from schemas.stages import STAGE_BY_CODE

STATE_VERSION: Final = 1

# A threshold of 1.2 with 0.1 hysteresis must clear below 1.1, not below 1.0999999999999999.
_DECIMALS: Final = 9

_METRES: Final[dict[str, float]] = {  # UN/CEFACT Recommendation 20, lengths
    "MTR": 1.0,
    "DMT": 0.1,
    "CMT": 0.01,
    "MMT": 0.001,
    "FOT": 0.3048,
    "INH": 0.0254,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of the watched attribute, in the rule's unit, as measured at ``observed_at`` (aware)."""

    observed_at: datetime
    value: object


@dataclass(frozen=True, slots=True)
class LevelState:
    """Where one level stands. ``raised_at`` is None while it is not raised.

    ``confirming_since``/``confirming_count``: samples at or above the threshold that do not raise yet.
    ``below_since``: first of the samples that are below the clearing level now. ``threshold``: as it was when
    raised. ``peak``: highest value since confirming began or it was raised.
    """

    raised_at: datetime | None = None
    threshold: float | None = None
    peak: float | None = None
    below_since: datetime | None = None
    confirming_since: datetime | None = None
    confirming_count: int = 0


CALM: Final = LevelState()


@dataclass(frozen=True, slots=True)
class RuleState:
    """Where a rule stands for one entity: the newest sample counted, and the levels not calm."""

    newest: datetime | None = None
    newest_value: float | None = None
    levels: Mapping[str, LevelState] = field(default_factory=dict)

    @property
    def raised(self) -> tuple[str, ...]:
        """Codes of the stages that are raised now, lowest first."""
        return tuple(stage for stage, _ in _raised(self.levels))


@dataclass(frozen=True, slots=True)
class AlertDecision:
    """One alert is raised or cleared.

    ``observed_at`` and ``value`` are of the sample that decided. ``raised_at`` names the alert (equal to
    ``observed_at`` when it is raised). ``stages_crossed``: every stage that the same sample raised (or
    cleared), lowest first, this one included. ``withdrawn``: cleared because the rule no longer asks for it,
    not because the level fell.
    """

    kind: Literal["raised", "cleared"]
    stage: str
    threshold: float
    observed_at: datetime
    value: float
    raised_at: datetime
    peak_value: float
    stages_crossed: tuple[str, ...]
    withdrawn: bool = False


def evaluate(rule: AlertRule, state: RuleState, sample: Sample) -> tuple[RuleState, list[AlertDecision]]:
    """Count ``sample`` in: the state after it, and what it decides, raises upwards and clears downwards.

    Nothing happens while the rule is disabled. A level that the rule has lost since is withdrawn.
    """
    value = _number(sample.value)
    is_old = state.newest is not None and sample.observed_at <= state.newest
    if value is None or is_old or not rule.enabled:
        return state, []
    at = sample.observed_at
    after: dict[str, LevelState] = {}
    raised: list[tuple[Level, LevelState]] = []
    cleared: list[tuple[Level, LevelState]] = []
    for level in rule.levels:
        before = state.levels.get(level.stage, CALM)
        now = _step(rule, level, before, at, value)
        if now != CALM:
            after[level.stage] = now
        if before.raised_at is None and now.raised_at is not None:
            raised.append((level, now))
        elif before.raised_at is not None and now.raised_at is None:
            cleared.append((level, before))
    watched = {level.stage for level in rule.levels}
    lost = {stage: level for stage, level in state.levels.items() if stage not in watched}
    decisions = _withdrawals(lost, at, value)
    decisions += _decisions("raised", raised, at, value)
    decisions += reversed(_decisions("cleared", cleared, at, value))
    return RuleState(at, value, after), decisions


def withdraw(state: RuleState, at: datetime) -> tuple[RuleState, list[AlertDecision]]:
    """Close all that is raised: the rule is switched off, deleted or no longer watches the entity."""
    value = state.newest_value
    return replace(state, levels={}), [] if value is None else _withdrawals(state.levels, at, value)


def new_peaks(before: RuleState, after: RuleState) -> dict[str, tuple[datetime, float]]:
    """Raised stages whose peak is not what it was before: ``{stage: (raised_at, peak)}``."""
    peaks: dict[str, tuple[datetime, float]] = {}
    for stage, level in after.levels.items():
        was = before.levels.get(stage, CALM)
        is_new = (level.raised_at, level.peak) != (was.raised_at, was.peak)
        if is_new and level.raised_at is not None and level.peak is not None:
            peaks[stage] = (level.raised_at, level.peak)
    return peaks


def sample_of(rule: AlertRule, instance: Instance, not_after: datetime | None = None) -> Sample | None:
    """The sample that an instance of the rule's attribute carries, in the rule's unit, or None.

    Its time is ``observedAt``, or for instances without one the time of writing, as in the history. Lengths
    are converted; a unit that cannot be compared with the rule's gives None. So does a time past
    ``not_after``: one sample dated far in the future would make the rule blind until then.
    """
    time = instance.get("observedAt") or instance.get("modifiedAt")
    number = _number(instance.get("value")) if instance.get("type") == AttributeKind.PROPERTY else None
    if number is None or not isinstance(time, str):
        return None
    value = _in_unit(number, instance.get("unitCode"), rule.unit_code)
    observed_at = parse_time(time)
    if value is None or (not_after is not None and observed_at > not_after):
        return None
    return Sample(observed_at, value)


def state_document(state: RuleState) -> dict[str, Any]:
    """Write ``state`` as JSON (table ``alert_state``)."""
    return {
        "version": STATE_VERSION,
        "newest": _text(state.newest),
        "newestValue": state.newest_value,
        "levels": {stage: _level_document(level) for stage, level in state.levels.items()},
    }


def parse_state(document: Mapping[str, Any]) -> RuleState:
    """Read what :func:`state_document` wrote; :class:`MinamoError` for a version this code does not know."""
    version = document.get("version")
    if version != STATE_VERSION:
        raise MinamoError(f"Alert state of version {version!r} is not known, only {STATE_VERSION}")
    return RuleState(
        _time(document["newest"]),
        _float(document["newestValue"]),
        {stage: _parse_level(level) for stage, level in document["levels"].items()},
    )


def _step(rule: AlertRule, level: Level, before: LevelState, at: datetime, value: float) -> LevelState:
    if before.raised_at is None:
        return _step_calm(rule, level, before, at, value)
    return _step_raised(rule, level, before, at, value)


def _step_calm(rule: AlertRule, level: Level, before: LevelState, at: datetime, value: float) -> LevelState:
    """A level that is not raised: any sample below the threshold begins the confirmation anew."""
    if value < level.threshold:
        return CALM
    since = before.confirming_since or at
    count = before.confirming_count + 1
    peak = value if before.peak is None else max(before.peak, value)
    asked = rule.confirmation
    is_confirmed = (
        (asked.count is None and asked.duration is None)
        or (asked.count is not None and count >= asked.count)
        or (asked.duration is not None and at - since >= asked.duration)
    )
    if is_confirmed:
        return LevelState(raised_at=at, threshold=level.threshold, peak=peak)
    return LevelState(peak=peak, confirming_since=since, confirming_count=count)


def _step_raised(rule: AlertRule, level: Level, before: LevelState, at: datetime, value: float) -> LevelState:
    """A raised level: any sample at or above the clearing level begins the clearing time anew."""
    peak = value if before.peak is None else max(before.peak, value)
    if value >= round(level.threshold - rule.hysteresis, _DECIMALS):
        return replace(before, peak=peak, below_since=None)
    since = before.below_since or at
    return CALM if at - since >= rule.clear_after else replace(before, peak=peak, below_since=since)


def _decisions(
    kind: Literal["raised", "cleared"], changed: list[tuple[Level, LevelState]], at: datetime, value: float
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
            peak_value=value if state.peak is None else max(state.peak, value),
            stages_crossed=stages,
        )
        for level, state in changed
    ]


def _withdrawals(levels: Mapping[str, LevelState], at: datetime, value: float) -> list[AlertDecision]:
    """Clear each raised one of ``levels``, highest first."""
    raised = _raised(levels)
    stages = tuple(stage for stage, _ in raised)
    return [
        AlertDecision(
            kind="cleared",
            stage=stage,
            threshold=value if level.threshold is None else level.threshold,
            observed_at=at,
            value=value,
            raised_at=level.raised_at or at,
            peak_value=value if level.peak is None else level.peak,
            stages_crossed=stages,
            withdrawn=True,
        )
        for stage, level in reversed(raised)
    ]


def _raised(levels: Mapping[str, LevelState]) -> list[tuple[str, LevelState]]:
    """Those of ``levels`` that are raised, lowest first (jsonb does not keep the order of members)."""
    raised = [(stage, level) for stage, level in levels.items() if level.raised_at is not None]
    return sorted(raised, key=lambda item: STAGE_BY_CODE[item[0]].order)


def _number(value: object) -> float | None:
    """``value`` as a number, or None for anything else (booleans, text, NaN, infinities)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _in_unit(value: float, unit: object, wanted: str) -> float | None:
    """``value`` in the ``wanted`` unit (no unit is taken for it), or None when they do not compare."""
    if unit is None or unit == wanted:
        return value
    if not isinstance(unit, str) or unit not in _METRES or wanted not in _METRES:
        return None
    return round(value * _METRES[unit] / _METRES[wanted], _DECIMALS)


def _level_document(level: LevelState) -> dict[str, Any]:
    """One level, without the members that are not set."""
    members = {
        "raisedAt": _text(level.raised_at),
        "threshold": level.threshold,
        "peak": level.peak,
        "belowSince": _text(level.below_since),
        "confirmingSince": _text(level.confirming_since),
        "confirmingCount": level.confirming_count or None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _parse_level(document: Mapping[str, Any]) -> LevelState:
    return LevelState(
        raised_at=_time(document.get("raisedAt")),
        threshold=_float(document.get("threshold")),
        peak=_float(document.get("peak")),
        below_since=_time(document.get("belowSince")),
        confirming_since=_time(document.get("confirmingSince")),
        confirming_count=document.get("confirmingCount", 0),
    )


def _float(value: float | None) -> float | None:
    """jsonb gives back a whole number where a float went in (1e22)."""
    return None if value is None else float(value)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else to_text(moment)


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)

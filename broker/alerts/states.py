# SPDX-License-Identifier: Apache-2.0
"""What the evaluation of rules takes and gives: samples, where a rule stands for an entity, and decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from broker.alerts.conditions import Memory
from broker.alerts.forecasts import Curve, curve_of
from broker.alerts.rules import AlertRule
from broker.entities import AttributeKind, Instance
from broker.errors import MinamoError
from broker.quality import Flag, is_doubtful, judgement_of
from broker.times import parse_time, to_text, to_text_or_none
from schemas.stages import RANK

STATE_VERSION: Final = 1
DECIMALS: Final = 9  # a threshold of 1.2 with 0.1 hysteresis must clear below 1.1, not below 1.0999999999999999

_METRES: Final[dict[str, float]] = {  # UN/CEFACT Recommendation 20, lengths
    "MTR": 1.0,
    "DMT": 0.1,
    "CMT": 0.01,
    "MMT": 0.001,
    "FOT": 0.3048,
    "INH": 0.0254,
}
_SAYS_NOTHING: Final = frozenset({Flag.MISSING, Flag.MAINTENANCE})

Kind = Literal["raised", "cleared", "silent", "returned", "dated"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value as measured at ``observed_at`` (aware); of the watched attribute in the rule's unit. Or the curve of a
    forecast that was issued then.

    ``unit``: of ``value`` where it is not the rule's. ``suspect``: its quality is in doubt.
    """

    observed_at: datetime
    value: object
    unit: str | None = None
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class LevelState:
    """Where one level stands. ``raised_at`` is None while it is not raised.

    ``confirming_since``/``confirming_count``: samples at or above the threshold that do not raise yet.
    ``below_since``: first of the samples that are below the clearing level now. ``threshold``: as it was when
    raised. ``peak``: highest value since confirming began or it was raised. ``raises``: when it was raised lately.
    ``unstable``: it was raised too often. ``by_silence``: silence raised it, no value.
    """

    raised_at: datetime | None = None
    threshold: float | None = None
    peak: float | None = None
    below_since: datetime | None = None
    confirming_since: datetime | None = None
    confirming_count: int = 0
    raises: tuple[datetime, ...] = ()
    unstable: bool = False
    by_silence: bool = False


CALM: Final = LevelState()


@dataclass(frozen=True, slots=True)
class Early:
    """A level that a fresh reading reached whose turn has not come (:mod:`broker.alerts.early`): its time and value.

    ``told``: it is the raise of an alert; else the level was raised already, by older readings. ``held``: the value
    with which an older reading reached the level since, of which nobody was told.
    """

    at: datetime
    value: float
    threshold: float
    told: bool
    held: float | None = None


@dataclass(frozen=True, slots=True)
class RuleState:
    """Where a rule stands for one entity: the newest sample counted, and the levels not calm.

    ``memory``: what conditions remember; ``held``: those of it that wait after a suspect sample. ``silent``: something
    is raised and nothing is heard. ``early``: what was raised before its turn.
    """

    newest: datetime | None = None
    newest_value: float | None = None
    levels: Mapping[str, LevelState] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    silent: bool = False
    early: Mapping[str, Early] = field(default_factory=dict)

    @property
    def raised(self) -> tuple[str, ...]:
        """Codes of the stages that are raised now, lowest first."""
        raised = {stage for stage, level in self.levels.items() if level.raised_at is not None}
        return tuple(sorted(raised | self.early.keys(), key=RANK.__getitem__))


@dataclass(frozen=True, slots=True)
class AlertDecision:
    """One alert is raised or cleared; or its station falls silent, or returns.

    ``observed_at`` and ``value`` are of the sample that decided. ``raised_at`` names the alert (equal to
    ``observed_at`` when it is raised). ``stages_crossed``: every stage that the same sample raised (or
    cleared), lowest first, this one included; for silence those that are raised. ``withdrawn``: cleared because the
    rule no longer asks for it, not because the level fell. ``threshold`` None: a condition or silence decided;
    ``measures`` is what a condition compared. ``unstable``: it was raised too often and stays until it is calm.

    ``dated``: nothing happened, but the alert that ``raised_at`` names began earlier, at ``observed_at``.
    """

    kind: Kind
    stage: str
    threshold: float | None
    observed_at: datetime
    value: float
    raised_at: datetime
    peak_value: float
    stages_crossed: tuple[str, ...]
    withdrawn: bool = False
    measures: tuple[Mapping[str, Any], ...] = ()
    suspect: bool = False
    unstable: bool = False
    by_silence: bool = False

    @property
    def is_crossing(self) -> bool:
        """Whether a level is raised or cleared."""
        return self.kind in ("raised", "cleared")


def raised_levels(levels: Mapping[str, LevelState]) -> list[tuple[str, LevelState]]:
    """Those of ``levels`` that are raised, lowest first (jsonb does not keep the order of members)."""
    raised = [(stage, level) for stage, level in levels.items() if level.raised_at is not None]
    return sorted(raised, key=lambda item: RANK[item[0]])


def sample_of(rule: AlertRule, instance: Instance, not_after: datetime | None = None) -> Sample | None:
    """The sample that an instance of the rule's attribute carries, in the rule's unit, or None.

    Lengths are converted; a unit that cannot be compared with the rule's gives None.
    """
    sample = any_sample_of(instance, not_after)
    return None if sample is None else own_sample(rule, sample)


def own_sample(rule: AlertRule, sample: Sample) -> Sample | None:
    """``sample``, which is of the rule's attribute, in the rule's unit, or None: it is no level."""
    if isinstance(sample.value, Curve):
        return None
    if sample.unit is None:
        return sample
    value = in_unit(float(sample.value), sample.unit, rule.unit_code)  # type: ignore[arg-type]
    return None if value is None else Sample(sample.observed_at, value, suspect=sample.suspect)


def any_sample_of(instance: Instance, not_after: datetime | None = None) -> Sample | None:
    """The number that an instance carries, in its own unit, or None.

    Its time is ``observedAt``, or for instances without one the time of writing, as in the history. A time past
    ``not_after`` gives None: one sample dated far in the future would make the rule blind until then. So does a value
    whose quality says that it is none, or that somebody works at the station.
    """
    if instance.get("type") == AttributeKind.JSON_PROPERTY and (curve := curve_of(instance)) is not None:
        return Sample(curve.issued_at, curve) if not_after is None or curve.issued_at <= not_after else None
    time = instance.get("observedAt") or instance.get("modifiedAt")
    value = number(instance.get("value")) if instance.get("type") == AttributeKind.PROPERTY else None
    if value is None or not isinstance(time, str):
        return None
    observed_at = parse_time(time)
    said = judgement_of(instance)
    if (said is not None and said.flag in _SAYS_NOTHING) or (not_after is not None and observed_at > not_after):
        return None
    unit = instance.get("unitCode")
    suspect = said is not None and is_doubtful(instance)
    return Sample(observed_at, value, unit if isinstance(unit, str) else None, suspect=suspect)


def number(value: object) -> float | None:
    """``value`` as a number, or None for anything else (booleans, text, NaN, infinities)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def in_unit(value: float, unit: object, wanted: str) -> float | None:
    """``value`` in the ``wanted`` unit (no unit is taken for it), or None when they do not compare."""
    if unit is None or unit == wanted:
        return value
    if not isinstance(unit, str) or unit not in _METRES or wanted not in _METRES:
        return None
    return round(value * _METRES[unit] / _METRES[wanted], DECIMALS)


def state_document(state: RuleState) -> dict[str, Any]:
    """Write ``state`` as JSON (table ``alert_state``)."""
    document: dict[str, Any] = {
        "version": STATE_VERSION,
        "newest": to_text_or_none(state.newest),
        "newestValue": state.newest_value,
        "levels": {stage: _level_document(level) for stage, level in state.levels.items()},
    }
    if state.memory:
        document["memory"] = {key: [list(point) for point in points] for key, points in state.memory.items()}
    if state.held:
        document["held"] = sorted(state.held)
    if state.silent:
        document["silent"] = True
    if state.early:
        document["early"] = {stage: _early_document(mark) for stage, mark in state.early.items()}
    return document


def parse_state(document: Mapping[str, Any]) -> RuleState:
    """Read what :func:`state_document` wrote; :class:`MinamoError` for a version this code does not know."""
    version = document.get("version")
    if version != STATE_VERSION:
        raise MinamoError(f"Alert state of version {version!r} is not known, only {STATE_VERSION}")
    memory = document.get("memory", {})
    return RuleState(
        _time(document["newest"]),
        _float(document["newestValue"]),
        {stage: _parse_level(level) for stage, level in document["levels"].items()},
        {key: tuple((float(at), float(value)) for at, value in points) for key, points in memory.items()},
        frozenset(document.get("held", ())),
        bool(document.get("silent", False)),
        {stage: _parse_early(mark) for stage, mark in document.get("early", {}).items()},
    )


def _level_document(level: LevelState) -> dict[str, Any]:
    """One level, without the members that are not set."""
    members = {
        "raisedAt": to_text_or_none(level.raised_at),
        "threshold": level.threshold,
        "peak": level.peak,
        "belowSince": to_text_or_none(level.below_since),
        "confirmingSince": to_text_or_none(level.confirming_since),
        "confirmingCount": level.confirming_count or None,
        "raises": [to_text(moment) for moment in level.raises] or None,
        "unstable": level.unstable or None,
        "bySilence": level.by_silence or None,
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
        raises=tuple(parse_time(text) for text in document.get("raises", ())),
        unstable=document.get("unstable", False),
        by_silence=document.get("bySilence", False),
    )


def _early_document(mark: Early) -> dict[str, Any]:
    document = {"at": to_text(mark.at), "value": mark.value, "threshold": mark.threshold, "told": mark.told}
    return document if mark.held is None else {**document, "held": mark.held}


def _parse_early(document: Mapping[str, Any]) -> Early:
    held = _float(document.get("held"))
    value, threshold = float(document["value"]), float(document["threshold"])
    return Early(parse_time(document["at"]), value, threshold, document["told"], held)


def _float(value: float | None) -> float | None:
    """jsonb gives back a whole number where a float went in (1e22)."""
    return None if value is None else float(value)


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)

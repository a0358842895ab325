# SPDX-License-Identifier: Apache-2.0
"""The levels of an alert rule as documents: stages, thresholds turned to the gauge's zero, conditions, from and to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from broker.alerts.conditions import Series, condition_document, parse_condition
from broker.alerts.documents import array_of, moment_of, number_of, object_of, only, wrong
from broker.alerts.rules import GAUGE, AlertRule, Level
from broker.times import to_text
from schemas.stages import NO_DATA, RANK, STAGE_BY_CODE

_DECIMALS: Final = 9


def levels_of(
    value: object, own: Series, hysteresis: float, zero_point: float | None, strict: bool
) -> tuple[Level, ...]:
    """Read the levels, lowest first; their thresholds are turned to the gauge's zero."""
    items = array_of(value, "levels")
    levels = tuple(_level(item, f"levels[{n}]", own, hysteresis, zero_point) for n, item in enumerate(items))
    check_order(levels, stages_only=not strict)
    return levels


def check_order(levels: tuple[Level, ...], *, stages_only: bool = False) -> None:
    """Levels that hold at the same time ascend."""
    for index, upper in enumerate(levels):
        for lower in (level for level in levels[:index] if _overlap(level, upper)):
            if RANK[upper.stage] <= RANK[lower.stage]:
                raise wrong(f"levels[{index}].stage", f"{upper.stage} does not come after {lower.stage}")
            if stages_only or lower.threshold is None or upper.threshold is None:
                continue
            if upper.threshold <= lower.threshold:
                raise wrong(
                    f"levels[{index}].threshold",
                    f"{upper.threshold:g} ({upper.stage}) is not above {lower.threshold:g} ({lower.stage})",
                )


def _overlap(one: Level, other: Level) -> bool:
    return (one.until is None or other.since is None or other.since < one.until) and (
        other.until is None or one.since is None or one.since < other.until
    )


def _level(value: object, path: str, own: Series, hysteresis: float, zero_point: float | None) -> Level:
    level = object_of(value, path)
    only(level, frozenset({"stage", "threshold", "when", "from", "to"}), path + ".")
    stage = level.get("stage")
    known = [code for code in STAGE_BY_CODE if code != NO_DATA]
    if not isinstance(stage, str) or stage not in known:
        raise wrong(f"{path}.stage", f"{stage!r} is not one of {', '.join(known)}")
    if "when" in level and "threshold" in level:
        raise wrong(path, "either a threshold or a condition (when) is expected")
    since, until = _moment(level, "from", path), _moment(level, "to", path)
    if since is not None and until is not None and since >= until:
        raise wrong(f"{path}.to", "it ends before it begins")
    if "when" in level:
        return Level(stage, None, since, until, parse_condition(level["when"], f"{path}.when", own, hysteresis))
    if level.get("threshold", 0) is None or zero_point is None:
        return Level(stage, None, since, until)
    threshold = number_of(level.get("threshold"), f"{path}.threshold")
    return Level(stage, round(threshold - zero_point, _DECIMALS), since, until)


def level_document(level: Level, rule: AlertRule) -> dict[str, Any]:
    """Write ``level`` as :func:`levels_of` reads it, its threshold in the datum of ``rule``."""
    document: dict[str, Any] = {"stage": level.stage}
    if level.when is not None:
        document["when"] = condition_document(level.when, rule.own)
    elif level.threshold is None or rule.reference == GAUGE:
        document["threshold"] = level.threshold
    else:
        document["threshold"] = round(level.threshold + (rule.zero_point or 0.0), _DECIMALS)
    if level.since is not None:
        document["from"] = to_text(level.since)
    if level.until is not None:
        document["to"] = to_text(level.until)
    return document


def _moment(level: Mapping[str, Any], name: str, path: str) -> datetime | None:
    return None if level.get(name) is None else moment_of(level[name], f"{path}.{name}")

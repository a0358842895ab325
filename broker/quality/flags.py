# SPDX-License-Identifier: Apache-2.0
"""The words for quality, and where they stand: the sub-property ``quality`` of an attribute instance.

In normalized form::

    "waterLevel": {"type": "Property", "value": 9.93, "observedAt": "...", "unitCode": "MTR",
      "quality": {"type": "Property", "value": "suspect",
        "reasons": {"type": "Property", "value": ["spike"]}}}

All names lie in the default vocabulary, so that they read the same under any ``@context``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from broker.entities import Attributes, Instance
from broker.times import to_text
from schemas.terms import DEFAULT_VOCABULARY, NO_DATASET

QUALITY: Final = DEFAULT_VOCABULARY + "quality"
REASONS: Final = DEFAULT_VOCABULARY + "reasons"
CHECKED: Final = DEFAULT_VOCABULARY + "checked"  # "manual" where a person said it; absent: automatic
LAST_GOOD: Final = DEFAULT_VOCABULARY + "lastGood"
UNCHANGED_SINCE: Final = DEFAULT_VOCABULARY + "unchangedSince"
MANUAL: Final = "manual"


class Flag(StrEnum):
    """How good a value is."""

    GOOD = "good"
    SUSPECT = "suspect"
    MISSING = "missing"
    ESTIMATED = "estimated"
    MAINTENANCE = "maintenance"


class Reason(StrEnum):
    """Why a value has its flag. The last ones tell something of a good value and make none doubtful."""

    GROSS = "gross"  # outside of what can be
    RANGE = "range"  # outside of what is to be expected
    SPIKE = "spike"  # jumped, not confirmed yet or come back
    RATE = "rate"  # changed faster than can be, not confirmed yet or come back
    STUCK = "stuck"  # the same for too long
    CLOCK = "clock"  # dated after its arrival: the value may be right, its time is not
    SENTINEL = "sentinel"  # the device said that it has no value
    NULL = "null"  # the device sent null
    STEP = "step"  # the second reading after a jump: the jump was real
    CONFIRMED = "confirmed"  # was suspected of a jump, which the next reading confirmed
    GAP = "gap"  # the first reading after a pause
    LATE = "late"  # arrived long after it was measured
    NOT_COMPARED = "notCompared"  # arrived after newer ones: only its own value was looked at


_DOUBTS: Final = frozenset({Reason.GROSS, Reason.RANGE, Reason.SPIKE, Reason.RATE, Reason.STUCK})
JUMPS: Final = frozenset({Reason.SPIKE, Reason.RATE})


class Judgement(NamedTuple):
    """What is said of a value: the flag, the reasons (a person may give other texts), and whether a person said it."""

    flag: str
    reasons: tuple[str, ...] = ()
    manual: bool = False


GOOD: Final[Attributes] = {QUALITY: {NO_DATASET: {"type": "Property", "value": Flag.GOOD.value}}}
"""The sub-attributes of a good value that nothing more is to be said of; shared, never to be changed."""


def quality_attributes(
    flag: str,
    reasons: tuple[str, ...] = (),
    *,
    manual: bool = False,
    last_good: tuple[datetime, float] | None = None,
    unchanged_since: datetime | None = None,
) -> Attributes:
    """The sub-attributes of a value that say ``flag`` and ``reasons``.

    ``last_good`` (time, value) and ``unchanged_since`` are what the next reading is compared with.
    """
    if flag == Flag.GOOD and not (reasons or manual or last_good or unchanged_since):
        return GOOD
    beside: Attributes = {}
    if reasons:
        beside[REASONS] = _property([str(reason) for reason in reasons])
    if manual:
        beside[CHECKED] = _property(MANUAL)
    if last_good is not None:
        beside[LAST_GOOD] = {
            NO_DATASET: {"type": "Property", "value": last_good[1], "observedAt": to_text(last_good[0])}
        }
    if unchanged_since is not None:
        beside[UNCHANGED_SINCE] = _property(to_text(unchanged_since))
    return {QUALITY: {NO_DATASET: {"type": "Property", "value": str(flag), "attrs": beside}}}


def judgement_of(instance: Mapping[str, Any] | None) -> Judgement | None:
    """What an attribute instance says of its own quality; None: nothing."""
    said = quality_instance(instance)
    flag = said.get("value") if said else None
    if said is None or not isinstance(flag, str):
        return None
    beside = said.get("attrs") or {}
    reasons = _value(beside, REASONS)
    if isinstance(reasons, str):
        reasons = [reasons]
    texts = tuple(str(reason) for reason in reasons) if isinstance(reasons, list) else ()
    return Judgement(flag, texts, _value(beside, CHECKED) == MANUAL)


def is_doubtful(instance: Mapping[str, Any]) -> bool:
    """Whether the value of ``instance`` may be wrong: what alert rules hold back.

    Missing, of a time of maintenance, or suspect for more than its clock. An estimate of a person counts.
    """
    said = judgement_of(instance)
    if said is None or said.flag in (Flag.GOOD, Flag.ESTIMATED):
        return False
    if said.flag == Flag.SUSPECT and said.reasons:
        return said.manual or not _DOUBTS.isdisjoint(said.reasons)
    return True


def quality_instance(instance: Mapping[str, Any] | None) -> Instance | None:
    """The sub-property itself."""
    group = ((instance or {}).get("attrs") or {}).get(QUALITY)
    found = group.get(NO_DATASET) if isinstance(group, dict) else None
    return found if isinstance(found, dict) else None


def _property(value: Any) -> dict[str, Instance]:
    return {NO_DATASET: {"type": "Property", "value": value}}


def _value(attributes: Mapping[str, Any], name: str) -> Any:
    return (attributes.get(name) or {}).get(NO_DATASET, {}).get("value")

# SPDX-License-Identifier: Apache-2.0
"""Judging a stream of readings of one series, one by one, in the order in which they become the newest.

What has to be known of the past is little, bounded, and stands in the newest attribute instance itself
(:func:`past_of`): nothing is kept in memory or in a table of its own, so a restart, another process or a repeat changes
no verdict. Only a reading newer than the newest one is compared with the past and becomes part of it; one that comes
later (out of order, or a correction) is judged by its own value alone (:func:`judge_alone`).

**Jumps.** A value that jumped away from the last good one is suspect until the next reading. When that one is nearer to
it than to the last good value, the jump was real: the new reading is good, and the one before it is believed from then
on. Else it stays suspect. So a flood that rises faster than anybody thought is held back for one reading, never for
two.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from broker.entities import Attributes
from broker.quality.clock import untimely
from broker.quality.flags import (
    GOOD,
    JUMPS,
    LAST_GOOD,
    QUALITY,
    UNCHANGED_SINCE,
    Flag,
    Judgement,
    Reason,
    judgement_of,
    quality_attributes,
    quality_instance,
)
from broker.quality.gap import is_after_gap
from broker.quality.parameters import Checks, QuickChecks
from broker.quality.ranges import outside
from broker.quality.rate import is_too_fast
from broker.quality.spike import is_spike
from broker.quality.stuck import is_stuck
from broker.times import parse_time
from schemas.terms import NO_DATASET

_GOOD: Final = Flag.GOOD
_NO_REASONS: tuple[Reason, ...] = ()
_WRONG: Final = frozenset({Reason.GROSS, Reason.RANGE})
_SUSPECT: Final = frozenset({*_WRONG, Reason.SPIKE, Reason.RATE, Reason.STUCK, Reason.CLOCK})


class Past(NamedTuple):
    """What judging the next reading needs of the ones before.

    ``at`` and ``value`` are of the newest; ``good_at`` and ``good_value`` of the newest that was no jump and within
    its ranges (None: there was none yet). ``since``: from when on the value is what it is. ``jumped``: whether the
    newest is suspected of a jump, so that the next one decides.
    """

    at: datetime
    value: float
    good_at: datetime | None
    good_value: float
    since: datetime
    jumped: bool = False


class Verdict(NamedTuple):
    """What is said of a reading. ``confirms``: the reading before is no longer suspected of a jump."""

    flag: Flag
    reasons: tuple[Reason, ...]
    past: Past
    confirms: bool = False

    @property
    def is_plain(self) -> bool:
        """Good, and nothing more to be said."""
        return not self.reasons and self.flag is _GOOD

    @property
    def attributes(self) -> Attributes:
        """The sub-attributes for the newest instance: they tell the past to whoever judges the next one."""
        at, _, good_at, good_value, unchanged_since, _ = self.past
        last_good = None if good_at is None or good_at is at or good_at == at else (good_at, good_value)
        since = None if unchanged_since is at or unchanged_since == at else unchanged_since
        if last_good is None and since is None:
            return self.said
        return quality_attributes(self.flag, self.reasons, last_good=last_good, unchanged_since=since)

    @property
    def said(self) -> Attributes:
        """The sub-attributes for history: the flag and the reasons."""
        return GOOD if self.is_plain else quality_attributes(self.flag, self.reasons)


def is_unremarkable(
    quick: QuickChecks,
    before: tuple[datetime, float],
    value: float,
    at: datetime,
    received_at: datetime | None,
) -> bool:
    """Whether :func:`judge` would say that a reading is good, and nothing else, after one of which it said the same.

    A short way for nearly all readings: False only means that they have to be judged.
    """
    low, high, step, pause, least_delay, most_delay, may_stay = quick
    before_at, good_value = before
    return (
        low <= value <= high
        and -step <= value - good_value <= step
        and at - before_at <= pause
        and (received_at is None or least_delay <= received_at - at <= most_delay)
        and (may_stay or value != good_value)
    )


def is_plain(instance: Mapping[str, Any]) -> bool:
    """Whether ``instance`` is a value of which nothing is said but that it is good, if anything."""
    attributes = instance.get("attrs")
    if attributes is None:
        return True
    group = attributes.get(QUALITY)
    return group is None or group == GOOD[QUALITY]


def judge(
    checks: Checks,
    past: Past | None,
    value: float,
    at: datetime,
    received_at: datetime | None,
    maintenance: bool = False,
) -> Verdict:
    """Judge a reading that is newer than all before; ``received_at``: when the hub got it, if that is known."""
    reasons, wrong = _alone(checks, value, at, received_at)
    if past is None:
        return _verdict(reasons, Past(at, value, None if wrong or maintenance else at, value, at), maintenance)
    elapsed_s = (at - past.at).total_seconds()
    paused = checks.gap is not None and is_after_gap(elapsed_s, checks.gap.after(past.value))
    if paused:
        reasons = (*reasons, Reason.GAP)
    jumped = confirms = False
    good_at, good_value = past.good_at, past.good_value
    if not wrong and good_at is not None and not maintenance:
        confirms = past.jumped and abs(value - past.value) < abs(value - good_value)
        if confirms:
            reasons = (*reasons, Reason.STEP)
        elif (jump := _jump(checks, value - good_value, (at - good_at).total_seconds())) is not None:
            jumped = True
            reasons = (*reasons, jump)
    since = at
    if checks.stuck is not None and value == past.value and not paused:  # nobody knows how it was in the pause
        since = past.since
        if is_stuck(value, at, since, *checks.stuck):
            reasons = (*reasons, Reason.STUCK)
    if not (wrong or jumped or maintenance):
        good_at, good_value = at, value
    return _verdict(reasons, Past(at, value, good_at, good_value, since, jumped), maintenance, confirms)


def judge_alone(
    checks: Checks,
    value: float,
    at: datetime,
    received_at: datetime | None,
    maintenance: bool = False,
) -> Verdict:
    """Judge a reading that is not newer than all before by its own value.

    It is no part of the past, unless it corrects the newest: ``past`` of the verdict is that of such a one.
    """
    reasons, wrong = _alone(checks, value, at, received_at)
    past = Past(at, value, None if wrong or maintenance else at, value, at)
    return _verdict((*reasons, Reason.NOT_COMPARED), past, maintenance)


def past_of(instance: Mapping[str, Any]) -> Past | None:
    """The past as the newest instance of a series tells it, whoever wrote it; None when it is no dated number."""
    value, text = instance.get("value"), instance.get("observedAt")
    if text is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    at = datetime.fromisoformat(text)
    quality = quality_instance(instance)
    if quality is None or (quality.get("value") == "good" and "attrs" not in quality):
        return Past(at, value, at, value, at)
    said = judgement_of(instance) or Judgement(Flag.GOOD)
    beside = quality.get("attrs") or {}
    jumped = not said.manual and not JUMPS.isdisjoint(said.reasons)
    since = _unchanged_since(beside) or at
    if (good := _last_good(beside)) is not None:
        return Past(at, value, good[0], good[1], since, jumped)
    return Past(at, value, None if jumped or _is_no_reference(said) else at, value, since, jumped)


def _is_no_reference(said: Judgement) -> bool:
    """Whether nothing is to be compared with the value."""
    if said.flag == Flag.SUSPECT:
        return said.manual or not _WRONG.isdisjoint(said.reasons)
    return said.flag in (Flag.MAINTENANCE, Flag.MISSING)


def _last_good(attributes: Mapping[str, Any]) -> tuple[datetime, float] | None:
    found = _beside(attributes, LAST_GOOD)
    value = found.get("value")
    at = _time(found.get("observedAt"))
    if at is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return at, value


def _unchanged_since(attributes: Mapping[str, Any]) -> datetime | None:
    return _time(_beside(attributes, UNCHANGED_SINCE).get("value"))


def _beside(attributes: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = (attributes.get(name) or {}).get(NO_DATASET)
    return found if isinstance(found, dict) else {}


def _time(text: object) -> datetime | None:
    """A time as the hub writes it; anything else, which an API may have written, is none."""
    try:
        return parse_time(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _alone(checks: Checks, value: float, at: datetime, received_at: datetime | None) -> tuple[tuple[Reason, ...], bool]:
    """What the reading says by itself, and whether its value is wrong."""
    found = outside(value, checks.gross, checks.valid)
    reasons = _NO_REASONS if found is None else (found,)
    if received_at is not None and (timing := untimely(received_at - at, checks.ahead, checks.late)) is not None:
        reasons = (*reasons, timing)
    return reasons, found is not None


def _jump(checks: Checks, change: float, elapsed_s: float) -> Reason | None:
    if checks.spike is not None and is_spike(change, elapsed_s, *checks.spike):
        return Reason.SPIKE
    if checks.rate is not None and is_too_fast(change, elapsed_s, *checks.rate):
        return Reason.RATE
    return None


def _verdict(reasons: tuple[Reason, ...], past: Past, maintenance: bool = False, confirms: bool = False) -> Verdict:
    if maintenance:
        return Verdict(Flag.MAINTENANCE, reasons, past, False)
    flag = _GOOD if not reasons or _SUSPECT.isdisjoint(reasons) else Flag.SUSPECT
    return Verdict(flag, reasons, past, confirms)

# SPDX-License-Identifier: Apache-2.0
"""How good forecasts were: what was said, by how far ahead it was said, against what was then measured.

Beside each error stands that of persistence (the last value measured when the forecast was issued stays): a model that
is not better than that says nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

LEADS: Final = tuple(timedelta(minutes=minutes) for minutes in (10, 20, 30, 60, 120, 180, 360, 720, 1440, 2880))
"""Ends of the classes of lead times; what is further ahead is in one more class."""
TOLERANCE: Final = timedelta(minutes=10)  # how old what was measured may be at the time that was forecast

Points = Sequence[tuple[float, float]]
"""(seconds, value), oldest first."""


@dataclass(frozen=True, slots=True)
class Said:
    """One forecast: issued at a time (seconds), values for times."""

    issued_at: float
    points: Points


@dataclass(slots=True)
class Errors:
    """Sums over pairs of forecast and measurement."""

    count: int = 0
    total: float = 0.0
    absolute: float = 0.0
    squares: float = 0.0

    def add(self, error: float) -> None:
        """One more pair."""
        self.count += 1
        self.total += error
        self.absolute += abs(error)
        self.squares += error * error

    def document(self) -> dict[str, Any]:
        """Bias (forecast less measured), MAE and RMSE."""
        if not self.count:
            return {"count": 0, "bias": None, "mae": None, "rmse": None}
        return {
            "count": self.count,
            "bias": round(self.total / self.count, 6),
            "mae": round(self.absolute / self.count, 6),
            "rmse": round(math.sqrt(self.squares / self.count), 6),
        }


@dataclass(slots=True)
class Table:
    """At a threshold: forecast and measured at or above it."""

    hits: int = 0
    misses: int = 0
    false_alarms: int = 0
    calm: int = 0

    def add(self, *, said: bool, came: bool) -> None:
        """One more pair."""
        self.hits += said and came
        self.misses += came and not said
        self.false_alarms += said and not came
        self.calm += not said and not came

    def document(self) -> dict[str, Any]:
        """The counts, the probability of detection and the ratio of false alarms; null where there is nothing."""
        came, said = self.hits + self.misses, self.hits + self.false_alarms
        return {
            "hits": self.hits,
            "misses": self.misses,
            "falseAlarms": self.false_alarms,
            "correctNegatives": self.calm,
            "probabilityOfDetection": round(self.hits / came, 4) if came else None,
            "falseAlarmRatio": round(self.false_alarms / said, 4) if said else None,
        }


@dataclass(slots=True)
class LeadClass:
    """All pairs of one class of lead times."""

    until: timedelta | None
    model: Errors = field(default_factory=Errors)
    persistence: Errors = field(default_factory=Errors)
    tables: dict[str, Table] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "leadSeconds": None if self.until is None else self.until.total_seconds(),
            "forecast": self.model.document(),
            "persistence": self.persistence.document(),
            "stages": {stage: table.document() for stage, table in self.tables.items()},
        }


def verify(said: Iterable[Said], measured: Points, thresholds: Mapping[str, float]) -> list[LeadClass]:
    """Errors by class of lead time, shortest first; classes without a pair are left out."""
    times = [at for at, _ in measured]
    classes = [LeadClass(until, tables={stage: Table() for stage in thresholds}) for until in (*LEADS, None)]
    edges = [lead.total_seconds() for lead in LEADS]
    for one in said:
        start = _at(times, measured, one.issued_at)
        for at, value in one.points:
            came = _at(times, measured, at)
            if came is None:
                continue
            lead = at - one.issued_at
            found = classes[bisect_right(edges, lead - 1e-6)]
            found.model.add(value - came)
            if start is not None:
                found.persistence.add(start - came)
            for stage, threshold in thresholds.items():
                found.tables[stage].add(said=value >= threshold, came=came >= threshold)
    return [found for found in classes if found.model.count]


def _at(times: Sequence[float], measured: Points, at: float) -> float | None:
    """The newest value at ``at``, if it is not too old."""
    place = bisect_right(times, at) - 1
    if place < 0 or at - times[place] > TOLERANCE.total_seconds():
        return None
    return measured[place][1]

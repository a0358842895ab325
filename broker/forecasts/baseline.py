# SPDX-License-Identifier: Apache-2.0
"""The built-in forecast of a level from its own record: what a model has to be better than, and no more.

- **Persistence**: it stays as it is.
- **Extrapolation**: the rate of change by least squares over the last half hour. A rise goes on and fades within
  :data:`FADING`, for no rise goes on for ever; a fall comes down to the level of before the flood along an exponential
  curve whose rate is fitted by least squares too.

It knows nothing of rain, tides, gates or what happens upstream. Its errors on real floods are in docs/forecasts.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

Points = Sequence[tuple[float, float]]
"""(seconds, value), oldest first."""

MODEL_NAME: Final = "minamo-baseline"
LEADS: Final = tuple(timedelta(minutes=minutes) for minutes in (10, 20, 30, 60, 120, 180))
WINDOW: Final = timedelta(minutes=30)  # over which rates are fitted; longer where fewer than three points lie in it
LONGEST_WINDOW: Final = timedelta(hours=1)
MEMORY: Final = timedelta(hours=24)  # in which the level of before the flood is looked for
FADING: Final = timedelta(minutes=15)
_FEWEST: Final = 3
_STILL_M_PER_H: Final = 0.03  # slower than this it stays as it is: ripples and the steps of the gauge


def persistence(points: Points, leads: Sequence[timedelta] = LEADS) -> list[float]:
    """The last value, for each of ``leads``."""
    return [points[-1][1]] * len(leads)


def extrapolation(points: Points, leads: Sequence[timedelta] = LEADS) -> list[float] | None:
    """The level at each of ``leads`` after the last of ``points`` (of :data:`MEMORY`); None when too few are new."""
    recent = _recent(points)
    if recent is None:
        return None
    level = points[-1][1]
    slope = _slope(recent)
    if abs(slope) * 3600 < _STILL_M_PER_H:
        return persistence(points, leads)
    seconds = [lead.total_seconds() for lead in leads]
    if slope > 0:
        fading_s = FADING.total_seconds()
        return [level + slope * fading_s * (1 - math.exp(-after / fading_s)) for after in seconds]
    base = min(value for _, value in points)
    rate = _decay(recent, base)
    return [base + (level - base) * math.exp(-rate * after) for after in seconds]


def _recent(points: Points) -> Points | None:
    last = points[-1][0]
    within = [point for point in points if point[0] >= last - WINDOW.total_seconds()]
    if len(within) < _FEWEST:
        within = list(points[-_FEWEST:])
    is_enough = len(within) >= _FEWEST and last - within[0][0] <= LONGEST_WINDOW.total_seconds()
    return within if is_enough else None


def _slope(points: Points) -> float:
    """The rate of change a second by least squares."""
    mean_at = sum(at for at, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    return sum((at - mean_at) * (value - mean) for at, value in points) / spread


def _decay(points: Points, base: float) -> float:
    """The rate a second at which what is above ``base`` decays: least squares on its logarithm."""
    above = [(at, math.log(value - base)) for at, value in points if value - base > 0.001]
    return max(-_slope(above), 0.0) if len(above) >= _FEWEST else 0.0

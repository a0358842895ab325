# SPDX-License-Identifier: Apache-2.0
"""What conditions remember of a series: a bounded window of points, kept with the state of the rule.

A point is (seconds since 1970, value). A window holds at most about 240 points whatever the interval of the sensor:
what is measured within the same 240th of the window is one point (the last level, the sum of the amounts).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

MOST_POINTS: Final = 240
_FEWEST_FOR_A_RATE: Final = 3
_HOUR_S: Final = 3600.0

Points = tuple[tuple[float, float], ...]


def remember_level(points: Points, at: float, value: float, over_s: float) -> Points:
    """``points`` with the level ``value`` measured at ``at``, without those that are older than ``over_s``."""
    kept = [point for point in points if point[0] >= at - over_s]
    if kept and _same_cell(kept[-1][0], at, over_s):
        kept.pop()
    return (*kept, (at, value))


def remember_amount(points: Points, at: float, value: float, over_s: float) -> Points:
    """``points`` with an amount (of rain) that fell since the one before."""
    kept = [point for point in points if point[0] > at - over_s]
    if kept and _same_cell(kept[-1][0], at, over_s):
        value += kept.pop()[1]
    return (*kept, (at, value))


def remember_count(points: Points, at: float, value: float, over_s: float) -> Points:
    """``points`` with the reading of a counter; one from before the window stays, to count from."""
    base = [point for point in points if point[0] <= at - over_s][-1:]
    kept = base + [point for point in points if point[0] > at - over_s]
    if len(kept) > 1 and _same_cell(kept[-1][0], at, over_s):
        kept.pop()
    return (*kept, (at, value))


def slope_per_hour(points: Sequence[tuple[float, float]], over_s: float) -> float | None:
    """The rate of change an hour by least squares; None for fewer than three points or less than half of the window."""
    count = len(points)
    if count < _FEWEST_FOR_A_RATE or points[-1][0] - points[0][0] < over_s / 2:
        return None
    mean_at = sum(at for at, _ in points) / count
    mean = sum(value for _, value in points) / count
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    return round(sum((at - mean_at) * (value - mean) for at, value in points) / spread * _HOUR_S, 9)


def amount(points: Sequence[tuple[float, float]]) -> float:
    """The sum of amounts."""
    return round(sum(value for _, value in points), 9)


def counted(points: Sequence[tuple[float, float]]) -> float:
    """How far a counter went; where it fell it was set back to zero and has counted its value since."""
    steps = pairwise(points)
    return round(sum(after - before if after >= before else after for (_, before), (_, after) in steps), 9)


def _same_cell(before: float, at: float, over_s: float) -> bool:
    cell = over_s / MOST_POINTS
    return int(before / cell) == int(at / cell)

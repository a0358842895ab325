# SPDX-License-Identifier: Apache-2.0
"""Series for charts: fewer points that look like all of them, with gaps kept as gaps. Pure; times are epoch seconds.

What is drawn comes as *buckets*: for each stretch of time that has readings the first, lowest, highest and last of
them. Two methods make points of them:

``minmax``
    the lowest and the highest of each bucket: every extreme is there, whatever the length of the range
``lttb``
    Largest-Triangle-Three-Buckets (Steinarsson 2013) over the buckets' points: the shape with as few points as asked
    for; a single extreme may be missing

A pause longer than ``gap_s`` (and than a bucket, or it would not be seen) is a gap: the points at its edges are kept
and an empty one is put between them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

# Of how many usual steps a pause has to be to be a gap, when nobody said how often readings should come.
GAP_STEPS: Final = 2.5


class Method(StrEnum):
    """How points are chosen when there are too many; ``RAW`` is the answer that has all of them."""

    LTTB = "lttb"
    MINMAX = "minmax"
    RAW = "raw"


class Point(NamedTuple):
    """A reading: epoch seconds, value (None: a gap), share of readings not good that it stands for (0 to 1)."""

    time: float
    value: float | None
    not_good: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """The readings of a stretch of time: (time, value) of four of them, how many they are, how many are not good."""

    count: int
    not_good: int
    first: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    last: tuple[float, float]

    @property
    def share(self) -> float:
        """The share of readings that are not good."""
        return round(self.not_good / self.count, 4)

    def points(self, *, edges: bool) -> list[Point]:
        """The extremes in the order of time; with ``edges`` the first and the last too."""
        chosen = {self.low, self.high} | ({self.first, self.last} if edges else set())
        return [Point(time, value, self.share) for time, value in sorted(chosen)]


def usual_step(points: Sequence[Point]) -> float | None:
    """The median time between readings."""
    steps = [later.time - earlier.time for earlier, later in pairwise(points)]
    return statistics.median(steps) if steps else None


def usual_step_of_buckets(buckets: Sequence[Bucket]) -> float | None:
    """About the same from buckets: the median of their mean steps."""
    steps = [(bucket.last[0] - bucket.first[0]) / (bucket.count - 1) for bucket in buckets if bucket.count > 1]
    return statistics.median(steps) if steps else None


def with_gaps(points: Iterable[Point], gap_s: float | None) -> list[Point]:
    """``points`` with an empty one in each pause that is longer than ``gap_s``."""
    result: list[Point] = []
    for point in points:
        if gap_s is not None and result and point.time - result[-1].time > gap_s:
            result.append(Point(result[-1].time + gap_s, None, None))
        result.append(point)
    return result


def extremes(buckets: Sequence[Bucket], gap_s: float | None) -> list[Point]:
    """Method ``minmax``: the lowest and the highest of each bucket, and the edges of the range and of gaps."""
    result: list[Point] = []
    for run in _runs(buckets, gap_s):
        if result and gap_s is not None:
            result.append(Point(result[-1].time + gap_s, None, None))
        for place, bucket in enumerate(run):
            result += bucket.points(edges=place in (0, len(run) - 1))
    return result


def largest_triangles(buckets: Sequence[Bucket], most: int, gap_s: float | None) -> list[Point]:
    """Method ``lttb``: at most about ``most`` points, more only where there are many gaps."""
    runs = [[point for bucket in run for point in bucket.points(edges=True)] for run in _runs(buckets, gap_s)]
    total = sum(map(len, runs))
    result: list[Point] = []
    for run in runs:
        if result and gap_s is not None:
            result.append(Point(result[-1].time + gap_s, None, None))
        result += _lttb(run, max(2, most * len(run) // total))
    return result


def _runs(buckets: Sequence[Bucket], gap_s: float | None) -> Iterator[list[Bucket]]:
    """Buckets without a gap between them."""
    run: list[Bucket] = []
    for bucket in buckets:
        if run and gap_s is not None and bucket.first[0] - run[-1].last[0] > gap_s:
            yield run
            run = []
        run.append(bucket)
    if run:
        yield run


def _lttb(points: Sequence[Point], most: int) -> list[Point]:
    """The first, the last, and of each of ``most`` - 2 equal parts between them the point that spans the largest
    triangle with the one chosen before and the mean of the part that follows."""
    if len(points) <= most:
        return list(points)
    if most < 3:
        return [points[0], points[-1]]
    width = (len(points) - 2) / (most - 2)
    borders = [1 + int(part * width) for part in range(most - 1)] + [len(points)]
    chosen = [points[0]]
    for part in range(most - 2):
        begin, end, after = borders[part], borders[part + 1], borders[part + 2]
        chosen.append(_farthest(chosen[-1], points[begin:end], _mean(points[end:after])))
    return [*chosen, points[-1]]


def _mean(points: Sequence[Point]) -> tuple[float, float]:
    return sum(p.time for p in points) / len(points), sum(p.value or 0.0 for p in points) / len(points)


def _farthest(before: Point, candidates: Sequence[Point], after: tuple[float, float]) -> Point:
    """The candidate of the largest triangle; the value of no candidate is None."""
    x, y = before.time, before.value or 0.0
    dx, dy = after[0] - x, after[1] - y
    return max(candidates, key=lambda p: abs(dx * ((p.value or 0.0) - y) - (p.time - x) * dy))

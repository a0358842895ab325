# SPDX-License-Identifier: Apache-2.0
"""Fewer points that look like all of them (broker/history/series.py)."""

from __future__ import annotations

from broker.history.series import (
    Bucket,
    Point,
    extremes,
    largest_triangles,
    usual_step,
    usual_step_of_buckets,
    with_gaps,
)


def bucket(*readings: tuple[float, float], not_good: int = 0) -> Bucket:
    """A bucket of these readings."""
    values = sorted(readings, key=lambda reading: (reading[1], reading[0]))
    highest = max(readings, key=lambda reading: (reading[1], -reading[0]))
    return Bucket(len(readings), not_good, readings[0], values[0], highest, readings[-1])


def saw(count: int, start: float = 0.0) -> list[Bucket]:
    """``count`` buckets of ten readings, a second apart, that go up by one in the middle of each."""
    return [bucket(*((start + 10 * b + i, float(i == 5)) for i in range(10))) for b in range(count)]


def times(points: list[Point]) -> list[float]:
    return [point.time for point in points]


def test_a_pause_longer_than_the_gap_gets_an_empty_point() -> None:
    points = with_gaps([Point(0, 1.0), Point(10, 1.0), Point(40, 2.0)], 25)
    assert points == [Point(0, 1.0), Point(10, 1.0), Point(35, None, None), Point(40, 2.0)]


def test_a_pause_as_long_as_the_gap_is_none() -> None:
    assert len(with_gaps([Point(0, 1.0), Point(25, 1.0)], 25)) == 2


def test_without_a_known_step_nothing_is_a_gap() -> None:
    assert len(with_gaps([Point(0, 1.0), Point(1e9, 1.0)], None)) == 2


def test_the_extremes_of_every_bucket_are_kept() -> None:
    points = extremes(saw(4), None)
    assert [point.time for point in points if point.value == 1.0] == [5, 15, 25, 35]


def test_extremes_keep_the_first_and_the_last_reading() -> None:
    assert times(extremes(saw(3), None))[0] == 0
    assert times(extremes(saw(3), None))[-1] == 29


def test_extremes_of_a_bucket_of_one_reading_are_one_point() -> None:
    assert extremes([bucket((3.0, 7.0))], None) == [Point(3.0, 7.0, 0.0)]


def test_points_are_in_the_order_of_time_whichever_extreme_came_first() -> None:
    falling = bucket((0, 9.0), (1, 5.0), (2, 1.0))
    assert times(extremes([falling, bucket((3, 1.0), (4, 2.0))], None)) == [0, 2, 3, 4]


def test_a_gap_between_buckets_ends_and_begins_at_its_edges() -> None:
    points = extremes([*saw(2), *saw(2, start=1000)], gap_s=60)
    assert [(p.time, p.value) for p in points if 15 < p.time < 1005] == [(19, 0.0), (79, None), (1000, 0.0)]


def test_triangles_keep_the_edges_of_a_gap_too() -> None:
    points = largest_triangles([*saw(50), *saw(50, start=10_000)], 20, gap_s=60)
    assert {0.0, 499.0, 10_000.0, 10_499.0} <= set(times(points))
    assert sum(point.value is None for point in points) == 1


def test_triangles_are_no_more_points_than_asked_for() -> None:
    assert len(largest_triangles(saw(500), 100, None)) == 100


def test_triangles_keep_the_one_high_reading() -> None:
    flat = [bucket(*((10.0 * b + i, 0.0) for i in range(10))) for b in range(100)]
    flat[37] = bucket((370, 0.0), (374, 5.0), (379, 0.0))
    assert (374, 5.0) in [(point.time, point.value) for point in largest_triangles(flat, 12, None)]


def test_few_points_are_all_kept() -> None:
    assert len(largest_triangles(saw(3), 800, None)) == len({*times(largest_triangles(saw(3), 800, None))}) == 9


def test_nothing_gives_nothing() -> None:
    assert largest_triangles([], 100, 1.0) == extremes([], 1.0) == []


def test_a_point_tells_the_share_of_its_bucket_that_is_not_good() -> None:
    points = extremes([bucket((0, 1.0), (1, 2.0), (2, 3.0), not_good=1)], None)
    assert {point.not_good for point in points} == {0.3333}


def test_the_usual_step_is_the_median() -> None:
    assert usual_step([Point(0, 1.0), Point(5, 1.0), Point(10, 1.0), Point(1000, 1.0)]) == 5
    assert usual_step([Point(0, 1.0)]) is None


def test_the_usual_step_of_buckets_is_the_median_of_theirs() -> None:
    assert usual_step_of_buckets(saw(3)) == 1.0
    assert usual_step_of_buckets([bucket((0, 1.0))]) is None

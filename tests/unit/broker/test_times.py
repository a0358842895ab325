# SPDX-License-Identifier: Apache-2.0
"""Canonical times (clause 4.6.3)."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.times import parse_time, to_text, to_texts

MOMENT = datetime(2026, 11, 21, 7, 47, 43, tzinfo=UTC)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def test_a_whole_second_is_written_without_a_fraction() -> None:
    assert to_text(MOMENT) == "2026-11-21T07:47:43Z"


def test_trailing_zeros_of_a_fraction_are_left_out() -> None:
    assert to_text(MOMENT.replace(microsecond=500_000)) == "2026-11-21T07:47:43.5Z"


def test_another_zone_is_written_in_utc() -> None:
    assert to_text(MOMENT.astimezone(timezone(timedelta(hours=9)))) == "2026-11-21T07:47:43Z"


@pytest.mark.parametrize("fraction", [".5", ",5", ".500000", ".500000999"])
def test_fractions_are_read_with_point_or_comma_and_cut_after_microseconds(fraction: str) -> None:
    assert parse_time(f"2026-11-21T07:47:43{fraction}Z") == MOMENT.replace(microsecond=500_000)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T07:47:43",
        "2026-11-21",
        "2026-11-21T07:47Z",
        "2026-W47-6T07:47:43Z",
        "2026-13-01T00:00:00Z",
        "20261121T074743Z",
        "２０２６-11-21T07:47:43Z",
        "0001-01-01T00:00:00+09:00",
        "9999-12-31T23:59:59-09:00",
        "",
    ],
)
def test_naive_reduced_and_impossible_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text)


@given(st.datetimes(min_value=datetime(1900, 1, 1), timezones=OFFSETS))  # noqa: DTZ001
def test_writing_and_reading_a_time_gives_the_same_moment(moment: datetime) -> None:
    assert parse_time(to_text(moment)) == moment


@given(st.lists(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))])), max_size=5))
def test_many_times_are_written_as_each_of_them_is(moments: list[datetime]) -> None:
    with suppress(OverflowError):  # the first and last hours of the calendar, in another zone
        written = [moment.astimezone(UTC).isoformat().removesuffix("+00:00") for moment in moments]
        expected = [(text.rstrip("0") if "." in text else text) + "Z" for text in written]
        assert to_texts(moments) == [to_text(moment) for moment in moments] == expected

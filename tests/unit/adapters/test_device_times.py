# SPDX-License-Identifier: Apache-2.0
"""Times as devices write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.formats.device_times import read_time
from broker.intake.readings import UndecodablePayload

AT = datetime(2026, 9, 21, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-09-21T01:10:00Z",
        "2026-09-21T10:10:00+09:00",
        "2026-09-21 10:10:00 +0900",
        "2026-09-21 10:10:00",
        "2026/9/21 10:10",
        "202609211010",
        "20260921101000",
        "20260921T101000+09",
        "　２０２６-09-21 10:10:00",  # full-width space and digits
        "2026-09-21T10:10:00.000000000",
        str(int(AT.timestamp())),
        str(int(AT.timestamp() * 1000)),
        AT.timestamp(),
        AT.timestamp() * 1000,
    ],
)
def test_ways_to_write_one_moment(text: str | float) -> None:
    assert read_time(text, "Asia/Tokyo") == AT


def test_24_00_is_the_next_day() -> None:
    assert read_time("2026/12/31 24:00", "Asia/Tokyo") == datetime(2026, 12, 31, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        *("2026-09-21 24:01", "2026-09-21 25:00", "2026-02-30 10:00", "10:10", "", "soon", None, True, [1], {}),
        *(1e30, -1e30, float("inf"), float("nan"), "9999-12-31T24:00:00Z", "0001-01-01T00:00:00+09:00"),
    ],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(UndecodablePayload):
        read_time(value, "Asia/Tokyo")


def test_time_without_offset_needs_a_zone() -> None:
    with pytest.raises(UndecodablePayload, match="no offset, and the device's profile names no timeZone"):
        read_time("2026-09-21 10:10:00", None)

# SPDX-License-Identifier: Apache-2.0
"""A missing sensor looks missing, not calm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from broker.devices.silence import Limits
from broker.stations import Freshness, freshness

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        (0, Freshness.LIVE),
        (1500, Freshness.LIVE),
        (1501, Freshness.LATE),
        (6000, Freshness.LATE),
        (6001, Freshness.MISSING),
    ],
)
def test_age_in_expected_intervals_decides(age_s: int, expected: Freshness) -> None:
    assert freshness(NOW - timedelta(seconds=age_s), NOW, 600, Limits.of(2.5)) is expected


def test_no_reading_ever_is_missing() -> None:
    assert freshness(None, NOW, 600, Limits.of(2.5)) is Freshness.MISSING


def test_without_a_declared_interval_ten_minutes_are_expected() -> None:
    assert freshness(NOW - timedelta(minutes=26), NOW, None, Limits.of(2.5)) is Freshness.LATE

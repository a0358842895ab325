# SPDX-License-Identifier: Apache-2.0
"""How fresh a station's value is. A missing sensor must look missing, never calm."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum


class Freshness(StrEnum):
    """``live``: a reading within the expected time; ``late``: overdue; ``missing``: long overdue, or none ever."""

    LIVE = "live"
    LATE = "late"
    MISSING = "missing"


# A sensor that is overdue by this many times what makes it late is called missing.
MISSING_AFTER_LATE = 4.0
# Expected interval of a device that declares none, in seconds.
DEFAULT_INTERVAL_S = 600.0


def freshness(
    observed_at: datetime | None, now: datetime, expected_interval_s: float | None, stale_factor: float
) -> Freshness:
    """Grade the age of the newest reading: late past ``stale_factor`` intervals, missing past four times that."""
    if observed_at is None:
        return Freshness.MISSING
    late_after = (expected_interval_s or DEFAULT_INTERVAL_S) * stale_factor
    age = (now - observed_at).total_seconds()
    if age <= late_after:
        return Freshness.LIVE
    return Freshness.LATE if age <= late_after * MISSING_AFTER_LATE else Freshness.MISSING

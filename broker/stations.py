# SPDX-License-Identifier: Apache-2.0
"""How fresh a station's value is. A missing sensor must look missing, never calm."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from broker.devices.silence import Limits
from broker.devices.state import DeviceState


class Freshness(StrEnum):
    """``live``: a reading within the expected time; ``late``: overdue; ``missing``: long overdue, or none ever."""

    LIVE = "live"
    LATE = "late"
    MISSING = "missing"


# Expected interval of a device that declares none, in seconds.
DEFAULT_INTERVAL_S = 600.0


def freshness(
    observed_at: datetime | None, now: datetime, expected_interval_s: float | None, limits: Limits
) -> Freshness:
    """Grade the age of the newest reading by ``limits``: missing is what a device would be called silent for."""
    if observed_at is None:
        return Freshness.MISSING
    state = limits.grade(now - observed_at, expected_interval_s or DEFAULT_INTERVAL_S)
    if state is DeviceState.OK:
        return Freshness.LIVE
    return Freshness.LATE if state is DeviceState.LATE else Freshness.MISSING

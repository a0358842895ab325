# SPDX-License-Identifier: Apache-2.0
"""Timing: QARTOD test 1, by what is known on arrival."""

from __future__ import annotations

from datetime import timedelta

from broker.quality.flags import Reason


def untimely(delay: timedelta, ahead: timedelta, late: timedelta) -> Reason | None:
    """What is to be said of a reading that arrived ``delay`` after it was measured (negative: before)."""
    if delay > late:
        return Reason.LATE
    if delay < -ahead:
        return Reason.CLOCK
    return None

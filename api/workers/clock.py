# SPDX-License-Identifier: Apache-2.0
"""The time by which timers run: a clock that somebody puts forward or back does not fire them, nor stop them.

A machine's clock is set by hand, by a time server that was away, or by a host that wakes a guest. Escalation, shelves
and silence would all fall due at once when it is put forward, and stand still when it is put back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

log = structlog.get_logger(__name__)

TOLERANCE: Final = timedelta(seconds=10)  # time servers correct as much without anybody having set the clock


def _running_s() -> float:
    """Seconds that pass however the clock is set, those included in which the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _set_time() -> datetime:
    return datetime.now(UTC)


class SteadyClock:
    """The machine's time; but a step of it counts only when it has lasted for ``patience``.

    Until then time goes on as if the clock had not been touched. ``set_time`` is the machine's clock, ``running_s`` the
    seconds since any moment; a process that starts takes the clock as it finds it.
    """

    def __init__(
        self,
        patience: timedelta,
        *,
        set_time: Callable[[], datetime] = _set_time,
        running_s: Callable[[], float] = _running_s,
    ) -> None:
        self._patience = patience
        self._set_time = set_time
        self._running_s = running_s
        self._time, self._at_s = set_time(), running_s()
        self._stepped_at_s: float | None = None
        self._put_back = timedelta()  # in all, by steps that were believed

    def latest(self) -> datetime:
        """The latest that it can be now: as if the clock had never been put back.

        A reading is not from the future because of the hub's own clock, else nothing would be decided by it.
        """
        return max(self.now(), self._set_time()) + self._put_back

    def now(self) -> datetime:
        """The time, in UTC."""
        given, at_s = self._set_time(), self._running_s()
        expected = self._time + timedelta(seconds=at_s - self._at_s)
        step = given - expected
        if abs(step) <= TOLERANCE:
            self._stepped_at_s = None
            return self._believe(given, at_s)
        if self._stepped_at_s is None:
            self._stepped_at_s = at_s
            log.warning(
                "clock.stepped", seconds=round(step.total_seconds()), believed_in=self._patience.total_seconds()
            )
        if at_s - self._stepped_at_s >= self._patience.total_seconds():
            self._stepped_at_s = None
            self._put_back = max(self._put_back - step, timedelta())
            log.warning("clock.believed", seconds=round(step.total_seconds()))
            return self._believe(given, at_s)
        return expected

    def _believe(self, given: datetime, at_s: float) -> datetime:
        self._time, self._at_s = given, at_s
        return given

# SPDX-License-Identifier: Apache-2.0
"""A machine whose clock a test sets, and the steady clock on it."""

from __future__ import annotations

from datetime import datetime, timedelta

from api.workers.clock import SteadyClock


class Machine:
    """It runs since ``start``; ``offset`` is how far its clock was put forward (or back) since."""

    def __init__(self, start: datetime, patience: timedelta = timedelta(minutes=10)) -> None:
        self._start = start
        self._running_s = 0.0
        self.offset = timedelta()
        self.clock = SteadyClock(patience, set_time=self._set_time, running_s=lambda: self._running_s)

    def _set_time(self) -> datetime:
        return self._start + timedelta(seconds=self._running_s) + self.offset

    def after(self, seconds: float) -> timedelta:
        """What the clock says that has passed since the start, so many seconds later."""
        self._running_s += seconds
        return self.clock.now() - self._start

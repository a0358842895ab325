# SPDX-License-Identifier: Apache-2.0
"""Rolling history up in the background, and removing what is over; one process at a time, whichever comes first."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import structlog

from api.workers.repeating import RepeatingWorker
from context_store.history.retention import Retention
from context_store.history.rollups import Rollups

log = structlog.get_logger(__name__)

_EVERY_S: Final = 5.0  # until then, late readings are answered from the instances
_PAUSE_AFTER_ERROR_S: Final = 10.0


class RollupWorker(RepeatingWorker):
    """Rolls until cancelled, and once a day, when nothing is to be rolled, removes what is over.

    Answers are right whether or not it runs.
    """

    def __init__(self, rollups: Rollups, retention: Retention) -> None:
        super().__init__("rollups", rest_s=_EVERY_S, pause_s=_PAUSE_AFTER_ERROR_S)
        self._rollups = rollups
        self._retention = retention

    async def turn(self, now: datetime) -> bool:
        """Do what is next; returns whether there may be more."""
        if await self._rollups.step(now):
            return True
        removed = await self._retention.run_daily(now)
        if removed is not None and (removed.partitions or removed.rows):
            log.info("history.removed", partitions=removed.partitions, rows=removed.rows)
        return False

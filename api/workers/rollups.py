# SPDX-License-Identifier: Apache-2.0
"""Rolling history up in the background, and removing what is over; one process at a time, whichever comes first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from api.health import PartDown
from broker.errors import StoreUnavailable
from context_store.retention import Retention
from context_store.rollups import Rollups

log = structlog.get_logger(__name__)

_EVERY_S: Final = 5.0  # until then, late readings are answered from the instances
_PAUSE_AFTER_ERROR_S: Final = 10.0


class RollupWorker:
    """Rolls until cancelled, and once a day, when nothing is to be rolled, removes what is over.

    Answers are right whether or not it runs.
    """

    def __init__(self, rollups: Rollups, retention: Retention) -> None:
        self._rollups = rollups
        self._retention = retention
        self._error: str | None = None

    async def check(self) -> None:
        """For health: raises :class:`PartDown` while the last step has failed."""
        if self._error is not None:
            raise PartDown(self._error)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                worked = await self.step(datetime.now(UTC))
            except StoreUnavailable as exc:
                log.warning("rollups.store_unavailable", error=str(exc))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            except Exception as exc:
                log.exception("rollups.failed")
                self._error = f"{type(exc).__name__}: {exc}"
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            else:
                self._error = None
                await asyncio.sleep(0 if worked else _EVERY_S)

    async def step(self, now: datetime) -> bool:
        """Do what is next; returns whether there may be more."""
        if await self._rollups.step(now):
            return True
        removed = await self._retention.run_daily(now)
        if removed is not None and (removed.partitions or removed.rows):
            log.info("history.removed", partitions=removed.partitions, rows=removed.rows)
        return False

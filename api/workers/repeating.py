# SPDX-License-Identifier: Apache-2.0
"""Work in the background that is done turn by turn; what fails is told, and tried again."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from datetime import UTC, datetime

import structlog

from api.health import PartDown
from api.workers.waiting import wait_at_most
from broker.errors import StoreUnavailable

log = structlog.get_logger(__name__)


class RepeatingWorker(ABC):
    """Takes its turns until cancelled: at once while there may be more to do, else every ``rest_s`` seconds or when it
    is woken. After an error it pauses for ``pause_s``, and :meth:`check` says so until a turn succeeds.
    """

    def __init__(self, name: str, *, rest_s: float, pause_s: float) -> None:
        self._name = name
        self._rest_s = rest_s
        self._pause_s = pause_s
        self._wake = asyncio.Event()
        self._error: str | None = None

    @abstractmethod
    async def turn(self, now: datetime) -> bool:
        """Do what is to be done; returns whether there may be more."""

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def check(self) -> None:
        """For health: raises :class:`PartDown` while the last turn has failed."""
        if self._error is not None:
            raise PartDown(self._error)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            try:
                more = await self.turn(datetime.now(UTC))
            except StoreUnavailable as exc:
                log.warning(f"{self._name}.store_unavailable", error=str(exc))
                await asyncio.sleep(self._pause_s)
            except Exception as exc:
                log.exception(f"{self._name}.failed")
                self._error = f"{type(exc).__name__}: {exc}"
                await asyncio.sleep(self._pause_s)
            else:
                self._error = None
                if more:
                    await asyncio.sleep(0)
                else:
                    await wait_at_most(self._wake, self._rest_s)

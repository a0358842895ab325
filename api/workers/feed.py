# SPDX-License-Identifier: Apache-2.0
"""The loop that consumers of change events share: read, put the effects into the same transaction, rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import psycopg
import structlog
from psycopg import AsyncConnection

from broker.errors import StoreUnavailable
from context_store.events import ChangeEvent, ChangeFeed

log = structlog.get_logger(__name__)

_PAUSE_AFTER_ERROR_S: Final = 1.0

Process = Callable[[AsyncConnection, list[ChangeEvent]], Awaitable[None]]


class FeedLoop:
    """Brings the events of ``feed`` to ``process``, each batch exactly once, until cancelled."""

    def __init__(self, name: str, feed: ChangeFeed, process: Process, *, poll_s: float) -> None:
        self._name = name
        self._feed = feed
        self._process = process
        self._poll_s = poll_s
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be new events."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled. A batch that fails comes again, after a pause and with the error in the log."""
        while True:
            self._wake.clear()
            try:
                if await self.step():
                    continue
            except StoreUnavailable as exc:
                log.warning("feed.store_unavailable", consumer=self._name, error=str(exc))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            except psycopg.Error:
                log.exception("feed.failed", consumer=self._name)
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            await self._rest()

    async def step(self) -> int:
        """One batch; returns how many events it had."""
        async with self._feed.batch() as (connection, events):
            if events:
                await self._process(connection, events)
            return len(events)

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), self._poll_s)
        except TimeoutError:
            return

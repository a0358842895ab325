# SPDX-License-Identifier: Apache-2.0
"""Stored contexts and the processes that use them: uses are written down, changes by others are heard of."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import psycopg
import structlog

from api.hub import Hub
from broker.errors import StoreUnavailable

log = structlog.get_logger(__name__)

_EVERY_S: Final = 10.0


async def write_uses(hub: Hub) -> None:
    """Write down how often this process used which stored context."""
    uses = hub.contexts.uses.take()
    if not uses:
        return
    try:
        await hub.hosted_contexts.record(uses)
    except BaseException:
        hub.contexts.uses.put_back(uses)
        raise


class ContextWatch:
    """Keeps the term maps of this process in step with the stored contexts, until cancelled."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._changed = asyncio.Event()
        self._version: int | None = None

    def wake(self) -> None:
        """Something that processes keep in memory has changed, maybe a context."""
        self._changed.set()

    async def run(self) -> None:
        """Look whenever woken, and from time to time."""
        while True:
            try:
                await self.look()
                await write_uses(self._hub)
            except (StoreUnavailable, psycopg.Error) as error:  # tried again at the next turn
                log.warning("contexts.not_watched", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._changed.wait()
            self._changed.clear()

    async def look(self) -> None:
        """Drop the term maps of stored contexts when one of those was changed or deleted."""
        version = await self._hub.hosted_contexts.version()
        if self._version is not None and version != self._version:
            self._hub.contexts.forget_stored()
        self._version = version

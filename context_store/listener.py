# SPDX-License-Identifier: Apache-2.0
"""LISTEN: wakes those who wait for something in the database. Only a hint; everybody also looks by himself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import psycopg
import structlog
from psycopg import sql

from broker.errors import StoreUnavailable
from context_store.database import Database

log = structlog.get_logger(__name__)

_RECONNECT_S: Final = 1.0


class Listener:
    """Calls ``wakers[channel]`` when the channel is notified, and all of them after each (re)connection; and
    ``takers[channel]`` with what the notification says."""

    def __init__(
        self,
        database: Database,
        wakers: Mapping[str, Callable[[], None]],
        takers: Mapping[str, Callable[[str], None]] | None = None,
    ) -> None:
        self._database = database
        self._wakers = dict(wakers)
        self._takers = dict(takers or {})

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            with contextlib.suppress(StoreUnavailable, psycopg.Error, OSError):
                await self._listen()
            await asyncio.sleep(_RECONNECT_S)

    async def _listen(self) -> None:
        connection = await self._database.listen_connection()
        try:
            for channel in self._wakers.keys() | self._takers.keys():
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            for wake in self._wakers.values():
                wake()
            async for notification in connection.notifies():
                waker = self._wakers.get(notification.channel)
                if waker is not None:
                    waker()
                elif (take := self._takers.get(notification.channel)) is not None:
                    take(notification.payload)
        finally:
            await connection.close()

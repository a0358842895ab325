# SPDX-License-Identifier: Apache-2.0
"""The loop that consumers of change events share: read, put the effects into the same transaction, rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog
from psycopg import AsyncConnection

from api.health import PartDown
from api.metrics import EVENTS_SKIPPED
from api.workers.waiting import wait_at_most
from broker.errors import StoreUnavailable
from context_store.events import ChangeEvent, ChangeFeed

log = structlog.get_logger(__name__)

_PAUSE_AFTER_ERROR_S: Final = 1.0
_TRIES: Final = 5  # of one event alone, before it is passed over
_ALONE_AFTER_ERROR: Final = 1000  # events that are taken one by one after a batch has failed

Process = Callable[[AsyncConnection, list[ChangeEvent]], Awaitable[None]]
TimePasses = Callable[[AsyncConnection], Awaitable[None]]


class Looking(Protocol):
    """What looks at the newest events while older ones wait (:mod:`api.workers.ahead`)."""

    async def look(self, *, is_behind: bool) -> None:
        """Look, before the next batch; ``is_behind``: more waits than one batch."""
        ...

    def read(self, events: Sequence[ChangeEvent]) -> None:
        """A batch is committed."""
        ...


_TIME_EVERY_S: Final = 0.5
# From the beginning of a batch to that of the next, unless more is known to wait: under load fewer and larger ones.
_PACE_S: Final = 0.02


class FeedLoop:
    """Brings the events of ``feed`` to ``process``, each batch exactly once, until cancelled.

    A batch that fails comes again. Then its events are taken one by one, so that a single one that cannot be
    processed is found; after five tries it is passed over, with an error in the log and in the metrics, because all
    those behind it matter more. Meanwhile :meth:`check` says that the part is down.

    ``time_passes`` is called in the same way twice a second, but only when all that can be seen was processed: it may
    rely on there being nothing newer. ``ahead`` looks before each batch at what waits behind it.
    """

    def __init__(
        self,
        name: str,
        feed: ChangeFeed,
        process: Process,
        *,
        poll_s: float,
        time_passes: TimePasses | None = None,
        ahead: Looking | None = None,
    ) -> None:
        self._name = name
        self._feed = feed
        self._process = process
        self._poll_s = poll_s
        self._time_passes = time_passes
        self._ahead = ahead
        self._time_at = 0.0
        self._wake = asyncio.Event()
        self._error: str | None = None
        self._failures = 0
        self._alone = 0

    def wake(self) -> None:
        """There may be new events."""
        self._wake.set()

    async def check(self) -> None:
        """For health: raises :class:`PartDown` while the last batch has failed."""
        if self._error is not None:
            raise PartDown(self._error)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            began = time.monotonic()
            try:
                worked = await self.step()
            except StoreUnavailable as exc:
                log.warning("feed.store_unavailable", consumer=self._name, error=str(exc))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the part says so and goes on
                self._fail(exc)
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            else:
                self._error = None
                self._failures = 0
                if not worked:
                    await self._rest()
                if self._feed.is_caught_up:
                    await asyncio.sleep(max(0.0, began + _PACE_S - time.monotonic()))

    async def step(self) -> int:
        """One batch; returns how many events it had."""
        if self._ahead is not None and not self._alone:
            await self._ahead.look(is_behind=not self._feed.is_caught_up)
        async with self._feed.batch(1 if self._alone else None) as (connection, events):
            if events and self._failures >= _TRIES:
                self._pass_over(events)
            elif events:
                await self._process(connection, events)
            if self._feed.is_caught_up and not self._failures:
                await self._let_time_pass(connection)
        if self._ahead is not None:
            self._ahead.read(events)
        self._alone = max(0, self._alone - len(events))
        return len(events)

    async def _let_time_pass(self, connection: AsyncConnection) -> None:
        """What fails here is undone by itself and tried again; it does not keep events from being processed."""
        if self._time_passes is None or time.monotonic() - self._time_at < _TIME_EVERY_S:
            return
        self._time_at = time.monotonic()
        try:
            async with connection.transaction():
                await self._time_passes(connection)
        except StoreUnavailable:
            raise
        except Exception:
            log.exception("feed.time_failed", consumer=self._name)

    def _fail(self, error: Exception) -> None:
        log.exception("feed.failed", consumer=self._name)
        self._error = f"{type(error).__name__}: {error}"
        self._failures = self._failures + 1 if self._alone else 0
        self._alone = _ALONE_AFTER_ERROR

    def _pass_over(self, events: list[ChangeEvent]) -> None:
        EVENTS_SKIPPED.labels(self._name).inc(len(events))
        for event in events:
            log.error("feed.passed_over", consumer=self._name, event_id=event.event_id, entity=event.entity_id)

    async def _rest(self) -> None:
        await wait_at_most(self._wake, self._poll_s)

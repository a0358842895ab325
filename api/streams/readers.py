# SPDX-License-Identifier: Apache-2.0
"""Readers of the notifications of subscriptions: each at its own place in the log, woken when there is more.

What a reader is sent comes from the log alone, so one that comes back to any process goes on where it was. A reader
holds one page at most, and asks for the next when it has passed that on: a slow one costs no memory. Readers at the
same place share what is read. A process asks for the state of all its subscriptions in one statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from api.metrics import STREAMS_OPEN
from api.workers.waiting import wait_at_most
from broker.errors import MinamoError, ResourceNotFound, StoreUnavailable
from context_store.subscriptions.notifications import FoundSubscription, Missing, Notification, NotificationLog

log = structlog.get_logger(__name__)

Page = Sequence[Notification | Missing]

_POLL_S: Final = 5.0  # a notice of the database may be lost with its connection
_PAUSE_AFTER_ERROR_S: Final = 1.0


class TooManyStreams(MinamoError):
    """No more streams can be open in this process."""


@dataclass(slots=True)
class _Watched:
    """A subscription with readers: the number of its last notification, and what wakes them."""

    last_sequence: int
    gone: bool = False
    readers: set[asyncio.Event] = field(default_factory=set)

    def tell(self) -> None:
        for reader in self.readers:
            reader.set()


class StreamReaders:
    """The readers of this process; :meth:`run` has to run for them to be woken."""

    def __init__(self, notifications: NotificationLog, *, max_open: int = 1000, heartbeat_s: float = 15.0) -> None:
        self._log = notifications
        self._max_open = max_open
        self._heartbeat_s = heartbeat_s
        self._watched: dict[int, _Watched] = {}
        self._reading: dict[tuple[int, int], asyncio.Task[Page]] = {}
        self._wake = asyncio.Event()
        self._open = 0

    def wake(self) -> None:
        """There may be new notifications."""
        self._wake.set()

    async def run(self) -> None:
        """Look what there is, whenever woken, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._look()
            except StoreUnavailable as exc:
                log.warning("streams.store_unavailable", error=str(exc))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            await wait_at_most(self._wake, _POLL_S)

    async def _look(self) -> None:
        keys = list(self._watched)
        if not keys:
            return
        found = await self._log.last_sequences(keys)
        for key in keys:
            watched = self._watched.get(key)
            if watched is None:
                continue
            last = found.get(key)
            if last is None:
                watched.gone = True
            elif last <= watched.last_sequence:
                continue
            else:
                watched.last_sequence = last
            watched.tell()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one more stream; raises :class:`TooManyStreams`."""
        if self._open >= self._max_open:
            raise TooManyStreams(f"{self._max_open} streams are open")
        self._open += 1
        STREAMS_OPEN.set(self._open)
        try:
            yield
        finally:
            self._open -= 1
            STREAMS_OPEN.set(self._open)

    async def pages(self, tenant_id: int, found: FoundSubscription, after: int) -> AsyncIterator[Page]:
        """What comes behind number ``after``, for ever; an empty page is a heartbeat. Ends with the subscription."""
        with self._watch(found) as (watched, woken):
            while not watched.gone:
                woken.clear()
                if watched.last_sequence > after:
                    page = await self._read(tenant_id, found.key, after)
                    if page is None:
                        return
                    if page:
                        yield page
                        after = _last_of(page)
                        continue
                    await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                await wait_at_most(woken, self._heartbeat_s)
                if not woken.is_set():
                    yield []

    @contextmanager
    def _watch(self, found: FoundSubscription) -> Iterator[tuple[_Watched, asyncio.Event]]:
        watched = self._watched.setdefault(found.key, _Watched(found.last_sequence))
        woken = asyncio.Event()
        watched.readers.add(woken)
        self.wake()  # it may have moved on since it was found
        try:
            yield watched, woken
        finally:
            watched.readers.discard(woken)
            if not watched.readers:
                self._watched.pop(found.key, None)

    async def _read(self, tenant_id: int, key: int, after: int) -> Page | None:
        """The next page, empty while the database is away, None when the subscription is gone."""
        try:
            return await self._shared(tenant_id, key, after)
        except StoreUnavailable:
            return []
        except ResourceNotFound:
            return None

    async def _shared(self, tenant_id: int, key: int, after: int) -> Page:
        """The next page; whoever asks for the same while it is read gets the same."""
        task = self._reading.get((key, after))
        if task is None:
            task = asyncio.ensure_future(self._next(tenant_id, key, after))
            self._reading[key, after] = task
            task.add_done_callback(lambda _: self._reading.pop((key, after), None))
        return await asyncio.shield(task)

    async def _next(self, tenant_id: int, key: int, after: int) -> Page:
        return await self._log.read(tenant_id, key, after)


def _last_of(page: Page) -> int:
    last = page[-1]
    return last.last if isinstance(last, Missing) else last.sequence

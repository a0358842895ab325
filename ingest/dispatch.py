# SPDX-License-Identifier: Apache-2.0
"""Sharing the load: one process receives, several write, and the messages of a device all go to the same writer.

So they keep their order without anybody having to restore it. A message is open until its writer says that it is
stored; only then is it acknowledged to the broker, in the order in which messages came. When a writer dies, the next
one gets what is open, in its order: what the dead one had committed and not said is a repeat, which changes nothing.
When the receiver dies the broker sends everything again that was not acknowledged, and the writers end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, cast
from zlib import crc32

import structlog

from broker.intake.readings import CommitSummary
from ingest import frames
from ingest.decode import Message
from ingest.pipeline import Acknowledger, InOrder
from ingest.topics import device_name

log = structlog.get_logger(__name__)

_PAUSE_FIRST_S: Final = 0.1
_PAUSE_MOST_S: Final = 5.0
_SETTLED_S: Final = 10.0  # a writer that lived so long was a good one: the pauses begin small again


class WriterProcess(Protocol):
    """A process that writes, and the stream to it."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    @property
    def stream(self) -> socket.socket:
        """Connected to it; non-blocking."""
        ...

    async def end(self) -> None:
        """End it, if it has not ended by itself, and wait until it is gone."""
        ...


class _Share:
    """The messages of one writer that are open, by number and in their order."""

    def __init__(self) -> None:
        self.open: dict[int, Message] = {}
        self.link: _Link | None = None
        self.is_ready = False
        self._next = 0

    def put(self, message: Message) -> None:
        """Take a message in; it is sent at once when there is a writer, else when there is one again."""
        number = self._next
        self._next = (number + 1) & 0xFFFFFFFF
        self.open[number] = message
        if self.link is not None:
            self.link.send(frames.message_frame(number, message))

    def begin(self, link: _Link) -> None:
        """A writer is there: it gets all that is open."""
        self.link = link
        for number, message in self.open.items():
            link.send(frames.message_frame(number, message))


class _Link(asyncio.Protocol):
    """The stream to a writer. What is sent in one turn of the loop is written at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_news: Callable[[bytes, bytes], None]) -> None:
        self._loop = loop
        self._on_news = on_news
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._unread = b""
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's: the stream is there."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio's: the writer is gone."""
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        """asyncio's: the writer says something."""
        found, self._unread = frames.news_in(self._unread + data)
        for kind, body in found:
            self._on_news(kind, body)

    def send(self, frame: bytes) -> None:
        """Send with whatever else is sent in this turn."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(frame)

    def close(self) -> None:
        """End the stream; the writer ends with it."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()


class Dispatcher:
    """Takes messages in with :meth:`put`, as a :class:`~ingest.pipeline.Pipeline` does, and shares them among ``count``
    writers, each started by ``start`` with its number, and again when it ends."""

    def __init__(
        self,
        count: int,
        start: Callable[[int], Awaitable[WriterProcess]],
        on_commit: Callable[[CommitSummary, float], None] | None = None,
    ) -> None:
        self._shares = [_Share() for _ in range(count)]
        self._start = start
        self._on_commit = on_commit
        self._in_order = InOrder()

    def put(self, message: Message) -> None:
        """Take one message in."""
        self._in_order.begin(message)
        self._shares[crc32(device_name(message.topic).encode()) % len(self._shares)].put(message)

    @property
    def waiting(self) -> int:
        """Messages taken in and not yet stored."""
        return sum(len(share.open) for share in self._shares)

    @property
    def missing(self) -> list[int]:
        """The numbers of writers that are not there or not ready."""
        return [number for number, share in enumerate(self._shares) if not share.is_ready]

    async def run(self, acknowledger: Acknowledger) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number, share in enumerate(self._shares):
                group.create_task(self._keep(number, share, acknowledger), name=f"ingest writer {number}")

    async def _keep(self, number: int, share: _Share, acknowledger: Acknowledger) -> None:
        """Keep one writer running."""
        pause = _PAUSE_FIRST_S
        while True:
            began = time.monotonic()
            with contextlib.suppress(OSError):
                await self._serve(number, share, acknowledger)
            if time.monotonic() - began > _SETTLED_S:
                pause = _PAUSE_FIRST_S
            log.error("ingest.writer_ended", writer=number, open=len(share.open), restart_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_MOST_S)

    async def _serve(self, number: int, share: _Share, acknowledger: Acknowledger) -> None:
        """One life of a writer."""
        loop = asyncio.get_running_loop()
        process = await self._start(number)
        try:
            link = _Link(loop, lambda kind, body: self._take(share, kind, body, acknowledger))
            await loop.create_unix_connection(lambda: link, sock=process.stream)
            log.info("ingest.writer_started", writer=number, pid=process.pid, open=len(share.open))
            share.begin(link)
            try:
                await link.lost.wait()
            finally:
                share.link, share.is_ready = None, False
                link.close()
        finally:
            await process.end()

    def _take(self, share: _Share, kind: bytes, body: bytes, acknowledger: Acknowledger) -> None:
        """What a writer says."""
        if kind == frames.STORED:
            messages = [share.open.pop(number) for number in frames.stored_in(body)]
            self._in_order.stored(messages, acknowledger)
        elif kind == frames.ANSWER:
            number, payload = frames.answer_in(body)
            acknowledger.respond(share.open[number], payload)
        elif kind == frames.COMMITTED:
            if self._on_commit is not None:
                self._on_commit(*frames.committed_in(body))
        elif kind == frames.READY:
            share.is_ready = True

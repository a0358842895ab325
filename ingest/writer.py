# SPDX-License-Identifier: Apache-2.0
"""The writing end of :mod:`ingest.dispatch`: messages come from the receiver, and it is told what is stored."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from broker.errors import MinamoError
from broker.intake.readings import CommitSummary
from ingest import frames
from ingest.decode import Message
from ingest.pipeline import Pipeline


class ReceiverGone(MinamoError):
    """The process that receives has ended; the broker sends again what it had not acknowledged."""


class ReceiverLink(asyncio.Protocol):
    """Feeds ``pipeline`` from the stream, and is its :class:`~ingest.pipeline.Acknowledger`."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._stored: list[int] = []
        self._gone = asyncio.Event()
        self._put: Callable[[Message], None] = list[Message]().append  # until there is a pipeline

    async def run(self, pipeline: Pipeline) -> None:
        """Feed ``pipeline`` until the receiver is gone; raises :class:`ReceiverGone`."""
        self._put = pipeline.put
        self._loop = asyncio.get_running_loop()
        await self._loop.create_unix_connection(lambda: self, sock=self._stream)
        self._send(frames.news(frames.READY))
        await self._gone.wait()
        raise ReceiverGone("the receiver is gone")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's: the stream is there."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio's: the receiver has ended."""
        self._gone.set()

    def data_received(self, data: bytes) -> None:
        """asyncio's: messages."""
        messages, self._unread = frames.messages_in(self._unread + data)
        for message in messages:
            self._put(message)

    def acknowledge(self, message: Message) -> None:
        """The message is stored; the receiver is told of all of this turn of the loop together."""
        if not self._stored:
            self._loop.call_soon(self._tell)
        self._stored.append(message.mid)

    def respond(self, message: Message, payload: bytes) -> None:
        """Have the receiver answer to the message's response topic."""
        self._send(frames.answer(message.mid, payload))

    def on_commit(self, summary: CommitSummary, seconds: float) -> None:
        """Tell the receiver, who has the counters, what a commit did."""
        self._send(frames.committed(summary, seconds))

    def _tell(self) -> None:
        self._send(frames.stored(self._stored))
        self._stored.clear()

    def _send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

# SPDX-License-Identifier: Apache-2.0
"""Event streams of rows whose numbers become visible in their order: the last one seen is all there is to remember."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from api.streams.sending import EventStream
from broker.errors import StoreUnavailable

PAGE: Final = 500  # rows that are read at once
_KEEPALIVE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event of the stream: ``kind`` is its name, ``document`` its data, with the number as ``sequence``."""

    number: int
    kind: str
    document: dict[str, Any]


class Wakes:
    """Wakes every open stream when something was written."""

    def __init__(self) -> None:
        self._events: set[asyncio.Event] = set()

    def wake(self) -> None:
        """Something was written."""
        for event in self._events:
            event.set()

    def register(self) -> asyncio.Event:
        """An event that is set at each wake."""
        event = asyncio.Event()
        self._events.add(event)
        return event

    def forget(self, event: asyncio.Event) -> None:
        """The stream has ended."""
        self._events.discard(event)


Read = Callable[[int], Awaitable[Sequence[NumberedEvent]]]


def numbered_stream(wakes: Wakes, read: Read, position: int, *, stall_s: float) -> EventStream:
    """What comes behind number ``position``; ``read`` gives the next :data:`PAGE` events behind a number.

    While the database is away the stream is silent, and then goes on where it was.
    """
    return EventStream(_frames(wakes, read, position), stall_s=stall_s)


async def _frames(wakes: Wakes, read: Read, position: int) -> AsyncIterator[bytes]:
    wake = wakes.register()
    yield b"retry: 2000\n\n"
    try:
        while True:
            wake.clear()
            try:
                found = await read(position)
            except StoreUnavailable:
                found = []
            for event in found:
                yield _frame(event)
                position = event.number
            if len(found) == PAGE:
                continue
            try:
                async with asyncio.timeout(_KEEPALIVE_S):
                    await wake.wait()
            except TimeoutError:
                yield b": keep-alive\n\n"
    finally:
        wakes.forget(wake)


def _frame(event: NumberedEvent) -> bytes:
    data = orjson.dumps({**event.document, "sequence": event.number})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.number, event.kind.encode(), data)

# SPDX-License-Identifier: Apache-2.0
"""Receivers of notifications on ports of their own, in a process of their own (see subscriptions.py).

A line on standard input asks for what has come since the last one: for each notification its subscription's class, the
number of the update it tells of, and when it came (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from functools import partial
from typing import Any, Final

import orjson
import uvloop

from bench.subscription_classes import CLASSES

_ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"

Arrival = tuple[int, int, float]


class Receiver(asyncio.Protocol):
    """One connection: takes notifications, answers 204."""

    def __init__(self, kind: int, arrivals: list[Arrival]) -> None:
        self._kind, self._arrivals = kind, arrivals
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            head = self._unread[:end].lower()
            at = head.index(b"content-length:") + 15
            length = int(head[at:].split(b"\r\n", 1)[0])
            if len(self._unread) < end + 4 + length:
                return
            body, self._unread = self._unread[end + 4 : end + 4 + length], self._unread[end + 4 + length :]
            self._transport.write(_ANSWER)
            self._arrivals.append((self._kind, _number(orjson.loads(body)), time.monotonic()))


def _number(notification: dict[str, Any]) -> int:
    """The update that a notification tells of: the greatest of the levels, which only grow."""
    entity = notification["data"][0]
    return max(int(member["value"]) for name, member in entity.items() if name.startswith("level"))


async def run() -> None:
    """Listen until told to end."""
    loop = asyncio.get_running_loop()
    arrivals: list[Arrival] = []
    ports = []
    for kind in range(len(CLASSES)):
        server = await loop.create_server(partial(Receiver, kind, arrivals), "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
    print(orjson.dumps({"ports": ports}).decode(), flush=True)

    def tell() -> None:
        sys.stdin.readline()
        taken, arrivals[:] = list(arrivals), []
        print(orjson.dumps({"arrivals": taken}).decode(), flush=True)

    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_reader(sys.stdin.fileno(), tell)
    await stop.wait()


if __name__ == "__main__":
    uvloop.run(run())

# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that remembers what it got: a subscriber or webhook for tests. It can be slow, refuse, or be away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Received:
    """One request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


class Receiver:
    """``async with Receiver() as receiver``: listens on a free port of 127.0.0.1 at ``receiver.url``.

    ``status`` is what it answers with: a number, or a function of the request (then the answer may differ each time).
    With ``reply``, status and body (JSON) are what that function makes of the request; ``headers`` go with it.
    ``delay_s`` passes before it answers. A request counts as received when it was read completely, whatever is
    answered; ``accepted`` are those that got a 2xx.
    """

    def __init__(self) -> None:
        self.status: int | Callable[[Received], int] = 200
        self.headers: dict[str, str] = {}  # of its answers
        self.delay_s = 0.0
        self.reply: Callable[[Received], tuple[int, bytes]] | None = None
        self.headers: dict[str, str] = {}
        self.received: list[Received] = []
        self.accepted: list[Received] = []
        self.under_way = 0
        self.most_under_way = 0
        self._port = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """Where it listens; the same after it was closed and opened again."""
        return f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        """Listen (again)."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Go away: connections are cut, new ones refused."""
        if self._server is None:
            return
        self._server.close()
        serving = [task for task in self._connections.values() if task is not None]
        for writer in self._connections:
            writer.transport.abort()
        await self._server.wait_closed()
        await asyncio.gather(*serving, return_exceptions=True)
        self._server = None

    async def wait_for(self, count: int, timeout_s: float = 10.0) -> list[Received]:
        """Return when at least ``count`` requests were accepted. Raises TimeoutError, which tells how many."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: len(self.accepted) >= count)
        except TimeoutError:
            raise TimeoutError(
                f"{len(self.accepted)} of {count} requests were accepted in {timeout_s} s "
                f"({len(self.received)} were received)"
            ) from None
        return self.accepted

    async def wait_for_requests(self, count: int, timeout_s: float = 10.0) -> list[Received]:
        """Return when at least ``count`` requests were answered, whatever with."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: len(self.received) - self.under_way >= count)
        return self.received

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = asyncio.current_task()
        try:
            while (request := await _read_request(reader)) is not None:
                await self._answer(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the sender went away, or we did
        finally:
            writer.close()
            self._connections.pop(writer)

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.received.append(request)
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            status = self.status(request) if callable(self.status) else self.status
            body = b""
            if self.reply is not None:
                status, body = self.reply(request)
            kind = "Content-Type: application/json\r\n" if body else ""
            kind += "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            writer.write(f"HTTP/1.1 {status} Answer\r\n{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        finally:
            self.under_way -= 1
        if 200 <= status < 300:
            self.accepted.append(request)
        async with self._changed:
            self._changed.notify_all()


async def _read_request(reader: asyncio.StreamReader) -> Received | None:
    """The next request of a connection, None at its end."""
    first = await reader.readline()
    if not first:
        return None
    method, path, _ = first.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode().partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body

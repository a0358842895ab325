# SPDX-License-Identifier: Apache-2.0
"""Posting over HTTP/1.1 at the least cost, over connections that are kept.

What leaves the hub by HTTP are bodies of a kilobyte, hundreds a second, mostly to the same few receivers. A client for
all that HTTP can do takes many times the processor time of these requests. Here is only what they need: one request
after the other on a connection, the answer read in part, no redirects, no proxies, no cookies. The parser is that of
the HTTP server.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from ssl import SSLContext
from typing import Any, Final

import httptools
import httpx

from adapters.guard import AddressGuard
from adapters.trust import http_context

_IDLE_S: Final = 60.0  # after which a connection is closed
_OLD_S: Final = 300.0  # after which the name is looked up again, by a new connection
_MAX_ANSWER_BYTES: Final = 65_536  # that are read, so that the connection can be used again; more ends it
# Headers of the connection, not of the notification: whoever names them does not decide about them.
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "expect", "te", "trailer", "upgrade"}
)
_DEFAULTS: Final = {"user-agent": "User-Agent: minamo\r\n", "accept": "Accept: */*\r\n"}
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_IN_VALUES: Final = re.compile(r"[\0-\x08\x0a-\x1f\x7f]")

Origin = tuple[str, str, int]  # scheme, host as it was given, port


class BrokenAnswer(Exception):
    """The receiver ended the connection before it answered, or what it says is not HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is what was read of it, ``retry_after`` the header of this name."""

    status: int
    body: bytes
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a URL leads, and how requests to it begin."""

    origin: Origin
    head: str


@lru_cache(maxsize=10_000)
def _target(url: str) -> _Target:
    parsed = httpx.URL(url)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    path, host = parsed.raw_path.decode("ascii"), parsed.netloc.decode("ascii")
    return _Target((parsed.scheme, parsed.host, port), f"POST {path} HTTP/1.1\r\nHost: {host}\r\n")


def request_bytes(url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The request as it goes over the wire; raises ValueError for headers that cannot be sent."""
    lines = [_target(url).head]
    defaults = dict(_DEFAULTS)
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or _FORBIDDEN_IN_VALUES.search(value):
            raise ValueError(f"{name!r} with the value {value!r} is no HTTP header")
        lower = name.lower()
        if lower not in _OURS:
            defaults.pop(lower, None)
            lines.append(f"{name}: {value}\r\n")
    lines += defaults.values()
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "".join(lines).encode() + body


class _Connection(asyncio.Protocol):
    """A connection with at most one request under way."""

    def __init__(self) -> None:
        self.opened_at = self.used_at = time.monotonic()
        self.can_be_used = True
        self.has_answered = False  # whether anything was said to the request under way
        self._transport: Any = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._parser: Any = None
        self._parts: list[bytes] = []
        self._size = 0
        self._retry_after = ""
        self._in_answer = False

    async def exchange(self, request: bytes) -> Answer:
        """Send ``request``; raises :class:`BrokenAnswer`. Cancelled, the connection is of no more use."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._parts, self._size, self._retry_after = [], 0, ""
        self._in_answer = self.has_answered = False
        try:
            if not self.can_be_used:
                raise BrokenAnswer("the receiver has ended the connection")
            self._transport.write(request)
            return await self._waiting
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiting = None
            self.used_at = time.monotonic()

    def abort(self) -> None:
        """End it at once."""
        self.can_be_used = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Implements :class:`asyncio.Protocol`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Implements :class:`asyncio.Protocol`."""
        if self._waiting is None:  # nothing was asked
            self.abort()
            return
        self.has_answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(BrokenAnswer(f"no HTTP: {exc}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Implements :class:`asyncio.Protocol`. The end of the connection ends an answer of no given length."""
        self.can_be_used = False
        if self._in_answer:
            self._done()
        else:
            reason = f": {exc}" if exc else ""
            self._fail(BrokenAnswer(f"the receiver ended the connection without an answer{reason}"))

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the headers one matters."""
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("ascii", "replace").strip()

    def on_headers_complete(self) -> None:
        """An interim answer (1xx) is none; a second one was not asked for."""
        if self._waiting is None or self._waiting.done():
            self.can_be_used = False
            return
        self._in_answer = self._parser.get_status_code() >= 200

    def on_body(self, part: bytes) -> None:
        """Keeps so much and no more."""
        self._parts.append(part)
        self._size += len(part)
        if self._size > _MAX_ANSWER_BYTES:
            self._done()
            self.abort()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._in_answer:
            self.can_be_used = self.can_be_used and self._parser.should_keep_alive()
            self._done()

    def _done(self) -> None:
        self._in_answer = False
        if self._waiting is not None and not self._waiting.done():
            body = b"".join(self._parts)[:_MAX_ANSWER_BYTES]
            self._waiting.set_result(Answer(self._parser.get_status_code(), body, self._retry_after))

    def _fail(self, error: BrokenAnswer) -> None:
        self.can_be_used = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


@dataclass(slots=True)
class _Pool:
    """The connections to one origin: those that wait for a request, the one used last at the end."""

    places: asyncio.Semaphore
    under_way: int = 0
    idle: deque[_Connection] = field(default_factory=deque)

    def take(self) -> _Connection | None:
        now = time.monotonic()
        while self.idle:
            connection = self.idle.pop()
            if connection.can_be_used and now - connection.opened_at < _OLD_S:
                return connection
            connection.abort()
        return None


class Poster:
    """Posts to any origin, at most ``connections`` at once to one; the others wait.

    Each connection goes to an address that was checked; so two names with one address never share a connection that was
    made for one of them. ``ca_file`` has authorities to believe besides the well-known ones.
    """

    def __init__(
        self, *, allow_private: bool, allow_loopback: bool, connections: int, ca_file: Path | None = None
    ) -> None:
        self._guard = AddressGuard(allow_private, allow_loopback)
        self._ca_file = ca_file
        self._connections = connections
        self._pools: dict[Origin, _Pool] = {}
        self._swept_at = time.monotonic()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request and its answer.

        Raises :class:`BrokenAnswer`, OSError (TLS included), ValueError and
        :class:`adapters.guard.ForbiddenDestination`.
        """
        request, origin = request_bytes(url, headers, body), _target(url).origin
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = _Pool(asyncio.Semaphore(self._connections))
        pool.under_way += 1
        try:
            async with pool.places:
                connection, answer = await self._exchange(pool, origin, request)
        finally:
            pool.under_way -= 1
        if connection.can_be_used:
            pool.idle.append(connection)
        else:
            connection.abort()
        self._sweep()
        return answer

    async def _exchange(self, pool: _Pool, origin: Origin, request: bytes) -> tuple[_Connection, Answer]:
        """A kept connection may have been ended by the receiver just now: then the next one is tried."""
        while (connection := pool.take()) is not None:
            try:
                return connection, await connection.exchange(request)
            except BrokenAnswer:
                if connection.has_answered:
                    raise
        connection = await self._connect(origin)
        return connection, await connection.exchange(request)

    async def _connect(self, origin: Origin) -> _Connection:
        scheme, host, port = origin
        address = await self._guard.resolve(host, port)
        tls: dict[str, Any] = {"ssl": self._tls, "server_hostname": host} if scheme == "https" else {}
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, address, port, **tls)
        return connection

    @cached_property
    def _tls(self) -> SSLContext:
        return http_context(self._ca_file)

    def _sweep(self) -> None:
        """Close the connections that nobody has used for long."""
        now = time.monotonic()
        if now - self._swept_at < _IDLE_S:
            return
        self._swept_at = now
        for origin, pool in list(self._pools.items()):
            while pool.idle and now - pool.idle[0].used_at > _IDLE_S:
                pool.idle.popleft().abort()
            if not pool.idle and not pool.under_way:
                del self._pools[origin]

    async def aclose(self) -> None:
        """Close the connections that wait; those under way end with their requests."""
        for pool in self._pools.values():
            while pool.idle:
                pool.idle.pop().abort()
        await asyncio.sleep(0)  # the loop closes what was given up

# SPDX-License-Identifier: Apache-2.0
"""Sessions of aiohttp for addresses that others name: kept connections, none into the hub's own network.

A name is resolved for each new connection and checked; whatever the way to an address, it is checked once more when the
socket to it is made. No redirects are followed here, no proxies, cookies or compression used.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.web.guard import AddressGuard, Reach
from adapters.web.trust import http_context

_IDLE_S: Final = 60.0  # after which a connection is closed


class _GuardedResolver(AbstractResolver):
    """Names by the system, as far as the guard allows where they lead."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the signature is the library's
    ) -> list[ResolveResult]:
        """Implements :class:`AbstractResolver`; raises :class:`adapters.web.guard.ForbiddenDestination`."""
        address = await self._guard.resolve(host, port)
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        flags = int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=flags)]

    async def close(self) -> None:
        """Nothing is kept."""


class GuardedSession:
    """A session with at most ``connections`` to one origin, opened in the event loop that first asks for it.

    Its requests raise :class:`adapters.web.guard.ForbiddenDestination` beside the errors of aiohttp. Time is
    limited by who asks.
    """

    def __init__(
        self,
        *,
        reach: Reach,
        connections: int,
        decompress: bool = False,
        traces: list[aiohttp.TraceConfig] | None = None,
    ) -> None:
        self._guard = reach.guard
        self._connections = connections
        self._ca_file = reach.ca_file
        self._decompress = decompress
        self._traces = traces

    @cached_property
    def opened(self) -> aiohttp.ClientSession:
        """The session of aiohttp."""
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=self._connections,
            keepalive_timeout=_IDLE_S,
            use_dns_cache=False,
            resolver=_GuardedResolver(self._guard),
            socket_factory=self._open_socket,
            ssl=http_context(self._ca_file),
            loop=asyncio.get_running_loop(),
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=self._decompress,
            skip_auto_headers=("Accept-Encoding", "Content-Type"),
            headers={"User-Agent": "minamo"},
            trace_configs=self._traces,
        )

    def _open_socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        self._guard.check(address[0], address[0])
        return socket.socket(family, kind, protocol)

    async def aclose(self) -> None:
        """Close all connections."""
        if "opened" in self.__dict__:
            await self.opened.close()


class AnswerTooLarge(Exception):
    """The answer is larger than the hub takes."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer; header names are in lower case, those given several times joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def read_at_most(response: aiohttp.ClientResponse, max_bytes: int, *, what: str = "answer") -> bytes:
    """The body, decoded; raises :class:`AnswerTooLarge`, which calls it ``what``, as soon as it is."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > max_bytes:
            response.close()
            raise AnswerTooLarge(f"the {what} is larger than {max_bytes} bytes")
    return bytes(body)


def joined_headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """As :class:`HttpAnswer` has them."""
    found: dict[str, str] = {}
    for name, value in response.headers.items():
        lower = name.lower()
        found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found

# SPDX-License-Identifier: Apache-2.0
"""Sessions of aiohttp for addresses that others name: kept connections, none into the hub's own network.

A name is resolved for each new connection and checked; whatever the way to an address, it is checked once more when the
socket to it is made. No redirects are followed here, no proxies, cookies or compression used.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.web.guard import AddressGuard
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


def guarded_session(
    guard: AddressGuard,
    *,
    connections: int,
    ca_file: Path | None = None,
    decompress: bool = False,
    traces: list[aiohttp.TraceConfig] | None = None,
) -> aiohttp.ClientSession:
    """A session with at most ``connections`` to one origin; has to be made in the event loop that it is used in.

    Its requests raise :class:`adapters.web.guard.ForbiddenDestination` beside the errors of aiohttp. ``ca_file`` has
    authorities to believe besides the well-known ones. Time is limited by who asks.
    """

    def open_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        guard.check(address[0], address[0])
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(
        limit=0,
        limit_per_host=connections,
        keepalive_timeout=_IDLE_S,
        use_dns_cache=False,
        resolver=_GuardedResolver(guard),
        socket_factory=open_socket,
        ssl=http_context(ca_file),
        loop=asyncio.get_running_loop(),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=decompress,
        skip_auto_headers=("Accept-Encoding", "Content-Type"),
        headers={"User-Agent": "minamo"},
        trace_configs=traces,
    )

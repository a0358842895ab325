# SPDX-License-Identifier: Apache-2.0
"""HTTP connections to where others say, guarded against requests into the hub's own network, and kept."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from ssl import SSLContext
from typing import Final

import httpx

from adapters.web.guard import AddressGuard
from adapters.web.trust import http_context

_IDLE_S: Final = 60.0  # after which the connections to an origin are closed

Origin = tuple[str, str, int | None]  # scheme, host as it was given, port


@dataclass(slots=True)
class _Pool:
    """The connections to one origin."""

    transport: httpx.AsyncHTTPTransport
    under_way: int = 0
    used_at: float = 0.0


class GuardedTransport(httpx.AsyncBaseTransport):
    """Resolves and checks the host, then connects to the checked address under the original name.

    Connections are kept for each origin by itself, at most ``connections`` to one: what is looked through for a free
    connection stays short, and two names with one address never share a connection that was made for one of them.
    ``ca_file`` has authorities to believe besides the well-known ones.
    """

    def __init__(
        self, *, allow_private: bool, allow_loopback: bool, connections: int, ca_file: Path | None = None
    ) -> None:
        self._guard = AddressGuard(allow_private, allow_loopback)
        self._ca_file = ca_file
        self._limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._pools: dict[Origin, _Pool] = {}  # the one used last at the end
        self._swept_at = time.monotonic()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` to the address its host name has now; raises :class:`ForbiddenDestination`."""
        url = request.url
        host = url.host
        address = await self._resolve(host, url.port or (443 if url.scheme == "https" else 80))
        if address != host:
            request.extensions = {**request.extensions, "sni_hostname": host}
            request.url = url.copy_with(host=address)
        origin = url.scheme, host, url.port
        pool = self._pools.pop(origin, None) or _Pool(self._make_transport())
        self._pools[origin] = pool
        pool.under_way += 1
        try:
            return await pool.transport.handle_async_request(request)
        finally:
            pool.under_way -= 1
            pool.used_at = time.monotonic()
            await self._sweep(pool.used_at)

    @cached_property
    def _tls(self) -> SSLContext:
        return http_context(self._ca_file)

    def _make_transport(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(verify=self._tls, limits=self._limits, trust_env=False)

    async def _sweep(self, now: float) -> None:
        """Close the connections to origins that nobody has used for long."""
        if now - self._swept_at < _IDLE_S:
            return
        self._swept_at = now
        for origin, pool in list(self._pools.items()):
            if not pool.under_way and now - pool.used_at > _IDLE_S:
                del self._pools[origin]
                with contextlib.suppress(httpx.HTTPError):
                    await pool.transport.aclose()

    async def _resolve(self, host: str, port: int) -> str:
        try:
            return await self._guard.resolve(host, port)
        except OSError as exc:
            raise httpx.ConnectError(f"{host} cannot be resolved: {exc}") from exc

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.transport.aclose()

# SPDX-License-Identifier: Apache-2.0
"""Sending deliveries by HTTP, guarded against requests into the hub's own network. Redirects are not followed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

import httpx

from adapters.guard import AddressGuard, ForbiddenDestination

MAX_ANSWER_CHARACTERS: Final = 300  # of a receiver's answer that is kept as the reason of a failure
_MAX_ANSWER_BYTES: Final = 65_536  # that are read, so that the connection can be used again; more ends it


@dataclass(frozen=True, slots=True)
class SendResult:
    """Answer to one attempt: ``ok`` for any 2xx; ``gone`` for 410; ``error`` tells what went wrong.

    ``status`` is that of HTTP or, by MQTT, the reason code (0, or from 128 to 255); None when nobody answered.
    """

    ok: bool
    status: int | None = None
    error: str | None = None

    @property
    def gone(self) -> bool:
        """The receiver says that it will never take this again."""
        return self.status == 410


def check_url(url: str) -> None:
    """Raise :class:`ForbiddenDestination` unless ``url`` is an absolute http or https URL without credentials."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ForbiddenDestination(f"{url} is not an absolute http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenDestination("credentials do not belong into the URL of a destination")


class GuardedTransport(httpx.AsyncBaseTransport):
    """Resolves and checks the host, then connects to the checked address under the original name."""

    def __init__(self, *, allow_private: bool, allow_loopback: bool, connections: int) -> None:
        self._guard = AddressGuard(allow_private, allow_loopback)
        self._inner = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections), trust_env=False
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` to the address its host name has now; raises :class:`ForbiddenDestination`."""
        host = request.url.host
        address = await self._resolve(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        if address != host:
            request.extensions = {**request.extensions, "sni_hostname": host}
            request.url = request.url.copy_with(host=address)
        return await self._inner.handle_async_request(request)

    async def _resolve(self, host: str, port: int) -> str:
        try:
            return await self._guard.resolve(host, port)
        except OSError as exc:
            raise httpx.ConnectError(f"{host} cannot be resolved: {exc}") from exc

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class HttpSender:
    """Posts deliveries; ``timeout_s`` bounds an attempt as a whole."""

    def __init__(
        self, *, timeout_s: float, allow_private: bool, allow_loopback: bool = False, connections: int = 64
    ) -> None:
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(
                allow_private=allow_private, allow_loopback=allow_loopback, connections=connections
            ),
            timeout=httpx.Timeout(timeout_s),
            follow_redirects=False,
            headers={"User-Agent": "minamo"},
        )

    async def __aenter__(self) -> HttpSender:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def send(self, url: str, body: bytes, headers: dict[str, str], timeout_s: float | None = None) -> SendResult:
        """One attempt; never raises for what the receiver or the network does. ``timeout_s`` may shorten the wait."""
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            check_url(url)
            async with asyncio.timeout(timeout_s):
                async with self._client.stream("POST", url, content=body, headers=headers) as response:
                    answer = await _read_some(response)
        except ForbiddenDestination as exc:
            return SendResult(False, None, str(exc))
        except TimeoutError:
            return SendResult(False, None, f"no answer within {timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
            return SendResult(False, None, f"{type(exc).__name__}: {exc}"[:MAX_ANSWER_CHARACTERS])
        if response.is_success:
            return SendResult(True, response.status_code)
        text = answer.decode("utf-8", "replace").strip()
        return SendResult(False, response.status_code, f"HTTP {response.status_code}: {text}"[:MAX_ANSWER_CHARACTERS])


async def _read_some(response: httpx.Response) -> bytes:
    """The answer, as far as the hub cares to listen."""
    answer = b""
    async for part in response.aiter_raw():
        answer += part
        if len(answer) > _MAX_ANSWER_BYTES:
            break
    return answer[:_MAX_ANSWER_BYTES]

# SPDX-License-Identifier: Apache-2.0
"""What every HTTP request passes: security headers, counting. Plain ASGI: little cost per request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import metrics

_COMPRESSED_PATHS: Final = ("/static/", "/api/v1/")
_COMPRESSED_PAGES: Final = frozenset(("/", "/docs", "/openapi.json"))
_COMPRESSED_FROM_BYTES: Final = 1000
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# Everything a page needs comes from the hub itself; images of the map are data.
_CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", _CONTENT_SECURITY_POLICY.encode()),
)
_SECURITY_NAMES: Final = frozenset(name for name, _ in _SECURITY_HEADERS)


class SecurityHeaders:
    """Adds the headers that keep a browser from doing what the pages do not need."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _secured(message["headers"])
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _secured(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = [name for name, _ in headers if name in _SECURITY_NAMES]
    return [*headers, *(_SECURITY_HEADERS if not given else (one for one in _SECURITY_HEADERS if one[0] not in given))]


class Compression:
    """gzip for the pages and the plain JSON API; the NGSI-LD routes stay as they are, they are written for speed.

    Event streams are never compressed: each event has to leave at once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressing = GZipMiddleware(app, minimum_size=_COMPRESSED_FROM_BYTES, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        compressed = scope["type"] == "http" and (
            scope["path"] in _COMPRESSED_PAGES or scope["path"].startswith(_COMPRESSED_PATHS)
        )
        await (self._compressing if compressed else self._app)(scope, receive, send)


class RequestMetrics:
    """Counts requests by method and status, and how long the answers took (streams are counted, not timed)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._counters: dict[tuple[str, int], Counter] = {}

    def _count(self, method: str, status: int) -> None:
        counter = self._counters.get((method, status))
        if counter is None:
            counter = metrics.REQUESTS.labels(method, str(status))
            if method in _METHODS:  # others are what clients make up
                self._counters[method, status] = counter
        counter.inc()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope["method"], message["status"])
                metrics.REQUEST_LATENCY.observe(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, counting_send)

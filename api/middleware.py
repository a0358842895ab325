# SPDX-License-Identifier: Apache-2.0
"""What every HTTP request passes: access by token, security headers, counting. Plain ASGI: little cost per request."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import metrics
from api.streams.tickets import STREAM_PATH, Tickets

_COMPRESSED_PATHS: Final = ("/static/", "/api/v1/")
_COMPRESSED_PAGES: Final = frozenset(("/", "/docs", "/openapi.json"))
_COMPRESSED_FROM_BYTES: Final = 1000
_TENANT: Final = b"ngsild-tenant"
_POLICY_VIOLATION: Final = 1008
_OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})

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
_UNAUTHORIZED: Final = (
    b'{"type":"about:blank","title":"Unauthorized","status":401,'
    b'"detail":"A bearer token is required / \xe3\x83\x88\xe3\x83\xbc\xe3\x82\xaf\xe3\x83\xb3\xe3\x81\x8c'
    b'\xe5\xbf\x85\xe8\xa6\x81\xe3\x81\xa7\xe3\x81\x99"}'
)


class TokenAccess:
    """Lets requests pass that carry one of the tokens whose SHA-256 (hex) are configured.

    ``/healthz`` and ``/readyz`` are open, for supervisors that have no token. A ticket in the address opens its stream,
    in the name of its tenant.
    """

    def __init__(self, app: ASGIApp, hashes: Collection[str], tickets: Tickets) -> None:
        self._app = app
        self._hashes = [value.lower() for value in hashes]
        self._tickets = tickets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if b"ticket=" in scope["query_string"] and STREAM_PATH.fullmatch(scope["path"]):
            allowed = await self._with_ticket(scope)
        else:
            allowed = not self._hashes or scope["path"] in _OPEN_PATHS or self._allowed(scope)
        if allowed:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        headers = [(b"content-type", b"application/problem+json"), (b"www-authenticate", b'Bearer realm="minamo"')]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": _UNAUTHORIZED})

    async def _with_ticket(self, scope: Scope) -> bool:
        """Whether the ticket in the address is for it; the request is one of the ticket's tenant then."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [""])
        ticket = await self._tickets.read(given[0], datetime.now(UTC))
        if ticket is None or ticket.path != scope["path"]:
            return False
        others = [(name, value) for name, value in scope["headers"] if name != _TENANT]
        scope["headers"] = [*others, (_TENANT, ticket.tenant.encode("latin-1"))]
        return True

    def _allowed(self, scope: Scope) -> bool:
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return False
        digest = hashlib.sha256(token.strip().encode()).hexdigest()
        return any(hmac.compare_digest(digest, known) for known in self._hashes)


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
                given = {name for name, _ in message["headers"]}
                added = [header for header in _SECURITY_HEADERS if header[0] not in given]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                metrics.REQUESTS.labels(scope["method"], str(message["status"])).inc()
                metrics.REQUEST_LATENCY.observe(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, counting_send)

# SPDX-License-Identifier: Apache-2.0
"""Who may pass, and as whom: clients with a token, browsers that have signed in with one, tickets for single streams.

Whoever passes has an audience, and what is read for the request is read for it
(:mod:`context_store.audiences.callers`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from importlib import resources
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.actors import remember_credential
from api.access.audiences import may_ask
from api.access.sessions import COOKIE, SESSION_PATH, Sessions, Tokens, digest
from api.http.pages import PAGES
from api.streams.tickets import STREAM_PATH, Tickets
from broker.audiences import Audience
from broker.errors import StoreUnavailable
from context_store.audiences.callers import STAFF, Caller, acting_for
from context_store.tenants import DEFAULT_TENANT

_OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", SESSION_PATH, "/static/favicon.svg"})
_SIGN_IN_FILES: Final = "/static/sign_in/"
# Devices and other brokers are asked for credentials of their own there.
_OWN_CREDENTIALS: Final = ("/api/v1/readings/", "/api/v1/notified/", "/iot/")
_READING: Final = frozenset({"GET", "HEAD"})
_TENANT: Final = b"ngsild-tenant"
_POLICY_VIOLATION: Final = 1008
_UNAUTHORIZED: Final = (
    b'{"type":"about:blank","title":"Unauthorized","status":401,'
    b'"detail":"A bearer token is required / \xe3\x83\x88\xe3\x83\xbc\xe3\x82\xaf\xe3\x83\xb3\xe3\x81\x8c'
    b'\xe5\xbf\x85\xe8\xa6\x81\xe3\x81\xa7\xe3\x81\x99"}'
)
_FORBIDDEN: Final = (
    b'{"type":"about:blank","title":"Forbidden","status":403,'
    b'"detail":"This is for staff / \xe8\x81\xb7\xe5\x93\xa1\xe5\xb0\x82\xe7\x94\xa8\xe3\x81\xa7\xe3\x81\x99"}'
)
PUBLIC: Final = Caller(Audience.PUBLIC)


class TokenAccess:
    """Lets requests pass that carry one of the ``tokens``, or when there are none to carry.

    A browser that has signed in may read, and press the buttons of the live page. A ticket in the address opens its
    stream, in the name of its tenant.
    ``/healthz`` and ``/readyz`` are open, for supervisors that have no token, and so is the page that asks for one.
    Devices that send readings are asked for their own credential by the route. Where no tokens are configured,
    everybody is staff; where they are, ``public`` lets requests without one see what is public.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, tickets: Tickets, sessions: Sessions, *, public: bool) -> None:
        self._app = app
        self._anonymous = PUBLIC if public else None
        self._tokens = tokens
        self._tickets = tickets
        self._sessions = sessions
        self._sign_in = resources.files("web").joinpath("sign_in", "index.html").read_bytes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = STAFF if scope["type"] == "lifespan" else await self._caller(scope)
        if caller is not None and may_ask(caller, scope):
            with acting_for(caller):
                await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        elif caller is None or caller is PUBLIC:
            await self._refuse(scope, send)
        else:
            await _answer(send, 403, _PROBLEM, _FORBIDDEN)

    async def _caller(self, scope: Scope) -> Caller | None:
        """For whom the request is; None when nobody may make it."""
        path: str = scope["path"]
        if b"ticket=" in scope["query_string"] and STREAM_PATH.fullmatch(path):
            return await self._with_ticket(scope)
        if not self._tokens or path in _OPEN_PATHS or path.startswith((_SIGN_IN_FILES, *_OWN_CREDENTIALS)):
            return STAFF
        headers = Headers(scope=scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            hashed = digest(token)
            remember_credential(scope, hashed)
            return await self._holder(scope, hashed)
        # Reading, and the buttons of the page itself: other sites could make a browser send its cookie.
        reads = scope["type"] == "websocket" or scope["method"] in _READING
        if not reads and not _is_button(scope, headers):
            return self._anonymous
        holder = await self._sessions.holder(_session_cookie(headers.get("cookie", "")), datetime.now(UTC))
        if holder is None:
            return self._anonymous
        remember_credential(scope, holder, by_session=True)
        return await self._holder(scope, holder)

    async def _holder(self, scope: Scope, hashed: str) -> Caller | None:
        """Who has the token with this hash. Where it opens one tenant only, the request is one of that tenant."""
        try:
            holder = await self._tokens.holder(hashed)
        except StoreUnavailable:
            return None
        if holder is None or holder.tenant is None:
            return None if holder is None else holder.caller
        return holder.caller if _in_tenant(scope, holder.tenant) else None

    async def _with_ticket(self, scope: Scope) -> Caller | None:
        """For whom the ticket in the address is; the request is one of the ticket's tenant then."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [""])
        ticket = await self._tickets.read(given[0], datetime.now(UTC))
        if ticket is None or ticket.path != scope["path"]:
            return None
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != _TENANT]
        _in_tenant(scope, ticket.tenant)
        return ticket.caller

    async def _refuse(self, scope: Scope, send: Send) -> None:
        """401: for people who open the page, with a form that asks for a token."""
        is_page = scope["path"] in PAGES and scope["method"] in _READING
        kind, body = (b"text/html; charset=utf-8", self._sign_in) if is_page else (_PROBLEM, _UNAUTHORIZED)
        await _answer(send, 401, kind, body, (b"www-authenticate", b'Bearer realm="minamo"'))


async def _answer(send: Send, status: int, kind: bytes, body: bytes, *others: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", kind), *others, (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _in_tenant(scope: Scope, tenant: str) -> bool:
    """Make the request one of ``tenant``; False when it asks for another one."""
    name = tenant.encode("latin-1")
    asked = [value for header, value in scope["headers"] if header == _TENANT]
    if not asked and tenant != DEFAULT_TENANT:
        scope["headers"] = [*scope["headers"], (_TENANT, name)]
    return all(value == name for value in asked)


_PROBLEM: Final = b"application/problem+json"
_BUTTONS: Final = re.compile(
    r"/api/v1/(alarms/[^/]+/(acknowledge|shelve|unshelve)|contacts/[^/]+/(browsers|test)|drills(/[^/]+/(values|end))?"
    r"|alert-rules/replay|((devices/[^/]+|quarantine/[0-9]+)/)?decode)"
)


def _is_button(scope: Scope, headers: Headers) -> bool:
    """Whether it is a button of the pages that was pressed, on a page of ours: what is done in an emergency, or changes
    nothing that stays. Rules and contacts are changed with a token.
    """
    if scope["method"] != "POST" or not _BUTTONS.fullmatch(scope["path"]):
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return urlsplit(headers.get("origin", "")).netloc == headers.get("host", "-")


def _session_cookie(header: str) -> str:
    """The session in a ``Cookie`` header; empty when there is none."""
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""

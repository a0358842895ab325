# SPDX-License-Identifier: Apache-2.0
"""Sessions of browsers: a token is exchanged for a cookie that opens the live page, for reading and for its buttons.

A page cannot put a token into the requests of its images, scripts and event streams. The cookie is signed, not stored;
scripts cannot read it, other sites cannot send it, and what it opens beside ``GET`` asks for the page's own origin.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.http.problem_details import UnacceptableRequest
from api.http.requests import JsonObject
from api.openapi.plain import answers, takes
from api.streams.tickets import Tickets
from broker.audiences import Audience
from context_store.audiences.briefed_people import BriefedTokens
from context_store.audiences.callers import STAFF, Caller

SESSION_PATH: Final = "/api/v1/session"
COOKIE: Final = "minamo_session"
LIFETIME: Final = timedelta(hours=12)
_WHAT: Final = "the live page"  # in place of the path of a stream; the token's hash is in place of the tenant
_PAUSE_AFTER_REFUSAL_S: Final = 0.5
_WRONG: Final[Mapping[str, Any]] = {
    "type": "about:blank",
    "title": "Unauthorized",
    "status": 401,
    "detail": "The token is not known / トークンが正しくありません",
}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a token, and the only tenant (its name) that it opens; None: it opens all."""

    caller: Caller
    tenant: str | None = None


_STAFF: Final = Holder(STAFF)


class Tokens:
    """The bearer tokens that are accepted, as their SHA-256 (hexadecimal): those of staff, and of briefed people."""

    def __init__(
        self, hashes: Collection[str], briefed: Collection[str] = (), people: BriefedTokens | None = None
    ) -> None:
        self._staff = [value.lower() for value in hashes]
        self._briefed = [value.lower() for value in briefed]
        self._people = people

    def __bool__(self) -> bool:
        return bool(self._staff)

    async def knows(self, token: str) -> bool:
        """Whether ``token`` is one of them."""
        return await self.has(digest(token))

    async def has(self, hashed: str) -> bool:
        """Whether the token with this hash is one of them."""
        return await self.holder(hashed) is not None

    async def holder(self, hashed: str) -> Holder | None:
        """Who has the token with this hash; None when it is not one of them, or holds no longer."""
        if any(hmac.compare_digest(hashed, known) for known in self._staff):
            return _STAFF
        if any(hmac.compare_digest(hashed, known) for known in self._briefed):
            return Holder(Caller(Audience.BRIEFED, f"token:{hashed[:32]}"))
        person = None if self._people is None else await self._people.holder(hashed)
        return None if person is None else Holder(Caller(Audience.BRIEFED, f"person:{person[0]}"), person[1])


def digest(token: str) -> str:
    """What is known of a token."""
    return hashlib.sha256(token.strip().encode()).hexdigest()


class Sessions:
    """Makes and checks the cookies of signed-in browsers. When a token is withdrawn, its sessions are over."""

    def __init__(self, tickets: Tickets, tokens: Tokens) -> None:
        self._tickets = tickets
        self._tokens = tokens

    async def make(self, token: str, now: datetime) -> str:
        """The value of a new cookie."""
        text, _ = await self._tickets.make(_WHAT, digest(token), now)
        return text

    async def holder(self, cookie: str, now: datetime) -> str | None:
        """The hash of the token it was made for; None when it is none of ours, or not valid any more."""
        ticket = await self._tickets.read(cookie, now)
        is_ours = ticket is not None and ticket.path == _WHAT and await self._tokens.has(ticket.tenant)
        return ticket.tenant if ticket is not None and is_ours else None


def sessions_router(tokens: Tokens, sessions: Sessions) -> APIRouter:
    """Signing in and out."""
    router = APIRouter(tags=["operation"])

    @router.post(
        SESSION_PATH,
        status_code=204,
        summary="Sign a browser in: a token for a cookie / ブラウザーのサインイン",
        responses=answers(statuses=(204,)),
        openapi_extra=takes("SessionRequest"),
    )
    async def sign_in(request: Request, body: JsonObject) -> Response:
        token = body.get("token")
        if not isinstance(token, str) or not await tokens.knows(token):
            await asyncio.sleep(_PAUSE_AFTER_REFUSAL_S)
            raise UnacceptableRequest(401, _WRONG)
        response = Response(status_code=204)
        response.set_cookie(
            COOKIE,
            await sessions.make(token, datetime.now(UTC)),
            max_age=int(LIFETIME.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @router.delete(
        SESSION_PATH,
        status_code=204,
        summary="Sign the browser out / サインアウト",
        responses=answers(statuses=(204,)),
    )
    async def sign_out() -> Response:
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    return router

# SPDX-License-Identifier: Apache-2.0
"""Tickets: how a browser opens a stream, whose requests cannot carry a token.

Whoever has a token gets a ticket for one stream of one tenant, valid for a minute, and puts it into the address. An
address that ends up in a log opens nothing a minute later. Tickets are signed with a secret that all processes share.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from broker.audiences import Audience
from context_store.audiences.callers import STAFF, Caller

SECRET_NAME: Final = "stream tickets"  # noqa: S105 - the name of a secret
STREAM_PATH: Final = re.compile(r"/api/v1/(alerts|alarms|subscriptions/[^/]+)/stream")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket opens, and for whom: the stream at ``path`` (decoded) of ``tenant``, until a time."""

    path: str
    tenant: str
    until: datetime
    caller: Caller = STAFF


class Tickets:
    """Makes and checks tickets; ``secret`` is asked for once."""

    def __init__(self, secret: Callable[[], Awaitable[bytes]], *, lifetime: timedelta = timedelta(seconds=60)) -> None:
        self._ask = secret
        self._secret: bytes | None = None
        self._lifetime = lifetime

    async def make(self, path: str, tenant: str, now: datetime, caller: Caller = STAFF) -> tuple[str, Ticket]:
        """A ticket as text, and what it says."""
        ticket = Ticket(path, tenant, now + self._lifetime, caller)
        claims = orjson.dumps([path, tenant, ticket.until.timestamp(), int(caller.audience), caller.name])
        return f"{_encode(claims)}.{_encode(await self._sign(claims))}", ticket

    async def read(self, text: str, now: datetime) -> Ticket | None:
        """What the ticket ``text`` says; None unless it is one of ours and still valid."""
        try:
            claims, signature = (_decode(part) for part in text.split("."))
        except ValueError:
            return None
        if not hmac.compare_digest(signature, await self._sign(claims)):
            return None
        path, tenant, until, audience, name = orjson.loads(claims)
        ticket = Ticket(path, tenant, datetime.fromtimestamp(until, UTC), Caller(Audience(audience), name))
        return ticket if now <= ticket.until else None

    async def _sign(self, claims: bytes) -> bytes:
        if self._secret is None:
            self._secret = await self._ask()
        return hmac.digest(self._secret, claims, hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Raises ValueError (``binascii.Error`` is one)."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise ValueError("not base64url") from exc

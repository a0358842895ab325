# SPDX-License-Identifier: Apache-2.0
"""Fetching JSON-LD contexts from the web, guarded: a client names the URL, so it must not open the hub's network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import orjson

from adapters.web.guard import Reach
from adapters.web.guarded_get import GetFailed, GuardedGetter, TooManyRedirects
from broker.errors import BadRequestData, LdContextNotAvailable

MAX_FRESH: Final = timedelta(days=365)
_ACCEPT: Final = "application/ld+json, application/json;q=0.9, */*;q=0.1"


@dataclass(frozen=True, slots=True)
class FetchedContext:
    """One answer: ``document`` is None when the server says that the one with the ETag asked for is still right.

    ``fresh_for`` is how long the server says that it is right (clause 6.3.16), or None.
    """

    document: dict[str, Any] | None
    etag: str | None
    fresh_for: timedelta | None = None


class HttpContextLoader:
    """Loads context documents by HTTP; ``timeout_s`` bounds a load as a whole, ``max_bytes`` its decoded body."""

    def __init__(
        self,
        *,
        timeout_s: float,
        max_bytes: int,
        reach: Reach,
    ) -> None:
        self._getter = GuardedGetter(
            accept=_ACCEPT,
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            connections=8,
            reach=reach,
            may_leave_tls=True,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._getter.aclose()

    async def load(self, url: str) -> dict[str, Any]:
        """The JSON object at ``url``; raises what :meth:`fetch` raises."""
        document = (await self.fetch(url)).document
        if document is None:
            raise LdContextNotAvailable(f"@context {url} cannot be retrieved: the answer is empty")
        return document

    async def fetch(self, url: str, etag: str | None = None) -> FetchedContext:
        """The document at ``url``, unless its ETag is still ``etag``.

        Raises :class:`LdContextNotAvailable` when it cannot be had, and :class:`BadRequestData` when what is there is
        no JSON object (clause 5.5.6).
        """
        conditions = {"If-None-Match": etag} if etag else {}
        try:
            answer = await self._getter.get(url, conditions)
        except TooManyRedirects as exc:
            raise _unavailable(url, f"TooManyRedirects: {exc}") from exc
        except GetFailed as exc:
            raise _unavailable(url, str(exc)) from exc
        found = answer.headers.get("etag")
        fresh_for = freshness(answer.headers, datetime.now(UTC))
        if answer.status == HTTPStatus.NOT_MODIFIED and etag:
            return FetchedContext(None, found or etag, fresh_for)
        if answer.status != HTTPStatus.OK:
            raise _unavailable(url, f"the server answers with HTTP {answer.status}")
        return FetchedContext(_document(url, answer.body), found, fresh_for)


def _document(url: str, body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadRequestData(f"@context {url} is not valid: the document is not JSON") from exc
    if not isinstance(document, dict):
        raise BadRequestData(f"@context {url} is not valid: the document is not a JSON object")
    return document


def freshness(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long an answer is fresh by Cache-Control or Expires (RFC 9111, 4.2.1), at most a year; None: not said."""
    ages: dict[str, int] = {}
    for directive in headers.get("cache-control", "").lower().split(","):
        name, _, value = directive.strip().partition("=")
        if value.strip('"').isdecimal() and len(value) <= 12:
            ages[name] = int(value.strip('"'))
        elif name in ("no-cache", "no-store"):
            return timedelta(0)
    for name in ("s-maxage", "max-age"):
        if name in ages:
            return min(timedelta(seconds=ages[name]), MAX_FRESH)
    if "expires" not in headers:
        return None
    try:
        expires = parsedate_to_datetime(headers["expires"])
    except ValueError:
        return timedelta(0)  # "0" and the like mean that it has expired
    remaining = (expires if expires.tzinfo else expires.replace(tzinfo=UTC)) - now
    return max(timedelta(0), min(remaining, MAX_FRESH))


def _unavailable(url: str, reason: str) -> LdContextNotAvailable:
    return LdContextNotAvailable(f"@context {url} cannot be retrieved: {reason}")

# SPDX-License-Identifier: Apache-2.0
"""Fetching JSON-LD contexts from the web, guarded: a client names the URL, so it must not open the hub's own network.

Size and time are limited as a whole, redirects are few and each is checked like the first address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from adapters.channels.webhook import check_url
from adapters.web.guard import ForbiddenDestination
from adapters.web.guarded_http import GuardedTransport
from broker.errors import BadRequestData, LdContextNotAvailable

MAX_REDIRECTS: Final = 3
MAX_FRESH: Final = timedelta(days=365)
_HEADERS: Final = {
    "Accept": "application/ld+json, application/json;q=0.9, */*;q=0.1",
    "Accept-Encoding": "identity",  # a small answer cannot become a huge one
    "User-Agent": "minamo",
}


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
        allow_private: bool,
        allow_loopback: bool,
        ca_file: Path | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(
                allow_private=allow_private, allow_loopback=allow_loopback, connections=8, ca_file=ca_file
            ),
            timeout=httpx.Timeout(timeout_s),
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            headers=_HEADERS,
            event_hooks={"request": [_check_request]},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

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
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._fetch(url, {"If-None-Match": etag} if etag else {})
        except TimeoutError as exc:
            raise _unavailable(url, f"no answer within {self._timeout_s:g} s") from exc
        except ForbiddenDestination as exc:
            raise _unavailable(url, str(exc)) from exc
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
            raise _unavailable(url, f"{type(exc).__name__}: {exc}") from exc

    async def _fetch(self, url: str, headers: dict[str, str]) -> FetchedContext:
        async with self._client.stream("GET", url, headers=headers) as response:
            etag = response.headers.get("ETag")
            fresh_for = freshness(response.headers, datetime.now(UTC))
            if response.status_code == httpx.codes.NOT_MODIFIED and headers:
                return FetchedContext(None, etag or headers["If-None-Match"], fresh_for)
            if response.status_code != httpx.codes.OK:
                raise _unavailable(url, f"the server answers with HTTP {response.status_code}")
            body = await self._read(url, response)
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as exc:
            raise BadRequestData(f"@context {url} is not valid: the document is not JSON") from exc
        if not isinstance(document, dict):
            raise BadRequestData(f"@context {url} is not valid: the document is not a JSON object")
        return FetchedContext(document, etag, fresh_for)

    async def _read(self, url: str, response: httpx.Response) -> bytes:
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self._max_bytes:
                raise _unavailable(url, f"the document is larger than {self._max_bytes} bytes")
        return bytes(body)


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


async def _check_request(request: httpx.Request) -> None:
    """Each request, those that follow a redirect too, goes to a URL of the kind that is allowed."""
    check_url(str(request.url))


def _unavailable(url: str, reason: str) -> LdContextNotAvailable:
    return LdContextNotAvailable(f"@context {url} cannot be retrieved: {reason}")

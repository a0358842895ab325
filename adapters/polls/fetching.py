# SPDX-License-Identifier: Apache-2.0
"""Fetching a document that somebody else names, guarded (SSRF), and only when it has changed.

Time and size are limited as a whole. Redirects are few, each is checked like the first address; what is sent along
(a key) goes to the origin it was meant for, and nothing that was asked for by TLS is fetched without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Final

import httpx

from adapters.channels.webhook import check_url
from adapters.web.guard import ForbiddenDestination
from adapters.web.guarded_http import GuardedTransport

MAX_REDIRECTS: Final = 3
_HEADERS: Final = {
    "Accept": "application/json, application/geo+json, text/csv, application/xml;q=0.9, */*;q=0.5",
    "Accept-Encoding": "identity",  # a small answer cannot become a huge one
    "User-Agent": "minamo",
}


@dataclass(frozen=True, slots=True)
class Validators:
    """By which a server knows what we have already (RFC 9110, 8.8)."""

    etag: str | None = None
    last_modified: str | None = None

    def conditions(self) -> dict[str, str]:
        """The headers that ask for a newer one only."""
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer; ``body`` None: nothing has changed. ``headers`` have names in lower case."""

    body: bytes | None
    headers: Mapping[str, str]
    validators: Validators


class FetchFailed(Exception):
    """The document cannot be had; ``status`` is that of HTTP, ``retry_after`` what the server asks for."""

    def __init__(self, text: str, *, status: int | None = None, retry_after: timedelta | None = None) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(text)


class DocumentFetcher:
    """Fetches documents; ``timeout_s`` bounds a fetch as a whole, ``max_bytes`` what it brings."""

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
                allow_private=allow_private, allow_loopback=allow_loopback, connections=4, ca_file=ca_file
            ),
            timeout=httpx.Timeout(timeout_s),
            headers=_HEADERS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none are kept
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def fetch(self, url: str, headers: Mapping[str, str], known: Validators) -> Fetched:
        """What is at ``url`` unless it is what is ``known`` already; raises :class:`FetchFailed`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(httpx.URL(url), headers, known)
        except TimeoutError as exc:
            raise FetchFailed(f"no answer within {self._timeout_s:g} s") from exc
        except ForbiddenDestination as exc:
            raise FetchFailed(str(exc)) from exc
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
            raise FetchFailed(f"{type(exc).__name__}: {exc}".rstrip(": ")) from exc

    async def _follow(self, url: httpx.URL, headers: Mapping[str, str], known: Validators) -> Fetched:
        origin = url.scheme, url.host, url.port
        for _ in range(MAX_REDIRECTS + 1):
            check_url(str(url))
            own = headers if (url.scheme, url.host, url.port) == origin else {}
            asked = {**own, **known.conditions()}
            async with self._client.stream("GET", url, headers=asked) as answer:
                if not answer.has_redirect_location:
                    return await self._read(answer)
                target = url.join(answer.headers["location"])
            if url.scheme == "https" and target.scheme != "https":
                raise FetchFailed(f"the server redirects from https to {target.scheme}")
            url = target
        raise FetchFailed(f"there are more than {MAX_REDIRECTS} redirects")

    async def _read(self, answer: httpx.Response) -> Fetched:
        validators = Validators(answer.headers.get("etag"), answer.headers.get("last-modified"))
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return Fetched(None, answer.headers, validators)
        if answer.status_code != httpx.codes.OK:
            wait = _retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
            text = f"the server answers with HTTP {answer.status_code}"
            raise FetchFailed(text, status=answer.status_code, retry_after=wait)
        body = bytearray()
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > self._max_bytes:
                raise FetchFailed(f"the document is larger than {self._max_bytes} bytes")
        return Fetched(bytes(body), answer.headers, validators)


def _retry_after(value: str | None, now: datetime) -> timedelta | None:
    """How long the server asks to wait (RFC 9110, 10.2.3); None: it does not, or not in words that we know."""
    if value is None:
        return None
    if value.isdecimal():
        return timedelta(seconds=min(int(value[:9]), 86_400))
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(timedelta(0), (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now)

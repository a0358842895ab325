# SPDX-License-Identifier: Apache-2.0
"""Fetching a document that somebody else names, guarded (SSRF), and only when it has changed.

What is sent along (a key) goes to the origin it was meant for, and nothing that was asked for by TLS is fetched without
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from adapters.web.guard import Reach
from adapters.web.guarded_get import GetFailed, GuardedGetter

_ACCEPT: Final = "application/json, application/geo+json, text/csv, application/xml;q=0.9, */*;q=0.5"


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
        reach: Reach,
    ) -> None:
        self._getter = GuardedGetter(
            accept=_ACCEPT,
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            connections=4,
            reach=reach,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._getter.aclose()

    async def fetch(self, url: str, headers: Mapping[str, str], known: Validators) -> Fetched:
        """What is at ``url`` unless it is what is ``known`` already; raises :class:`FetchFailed`."""
        try:
            answer = await self._getter.get(url, known.conditions(), headers)
        except GetFailed as exc:
            raise FetchFailed(str(exc)) from exc
        validators = Validators(answer.headers.get("etag"), answer.headers.get("last-modified"))
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return Fetched(None, answer.headers, validators)
        if answer.status != HTTPStatus.OK:
            wait = _retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
            raise FetchFailed(f"the server answers with HTTP {answer.status}", status=answer.status, retry_after=wait)
        return Fetched(answer.body, answer.headers, validators)


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

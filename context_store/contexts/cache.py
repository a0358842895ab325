# SPDX-License-Identifier: Apache-2.0
"""The durable cache of JSON-LD contexts: fetched once for all processes, kept over restarts and outages.

A document that its server lets expire (clause 6.3.16), or one older than ``refresh_after`` where the server says
nothing, is asked for again with its ETag. When that fails, the copy is served: a context that was right yesterday is
better than no answer. A failure itself is never stored (clause 5.5.7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString, Protocol
from weakref import WeakValueDictionary

import orjson
import psycopg
import structlog
from psycopg import AsyncConnection

from broker.errors import BadRequestData, LdContextNotAvailable
from context_store.caches import bump
from context_store.database import Database

log = structlog.get_logger(__name__)

# What the hub fetches for anybody belongs to the first tenant, "default".
SHARED_TENANT_ID: Final = 1

# Version of what processes make of stored contexts (context_store/caches.py).
CACHE: Final = "contexts"

_SELECT: Final[LiteralString] = """
    select document, fetched_at, etag, expires_at from jsonld_context where tenant_id = %s and url = %s
"""
_STORE: Final[LiteralString] = """
    insert into jsonld_context (tenant_id, url, document, fetched_at, etag, expires_at)
    values (%s, %s, %s::jsonb, %s, %s, %s)
    on conflict (tenant_id, url) do update set
        document = excluded.document, fetched_at = excluded.fetched_at, etag = excluded.etag,
        expires_at = excluded.expires_at
"""
# The server says that the copy is still right.
_CONFIRM: Final[LiteralString] = """
    update jsonld_context set fetched_at = %s, etag = %s, expires_at = %s where tenant_id = %s and url = %s
"""
_STALE: Final[LiteralString] = """
    select url from jsonld_context
    where tenant_id = %s and kind = 'Cached' and coalesce(expires_at < %s, fetched_at < %s)
    order by fetched_at
    limit %s
"""


class Fetched(Protocol):
    """An answer from the web: no document when the one with the ETag asked for is still right."""

    @property
    def document(self) -> dict[str, Any] | None: ...
    @property
    def etag(self) -> str | None: ...
    @property
    def fresh_for(self) -> timedelta | None: ...


class ContextFetcher(Protocol):
    """Brings documents from the web; raises :class:`LdContextNotAvailable` and :class:`BadRequestData`."""

    async def fetch(self, url: str, etag: str | None = None) -> Fetched: ...


@dataclass(frozen=True, slots=True)
class CachedContext:
    """A stored copy."""

    document: dict[str, Any]
    fetched_at: datetime
    etag: str | None
    expires_at: datetime | None


class CachedContextLoader:
    """A :class:`~broker.ports.ContextLoader` that keeps what ``inner`` brings."""

    def __init__(self, database: Database, inner: ContextFetcher, *, refresh_after: timedelta) -> None:
        self._database = database
        self._inner = inner
        self._refresh_after = refresh_after
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def load(self, url: str) -> dict[str, Any]:
        """The document at ``url``: a fresh copy, a new one, or a stale one when no new one can be had."""
        lock = self._locks.setdefault(url, asyncio.Lock())
        async with lock:  # of many requests that name a new context at once, one fetches it
            cached = await self._cached(url)
            if cached is not None and datetime.now(UTC) < (
                cached.expires_at or cached.fetched_at + self._refresh_after
            ):
                return cached.document
            return await self._refreshed(url, cached)

    async def reload(self, url: str, check: Callable[[Any], Awaitable[None]]) -> None:
        """Replace the copy of ``url`` by what is there now (clause 5.13.5.4); ``check`` looks at its ``@context``.

        Raises :class:`LdContextNotAvailable`, also when what is there is no context; the copy is kept then.
        """
        try:
            fetched = await self._fetch(url, None)
            if fetched.document is None:
                raise LdContextNotAvailable(f"@context {url} cannot be retrieved: the answer is empty")
            await check(fetched.document["@context"])
        except BadRequestData as exc:
            raise LdContextNotAvailable(exc.detail) from exc
        await self._store(url, fetched.document, fetched)

    async def refresh_stale(self, *, limit: int = 100) -> Sequence[str]:
        """Ask again for up to ``limit`` copies that are due, oldest first.

        Returns the URLs whose document changed: term maps made of them have to be forgotten.
        """
        now = datetime.now(UTC)
        async with self._database.transaction(SHARED_TENANT_ID) as connection:
            due = (SHARED_TENANT_ID, now, now - self._refresh_after, limit)
            rows = await (await connection.execute(_STALE, due)).fetchall()
        changed = []
        for (url,) in rows:
            before = await self._cached(url)
            if before is not None and await self.load(url) != before.document:
                changed.append(url)
        return changed

    async def _refreshed(self, url: str, cached: CachedContext | None) -> dict[str, Any]:
        try:
            fetched = await self._fetch(url, cached.etag if cached else None)
        except (LdContextNotAvailable, BadRequestData) as exc:
            if cached is None:
                raise
            log.warning("context_not_refreshed", url=url, fetched_at=cached.fetched_at.isoformat(), reason=exc.detail)
            return cached.document
        if fetched.document is not None:
            await self._store(url, fetched.document, fetched)
            return fetched.document
        if cached is None:
            raise LdContextNotAvailable(f"@context {url} cannot be retrieved: the answer is empty")
        now = datetime.now(UTC)
        async with self._database.transaction(SHARED_TENANT_ID) as connection:
            confirmed = (now, fetched.etag, _expiry(fetched, now), SHARED_TENANT_ID, url)
            await connection.execute(_CONFIRM, confirmed)
        return cached.document

    async def _fetch(self, url: str, etag: str | None) -> Fetched:
        fetched = await self._inner.fetch(url, etag)
        if fetched.document is not None and "@context" not in fetched.document:
            raise BadRequestData(f"@context {url} is not valid: the document has no @context member")
        return fetched

    async def _cached(self, url: str) -> CachedContext | None:
        async with self._database.transaction(SHARED_TENANT_ID) as connection:
            return await _select(connection, url)

    async def _store(self, url: str, document: dict[str, Any], fetched: Fetched) -> None:
        text, now = orjson.dumps(document).decode(), datetime.now(UTC)
        row = (SHARED_TENANT_ID, url, text, now, fetched.etag, _expiry(fetched, now))
        try:
            async with self._database.transaction(SHARED_TENANT_ID) as connection:
                before = await _select(connection, url)
                await connection.execute(_STORE, row)
                if before is not None and before.document != document:
                    await bump(connection, CACHE)
        except psycopg.DataError as exc:  # U+0000, which jsonb cannot hold: usable now, fetched again next time
            log.warning("context_not_stored", url=url, reason=str(exc).strip())


def _expiry(fetched: Fetched, now: datetime) -> datetime | None:
    return None if fetched.fresh_for is None else now + fetched.fresh_for


async def _select(connection: AsyncConnection, url: str) -> CachedContext | None:
    row = await (await connection.execute(_SELECT, (SHARED_TENANT_ID, url))).fetchone()
    return CachedContext(*row) if row else None

# SPDX-License-Identifier: Apache-2.0
"""Stored contexts as clients manage them (clause 5.13): hosted for a tenant, or copies of what is on the web.

Copies of public documents are the hub's and shared by all tenants; what a tenant stores is its own. The contexts that
come with the hub are listed among them and cannot be removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, LiteralString
from uuid import NAMESPACE_URL, uuid4, uuid5

import orjson
import psycopg

from broker.contexts.uses import StoredDocument, Use
from broker.errors import BadRequestData, NonexistentTenant, ResourceNotFound
from context_store.caches import bump, version_of
from context_store.contexts.cache import CACHE, SHARED_TENANT_ID
from context_store.database import ALL_TENANTS, Database
from context_store.tenants import DEFAULT_TENANT, Tenants
from schemas.contexts import MINAMO_CONTEXT, bundled_contexts, bundled_id, hosted_id, local_id

BUNDLED_AT: Final = datetime(2026, 11, 21, tzinfo=UTC)
"""When the copies that come with the hub were taken."""

_COLUMNS: Final[LiteralString] = "local_id, url, kind, fetched_at, expires_at, last_usage, uses"
_LIST: Final[LiteralString] = f"""
    select {_COLUMNS} from jsonld_context where tenant_id = %s and kind = any(%s) order by fetched_at, local_id
"""
_GET: Final[LiteralString] = f"""
    select {_COLUMNS}, document from jsonld_context
    where tenant_id = %(tenant)s and kind = any(%(kinds)s) and (local_id = %(name)s or url = %(name)s)
"""
_DOCUMENT: Final[LiteralString] = """
    select document from jsonld_context where tenant_id = %s and local_id = %s and kind <> 'Cached'
"""
_INSERT: Final[LiteralString] = """
    insert into jsonld_context (tenant_id, url, local_id, kind, document, fetched_at)
    values (%(tenant)s, %(id)s, %(id)s, %(kind)s, %(document)s::jsonb, %(now)s)
    on conflict do nothing
"""
_DELETE: Final[LiteralString] = "delete from jsonld_context where tenant_id = %s and local_id = %s"
_USE: Final[LiteralString] = """
    update jsonld_context set uses = uses + %s, last_usage = greatest(last_usage, %s) where tenant_id = %s and url = %s
"""
_REMOVE_UNUSED: Final[LiteralString] = """
    delete from jsonld_context
    where kind = 'ImplicitlyCreated' and coalesce(last_usage, fetched_at) < %s and not exists (
        select from subscription
        where subscription.tenant_id = jsonld_context.tenant_id
            and position(jsonld_context.local_id in subscription.document ->> 'jsonldContext') > 0
    )
"""


class Kind(StrEnum):
    """The kinds of clause 5.13.1."""

    CACHED = "Cached"
    HOSTED = "Hosted"
    IMPLICITLY_CREATED = "ImplicitlyCreated"


@dataclass(frozen=True, slots=True)
class ContextEntry:
    """One stored context. ``url`` is None when the hub itself is where it is found; lists have no ``document``."""

    local_id: str
    url: str | None
    kind: Kind
    created_at: datetime
    expires_at: datetime | None = None
    last_usage: datetime | None = None
    uses: int = 0
    document: dict[str, Any] | None = None
    is_bundled: bool = False


def implicit_id(context: Any) -> str:
    """The identifier of an inline ``@context``."""
    name = orjson.dumps(context, option=orjson.OPT_SORT_KEYS).decode()
    return local_id(str(uuid5(NAMESPACE_URL, name)))


class HostedContexts:
    """What clients may do with stored contexts; a :class:`~broker.ports.HostedContextFinder` too."""

    def __init__(self, database: Database, tenants: Tenants) -> None:
        self._database = database
        self._tenants = tenants

    async def find(self, local_id: str, tenant: str) -> dict[str, Any] | None:
        """The document that the tenant of this name stores under ``local_id``, or None."""
        tenant_id = await self.tenant_id(tenant)
        if tenant_id is None:
            return None
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_DOCUMENT, (tenant_id, local_id))).fetchone()
        return row[0] if row else None

    async def tenant_id(self, tenant: str) -> int | None:
        """The number of the tenant of this name ("" is the default); None when there is none."""
        try:
            return await self._tenants.find(tenant or DEFAULT_TENANT)
        except NonexistentTenant:
            return None

    async def add(self, tenant_id: int, context: Any, now: datetime) -> str:
        """Host ``context`` (an ``@context`` value) and return its identifier."""
        identifier = local_id(str(uuid4()))
        await self._insert(tenant_id, identifier, Kind.HOSTED, context, now)
        return identifier

    async def add_implicitly(self, tenant_id: int, context: Any, now: datetime) -> str:
        """The identifier under which an inline ``@context`` can be linked to; equal ones of a tenant share it."""
        identifier = implicit_id(context)
        await self._insert(tenant_id, identifier, Kind.IMPLICITLY_CREATED, context, now)
        return identifier

    async def _insert(self, tenant_id: int, identifier: str, kind: Kind, context: Any, now: datetime) -> None:
        document = orjson.dumps({"@context": context}).decode()
        row = {"tenant": tenant_id, "id": identifier, "kind": kind, "document": document, "now": now}
        try:
            async with self._database.transaction(tenant_id) as connection:
                await connection.execute(_INSERT, row)
        except psycopg.DataError as exc:  # U+0000, which jsonb cannot hold
            raise BadRequestData(f"The @context cannot be stored: {str(exc).strip()}") from exc

    async def entries(self, tenant_id: int | None, kinds: Sequence[Kind]) -> list[ContextEntry]:
        """The contexts that a tenant sees: the hub's, shared copies, its own; None is a tenant that is not there."""
        found = [entry for entry in _bundled_entries() if entry.kind in kinds]
        for owner, wanted in _owners(tenant_id, kinds):
            async with self._database.transaction(owner) as connection:
                rows = await (await connection.execute(_LIST, (owner, wanted))).fetchall()
            found += [_entry(row) for row in rows]
        return found

    async def get(self, tenant_id: int | None, name: str) -> ContextEntry:
        """The context with this identifier or URL; raises :class:`ResourceNotFound`."""
        name = hosted_id(name) or name
        if "\0" in name:  # PostgreSQL has no text with it
            raise _missing(name)
        for entry in _bundled_entries():
            if name in (entry.local_id, entry.url):
                return replace(entry, document=bundled_contexts()[entry.url or entry.local_id])
        for owner, wanted in _owners(tenant_id, tuple(Kind)):
            async with self._database.transaction(owner) as connection:
                given = {"tenant": owner, "kinds": wanted, "name": name}
                row = await (await connection.execute(_GET, given)).fetchone()
            if row is not None:
                return _entry(row)
        raise _missing(name)

    async def delete(self, tenant_id: int | None, entry: ContextEntry) -> None:
        """Remove ``entry`` and what any process made of it; raises :class:`ResourceNotFound` when it is gone."""
        owner = SHARED_TENANT_ID if entry.kind is Kind.CACHED or tenant_id is None else tenant_id
        async with self._database.transaction(owner) as connection:
            deleted = await connection.execute(_DELETE, (owner, entry.local_id))
            if deleted.rowcount == 0:
                raise _missing(entry.local_id)
            await bump(connection, CACHE)

    async def record(self, uses: Mapping[StoredDocument, Use]) -> None:
        """Add ``uses`` to the numbers stored."""
        by_owner: dict[int, list[tuple[int, datetime, int, str]]] = {}
        for document, use in sorted(uses.items(), key=lambda item: item[0].url):  # one order: no deadlocks
            owner = SHARED_TENANT_ID if document.tenant is None else await self.tenant_id(document.tenant)
            if owner is not None:
                by_owner.setdefault(owner, []).append((use.count, use.last, owner, document.url))
        for owner, rows in by_owner.items():
            async with self._database.transaction(owner) as connection:
                await connection.cursor().executemany(_USE, rows)

    async def remove_unused(self, before: datetime) -> int:
        """Forget addresses given to inline contexts that were used last before then, and that no subscription names."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            removed = await connection.execute(_REMOVE_UNUSED, (before,))
            return removed.rowcount

    async def version(self) -> int:
        """Changes when a stored context was changed or deleted by any process."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            return await version_of(connection, CACHE)


def _missing(name: str) -> ResourceNotFound:
    return ResourceNotFound(f"@context {name} does not exist")


def _owners(tenant_id: int | None, kinds: Sequence[Kind]) -> list[tuple[int, list[str]]]:
    """Whose rows of which kinds a tenant sees."""
    shared = [kind.value for kind in kinds if kind is Kind.CACHED]
    own = [kind.value for kind in kinds if kind is not Kind.CACHED]
    owners = [(SHARED_TENANT_ID, shared), *([] if tenant_id is None else [(tenant_id, own)])]
    return [(owner, wanted) for owner, wanted in owners if wanted]


def _bundled_entries() -> list[ContextEntry]:
    """What comes with the hub. Its own list of contexts is at home here, the others are copies."""
    return [
        ContextEntry(
            bundled_id(url),
            None if url == MINAMO_CONTEXT else url,
            Kind.HOSTED if url == MINAMO_CONTEXT else Kind.CACHED,
            BUNDLED_AT,
            is_bundled=True,
        )
        for url in bundled_contexts()
    ]


def _entry(row: Sequence[Any]) -> ContextEntry:
    identifier, url, kind, *rest = row
    return ContextEntry(identifier, url if kind == Kind.CACHED else None, Kind(kind), *rest)

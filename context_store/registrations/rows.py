# SPDX-License-Identifier: Apache-2.0
"""Context source registrations as rows: for the API, and for the directory that every process keeps of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, TypeAlias

import orjson
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from broker.document_members import Document
from broker.errors import AlreadyExists, ResourceNotFound
from broker.registrations.model import Registration, RegistrationCounters, expiry, read_registration
from context_store.caches import bump
from context_store.database import ALL_TENANTS, Database
from context_store.sealing import Sealer, in_registration

CACHE: Final = "registrations"

_COLUMNS: Final = """
    registration_key, tenant_id, id, document, times_sent, times_failed, last_success, last_failure, created_at,
    modified_at
"""
_LIVE: Final = "(expires_at is null or expires_at > now())"

_INSERT: Final[LiteralString] = """
    insert into csource_registration (tenant_id, id, document, context, expires_at, version)
    select %(tenant_id)s, %(id)s, %(document)s::jsonb, %(context)s::jsonb, %(expires_at)s, version
      from cache_version where name = 'registrations'
"""

# An id is free again when what had it has expired.
_FORGET: Final[LiteralString] = f"""
    delete from csource_registration where tenant_id = %s and id = %s and expires_at <= now() returning {_COLUMNS}
"""
_GET: Final[LiteralString] = f"""
    select {_COLUMNS} from csource_registration where tenant_id = %s and id = %s and {_LIVE}
"""
_LOCK: Final[LiteralString] = _GET + " for update"

# Those of a page, in the order of creation.
_SOME: Final[LiteralString] = f"""
    select {_COLUMNS} from csource_registration
     where tenant_id = %s and registration_key = any(%s) order by registration_key
"""

# Those that allow no other beside them (clause 4.3.6.3).
_PROXIED: Final[LiteralString] = f"""
    select {_COLUMNS} from csource_registration
     where tenant_id = %s and document ->> 'mode' in ('exclusive', 'redirect') and {_LIVE}
"""
_UPDATE: Final[LiteralString] = """
    update csource_registration
       set document = %(document)s::jsonb, expires_at = %(expires_at)s, modified_at = now(),
           version = (select version from cache_version where name = 'registrations')
     where registration_key = %(key)s
"""
_DELETE: Final[LiteralString] = f"""
    delete from csource_registration where tenant_id = %s and id = %s and {_LIVE} returning {_COLUMNS}
"""
_ANY_EXPIRED: Final[LiteralString] = "select 1 from csource_registration where expires_at <= now() limit 1"
_COLLECT: Final[LiteralString] = f"delete from csource_registration where expires_at <= now() returning {_COLUMNS}"
_ALL: Final[LiteralString] = f"""
    select {_COLUMNS} from csource_registration where tenant_id = %s and {_LIVE} order by registration_key
"""

# Of all tenants: which there are, and those written since a version.
_KEYS: Final[LiteralString] = f"select registration_key from csource_registration where {_LIVE}"
_CHANGED: Final[LiteralString] = f"select {_COLUMNS} from csource_registration where version > %s and {_LIVE}"

_COUNT: Final[LiteralString] = """
    update csource_registration r
       set times_sent = r.times_sent + c.sent, times_failed = r.times_failed + c.failed,
           last_success = greatest(r.last_success, c.last_success),
           last_failure = greatest(r.last_failure, c.last_failure)
      from unnest(%(keys)s::bigint[], %(sent)s::bigint[], %(failed)s::bigint[], %(successes)s::timestamptz[],
                  %(failures)s::timestamptz[]) as c (registration_key, sent, failed, last_success, last_failure)
     where r.registration_key = c.registration_key
"""


@dataclass(frozen=True, slots=True)
class StoredRegistration:
    """A row; ``document`` in the form of :mod:`broker.registrations.document`, what may be a secret in it sealed."""

    key: int
    tenant_id: int
    id: str
    document: Document
    counters: RegistrationCounters
    created_at: datetime
    modified_at: datetime

    def read(self) -> Registration:
        """What it says; raises what :func:`read_registration` raises."""
        return read_registration(self.document, self.id)


Check = Callable[[Registration, Sequence[Registration]], None]
"""Raises when a registration cannot be beside those proxied ones that there are."""


Follow: TypeAlias = Callable[[AsyncConnection, StoredRegistration | None, StoredRegistration | None], Awaitable[None]]
"""What a change of a registration brings with it, in its transaction: from what was (None: nothing) to what is."""


def _from_row(row: tuple[Any, ...]) -> StoredRegistration:
    key, tenant_id, registration_id, document, *counters, created_at, modified_at = row
    return StoredRegistration(
        key, tenant_id, registration_id, document, RegistrationCounters(*counters), created_at, modified_at
    )


class RegistrationStore:
    """The registrations of a tenant. Every change makes the copies of the processes stale.

    Changes are made one after the other, so that two that exclude each other never meet.
    """

    def __init__(self, database: Database, follow: Follow | None = None, sealer: Sealer | None = None) -> None:
        self._database = database
        self._sealer = sealer or Sealer()
        self._follow = follow

    async def _followed(
        self, connection: AsyncConnection, before: StoredRegistration | None, after: StoredRegistration | None
    ) -> None:
        if self._follow is not None:
            await self._follow(connection, before, after)

    async def create(
        self, tenant_id: int, registration_id: str, document: Document, context: Any, check: Check
    ) -> None:
        """Clause 5.9.2; raises :class:`AlreadyExists` and what ``check`` raises."""
        registration = read_registration(document, registration_id)
        parameters = {
            **_parameters(document, self._sealer),
            "tenant_id": tenant_id,
            "id": registration_id,
            "context": orjson.dumps(context).decode(),
        }
        async with self._database.transaction(tenant_id) as connection:
            await bump(connection, CACHE)  # before the row takes the version; and others wait here
            for row in await (await connection.execute(_FORGET, (tenant_id, registration_id))).fetchall():
                await self._followed(connection, _from_row(row), None)
            if registration.mode.is_proxied:
                check(registration, await _proxied(connection, tenant_id))
            try:
                await connection.execute(_INSERT, parameters)
            except UniqueViolation as exc:
                raise AlreadyExists(f"Registration {registration_id} already exists") from exc
            await self._followed(connection, None, await _present(connection, tenant_id, registration_id))

    async def get(self, tenant_id: int, registration_id: str) -> StoredRegistration:
        """Clause 5.10.1; raises :class:`ResourceNotFound`."""
        rows = await self._database.read(tenant_id, _GET, (tenant_id, registration_id))
        return _existing(rows[0] if rows else None, registration_id)

    async def some(self, tenant_id: int, keys: Collection[int]) -> list[StoredRegistration]:
        """Those of these that there are, in the order of creation."""
        rows = await self._database.read(tenant_id, _SOME, (tenant_id, list(keys)))
        return [_from_row(row) for row in rows]

    async def update(
        self, tenant_id: int, registration_id: str, change: Callable[[Document], Document], check: Check
    ) -> None:
        """Clause 5.9.3: ``change`` makes the new document of the old one. Raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            await bump(connection, CACHE)
            row = await (await connection.execute(_LOCK, (tenant_id, registration_id))).fetchone()
            stored = _existing(row, registration_id)
            document = change(stored.document)
            registration = read_registration(document, registration_id)
            if registration.mode.is_proxied:
                check(registration, await _proxied(connection, tenant_id))
            await connection.execute(_UPDATE, {**_parameters(document, self._sealer), "key": stored.key})
            await self._followed(connection, stored, await _present(connection, tenant_id, registration_id))

    async def delete(self, tenant_id: int, registration_id: str) -> None:
        """Clause 5.9.4; raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            await bump(connection, CACHE)
            row = await (await connection.execute(_DELETE, (tenant_id, registration_id))).fetchone()
            await self._followed(connection, _existing(row, registration_id), None)

    async def collect(self) -> None:
        """Delete those of all tenants that have expired; nobody has seen them since."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            if await (await connection.execute(_ANY_EXPIRED)).fetchone() is None:
                return
            await bump(connection, CACHE)
            for row in await (await connection.execute(_COLLECT)).fetchall():
                await self._followed(connection, _from_row(row), None)


def _parameters(document: Document, sealer: Sealer) -> dict[str, Any]:
    sealed = in_registration(document, sealer.seal_one)
    return {"document": orjson.dumps(sealed).decode(), "expires_at": expiry(document)}


def _existing(row: tuple[Any, ...] | None, registration_id: str) -> StoredRegistration:
    if row is None:
        raise ResourceNotFound(f"Registration {registration_id} does not exist")
    return _from_row(row)


async def _present(connection: AsyncConnection, tenant_id: int, registration_id: str) -> StoredRegistration | None:
    """A registration as it is now; None when it has expired at once."""
    row = await (await connection.execute(_GET, (tenant_id, registration_id))).fetchone()
    return None if row is None else _from_row(row)


async def all_registrations(connection: AsyncConnection, tenant_id: int) -> list[StoredRegistration]:
    """The live registrations of a tenant, in the order of creation."""
    return [_from_row(row) for row in await (await connection.execute(_ALL, (tenant_id,))).fetchall()]


async def _proxied(connection: AsyncConnection, tenant_id: int) -> list[Registration]:
    rows = await (await connection.execute(_PROXIED, (tenant_id,))).fetchall()
    return [_from_row(row).read() for row in rows]


# For the directory, in a transaction over all tenants.


async def load_changed(connection: AsyncConnection, since: int) -> tuple[set[int], list[StoredRegistration]]:
    """The live registrations of all tenants: the keys of all, and those written since a version."""
    keys = {row[0] for row in await (await connection.execute(_KEYS)).fetchall()}
    rows = await (await connection.execute(_CHANGED, (since,))).fetchall()
    return keys, [_from_row(row) for row in rows]


async def add_counts(connection: AsyncConnection, counts: Mapping[int, RegistrationCounters]) -> None:
    """Add what became of requests to sources, by registration; without effect on those that are gone."""
    ordered = sorted(counts.items())  # so that two processes never wait for each other in a circle
    await connection.execute(
        _COUNT,
        {
            "keys": [key for key, _ in ordered],
            "sent": [count.times_sent for _, count in ordered],
            "failed": [count.times_failed for _, count in ordered],
            "successes": [count.last_success for _, count in ordered],
            "failures": [count.last_failure for _, count in ordered],
        },
    )

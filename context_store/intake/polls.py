# SPDX-License-Identifier: Apache-2.0
"""Polls in PostgreSQL: what is fetched when, by whom now, and how it went. The caller owns the transaction.

One process at a time fetches a document: it takes a lease, which ends by itself should the process die.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import orjson
from psycopg import AsyncConnection

from broker.errors import ResourceNotFound
from broker.intake.polls import Poll
from broker.sealed import Stored
from broker.sections import read_document, write_document
from context_store.rows import row_of, rows_of

_COLUMNS: Final[LiteralString] = """
    p.tenant_id, t.name as tenant, p.poll_id, p.document, p.headers, p.paused, p.created_at, p.modified_at, p.next_due,
    p.lease_until, p.etag, p.last_modified, p.state
"""
_FROM: Final[LiteralString] = " from poll p join tenant t using (tenant_id) "
_LIST: Final[LiteralString] = "select " + _COLUMNS + _FROM + "where p.tenant_id = %s order by p.poll_id"
_GET: Final[LiteralString] = "select " + _COLUMNS + _FROM + "where p.tenant_id = %s and p.poll_id = %s"
# Another address or another way to read it: what was seen and its validators are of the old one.
_PUT: Final[LiteralString] = """
    insert into poll (tenant_id, poll_id, document, headers, created_at, modified_at, next_due)
    values (%(tenant_id)s, %(poll_id)s, %(document)s::jsonb, coalesce(%(headers)s::jsonb, '{}'), %(now)s, %(now)s,
            %(now)s)
    on conflict (tenant_id, poll_id) do update set
        document = excluded.document, headers = coalesce(%(headers)s::jsonb, poll.headers),
        modified_at = excluded.modified_at, next_due = excluded.next_due,
        lease = null, lease_until = null,
        etag = null, last_modified = null, seen = '{}'
    returning xmax = 0
"""
_DELETE: Final[LiteralString] = "delete from poll where tenant_id = %s and poll_id = %s"
_PAUSE: Final[LiteralString] = """
    update poll set paused = %(paused)s, next_due = case when %(paused)s then next_due else %(now)s end
     where tenant_id = %(tenant_id)s and poll_id = %(poll_id)s
"""
_LEASE: Final[LiteralString] = """
    update poll set lease = %(lease)s, lease_until = %(until)s
      from (select tenant_id, poll_id from poll
             where not paused and next_due <= %(now)s and (lease_until is null or lease_until < %(now)s)
             order by next_due limit %(limit)s for update skip locked) as due
     where poll.tenant_id = due.tenant_id and poll.poll_id = due.poll_id
    returning poll.tenant_id, poll.poll_id
"""
_LEASE_ONE: Final[LiteralString] = """
    update poll set lease = %(lease)s, lease_until = %(until)s
     where tenant_id = %(tenant_id)s and poll_id = %(poll_id)s and (lease_until is null or lease_until < %(now)s)
    returning tenant_id, poll_id
"""
_SEEN: Final[LiteralString] = "select seen from poll where tenant_id = %s and poll_id = %s"
_FINISH: Final[LiteralString] = """
    update poll set lease = null, lease_until = null, next_due = %(next_due)s, state = %(state)s::jsonb,
           etag = %(etag)s, last_modified = %(last_modified)s, seen = coalesce(%(seen)s::jsonb, seen)
     where tenant_id = %(tenant_id)s and poll_id = %(poll_id)s and lease = %(lease)s
"""


@dataclass(frozen=True, slots=True)
class StoredPoll:
    """A poll with how it goes; ``poll`` is its definition without the values of its headers, which may be sealed
    (:mod:`context_store.sealing`)."""

    tenant_id: int
    tenant: str
    poll_id: str
    document: dict[str, Any]
    headers: dict[str, Stored] = field(repr=False)
    paused: bool
    created_at: datetime
    modified_at: datetime
    next_due: datetime
    lease_until: datetime | None
    etag: str | None
    last_modified: str | None
    state: dict[str, Any]

    @property
    def poll(self) -> Poll:
        """Its definition."""
        return read_document(Poll, {"id": self.poll_id, **self.document})


@dataclass(frozen=True, slots=True)
class Finish:
    """What is kept of a fetch; ``seen`` None: as it was."""

    next_due: datetime
    state: dict[str, Any]
    etag: str | None
    last_modified: str | None
    seen: dict[str, str] | None


async def list_polls(connection: AsyncConnection, tenant_id: int) -> list[StoredPoll]:
    """The polls of a tenant."""
    return await rows_of(connection, StoredPoll, _LIST, (tenant_id,))


async def get_poll(connection: AsyncConnection, tenant_id: int, poll_id: str) -> StoredPoll:
    """One poll; raises :class:`ResourceNotFound`."""
    found = await row_of(connection, StoredPoll, _GET, (tenant_id, poll_id))
    if found is None:
        raise ResourceNotFound(f"Poll {poll_id} does not exist")
    return found


async def put_poll(
    connection: AsyncConnection, tenant_id: int, poll: Poll, now: datetime, headers: Mapping[str, Stored] | None
) -> bool:
    """Create or change a poll, due at once; tells whether it is new. Without ``headers`` those that are there stay."""
    document = {name: value for name, value in write_document(poll).items() if name not in ("id", "headers")}
    values = {
        "tenant_id": tenant_id,
        "poll_id": poll.id,
        "document": orjson.dumps(document).decode(),
        "headers": None if headers is None else orjson.dumps(headers).decode(),
        "now": now,
    }
    row = await (await connection.execute(_PUT, values)).fetchone()
    return bool(row and row[0])


async def delete_poll(connection: AsyncConnection, tenant_id: int, poll_id: str) -> None:
    """Forget a poll; raises :class:`ResourceNotFound`."""
    if not (await connection.execute(_DELETE, (tenant_id, poll_id))).rowcount:
        raise ResourceNotFound(f"Poll {poll_id} does not exist")


async def pause_poll(connection: AsyncConnection, tenant_id: int, poll_id: str, now: datetime, *, paused: bool) -> None:
    """Stop fetching it, or go on, at once; raises :class:`ResourceNotFound`."""
    values = {"tenant_id": tenant_id, "poll_id": poll_id, "paused": paused, "now": now}
    if not (await connection.execute(_PAUSE, values)).rowcount:
        raise ResourceNotFound(f"Poll {poll_id} does not exist")


async def lease_due(
    connection: AsyncConnection, lease: UUID, now: datetime, until: datetime, limit: int
) -> list[tuple[int, str]]:
    """Take those that are due and that nobody has, of all tenants: (tenant id, poll id)."""
    values = {"lease": lease, "now": now, "until": until, "limit": limit}
    return [(row[0], row[1]) for row in await (await connection.execute(_LEASE, values)).fetchall()]


async def lease_one(
    connection: AsyncConnection, tenant_id: int, poll_id: str, lease: UUID, now: datetime, until: datetime
) -> bool:
    """Take this one, due or not; False when another has it, or there is none."""
    values = {"lease": lease, "now": now, "until": until, "tenant_id": tenant_id, "poll_id": poll_id}
    return bool(await (await connection.execute(_LEASE_ONE, values)).fetchone())


async def seen_stations(connection: AsyncConnection, tenant_id: int, poll_id: str) -> dict[str, str]:
    """By station, the digest of what was taken in last."""
    row = await (await connection.execute(_SEEN, (tenant_id, poll_id))).fetchone()
    return dict(row[0]) if row else {}


async def finish(connection: AsyncConnection, tenant_id: int, poll_id: str, lease: UUID, done: Finish) -> bool:
    """Give the lease back with what came of it; False when it was somebody else's by now, or the poll was changed."""
    values = {
        "tenant_id": tenant_id,
        "poll_id": poll_id,
        "lease": lease,
        "next_due": done.next_due,
        "state": orjson.dumps(done.state).decode(),
        "etag": done.etag,
        "last_modified": done.last_modified,
        "seen": None if done.seen is None else orjson.dumps(done.seen).decode(),
    }
    return bool((await connection.execute(_FINISH, values)).rowcount)

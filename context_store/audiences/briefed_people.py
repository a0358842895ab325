# SPDX-License-Identifier: Apache-2.0
"""People who were briefed, and their tokens as hashes; whose time is over loses the token and its subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from broker.errors import ResourceNotFound
from context_store.caches import bump
from context_store.database import ALL_TENANTS, Database
from context_store.rows import rows_of
from context_store.subscriptions.rows import CACHE

KNOWN_FOR: Final = timedelta(seconds=10)
"""So long a withdrawn token may still open the hub."""
_MOST_KNOWN: Final = 10_000  # tokens, known and unknown; then all are forgotten

_COLUMNS: Final[LiteralString] = (
    "select person_id, name, briefing, created_at, expires_at, revoked_at, last_seen_at from briefed_person"
)
_LIST: Final[LiteralString] = _COLUMNS + " where tenant_id = %s order by created_at desc, person_id limit %s"
_ADD: Final[LiteralString] = """
    insert into briefed_person (tenant_id, person_id, name, briefing, token_sha256, created_at, expires_at)
    values (%s, %s, %s, %s, %s, %s, %s)
"""
_REVOKE: Final[LiteralString] = """
    update briefed_person set revoked_at = coalesce(revoked_at, %s) where tenant_id = %s and person_id = %s
"""
_FIND: Final[LiteralString] = """
    update briefed_person p set last_seen_at = %(now)s
      from tenant t
     where p.token_sha256 = %(hash)s and t.tenant_id = p.tenant_id and p.revoked_at is null and p.expires_at > %(now)s
    returning p.person_id, t.name
"""
# What those leave behind whose time is over.
_END: Final[LiteralString] = """
    delete from subscription s using briefed_person p
     where s.tenant_id = p.tenant_id and s.owner = 'person:' || p.person_id
       and (p.revoked_at is not null or p.expires_at <= %s)
"""


@dataclass(frozen=True, slots=True)
class BriefedPerson:
    """Who it is, what was told, and until when the token opens what is for the briefed."""

    person_id: str
    name: str
    briefing: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    last_seen_at: datetime | None = None


async def add_person(connection: AsyncConnection, tenant_id: int, person: BriefedPerson, token_sha256: str) -> None:
    """One more."""
    values = (tenant_id, person.person_id, person.name, person.briefing, token_sha256, person.created_at)
    await connection.execute(_ADD, (*values, person.expires_at))


async def list_people(connection: AsyncConnection, tenant_id: int, limit: int) -> list[BriefedPerson]:
    """Those of a tenant, newest first, those whose time is over too."""
    return await rows_of(connection, BriefedPerson, _LIST, (tenant_id, limit))


async def revoke_person(connection: AsyncConnection, tenant_id: int, person_id: str, now: datetime) -> None:
    """Withdraw the token, and end what was subscribed with it. Raises :class:`ResourceNotFound`."""
    if (await connection.execute(_REVOKE, (now, tenant_id, person_id))).rowcount == 0:
        raise ResourceNotFound(f"{person_id} is not a briefed person")
    await end_subscriptions(connection, now)


async def end_subscriptions(connection: AsyncConnection, now: datetime) -> int:
    """Remove the subscriptions of those whose time is over; how many they were."""
    count = (await connection.execute(_END, (now,))).rowcount
    if count:
        await bump(connection, CACHE)
    return count


class BriefedTokens:
    """Whose token it is; asked of the database once in :data:`KNOWN_FOR`. ``clock`` gives the time."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[datetime, tuple[str, str] | None]] = {}

    async def holder(self, token_sha256: str) -> tuple[str, str] | None:
        """The person and the tenant (its name); None when nobody has this token, or it holds no longer."""
        now = self._clock()
        known = self._known.get(token_sha256)
        if known is not None and now - known[0] < KNOWN_FOR:
            return known[1]
        values: dict[str, Any] = {"hash": token_sha256, "now": now}
        async with self._database.transaction(ALL_TENANTS, durable=False) as connection:
            row = await (await connection.execute(_FIND, values)).fetchone()
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        found = None if row is None else (str(row[0]), str(row[1]))
        self._known[token_sha256] = (now, found)
        return found

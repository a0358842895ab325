# SPDX-License-Identifier: Apache-2.0
"""Entity maps: which entities a query found, in the order it found them (clauses 5.14 and 5.5.9.3).

A page takes the entities of the map that still match, and removes from the map those that it passed over because they
no longer do. Only the query that made a map removes entities from it; another one merely finds fewer.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import uuid4

import sqlalchemy as sa
from psycopg import AsyncConnection

from broker.entity_maps import EntityMap, allowed_expiry
from broker.errors import ResourceNotFound
from broker.query import EntityQuery, Ordering
from context_store.compiled import to_psycopg
from context_store.database import ALL_TENANTS, Database
from context_store.entities.changes import utc_now
from context_store.entities.store import store_refusals
from context_store.queries.ordering import Collations
from context_store.queries.statements import ENTITY, entity_condition, select_entities

MAX_ENTRIES: Final = 1_000_000  # of one map

_ENTRY: Final = sa.Table(
    "entity_map_entry",
    sa.MetaData(),
    sa.Column("tenant_id", sa.Integer),
    sa.Column("map_key", sa.BigInteger),
    sa.Column("position", sa.BigInteger),
    sa.Column("entity_id", sa.Text),
)

# A new map; those of the tenant that have expired go on this occasion.
_INSERT: Final[LiteralString] = """
    with expired as (delete from entity_map where tenant_id = %(tenant_id)s and expires_at <= %(now)s)
    insert into entity_map (tenant_id, id, query_hash, expires_at)
    values (%(tenant_id)s, %(id)s, %(query_hash)s, %(expires_at)s)
    returning map_key
"""
_INSERT_IDS: Final[LiteralString] = """
    insert into entity_map_entry (tenant_id, map_key, position, entity_id)
    select %(tenant_id)s, %(map_key)s, position, entity_id
      from unnest(%(ids)s::text[]) with ordinality as given (entity_id, position)
"""
# A map that has not expired.
_SELECT: Final[LiteralString] = """
    select map_key, id, expires_at, query_hash from entity_map where tenant_id = %s and id = %s and expires_at > %s
"""
_SELECT_IDS: Final[LiteralString] = "select entity_id from entity_map_entry where map_key = %s order by position"
_SET_EXPIRY: Final[LiteralString] = """
    update entity_map set expires_at = %s where tenant_id = %s and id = %s and expires_at > %s
"""
_DELETE: Final[LiteralString] = "delete from entity_map where tenant_id = %s and id = %s and expires_at > %s"
_DELETE_EXPIRED: Final[LiteralString] = "delete from entity_map where expires_at <= %s"


@dataclass(frozen=True, slots=True)
class MapPage:
    """The ids of one page; ``more`` when others follow; ``total`` when it was asked for."""

    ids: tuple[str, ...]
    more: bool
    total: int | None = None


class EntityMapStore:
    """The entity maps of all tenants."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._collations = Collations(database)

    async def create(
        self, tenant_id: int, query: EntityQuery, *, ordering: Ordering | None = None, lifetime: timedelta | None = None
    ) -> EntityMap:
        """A map of the entities that match ``query`` now, in this order (clause 5.14.4)."""
        if ordering is not None:
            await self._collations.ensure(ordering.collation)
        now = self._clock()
        listed = select_entities(
            query, tenant_id=tenant_id, limit=MAX_ENTRIES, ordering=ordering, columns=("id",), now=now
        ).subquery()
        async with self._reading(tenant_id) as connection:
            entity_map = await _insert(connection, tenant_id, now, lifetime, _hash(query))
            entries = sa.insert(_ENTRY).from_select(
                ["tenant_id", "map_key", "position", "entity_id"],
                sa.select(
                    sa.literal(tenant_id, sa.Integer),
                    sa.literal(entity_map.key, sa.BigInteger),
                    sa.func.row_number().over(),
                    listed.c.id,
                ),
            )
            await connection.execute(*to_psycopg(entries))
        return entity_map

    async def create_of(
        self, tenant_id: int, ids: Iterable[str], query: EntityQuery, *, lifetime: timedelta | None = None
    ) -> EntityMap:
        """A map of entities that were found otherwise, by a query of which ``query`` is the part about entities."""
        async with self._database.transaction(tenant_id) as connection:
            entity_map = await _insert(connection, tenant_id, self._clock(), lifetime, _hash(query))
            values = {"tenant_id": tenant_id, "map_key": entity_map.key, "ids": list(ids)}
            await connection.execute(_INSERT_IDS, values)
        return entity_map

    async def find(self, tenant_id: int, map_id: str) -> EntityMap | None:
        """The map of this id, None when there is none or it has expired."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_SELECT, (tenant_id, map_id, self._clock()))).fetchone()
        return EntityMap(*row) if row else None

    async def entity_ids(self, tenant_id: int, entity_map: EntityMap) -> list[str]:
        """The ids of its entities, in its order."""
        async with self._database.transaction(tenant_id) as connection:
            return [row[0] for row in await (await connection.execute(_SELECT_IDS, (entity_map.key,))).fetchall()]

    async def set_expiry(self, tenant_id: int, map_id: str, expires_at: datetime) -> None:
        """Clause 5.14.2: the wished expiry, within what is allowed; raises :class:`ResourceNotFound`."""
        now = self._clock()
        await self._change(_SET_EXPIRY, tenant_id, (allowed_expiry(now, expires_at), tenant_id, map_id, now), map_id)

    async def delete(self, tenant_id: int, map_id: str) -> None:
        """Clause 5.14.3; raises :class:`ResourceNotFound`."""
        await self._change(_DELETE, tenant_id, (tenant_id, map_id, self._clock()), map_id)

    async def _change(self, statement: LiteralString, tenant_id: int, values: tuple[object, ...], map_id: str) -> None:
        async with self._database.transaction(tenant_id) as connection:
            if (await connection.execute(statement, values)).rowcount == 0:
                raise unknown_map(map_id)

    async def remove_expired(self, now: datetime) -> int:
        """Remove the maps of all tenants that have expired; how many they were."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            return (await connection.execute(_DELETE_EXPIRED, (now,))).rowcount

    @asynccontextmanager
    async def _reading(self, tenant_id: int) -> AsyncIterator[AsyncConnection]:
        """A transaction with a query of the request in it, which may be refused."""
        with store_refusals():
            async with self._database.transaction(tenant_id) as connection:
                yield connection

    async def page(
        self, tenant_id: int, entity_map: EntityMap, query: EntityQuery, *, limit: int, offset: int, count: bool
    ) -> MapPage:
        """One page of the entities of a map that match ``query`` (clause 5.5.9.3)."""
        fits = entity_condition(query, tenant_id=tenant_id, now=self._clock())
        own = _ENTRY.c.map_key == sa.literal(entity_map.key, sa.BigInteger)
        joined = _ENTRY.join(ENTITY, ENTITY.c.id == _ENTRY.c.entity_id)
        page = sa.select(_ENTRY.c.position, _ENTRY.c.entity_id).select_from(joined).where(own, fits)
        page = page.order_by(_ENTRY.c.position).limit(limit + 1).offset(offset)
        total = None
        async with self._reading(tenant_id) as connection:
            rows = await (await connection.execute(*to_psycopg(page))).fetchall() if limit else []
            if entity_map.query_hash == _hash(query):
                matching = sa.exists(sa.select(sa.literal_column("1")).where(ENTITY.c.id == _ENTRY.c.entity_id, fits))
                passed = sa.delete(_ENTRY).where(own, sa.not_(matching))
                if len(rows) > limit and not count:
                    passed = passed.where(_ENTRY.c.position < rows[limit][0])
                await connection.execute(*to_psycopg(passed))
            if count:
                counted = sa.select(sa.func.count()).select_from(joined).where(own, fits)
                row = await (await connection.execute(*to_psycopg(counted))).fetchone()
                total = int(row[0]) if row else 0
        return MapPage(tuple(entity_id for _, entity_id in rows[:limit]), len(rows) > limit > 0, total)


def unknown_map(map_id: str) -> ResourceNotFound:
    """What is raised when there is no such map."""
    return ResourceNotFound(f"EntityMap {map_id} does not exist")


async def _insert(
    connection: AsyncConnection, tenant_id: int, now: datetime, lifetime: timedelta | None, query_hash: bytes
) -> EntityMap:
    map_id, expires_at = f"urn:ngsi-ld:EntityMap:{uuid4()}", allowed_expiry(now, lifetime)
    values: dict[str, Any] = {"tenant_id": tenant_id, "now": now, "id": map_id, "query_hash": query_hash}
    row = await (await connection.execute(_INSERT, {**values, "expires_at": expires_at})).fetchone()
    return EntityMap(row[0] if row else 0, map_id, expires_at, query_hash)


def _hash(query: EntityQuery) -> bytes:
    """What tells queries apart; later requests may name other ids (clause 5.5.14)."""
    return hashlib.sha256(repr(replace(query, ids=())).encode()).digest()

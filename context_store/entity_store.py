# SPDX-License-Identifier: Apache-2.0
"""Reading and changing entities for the NGSI-LD API: one transaction an operation.

A change locks the entity, lets a pure operation of :mod:`broker.operations` decide, and writes what it decided:
current state, history and change event together. Entities that have expired are there no longer, whether or not they
have been collected yet (clause 4.5.1).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg import AsyncConnection

from broker.entities import EntityChange, ExpandedEntity
from broker.errors import BadRequestData, ResourceNotFound, TooComplexQuery
from broker.expiry import expire_attributes, is_expired, without_expired
from broker.operations import UpdateOutcome, create_entity, delete_entity, existing
from broker.query import EntityQuery, Ordering, TypeTree, matches
from context_store.database import Database
from context_store.entities import EntityWriter, StoredEntity, from_row, get_entities, lock_entities
from context_store.ordering import Collations
from context_store.query_sql import ENTITY, ENTITY_COLUMNS, count_entities, select_entities, to_psycopg

Outcome = TypeVar("Outcome", EntityChange, UpdateOutcome)

API_SOURCE: Final = ""  # who wrote a history row: no device


def utc_now() -> datetime:
    """The time of a write."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class EntityPage:
    """Entities in the order asked for, else by id; ``more`` when others follow; ``total`` when it was asked for."""

    entities: tuple[ExpandedEntity, ...]
    more: bool
    total: int | None = None


class EntityStore:
    """The entities of all tenants. ``clock`` gives the time that is written; it is asked while the lock is held."""

    def __init__(self, database: Database, writer: EntityWriter, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock
        self._collations = Collations(database)

    async def create(self, tenant_id: int, entity: ExpandedEntity) -> None:
        """Clause 5.6.1; raises :class:`~broker.errors.AlreadyExists`."""
        with store_refusals():
            async with self._database.transaction(tenant_id) as connection:
                stored = (await lock_entities(connection, tenant_id, [entity.id])).get(entity.id)
                now = self._clock()
                if stored is not None and is_expired(stored.entity, now):
                    await self._write(connection, tenant_id, stored.key, delete_entity(stored.entity), now)
                    stored = None
                change = create_entity(stored.entity if stored else None, entity, now)
                await self._write(connection, tenant_id, None, change, now)

    async def change(
        self,
        tenant_id: int,
        entity_id: str,
        operation: Callable[[ExpandedEntity, datetime], Outcome],
        *,
        types: TypeTree | None = None,
    ) -> Outcome:
        """Do ``operation`` (of the stored entity and the time) to one entity, and write what it makes of it.

        Raises :class:`ResourceNotFound` when there is no such entity or its types do not match ``types``.
        """
        with store_refusals():
            async with self._database.transaction(tenant_id) as connection:
                stored = (await lock_entities(connection, tenant_id, [entity_id])).get(entity_id)
                now = self._clock()
                entity = _selected(stored, entity_id, types, now)
                if stored is not None:
                    entity = await self._expire(connection, tenant_id, stored, now)
                outcome = operation(entity, now)
                change = outcome.change if isinstance(outcome, UpdateOutcome) else outcome
                if change.after is not change.before and stored is not None:
                    await self._write(connection, tenant_id, stored.key, change, now)
        return outcome

    async def get(self, tenant_id: int, entity_id: str, *, types: TypeTree | None = None) -> ExpandedEntity:
        """One entity; raises :class:`ResourceNotFound`."""
        with store_refusals():
            async with self._database.transaction(tenant_id) as connection:
                stored = (await get_entities(connection, tenant_id, [entity_id])).get(entity_id)
        return _selected(stored, entity_id, types, self._clock())

    async def get_all(self, tenant_id: int, ids: Collection[str]) -> dict[str, ExpandedEntity]:
        """Those entities of ``ids`` that there are, by id."""
        with store_refusals():
            async with self._database.transaction(tenant_id) as connection:
                found = await get_entities(connection, tenant_id, ids)
        now = self._clock()
        return {
            name: without_expired(stored.entity, now)
            for name, stored in found.items()
            if not is_expired(stored.entity, now)
        }

    async def query(
        self,
        tenant_id: int,
        query: EntityQuery,
        *,
        ordering: Ordering | None = None,
        limit: int,
        offset: int = 0,
        count: bool = False,
    ) -> EntityPage:
        """One page of the entities that match; ``limit`` may be 0 when only the ``count`` is wanted."""
        if ordering is not None:
            await self._collations.ensure(ordering.collation)
        now = self._clock()
        live = is_live(now)
        page = select_entities(
            query,
            tenant_id=tenant_id,
            limit=limit + 1,
            offset=offset,
            ordering=ordering,
            columns=("entity_key", *ENTITY_COLUMNS),
        ).where(live)
        total = None
        rows: list[tuple[Any, ...]] = []
        with store_refusals():
            async with self._database.transaction(tenant_id) as connection:
                if limit:
                    rows = await (await connection.execute(*to_psycopg(page))).fetchall()
                if count:
                    counted = count_entities(query, tenant_id=tenant_id).where(live)
                    row = await (await connection.execute(*to_psycopg(counted))).fetchone()
                    total = int(row[0]) if row else 0
        entities = tuple(without_expired(from_row(row).entity, now) for row in rows[:limit])
        return EntityPage(entities, len(rows) > limit > 0, total)

    async def _expire(
        self, connection: AsyncConnection, tenant_id: int, stored: StoredEntity, now: datetime
    ) -> ExpandedEntity:
        """The entity after what has expired of it was removed, should it not have been collected yet."""
        change = expire_attributes(stored.entity, now)
        if change.after is not change.before:
            await self._write(connection, tenant_id, stored.key, change, now)
        return change.entity

    async def _write(
        self, connection: AsyncConnection, tenant_id: int, key: int | None, change: EntityChange, now: datetime
    ) -> None:
        await self._writer.write(connection, tenant_id, key, change, source=API_SOURCE, now=now)


def _selected(stored: StoredEntity | None, entity_id: str, types: TypeTree | None, now: datetime) -> ExpandedEntity:
    entity = existing(stored.entity if stored else None, entity_id)
    if is_expired(entity, now) or (types is not None and not matches(entity, EntityQuery(types=types))):
        raise ResourceNotFound(f"Entity {entity_id} does not exist" + (" with such a type" if types else ""))
    return without_expired(entity, now)


def is_live(now: datetime) -> sa.ColumnElement[bool]:
    """The condition that an entity has not expired."""
    return sa.or_(ENTITY.c.expires_at.is_(None), ENTITY.c.expires_at > sa.literal(now, sa.TIMESTAMP(timezone=True)))


@contextmanager
def store_refusals() -> Iterator[None]:
    """What PostgreSQL refuses because of the request and not of the hub."""
    try:
        yield
    except psycopg.errors.QueryCanceled as exc:
        raise TooComplexQuery("The query takes too long") from exc
    except psycopg.DataError as exc:
        reason = exc.diag.message_primary or str(exc)
        raise BadRequestData(f"The request has a value that cannot be stored: {reason}") from exc

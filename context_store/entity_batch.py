# SPDX-License-Identifier: Apache-2.0
"""Many operations on entities at once: one transaction, a few statements, and each item for itself.

The entities are locked, the items are decided one after the other in memory (an item sees what those before it did to
the same entity, clause 5.5.11), and what they decided is written with set-based statements. An item that fails
leaves the others alone: what the operations refuse never reaches the database, and should PostgreSQL refuse a value,
the items are written one by one, each behind a savepoint of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, LiteralString

import orjson
import psycopg
from psycopg import AsyncConnection

from broker.entities import EntityChange, ExpandedEntity
from broker.errors import BadRequestData, Conflict, NgsiLdError
from broker.expiry import earliest_expiry, expire_attributes, is_expired
from broker.operations import UpdateOutcome, delete_entity
from broker.query import indexed_geometry
from context_store.database import Database
from context_store.entities import StoredEntity, add_instances, indexed_differs, lock_entities, term_names
from context_store.entity_store import API_SOURCE, utc_now
from context_store.events import insert_events
from context_store.history import InstanceRows
from context_store.partitions import Partitions
from context_store.terms import TermIds
from context_store.transient import forget_expired

Operation = Callable[[ExpandedEntity | None, datetime], EntityChange | UpdateOutcome]
"""From the stored entity (None when there is none) and the time to what becomes of it; raises ``NgsiLdError``."""
Outcome = EntityChange | UpdateOutcome | NgsiLdError

_TRIES: Final = 5  # how often a batch starts anew when others create the same entities at the same time

# New entities in the order of their ids, as all writers create them; those that exist by now are left out.
_INSERT: Final[LiteralString] = """
    insert into entity (tenant_id, id, types, document, location, scopes, created_at, modified_at, expires_at,
                        attributes_expire_at)
    select %(tenant_id)s, r.id, r.types, r.document, st_setsrid(st_force2d(st_geomfromgeojson(r.location)), 4326),
           r.scopes, r.created_at, r.modified_at, r.expires_at, r.attributes_expire_at
      from json_to_recordset(%(rows)s::json) as r (
           id text, types text[], document jsonb, location text, scopes text[], created_at timestamptz,
           modified_at timestamptz, expires_at timestamptz, attributes_expire_at timestamptz)
     order by r.id
        on conflict (tenant_id, id) do nothing
    returning id, entity_key
"""

# Documents alone: these updates stay HOT.
_UPDATE: Final[LiteralString] = """
    update entity e set document = r.document, modified_at = r.modified_at
      from json_to_recordset(%(rows)s::json) as r (entity_key bigint, document jsonb, modified_at timestamptz)
     where e.entity_key = r.entity_key
"""

# The same with what is indexed.
_UPDATE_INDEXED: Final[LiteralString] = """
    update entity e
       set document = r.document, modified_at = r.modified_at, types = r.types, scopes = r.scopes,
           location = st_setsrid(st_force2d(st_geomfromgeojson(r.location)), 4326), expires_at = r.expires_at,
           attributes_expire_at = r.attributes_expire_at
      from json_to_recordset(%(rows)s::json) as r (
           entity_key bigint, types text[], document jsonb, location text, scopes text[], modified_at timestamptz,
           expires_at timestamptz, attributes_expire_at timestamptz)
     where e.entity_key = r.entity_key
"""

_DELETE: Final[LiteralString] = "delete from entity where entity_key = any(%s)"


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One item: what to do to which entity."""

    entity_id: str
    operation: Operation


@dataclass(slots=True, eq=False)
class _Row:
    """One row of the table: ``stored`` as it is there, ``entity`` as it shall be."""

    key: int | None = None
    stored: ExpandedEntity | None = None
    entity: ExpandedEntity | None = None


@dataclass(slots=True)
class _Plan:
    """The entities while the items are decided, and what has to be written, in order."""

    rows: dict[str, _Row]
    now: datetime
    writes: list[tuple[_Row, EntityChange]] = field(default_factory=list)

    def decide(self, item: BatchItem) -> Outcome:
        """Do the operation of ``item``."""
        row = self._present(item.entity_id)
        try:
            outcome = item.operation(row.entity, self.now)
        except NgsiLdError as error:
            return error
        change = outcome.change if isinstance(outcome, UpdateOutcome) else outcome
        if change.after is not change.before:
            self._record(item.entity_id, row, change)
        return outcome

    def _present(self, entity_id: str) -> _Row:
        """The row of an entity without what has expired; a new one when there is no such entity."""
        row = self.rows.get(entity_id)
        if row is None or row.entity is None:
            return _Row()
        if row.key is not None and is_expired(row.entity, self.now):
            self._record(entity_id, row, delete_entity(row.entity))
            return _Row()
        expired = expire_attributes(row.entity, self.now)
        if expired.after is not expired.before:
            self._record(entity_id, row, expired)
        return row

    def _record(self, entity_id: str, row: _Row, change: EntityChange) -> None:
        row.entity = change.after
        self.rows[entity_id] = row
        self.writes.append((row, change))


class _CreatedMeanwhile(Exception):
    """Another transaction created an entity that was not there when this one looked."""


class EntityBatch:
    """Runs batches. ``clock`` gives the time that is written; it is asked while the locks are held."""

    def __init__(
        self, database: Database, terms: TermIds, history: Partitions, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._terms = terms
        self._history = history
        self._clock = clock

    async def run(self, tenant_id: int, items: Sequence[BatchItem]) -> list[Outcome]:
        """Do all ``items`` in their order; the outcomes are in the same order. Items of one entity see each other."""
        for _ in range(_TRIES):
            try:
                return await self._attempt(tenant_id, items)
            except _CreatedMeanwhile:
                continue
        raise Conflict("Other requests keep creating the same entities; try again")

    async def _attempt(self, tenant_id: int, items: Sequence[BatchItem]) -> list[Outcome]:
        async with self._database.transaction(tenant_id) as connection:
            stored = await lock_entities(connection, tenant_id, {item.entity_id for item in items})
            plan = _Plan(_rows_of(stored), self._clock())
            outcomes = [plan.decide(item) for item in items]
            try:
                async with connection.transaction():
                    await self._write(connection, tenant_id, plan)
            except psycopg.DataError:
                plan = _Plan(_rows_of(stored), plan.now)
                outcomes = [await self._decide_and_write(connection, tenant_id, plan, item) for item in items]
        return outcomes

    async def _decide_and_write(
        self, connection: AsyncConnection, tenant_id: int, plan: _Plan, item: BatchItem
    ) -> Outcome:
        before = plan.rows.get(item.entity_id)
        undone = _Row(before.key, before.stored, before.entity) if before else _Row()
        outcome = plan.decide(item)
        try:
            async with connection.transaction():
                await self._write(connection, tenant_id, plan)
        except psycopg.DataError as exc:
            plan.rows[item.entity_id] = undone
            plan.writes.clear()
            reason = exc.diag.message_primary or str(exc)
            return BadRequestData(f"The entity has a value that cannot be stored: {reason}")
        return outcome

    async def _write(self, connection: AsyncConnection, tenant_id: int, plan: _Plan) -> None:
        """Write the plan's changes; its rows are then as they are in the table."""
        if not plan.writes:
            return
        rows = list(dict.fromkeys(row for row, _ in plan.writes))
        await _write_rows(connection, tenant_id, rows)
        source_id = (await self._terms.resolve([API_SOURCE]))[API_SOURCE]
        ids = await self._terms.resolve({name for _, change in plan.writes for name in term_names(change.attributes)})
        instances, times = InstanceRows(), {plan.now}
        for row, change in plan.writes:
            times |= add_instances(instances, (tenant_id, row.key or 0), change.attributes, ids, source_id, plan.now)
        await self._history.ensure(times)
        await instances.insert(connection, plan.now)
        for row, change in plan.writes:
            await forget_expired(connection, (tenant_id, row.key or 0), change.attributes, ids, plan.now)
        events = [(row.key or 0, change) for row, change in plan.writes]
        await insert_events(connection, tenant_id, events, source_id)
        for row in rows:
            row.stored = row.entity
        plan.writes.clear()


async def _write_rows(connection: AsyncConnection, tenant_id: int, rows: Sequence[_Row]) -> None:
    gone = [row.key for row in rows if row.entity is None]
    if gone:
        await connection.execute(_DELETE, (gone,))
    new = {row.entity.id: row for row in rows if row.entity is not None and row.key is None}
    if new:
        values = {"tenant_id": tenant_id, "rows": _recordset(list(new.values()))}
        keys = await (await connection.execute(_INSERT, values)).fetchall()
        if len(keys) < len(new):
            raise _CreatedMeanwhile
        for entity_id, key in keys:
            new[entity_id].key = key
    plain: list[_Row] = []
    moved: list[_Row] = []
    for row in rows:
        if row.stored is not None and row.entity is not None:
            (moved if indexed_differs(row.stored, row.entity) else plain).append(row)
    if plain:
        await connection.execute(_UPDATE, {"rows": _recordset(plain)})
    if moved:
        await connection.execute(_UPDATE_INDEXED, {"rows": _recordset(moved)})


def _recordset(rows: Sequence[_Row]) -> str:
    return orjson.dumps([_record(row.key, row.entity) for row in rows if row.entity is not None]).decode()


def _record(key: int | None, entity: ExpandedEntity) -> Mapping[str, Any]:
    return {
        "entity_key": key,
        "id": entity.id,
        "types": entity.types,
        "document": entity.attributes,
        "location": indexed_geometry(entity),
        "scopes": entity.scopes,
        "created_at": entity.created_at,
        "modified_at": entity.modified_at,
        "expires_at": entity.expires_at,
        "attributes_expire_at": earliest_expiry(entity.attributes),
    }


def _rows_of(stored: Mapping[str, StoredEntity]) -> dict[str, _Row]:
    return {name: _Row(found.key, found.entity, found.entity) for name, found in stored.items()}

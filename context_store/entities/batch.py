# SPDX-License-Identifier: Apache-2.0
"""Many operations on entities at once: one transaction, a few statements, and each item for itself.

The entities are locked, the items are decided one after the other in memory (an item sees what those before it did to
the same entity, clause 5.5.11), and what they decided is written with set-based statements. An item that fails
leaves the others alone: what the operations refuse never reaches the database, and should PostgreSQL refuse a value,
the items are written one by one, each behind a savepoint of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString, NamedTuple

import orjson
import psycopg
from psycopg import AsyncConnection

from broker.entities import Attributes, EntityChange, ExpandedEntity
from broker.errors import BadRequestData, Conflict, NgsiLdError
from broker.expiry import expire_attributes, is_expired
from broker.operations import UpdateOutcome, delete_entity
from context_store.database import Database
from context_store.entities.changes import (
    API_SOURCE,
    Locking,
    StoredEntity,
    add_instances,
    indexed_differs,
    lock_entities,
    term_names,
    utc_now,
)
from context_store.entities.creations import entity_record, insert_new
from context_store.entities.patches import Patches
from context_store.entities.transient import forget_expired, removes_expired
from context_store.events import changes_json, insert_events
from context_store.exchange import COMMIT, exchange
from context_store.history.corrections import LOOK_UNTIL, hidden_until, past_rows_at_once, settle, supersede
from context_store.history.partitions import Partitions
from context_store.history.terms import TermIds
from context_store.history.writing import InstanceRows
from schemas.terms import LOCATION

Operation = Callable[[ExpandedEntity | None, datetime], EntityChange | UpdateOutcome]
"""From the stored entity (None when there is none) and the time to what becomes of it; raises ``NgsiLdError``."""
Outcome = EntityChange | UpdateOutcome | NgsiLdError

REFUSED: Final = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)
"""What PostgreSQL raises for a value that it cannot store: no number of its range, too long for an index ..."""
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_NEXT: Final = timedelta(microseconds=1)
_TRIES: Final = 5  # how often a batch starts anew when others create the same entities at the same time

# Whole entities.
_UPDATE: Final[LiteralString] = """
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
    """One item: what to do to which entity. ``attributes`` are all that the operation looks at, None for any."""

    entity_id: str
    operation: Operation
    attributes: frozenset[str] | None = None


@dataclass(slots=True, eq=False)
class _Row:
    """One row of the table: ``stored`` as it is there, ``entity`` as it shall be.

    ``look_until`` is that of the column; ``hidden`` is the newest observedAt that ``stored`` or what came after it told
    of and ``entity`` does not. ``is_lasting``: it is known that nothing of ``entity`` expires.
    """

    key: int | None = None
    stored: ExpandedEntity | None = None
    entity: ExpandedEntity | None = None
    look_until: datetime | None = None
    is_lasting: bool = False
    hidden: datetime | None = None


class _Write(NamedTuple):
    """A change of a row, and when it was decided."""

    row: _Row
    change: EntityChange
    moment: datetime

    @property
    def is_update(self) -> bool:
        """Whether the entity was there and stays."""
        return self.change.before is not None and self.change.after is not None


@dataclass(slots=True)
class _Plan:
    """The entities while the items are decided, and what has to be written, in order.

    ``is_partial``: the stored ones may have only the attributes that the items look at.
    """

    rows: dict[str, _Row]
    clock: Callable[[], datetime]
    is_partial: bool = False
    now: datetime = _NEVER
    """The moment of the item that is being decided; each has one of its own, as if it had come alone."""
    writes: list[_Write] = field(default_factory=list)

    def decide(self, item: BatchItem) -> Outcome:
        """Do the operation of ``item``."""
        self.now = max(self.clock(), self.now + _NEXT)
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
        if row.is_lasting:
            return row
        if row.key is not None and is_expired(row.entity, self.now):
            self._record(entity_id, row, delete_entity(row.entity))
            return _Row()
        expired = expire_attributes(row.entity, self.now)
        if expired.after is not expired.before:
            self._record(entity_id, row, expired)
        return row

    def _record(self, entity_id: str, row: _Row, change: EntityChange) -> None:
        row.entity, row.is_lasting = change.after, False
        hidden = hidden_until(change.attributes)
        if hidden is not None:
            row.hidden = hidden if row.hidden is None else max(row.hidden, hidden)
        self.rows[entity_id] = row
        self.writes.append(_Write(row, change, self.now))


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
        attributes = _looked_at(items)
        locking = Locking(tenant_id, {item.entity_id for item in items}, attributes)
        try:
            async with self._database.marking_transaction(tenant_id, locking.statement) as (connection, (rows,)):
                plan = self._plan(locking.stored(rows), is_partial=attributes is not None)
                outcomes = [plan.decide(item) for item in items]
                if plan.is_partial and any(_has_whole_update(row) for row in plan.rows.values()):
                    plan = await self._plan_whole(connection, tenant_id, items)
                    outcomes = [plan.decide(item) for item in items]
                await self._write(connection, tenant_id, plan, at_once=True)
        except (*REFUSED, psycopg.errors.UniqueViolation):
            return await self._one_by_one(tenant_id, items)
        return outcomes

    async def _one_by_one(self, tenant_id: int, items: Sequence[BatchItem]) -> list[Outcome]:
        """The same when PostgreSQL refuses a value of one of them, or has its history already: each is written behind a
        savepoint of its own."""
        async with self._database.transaction(tenant_id, marks_itself=True) as connection:
            plan = await self._plan_whole(connection, tenant_id, items)
            return [await self._decide_and_write(connection, tenant_id, plan, item) for item in items]

    async def _plan_whole(self, connection: AsyncConnection, tenant_id: int, items: Sequence[BatchItem]) -> _Plan:
        stored = await lock_entities(connection, tenant_id, {item.entity_id for item in items})
        return self._plan(stored, is_partial=False)

    def _plan(self, stored: Mapping[str, StoredEntity], *, is_partial: bool) -> _Plan:
        rows = {
            name: _Row(found.key, found.entity, found.entity, found.look_until, found.is_lasting)
            for name, found in stored.items()
        }
        return _Plan(rows, self._clock, is_partial)

    async def _decide_and_write(
        self, connection: AsyncConnection, tenant_id: int, plan: _Plan, item: BatchItem
    ) -> Outcome:
        before = plan.rows.get(item.entity_id)
        undone = replace(before) if before else _Row()
        outcome = plan.decide(item)
        try:
            async with connection.transaction():
                await self._write(connection, tenant_id, plan)
        except REFUSED as exc:
            plan.rows[item.entity_id] = undone
            plan.writes.clear()
            reason = exc.diag.message_primary or str(exc)
            return BadRequestData(f"The entity has a value that cannot be stored: {reason}")
        return outcome

    async def _write(self, connection: AsyncConnection, tenant_id: int, plan: _Plan, *, at_once: bool = False) -> None:
        """Write the plan's changes, if any; its rows are then as they are in the table.

        ``at_once``: with the commit, and without asking for history that is there, which raises UniqueViolation.
        """
        if not plan.writes:
            return
        rows = list(dict.fromkeys(write.row for write in plan.writes))
        source_id = (await self._terms.resolve([API_SOURCE]))[API_SOURCE]
        ids = await self._terms.resolve({name for write in plan.writes for name in term_names(write.change.attributes)})
        await _insert_rows(connection, tenant_id, rows)
        ends, others, times = _split_history(tenant_id, plan, ids, source_id)
        await self._history.ensure(times)
        superseded = settle(others, await past_rows_at_once(connection, others.look))
        patches, whole = _updates(rows, has_whole=not plan.is_partial)
        is_plain = not (ends or whole or superseded) and all(write.is_update for write in plan.writes)
        if at_once and len(others) and is_plain:
            events = [(write.row.key or 0, changes_json(write.change.attributes)) for write in plan.writes]
            await exchange(connection, patches.written_with(others, events, source_id, plan.now), COMMIT)
        else:
            async with connection.pipeline():
                await patches.write(connection)
                await _update_whole(connection, whole)
                await ends.insert(connection, plan.now)
                for row, change, moment in plan.writes if len(ends) else ():
                    await forget_expired(connection, (tenant_id, row.key or 0), change.attributes, ids, moment)
                await others.insert(connection, plan.now, repeats=not at_once)
                changes = [(write.row.key or 0, write.change) for write in plan.writes]
                await insert_events(connection, tenant_id, changes, source_id)
                await supersede(connection, superseded, plan.now)
                if at_once:  # in the same message; when something before it fails, it is not done
                    await connection.execute("commit")
        for row in rows:
            row.stored = row.entity
        plan.writes.clear()


def _split_history(
    tenant_id: int, plan: _Plan, ids: Mapping[str, int], source_id: int
) -> tuple[InstanceRows, InstanceRows, set[datetime]]:
    """The history of the plan's changes, and all times in it.

    What has expired (the first rows) ends, and is forgotten, before anything else begins.
    """
    ends, others, times = InstanceRows(), InstanceRows(), {plan.now}
    for row, change, moment in plan.writes:
        rows, place = ends if removes_expired(change.attributes, moment) else others, (tenant_id, row.key or 0)
        times |= add_instances(rows, place, change.attributes, ids, source_id, moment, row.look_until)
    return ends, others, times


async def _insert_rows(connection: AsyncConnection, tenant_id: int, rows: Sequence[_Row]) -> None:
    """Remove the rows of entities that are gone and insert the new ones; they get their keys."""
    gone = [row.key for row in rows if row.entity is None]
    if gone:
        await connection.execute(_DELETE, (gone,))
    new = {row.entity.id: row for row in rows if row.entity is not None and row.key is None}
    if new:
        keys = await insert_new(connection, tenant_id, [row.entity for row in new.values() if row.entity is not None])
        if len(keys) < len(new):
            raise _CreatedMeanwhile
        for entity_id, key in keys.items():
            new[entity_id].key = key


def _updates(rows: Sequence[_Row], *, has_whole: bool) -> tuple[Patches, list[_Row]]:
    """What changes of the attributes of entities that are there, and those that have to be written as a whole.

    There are some of these only with ``has_whole``.
    """
    patches = Patches()
    whole: list[_Row] = []
    for row in rows:
        if row.key is None or row.stored is None or row.entity is None:
            continue
        if has_whole and _has_whole_update(row):
            whole.append(row)
            continue
        patch = orjson.dumps(_differing(row.stored.attributes, row.entity.attributes))
        patches.add(row.key, patch, row.entity.modified_at, row.hidden)
    return patches, whole


async def _update_whole(connection: AsyncConnection, rows: Sequence[_Row]) -> None:
    """Write entities that are there."""
    if not rows:
        return
    await connection.execute(_UPDATE, {"rows": _recordset(rows)})
    hidden = [(row.hidden, row.key) for row in rows if row.hidden is not None]
    if hidden:
        moments, keys = zip(*hidden, strict=True)
        await connection.execute(LOOK_UNTIL, {"keys": list(keys), "moments": list(moments)})


def _looked_at(items: Sequence[BatchItem]) -> set[str] | None:
    """The attributes that ``items`` look at, None for all of them; a place is indexed, so that it is written whole."""
    looked_at: set[str] = set()
    for item in items:
        if item.attributes is None or LOCATION in item.attributes:
            return None
        looked_at |= item.attributes
    return looked_at


def _has_whole_update(row: _Row) -> bool:
    """Whether an entity that is there and stays has to be written as a whole."""
    if row.key is None or row.stored is None or row.entity is None or row.stored is row.entity:
        return False
    gone = row.stored.attributes.keys() - row.entity.attributes.keys()
    return bool(gone) or indexed_differs(row.stored, row.entity)


def _differing(before: Attributes, after: Attributes) -> Attributes:
    """The attributes of ``after`` that ``before`` does not have so; operations share what they do not touch."""
    return {iri: instances for iri, instances in after.items() if before.get(iri) is not instances}


def _recordset(rows: Sequence[_Row]) -> str:
    return orjson.dumps([entity_record(row.entity, row.key) for row in rows if row.entity is not None]).decode()

# SPDX-License-Identifier: Apache-2.0
"""Entities: current state, and the one way to change it.

A change writes three things in the caller's transaction: the entity's row, its attribute instances in history and a
change event. The pure operations of :mod:`broker.operations` decide what the change is; this module locks, reads and
writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from broker.entities import AttributeChange, EntityChange, ExpandedEntity
from broker.errors import AlreadyExists
from broker.expiry import earliest_expiry
from broker.query import indexed_geometry
from context_store.arrays import texts
from context_store.entities.transient import forget_expired
from context_store.events import NOTIFY, insert_event
from context_store.exchange import Rows, Statement
from context_store.history.corrections import hidden_until, insert_believed, may_correct
from context_store.history.partitions import Partitions
from context_store.history.terms import TermIds
from context_store.history.writing import InstanceRows
from schemas.terms import LOCATION

API_SOURCE: Final = ""  # who wrote a history row: no device

_COLUMNS: Final = "entity_key, id, types, document, scopes, created_at, modified_at, expires_at"

# The entities of some ids, locked against other writers in the order of their ids.
_LOCK: Final[LiteralString] = f"""
    select {_COLUMNS}, look_until
      from entity where tenant_id = %(tenant_id)s and id = any(%(ids)s) order by id for no key update
"""

# The same with some attributes only, of entities of which nothing expires: their other attributes are not looked at.
# Each look into a document unpacks all of it, which "offset 0" keeps from being done twice.
_LOCK_PARTS: Final[LiteralString] = """
    select entity_key, id, types,
           case when coalesce(expires_at, attributes_expire_at) is not null then document
                else coalesce((select jsonb_object_agg(name, part)
                                 from (select name, document -> name from unnest(%(attributes)s::text[]) as name
                                       offset 0) as present (name, part)
                                where part is not null), '{}') end,
           scopes, created_at, modified_at, expires_at, look_until
      from entity where tenant_id = %(tenant_id)s and id = any(%(ids)s) order by id for no key update
"""

# The same with one attribute, in a column of its own.
_LOCK_PART: Final[LiteralString] = """
    select document -> %(attribute)s::text, entity_key, id, types,
           case when coalesce(expires_at, attributes_expire_at) is not null then document end,
           scopes, created_at, modified_at, expires_at, look_until
      from entity where tenant_id = %(tenant_id)s and id = any(%(ids)s) order by id for no key update
"""

_LOCKING, _LOCKING_PARTS, _LOCKING_PART = map(Statement, (_LOCK, _LOCK_PARTS, _LOCK_PART))

_GET: Final[LiteralString] = f"select {_COLUMNS} from entity where tenant_id = %(tenant_id)s and id = any(%(ids)s)"
GET: Final = Statement(_GET)
"""The rows, for :func:`from_row`, of the entities of a tenant with some ids."""

_INSERT: Final[LiteralString] = """
    insert into entity (tenant_id, id, types, document, location, scopes, created_at, modified_at, expires_at,
                        attributes_expire_at)
    values (%(tenant_id)s, %(id)s, %(types)s, %(document)s::jsonb,
            st_setsrid(st_force2d(st_geomfromgeojson(%(location)s)), 4326), %(scopes)s, %(created_at)s, %(modified_at)s,
            %(expires_at)s, %(attributes_expire_at)s)
    returning entity_key
"""

# Types, scopes and location are indexed: they are written only when they change, so that most updates stay HOT.
_UPDATE: Final[LiteralString] = """
    update entity
       set document = %(document)s::jsonb, modified_at = %(modified_at)s,
           look_until = greatest(look_until, %(hidden)s::timestamptz)
     where entity_key = %(key)s
    returning look_until
"""
_UPDATE_INDEXED: Final[LiteralString] = """
    update entity
       set document = %(document)s::jsonb, modified_at = %(modified_at)s, types = %(types)s, scopes = %(scopes)s,
           location = st_setsrid(st_force2d(st_geomfromgeojson(%(location)s)), 4326), expires_at = %(expires_at)s,
           attributes_expire_at = %(attributes_expire_at)s,
           look_until = greatest(look_until, %(hidden)s::timestamptz)
     where entity_key = %(key)s
    returning look_until
"""
_DELETE: Final[LiteralString] = "delete from entity where entity_key = %s"


def utc_now() -> datetime:
    """The time of a write."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class StoredEntity:
    """An entity and the number history knows it by.

    ``look_until``, of an entity that was locked: up to then, history may have more than the current values tell of.
    ``is_lasting``: it is known that nothing of it expires.
    """

    key: int
    entity: ExpandedEntity
    look_until: datetime | None = None
    is_lasting: bool = False


def from_row(row: tuple[Any, ...]) -> StoredEntity:
    """An entity from the columns entity_key, id, types, document, scopes, created_at, modified_at, expires_at, and
    look_until if it is there."""
    key, entity_id, types, document, scopes, created_at, modified_at, expires_at, *look_until = row
    entity = ExpandedEntity(entity_id, tuple(types), document, tuple(scopes), created_at, modified_at, expires_at)
    return StoredEntity(key, entity, *look_until)


class Locking:
    """A statement that locks the entities of ``ids`` that exist until the transaction ends, and reads these
    ``attributes`` of them, or all."""

    def __init__(self, tenant_id: int, ids: Collection[str], attributes: Collection[str] | None = None) -> None:
        wanted = list(attributes or ())
        self._attribute = wanted[0] if len(wanted) == 1 else None
        statement = _LOCKING if attributes is None else _LOCKING_PARTS if self._attribute is None else _LOCKING_PART
        self.statement: Final = statement.of(
            {"tenant_id": tenant_id, "ids": texts(list(ids)), "attributes": texts(wanted), "attribute": self._attribute}
        )

    def stored(self, rows: Rows) -> dict[str, StoredEntity]:
        """What it found, by id."""
        if self._attribute is not None:
            return {row[2]: _from_part(self._attribute, *row) for row in rows}
        return {stored.entity.id: stored for stored in map(from_row, rows)}


async def lock_entities(connection: AsyncConnection, tenant_id: int, ids: Collection[str]) -> dict[str, StoredEntity]:
    """The entities of ``ids`` that exist, locked until the transaction ends."""
    cursor = await connection.execute(_LOCK, {"tenant_id": tenant_id, "ids": list(ids)})
    return {stored.entity.id: stored for stored in map(from_row, await cursor.fetchall())}


def _from_part(attribute: str, part: dict[str, Any] | None, *row: Any) -> StoredEntity:
    """An entity from one attribute, if it has that, and the columns of :func:`from_row`.

    The document is missing when nothing of the entity expires.
    """
    key, entity_id, types, document, scopes, created_at, modified_at, expires_at, look_until = row
    is_lasting = document is None
    if is_lasting:
        document = {} if part is None else {attribute: part}
    entity = ExpandedEntity(entity_id, tuple(types), document, tuple(scopes), created_at, modified_at, expires_at)
    return StoredEntity(key, entity, look_until, is_lasting)


async def get_entities(connection: AsyncConnection, tenant_id: int, ids: Collection[str]) -> dict[str, StoredEntity]:
    """The entities of ``ids`` that exist."""
    rows = await (await connection.execute(_GET, {"tenant_id": tenant_id, "ids": list(ids)})).fetchall()
    return {stored.entity.id: stored for stored in map(from_row, rows)}


class EntityWriter:
    """Writes changes of entities, their history and their events."""

    def __init__(self, terms: TermIds, history: Partitions) -> None:
        self._terms = terms
        self._history = history

    async def write(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        key: int | None,
        change: EntityChange,
        *,
        source: str,
        now: datetime,
    ) -> int:
        """Write ``change`` of the entity with this key (None for a creation); returns the key.

        ``source`` names who wrote it (a device's key, or empty for the API). The caller holds the entity's lock.
        Raises :class:`AlreadyExists` when a creation meets an entity of that id.
        """
        key, look_until = await self._write_row(connection, tenant_id, key, change)
        source_id = (await self._terms.resolve([source]))[source]
        await self._write_history(connection, (tenant_id, key), change.attributes, source_id, now, look_until)
        place = (tenant_id, key, change.entity.id, change.entity.types)
        gone = change.before if change.after is None else None
        await insert_event(connection, place, change.operation, change.attributes, source_id, gone=gone)
        await connection.execute(NOTIFY)
        return key

    async def write_state(
        self, connection: AsyncConnection, tenant_id: int, key: int | None, change: EntityChange
    ) -> int:
        """Write the entity's row alone: no history and no event. As :meth:`write` otherwise."""
        key, _ = await self._write_row(connection, tenant_id, key, change)
        return key

    async def _write_row(
        self, connection: AsyncConnection, tenant_id: int, key: int | None, change: EntityChange
    ) -> tuple[int, datetime | None]:
        """The key, and until when history may have more than the current values tell of."""
        if change.after is None:
            await connection.execute(_DELETE, (key,))
            return key or 0, None
        row = _row(change.after)
        if change.before is None:
            try:
                cursor = await connection.execute(_INSERT, {**row, "tenant_id": tenant_id})
            except UniqueViolation as exc:
                raise AlreadyExists(f"Entity {change.after.id} already exists") from exc
            inserted = await cursor.fetchone()
            return int(inserted[0]) if inserted else 0, None
        statement = _UPDATE_INDEXED if indexed_differs(change.before, change.after) else _UPDATE
        values = {**row, "key": key, "hidden": hidden_until(change.attributes)}
        updated = await (await connection.execute(statement, values)).fetchone()
        return key or 0, updated[0] if updated else None

    async def _write_history(
        self,
        connection: AsyncConnection,
        place: tuple[int, int],
        changes: Iterable[AttributeChange],
        source_id: int,
        now: datetime,
        look_until: datetime | None,
    ) -> None:
        tenant_id, key = place
        changes = tuple(changes)
        ids = await self._terms.resolve(term_names(changes))
        rows = InstanceRows()
        times = {now, *add_instances(rows, (tenant_id, key), changes, ids, source_id, now, look_until)}
        await self._history.ensure(times)
        await insert_believed(connection, rows, now)
        await forget_expired(connection, place, changes, ids, now)


def term_names(changes: Iterable[AttributeChange]) -> set[str]:
    """The names that history needs numbers for: attributes and datasets."""
    return {name for change in changes for name in (change.attribute, change.dataset)}


def add_instances(
    rows: InstanceRows,
    place: tuple[int, int],
    changes: Iterable[AttributeChange],
    ids: Mapping[str, int],
    source_id: int,
    now: datetime,
    look_until: datetime | None = None,
) -> set[datetime]:
    """Add the history of ``changes`` to ``rows``; ``place`` is (tenant_id, entity_key). Returns the times used.

    ``look_until``: up to then, history may have instances that the current values do not tell of.
    """
    tenant_id, key = place
    times = set()
    for change in changes:
        moment = instance_time(change.after, now)
        times.add(moment)
        slot = (key, tenant_id, ids[change.attribute], moment, ids[change.dataset], source_id)
        if change.after is not None:
            rows.add(slot, change.after, look=may_correct(change, look_until), recorded_at=now)
        elif change.before is not None:
            rows.add_removed(slot, change.before["type"], recorded_at=now)
    return times


def instance_time(instance: dict[str, Any] | None, now: datetime) -> datetime:
    """The place of an instance on the time axis: its observedAt, or ``now`` when it has none."""
    text = instance.get("observedAt") if instance else None
    return datetime.fromisoformat(text) if text else now


def _row(entity: ExpandedEntity) -> dict[str, Any]:
    location = indexed_geometry(entity)
    return {
        "id": entity.id,
        "types": list(entity.types),
        "document": orjson.dumps(entity.attributes).decode(),
        "location": orjson.dumps(location).decode() if location else None,
        "scopes": list(entity.scopes),
        "created_at": entity.created_at,
        "modified_at": entity.modified_at,
        "expires_at": entity.expires_at,
        "attributes_expire_at": earliest_expiry(entity.attributes),
    }


def indexed_differs(before: ExpandedEntity, after: ExpandedEntity) -> bool:
    """Whether a column with an index differs, so that an update has to write it."""
    if (before.types, before.scopes, before.expires_at) != (after.types, after.scopes, after.expires_at):
        return True
    old, new = before.attributes, after.attributes
    changed = [name for name in {**old, **new} if old.get(name) is not new.get(name)]
    if LOCATION in changed and indexed_geometry(before) != indexed_geometry(after):
        return True
    transient = any(earliest_expiry({name: group[name] for name in changed if name in group}) for group in (old, new))
    return transient and earliest_expiry(old) != earliest_expiry(new)


def creation(entity: ExpandedEntity) -> EntityChange:
    """The change that makes ``entity`` as it is."""
    changes = tuple(
        AttributeChange(name, dataset, None, instance)
        for name, group in entity.attributes.items()
        for dataset, instance in group.items()
    )
    return EntityChange(None, entity, changes)


__all__ = [
    "API_SOURCE",
    "GET",
    "EntityWriter",
    "Locking",
    "StoredEntity",
    "creation",
    "from_row",
    "get_entities",
    "lock_entities",
    "utc_now",
]

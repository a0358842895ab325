# SPDX-License-Identifier: Apache-2.0
"""Change events: written with every change, read by the matchers without ever missing one.

The trap is a cursor over a serial number: a transaction that took a low number may commit after one with a higher
number was read. A reader here remembers a *snapshot* instead of a number: new is what the present snapshot sees and
the remembered one did not. That misses nothing, and a long-running writer holds nobody up. Events of one entity have
ascending numbers in the order of their commits, because each writer holds the entity's row lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import repeat
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import class_row

from broker.entities import AttributeChange, EntityChange, ExpandedEntity
from broker.quality import GOOD
from broker.times import to_text
from context_store.arrays import bigints, cursor_for_arrays, documents, integers
from context_store.database import ALL_TENANTS, Database

CHANNEL: Final = "minamo_changes"
# How old a position may grow while there is nothing to do. One who passes events over looks at them again until then.
_STALE_S: Final = 10.0
_STALE_S_CHOOSING: Final = 1.0
_AWAY_S: Final = 1.0  # one who has not gone on for so long may be followed by another

INSERT_UPDATES: Final[LiteralString] = """
    insert into change_event (tenant_id, entity_key, entity_id, entity_types, operation, changes, source_id)
    select e.tenant_id, e.entity_key, e.id, e.types, 'updated', c.changes::json, c.source_id
      from unnest(%(keys)b::bigint[], %(changes)b::text[], %(sources)b::int[])
           with ordinality as c (entity_key, changes, source_id, position)
      join entity e using (entity_key)
     order by c.position
"""
"""Events of updates: identity and types come from the entity row. Numbers follow the order of the arrays."""

# One event of any operation.
_INSERT_ONE: Final[LiteralString] = """
    insert into change_event (tenant_id, entity_key, entity_id, entity_types, operation, changes, source_id, entity)
    values (%s, %s, %s, %s, %s, %s::json, %s, %s::jsonb)
"""

# Events of any operation, numbered in the order of the array.
_INSERT_MANY: Final[LiteralString] = """
    insert into change_event (tenant_id, entity_key, entity_id, entity_types, operation, changes, source_id, entity)
    select %(tenant_id)s, e.entity_key, e.entity_id, e.entity_types, e.operation, e.changes, e.source_id, e.entity
      from rows from (json_to_recordset(%(events)s::json) as (
           entity_key bigint, entity_id text, entity_types text[], operation text, changes json, source_id int,
           entity jsonb))
           with ordinality as e (entity_key, entity_id, entity_types, operation, changes, source_id, entity, position)
     order by e.position
"""

NOTIFY: Final[LiteralString] = "select pg_notify('minamo_changes', '')"

# One reader at a time for each consumer ("feed" in ASCII). An advisory lock and not a row lock: looking for news when
# there are none writes nothing. It is a statement of its own, so that the next one sees what its last holder committed.
_HOLD: Final[LiteralString] = "select pg_try_advisory_xact_lock(x'66656564'::int, hashtext(%s))"

# The position of a consumer, and what can be seen now.
_POSITION: Final[LiteralString] = """
    select done_snapshot::text as done, window_snapshot::text as window, window_after as after, late_events as late,
           last_event_id as last, coalesce(c.system_identifier = here.system_identifier, true) as at_home,
           here.system_identifier as here, pg_current_snapshot()::text as now,
           updated_at < now() - make_interval(secs => %s) as stale,
           c.holder is not null and updated_at > clock_timestamp() - make_interval(secs => %s) and c.holder <> %s
               as elsewhere
      from change_consumer c, pg_control_system() as here
     where name = %s
"""

EVENT: Final[LiteralString] = """
    event_id, tenant_id, entity_key, entity_id, entity_types, operation, changes, source_id, recorded_at, entity
"""
_UNSEEN: Final = """
    transaction_id >= %(since)s::xid8 and transaction_id < %(until)s::xid8
       and not pg_visible_in_snapshot(transaction_id, %(done)s::pg_snapshot)
       and pg_visible_in_snapshot(transaction_id, %(window)s::pg_snapshot)
       and (%(only)s::text is null or %(only)s = any(entity_types))
       and (%(without)s::text is null or %(without)s <> all(entity_types))
"""
# What became visible between two snapshots, in the order of writing: found by the numbers of the transactions. With
# the bounds as values one plan is good for all of them, and making it takes longer than reading. It has to use the
# index: a plan that was made while a partition was empty would go on reading all of it.
_PLAN_ONCE: Final[LiteralString] = """
    select set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true)
"""
_PLAN_AS_USUAL: Final[LiteralString] = """
    select set_config('plan_cache_mode', 'auto', true), set_config('enable_seqscan', 'on', true)
"""
_READ: Final[LiteralString] = f"""
    select {EVENT} from change_event where {_UNSEEN} order by event_id limit %(limit)s
"""
# The same behind an event: found by the number of the event.
_READ_ON: Final[LiteralString] = f"""
    select {EVENT} from change_event where event_id > %(after)s and {_UNSEEN} order by event_id limit %(limit)s
"""
# The same with some before it, which happens after a restore only.
_READ_LATE: Final[LiteralString] = f"""
    select {EVENT} from change_event where (event_id > %(after)s or event_id = any(%(late)s)) and {_UNSEEN}
     order by event_id limit %(limit)s
"""
# What a consumer has read of the events behind a number.
_READ_AGAIN: Final[LiteralString] = """
    select e.event_id, e.tenant_id, e.entity_key, e.entity_id, e.entity_types, e.operation, e.changes, e.source_id,
           e.recorded_at, e.entity
      from change_event e cross join change_consumer c
     where c.name = %(name)s and e.event_id > %(after)s
       and ((c.done_snapshot is not null and pg_visible_in_snapshot(e.transaction_id, c.done_snapshot))
            or (e.event_id <= c.window_after and e.event_id <> all(c.late_events)
                and (c.window_snapshot is null or pg_visible_in_snapshot(e.transaction_id, c.window_snapshot))))
     order by e.event_id limit %(limit)s
"""
_NOTHING: Final = "3:3:"  # the snapshot that shows no transaction: 3 is the first number there is

_SAVE: Final[LiteralString] = """
    update change_consumer
       set done_snapshot = %(done)s::pg_snapshot, window_snapshot = %(window)s::pg_snapshot,
           window_after = %(after)s, late_events = %(late)s,
           last_event_id = greatest(last_event_id, %(last)s,
               case when %(has_seen_all)s then (select max(event_id) from change_event) end),
           system_identifier = %(here)s, updated_at = clock_timestamp(), holder = coalesce(%(holder)s, holder)
     where name = %(name)s
"""

# A restore into another cluster (pg_dump and pg_restore): transaction numbers start anew there and say nothing about
# those in the snapshots and the log. Translate all positions at once, while the old numbers are still comparable:
# unread are the events after the last one read, and those before it that the old snapshots had not shown yet.
_HOLD_ALL: Final[LiteralString] = """
    select pg_advisory_xact_lock(x'66656564'::int, hashtext(name)) from change_consumer order by name
"""
_TRANSLATE: Final[LiteralString] = """
    update change_consumer c
       set done_snapshot = null, window_snapshot = null, window_after = c.last_event_id,
           late_events = array(
               select event_id from change_event e
                where e.event_id <= c.last_event_id
                  and (e.event_id = any(c.late_events)
                       or ((c.done_snapshot is null or not pg_visible_in_snapshot(e.transaction_id, c.done_snapshot))
                           and not (e.event_id <= c.window_after
                                    and (c.window_snapshot is null
                                         or pg_visible_in_snapshot(e.transaction_id, c.window_snapshot)))))
                order by event_id),
           system_identifier = here.system_identifier
      from pg_control_system() as here
     where c.system_identifier is distinct from here.system_identifier
"""
# Mark what was restored, and what was written since, as long committed.
_RESTAMP: Final[LiteralString] = "update change_event set transaction_id = '3' where transaction_id <> '3'"

# When the oldest event was written that some consumer has not read; null when all is read.
_OLDEST_UNREAD: Final[LiteralString] = """
    select min(recorded_at) from change_event where event_id > (select min(last_event_id) from change_consumer)
"""

_LAG: Final[LiteralString] = """
    select c.name, (select coalesce(max(event_id), 0) from change_event) - c.last_event_id,
           extract(epoch from now() - c.updated_at)::float8
      from change_consumer c
"""


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One committed change of one entity; ``changes`` as documented at the table."""

    event_id: int
    tenant_id: int
    entity_key: int
    entity_id: str
    entity_types: list[str]
    operation: str
    changes: list[dict[str, Any]]
    source_id: int
    recorded_at: datetime
    entity: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a consumer stands: everything visible in ``done`` is read; of ``window``, what is numbered up to ``after``
    but for ``late``. ``here`` is the cluster's identifier, ``at_home`` whether the snapshots are of it.
    """

    done: str | None
    window: str | None
    after: int
    late: list[int]
    last: int
    at_home: bool
    here: int
    now: str
    stale: bool
    elsewhere: bool

    def beyond(self, window: str) -> Position:
        """The position after all of ``window``."""
        return replace(self, done=window, window=None, after=0, late=[])

    def advanced(self, events: list[ChangeEvent], window: str, limit: int) -> dict[str, Any]:
        """The parameters of the position after ``events``, the next ``limit`` of ``window``."""
        last = events[-1].event_id if events else 0
        if len(events) < limit:
            return {"done": window, "window": None, "after": 0, "late": [], "last": last}
        late = [event_id for event_id in self.late if event_id > last]
        return {"done": self.done, "window": window, "after": max(last, self.after), "late": late, "last": last}


GOOD_IN_EVENTS: Final = b',"good":true}'
"""How the JSON of an instance ends, in the changes of an event, that says of its quality :data:`~broker.quality.GOOD`
and has no other sub-attribute. Nearly all have; said in full, that is a third of the event."""


def _say_in_full(changes: list[dict[str, Any]]) -> None:
    """Put what :data:`GOOD_IN_EVENTS` stands for into ``changes``."""
    for change in changes:
        for instance in (change.get("before"), change.get("after")):
            if instance is not None and instance.pop("good", False):
                instance["attrs"] = GOOD


def changes_json(changes: Sequence[AttributeChange]) -> bytes:
    """The ``changes`` column of an event."""
    return orjson.dumps(
        [
            {
                "attribute": change.attribute,
                "dataset": change.dataset,
                "before": change.before,
                "after": change.after,
            }
            for change in changes
        ]
    )


async def insert_updates(
    connection: AsyncConnection, keys: Sequence[int], changes: Sequence[bytes], sources: Sequence[int]
) -> None:
    """Write events of operation ``updated`` for the entities ``keys`` in this order, and wake the readers."""
    if keys:
        columns = {"keys": bigints(keys), "changes": documents(changes), "sources": integers(sources)}
        await cursor_for_arrays(connection).execute(INSERT_UPDATES, columns)
        await connection.execute(NOTIFY)


async def insert_event(
    connection: AsyncConnection,
    place: tuple[int, int, str, Sequence[str]],
    operation: str,
    changes: Sequence[AttributeChange],
    source_id: int,
    *,
    gone: ExpandedEntity | None = None,
) -> None:
    """Write one event; ``place`` is (tenant_id, entity_key, entity id, types). The caller wakes the readers.

    ``gone`` is the entity that a deletion deleted.
    """
    tenant_id, entity_key, entity_id, types = place
    text = changes_json(changes).decode()
    entity = _last_state(gone) if gone is not None else None
    await connection.execute(
        _INSERT_ONE, (tenant_id, entity_key, entity_id, list(types), operation, text, source_id, entity)
    )


async def insert_events(
    connection: AsyncConnection,
    tenant_id: int,
    changes: Sequence[tuple[int, EntityChange]],
    source_id: int | Sequence[int],
) -> None:
    """Write one event for each change of an entity (given with the entity's key), and wake the readers.

    ``source_id`` is that of all, or one for each.
    """
    sources = repeat(source_id) if isinstance(source_id, int) else source_id
    events = [
        {
            "entity_key": key,
            "entity_id": change.entity.id,
            "entity_types": change.entity.types,
            "operation": change.operation,
            "changes": orjson.Fragment(changes_json(change.attributes)),
            "source_id": source,
            "entity": orjson.Fragment(_last_state(change.before)) if change.before and not change.after else None,
        }
        for (key, change), source in zip(changes, sources, strict=False)
    ]
    values = {"tenant_id": tenant_id, "events": orjson.dumps(events).decode()}
    await connection.execute(_INSERT_MANY, values)
    await connection.execute(NOTIFY)


def _last_state(entity: ExpandedEntity) -> str:
    times = {"createdAt": entity.created_at, "modifiedAt": entity.modified_at}
    state = {"scopes": entity.scopes, **{name: to_text(moment) for name, moment in times.items() if moment is not None}}
    return orjson.dumps(state).decode()


class ChangeFeed:
    """The change events for one consumer (``alerts``, ``subscriptions``), each exactly once.

    A consumer may want those of entities of one type ``only``, or all ``without`` a type. One that keeps in memory what
    it has learnt names itself (``holder``): where several are at work, the others leave it to the one that is.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        limit: int = 1000,
        only: str | None = None,
        without: str | None = None,
        holder: str | None = None,
    ) -> None:
        self._database = database
        self._holder = holder
        self._types = {"only": only, "without": without}
        self._name = name
        self._limit = limit
        self.is_caught_up = False
        """Whether the last batch had everything that could be seen when it was read."""

    @asynccontextmanager
    async def held(self) -> AsyncIterator[tuple[AsyncConnection, Position | None]]:
        """A transaction in which nobody else reads for this consumer, and where that stands; None: somebody does."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            yield connection, await self._claim(connection)

    @asynccontextmanager
    async def batch(self, limit: int | None = None) -> AsyncIterator[tuple[AsyncConnection, list[ChangeEvent]]]:
        """The next events (at most ``limit``) and the transaction to put their effects into.

        The position moves on in the same transaction: when the block raises, the events come again; when it ends,
        they never do. The list is empty when there is nothing new or another process reads for this consumer.
        """
        async with self.held() as (connection, position):
            self.is_caught_up = position is not None
            if position is None or (position.window is None and position.done == position.now):
                yield connection, []
                return
            window = position.window or position.now
            limit = limit or self._limit
            events = await self._read(connection, position, window, limit)
            if not events and position.window is not None:  # that was all of it: go on with what came since
                position, window = position.beyond(window), position.now
                events = await self._read(connection, position, window, limit)
            self.is_caught_up = len(events) < limit and window == position.now
            yield connection, events
            if events or position.window is not None or position.done is None or position.stale:
                advanced = position.advanced(events, window, limit)
                # One that passes events over has read them as well, once it is through what can be seen.
                has_seen_all = self._chooses and advanced["window"] is None
                saved = {**advanced, "name": self._name, "here": position.here, "has_seen_all": has_seen_all}
                await connection.execute(_SAVE, {**saved, "holder": self._holder})

    @property
    def _chooses(self) -> bool:
        return any(self._types.values())

    async def _claim(self, connection: AsyncConnection) -> Position | None:
        """The consumer's position, held until the transaction ends; None when another process holds it."""
        row = await (await connection.execute(_HOLD, (self._name,))).fetchone()
        if row is None or not row[0]:
            return None
        position = await self._position(connection)
        if position.elsewhere:
            return None
        if not position.at_home:
            await connection.execute(_HOLD_ALL)
            if (await connection.execute(_TRANSLATE)).rowcount:  # else another process has done it just now
                await connection.execute(_RESTAMP)
            position = await self._position(connection)
        return position

    async def _position(self, connection: AsyncConnection) -> Position:
        async with connection.cursor(row_factory=class_row(Position)) as cursor:
            stale_s = _STALE_S_CHOOSING if self._chooses else _STALE_S
            await cursor.execute(_POSITION, (stale_s, _AWAY_S, self._holder, self._name))
            position = await cursor.fetchone()
        if position is None:
            raise LookupError(f"there is no consumer {self._name} of change events")
        return position

    async def _read(
        self, connection: AsyncConnection, position: Position, window: str, limit: int
    ) -> list[ChangeEvent]:
        done = position.done or _NOTHING
        parameters = {
            "done": done,
            "window": window,
            "since": done.split(":")[0],
            "until": window.split(":")[1],
            "after": position.after,
            "late": position.late,
            "limit": limit,
            **self._types,
        }
        async with connection.cursor(row_factory=class_row(ChangeEvent)) as cursor:
            if position.late or position.after:
                await cursor.execute(_READ_LATE if position.late else _READ_ON, parameters)
            else:
                await plan_once(connection, cursor, _READ, parameters)
            return await fetch_events(cursor)


async def plan_once(
    connection: AsyncConnection, cursor: AsyncCursor[Any], statement: LiteralString, values: Mapping[str, Any]
) -> None:
    """Have ``cursor`` execute ``statement`` by a plan that is made for these ``values``."""
    async with connection.pipeline():
        await connection.execute(_PLAN_ONCE)
        await cursor.execute(statement, values)
        await connection.execute(_PLAN_AS_USUAL)


async def fetch_events(cursor: AsyncCursor[ChangeEvent]) -> list[ChangeEvent]:
    """The events that ``cursor`` has found."""
    events = await cursor.fetchall()
    for event in events:
        _say_in_full(event.changes)
    return events


async def read_counted(connection: AsyncConnection, consumer: str, after: int, limit: int) -> list[ChangeEvent]:
    """What ``consumer`` has read already of the events numbered above ``after``; the first ``limit`` of them."""
    async with connection.cursor(row_factory=class_row(ChangeEvent)) as cursor:
        await cursor.execute(_READ_AGAIN, {"name": consumer, "after": after, "limit": limit})
        return await fetch_events(cursor)


async def consumer_lag(connection: AsyncConnection) -> dict[str, tuple[int, float]]:
    """By consumer: events written after the last one it read (an upper bound), seconds since it last moved."""
    rows = await (await connection.execute(_LAG)).fetchall()
    return {name: (behind, age) for name, behind, age in rows}


async def oldest_unread(connection: AsyncConnection) -> datetime | None:
    """When the oldest event was written that some consumer has still to read; None when there is none."""
    row = await (await connection.execute(_OLDEST_UNREAD)).fetchone()
    return row[0] if row else None

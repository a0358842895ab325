# SPDX-License-Identifier: Apache-2.0
"""Change events: written with every change, read by the matchers without ever missing one.

The trap is a cursor over a serial number: a transaction that took a low number may commit after one with a higher
number was read. A reader here remembers a *snapshot* instead of a number: new is what the present snapshot sees and
the remembered one did not. That misses nothing, and a long-running writer holds nobody up. Events of one entity have
ascending numbers in the order of their commits, because each writer holds the entity's row lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection
from psycopg.rows import class_row

from broker.entities import AttributeChange
from context_store.database import ALL_TENANTS, Database

CHANNEL: Final = "minamo_changes"

# Events of updates: identity and types come from the entity row. Numbers follow the order of the arrays.
_INSERT_UPDATES: Final[LiteralString] = """
    insert into change_event (tenant_id, entity_key, entity_id, entity_types, operation, changes, source_id)
    select e.tenant_id, e.entity_key, e.id, e.types, 'updated', c.changes::jsonb, c.source_id
      from unnest(%(keys)b::bigint[], %(changes)b::text[], %(sources)b::int[])
           with ordinality as c (entity_key, changes, source_id, position)
      join entity e using (entity_key)
     order by c.position
"""

# One event of any operation.
_INSERT_ONE: Final[LiteralString] = """
    insert into change_event (tenant_id, entity_key, entity_id, entity_types, operation, changes, source_id)
    values (%s, %s, %s, %s, %s, %s::jsonb, %s)
"""

NOTIFY: Final[LiteralString] = "select pg_notify('minamo_changes', '')"

# The position of a consumer, held by one reader at a time.
_CLAIM: Final[LiteralString] = """
    select done_snapshot::text, window_snapshot::text, window_after, last_event_id, system_identifier,
           (select system_identifier from pg_control_system()) as here, pg_current_snapshot()::text as now
      from change_consumer where name = %s for update skip locked
"""

# What became visible between two snapshots, in the order of writing.
_READ: Final[LiteralString] = """
    with unseen as materialized (
        select event_id from change_event
         where (%(done)s::pg_snapshot is null
                or (transaction_id >= pg_snapshot_xmin(%(done)s::pg_snapshot)
                    and not pg_visible_in_snapshot(transaction_id, %(done)s::pg_snapshot)))
           and transaction_id < pg_snapshot_xmax(%(window)s::pg_snapshot)
           and pg_visible_in_snapshot(transaction_id, %(window)s::pg_snapshot)
           and event_id > %(after)s
    )
    select event_id, tenant_id, entity_key, entity_id, entity_types, operation, changes, source_id, recorded_at
      from change_event
     where event_id in (select event_id from unseen order by event_id limit %(limit)s)
     order by event_id
"""

_SAVE: Final[LiteralString] = """
    update change_consumer
       set done_snapshot = %(done)s::pg_snapshot, window_snapshot = %(window)s::pg_snapshot,
           window_after = %(after)s, last_event_id = greatest(last_event_id, %(last)s),
           system_identifier = %(here)s, updated_at = now()
     where name = %(name)s
"""

# After a restore into another cluster transaction numbers start anew: mark the old ones as long committed.
_RESTAMP: Final[LiteralString] = "update change_event set transaction_id = '3'"

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
        texts = [change.decode() for change in changes]
        await connection.execute(_INSERT_UPDATES, {"keys": list(keys), "changes": texts, "sources": list(sources)})
        await connection.execute(NOTIFY)


async def insert_event(
    connection: AsyncConnection,
    place: tuple[int, int, str, Sequence[str]],
    operation: str,
    changes: Sequence[AttributeChange],
    source_id: int,
) -> None:
    """Write one event; ``place`` is (tenant_id, entity_key, entity id, types). The caller wakes the readers."""
    tenant_id, entity_key, entity_id, types = place
    text = changes_json(changes).decode()
    await connection.execute(_INSERT_ONE, (tenant_id, entity_key, entity_id, list(types), operation, text, source_id))


class ChangeFeed:
    """The change events for one consumer (``alerts``, ``subscriptions``), each exactly once."""

    def __init__(self, database: Database, name: str, *, limit: int = 1000) -> None:
        self._database = database
        self._name = name
        self._limit = limit

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[tuple[AsyncConnection, list[ChangeEvent]]]:
        """The next events and the transaction to put their effects into.

        The position moves on in the same transaction: when the block raises, the events come again; when it ends,
        they never do. The list is empty when there is nothing new or another process reads for this consumer.
        """
        async with self._database.transaction(ALL_TENANTS) as connection:
            row = await (await connection.execute(_CLAIM, (self._name,))).fetchone()
            if row is None:
                yield connection, []
                return
            done, window, after, last, identifier, here, now = row
            if identifier is not None and identifier != here:
                await connection.execute(_RESTAMP)
                done, window, after = None, None, last
            if window is None and done == now:
                yield connection, []
                return
            window = window or now
            events = await self._read(connection, done, window, after)
            yield connection, events
            position = self._position(events, done, window)
            await connection.execute(_SAVE, {**position, "name": self._name, "here": here})

    async def _read(self, connection: AsyncConnection, done: str | None, window: str, after: int) -> list[ChangeEvent]:
        async with connection.cursor(row_factory=class_row(ChangeEvent)) as cursor:
            await cursor.execute(_READ, {"done": done, "window": window, "after": after, "limit": self._limit})
            return await cursor.fetchall()

    def _position(self, events: list[ChangeEvent], done: str | None, window: str) -> dict[str, Any]:
        last = events[-1].event_id if events else 0
        if len(events) < self._limit:
            return {"done": window, "window": None, "after": 0, "last": last}
        return {"done": done, "window": window, "after": last, "last": last}


async def consumer_lag(connection: AsyncConnection) -> dict[str, tuple[int, float]]:
    """By consumer: events written after the last one it read (an upper bound), seconds since it last moved."""
    rows = await (await connection.execute(_LAG)).fetchall()
    return {name: (behind, age) for name, behind, age in rows}

# SPDX-License-Identifier: Apache-2.0
"""Moving history from native partitions into a hypertable.

Partition by partition, each in a transaction that also says it is done: whoever is interrupted calls it again and it
goes on. From its begin until its end nobody writes history: the hub takes that for a database that is away, keeps what
comes in with the MQTT broker, and goes on afterwards; it may be read all the time. Rows keep all their columns, so
numbers of instances, what superseded what, and rollups stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, LiteralString

import psycopg
from psycopg import AsyncConnection, sql

from broker.errors import MinamoError
from context_store.audiences.seen import without_views
from context_store.database import ALL_TENANTS, Database

_STATE: Final[LiteralString] = """
    select to_regclass('attribute_instance_rows') is not null, to_regclass('history_move') is not null,
           exists (select from pg_extension where extname = 'timescaledb'),
           exists (select from pg_available_extensions where name = 'timescaledb')
"""
_CREATE_EXTENSION: Final[LiteralString] = "create extension timescaledb with schema public"
_LOCK: Final[LiteralString] = "select pg_advisory_xact_lock(x'6d6f7665'::int)"  # "move" in ASCII: one at a time

# The new table, and nobody writes the old one.
_BEGIN: Final[LiteralString] = """
    create table attribute_instance_moved (like attribute_instance including defaults including comments,
        primary key (entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash));
    select create_hypertable('attribute_instance_moved', 'observed_at',
                             chunk_time_interval => interval '7 days', create_default_indexes => false);
    create table history_move (partition text primary key, rows bigint not null);
    create function history_is_moving() returns trigger language plpgsql as $$
    begin
        raise exception 'history is being moved: minamo store migrate-to-timescale'
              using errcode = 'cannot_connect_now';
    end $$;
    create trigger history_is_moving before insert or update or delete on attribute_instance
        for each statement execute function history_is_moving();
"""
_LEFT: Final[LiteralString] = """
    select c.relname, greatest(c.reltuples, 0)::bigint
      from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'attribute_instance'::regclass
       and c.relname not in (select partition from history_move) order by 1
"""
_DONE: Final[LiteralString] = "insert into history_move values (%s, %s)"
# All is there: the names, the triggers, row-level security as a new table has it, and then the view.
_END: Final[LiteralString] = """
    drop table attribute_instance;
    drop function history_is_moving;
    drop table history_move;
    alter table attribute_instance_moved rename to attribute_instance;
    create index attribute_instance_observed_index on attribute_instance using brin (observed_at)
        with (pages_per_range = 32, autosummarize = on);
    create trigger history_added after insert on attribute_instance referencing new table as changed
        for each statement execute function history_noted();
    create trigger history_removed after delete on attribute_instance referencing old table as changed
        for each statement when (current_setting('minamo.retiring', true) is distinct from 'on')
        execute function history_noted();
    create trigger history_changed after update on attribute_instance
        referencing old table as before new table as changed
        for each statement execute function history_noted_twice();
    alter table attribute_instance enable row level security;
    alter table attribute_instance force row level security;
    create policy tenant_isolation on attribute_instance using (
        (select current_setting('minamo.tenant')::integer) in (tenant_id, 0));
    select history_behind_view();
    select mark_history('attribute_instance_rows');
"""
_UNDO: Final[LiteralString] = """
    drop table attribute_instance_moved;
    drop table history_move;
    drop function history_is_moving cascade;
"""
_ANALYZE: Final[LiteralString] = "analyze attribute_instance_rows"

Told = Callable[[str, int, int], None]
"""Called after each partition with its name, the number of its rows, and how many partitions are left."""


class NoTimescale(MinamoError):
    """TimescaleDB is not there, or may not be made by the hub's role."""


async def move_to_timescale(database: Database, told: Told = lambda _name, _rows, _left: None) -> bool:
    """Move history; False when it is in a hypertable already. Raises :class:`NoTimescale`.

    Processes of the hub that run have to be started anew afterwards.
    """
    if not await _begin(database):
        return False
    while left := await _next(database):
        name, rows = await _copy(database, left[0])
        told(name, rows, len(left) - 1)
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute(_LOCK)
        async with without_views(connection):
            await connection.execute(_END)
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute(_ANALYZE)
    return True


async def undo_move(database: Database) -> bool:
    """Give up a move that did not come to its end; False when there is none. History is as it was."""
    async with database.transaction(ALL_TENANTS) as connection:
        _, moving, _, _ = await _state(connection)
        if moving:
            await connection.execute(_UNDO)
        return moving


async def _begin(database: Database) -> bool:
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute(_LOCK)
        done, moving, there, available = await _state(connection)
        if done or moving:
            return not done
        if not available:
            raise NoTimescale("TimescaleDB is not installed for this PostgreSQL")
        if not there:
            try:
                await connection.execute(_CREATE_EXTENSION)
            except psycopg.Error as exc:
                raise NoTimescale(
                    "As a superuser of this database: create extension timescaledb "
                    f"(shared_preload_libraries has to have it) - {str(exc).splitlines()[0]}"
                ) from exc
        await connection.execute(_BEGIN)
    return True


async def _state(connection: AsyncConnection) -> tuple[bool, bool, bool, bool]:
    row = await (await connection.execute(_STATE)).fetchone()
    if row is None:
        raise LookupError("the store does not tell its state")
    return row[0], row[1], row[2], row[3]


async def _next(database: Database) -> list[str]:
    async with database.transaction(ALL_TENANTS) as connection:
        return [row[0] for row in await (await connection.execute(_LEFT)).fetchall()]


async def _copy(database: Database, name: str) -> tuple[str, int]:
    """Copy one partition in the order of the key, whole or not at all."""
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute(_LOCK)
        copied = await connection.execute(
            sql.SQL(
                "insert into attribute_instance_moved select * from {} order by entity_key, tenant_id, attribute_id,"
                " observed_at on conflict do nothing"
            ).format(sql.Identifier(name))
        )
        await connection.execute(_DONE, (name, copied.rowcount))
    return name, copied.rowcount

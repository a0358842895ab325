# SPDX-License-Identifier: Apache-2.0
"""What TimescaleDB does for history by itself: compressing chunks that are past their time of changes.

That is under the Timescale License, so it is an option: with the Apache-2.0 edition of TimescaleDB, history is a
hypertable and no more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, LiteralString

from psycopg import AsyncConnection

from context_store.database import ALL_TENANTS, Database

_EDITION: Final[LiteralString] = """
    select case when to_regclass('attribute_instance_rows') is null then null
                else current_setting('timescaledb.license', true) end
"""
_IS_ENABLED: Final[LiteralString] = """
    select compression_enabled from timescaledb_information.hypertables
     where hypertable_schema = current_schema() and hypertable_name = 'attribute_instance_rows'
"""
# Along the key, as history is asked for; the rest of it is named so that repeats are found in compressed chunks too.
_ENABLE: Final[LiteralString] = """
    alter table attribute_instance_rows set (
        timescaledb.enable_columnstore, timescaledb.segmentby = 'tenant_id, entity_key, attribute_id',
        timescaledb.orderby = 'observed_at, dataset_id, source_id, value_hash')
"""
_POLICY: Final[LiteralString] = """
    select (config ->> 'compress_after')::interval from timescaledb_information.jobs
     where hypertable_schema = current_schema() and hypertable_name = 'attribute_instance_rows'
       and proc_name in ('policy_compression', 'policy_columnstore')
"""
_REMOVE_POLICY: Final[LiteralString] = "call remove_columnstore_policy('attribute_instance_rows', if_exists => true)"
_ADD_POLICY: Final[LiteralString] = "call add_columnstore_policy('attribute_instance_rows', after => %s::interval)"
_LOCK: Final[LiteralString] = "select pg_advisory_xact_lock(x'706f6c69'::int)"  # "poli" in ASCII


async def apply_compression(database: Database, after: timedelta | None) -> bool:
    """Have chunks compressed whose instances are all older than ``after`` (None: no more of them).

    Returns whether the store can: history is a hypertable, and the server's edition is under the Timescale License.
    """
    async with database.transaction(ALL_TENANTS, aside=True) as connection:
        if await _value(connection, _EDITION) != "timescale":
            return False
        await connection.execute(_LOCK)
        present = await _value(connection, _POLICY)
        if present == after:
            return True
        if present is not None:
            await connection.execute(_REMOVE_POLICY)
        if after is not None:
            if not await _value(connection, _IS_ENABLED):
                await connection.execute(_ENABLE)
            await connection.execute(_ADD_POLICY, (after,))
    return True


async def _value(connection: AsyncConnection, statement: LiteralString) -> object:
    row = await (await connection.execute(statement)).fetchone()
    return row[0] if row else None

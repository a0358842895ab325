# SPDX-License-Identifier: Apache-2.0
"""How far the states of alert rules in the table are behind those in the memory of the worker that counts.

The row of the consumer ``alerts`` says up to which event all that was read is in the table, and in which transaction
was counted last. The caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

# Which of these rules still exist; they are neither changed nor deleted until the transaction ends.
_HOLD_RULES: Final[LiteralString] = """
    select tenant_id, rule_id from alert_rule
     where (tenant_id, rule_id) in (select * from unnest(%s::int[], %s::text[]))
     order by tenant_id, rule_id for key share
"""
_MARK: Final[LiteralString] = """
    select c.written_until, c.counted_in::text, v.version
      from change_consumer c cross join cache_version v where c.name = 'alerts' and v.name = 'alert_rules'
"""
_COUNTED: Final[LiteralString] = """
    update change_consumer set counted_in = pg_current_xact_id() where name = 'alerts' returning counted_in::text
"""
_WRITTEN: Final[LiteralString] = "update change_consumer set written_until = %s where name = 'alerts'"


class Mark(NamedTuple):
    """``written_until``: of events numbered up to this all that was read is in the table. ``counted_in``: the last
    transaction that counted. ``version`` of the rules.
    """

    written_until: int
    counted_in: str | None
    version: int


async def hold_rules(connection: AsyncConnection, rules: Collection[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of ``rules`` (tenant and id) that exist. Whoever wants to change one waits until the transaction ends."""
    if not rules:
        return set()
    tenants, ids = zip(*sorted(rules), strict=True)
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_HOLD_RULES, (list(tenants), list(ids)))
        return set(await cursor.fetchall())


async def mark_of(connection: AsyncConnection) -> Mark:
    """Where counting stands."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_MARK)
        row = await cursor.fetchone()
    if row is None:
        raise LookupError("there is no consumer of change events for alert rules")
    return Mark(*row)


async def mark_counted(connection: AsyncConnection) -> str:
    """This transaction counts; the new ``counted_in``."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_COUNTED)
        row = await cursor.fetchone()
    return str(row[0]) if row else ""


async def mark_written(connection: AsyncConnection, until: int) -> None:
    """All that was read of events up to this number is in the table."""
    await connection.execute(_WRITTEN, (until,))

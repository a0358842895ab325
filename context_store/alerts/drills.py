# SPDX-License-Identifier: Apache-2.0
"""Drills in PostgreSQL: what runs, how far it is, and who may be told. The caller owns the transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from context_store.rows import rows_of, tuples_of

_COLUMNS: Final[LiteralString] = """
    d.tenant_id, d.drill_id, d.drill_tenant_id, t.name as drill_tenant, d.title, d.started_by, d.started_at, d.ended_at,
    d.record_from, d.record_to, d.position, d.speed, d.series, d.recipients, d.contacts
      from drill d join tenant t on t.tenant_id = d.drill_tenant_id
"""
_ADD: Final[LiteralString] = """
    insert into drill (tenant_id, drill_id, drill_tenant_id, title, started_by, started_at, record_from, record_to,
                       position, speed, series, recipients, contacts)
    values (%(tenant_id)s, %(drill_id)s, %(drill_tenant_id)s, %(title)s, %(started_by)s, %(started_at)s,
            %(record_from)s, %(record_to)s, %(record_from)s, %(speed)s, %(series)s::jsonb, %(recipients)s,
            %(contacts)s)
"""
_LIST: Final[LiteralString] = "select " + _COLUMNS + " where d.tenant_id = %s order by d.started_at desc limit %s"
_GET: Final[LiteralString] = "select " + _COLUMNS + " where d.tenant_id = %s and d.drill_id = %s"
_HOLD: Final[LiteralString] = _GET + " for update of d"
# Drills that play a record and are not through with it.
_HOLD_RUNNING: Final[LiteralString] = (
    "select "
    + _COLUMNS
    + " where d.ended_at is null and d.position < d.record_to order by d.started_at limit 1 offset %s"
    " for update of d skip locked"
)
_MOVE: Final[LiteralString] = "update drill set position = %s where tenant_id = %s and drill_id = %s"
_END: Final[LiteralString] = """
    update drill set ended_at = %s where tenant_id = %s and drill_id = %s and ended_at is null
"""
_RECIPIENTS: Final[LiteralString] = """
    select drill_tenant_id, case when ended_at is null then recipients else '{}' end from drill
     where drill_tenant_id = any(%s)
"""
_DELIVERED: Final[LiteralString] = """
    select s.destination, d.state, count(*), min(d.created_at), max(d.finished_at)
      from delivery d join delivery_stream s using (stream_key)
     where d.tenant_id = %s and s.kind = 'alert' group by s.destination, d.state order by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill. ``record_from`` None: only values that somebody sends."""

    tenant_id: int
    drill_id: str
    drill_tenant_id: int
    drill_tenant: str
    title: str
    started_by: str
    started_at: datetime
    ended_at: datetime | None
    record_from: datetime | None
    record_to: datetime | None
    position: datetime | None
    speed: float
    series: list[dict[str, str]]
    recipients: list[str]
    contacts: list[str]

    def played_at(self, moment: datetime) -> datetime:
        """When in the drill a moment of its record is."""
        return (
            self.started_at if self.record_from is None else self.started_at + (moment - self.record_from) / self.speed
        )

    def recorded_at(self, now: datetime) -> datetime:
        """Which moment of its record is now, the end at the most."""
        if self.record_from is None or self.record_to is None:
            return now
        return min(self.record_from + (now - self.started_at) * self.speed, self.record_to)


async def add_drill(connection: AsyncConnection, drill: Mapping[str, Any]) -> None:
    """Note that a drill has begun."""
    series = orjson.dumps(drill["series"]).decode()
    await connection.execute(_ADD, {**drill, "series": series})


async def list_drills(connection: AsyncConnection, tenant_id: int, limit: int) -> list[Drill]:
    """The newest drills of a tenant."""
    return await _drills(connection, _LIST, (tenant_id, limit))


async def get_drill(
    connection: AsyncConnection, tenant_id: int, drill_id: str, *, to_change: bool = False
) -> Drill | None:
    """One drill; ``to_change``: nobody else moves it until the transaction ends."""
    found = await _drills(connection, _HOLD if to_change else _GET, (tenant_id, drill_id))
    return found[0] if found else None


async def hold_running(connection: AsyncConnection, number: int) -> Drill | None:
    """A drill that is to go on, unless another process has it."""
    found = await _drills(connection, _HOLD_RUNNING, (number,))
    return found[0] if found else None


async def move(connection: AsyncConnection, drill: Drill, position: datetime) -> None:
    """Values up to ``position`` of the record were sent."""
    await connection.execute(_MOVE, (position, drill.tenant_id, drill.drill_id))


async def end_drill(connection: AsyncConnection, tenant_id: int, drill_id: str, now: datetime) -> bool:
    """The drill is over; tells whether it was not yet."""
    return bool((await connection.execute(_END, (now, tenant_id, drill_id))).rowcount)


async def drill_recipients(connection: AsyncConnection, tenant_ids: Collection[int]) -> dict[int, list[str]]:
    """Those of ``tenant_ids`` that are drills, each with the addresses chosen for it; none when it is over."""
    return dict(await tuples_of(connection, _RECIPIENTS, (list(tenant_ids),)))


async def delivered(connection: AsyncConnection, drill_tenant_id: int) -> list[dict[str, Any]]:
    """What went out of a drill, by address and state."""
    rows = await rows_of(connection, dict, _DELIVERED, (drill_tenant_id,))
    return [{"destination": row["destination"], "state": row["state"], "count": row["count"]} for row in rows]


async def _drills(connection: AsyncConnection, statement: LiteralString, parameters: tuple[Any, ...]) -> list[Drill]:
    return await rows_of(connection, Drill, statement, parameters)

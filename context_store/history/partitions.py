# SPDX-License-Identifier: Apache-2.0
"""Range partitions by time: made before they are needed, dropped when their time is over.

History has partitions of a calendar month (UTC) where TimescaleDB is absent; a hypertable makes its own chunks.
Change events have partitions of a day in both modes, kept for the retention of the change log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import AsyncConnection, sql

from context_store.database import ALL_TENANTS, Database

_LOCK: Final = "select pg_advisory_xact_lock(hashtext(%s))"
_EXISTS: Final = "select to_regclass(%s) is not null"
_IS_PARTITIONED: Final = "select relkind = 'p' from pg_class where oid = %s::regclass"
_CHILDREN: Final = """
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = %s::regclass
"""

_CHUNKS: Final = """
    select range_start, range_end from timescaledb_information.chunks
     where hypertable_schema = current_schema() and hypertable_name = %s order by 1
"""

_NAMES: Final = {"year": "%Y", "month": "%Y_%m", "day": "%Y_%m_%d"}  # how partitions are called after their times

_DROP_CHUNKS: Final = "select drop_chunks(%s::regclass, older_than => %s::timestamptz)"


@dataclass(frozen=True, slots=True)
class PartitionScheme:
    """How ``table`` is cut: ``unit`` is ``year``, ``month`` or ``day``."""

    table: str
    unit: str

    def bounds(self, moment: datetime) -> tuple[datetime, datetime]:
        """First and past-the-end moment of the partition that holds ``moment``."""
        start = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.unit == "day":
            return start, start + timedelta(days=1)
        if self.unit == "year":
            start = start.replace(month=1, day=1)
            return start, start.replace(year=start.year + 1)
        start = start.replace(day=1)
        return start, (start + timedelta(days=32)).replace(day=1)

    def name(self, moment: datetime) -> str:
        """The name of the partition that holds ``moment``: ``attribute_instance_2026_11``."""
        start, _ = self.bounds(moment)
        return f"{self.table}_{start.strftime(_NAMES[self.unit])}"

    def start_of(self, name: str) -> datetime:
        """The first moment of the partition called ``name``."""
        return datetime.strptime(name.removeprefix(self.table + "_"), _NAMES[self.unit]).replace(tzinfo=UTC)


HISTORY: Final = PartitionScheme("attribute_instance", "month")
HYPERTABLE: Final = "attribute_instance_rows"
"""What is behind the view attribute_instance where TimescaleDB keeps history."""
CHANGES: Final = PartitionScheme("change_event", "day")


class Partitions:
    """Creates missing partitions of ``scheme``; knows which are there so that the hot path asks a set, not a server."""

    def __init__(self, database: Database, scheme: PartitionScheme) -> None:
        self._database = database
        self._scheme = scheme
        self._known: set[str] = set()
        self._current: tuple[datetime, datetime] | None = None  # bounds of the one that nearly all rows go to
        self._partitioned: bool | None = None

    async def ensure(self, moments: Iterable[datetime]) -> None:
        """Make sure that rows at ``moments`` have a partition to go to."""
        if self._partitioned is False:
            return
        moments = set(moments)
        if self._current is not None and all(self._current[0] <= moment < self._current[1] for moment in moments):
            return
        wanted = {self._scheme.name(moment): moment for moment in moments}
        missing = {name: moment for name, moment in wanted.items() if name not in self._known}
        if not missing:
            self._current = self._scheme.bounds(max(moments)) if moments else self._current
            return
        async with self._database.transaction(ALL_TENANTS, aside=True) as connection:
            if not await self._is_partitioned(connection):
                return
            await connection.execute(_LOCK, (self._scheme.table,))
            for name, moment in sorted(missing.items()):
                await self._create(connection, name, moment)
        self._known.update(missing)

    async def ensure_ahead(self, now: datetime, days: int) -> None:
        """Make the partitions from the day before ``now`` until ``days`` ahead."""
        await self.ensure(now + timedelta(days=offset) for offset in range(-1, days + 1))

    async def drop_before(self, moment: datetime) -> list[str]:
        """Drop the partitions that end before ``moment``; returns their names."""
        dropped = []
        async with self._database.transaction(ALL_TENANTS, aside=True) as connection:
            if not await self._is_partitioned(connection):
                return await _drop_chunks(connection, HYPERTABLE, moment)
            await connection.execute(_LOCK, (self._scheme.table,))
            rows = await (await connection.execute(_CHILDREN, (self._scheme.table,))).fetchall()
            for (name,) in rows:
                _, end = self._scheme.bounds(self._scheme.start_of(name))
                if end <= moment:
                    await connection.execute(sql.SQL("drop table {}").format(sql.Identifier(name)))
                    dropped.append(name)
        self._known.difference_update(dropped)
        self._current = None
        return dropped

    async def ranges(self, connection: AsyncConnection) -> list[tuple[datetime, datetime]]:
        """First and past-the-end moments of all partitions or chunks, in their order."""
        if not await self._is_partitioned(connection):
            rows = await (await connection.execute(_CHUNKS, (HYPERTABLE,))).fetchall()
            return [(start.astimezone(UTC), end.astimezone(UTC)) for start, end in rows]
        rows = await (await connection.execute(_CHILDREN, (self._scheme.table,))).fetchall()
        return sorted(self._scheme.bounds(self._scheme.start_of(name)) for (name,) in rows)

    async def _is_partitioned(self, connection: AsyncConnection) -> bool:
        if self._partitioned is None:
            row = await (await connection.execute(_IS_PARTITIONED, (self._scheme.table,))).fetchone()
            self._partitioned = bool(row and row[0])
        return self._partitioned

    async def _create(self, connection: AsyncConnection, name: str, moment: datetime) -> None:
        row = await (await connection.execute(_EXISTS, (name,))).fetchone()
        if row and row[0]:
            return
        start, end = self._scheme.bounds(moment)
        table, parent = sql.Identifier(name), sql.Identifier(self._scheme.table)
        # Made apart and attached: ATTACH needs a weaker lock on the parent than CREATE ... PARTITION OF,
        # and readers and writers go on meanwhile.
        await connection.execute(
            sql.SQL("create table {} (like {} including defaults including constraints)").format(table, parent)
        )
        await connection.execute(
            sql.SQL("alter table {} attach partition {} for values from ({}) to ({})").format(
                parent, table, sql.Literal(start.isoformat()), sql.Literal(end.isoformat())
            )
        )


async def _drop_chunks(connection: AsyncConnection, hypertable: str, moment: datetime) -> list[str]:
    """The same for a hypertable: its chunks that end before ``moment``."""
    rows = await (await connection.execute(_DROP_CHUNKS, (hypertable, moment))).fetchall()
    return [str(name) for (name,) in rows]

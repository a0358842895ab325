# SPDX-License-Identifier: Apache-2.0
"""How history is stored and how its upkeep stands: partitions or chunks, sizes, compression, rollups, policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, Literal, LiteralString

from psycopg import AsyncConnection

from context_store.database import ALL_TENANTS, Database
from context_store.history.partitions import HISTORY, Partitions
from context_store.history.rollup_tiers import TIERS, Tier
from context_store.history.rollups import read_state

_MODE: Final[LiteralString] = """
    select case when to_regclass('attribute_instance_rows') is null then 'native' else 'timescale' end,
           current_setting('timescaledb.license', true), extversion
      from (values (1)) v left join pg_extension on extname = 'timescaledb'
"""
# Bytes with indexes, and rows as the last analyze saw them, of a partitioned or plain table.
_SIZE: Final[LiteralString] = """
    select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
      from pg_class c
     where c.oid = %(table)s::regclass or c.oid in (select relid from pg_partition_tree(%(table)s::regclass))
"""
_HYPERTABLE_SIZE: Final[LiteralString] = """
    select hypertable_size('attribute_instance_rows'), approximate_row_count('attribute_instance_rows')
"""
_COMPRESSED: Final[LiteralString] = """
    select number_compressed_chunks, before_compression_total_bytes, after_compression_total_bytes
      from hypertable_columnstore_stats('attribute_instance_rows')
"""
_NOTES: Final[LiteralString] = "select count(*), min(day) from (select day from rollup_note limit 1000000) n"
_RETIRED_ON: Final[LiteralString] = "select retired_on from rollup_state"
_JOBS: Final[LiteralString] = """
    select j.proc_name, j.schedule_interval, j.config, s.last_run_status,
           nullif(s.last_successful_finish, '-infinity'), nullif(j.next_start, '-infinity')
      from timescaledb_information.jobs j left join timescaledb_information.job_stats s using (job_id)
     where j.hypertable_schema = current_schema() and j.hypertable_name = 'attribute_instance_rows' order by j.job_id
"""


@dataclass(frozen=True, slots=True)
class Compression:
    """What compressed chunks were and are; bytes with indexes."""

    chunks: int
    bytes_before: int
    bytes_after: int

    @property
    def ratio(self) -> float | None:
        """How many times smaller; None when nothing is compressed."""
        return self.bytes_before / self.bytes_after if self.bytes_after else None


@dataclass(frozen=True, slots=True)
class Job:
    """A policy that TimescaleDB carries out."""

    name: str
    every: str
    config: dict[str, Any]
    last_status: str | None
    last_success: datetime | None
    next_start: datetime | None


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The state of the store; ``rows`` are estimates."""

    mode: Literal["native", "timescale"]
    edition: str | None
    version: str | None
    parts: int
    first: datetime | None
    last: datetime | None
    bytes: int
    rows: int
    rollups: dict[str, tuple[int, int]]
    """Bytes and rows of each tier."""
    rolled_until: datetime | None
    notes: int
    oldest_note: date | None
    retired_on: date | None
    compression: Compression | None = None
    jobs: list[Job] = field(default_factory=list)

    def document(self, now: datetime) -> dict[str, Any]:
        """The status as JSON."""
        lag = (now - self.rolled_until).total_seconds() if self.rolled_until else None
        return {
            "mode": self.mode,
            "timescaledb": {"version": self.version, "edition": self.edition} if self.mode == "timescale" else None,
            "history": {
                "chunks" if self.mode == "timescale" else "partitions": self.parts,
                "from": self.first,
                "until": self.last,
                "bytes": self.bytes,
                "rows": self.rows,
            },
            "compression": None
            if self.compression is None
            else {
                "chunks": self.compression.chunks,
                "bytesBefore": self.compression.bytes_before,
                "bytesAfter": self.compression.bytes_after,
                "ratio": self.compression.ratio,
            },
            "rollups": {name: {"bytes": size, "rows": rows} for name, (size, rows) in self.rollups.items()},
            "rolling": {
                "rolledUntil": self.rolled_until,
                "lagSeconds": lag,
                "daysNoted": self.notes,
                "oldestNoted": self.oldest_note,
            },
            "retention": {"lastRun": self.retired_on},
            "jobs": [
                {
                    "name": job.name,
                    "every": job.every,
                    "config": job.config,
                    "lastStatus": job.last_status,
                    "lastSuccess": job.last_success,
                    "nextStart": job.next_start,
                }
                for job in self.jobs
            ],
        }


async def store_status(database: Database) -> StoreStatus:
    """The present state of the store."""
    async with database.transaction(ALL_TENANTS) as connection:
        mode, edition, version = await _row(connection, _MODE)
        ranges = await Partitions(database, HISTORY).ranges(connection)
        hypertable = mode == "timescale"
        size, rows = await _row(connection, _HYPERTABLE_SIZE) if hypertable else await _size(connection, HISTORY.table)
        state = await read_state(connection)
        notes, oldest_note = await _row(connection, _NOTES)
        (retired_on,) = await _row(connection, _RETIRED_ON)
        full = hypertable and edition == "timescale"
        return StoreStatus(
            mode=mode,
            edition=edition,
            version=version,
            parts=len(ranges),
            first=min((start for start, _ in ranges), default=None),
            last=max((end for _, end in ranges), default=None),
            bytes=size or 0,
            rows=rows or 0,
            rollups={tier.name: await _tier_size(connection, tier) for tier in TIERS},
            rolled_until=state.rolled_until,
            notes=notes,
            oldest_note=oldest_note,
            retired_on=retired_on,
            compression=await _compression(connection) if full else None,
            jobs=await _jobs(connection) if full else [],
        )


async def _size(connection: AsyncConnection, table: str) -> tuple[int, int]:
    size, rows = await _row(connection, _SIZE, {"table": table})
    return size, rows


async def _tier_size(connection: AsyncConnection, tier: Tier) -> tuple[int, int]:
    return await _size(connection, tier.table)


async def _compression(connection: AsyncConnection) -> Compression | None:
    row = await (await connection.execute(_COMPRESSED)).fetchone()
    return Compression(*(number or 0 for number in row)) if row else None


async def _jobs(connection: AsyncConnection) -> list[Job]:
    rows = await (await connection.execute(_JOBS)).fetchall()
    return [
        Job(name, str(every), config or {}, status, _finite(success), _finite(following))
        for name, every, config, status, success, following in rows
    ]


async def _row(
    connection: AsyncConnection, statement: LiteralString, values: Mapping[str, Any] | None = None
) -> tuple[Any, ...]:
    row = await (await connection.execute(statement, values)).fetchone()
    if row is None:
        raise LookupError("the store does not tell its state")
    return tuple(row)


def _finite(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment is not None else None

# SPDX-License-Identifier: Apache-2.0
"""Numeric history rows as PostgreSQL's binary COPY, made of whole columns: a tenth of a microsecond a row.

They go into a temporary table, from where statements take them: PostgreSQL does not COPY into tables with row-level
security. psycopg packs rows one value at a time; for millions of rows of one shape an array with that shape is written
as it lies in memory. Rows with the same unit, quality and missing values have one shape.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString

import numpy as np
from psycopg import AsyncConnection

from context_store.history.writing import value_hash

_COLUMNS: Final[LiteralString] = (
    "entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash, kind, recorded_at, "
    "number_value, unit_code, quality, superseded_at"
)
_STAGED: Final[LiteralString] = f"copy import_row ({_COLUMNS}, place) from stdin (format binary)"
_STAGE: Final[LiteralString] = """
    create temporary table import_row (
        entity_key bigint, tenant_id integer, attribute_id integer, observed_at timestamptz, dataset_id integer,
        source_id integer, value_hash bigint, kind smallint, recorded_at timestamptz, number_value double precision,
        unit_code text, quality smallint, superseded_at timestamptz, place integer) on commit drop
"""

_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TAIL: Final = struct.pack(">h", -1)
_BLOCK_BYTES: Final = 256 * 1024
_EPOCH_US: Final = 946_684_800_000_000  # 2000-01-01, from where PostgreSQL counts
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EXACT: Final = 2.0**53
_PROPERTY: Final = 1
# name -> (type in memory, bytes in COPY)
_FIXED: Final = {
    "entity": (">i8", 8),
    "tenant": (">i4", 4),
    "attribute": (">i4", 4),
    "observed": (">i8", 8),
    "dataset": (">i4", 4),
    "source": (">i4", 4),
    "hash": (">i8", 8),
    "kind": (">i2", 2),
    "recorded": (">i8", 8),
    "number": (">f8", 8),
}


@dataclass(frozen=True, slots=True)
class NumberColumns:
    """Rows as arrays of one length: numbers of entity, attribute, dataset and source; microseconds since 1970; value;
    ``shape`` is the place of the row's unit and quality in ``shapes``; ``place`` is what the caller knows it by.
    ``recorded_us`` and ``superseded_us`` (0: believed) are given for rows that were recorded elsewhere."""

    entity: Any
    attribute: Any
    dataset: Any
    source: Any
    times_us: Any
    values: Any
    shape: Any
    shapes: list[tuple[str | None, int | None]]
    place: Any
    recorded_us: Any = None
    superseded_us: Any = None

    def __len__(self) -> int:
        return len(self.values)


async def copy_into_stage(connection: AsyncConnection, tenant_id: int, rows: NumberColumns, now: datetime) -> None:
    """Write ``rows`` into the temporary table ``import_row``, made for this transaction."""
    await connection.execute(_STAGE)
    async with connection.cursor().copy(_STAGED) as copy:
        for block in _blocks(tenant_id, rows, now):
            await copy.write(block)


def hashes(values: Any) -> Any:
    """:func:`~context_store.history.writing.value_hash` of each."""
    numbers = values + 0.0
    found = numbers.astype(">f8").view(">i8").astype(np.int64)
    for place in np.flatnonzero(np.abs(numbers) > _EXACT):
        found[place] = value_hash(float(numbers[place]))
    return found


def _blocks(tenant_id: int, rows: NumberColumns, now: datetime) -> Iterator[bytes]:
    yield _HEAD
    now_us = (now - _EPOCH) // timedelta(microseconds=1)
    recorded = np.full(len(rows), now_us) if rows.recorded_us is None else rows.recorded_us - _EPOCH_US
    superseded = np.zeros(len(rows), np.int64) if rows.superseded_us is None else rows.superseded_us
    columns = {
        "entity": rows.entity,
        "tenant": tenant_id,
        "attribute": rows.attribute,
        "observed": rows.times_us - _EPOCH_US,
        "dataset": rows.dataset,
        "source": rows.source,
        "hash": hashes(rows.values),
        "kind": _PROPERTY,
        "recorded": recorded,
        "number": rows.values,
        "superseded": superseded - _EPOCH_US,
        "place": rows.place,
    }
    for number, (unit_code, quality) in enumerate(rows.shapes):
        for ended in (False, True):
            chosen = np.flatnonzero((rows.shape == number) & ((superseded != 0) == ended))
            if len(chosen):
                packed = _packed(columns, chosen, unit_code, quality, ended=ended)
                yield from (packed[at : at + _BLOCK_BYTES] for at in range(0, len(packed), _BLOCK_BYTES))
    yield _TAIL


def _packed(columns: dict[str, Any], chosen: Any, unit_code: str | None, quality: int | None, *, ended: bool) -> bytes:
    """The rows with the numbers ``chosen``, all of one shape."""
    unit = None if unit_code is None else unit_code.encode()
    sizes: dict[str, tuple[str, int]] = dict(_FIXED)
    sizes["unit"] = ("V0", -1) if unit is None else (f"V{len(unit)}", len(unit))
    sizes["quality"] = ("V0", -1) if quality is None else (">i2", 2)
    sizes["superseded"] = (">i8", 8) if ended else ("V0", -1)
    sizes["place"] = (">i4", 4)
    fields = [("count", ">i2")]
    for name, (kind, _) in sizes.items():
        fields += [(f"{name}_bytes", ">i4"), (name, kind)]
    packed = np.zeros(len(chosen), np.dtype(fields))
    packed["count"] = len(sizes)
    for name, (kind, size) in sizes.items():
        packed[f"{name}_bytes"] = size
        if name in columns and kind != "V0":
            column = columns[name]
            packed[name] = column if isinstance(column, int) else column[chosen]
    if unit:
        packed["unit"] = np.void(unit)
    if quality is not None:
        packed["quality"] = quality
    return packed.tobytes()

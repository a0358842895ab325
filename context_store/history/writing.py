# SPDX-License-Identifier: Apache-2.0
"""Writing history: attribute instances as narrow, typed rows.

Rows are gathered column by column and inserted with one statement. A row whose idempotency key (entity, attribute,
dataset, observedAt, source, value) is already there is left out: the same reading twice is one row. What becomes of
earlier values for the same moment, :mod:`context_store.history.corrections` decides.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.entities import VALUE_MEMBER, AttributeKind, Attributes, Instance
from broker.quality.flags import Flag, judgement_of
from context_store.arrays import (
    PackedArray,
    bigints,
    booleans,
    cursor_for_arrays,
    doubles,
    integers,
    small_integers,
    texts,
    timestamps,
)

# Numbers of the attribute kinds in the table; never reuse one.
KIND_NUMBER: Final[dict[str, int]] = {
    AttributeKind.PROPERTY: 1,
    AttributeKind.RELATIONSHIP: 2,
    AttributeKind.GEO_PROPERTY: 3,
    AttributeKind.LANGUAGE_PROPERTY: 4,
    AttributeKind.VOCAB_PROPERTY: 5,
    AttributeKind.JSON_PROPERTY: 6,
    AttributeKind.LIST_PROPERTY: 7,
    AttributeKind.LIST_RELATIONSHIP: 8,
}
KIND_NAME: Final[dict[int, str]] = {number: kind for kind, number in KIND_NUMBER.items()}

# Numbers of what is said of a value's quality (column quality; null: nothing is said); never reuse one.
QUALITY_NUMBER: Final[dict[str, int]] = {"good": 1, "suspect": 2, "missing": 3, "estimated": 4, "maintenance": 5}
QUALITY_NAME: Final[dict[int, str]] = {number: name for name, number in QUALITY_NUMBER.items()}

# Integers up to here are exact as double precision; larger ones are kept as JSON beside the number.
_EXACT_INTEGER: Final = 2**53
_LARGEST_HASH: Final = 2**63 - 1
_PROPERTY_NUMBER: Final = KIND_NUMBER[AttributeKind.PROPERTY]
_NOTHING_ELSE: Final = (None, None, None)  # no text, boolean or JSON: it is a number
_PLAIN_MEMBERS: Final = frozenset({"type", "observedAt", "unitCode", "createdAt", "modifiedAt", *VALUE_MEMBER.values()})

INSERT_NEW: Final[LiteralString] = """
    insert into attribute_instance (
        entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash, kind, has_observed_at,
        removed, recorded_at, number_value, text_value, boolean_value, json_value, geometry_value, unit_code, detail,
        quality, superseded_at)
    select r.entity_key, r.tenant_id, r.attribute_id, r.observed_at, r.dataset_id, r.source_id, r.value_hash, r.kind,
           r.has_observed_at, r.removed, coalesce(r.recorded_at, %(now)s), r.number_value, r.text_value,
           r.boolean_value, r.json_value::jsonb,
           case when r.kind = 3 and r.json_value is not null
                then st_setsrid(st_force2d(st_geomfromgeojson(r.json_value)), 4326) end,
           r.unit_code, r.detail::jsonb, r.quality, r.superseded_at
      from unnest(
        %(entity_key)b::bigint[], %(tenant_id)b::int[], %(attribute_id)b::int[], %(observed_at)b::timestamptz[],
        %(dataset_id)b::int[], %(source_id)b::int[], %(value_hash)b::bigint[], %(kind)b::smallint[],
        %(has_observed_at)b::boolean[], %(removed)b::boolean[], %(number_value)b::float8[], %(text_value)b::text[],
        %(boolean_value)b::boolean[], %(json_value)b::text[], %(unit_code)b::text[], %(detail)b::text[],
        %(quality)b::smallint[], %(recorded_at)b::timestamptz[], %(superseded_at)b::timestamptz[]
      ) as r (entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash, kind,
              has_observed_at, removed, number_value, text_value, boolean_value, json_value, unit_code, detail,
              quality, recorded_at, superseded_at)
"""
"""Insert rows given as one array a column (binary; :meth:`InstanceRows.columns` and ``now``)."""

INSERT_NEW_NUMBERS: Final[LiteralString] = """
    insert into attribute_instance (
        entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash, kind, recorded_at,
        number_value, unit_code, detail, quality)
    select r.entity_key, r.tenant_id, r.attribute_id, r.observed_at, r.dataset_id, r.source_id, r.value_hash, 1,
           coalesce(r.recorded_at, %(now)s), r.number_value, r.unit_code, r.detail::jsonb, r.quality
      from unnest(
        %(entity_key)b::bigint[], %(tenant_id)b::int[], %(attribute_id)b::int[], %(observed_at)b::timestamptz[],
        %(dataset_id)b::int[], %(source_id)b::int[], %(value_hash)b::bigint[], %(number_value)b::float8[],
        %(unit_code)b::text[], %(detail)b::text[], %(quality)b::smallint[], %(recorded_at)b::timestamptz[]
      ) as r (entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash, number_value,
              unit_code, detail, quality, recorded_at)
"""
"""The same where all are numbers with observedAt (:attr:`InstanceRows.are_numbers`): the other columns are left out."""

# Numbers without members but unitCode, the bulk of what sensors send.
_INSERT_NUMBERS: Final[LiteralString] = """
    insert into attribute_instance (
        entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash, kind, recorded_at,
        number_value, unit_code, quality)
    select r.entity_key, r.tenant_id, r.attribute_id, r.observed_at, r.dataset_id, r.source_id, r.value_hash, 1,
           %(recorded_at)s, r.number_value, r.unit_code, r.quality
      from unnest(
        %(entity_key)b::bigint[], %(tenant_id)b::int[], %(attribute_id)b::int[], %(observed_at)b::timestamptz[],
        %(dataset_id)b::int[], %(source_id)b::int[], %(value_hash)b::bigint[], %(number_value)b::float8[],
        %(unit_code)b::text[], %(quality)b::smallint[]
      ) as r (entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash, number_value,
              unit_code, quality)
"""
_OR_REPEATS: Final[LiteralString] = " on conflict do nothing"

# entity_key, tenant_id, attribute_id, time axis, dataset_id, source_id: what a row is of, when, and by whom.
Place = tuple[int, int, int, datetime, int, int]
# The same with value_hash: the primary key.
RowKey = tuple[int, int, int, datetime, int, int, int]

_pack_double = struct.Struct(">d").pack
_unpack_long = struct.Struct(">q").unpack


def value_hash(value: Any) -> int:
    """A number that is the same for equal JSON values: 64 bits, signed. ``3`` and ``3.0`` are equal."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _EXACT_INTEGER:
        return int(_unpack_long(_pack_double(value + 0.0))[0])
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


MISSING_HASH: Final = value_hash(None)
"""The value_hash of rows that say that there is no value."""


def free_key(key: RowKey, taken: Collection[RowKey]) -> RowKey:
    """``key``, or the next that is not ``taken``: a value that was believed before, and is again, has another one."""
    while key in taken:
        key = (*key[:6], key[6] + 1 if key[6] < _LARGEST_HASH else 0)
    return key


def quality_numbers(words: Iterable[str] | None) -> list[int] | None:
    """The numbers of these words for quality; None: any."""
    return None if words is None else [QUALITY_NUMBER[word] for word in words]


def quality_of(instance: Instance) -> str | None:
    """What ``instance`` says of its quality, where that is one of the words for it."""
    said = judgement_of(instance) if "attrs" in instance else None
    return said.flag if said is not None and said.flag in QUALITY_NUMBER else None


class _Rows:
    """Rows gathered for one insertion; each begins with its :data:`RowKey`."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self._keys: dict[tuple[Any, ...], list[RowKey]] = {}
        self._keyed = 0  # how many rows have their keys in _keys: it is brought up to date when somebody asks

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, place: Place) -> list[RowKey]:
        """The keys of the rows of ``place``."""
        for row in self.rows[self._keyed :]:
            self._keys.setdefault(row[:6], []).append(row[:7])
        self._keyed = len(self.rows)
        return self._keys.get(place, [])

    @property
    def are_distinct(self) -> bool:
        """Whether no two rows have the same key."""
        return len({row[:7] for row in self.rows}) == len(self.rows)


_ENTITY: Final = itemgetter(0)  # its rows stay in their order, which is that of the numbers they get


class NumberRows(_Rows):
    """History rows of plain numeric Properties with observedAt and no members but unitCode: the hot path."""

    def add(self, place: Place, value: float, unit_code: str | None, quality: int | None = None) -> None:
        """Add a row; ``quality`` is one of :data:`QUALITY_NUMBER`."""
        number = value + 0.0
        exact = -_EXACT_INTEGER <= number <= _EXACT_INTEGER
        hashed = _unpack_long(_pack_double(number))[0] if exact else value_hash(number)
        self.rows.append((*place, hashed, number, unit_code, quality))

    async def insert(self, connection: AsyncConnection, recorded_at: datetime, *, repeats: bool = True) -> int:
        """Insert the rows within the caller's transaction, entity by entity; returns how many were new.

        Without ``repeats`` all have to be new, else UniqueViolation is raised: not asking is a fifth faster. What is
        together in the index is inserted together: of ten rows of each of 1,000 entities, that spares PostgreSQL a
        quarter, and who reads an entity's rows finds them on fewer pages.
        """
        if not self.rows:
            return 0
        columns_of_rows = zip(*sorted(self.rows, key=_ENTITY), strict=True)
        keys, tenants, attributes, times, datasets, sources, hashes, numbers, units, qualities = columns_of_rows
        columns = {
            "entity_key": bigints(keys),
            "tenant_id": integers(tenants),
            "attribute_id": integers(attributes),
            "observed_at": timestamps(times),
            "dataset_id": integers(datasets),
            "source_id": integers(sources),
            "value_hash": bigints(hashes),
            "number_value": doubles(numbers),
            "unit_code": texts(units),
            "quality": small_integers(qualities),
        }
        cursor = cursor_for_arrays(connection)
        statement = _INSERT_NUMBERS + _OR_REPEATS if repeats else _INSERT_NUMBERS
        await cursor.execute(statement, {**columns, "recorded_at": recorded_at})
        return cursor.rowcount


class InstanceRows(_Rows):
    """History rows of attribute instances of any kind."""

    _COLUMNS: Final[dict[str, Callable[[Sequence[Any]], PackedArray]]] = {
        "entity_key": bigints,
        "tenant_id": integers,
        "attribute_id": integers,
        "observed_at": timestamps,
        "dataset_id": integers,
        "source_id": integers,
        "value_hash": bigints,
        "kind": small_integers,
        "has_observed_at": booleans,
        "removed": booleans,
        "number_value": doubles,
        "text_value": texts,
        "boolean_value": booleans,
        "json_value": texts,
        "unit_code": texts,
        "detail": texts,
        "quality": small_integers,
        "recorded_at": timestamps,
        "superseded_at": timestamps,
    }
    _NOT_OF_NUMBERS: Final = frozenset(
        ("kind", "has_observed_at", "removed", "text_value", "boolean_value", "json_value", "superseded_at")
    )

    def __init__(self) -> None:
        super().__init__()
        self.look: set[tuple[Any, ...]] = set()
        """Moments (places without the source) of which history may have something already."""
        self.are_numbers = True
        """Whether all are numbers of Properties with observedAt, which nothing has superseded."""

    def add(
        self,
        place: Place,
        instance: Instance,
        *,
        look: bool = False,
        quality: str | None = None,
        taken: Collection[RowKey] = (),
        recorded_at: datetime | None = None,
        superseded_at: datetime | None = None,
    ) -> None:
        """Add ``instance``; ``look`` when it may be a correction, ``recorded_at`` if not when inserted.

        ``quality`` by default is what the instance says of itself (:mod:`broker.quality`). Its key is none of
        those ``taken``.
        """
        if look:
            self.look.add(place[:5])
        kind = instance["type"]
        value = instance.get(VALUE_MEMBER[kind])
        detail = {name: member for name, member in instance.items() if name not in _PLAIN_MEMBERS}
        quality = quality or quality_of(instance)
        key = (*place, value_hash(value))
        is_observed = "observedAt" in instance
        typed = _typed(kind, value)
        if not is_observed or superseded_at is not None or typed[1:] != _NOTHING_ELSE or kind != AttributeKind.PROPERTY:
            self.are_numbers = False
        self.rows.append(
            (
                *(free_key(key, taken) if taken else key),
                KIND_NUMBER[kind],
                is_observed,
                False,
                *typed,
                instance.get("unitCode"),
                orjson.dumps(detail).decode() if detail else None,
                QUALITY_NUMBER[quality] if quality else None,
                recorded_at,
                superseded_at,
            )
        )

    def replace(self, moment: tuple[Any, ...], hashed: int, instance: Instance) -> bool:
        """Let ``instance`` take the place of the row of this moment (a place without the source) and value; False when
        there is none."""
        for number, row in enumerate(self.rows):
            if row[:5] == moment and row[6] == hashed:
                self.add(row[:6], instance)
                self.rows[number] = (*row[:7], *self.rows.pop()[7:])
                return True
        return False

    def add_removed(
        self,
        place: Place,
        kind: str,
        *,
        observed: bool = False,
        quality: str | None = None,
        recorded_at: datetime | None = None,
        superseded_at: datetime | None = None,
    ) -> None:
        """Add a tombstone: from its time on, the attribute instance was no more.

        ``observed``: somebody said when it ended, which may correct what was said of that moment before. With the
        ``quality`` missing it is a moment without a value (:meth:`add_missing`).
        """
        if observed:
            self.look.add(place[:5])
        hashed = MISSING_HASH if quality == Flag.MISSING else 0
        self._add_nothing(place, hashed, kind, None, quality, (observed, recorded_at, superseded_at))

    def add_missing(self, place: Place, attributes: Attributes) -> None:
        """Add a moment of which a device said that it has no value; ``attributes`` say why."""
        detail = orjson.dumps({"attrs": attributes}).decode()
        self._add_nothing(place, MISSING_HASH, AttributeKind.PROPERTY, detail, Flag.MISSING, (True, None, None))

    def _add_nothing(
        self,
        place: Place,
        hashed: int,
        kind: str,
        detail: str | None,
        quality: str | None,
        times: tuple[bool, datetime | None, datetime | None],
    ) -> None:
        self.are_numbers = False
        observed, *known = times
        number = QUALITY_NUMBER[quality] if quality else None
        values = (None,) * 5  # and no unit
        self.rows.append((*place, hashed, KIND_NUMBER[kind], observed, True, *values, detail, number, *known))

    def columns(self) -> dict[str, PackedArray]:
        """The rows, of which there is at least one, column by column; of numbers, those of INSERT_NEW_NUMBERS."""
        gathered = zip(self._COLUMNS.items(), zip(*self.rows, strict=True), strict=True)
        without = self._NOT_OF_NUMBERS if self.are_numbers else ()
        return {name: packed(column) for (name, packed), column in gathered if name not in without}

    async def insert(self, connection: AsyncConnection, recorded_at: datetime, *, repeats: bool = True) -> int:
        """As :meth:`NumberRows.insert`."""
        if not self.rows:
            return 0
        cursor = cursor_for_arrays(connection)
        new = INSERT_NEW_NUMBERS if self.are_numbers else INSERT_NEW
        statement = new + _OR_REPEATS if repeats else new
        await cursor.execute(statement, {**self.columns(), "now": recorded_at})
        return cursor.rowcount


def _typed(kind: str, value: Any) -> tuple[float | None, str | None, bool | None, str | None]:
    """``value`` as (number, text, boolean, JSON text): the first that can hold it without loss."""
    if kind == AttributeKind.GEO_PROPERTY or isinstance(value, dict | list) or value is None:
        return None, None, None, orjson.dumps(value).decode()
    if isinstance(value, bool):
        return None, None, value, None
    if isinstance(value, str):
        return None, value, None, None
    exact = abs(value) <= _EXACT_INTEGER or isinstance(value, float)
    return float(value), None, None, None if exact else orjson.dumps(value).decode()


def typed_value(kind: str, number: float | None, text: str | None, boolean: bool | None, json_value: Any) -> Any:
    """The JSON value of a row: the inverse of how it was written."""
    if json_value is not None:
        return json_value
    if number is not None:
        return (
            int(number)
            if kind == AttributeKind.PROPERTY and number.is_integer() and abs(number) <= _EXACT_INTEGER
            else number
        )
    return text if text is not None else boolean

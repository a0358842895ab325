# SPDX-License-Identifier: Apache-2.0
"""Columns of values as PostgreSQL arrays in binary form, packed with one call each.

psycopg asks for every element anew how to write it; for the columns of a batch, whose type is known, that was a
quarter of what ingest spends on the database. The type of the array comes from the statement: ``%b::bigint[]``.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import AsyncConnection, AsyncCursor, pq
from psycopg.adapt import Dumper

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)  # where PostgreSQL counts microseconds from
_DAY_US: Final = 86_400_000_000
_NULL: Final = struct.pack(">i", -1)
_IS_LITTLE: Final = sys.byteorder == "little"
_WORDS: Final = {1: "b", 2: "h", 4: "i", 8: "i"}  # by the size of an element: what divides it and its length, 4 bytes

_length = struct.Struct(">i").pack
_header = struct.Struct(">iiIii").pack  # dimensions, whether there are nulls, element type, length, lower bound


class PackedArray(bytes):
    """An array as PostgreSQL reads it in binary form."""


class _PackedDumper(Dumper):
    """Hands the bytes on; without a type of its own, so that the statement's cast decides."""

    format = pq.Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return bytes(obj)


def cursor_for_arrays(connection: AsyncConnection) -> AsyncCursor[Any]:
    """A cursor that takes :class:`PackedArray` as parameters."""
    cursor = connection.cursor()
    cursor.adapters.register_dumper(PackedArray, _PackedDumper)
    return cursor


def bigints(values: Sequence[int]) -> PackedArray:
    """``bigint[]``."""
    return _fixed(20, "q", values)


def integers(values: Sequence[int]) -> PackedArray:
    """``integer[]``."""
    return _fixed(23, "i", values)


def small_integers(values: Sequence[int | None]) -> PackedArray:
    """``smallint[]``."""
    return _nullable(21, "h", values)


def booleans(values: Sequence[bool | None]) -> PackedArray:
    """``boolean[]``."""
    return _nullable(16, "b", values)


def doubles(values: Sequence[float | None]) -> PackedArray:
    """``double precision[]``."""
    return _nullable(701, "d", values)


def timestamps(values: Iterable[datetime | None]) -> PackedArray:
    """``timestamptz[]`` of aware times."""
    spans = [None if value is None else value - _EPOCH for value in values]
    return _nullable(
        1184,
        "q",
        [
            None if span is None else span.days * _DAY_US + span.seconds * 1_000_000 + span.microseconds
            for span in spans
        ],
    )


def texts(values: Sequence[str | None]) -> PackedArray:
    """``text[]``, made for few different texts that repeat."""
    packed = {value: _text(value) for value in set(values)}
    body = b"".join([packed[value] for value in values])
    return PackedArray(_header(1, int(None in packed), 25, len(values), 1) + body)


def documents(values: Sequence[bytes]) -> PackedArray:
    """``text[]`` of texts in UTF-8, each its own."""
    return PackedArray(_header(1, 0, 25, len(values), 1) + b"".join([_length(len(value)) + value for value in values]))


def _fixed(element_type: int, code: str, values: Sequence[float]) -> PackedArray:
    """An array of numbers: before each stands its length. Written a word of all elements at a time."""
    elements = array(code, values)
    if _IS_LITTLE:
        elements.byteswap()
    size, count = elements.itemsize, len(values)
    word = _WORDS[size]
    words, lengths = array(word, elements.tobytes()), array(word, _length(size))
    head, each = len(lengths), size // words.itemsize
    body = array(word, bytes(count * (4 + size)))
    for place in range(head):
        body[place :: head + each] = lengths[place : place + 1] * count
    for place in range(each):
        body[head + place :: head + each] = words[place::each]
    return PackedArray(_header(1, 0, element_type, count, 1) + body.tobytes())


def _nullable(element_type: int, code: str, values: Sequence[float | None]) -> PackedArray:
    present = [value for value in values if value is not None]
    if len(present) == len(values):
        return _fixed(element_type, code, present)
    pack = struct.Struct(f">i{code}").pack
    size = struct.calcsize(code)
    body = b"".join([_NULL if value is None else pack(size, value) for value in values])
    return PackedArray(_header(1, 1, element_type, len(values), 1) + body)


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    encoded = value.encode()
    return _length(len(encoded)) + encoded

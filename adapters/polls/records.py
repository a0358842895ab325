# SPDX-License-Identifier: Apache-2.0
"""A document of many stations, taken apart: which station each record is of, and its fields by their paths. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from adapters.formats.documents import check_count
from adapters.polls import csv_records, json_records, xml_records
from broker.intake.polls import HEADER, PollFormat
from broker.intake.readings import UndecodablePayload
from broker.times import to_text

Record = dict[str, Any]
Reader = Callable[[bytes, PollFormat], tuple[list[Record], Callable[[str], Any]]]
"""Reads a body: its records, and what looks a path up in the document."""

_READERS: Final[Mapping[str, Reader]] = {
    "json": json_records.read,
    "csv": csv_records.read,
    "xml": xml_records.read,
}


def read_records(body: bytes, format: PollFormat, headers: Mapping[str, str]) -> list[tuple[str, Record]]:
    """Station and record of each record in ``body``, in their order; the station is ``""`` where the format names none.

    ``headers`` are those of the answer, by names in lower case. Raises :class:`UndecodablePayload`.
    """
    records, look = _READERS[format.name](body, format)
    check_count(len(records), "records")
    shared = dict(_shared(format, headers, look))
    return [(_station(record, format, number), {**record, **shared}) for number, record in enumerate(records, 1)]


def _shared(format: PollFormat, headers: Mapping[str, str], look: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    for name, place in format.document_fields.items():
        if place.startswith(HEADER):
            found: Any = _header(headers.get(place.removeprefix(HEADER).strip().lower()))
        else:
            found = look(place)
        if found is None:
            raise UndecodablePayload(f"there is nothing at {place}, where {name} should stand")
        yield name, found


def _header(value: str | None) -> str | None:
    """``value``; a date of HTTP as ISO 8601."""
    if value is None:
        return None
    try:
        return to_text(parsedate_to_datetime(value))
    except ValueError:
        return value


def _station(record: Record, format: PollFormat, number: int) -> str:
    if format.station is None:
        return ""
    station = record.get(format.station)
    if station is None or station == "":
        raise UndecodablePayload(f"record {number} has no {format.station}, which should name its station")
    return str(station)

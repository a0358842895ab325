# SPDX-License-Identifier: Apache-2.0
"""Registrations of devices as CSV, for spreadsheets: a line each, one column for each member.

Texts that a spreadsheet would take for a formula are written with an apostrophe before them, which is taken off again.
Read: UTF-8, with a byte order mark or without, and what is not UTF-8 as CP932 (Shift_JIS), as spreadsheets in Japan
write it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, Final, NamedTuple

import orjson

from broker.errors import BadRequestData

Document = dict[str, Any]

_TEXTS: Final = ("id", "key", "name", "model", "entityId", "owner", "serialNumber", "devEui", "installedAt", "notes")
_NUMBERS: Final = ("reference", "startLevel", "expectedInterval")
_JSON: Final = ("attributes", "format", "profile")
COLUMNS: Final = (
    *("id", "name", "model", "entityId", "entityType", "longitude", "latitude", "reference", "startLevel"),
    *("expectedInterval", "owner", "serialNumber", "devEui", "installedAt", "notes", "key", "address"),
    *_JSON,
)
BYTE_ORDER_MARK: Final = "\ufeff"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Line(NamedTuple):
    """A line of a file: the registration in it, or what is wrong. ``number`` counts from 1, the header included."""

    number: int
    document: Document | None
    fault: str | None = None


def read_lines(body: bytes) -> list[Line]:
    """The lines of a file. Raises :class:`BadRequestData` for what is no such file."""
    rows = csv.reader(io.StringIO(_decoded(body), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        _check_header(header)
        return [_line(rows.line_num, header, row) for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as exc:
        raise BadRequestData(f"Line {rows.line_num} is not CSV: {exc}") from exc


def _decoded(body: bytes) -> str:
    if b"\0" in body:
        raise BadRequestData("The file has a NUL character (U+0000), which cannot be stored")
    for encoding in ("utf-8-sig", "cp932"):
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadRequestData("The file is neither UTF-8 nor CP932 (Shift_JIS)")


def _check_header(header: list[str]) -> None:
    if unknown := [name for name in header if name not in COLUMNS]:
        raise BadRequestData(f"The column {unknown[0]!r} is not known; the columns are {', '.join(COLUMNS)}")
    if "id" not in header:
        raise BadRequestData("The file has no column id")
    if len(set(header)) != len(header):
        raise BadRequestData("A column is named twice")


def _line(number: int, header: list[str], row: list[str]) -> Line:
    if len(row) != len(header):
        return Line(number, None, f"the line has {len(row)} cells, the header {len(header)}")
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True) if cell.strip()}
    try:
        return Line(number, _document(cells))
    except ValueError as exc:
        return Line(number, None, str(exc))


def _document(cells: Mapping[str, str]) -> Document:
    document: Document = {name: _plain(cells[name]) for name in _TEXTS if name in cells}
    document |= {name: _parsed(name, cells[name], _number_in, "a number") for name in _NUMBERS if name in cells}
    document |= {name: _parsed(name, cells[name], orjson.loads, "JSON") for name in _JSON if name in cells}
    if "entityType" in cells:
        document["entityType"] = cells["entityType"].split()
    place = [_parsed(name, cells[name], _number_in, "a number") for name in ("longitude", "latitude") if name in cells]
    if len(place) == 1:
        raise ValueError("longitude and latitude belong together")
    if place:
        document["location"] = place
    if "address" in cells:
        document["format"] = _with_address(document.get("format"), _plain(cells["address"]))
    return document


def _parsed(name: str, cell: str, parse: Callable[[str], Any], what: str) -> Any:
    try:
        return parse(cell)
    except ValueError:
        raise ValueError(f"{name} is {cell!r}; it has to be {what}") from None


def _number_in(cell: str) -> float:
    number = float(cell)
    if not isfinite(number):
        raise ValueError
    return number


def _with_address(given: Any, address: str) -> Document:
    members = {"name": given} if isinstance(given, str) else given
    return {**(members if isinstance(members, dict) else {}), "address": address}


def _plain(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _FORMULA else cell


def write_lines(documents: Iterable[Document]) -> Iterator[str]:
    """The file of ``documents`` in the form of the API, a line at a time; CRLF, as RFC 4180 has it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for document in documents:
        writer.writerow(_cells(document))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cells(document: Document) -> list[str]:
    longitude, latitude = document.get("location") or ("", "")
    given_format = dict(document.get("format") or {})
    cells = {
        **{name: _safe(document.get(name) or "") for name in _TEXTS},
        **{name: _number(document.get(name)) for name in _NUMBERS},
        "entityType": " ".join(document.get("entityType") or ()),
        "longitude": longitude,
        "latitude": latitude,
        "address": _safe(given_format.pop("address", "")),
        "attributes": _json(document.get("attributes")),
        "format": _json(given_format),
        "profile": _json(document.get("profile")),
    }
    return [cells[name] for name in COLUMNS]


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.15g}"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode() if value else ""

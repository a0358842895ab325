# SPDX-License-Identifier: Apache-2.0
"""Records of a CSV document: one a line, by the names in its first line or those of the format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapters.formats.documents import csv_lines, plain_value
from broker.intake.polls import PollFormat
from broker.intake.readings import UndecodablePayload


def read(body: bytes, format: PollFormat) -> tuple[list[dict[str, Any]], Callable[[str], Any]]:
    """The records in ``body``; a blank cell is None. What stands before the lines is found as ``line.cell``, from 1.

    Raises :class:`UndecodablePayload`.
    """
    lines = csv_lines(body, format.encoding, format.separator, what="document")
    before, lines = lines[: format.skip_lines], lines[format.skip_lines :]
    names = format.columns
    if not names:
        if not lines:
            raise UndecodablePayload("there is no line with the names of the columns")
        names, lines = tuple(lines[0]), lines[1:]
    records = [
        _record(cells, names, number)
        for number, cells in enumerate(lines, format.skip_lines + 1 + (not format.columns))
        if any(cells) and tuple(cells) != names
    ]
    return records, lambda place: _look(before, place)


def _record(cells: list[str], names: tuple[str, ...], number: int) -> dict[str, Any]:
    if len(cells) != len(names):
        raise UndecodablePayload(f"line {number} has {len(cells)} cells; there are {len(names)} columns")
    return {name: plain_value(cell) for name, cell in zip(names, cells, strict=True) if name}


def _look(before: list[list[str]], place: str) -> str | None:
    line, _, cell = place.partition(".")
    if not (line.isdecimal() and cell.isdecimal() and len(place) < 12):
        return None
    found = before[int(line) - 1 : int(line)] if int(line) else []
    return (found[0][int(cell) - 1] or None) if found and 0 < int(cell) <= len(found[0]) else None

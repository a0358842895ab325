# SPDX-License-Identifier: Apache-2.0
"""A history file cut into parts that a hub takes in one request each: whole rows, and the lines they begin with."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Final, TextIO

from adapters.files.history_parquet import parquet_columns, parquet_lines

PART_ROWS: Final = 60_000
_PART_BYTES: Final = 6_000_000  # less than the hub's limit of a request
_CHARACTER_BYTES: Final = 4  # at most, in UTF-8
_PARQUET: Final = b"PAR1"


@dataclass(frozen=True, slots=True)
class FilePart:
    """Rows of a file as CSV: the header, the rows, the line that each begins with."""

    header: str
    rows: list[str]
    lines: list[int]
    done: float = 0.0
    """The share of the file that is read with this part; 0 when its size is not known."""


def ahead(parts: Iterator[FilePart]) -> Iterator[FilePart]:
    """The same parts; the next one is read while the caller works on one."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, parts, None)
        while (part := following.result()) is not None:
            following = pool.submit(next, parts, None)
            yield part


def file_parts(file: BinaryIO, encoding: str, from_line: int) -> Iterator[FilePart]:
    """The parts of a CSV file in ``encoding``, or of a Parquet file, from line ``from_line`` on (the header is 1)."""
    size = _size(file)
    begin = file.read(len(_PARQUET)) if file.seekable() else b""
    if begin:
        file.seek(0)
    if begin == _PARQUET:
        yield from _parquet_parts(file, from_line)
    else:
        yield from _csv_parts(file, encoding, from_line, size)


def _size(file: BinaryIO) -> int:
    if not file.seekable():
        return 0
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _csv_parts(file: BinaryIO, encoding: str, from_line: int, size: int) -> Iterator[FilePart]:
    text = io.TextIOWrapper(file, encoding=encoding, newline="")
    try:
        yield from _text_parts(text, from_line, lambda: min(1.0, file.tell() / size) if size else 0.0)
    finally:
        text.detach()  # the file is the caller's


def _text_parts(text: TextIO, from_line: int, done: Callable[[], float]) -> Iterator[FilePart]:
    header = text.readline().rstrip("\r\n")
    rows: list[str] = []
    lines: list[int] = []
    size_so_far = 0
    for line, row in _records(text):
        if line < from_line:
            continue
        rows.append(row)
        lines.append(line)
        size_so_far += len(row) if row.isascii() else len(row) * _CHARACTER_BYTES
        if len(rows) == PART_ROWS or size_so_far >= _PART_BYTES:
            yield FilePart(header, rows, lines, done())
            rows, lines, size_so_far = [], [], 0
    if rows:
        yield FilePart(header, rows, lines, 1.0)


def _records(text: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Rows with the line they begin with; a row goes on where a quoted text has a line break. Empty lines are none."""
    begun, row = 0, ""
    for line, content in enumerate(text, start=2):
        if not row:
            if not content.strip("\r\n"):
                continue
            begun = line
        row += content
        if '"' in row and row.count('"') % 2:
            continue
        yield begun, row if row.endswith("\n") else row + "\n"
        row = ""
    if row:
        yield begun, row + "\n"


def _parquet_parts(file: BinaryIO, from_line: int) -> Iterator[FilePart]:
    """The rows of a Parquet file; they are counted as the lines of the same file as CSV would be."""
    header = ",".join(parquet_columns(file))
    line = 2
    for lines, count in parquet_lines(file):
        rows = [row for _, row in _records(io.StringIO(lines.decode(), newline=""))]
        if line + count > from_line:
            skipped = max(0, from_line - line)
            yield FilePart(header, rows[skipped:], list(range(line + skipped, line + count)))
        line += count

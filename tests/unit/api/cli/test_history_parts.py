# SPDX-License-Identifier: Apache-2.0
"""A history file cut into requests (api/cli/history_parts.py)."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.cli import history_parts
from api.cli.history_parts import FilePart, ahead, file_parts


def parts(content: str, encoding: str = "utf-8-sig", from_line: int = 2) -> list[FilePart]:
    return list(ahead(file_parts(io.BytesIO(content.encode(encoding)), encoding, from_line)))


def test_rows_know_the_line_they_begin_with() -> None:
    (part,) = parts('a,b\n1,2\n\n3,"x\n\ny"\n4,5')
    assert part.header == "a,b"
    assert part.rows == ["1,2\n", '3,"x\n\ny"\n', "4,5\n"]
    assert part.lines == [2, 4, 7]


def test_a_file_is_cut_between_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_parts, "PART_ROWS", 2)
    assert [part.rows for part in parts("a\n1\n2\n3\n")] == [["1\n", "2\n"], ["3\n"]]
    assert parts("a\n1\n2\n3\n")[-1].done == 1.0


def test_a_part_is_no_larger_than_a_request_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_parts, "_PART_BYTES", 12)
    assert [len(part.rows) for part in parts("a\n水\n水\n水\n")] == [2, 1]


def test_going_on_begins_with_the_line_that_is_named() -> None:
    (part,) = parts("a\n1\n2\n3\n", from_line=3)
    assert part.rows == ["2\n", "3\n"] and part.lines == [3, 4]


def test_files_of_old_excel_are_read_in_their_encoding() -> None:
    (part,) = parts("a\r\n水位\r\n", encoding="cp932")
    assert part.rows == ["水位\r\n"]


def test_parquet_is_the_same_rows(tmp_path: Path) -> None:
    times = pa.array([1_567_296_000_000_000, 1_567_296_000_250_000], pa.timestamp("us", "UTC"))
    table = pa.table({"value": ["1.5", 'a "b"\n次'], "observedAt": times, "numberValue": [1.5, None]})
    pq.write_table(table, tmp_path / "t.parquet")
    with (tmp_path / "t.parquet").open("rb") as file:
        (part,) = file_parts(file, "utf-8", 2)
    assert part.header == "observedAt,value"
    assert part.rows[0] == '"2019-09-01T00:00:00.000000Z","1.5"\n'
    assert part.lines == [2, 3]

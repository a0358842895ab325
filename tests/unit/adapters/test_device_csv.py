# SPDX-License-Identifier: Apache-2.0
"""Registrations as CSV: what spreadsheets write is read, and what is written can be read again."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.files.device_csv import BYTE_ORDER_MARK, read_lines, write_lines
from broker.errors import BadRequestData

DEVICE: dict[str, Any] = {
    "id": "tomoe-01",
    "name": "巴川 第一",
    "model": "ultrasonic-distance-json",
    "entityId": "urn:ngsi-ld:WaterObserved:tomoe-01",
    "entityType": ["https://x.test/WaterObserved"],
    "location": [138.472, 35.008],
    "reference": 4.2,
    "expectedInterval": 600.0,
    "owner": "=HYPERLINK(1)",
    "notes": 'two\nlines, "quoted"',
    "format": {"name": "ultralight", "address": "key/tomoe"},
    "profile": {"expectedInterval": {"normal": 600.0, "active": 60.0, "startLevel": 2.0}},
}


def written(*documents: dict[str, Any]) -> str:
    return "".join(write_lines(documents))


def read(text: str, encoding: str = "utf-8") -> list[Any]:
    return read_lines(text.encode(encoding))


def test_what_is_written_can_be_read_again() -> None:
    (line,) = read(BYTE_ORDER_MARK + written(DEVICE))
    assert (line.document, line.fault) == (DEVICE, None)


def test_text_that_a_spreadsheet_would_run_is_written_as_a_text() -> None:
    assert "'=HYPERLINK(1)" in written(DEVICE)


def test_file_of_a_japanese_spreadsheet_is_read() -> None:
    (line,) = read("id,name,entityId\r\ng1,巴川,urn:x:1\r\n", "cp932")
    assert line.document == {"id": "g1", "name": "巴川", "entityId": "urn:x:1"}


def test_empty_cells_and_lines_say_nothing() -> None:
    lines = read("id,owner\r\n,\r\ng1,\r\n")
    assert [(line.number, line.document) for line in lines] == [(3, {"id": "g1"})]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("g1,x,138,35,", "reference is 'x'; it has to be a number"),
        ("g1,nan,138,35,", "reference is 'nan'; it has to be a number"),
        ("g1,1,138,,", "longitude and latitude belong together"),
        ("g1,1,138,35,{", "format is '{'; it has to be JSON"),
        ("g1,1", "the line has 2 cells, the header 5"),
    ],
)
def test_fault_is_that_of_its_line(row: str, says: str) -> None:
    first, second = read(f"id,reference,longitude,latitude,format\n{row}\ng2,1,138,35,\n")
    assert (first.document, first.fault) == (None, says)
    assert second.document is not None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"id,colour\n", "The column 'colour' is not known; the columns are id, name"),
        (b"name\n", "The file has no column id"),
        (b"id,id\n", "A column is named twice"),
        (b"", "The file has no column id"),
        (b"id\n\x81\n", "The file is neither UTF-8 nor CP932"),
        (b"id\na\0b\n", "The file has a NUL character"),
        (b'id\n"a', "Line 2 is not CSV: unexpected end of data"),
    ],
)
def test_what_is_no_such_file_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        read_lines(text)
    assert caught.value.detail.startswith(says)

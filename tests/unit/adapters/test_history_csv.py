# SPDX-License-Identifier: Apache-2.0
"""Reading parts of history files (adapters/files/history_csv.py)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.files.history_csv import HistoryReader
from broker.contexts.jsonld import core_terms
from broker.errors import BadRequestData
from broker.history.imports import Part
from broker.history.rows import COLUMNS

LATEST = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = ["entityId", "attribute", "observedAt", "value", "valueType"]
AT = "2019-09-01T00:00:00Z"
AT_US = 1_567_296_000_000_000


def read(*rows: str, head: list[str] = HEAD, **options: Any) -> Part:
    reader = HistoryReader(head, core_terms().expand_term, LATEST, **options)
    (part,) = reader.parts("\n".join(rows), 1000)
    return part


def reasons(part: Part) -> list[tuple[int, str]]:
    return sorted((fault.row, fault.reason) for fault in part.rejected)


def test_rows_of_plain_numbers_are_columns() -> None:
    part = read(f"urn:a:1,level,{AT},1.5,number", "urn:a:1,level,2019-09-01T00:00:00.25Z,-2,")
    assert list(part.numbers.values) == [1.5, -2.0]
    assert list(part.numbers.times_us) == [AT_US, AT_US + 250_000]
    assert list(part.numbers.series) == [0, 0] and len(part.series) == 1 and part.others == ()


def test_unusual_times_are_read_one_by_one_and_are_numbers_too() -> None:
    part = read("urn:a:1,level,2019-09-01T09:00:00+09:00,1.5,")
    assert list(part.numbers.times_us) == [AT_US]


@pytest.mark.parametrize("value", ["nan", "inf", "1_000", "0x1", "１２"])
def test_what_python_takes_for_a_number_and_nobody_else_is_none(value: str) -> None:
    part = read(f"urn:a:1,level,{AT},{value},number")
    if value == "１２":  # digits of full width are digits
        assert list(part.numbers.values) == [12.0]
    else:
        assert reasons(part) == [(0, "value")]


@pytest.mark.parametrize(
    "at", ["2019-09-01", "2019-09-01T00:00:00", "2019-02-30T00:00:00Z", "2027-01-01T00:00:00Z", "x"]
)
def test_a_time_that_is_none_or_in_the_future_is_refused(at: str) -> None:
    assert reasons(read(f"urn:a:1,level,{at},1,")) == [(0, "observedAt")]


def test_one_bad_row_leaves_the_others_as_they_are() -> None:
    part = read(f"urn:a:1,level,{AT},1,", "urn:a:1,level,then,2,", "urn:a:1,level", f"urn:a:1,level,{AT},3,")
    assert reasons(part) == [(1, "observedAt"), (2, "columns")]
    assert list(part.numbers.values) == [1.0, 3.0] and list(part.numbers.rows) == [0, 3]


def test_texts_with_line_breaks_and_quotes_are_one_row() -> None:
    part = read(f'urn:a:1,note,{AT},"a ""b""\n次",text')
    assert part.count == 1
    assert part.others[0].instance == {"type": "Property", "value": 'a "b"\n次', "observedAt": AT}


def test_what_was_not_observed_is_of_the_time_it_was_recorded() -> None:
    part = read(f"urn:a:1,name,,川,text,{AT}", head=[*HEAD, "recordedAt"])
    assert (part.others[0].observed, part.others[0].at) == (False, datetime(2019, 9, 1, tzinfo=UTC))


def test_a_removal_has_no_instance() -> None:
    assert read(f"urn:a:1,level,{AT},,removed").others[0].instance is None


def test_what_another_hub_believed_no_longer_is_taken_only_as_a_copy() -> None:
    row, head = f"urn:a:1,level,{AT},1,,{AT},{AT}", [*HEAD, "recordedAt", "supersededAt"]
    assert reasons(read(row, head=head)) == [(0, "superseded")]
    believed = read(row, head=head, as_recorded=True).numbers.believed
    assert believed is not None and believed[0].superseded_at == datetime(2019, 9, 1, tzinfo=UTC)


def test_a_geometry_is_checked() -> None:
    head = [*HEAD, "kind"]
    assert reasons(read(f"urn:a:1,place,{AT},{{}},json,GeoProperty", head=head)) == [(0, "value")]


def test_all_columns_of_an_export_are_known_and_those_of_rejects_ignored() -> None:
    HistoryReader([*COLUMNS, "line", "reason", "numberValue"], core_terms().expand_term, LATEST)


@pytest.mark.parametrize("head", [["entityId"], [*HEAD, "unit"], [*HEAD, "value"]])
def test_other_columns_are_an_error(head: list[str]) -> None:
    with pytest.raises(BadRequestData, match="columns"):
        HistoryReader(head, core_terms().expand_term, LATEST)

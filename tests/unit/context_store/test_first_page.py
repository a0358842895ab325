# SPDX-License-Identifier: Apache-2.0
"""Rows that are on later pages are left out before anything is made of them; the page is the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.history.temporal import HistoricInstance, TemporalQuery, cut_to_page
from context_store.history.instances import on_first_page

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def _row(number: int, parts: tuple[int, int]) -> tuple[Any, ...]:
    attribute, minute = parts
    at = NOON + timedelta(minutes=minute)
    return (1, attribute, 0, 1, at, True, False, NOON, None, number)


def _found(rows: Any) -> list[tuple[int, HistoricInstance]]:
    return [(row[0], HistoricInstance(str(row[1]), "@none", {}, row[9], row[7], row[4])) for row in rows]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9)), max_size=30), st.integers(1, 12))
def test_the_page_and_its_cut_are_those_of_all_rows(given_rows: list[tuple[int, int]], most: int) -> None:
    rows = [_row(number, parts) for number, parts in enumerate(sorted(given_rows))]
    left = on_first_page(rows, most, by_observed=True)
    assert cut_to_page(_found(left), TemporalQuery(), most) == cut_to_page(_found(rows), TemporalQuery(), most)
    assert {row[1] for row in left} == {row[1] for row in rows}

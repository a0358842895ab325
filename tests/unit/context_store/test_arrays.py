# SPDX-License-Identifier: Apache-2.0
"""Packed arrays are what psycopg reads back as the same values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from psycopg import pq
from psycopg.adapt import Transformer

from context_store.arrays import PackedArray, bigints, doubles, integers, texts, timestamps

BIGINT, INTEGER, DOUBLE, TIMESTAMPTZ, TEXT = 1016, 1007, 1022, 1185, 1009


def read(array_type: int, packed: PackedArray) -> Any:
    return Transformer().get_loader(array_type, pq.Format.BINARY).load(packed)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_bigints(values: list[int]) -> None:
    assert read(BIGINT, bigints(values)) == values


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
def test_integers(values: list[int]) -> None:
    assert read(INTEGER, integers(values)) == values


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_doubles(values: list[float]) -> None:
    assert read(DOUBLE, doubles(values)) == values


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=1))
def test_timestamps(values: list[datetime]) -> None:
    assert read(TIMESTAMPTZ, timestamps(values)) == values


@given(st.lists(st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1))
def test_texts_with_nulls(values: list[str | None]) -> None:
    assert read(TEXT, texts(values)) == values

# SPDX-License-Identifier: Apache-2.0
"""The hub's own payload format."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.formats.minamo_json import decode
from broker.intake.readings import Measurement, UndecodablePayload

AT = datetime(2026, 11, 21, 7, 40, tzinfo=UTC)


def test_one_reading_with_several_quantities() -> None:
    payload = b'{"time": "2026-11-21T16:40:00+09:00", "level": 1.23, "battery": 3.61}'
    assert decode(payload) == [Measurement(AT, {"level": 1.23, "battery": 3.61})]


def test_array_keeps_its_order() -> None:
    payload = b'[{"time": "2026-11-21T07:40:00Z", "level": 2}, {"time": "2026-11-21T07:40:00Z", "level": 1}]'
    assert [m.values["level"] for m in decode(payload)] == [2, 1]


def test_null_means_no_value() -> None:
    assert decode(b'{"time": "2026-11-21T07:40:00Z", "level": null}') == [Measurement(AT, {"level": None})]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"\xff\xfe", "the payload is not JSON"),
        (b"1.23", "neither a JSON object nor an array"),
        (b"[]", "the array of readings is empty"),
        (b"[1]", "reading 1: a reading has to be an object, not int"),
        (b'{"level": 1}', '"time" is missing or not a text'),
        (b'{"time": 1700000000, "level": 1}', '"time" is missing or not a text'),
        (b'{"time": "2026-11-21T07:40:00", "level": 1}', "is not an ISO 8601 date and time with an offset"),
        (b'[{"time": "2026-11-21T07:40:00Z"}, {"time": "24:00"}]', 'reading 2: "time": '),
        (b'{"time": "2026-11-21T07:40:00Z", "level": NaN}', "the payload is not JSON"),
    ],
)
def test_what_is_wrong_is_said(payload: bytes, says: str) -> None:
    with pytest.raises(UndecodablePayload) as caught:
        decode(payload)
    assert says in str(caught.value)

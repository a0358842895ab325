# SPDX-License-Identifier: Apache-2.0
"""The hub's own payload format: one reading or an array of readings as JSON.

::

    {"time": "2026-11-21T16:40:00+09:00", "level": 1.23, "battery": 3.61}
    [{"time": "2026-11-21T16:40:00+09:00", "level": 1.23}, {"time": "2026-11-21T16:45:00+09:00", "level": 1.27}]

``time`` is when it was measured, ISO 8601 with its offset (``Z`` or ``+09:00``). Every other member is a quantity: a
number, a text, a boolean, or null for "no value". Which quantity feeds which attribute is the device's mapping.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from functools import lru_cache
from typing import Any, Final

import orjson

from broker.intake.readings import Measurement, UndecodablePayload, read_each
from broker.times import parse_time

MAX_READINGS: Final = 10_000  # in one message; far above what fits a sensible payload limit

_parse_time = lru_cache(maxsize=1024)(parse_time)  # devices of one kind measure at the same full minutes


def decode(payload: bytes) -> list[Measurement]:
    """The measurements of ``payload`` in their order; raises :class:`UndecodablePayload` with what is wrong."""
    try:
        document = orjson.loads(payload.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as exc:
        raise UndecodablePayload(f"the payload is not JSON: {exc}") from exc
    if isinstance(document, dict):
        return [_measurement(document)]
    if not isinstance(document, list):
        raise UndecodablePayload("the payload is neither a JSON object nor an array of objects")
    if not document:
        raise UndecodablePayload("the array of readings is empty")
    if len(document) > MAX_READINGS:
        raise UndecodablePayload(f"the array has {len(document)} readings; at most {MAX_READINGS} are taken at once")
    return read_each(enumerate(document, 1), _measurement, "reading")


def _measurement(reading: Any) -> Measurement:
    if not isinstance(reading, dict):
        raise UndecodablePayload(f"a reading has to be an object, not {type(reading).__name__}")
    time = reading.pop("time", None)
    if not isinstance(time, str):
        raise UndecodablePayload('"time" is missing or not a text')
    try:
        return Measurement(_parse_time(time), reading)
    except ValueError as exc:
        raise UndecodablePayload(f'"time": {exc}') from exc

# SPDX-License-Identifier: Apache-2.0
"""JSON as FIWARE's IoT Agent takes it: an object of measures, or an array of such objects.

``TimeInstant`` (ISO 8601) in an object is its time; without it the time of arrival holds. At ``.../attrs/<name>`` the
payload is the one value, as JSON or as bare text.
"""

from __future__ import annotations

from typing import Any

import orjson

from adapters.formats.device_times import read_time
from adapters.formats.documents import as_object, check_count, flatten, load, plain_value
from adapters.formats.ultralight import TIME_INSTANT
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement, UndecodablePayload, read_each


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """One measurement for each object; raises :class:`UndecodablePayload`."""
    if frame.attribute is not None:
        return [Measurement(frame.received_at, flatten(_single(frame.payload), frame.attribute))]
    document = load(frame.payload, profile.encoding)
    groups = document if isinstance(document, list) else [document]
    if not groups:
        raise UndecodablePayload("the array of measures is empty")
    check_count(len(groups), "measures", said="the array has")
    return read_each(enumerate(groups, 1), lambda group: _measurement(group, frame, profile), "group")


def _measurement(given: Any, frame: Frame, profile: FormatProfile) -> Measurement:
    group = as_object(given, "a group of measures")
    time = group.pop(TIME_INSTANT, None)
    observed_at = frame.received_at if time is None else read_time(time, profile.time_zone)
    return Measurement(observed_at, flatten(group))


def _single(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    try:
        return plain_value(payload.decode())
    except UnicodeDecodeError as exc:
        raise UndecodablePayload(f"the payload is neither JSON nor text: {exc}") from exc

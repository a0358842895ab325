# SPDX-License-Identifier: Apache-2.0
"""JSON of any shape: one record, an array of them, or an array somewhere inside; the profile says where things stand.

A quantity's name is its path ("properties.os_status", "Pumps.0.PumpState"). Without ``timeField`` the time of
arrival holds. ``select`` picks the records of this device out of a document about many.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.formats.device_times import read_time
from adapters.formats.documents import as_object, check_count, flatten, load, member
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement, UndecodablePayload, read_each

_TOLD: Final = 5  # values of a field that an error lists


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """The measurements of the device's records; raises :class:`UndecodablePayload`."""
    document = load(frame.payload, profile.encoding)
    records = _records(document, profile)
    if not records:
        raise UndecodablePayload("there is no record")
    selected = [record for record in records if all(_is(member(record, p), v) for p, v in profile.select.items())]
    if not selected:
        raise UndecodablePayload(_not_among(records, profile.select))
    return read_each(enumerate(selected, 1), lambda record: _measurement(record, frame, profile), "record")


def _records(document: Any, profile: FormatProfile) -> list[dict[str, Any]]:
    if profile.records is not None:
        document = member(document, profile.records)
        if not isinstance(document, list):
            raise UndecodablePayload(f"there is no array at {profile.records}")
    records = document if isinstance(document, list) else [document]
    check_count(len(records), "records")
    return [as_object(record, f"record {number}") for number, record in enumerate(records, 1)]


def _is(value: Any, wanted: Any) -> bool:
    """Whether a record's ``value`` is the one that is wanted; ``7`` and ``"7"`` are the same name."""
    return value == wanted or (value is not None and str(value) == str(wanted))


def _not_among(records: list[dict[str, Any]], select: Mapping[str, Any]) -> str:
    """That no record is of this device, and what there is in its place."""
    there = [f"{p} is {', '.join(sorted({repr(member(r, p)) for r in records})[:_TOLD])}" for p in select]
    return f"no record has {dict(select)}; in the document {'; '.join(there)}"


def _measurement(record: dict[str, Any], frame: Frame, profile: FormatProfile) -> Measurement:
    values = flatten(record)
    if profile.time_field is None:
        return Measurement(frame.received_at, values)
    if profile.time_field not in values:
        raise UndecodablePayload(f"{profile.time_field}, where the time should stand, is missing")
    return Measurement(read_time(values.pop(profile.time_field), profile.time_zone), values)

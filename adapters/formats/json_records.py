# SPDX-License-Identifier: Apache-2.0
"""JSON of any shape: one record, an array of them, or an array somewhere inside; the profile says where things stand.

A quantity's name is its path ("properties.os_status", "Pumps.0.PumpState"). Without ``timeField`` the time of
arrival holds. ``select`` picks the records of this device out of a document about many.
"""

from __future__ import annotations

from typing import Any

from adapters.formats.device_times import read_time
from adapters.formats.documents import as_object, check_count, flatten, load, member
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement, UndecodablePayload


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """The measurements of the device's records; raises :class:`UndecodablePayload`."""
    document = load(frame.payload, profile.encoding)
    found = [_measurement(record, frame, profile) for record in _records(document, profile)]
    if not found:
        raise UndecodablePayload(f"no record has {dict(profile.select)}" if profile.select else "there is no record")
    return found


def _records(document: Any, profile: FormatProfile) -> list[dict[str, Any]]:
    if profile.records is not None:
        document = member(document, profile.records)
        if not isinstance(document, list):
            raise UndecodablePayload(f"there is no array at {profile.records}")
    records = document if isinstance(document, list) else [document]
    check_count(len(records), "records")
    wanted = [as_object(record, "a record") for record in records]
    return [record for record in wanted if all(member(record, path) == v for path, v in profile.select.items())]


def _measurement(record: dict[str, Any], frame: Frame, profile: FormatProfile) -> Measurement:
    values = flatten(record)
    if profile.time_field is None:
        return Measurement(frame.received_at, values)
    if profile.time_field not in values:
        raise UndecodablePayload(f"{profile.time_field}, where the time should stand, is missing")
    return Measurement(read_time(values.pop(profile.time_field), profile.time_zone), values)

# SPDX-License-Identifier: Apache-2.0
"""CSV: one reading a line, with the columns the profile names.

A line that repeats the names of the columns, and blank lines, are passed over; a blank cell is no value. The column
called ``time`` (or as ``timeField`` says) is the time; without one the time of arrival holds.
"""

from __future__ import annotations

from adapters.formats.device_times import read_time
from adapters.formats.documents import MAX_RECORDS, csv_lines, plain_value
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement, UndecodablePayload


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """The measurements of the lines in their order; raises :class:`UndecodablePayload`."""
    found = []
    for number, cells in enumerate(csv_lines(frame.payload, profile.encoding, profile.separator), 1):
        if any(cells) and tuple(cells) != profile.columns:
            found.append(_measurement(cells, number, frame, profile))
        if len(found) > MAX_RECORDS:
            raise UndecodablePayload(f"there are more than {MAX_RECORDS} lines")
    if not found:
        raise UndecodablePayload("there is no line with values")
    return found


def _measurement(cells: list[str], number: int, frame: Frame, profile: FormatProfile) -> Measurement:
    if len(cells) != len(profile.columns):
        raise UndecodablePayload(f"line {number} has {len(cells)} cells; the profile names {len(profile.columns)}")
    values = {name: cell for name, cell in zip(profile.columns, cells, strict=True) if cell}
    time = values.pop(profile.time_field or "time", None)
    if time is not None:
        observed_at = read_time(time, profile.time_zone)
    elif (profile.time_field or "time") in profile.columns:
        raise UndecodablePayload(f"line {number} has no time")
    else:
        observed_at = frame.received_at
    return Measurement(observed_at, {name: plain_value(cell) for name, cell in values.items()})

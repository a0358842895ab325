# SPDX-License-Identifier: Apache-2.0
"""CSV: one reading a line, with the columns the profile names.

A line that repeats the names of the columns, and blank lines, are passed over; a blank cell is no value. The column
called ``time`` (or as ``timeField`` says) is the time; without one the time of arrival holds.
"""

from __future__ import annotations

from adapters.formats.device_times import read_time
from adapters.formats.documents import check_count, csv_lines, plain_value
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement, UndecodablePayload, read_each


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """The measurements of the lines in their order; raises :class:`UndecodablePayload`."""
    lines = enumerate(csv_lines(frame.payload, profile.encoding, profile.separator), 1)
    wanted = [(number, cells) for number, cells in lines if any(cells) and tuple(cells) != profile.columns]
    check_count(len(wanted), "lines")
    if not wanted:
        raise UndecodablePayload("there is no line with values")
    return read_each(wanted, lambda cells: _measurement(cells, frame, profile), "line")


def _measurement(cells: list[str], frame: Frame, profile: FormatProfile) -> Measurement:
    if len(cells) != len(profile.columns):
        raise UndecodablePayload(f"there are {len(cells)} cells; the profile names {len(profile.columns)}")
    values = {name: cell for name, cell in zip(profile.columns, cells, strict=True) if cell}
    time = values.pop(profile.time_field or "time", None)
    if time is not None:
        observed_at = read_time(time, profile.time_zone)
    elif (profile.time_field or "time") in profile.columns:
        raise UndecodablePayload("the time is missing")
    else:
        observed_at = frame.received_at
    return Measurement(observed_at, {name: plain_value(cell) for name, cell in values.items()})

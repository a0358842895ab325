# SPDX-License-Identifier: Apache-2.0
"""All formats devices may send in: one row each, and the one way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from adapters.formats import (
    chirpstack,
    csv_lines,
    iot_agent_json,
    json_records,
    loriot,
    minamo_json,
    senml,
    thingpark,
    things_stack,
    ultralight,
)
from adapters.formats.codecs import CODECS, by_expressions
from adapters.formats.expression import ExpressionError, Uplink, compiled
from broker.devices.state import state_of
from broker.errors import BadRequestData
from broker.intake.formats import MINAMO_JSON, FormatProfile, Frame
from broker.intake.readings import FormatDecoder, Measurement, UndecodablePayload


def _minamo_json(frame: Frame, _profile: FormatProfile) -> list[Measurement]:
    return minamo_json.decode(frame.payload)


def _bare_bytes(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """The bytes of the sensor themselves, without the envelope of a network server."""
    uplink = Uplink(frame.payload)
    decoded = by_expressions(profile.fields, uplink) if profile.codec is None else CODECS[profile.codec](uplink)
    return [Measurement(time or frame.received_at, values, state_of(values)) for time, values in decoded]


FORMATS: Final[Mapping[str, FormatDecoder]] = {
    MINAMO_JSON: _minamo_json,
    "json": json_records.decode,
    "senml": senml.decode,
    "ultralight": ultralight.decode,
    "iot-agent-json": iot_agent_json.decode,
    "csv": csv_lines.decode,
    "bytes": _bare_bytes,
    "things-stack": things_stack.decode,
    "chirpstack": chirpstack.decode,
    "loriot": loriot.decode,
    "thingpark": thingpark.decode,
}
_WITH_CODEC: Final = ("bytes", "things-stack", "chirpstack", "loriot", "thingpark")


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """The measurements in ``frame``; the profile's ``zeros`` are filled in. Raises :class:`UndecodablePayload`."""
    try:
        found = FORMATS[profile.name](frame, profile)
    except UndecodablePayload as exc:
        _fill_in(exc.readable, profile.zeros)
        raise
    _fill_in(found, profile.zeros)
    return found


def _fill_in(found: Sequence[Measurement], zeros: tuple[str, ...]) -> None:
    for name in zeros:
        for measurement in found:
            measurement.values.setdefault(name, 0)


def check_profile(profile: FormatProfile, path: str = "device.format") -> None:
    """Raise :class:`BadRequestData` when the profile names what there is not, or lacks what its format needs."""
    if profile.name not in FORMATS:
        raise BadRequestData(f"{path}.name is {profile.name!r}; the formats are {', '.join(FORMATS)}")
    if profile.codec is not None and profile.codec not in CODECS:
        raise BadRequestData(f"{path}.codec is {profile.codec!r}; the codecs are {', '.join(CODECS)}")
    if (profile.codec or profile.fields) and profile.name not in _WITH_CODEC:
        raise BadRequestData(f"{path}: codec and fields are for the formats {', '.join(_WITH_CODEC)}")
    if profile.name == "bytes" and not profile.codec and not profile.fields:
        raise BadRequestData(f"{path}: the format bytes needs a codec or fields")
    if profile.name == "csv" and (not profile.columns or len(profile.separator) != 1):
        raise BadRequestData(f"{path}: the format csv needs columns, and a separator of one character")
    _check_expressions(profile.fields, path)


def _check_expressions(fields: Mapping[str, str], path: str) -> None:
    for name, text in fields.items():
        try:
            compiled(text)
        except ExpressionError as exc:
            raise BadRequestData(f"{path}.fields.{name}: {exc}") from exc

# SPDX-License-Identifier: Apache-2.0
"""Cayenne Low Power Payload: channel, type, value; quantities are called ``<type>_<channel>`` ("temperature_3")."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from broker.intake.readings import UndecodablePayload


class _Type(NamedTuple):
    """A data type: parts of ``size`` bytes each, counted in steps of ``step``."""

    name: str
    size: int
    step: float
    signed: bool = False
    parts: tuple[str, ...] = ("",)


_XYZ: Final = (".x", ".y", ".z")
# The types of the Cayenne documentation (IPSO numbers less 3200), and the common ones after them.
TYPES: Final[dict[int, _Type]] = {
    0: _Type("digital_in", 1, 1),
    1: _Type("digital_out", 1, 1),
    2: _Type("analog_in", 2, 0.01, True),
    3: _Type("analog_out", 2, 0.01, True),
    100: _Type("generic", 4, 1),
    101: _Type("luminosity", 2, 1),
    102: _Type("presence", 1, 1),
    103: _Type("temperature", 2, 0.1, True),
    104: _Type("relative_humidity", 1, 0.5),
    113: _Type("accelerometer", 2, 0.001, True, _XYZ),
    115: _Type("barometric_pressure", 2, 0.1),
    116: _Type("voltage", 2, 0.01),
    117: _Type("current", 2, 0.001),
    118: _Type("frequency", 4, 1),
    120: _Type("percentage", 1, 1),
    121: _Type("altitude", 2, 1, True),
    125: _Type("concentration", 2, 1),
    128: _Type("power", 2, 1),
    130: _Type("distance", 4, 0.001),
    131: _Type("energy", 4, 0.001),
    132: _Type("direction", 2, 1),
    133: _Type("unix_time", 4, 1),
    134: _Type("gyrometer", 2, 0.01, True, _XYZ),
    136: _Type("gps", 3, 0.0001, True, (".latitude", ".longitude", ".altitude")),
    142: _Type("switch", 1, 1),
}


def decode(payload: bytes) -> dict[str, Any]:
    """The quantities in ``payload``; raises :class:`UndecodablePayload`."""
    found: dict[str, Any] = {}
    at = 0
    while at < len(payload):
        at = _take(payload, at, found)
    return found


def _take(payload: bytes, at: int, found: dict[str, Any]) -> int:
    kind = TYPES.get(payload[at + 1]) if at + 1 < len(payload) else None
    if kind is None:
        raise UndecodablePayload(f"there is no Cayenne LPP type at byte {at + 1}")
    end = at + 2 + kind.size * len(kind.parts)
    if end > len(payload):
        raise UndecodablePayload(f"the {kind.name} at byte {at} is cut off; the payload has {len(payload)} bytes")
    for number, part in enumerate(kind.parts):
        start = at + 2 + number * kind.size
        count = int.from_bytes(payload[start : start + kind.size], "big", signed=kind.signed)
        step = 0.01 if part == ".altitude" else kind.step
        found[f"{kind.name}_{payload[at]}{part}"] = count if step == 1 else round(count * step, 6)
    return end

# SPDX-License-Identifier: Apache-2.0
"""Sensors of Decentlab (protocol version 2): a word of flags tells which parts follow, as 16-bit words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from broker.intake.readings import UndecodablePayload

_VERSION: Final = 2
_HEADER: Final = 5  # bytes: version, device id, flags

Words = Sequence[int]


class _Part(NamedTuple):
    """So many words, and the quantities in them."""

    length: int
    quantities: dict[str, Callable[[Words], float]]


_BATTERY: Final = _Part(1, {"battery_voltage": lambda x: x[0] / 1000})  # V
_PRESSURE_RANGE_BAR: Final = 1.0  # of the DL-PR26 with 0 to 1 bar; another range by the mapping's factor

MODELS: Final[dict[str, tuple[_Part, ...]]] = {
    "DL-MBX": (  # distance by ultrasound, mm
        _Part(2, {"distance": lambda x: x[0], "number_of_valid_samples": lambda x: x[1]}),
        _BATTERY,
    ),
    "DL-PR26": (  # pressure in bar (against the air), temperature in degrees Celsius
        _Part(
            2,
            {
                "pressure": lambda x: (x[0] - 16384) / 32768 * _PRESSURE_RANGE_BAR,
                "temperature": lambda x: (x[1] - 384) * 0.003125 - 50,
            },
        ),
        _BATTERY,
    ),
    "DL-CTD10": (  # water depth in mm, temperature, conductivity in microsiemens per cm
        _Part(
            4,
            {
                "water_depth": lambda x: x[0] - 32768,
                "temperature": lambda x: (x[1] - 32768) / 10,
                "electrical_conductivity": lambda x: x[2],
                "freezing_flag": lambda x: x[3],
            },
        ),
        _BATTERY,
    ),
    "DL-TBRG": (  # rain of the interval (s) and since the start, mm, by a bucket of 0.1 mm
        _Part(
            4,
            {
                "precipitation": lambda x: round(x[0] * 0.1, 1),
                "precipitation_interval": lambda x: x[1],
                "cumulative_precipitation": lambda x: round((x[2] + x[3] * 65536) * 0.1, 1),
            },
        ),
        _BATTERY,
    ),
}


def decode(model: str, payload: bytes) -> dict[str, Any]:
    """The quantities of a sensor of ``model``; raises :class:`UndecodablePayload`."""
    if len(payload) < _HEADER or payload[0] != _VERSION:
        raise UndecodablePayload(f"this is not version {_VERSION} of Decentlab's protocol: {payload[:5].hex()}")
    flags = int.from_bytes(payload[3:5], "big")
    found: dict[str, Any] = {"protocol_version": payload[0], "decentlab_id": int.from_bytes(payload[1:3], "big")}
    at = _HEADER
    for number, part in enumerate(MODELS[model]):
        if not flags >> number & 1:
            continue
        end = at + part.length * 2
        if end > len(payload):
            raise UndecodablePayload(f"the payload ends at byte {len(payload)}; its flags promise {end}")
        words = [int.from_bytes(payload[place : place + 2], "big") for place in range(at, end, 2)]
        found.update((name, convert(words)) for name, convert in part.quantities.items())
        at = end
    return found

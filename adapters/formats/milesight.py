# SPDX-License-Identifier: Apache-2.0
"""Sensors of Milesight: a channel, a type, a value, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from broker.intake.readings import UndecodablePayload

# (channel, type) -> length in bytes, and what the value says
_Entry = tuple[int, Callable[[bytes], dict[str, Any]]]


def _unsigned(value: bytes) -> int:
    return int.from_bytes(value, "little")


def _signed(value: bytes) -> int:
    return int.from_bytes(value, "little", signed=True)


def _leak(value: int) -> str:
    return "leak" if value else "normal"


_COMMON: Final[dict[tuple[int, int], _Entry]] = {
    (0x01, 0x75): (1, lambda b: {"battery": b[0]}),  # percent
    (0xFF, 0x01): (1, lambda b: {"protocol_version": f"V{b[0] >> 4}.{b[0] & 15}"}),
    (0xFF, 0x09): (2, lambda b: {"hardware_version": f"V{b[0]}.{b[1] >> 4}"}),
    (0xFF, 0x0A): (2, lambda b: {"firmware_version": f"V{b[0]}.{b[1]}"}),
    (0xFF, 0x0B): (1, lambda _: {"power": "on"}),
    (0xFF, 0x0F): (1, lambda b: {"lorawan_class": "ABC"[b[0]] if b[0] < 3 else str(b[0])}),
    (0xFF, 0x16): (8, lambda b: {"serial_number": b.hex()}),
    (0xFF, 0xFE): (1, lambda _: {"reset": True}),
    (0xFF, 0xFF): (2, lambda b: {"tsl_version": f"V{b[0]}.{b[1]}"}),
}
_TEMPERATURE: Final[dict[tuple[int, int], _Entry]] = {
    (0x03, 0x67): (2, lambda b: {"temperature": _signed(b) / 10}),
}
_LEVEL: Final[dict[tuple[int, int], _Entry]] = {
    (0x03, 0x77): (2, lambda b: {"water_level": _signed(b)}),  # cm
}
_DISTANCE: Final[dict[tuple[int, int], _Entry]] = {
    (0x03, 0x82): (2, lambda b: {"distance": _unsigned(b)}),  # mm
}

MODELS: Final[dict[str, dict[tuple[int, int], _Entry]]] = {
    "EM500-UDL": {**_COMMON, **_DISTANCE},
    "EM500-SWL": {**_COMMON, **_LEVEL},
    "EM500-PP": {**_COMMON, (0x03, 0x7B): (2, lambda b: {"pressure": _unsigned(b)})},  # kPa
    "EM400-UDL": {
        **_COMMON,
        **_TEMPERATURE,
        (0x04, 0x82): (2, lambda b: {"distance": _unsigned(b)}),
        (0x05, 0x00): (1, lambda b: {"position": "tilt" if b[0] else "normal"}),
        (0x83, 0x67): (3, lambda b: {"temperature": _signed(b[:2]) / 10, "temperature_abnormal": bool(b[2])}),
        (0x84, 0x82): (3, lambda b: {"distance": _unsigned(b[:2]), "distance_alarming": bool(b[2])}),
    },
    "EM300-SLD": {
        **_COMMON,
        **_TEMPERATURE,
        (0x04, 0x68): (1, lambda b: {"humidity": b[0] / 2}),
        (0x05, 0x00): (1, lambda b: {"leakage_status": _leak(b[0])}),
    },
}
MODELS["EM300-ZLD"] = MODELS["EM300-SLD"]

# Readings kept in the device: (channel, type) -> seconds since 1970 (4 bytes), then the rest.
_KEPT: Final[dict[str, dict[tuple[int, int], _Entry]]] = {
    "EM300-SLD": {
        (0x20, 0xCE): (
            8,
            lambda b: {
                "temperature": _signed(b[4:6]) / 10,
                "humidity": b[6] / 2,
                "leakage_status": _leak(b[7]),
            },
        ),
    },
}
_KEPT["EM300-ZLD"] = _KEPT["EM300-SLD"]


def decode(model: str, payload: bytes) -> list[tuple[datetime | None, dict[str, Any]]]:
    """What the uplink says now (time None) and of earlier; raises :class:`UndecodablePayload`."""
    now: dict[str, Any] = {}
    found: list[tuple[datetime | None, dict[str, Any]]] = [(None, now)]
    at = 0
    while at < len(payload):
        name = (payload[at], payload[at + 1]) if at + 1 < len(payload) else (payload[at], -1)
        entry, kept = MODELS[model].get(name), _KEPT.get(model, {}).get(name)
        length, convert = entry or kept or _unknown(model, payload, at)
        value = payload[at + 2 : at + 2 + length]
        if len(value) < length:
            raise UndecodablePayload(f"the value at byte {at} is cut off; the payload has {len(payload)} bytes")
        if kept is None:
            now.update(convert(value))
        else:
            found.append((datetime.fromtimestamp(_unsigned(value[:4]), UTC), convert(value)))
        at += 2 + length
    return found


def _unknown(model: str, payload: bytes, at: int) -> _Entry:
    raise UndecodablePayload(f"{model} has no channel and type {payload[at : at + 2].hex()} (byte {at})")

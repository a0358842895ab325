# SPDX-License-Identifier: Apache-2.0
"""Uplinks of LORIOT: ``cmd`` "rx", or "gw" with all gateways that heard it."""

from __future__ import annotations

from typing import Any, Final

from adapters.formats.device_times import read_time
from adapters.formats.documents import as_object, load
from adapters.formats.lorawan import Envelope, best, from_hex, measurements, number, port_of, spreading_factor
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement, UndecodablePayload

_UPLINKS: Final = ("rx", "gw")
_BATTERY_FULL: Final = 254  # LoRaWAN DevStatusAns: 0 is external power, 255 unknown


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """The measurements of the uplink; raises :class:`~broker.intake.readings.UndecodablePayload`."""
    document = as_object(load(frame.payload), "an uplink")
    if document.get("cmd") not in _UPLINKS:
        raise UndecodablePayload(f"cmd is {document.get('cmd')!r}; uplinks have rx or gw")
    time = document.get("ts")
    envelope = Envelope(
        received_at=frame.received_at if time is None else read_time(time, None),
        payload=from_hex(document.get("data")),
        port=port_of(document.get("port")),
        decoded=document.get("decoded"),
        state=_state(document),
    )
    return measurements(envelope, profile)


def _state(document: dict[str, Any]) -> dict[str, Any]:
    battery = number(document.get("bat"))
    return {
        "devEui": document.get("EUI") if isinstance(document.get("EUI"), str) else None,
        "frameCounter": number(document.get("fcnt")),
        "framePort": number(document.get("port")),
        "frequency": number(document.get("freq")),
        "spreadingFactor": spreading_factor(document.get("dr")),
        "batteryLevel": round(battery / _BATTERY_FULL, 4) if battery is not None and 0 < battery <= 254 else None,
        "rssi": number(document.get("rssi")),
        "snr": number(document.get("snr")),
        **best(document.get("gws"), "rssi", "snr", "gweui"),
    }

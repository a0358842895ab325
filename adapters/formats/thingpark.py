# SPDX-License-Identifier: Apache-2.0
"""Uplinks of Actility ThingPark: ``DevEUI_uplink`` with the bytes in hexadecimal digits."""

from __future__ import annotations

from typing import Any

from adapters.formats.device_times import read_time
from adapters.formats.documents import as_object, load, member
from adapters.formats.lorawan import Envelope, best, from_hex, measurements, number, port_of
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """The measurements of the uplink; raises :class:`~broker.intake.readings.UndecodablePayload`."""
    uplink = as_object(as_object(load(frame.payload), "a message").get("DevEUI_uplink"), "DevEUI_uplink")
    time = uplink.get("Time")
    envelope = Envelope(
        received_at=frame.received_at if time is None else read_time(time, None),
        payload=from_hex(uplink.get("payload_hex")),
        port=port_of(uplink.get("FPort")),
        decoded=uplink.get("payload"),
        state=_state(uplink),
    )
    return measurements(envelope, profile)


def _state(uplink: dict[str, Any]) -> dict[str, Any]:
    megahertz = number(uplink.get("Frequency"))
    heard = best(member(uplink, "Lrrs.Lrr"), "LrrRSSI", "LrrSNR", "Lrrid")
    return {
        "devEui": uplink.get("DevEUI") if isinstance(uplink.get("DevEUI"), str) else None,
        "frameCounter": number(uplink.get("FCntUp")),
        "framePort": number(uplink.get("FPort")),
        "frequency": None if megahertz is None or abs(megahertz) > 1e6 else round(megahertz * 1_000_000),
        "spreadingFactor": number(uplink.get("SpFact")),
        "rssi": number(uplink.get("LrrRSSI")),
        "snr": number(uplink.get("LrrSNR")),
        **heard,
    }

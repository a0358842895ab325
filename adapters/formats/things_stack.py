# SPDX-License-Identifier: Apache-2.0
"""Uplinks of The Things Stack v3 (Community, Industries, Enterprise), by MQTT (``v3/.../up``) or webhook.

Its JSON leaves out what is zero, false or empty: a frame counter that is missing is 0, a missing port too; a field of
``decoded_payload`` that is missing is 0 only where the profile's ``zeros`` say so.
"""

from __future__ import annotations

from typing import Any

from adapters.formats.device_times import read_time
from adapters.formats.documents import as_object, load, member
from adapters.formats.lorawan import Envelope, best, from_base64, measurements, number, port_of
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """The measurements of the uplink; raises :class:`~broker.intake.readings.UndecodablePayload`."""
    document = as_object(load(frame.payload), "an uplink")
    uplink = as_object(document.get("uplink_message"), "uplink_message")
    time = uplink.get("received_at") or document.get("received_at")
    envelope = Envelope(
        received_at=frame.received_at if time is None else read_time(time, None),
        payload=from_base64(uplink.get("frm_payload", "")),
        port=port_of(uplink.get("f_port", 0)),
        decoded=uplink.get("decoded_payload"),
        state=_state(document, uplink),
    )
    return measurements(envelope, profile)


def _state(document: dict[str, Any], uplink: dict[str, Any]) -> dict[str, Any]:
    received = uplink.get("rx_metadata")
    gateways = [r for r in received if isinstance(r, dict)] if isinstance(received, list) else []
    heard = [{**gateway, "gateway": member(gateway, "gateway_ids.gateway_id")} for gateway in gateways]
    battery = number(member(uplink, "last_battery_percentage.value"))
    return {
        "devEui": member(document, "end_device_ids.dev_eui"),
        "frameCounter": number(uplink.get("f_cnt", 0)),
        "framePort": number(uplink.get("f_port", 0)),
        "frequency": number(member(uplink, "settings.frequency")),
        "spreadingFactor": number(member(uplink, "settings.data_rate.lora.spreading_factor")),
        "batteryLevel": None if battery is None else round(battery / 100, 4),
        **best(heard, "rssi", "snr", "gateway"),
    }

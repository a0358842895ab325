# SPDX-License-Identifier: Apache-2.0
"""Uplinks of ChirpStack v4 (``application/<id>/device/<EUI>/event/up``), and those of v3 that are still about."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from adapters.formats.device_times import read_time
from adapters.formats.documents import as_object, load, member
from adapters.formats.lorawan import Envelope, best, from_base64, measurements, number, port_of
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement


def decode(frame: Frame, profile: FormatProfile) -> list[Measurement]:
    """The measurements of the uplink; raises :class:`~broker.intake.readings.UndecodablePayload`."""
    document = as_object(load(frame.payload), "an uplink")
    time = document.get("time")
    envelope = Envelope(
        received_at=frame.received_at if time is None else read_time(time, None),
        payload=from_base64(document.get("data")),
        port=port_of(document.get("fPort")),
        decoded=_object(document),
        state=_state(document),
    )
    return measurements(envelope, profile)


def _object(document: dict[str, Any]) -> Any:
    """What ChirpStack's own codec found; in v3 as JSON within JSON."""
    text = document.get("objectJSON")
    if not isinstance(text, str) or not text:
        return document.get("object")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _state(document: dict[str, Any]) -> dict[str, Any]:
    is_v3 = "deviceInfo" not in document and "devEUI" in document
    modulation = "txInfo.loRaModulationInfo.spreadingFactor" if is_v3 else "txInfo.modulation.lora.spreadingFactor"
    names = ("rssi", "loRaSNR", "gatewayID") if is_v3 else ("rssi", "snr", "gatewayId")
    found = {
        "devEui": _eui(document.get("devEUI")) if is_v3 else member(document, "deviceInfo.devEui"),
        "frameCounter": number(document.get("fCnt")),
        "framePort": number(document.get("fPort")),
        "frequency": number(member(document, "txInfo.frequency")),
        "spreadingFactor": number(member(document, modulation)),
        **best(document.get("rxInfo"), *names),
    }
    return {**found, "gateway": _eui(found.get("gateway"))} if is_v3 else found


def _eui(value: Any) -> str | None:
    """An EUI as v3 writes it: base64, or hexadecimal already."""
    if not isinstance(value, str):
        return None
    try:
        raw = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return value
    return raw.hex() if len(raw) == 8 else value

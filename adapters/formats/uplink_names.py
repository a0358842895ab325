# SPDX-License-Identifier: Apache-2.0
"""Which device a network server's webhook is about: one address takes the uplinks of a whole application."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from adapters.formats.documents import member


class UplinkOf(NamedTuple):
    """``names`` by which the device may be registered, the first that is holds; none: the message is no uplink.

    ``topic`` is where the same message would come by MQTT, with ``{}`` for the device.
    """

    server: str
    names: tuple[str, ...]
    topic: str


_OWN_TOPIC: Final = "minamo/v1/{}/readings"
_THINGS_STACK: Final = "v3/webhook/devices/{}/up"
_CHIRPSTACK: Final = "application/webhook/device/{}/event/up"
_LORIOT_UPLINKS: Final = ("rx", "gw")


def uplink_of(document: Any, event: str | None = None) -> UplinkOf | None:
    """What ``document`` is about; None when it is of no LoRaWAN network server. ``event`` is ChirpStack's parameter."""
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("end_device_ids"), dict):
        names = _names(member(document, "end_device_ids.device_id"), member(document, "end_device_ids.dev_eui"))
        return UplinkOf("things-stack", names if "uplink_message" in document else (), _THINGS_STACK)
    if isinstance(document.get("deviceInfo"), dict) or "devEUI" in document:
        names = _names(member(document, "deviceInfo.devEui"), document.get("devEUI"))
        is_uplink = event in (None, "up") and ("data" in document or "object" in document or "objectJSON" in document)
        return UplinkOf("chirpstack", names if is_uplink else (), _CHIRPSTACK)
    if isinstance(document.get("EUI"), str) and isinstance(document.get("cmd"), str):
        return UplinkOf("loriot", _names(document["EUI"]) if document["cmd"] in _LORIOT_UPLINKS else (), _OWN_TOPIC)
    thingpark = next((name for name in document if name.startswith("DevEUI_")), None)
    if thingpark is not None:
        names = _names(member(document, "DevEUI_uplink.DevEUI")) if thingpark == "DevEUI_uplink" else ()
        return UplinkOf("thingpark", names, _OWN_TOPIC)
    return None


def _names(*given: Any) -> tuple[str, ...]:
    """The names as they are, and EUIs in both cases."""
    found = [text for text in given if isinstance(text, str) and text and "/" not in text]
    return tuple(dict.fromkeys(form for text in found for form in (text, text.lower(), text.upper())))

# SPDX-License-Identifier: Apache-2.0
"""Devices as the hub's own API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from api.devices.registration import Registered
from api.settings import Settings
from broker.devices.maintenance import in_maintenance
from broker.devices.model import Device
from broker.devices.records import DeviceRecord, record_document
from broker.devices.state import BATTERY, DEVICE_STATE, LAST_SEEN, RSSI, DeviceState
from context_store.devices.registry import ListedDevice
from ingest.topics import own_topic
from schemas.terms import NO_DATASET

_STATE: Final = {"batteryLevel": BATTERY, "rssi": RSSI, "deviceState": DEVICE_STATE}


def shown(found: ListedDevice, now: datetime) -> dict[str, Any]:
    """A device as clients see it, with ``status``: what is known of it now."""
    return {**record_document(found.record), "status": status_of(found, now)}


def status_of(found: ListedDevice, now: datetime) -> dict[str, Any]:
    """In service or not, in maintenance or not, last seen, and what it said of itself."""
    record = found.record
    values = {name: _value(found.state, attribute) for name, attribute in _STATE.items()}
    seen = _value(found.state, LAST_SEEN)
    window = in_maintenance(record.device, now)
    return {
        "state": _state(record, window is not None, values.pop("deviceState"), seen is not None, now),
        "lastSeenAt": seen["@value"] if isinstance(seen, dict) else None,
        "maintenance": window.document() if window else None,
        **values,
    }


def _state(record: DeviceRecord, in_work: bool, told: Any, seen: bool, now: datetime) -> str:
    if record.is_retired(now):
        return "retired"
    if in_work:
        return "maintenance"
    if not seen:
        return "neverSeen"
    return told if isinstance(told, str) else DeviceState.OK.value


def _value(state: dict[str, Any] | None, attribute: str) -> Any:
    return ((state or {}).get(attribute) or {}).get(NO_DATASET, {}).get("value")


def registered_document(settings: Settings, found: Registered) -> dict[str, Any]:
    """What was registered, with the way to the hub when it got a password."""
    document = record_document(found.record)
    if found.password is not None:
        document["mqtt"] = access_of(settings, found.record.device, found.password)
    return document


def access_of(settings: Settings, device: Device, password: str) -> dict[str, str]:
    """How a device reaches the hub: told once, when it gets a password."""
    access = {"username": device.key, "password": password, "topic": own_topic(device.key)}
    return access if settings.mqtt_public_url is None else {**access, "url": settings.mqtt_public_url}

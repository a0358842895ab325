# SPDX-License-Identifier: Apache-2.0
"""What happens to devices in ten years: credentials, maintenance, replacement."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from api.devices.registration import Registered, new_password, register_within
from api.embedded.passwords import hash_password
from api.hub import Hub
from broker.devices.maintenance import MAX_WINDOWS, MaintenanceWindow, parse_window
from broker.devices.model import VALUE
from broker.devices.models import SHARED, SHORT
from broker.devices.records import TOLD_BY_THE_HUB, DeviceRecord, record_document
from broker.errors import AlreadyExists, BadRequestData, Conflict, ResourceNotFound
from broker.times import parse_time
from context_store.database import ALL_TENANTS
from context_store.devices.entities import write_device_entities

Document = dict[str, Any]
Windows = tuple[MaintenanceWindow, ...]

# Members that are about the old device itself.
_ITS_OWN = TOLD_BY_THE_HUB | {"id", "key", "serialNumber", "devEui", "installedAt", "notes"}


async def rotate_credential(hub: Hub, tenant_id: int, device_id: str) -> tuple[DeviceRecord, str]:
    """Give a device another password at once; the old one ends. Raises :class:`ResourceNotFound`, :class:`Conflict`."""
    password = new_password()
    async with hub.database.transaction(tenant_id) as connection:
        record = await hub.devices.lock_one(connection, tenant_id, device_id)
        if record.device.service_until is not None:
            raise Conflict(f"Device {device_id} is out of service; it gets no password")
        await hub.devices.set_password(connection, tenant_id, device_id, hash_password(password))
    return record, password


async def revoke_credential(hub: Hub, tenant_id: int, device_id: str) -> None:
    """Take a device's password away: it is disconnected and may not log in any more."""
    async with hub.database.transaction(tenant_id) as connection:
        await hub.devices.lock_one(connection, tenant_id, device_id)
        await hub.devices.set_password(connection, tenant_id, device_id, None)


async def add_maintenance(
    hub: Hub, tenant_id: int, device_id: str, document: Document, now: datetime
) -> MaintenanceWindow:
    """Announce or begin maintenance. Raises :class:`BadRequestData`, :class:`ResourceNotFound`."""
    window = parse_window(document, secrets.token_hex(6), now)

    def added(windows: Windows) -> Windows:
        if len(windows) >= MAX_WINDOWS:
            raise Conflict(f"Device {device_id} has {MAX_WINDOWS} maintenance windows already; delete old ones")
        return (*windows, window)

    await _change_windows(hub, tenant_id, device_id, added)
    return window


async def change_maintenance(
    hub: Hub, tenant_id: int, device_id: str, window_id: str, changes: Document, now: datetime
) -> MaintenanceWindow:
    """Change a window, for instance its end. Raises :class:`BadRequestData`, :class:`ResourceNotFound`."""
    found: list[MaintenanceWindow] = []

    def changed(windows: Windows) -> Windows:
        old = _window(windows, device_id, window_id)
        found.append(parse_window({**old.document(), **changes}, window_id, now))
        return tuple(found[0] if window is old else window for window in windows)

    await _change_windows(hub, tenant_id, device_id, changed)
    return found[0]


async def remove_maintenance(hub: Hub, tenant_id: int, device_id: str, window_id: str) -> None:
    """Remove a window that was announced by mistake. Raises :class:`ResourceNotFound`."""

    def removed(windows: Windows) -> Windows:
        doomed = _window(windows, device_id, window_id)
        return tuple(window for window in windows if window is not doomed)

    await _change_windows(hub, tenant_id, device_id, removed)


def _window(windows: Windows, device_id: str, window_id: str) -> MaintenanceWindow:
    for window in windows:
        if window.window_id == window_id:
            return window
    raise ResourceNotFound(f"Device {device_id} has no maintenance window {window_id}")


async def _change_windows(hub: Hub, tenant_id: int, device_id: str, change: Callable[[Windows], Windows]) -> None:
    async with hub.database.transaction(tenant_id) as connection:
        record = await hub.devices.lock_one(connection, tenant_id, device_id)
        windows = sorted(change(record.device.maintenance), key=lambda window: window.start)
        await hub.devices.set_maintenance(connection, tenant_id, device_id, windows)


async def replace_device(hub: Hub, tenant_id: int, device_id: str, document: Document, now: datetime) -> Registered:
    """Let a new device take the place of another one at its station, from ``at`` (default: ``now``) on.

    What ``document`` does not say of the new one is as it was. The series goes on: it is the station's. The old one's
    password ends now; its readings of before stay, and those that come late are still taken.
    Raises :class:`BadRequestData`, :class:`ResourceNotFound`, :class:`AlreadyExists`, :class:`Conflict`.
    """
    at = _moment(document.get("at")) or now
    new_id = document.get("id")
    if not isinstance(new_id, str) or new_id == device_id:
        raise BadRequestData(f"id is {new_id!r}; the new device needs an id of its own")
    async with hub.database.transaction(ALL_TENANTS) as connection:
        known = await hub.devices.lock(connection, tenant_id, [device_id, new_id])
        if device_id not in known:
            raise ResourceNotFound(f"Device {device_id} does not exist")
        if new_id in known:
            raise AlreadyExists(f"Device {new_id} already exists")
        old = known[device_id]
        if old.replaced_by is not None:
            raise Conflict(f"Device {device_id} was replaced by {old.replaced_by}")
        if old.device.service_from is not None and at <= old.device.service_from:
            raise BadRequestData("at is not after the time when the old device began to serve")
        given = {name: value for name, value in document.items() if name != "at"}
        found = await register_within(hub, connection, tenant_id, _successor(old, given))
        await hub.devices.hand_over(connection, tenant_id, device_id, at, new_id)
        device = replace(found.record.device, service_from=at)
        record = replace(found.record, device=device, replaces=device_id)
        await write_device_entities(connection, hub.writer, [record], now)
    return replace(found, record=record)


def _successor(old: DeviceRecord, given: Document) -> Document:
    """The registration of what comes after ``old``."""
    base = {name: value for name, value in record_document(old).items() if name not in _ITS_OWN}
    if "entityId" in given and given["entityId"] != base["entityId"]:
        raise BadRequestData("entityId is another station; a replacement serves the same one")
    if given.get("model", old.model_id) != old.model_id:
        # How the old one is read says nothing of another kind of device.
        base = {name: value for name, value in base.items() if name not in (*SHARED, *SHORT) or name == "entityType"}
        base.setdefault("entityType", list(old.device.entity_types))
    elif isinstance(base.get("format"), dict):
        base["format"] = {name: value for name, value in base["format"].items() if name != "address"}
    if given.get("reference") is not None and isinstance(base.get("attributes"), list):
        base["attributes"] = [_unreferred(mapping) for mapping in base["attributes"]]
    return {**base, **given}


def _unreferred(mapping: Document) -> Document:
    """A mapping without the height at which the old device hung."""
    if mapping.get("measures", VALUE) == VALUE:
        return mapping
    return {name: value for name, value in mapping.items() if name not in ("reference", "earlierReferences")}


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        return parse_time(value)
    except (TypeError, ValueError) as exc:
        raise BadRequestData(f"at is {value!r}; it has to be a time with an offset") from exc

# SPDX-License-Identifier: Apache-2.0
"""What the registry keeps of a device beside what ingest needs: model, owner, serial number, credential, service."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from broker.devices.documents import device_document, parse_device
from broker.devices.model import Device
from broker.devices.models import SHARED, SHORT, DeviceModel, expand_names, resolve
from broker.errors import BadRequestData
from broker.times import parse_time, to_text, to_text_or_none

# Texts about one device, and how long they may be.
DETAILS: Final[Mapping[str, int]] = {"owner": 200, "serialNumber": 200, "devEui": 16, "installedAt": 40, "notes": 4000}
MEMBERS: Final = frozenset({"model", *DETAILS, *SHORT})
"""Members of a registration that :func:`~broker.devices.documents.parse_device` does not know."""
TOLD_BY_THE_HUB: Final = frozenset({"effective", "credential", "maintenance", "service", "status", "mqtt"}) | {
    "createdAt",
    "modifiedAt",
}
"""Members that the hub adds to what it shows; given back, they mean nothing."""
_DEV_EUI: Final = re.compile(r"[0-9a-f]{16}")
_NOT_KEPT: Final = frozenset({"@context", "id", "key", "name", "entityId", "location", "newPassword"})

Document = dict[str, Any]


class CredentialState(StrEnum):
    """``none``: it never had one; ``active``; ``revoked``: taken away until somebody makes a new one."""

    NONE = "none"
    ACTIVE = "active"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Registration:
    """A registration that was read: the device it makes, and what it says itself (names as IRIs)."""

    device: Device
    document: Document
    model_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device as the registry has it; ``document`` and ``model_id`` as in :class:`Registration`."""

    device: Device
    document: Document = dataclass_field(default_factory=dict)
    model_id: str | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    credential: CredentialState = CredentialState.NONE
    credential_changed_at: datetime | None = None
    created_at: datetime | None = None
    modified_at: datetime | None = None

    def is_retired(self, now: datetime) -> bool:
        """Whether its service has ended."""
        return self.device.service_until is not None and self.device.service_until <= now


def read_registration(
    document: Document,
    *,
    model: DeviceModel | None,
    tenant: str,
    tenant_id: int,
    expand: Callable[[str], str],
) -> Registration:
    """Read a registration that builds on ``model``. Raises :class:`BadRequestData`."""
    given = {name: value for name, value in document.items() if name not in TOLD_BY_THE_HUB}
    details = {name: _detail(name, given[name]) for name in DETAILS if given.get(name) is not None}
    short = {name: given[name] for name in SHORT if given.get(name) is not None}
    own = expand_names({name: value for name, value in given.items() if name not in MEMBERS} | short, expand)
    whole = resolve(model.document if model else None, own)
    device = parse_device(whole, tenant=tenant, tenant_id=tenant_id, expand=expand)
    kept = {name: value for name, value in own.items() if name not in _NOT_KEPT and value is not None}
    return Registration(device, {**kept, **details}, model.model_id if model else None)


def _detail(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > DETAILS[name]:
        raise BadRequestData(f"device.{name} is {value!r}; it has to be a text of 1 to {DETAILS[name]} characters")
    if name == "devEui":
        return _dev_eui(value)
    if name == "installedAt":
        try:
            return to_text(parse_time(value))
        except ValueError as exc:
            raise BadRequestData(f"device.installedAt: {exc}") from exc
    return value


def _dev_eui(value: str) -> str:
    if not _DEV_EUI.fullmatch(value.lower()):
        raise BadRequestData(f"device.devEui is {value!r}; it has to be 16 hexadecimal digits")
    return value.lower()


def resolved_again(record: DeviceRecord, model: DeviceModel, tenant: str) -> Device:
    """The device of ``record`` when its model becomes ``model``. Raises :class:`BadRequestData`."""
    device = record.device
    about_it = {"id": device.device_id, "key": device.key, "name": device.name, "entityId": device.entity_id}
    own = {name: value for name, value in record.document.items() if name in (*SHARED, *SHORT)}
    location = {"location": list(device.location)} if device.location else {}
    whole = {**resolve(model.document, own), **about_it, **location}
    return parse_device(whole, tenant=tenant, tenant_id=device.tenant_id, expand=lambda name: name)


def record_document(record: DeviceRecord) -> Document:
    """The JSON form for clients: what was registered, what it comes to with its model, and what the hub knows.

    It never carries a password or its hash, and can be given back as a registration.
    """
    device = record.device
    whole = device_document(device)
    document = dict(whole)
    if record.model_id is not None:
        effective = {name: document.pop(name) for name in SHARED if name in document}
        own = {name: record.document[name] for name in SHARED if name in record.document}
        document |= {"model": record.model_id, **own, "effective": effective}
    document |= {name: record.document[name] for name in (*SHORT, *DETAILS) if name in record.document}
    document["credential"] = {
        "state": record.credential.value,
        "changedAt": to_text_or_none(record.credential_changed_at),
    }
    if device.maintenance:
        document["maintenance"] = [window.document() for window in device.maintenance]
    if service := _service(record):
        document["service"] = service
    if record.created_at and record.modified_at:
        document |= {"createdAt": to_text(record.created_at), "modifiedAt": to_text(record.modified_at)}
    return document


def _service(record: DeviceRecord) -> Document:
    device = record.device
    members = {
        "from": to_text_or_none(device.service_from),
        "until": to_text_or_none(device.service_until),
        "replaces": record.replaces,
        "replacedBy": record.replaced_by,
    }
    return {name: value for name, value in members.items() if value is not None}

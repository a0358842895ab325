# SPDX-License-Identifier: Apache-2.0
"""Rows of the table ``device``, as devices and as records."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import orjson

from broker.devices.maintenance import stored_window
from broker.devices.model import VALUE, AttributeMapping, Device
from broker.devices.profile import DeviceProfile, parse_device_profile
from broker.devices.records import CredentialState, DeviceRecord
from broker.intake.formats import DEFAULT_PROFILE, FormatProfile, parse_profile
from schemas.terms import NO_DATASET

COLUMNS: Final = """
    d.tenant_id, d.device_id, d.key, d.name, d.entity_id, d.entity_types, d.attributes, st_x(d.location),
    st_y(d.location), d.static_attributes, d.password_hash, d.format, d.profile, d.maintenance, d.service_from,
    d.service_until
"""
"""What :func:`device_of` reads."""
RECORD_COLUMNS: Final = """
    d.registration, d.model_id, d.replaces, d.replaced_by, d.credential_revoked, d.credential_changed_at,
    d.created_at, d.modified_at
"""
"""What :func:`record_of` reads behind :data:`COLUMNS`."""
_DEVICE_COLUMNS: Final = 16
_KINDS: Final = 4096  # of devices, that are remembered

Row = tuple[Any, ...]


def device_of(row: Row) -> Device:
    """The device in :data:`COLUMNS`."""
    tenant_id, device_id, key, name, entity_id, types, attributes, x, y, static, password_hash, *others = row
    message_format, profile, maintenance, service_from, service_until = others
    return Device(
        tenant_id=tenant_id,
        device_id=device_id,
        key=key,
        name=name,
        entity_id=entity_id,
        entity_types=_names(tuple(types)),
        attributes=_mappings(orjson.dumps(attributes)),
        location=(x, y) if x is not None else None,
        static_attributes=static,
        password_hash=password_hash,
        format=_format(orjson.dumps(message_format)) if message_format else DEFAULT_PROFILE,
        profile=_profile(orjson.dumps(profile)),
        maintenance=tuple(stored_window(document) for document in maintenance),
        service_from=service_from,
        service_until=service_until,
    )


def record_of(row: Row) -> DeviceRecord:
    """The record in :data:`COLUMNS` and :data:`RECORD_COLUMNS`."""
    device = device_of(row[:_DEVICE_COLUMNS])
    registration, model_id, replaces, replaced_by, revoked, changed_at, created_at, modified_at = row[_DEVICE_COLUMNS:]
    return DeviceRecord(
        device=device,
        document=registration or {},
        model_id=model_id,
        replaces=replaces,
        replaced_by=replaced_by,
        credential=_credential(device, revoked=revoked),
        credential_changed_at=changed_at,
        created_at=created_at,
        modified_at=modified_at,
    )


def _credential(device: Device, *, revoked: bool) -> CredentialState:
    if device.password_hash is not None:
        return CredentialState.ACTIVE
    return CredentialState.REVOKED if revoked else CredentialState.NONE


# Devices of one make are alike: what is the same of them is made, and kept in memory, once.
@lru_cache(maxsize=_KINDS)
def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    return names


@lru_cache(maxsize=_KINDS)
def _mappings(text: bytes) -> tuple[AttributeMapping, ...]:
    return tuple(_mapping(document) for document in orjson.loads(text))


@lru_cache(maxsize=_KINDS)
def _format(text: bytes) -> FormatProfile:
    return parse_profile(orjson.loads(text))


@lru_cache(maxsize=_KINDS)
def _profile(text: bytes) -> DeviceProfile:
    return parse_device_profile(orjson.loads(text))


def _mapping(document: dict[str, Any]) -> AttributeMapping:
    return AttributeMapping(
        field=document["field"],
        attribute=document["attribute"],
        unit_code=document.get("unitCode"),
        minimum=document.get("minimum"),
        maximum=document.get("maximum"),
        factor=document.get("factor", 1.0),
        offset=document.get("offset", 0.0),
        dataset=document.get("datasetId", NO_DATASET),
        unit=document.get("unit"),
        measures=document.get("measures", VALUE),
        reference=document.get("reference"),
        sentinels=tuple(document.get("sentinels", ())),
        words=tuple(document.get("words", {}).items()),
        earlier=tuple(
            (datetime.fromisoformat(entry["until"]), entry["reference"])
            for entry in document.get("earlierReferences", ())
        ),
    )


def effective_row(device: Device) -> dict[str, Any]:
    """The columns that a model has a say in, and what names the row."""
    seconds = device.expected_interval_s
    return {
        "tenant_id": device.tenant_id,
        "device_id": device.device_id,
        "entity_types": list(device.entity_types),
        "attributes": orjson.dumps([mapping.document() for mapping in device.attributes]).decode(),
        "expected_interval": timedelta(seconds=seconds) if seconds else None,
        "format": orjson.dumps(device.format.document()).decode(),
        "profile": orjson.dumps(device.profile.document()).decode(),
    }


def device_row(device: Device) -> dict[str, Any]:
    """The columns that a registration writes."""
    longitude, latitude = device.location or (None, None)
    return effective_row(device) | {
        "key": device.key,
        "name": device.name,
        "entity_id": device.entity_id,
        "longitude": longitude,
        "latitude": latitude,
        "static_attributes": orjson.dumps(device.static_attributes).decode(),
        "password_hash": device.password_hash,
    }

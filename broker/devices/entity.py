# SPDX-License-Identifier: Apache-2.0
"""A device as an NGSI-LD entity of its own (type Device of the Smart Data Models): what the registry says of it.

Its battery, signal and last message are kept up by ingest (:mod:`broker.devices.state`).
"""

from __future__ import annotations

from typing import Any, Final

from broker.devices.model import NAME
from broker.devices.records import DeviceRecord
from broker.devices.state import MODEL, OWNER
from broker.entities import Attributes, Instance
from schemas.terms import LOCATION, NO_DATASET

_SMART: Final = "https://smartdatamodels.org/"
_OWN: Final = "https://uri.etsi.org/ngsi-ld/default-context/"
_DETAILS: Final = {
    "owner": _SMART + "owner",
    "serialNumber": MODEL + "serialNumber",
    "devEui": _OWN + "devEui",
    "installedAt": MODEL + "dateInstalled",
}
_REFERENCE: Final = MODEL + "refDeviceModel"
_CONTROLLED: Final = MODEL + "controlledProperty"
_TIMES: Final = ("createdAt", "modifiedAt", "observedAt")  # devices tell of their serial number themselves
_REPLACES: Final = _OWN + "replaces"


def device_entity_id(key: str) -> str:
    """The id of the entity of the device with this key."""
    return f"urn:ngsi-ld:Device:{key}"


def described(record: DeviceRecord) -> Attributes:
    """What the registry says of a device, without system times."""
    device, document = record.device, record.document
    found: dict[str, Instance] = {
        NAME: _property(device.name),
        OWNER: {"type": "Relationship", "object": device.entity_id},
        _CONTROLLED: _property(sorted({_short(mapping.attribute) for mapping in device.attributes})),
    }
    if device.location is not None:
        point = {"type": "Point", "coordinates": list(device.location)}
        found[LOCATION] = {"type": "GeoProperty", "value": point}
    found |= {iri: _property(_value(name, document[name])) for name, iri in _DETAILS.items() if name in document}
    if record.model_id is not None:
        found[_REFERENCE] = {"type": "Relationship", "object": f"urn:ngsi-ld:DeviceModel:{record.model_id}"}
    if record.replaces is not None:
        found[_REPLACES] = _property(record.replaces)
    return {name: {NO_DATASET: instance} for name, instance in found.items()}


def differing(attributes: Attributes, present: Attributes) -> Attributes:
    """Those of ``attributes`` that are not so at ``present``."""
    return {name: group for name, group in attributes.items() if not _same(group, present.get(name, {}))}


def _same(group: dict[str, Instance], present: dict[str, Instance]) -> bool:
    return all(
        {name: value for name, value in present.get(dataset, {}).items() if name not in _TIMES} == instance
        for dataset, instance in group.items()
    )


def _property(value: Any) -> Instance:
    return {"type": "Property", "value": value}


def _value(name: str, value: str) -> Any:
    return {"@type": "DateTime", "@value": value} if name == "installedAt" else value


def _short(iri: str) -> str:
    return iri.rsplit("/", 1)[-1].rsplit("#", 1)[-1]

# SPDX-License-Identifier: Apache-2.0
"""Devices: which sensor feeds which attributes of which entity, in what unit and range, and how often."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from broker.entities import Attributes, ExpandedEntity, Instance
from broker.errors import BadRequestData
from broker.times import to_text
from schemas.terms import LOCATION, NO_DATASET

NAME: Final = "https://smartdatamodels.org/name"  # of every Smart Data Model

# A device's id and key appear in MQTT topics and user names: no separators, no wildcards.
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_RESERVED: Final = frozenset({"minamo-hub"})
_MEMBERS: Final = frozenset({"@context", "id", "key", "name", "entityId", "entityType", "attributes"}) | {
    "expectedInterval",
    "location",
    "newPassword",
}
_MAPPING_MEMBERS: Final = frozenset({"field", "attribute", "unitCode", "minimum", "maximum"}) | {
    "factor",
    "offset",
    "datasetId",
}
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


@dataclass(frozen=True, slots=True)
class AttributeMapping:
    """One quantity of a device's messages.

    ``field`` is its name in the message; ``attribute`` the expanded name of the Property it feeds. The stored value
    is ``value * factor + offset`` in ``unit_code`` (UN/CEFACT, ``MTR`` for metres); ``minimum`` and ``maximum``
    bound the stored value, both inclusive.
    """

    field: str
    attribute: str
    unit_code: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    factor: float = 1.0
    offset: float = 0.0
    dataset: str = NO_DATASET

    def document(self) -> dict[str, Any]:
        """The JSON form, without members that have their default."""
        members = {
            "field": self.field,
            "attribute": self.attribute,
            "unitCode": self.unit_code,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "factor": None if self.factor == 1.0 else self.factor,
            "offset": None if self.offset == 0.0 else self.offset,
            "datasetId": None if self.dataset == NO_DATASET else self.dataset,
        }
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """A registered device.

    ``device_id`` is unique within its tenant, ``key`` in the whole hub: it is the device's MQTT user name and its
    place in the topic. ``location`` is (longitude, latitude) in WGS 84 degrees. ``expected_interval_s`` is how often
    a reading should come, in seconds; None when it is not known. ``static_attributes`` are given to the entity
    when it is made.
    """

    tenant_id: int
    device_id: str
    key: str
    name: str
    entity_id: str
    entity_types: tuple[str, ...]
    attributes: tuple[AttributeMapping, ...]
    expected_interval_s: float | None = None
    location: tuple[float, float] | None = None
    static_attributes: Attributes = field(default_factory=dict)
    password_hash: str | None = None
    by_field: Mapping[str, tuple[AttributeMapping, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_field: dict[str, tuple[AttributeMapping, ...]] = {}
        for mapping in self.attributes:
            by_field[mapping.field] = (*by_field.get(mapping.field, ()), mapping)
        object.__setattr__(self, "by_field", by_field)

    def with_password_hash(self, password_hash: str) -> Device:
        """The same device with a new MQTT password (its hash)."""
        return replace(self, password_hash=password_hash)


def device_entity(device: Device, now: datetime) -> ExpandedEntity:
    """The entity of ``device`` before its first reading: name, location and the device's static attributes."""
    moment = to_text(now)
    attributes: Attributes = {
        name: {dataset: {**instance, "createdAt": moment, "modifiedAt": moment} for dataset, instance in group.items()}
        for name, group in device.static_attributes.items()
    }
    attributes.setdefault(NAME, {NO_DATASET: _property(device.name, moment)})
    if device.location is not None:
        point = {"type": "Point", "coordinates": list(device.location)}
        location = {"type": "GeoProperty", "value": point, "createdAt": moment, "modifiedAt": moment}
        attributes.setdefault(LOCATION, {NO_DATASET: location})
    return ExpandedEntity(device.entity_id, device.entity_types, attributes, created_at=now, modified_at=now)


def _property(value: Any, moment: str) -> Instance:
    return {"type": "Property", "value": value, "createdAt": moment, "modifiedAt": moment}


class _Reader:
    """Takes members out of a device document and says precisely what is wrong with one."""

    def __init__(self, document: Any, path: str, members: frozenset[str]) -> None:
        if not isinstance(document, dict):
            raise BadRequestData(f"{path} is {document!r}; it has to be an object")
        if unknown := sorted(set(document) - members):
            raise BadRequestData(f"{path}.{unknown[0]} is not known; the members are {', '.join(sorted(members))}")
        self._document = document
        self._path = path

    def text(self, name: str, default: str | None = None) -> str:
        value = self._document.get(name, default)
        if not isinstance(value, str) or not value:
            raise BadRequestData(f"{self._path}.{name} is {value!r}; it has to be a text that is not empty")
        return value

    def number(self, name: str, default: float | None = None) -> float | None:
        value = self._document.get(name, default)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise BadRequestData(f"{self._path}.{name} is {value!r}; it has to be a number")
        return value

    def list(self, name: str) -> list[Any]:
        value = self._document.get(name, [])
        if not isinstance(value, list):
            raise BadRequestData(f"{self._path}.{name} is {value!r}; it has to be an array")
        return value


def parse_device(document: Any, *, tenant: str, tenant_id: int, expand: Callable[[str], str]) -> Device:
    """Read a device from its JSON form.

    Members: ``id``, ``key`` (default ``<tenant>.<id>``, or the id alone in the default tenant), ``name``,
    ``entityId`` (URI), ``entityType`` (one name or a list), ``attributes`` (see :class:`AttributeMapping`),
    ``expectedInterval`` (seconds), ``location`` ([longitude, latitude] or a GeoJSON Point). ``expand`` turns the
    names of types and attributes into IRIs. Raises :class:`BadRequestData`.
    """
    reader = _Reader(document, "device", _MEMBERS)
    device_id = _identifier(reader.text("id"), "device.id")
    key = reader.text("key", device_id if tenant == "default" else f"{tenant}.{device_id}")
    entity_id = reader.text("entityId")
    if not _URI.fullmatch(entity_id):
        raise BadRequestData(
            f"device.entityId is {entity_id!r}; it has to be a URI such as urn:ngsi-ld:WaterObserved:1"
        )
    types = document.get("entityType")
    names = [types] if isinstance(types, str) else reader.list("entityType")
    if not names:
        raise BadRequestData("device.entityType is missing")
    return Device(
        tenant_id=tenant_id,
        device_id=device_id,
        key=_identifier(key, "device.key"),
        name=reader.text("name", device_id),
        entity_id=entity_id,
        entity_types=tuple(_expand(name, "device.entityType", expand) for name in names),
        attributes=_mappings(reader.list("attributes"), expand),
        expected_interval_s=_positive(reader.number("expectedInterval"), "device.expectedInterval"),
        location=_location(document.get("location")),
    )


def _identifier(text: str, path: str) -> str:
    if text in _RESERVED:
        raise BadRequestData(f"{path} is {text!r}, the hub's own name at the MQTT broker")
    if not _IDENTIFIER.fullmatch(text):
        raise BadRequestData(f"{path} is {text!r}; it may hold letters, digits, '.', '_' and '-', at most 128")
    return text


def _expand(name: Any, path: str, expand: Callable[[str], str]) -> str:
    if not isinstance(name, str) or not name or " " in name:
        raise BadRequestData(f"{path} is {name!r}; it has to be a name or a URI")
    return expand(name)


def _positive(value: float | None, path: str) -> float | None:
    if value is not None and value <= 0:
        raise BadRequestData(f"{path} is {value!r}; it has to be above 0")
    return value


def _mappings(documents: list[Any], expand: Callable[[str], str]) -> tuple[AttributeMapping, ...]:
    if not documents:
        raise BadRequestData("device.attributes is empty; a device feeds at least one attribute")
    return tuple(_mapping(document, f"device.attributes[{n}]", expand) for n, document in enumerate(documents))


def _mapping(document: Any, path: str, expand: Callable[[str], str]) -> AttributeMapping:
    reader = _Reader(document, path, _MAPPING_MEMBERS)
    minimum, maximum = reader.number("minimum"), reader.number("maximum")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise BadRequestData(f"{path}: minimum {minimum} is above maximum {maximum}")
    return AttributeMapping(
        field=reader.text("field"),
        attribute=_expand(reader.text("attribute"), f"{path}.attribute", expand),
        unit_code=reader.text("unitCode") if document.get("unitCode") is not None else None,
        minimum=minimum,
        maximum=maximum,
        factor=_given(reader.number("factor", 1.0)),
        offset=_given(reader.number("offset", 0.0)),
        dataset=reader.text("datasetId", NO_DATASET),
    )


def _given(value: float | None) -> float:
    return 0.0 if value is None else float(value)


def _location(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    coordinates = value.get("coordinates") if isinstance(value, dict) and value.get("type") == "Point" else value
    match coordinates:
        case [int() | float() as longitude, int() | float() as latitude, *_] if (
            -180 <= longitude <= 180 and -90 <= latitude <= 90
        ):
            return float(longitude), float(latitude)
    raise BadRequestData(f"device.location is {value!r}; it has to be [longitude, latitude] in degrees")


def device_document(device: Device) -> dict[str, Any]:
    """The JSON form of ``device``; it never carries the password hash."""
    return {
        "id": device.device_id,
        "key": device.key,
        "name": device.name,
        "entityId": device.entity_id,
        "entityType": list(device.entity_types),
        "attributes": [mapping.document() for mapping in device.attributes],
        "expectedInterval": device.expected_interval_s,
        "location": list(device.location) if device.location else None,
    }

# SPDX-License-Identifier: Apache-2.0
"""Devices: which sensor feeds which attributes of which entity, in what unit and range, and how often."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from broker.device_state import DEVICE_TYPE, OWNER, STATE_ATTRIBUTES
from broker.entities import Attributes, ExpandedEntity, Instance
from broker.errors import BadRequestData
from broker.formats import DEFAULT_PROFILE, FormatProfile, parse_profile, parse_sentinels
from broker.times import to_text
from broker.units import conversion
from schemas.terms import LOCATION, NO_DATASET

NAME: Final = "https://smartdatamodels.org/name"  # of every Smart Data Model

# A device's id and key appear in MQTT topics and user names: no separators, no wildcards.
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_RESERVED: Final = frozenset({"minamo-hub"})
_MEMBERS: Final = frozenset({"@context", "id", "key", "name", "entityId", "entityType", "attributes"}) | {
    "expectedInterval",
    "format",
    "location",
    "newPassword",
}
_MAPPING_MEMBERS: Final = frozenset({"field", "attribute", "unitCode", "minimum", "maximum"}) | {
    "factor",
    "offset",
    "datasetId",
    "unit",
    "measures",
    "reference",
    "sentinels",
    "words",
}
VALUE: Final = "value"
DISTANCE_DOWN: Final = "distanceDown"
ELEVATION: Final = "elevation"
MEASURES: Final = (VALUE, DISTANCE_DOWN, ELEVATION)
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


@dataclass(frozen=True, slots=True)
class AttributeMapping:
    """One quantity of a device's messages.

    ``field`` is its name in the message; ``attribute`` the expanded name of the Property it feeds. What is sent is in
    ``unit`` (by default that of the stored value) and becomes ``value * factor + offset`` in ``unit_code`` (UN/CEFACT,
    ``MTR`` for metres). What it ``measures`` is the value itself; or a distance downwards, stored as ``reference``
    less the distance (reference: height of the sensor above gauge zero); or an elevation such as T.P., stored as the
    elevation less ``reference`` (the gauge zero in that datum). ``minimum`` and ``maximum`` bound the stored value,
    both inclusive. ``sentinels`` are sent values that mean "no value"; ``words`` are what sent texts stand for.
    """

    field: str
    attribute: str
    unit_code: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    factor: float = 1.0
    offset: float = 0.0
    dataset: str = NO_DATASET
    unit: str | None = None
    measures: str = VALUE
    reference: float | None = None
    sentinels: tuple[float | str, ...] = ()
    words: tuple[tuple[str, float | str | bool], ...] = ()
    scale: float = dataclass_field(init=False, repr=False, compare=False)
    shift: float = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scale, shift = self.linear(self.unit) or (self.factor, self.offset)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "shift", shift)

    def linear(self, unit: str | None) -> tuple[float, float] | None:
        """Scale and shift with ``stored = sent * scale + shift`` for values in ``unit``; None: not convertible."""
        scale, shift = self.factor, self.offset
        if unit is not None and self.unit_code is not None and unit != self.unit_code:
            converted = conversion(unit, self.unit_code)
            if converted is None:
                return None
            scale, shift = converted[0] * scale, converted[1] * scale + shift
        if self.measures == DISTANCE_DOWN:
            return -scale, (self.reference or 0.0) - shift
        if self.measures == ELEVATION:
            return scale, shift - (self.reference or 0.0)
        return scale, shift

    @property
    def is_number(self) -> bool:
        """Whether the mapping declares a number."""
        return self.minimum is not None or self.maximum is not None or self.scale != 1.0

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
            "unit": self.unit,
            "measures": None if self.measures == VALUE else self.measures,
            "reference": self.reference,
            "sentinels": list(self.sentinels) or None,
            "words": dict(self.words) or None,
        }
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """A registered device.

    ``device_id`` is unique within its tenant, ``key`` in the whole hub: it is the device's MQTT user name and its
    place in the topic. ``location`` is (longitude, latitude) in WGS 84 degrees. ``expected_interval_s`` is how often
    a reading should come, in seconds; None when it is not known. ``static_attributes`` are given to the entity
    when it is made. ``profile`` says how its messages are to be read; one that has state to tell feeds
    :func:`state_device` besides.
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
    static_attributes: Attributes = dataclass_field(default_factory=dict)
    password_hash: str | None = None
    profile: FormatProfile = DEFAULT_PROFILE
    by_field: Mapping[str, tuple[AttributeMapping, ...]] = dataclass_field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_field: dict[str, tuple[AttributeMapping, ...]] = {}
        for mapping in self.attributes:
            by_field[mapping.field] = (*by_field.get(mapping.field, ()), mapping)
        object.__setattr__(self, "by_field", by_field)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The names by which messages may call it: its key, and its address in a network of its own."""
        return (self.key,) if self.profile.address is None else (self.key, self.profile.address)

    def with_password_hash(self, password_hash: str) -> Device:
        """The same device with a new MQTT password (its hash)."""
        return replace(self, password_hash=password_hash)


@lru_cache(maxsize=10_000)
def state_device(device: Device) -> Device:
    """``device`` as the thing itself: what feeds its entity of type Device with battery, radio and counters."""
    owner = {NO_DATASET: {"type": "Relationship", "object": device.entity_id}}
    return Device(
        tenant_id=device.tenant_id,
        device_id=device.device_id,
        key=device.key,
        name=device.name,
        entity_id=f"urn:ngsi-ld:Device:{device.key}",
        entity_types=(DEVICE_TYPE,),
        attributes=_STATE_MAPPINGS,
        location=device.location,
        static_attributes={OWNER: owner},
    )


_STATE_MAPPINGS: Final = tuple(
    AttributeMapping(name, attribute, unit_code) for name, (attribute, unit_code) in STATE_ATTRIBUTES.items()
)


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
    ``expectedInterval`` (seconds), ``location`` ([longitude, latitude] or a GeoJSON Point), ``format`` (see
    :func:`~broker.formats.parse_profile`). ``expand`` turns the names of types and attributes into IRIs.
    Raises :class:`BadRequestData`.
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
        profile=parse_profile(document.get("format")),
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
    mapping = AttributeMapping(
        field=reader.text("field"),
        attribute=_expand(reader.text("attribute"), f"{path}.attribute", expand),
        unit_code=reader.text("unitCode") if document.get("unitCode") is not None else None,
        minimum=minimum,
        maximum=maximum,
        factor=_given(reader.number("factor", 1.0)),
        offset=_given(reader.number("offset", 0.0)),
        dataset=reader.text("datasetId", NO_DATASET),
        unit=reader.text("unit") if document.get("unit") is not None else None,
        measures=reader.text("measures", VALUE),
        reference=reader.number("reference"),
        sentinels=parse_sentinels(document.get("sentinels", []), f"{path}.sentinels"),
        words=_words(document.get("words", {}), path),
    )
    _check_conversion(mapping, path)
    return mapping


def _words(value: Any, path: str) -> tuple[tuple[str, float | str | bool], ...]:
    if isinstance(value, dict) and all(isinstance(meaning, int | float | str) for meaning in value.values()):
        return tuple((str(word), float(m) if type(m) is int else m) for word, m in value.items())
    raise BadRequestData(f"{path}.words is {value!r}; it has to be an object of plain values")


def _check_conversion(mapping: AttributeMapping, path: str) -> None:
    if mapping.measures not in MEASURES:
        raise BadRequestData(f"{path}.measures is {mapping.measures!r}; it has to be {', '.join(MEASURES)}")
    if mapping.measures != VALUE and mapping.reference is None:
        raise BadRequestData(f"{path}.reference is missing; {mapping.measures} is measured from it")
    if mapping.unit is not None and mapping.unit_code is None:
        raise BadRequestData(f"{path}.unit has no unitCode to be turned into")
    if mapping.linear(mapping.unit) is None:
        raise BadRequestData(f"{path}: {mapping.unit} cannot be turned into {mapping.unit_code}; use factor and offset")


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
        **({} if device.profile == DEFAULT_PROFILE else {"format": device.profile.document()}),
    }

# SPDX-License-Identifier: Apache-2.0
"""Registrations of devices as JSON documents: reading them with precise errors, and writing them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from broker.devices.model import MEASURES, VALUE, AttributeMapping, Device
from broker.devices.profile import parse_device_profile, with_normal_interval
from broker.errors import BadRequestData
from broker.intake.formats import DEFAULT_PROFILE, parse_profile, parse_sentinels
from broker.times import parse_time
from schemas.terms import NO_DATASET

# A device's id and key appear in MQTT topics and user names: no separators, no wildcards.
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_RESERVED: Final = frozenset({"minamo-hub"})
_MEMBERS: Final = frozenset({"@context", "id", "key", "name", "entityId", "entityType", "attributes"}) | {
    "expectedInterval",
    "format",
    "location",
    "newPassword",
    "profile",
}
# What the registry has taken out before (see device_records).
KNOWN_ELSEWHERE: Final = frozenset({"model", "reference", "startLevel", "owner", "serialNumber", "devEui"}) | {
    "installedAt",
    "notes",
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
    "earlierReferences",
}
_EARLIER_MEMBERS: Final = frozenset({"until", "reference"})
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


class Reader:
    """Takes members out of a device document and says precisely what is wrong with one.

    ``others`` are members that it names as known, though they are not to be there any more.
    """

    def __init__(self, document: Any, path: str, members: frozenset[str], others: frozenset[str] = frozenset()) -> None:
        if not isinstance(document, dict):
            raise BadRequestData(f"{path} is {document!r}; it has to be an object")
        if unknown := sorted(set(document) - members):
            known = ", ".join(sorted(members | others))
            raise BadRequestData(f"{path}.{unknown[0]} is not known; the members are {known}")
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
    ``expectedInterval`` (seconds; short for that of the profile in its normal mode), ``location`` ([longitude,
    latitude] or a GeoJSON Point), ``format`` (see :func:`~broker.intake.formats.parse_profile`), ``profile`` (see
    :mod:`broker.devices.profile`). ``expand`` turns the names of types and attributes into IRIs.
    Raises :class:`BadRequestData`.
    """
    reader = Reader(document, "device", _MEMBERS, KNOWN_ELSEWHERE)
    device_id = identifier(reader.text("id"), "device.id")
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
    device = Device(
        tenant_id=tenant_id,
        device_id=device_id,
        key=identifier(key, "device.key"),
        name=reader.text("name", device_id),
        entity_id=entity_id,
        entity_types=tuple(expand_name(name, "device.entityType", expand) for name in names),
        attributes=_mappings(reader.list("attributes"), expand),
        location=_location(document.get("location")),
        format=parse_profile(document.get("format")),
        profile=parse_device_profile(_profile(document.get("profile"), reader)),
    )
    interval = device.profile.expected_interval
    if interval is not None and interval.field is not None and interval.field not in device.by_field:
        fields = ", ".join(sorted(device.by_field))
        raise BadRequestData(f"device.profile.expectedInterval.field is {interval.field!r}; the device has: {fields}")
    if unknown := sorted(set(device.profile.quality) - set(device.by_field)):
        fields = ", ".join(sorted(device.by_field))
        raise BadRequestData(f"device.profile.quality has {unknown[0]!r}; the device has: {fields}")
    return device


def _profile(document: Any, reader: Reader) -> Any:
    interval = _positive(reader.number("expectedInterval"), "device.expectedInterval")
    return with_normal_interval(document, interval) if isinstance(document, dict | None) else document


def identifier(text: str, path: str) -> str:
    """``text``, when it can be the id or key of a device, or the id of a model."""
    if text in _RESERVED:
        raise BadRequestData(f"{path} is {text!r}, the hub's own name at the MQTT broker")
    if not _IDENTIFIER.fullmatch(text):
        raise BadRequestData(f"{path} is {text!r}; it may hold letters, digits, '.', '_' and '-', at most 128")
    return text


def expand_name(name: Any, path: str, expand: Callable[[str], str]) -> str:
    """``name`` of a type or an attribute as an IRI."""
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
    reader = Reader(document, path, _MAPPING_MEMBERS)
    minimum, maximum = reader.number("minimum"), reader.number("maximum")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise BadRequestData(f"{path}: minimum {minimum} is above maximum {maximum}")
    mapping = AttributeMapping(
        field=reader.text("field"),
        attribute=expand_name(reader.text("attribute"), f"{path}.attribute", expand),
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
        earlier=_earlier(reader.list("earlierReferences"), path),
    )
    _check_conversion(mapping, path)
    return mapping


def _earlier(entries: list[Any], path: str) -> tuple[tuple[datetime, float], ...]:
    found = []
    for number, entry in enumerate(entries):
        place = f"{path}.earlierReferences[{number}]"
        reader = Reader(entry, place, _EARLIER_MEMBERS)
        reference = reader.number("reference")
        if reference is None:
            raise BadRequestData(f"{place}.reference is missing")
        try:
            found.append((parse_time(reader.text("until")), float(reference)))
        except ValueError as exc:
            raise BadRequestData(f"{place}.until: {exc}") from exc
    if sorted({until for until, _ in found}) != [until for until, _ in found]:
        raise BadRequestData(f"{path}.earlierReferences are not in the order of their times")
    return tuple(found)


def _words(value: Any, path: str) -> tuple[tuple[str, float | str | bool], ...]:
    if isinstance(value, dict) and all(isinstance(meaning, int | float | str) for meaning in value.values()):
        return tuple((str(word), float(m) if type(m) is int else m) for word, m in value.items())
    raise BadRequestData(f"{path}.words is {value!r}; it has to be an object of plain values")


def _check_conversion(mapping: AttributeMapping, path: str) -> None:
    if mapping.measures not in MEASURES:
        raise BadRequestData(f"{path}.measures is {mapping.measures!r}; it has to be {', '.join(MEASURES)}")
    if mapping.earlier and mapping.measures == VALUE:
        raise BadRequestData(f"{path}.earlierReferences are for distances and elevations")
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
        **({} if device.format == DEFAULT_PROFILE else {"format": device.format.document()}),
        **({"profile": device.profile.document()} if _says_more(device) else {}),
    }


def _says_more(device: Device) -> bool:
    """Whether the profile says more than ``expectedInterval`` does."""
    seconds = device.expected_interval_s
    return device.profile.document() != with_normal_interval(None, seconds)

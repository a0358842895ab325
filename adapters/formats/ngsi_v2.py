# SPDX-License-Identifier: Apache-2.0
"""Entities of NGSIv2 (FIWARE Orion) as normalized NGSI-LD.

=========================================  ==========================================================================
NGSIv2                                     NGSI-LD
=========================================  ==========================================================================
``id`` that is no URI                      ``urn:ngsi-ld:<type>:<id>``
``Number`` (also as text)                  Property with a number
``DateTime``, ``ISO8601``                  Property with ``{"@type": "DateTime"}`` in UTC
``geo:json``, ``geo:point``, ``geo:line``  GeoProperty; ``geo:box``, ``geo:polygon``, ``coords`` too
``Relationship``, ``Reference``, ``ref*``  Relationship
``command*``                               left out
null                                       left out
everything else                            Property
metadata ``TimeInstant`` and the like      ``observedAt``
metadata ``unitCode``                      ``unitCode``
``dateCreated``, ``dateModified`` and so   left out
other metadata                             Properties of the Property
attribute ``TimeInstant``                  ``observedAt`` of all that have none of their own
=========================================  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from adapters.formats.device_times import read_time
from adapters.formats.documents import plain_value
from broker.intake.inboxes import Inbox
from broker.intake.readings import UndecodablePayload
from broker.times import to_text

Document = dict[str, Any]

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_REFERENCE: Final = re.compile(r"ref([A-Z]\w*)")
_PAIR: Final = re.compile(r"\s*([+-]?\d+(?:\.\d*)?)\s*,\s*([+-]?\d+(?:\.\d*)?)\s*")
_NUMBERS: Final = frozenset(("Number", "Float", "Integer", "Double", "float", "number", "integer"))
_TIMES: Final = frozenset(("DateTime", "ISO8601"))
_RELATIONS: Final = frozenset(("Relationship", "Reference"))
_COMMANDS: Final = frozenset(("command", "commandStatus", "commandResult"))
_OF_ORION: Final = frozenset(("dateCreated", "dateModified", "dateExpires", "previousValue", "actionType", "ID"))
_OF_TIME: Final = frozenset(("TimeInstant", "observedAt"))  # attributes that say nothing but the time of the others
_UNIT: Final = "unitCode"


def to_ngsi_ld(entity: Mapping[str, Any], inbox: Inbox) -> tuple[Document, list[str]]:
    """The entity, and what is wrong with attributes that are left out of it.

    ``entity`` is normalized or ``keyValues``. Raises :class:`UndecodablePayload` when it is no entity.
    """
    kind = entity.get("type", "Thing")
    if not isinstance(entity.get("id"), str) or not isinstance(kind, str):
        raise UndecodablePayload("the entity has no id or no type")
    kind = inbox.type_names.get(kind, kind)
    found: Document = {"id": urn(kind, entity["id"]), "type": kind}
    moment, faults = None, []
    try:
        moment = _moment({name: _attribute(value) for name, value in entity.items()}, inbox)
    except UndecodablePayload as exc:
        faults.append(str(exc))
    for name, value in entity.items():
        renamed = inbox.attribute_names.get(name, name)
        if name in ("id", "type") or name in _OF_TIME or name in _OF_ORION or not renamed:
            continue
        try:
            instance = _instance(name, _attribute(value), inbox, moment)
        except UndecodablePayload as exc:
            faults.append(f"{name}: {exc}")
            continue
        if instance is not None:
            found[renamed] = instance
    return found, faults


def urn(kind: str, identifier: str) -> str:
    """``identifier`` when it is a URI, else one made of it."""
    plain = identifier.strip()
    return plain if _URI.fullmatch(plain) else f"urn:ngsi-ld:{quote(kind, safe='')}:{quote(plain, safe='-._~:@')}"


def _attribute(value: Any) -> Document:
    """A normalized attribute; the value alone (``keyValues``) as one without a type."""
    if isinstance(value, dict) and "value" in value and value.keys() <= {"type", "value", "metadata"}:
        return value
    return {"value": value}


def _moment(attributes: Mapping[str, Document], inbox: Inbox) -> str | None:
    """When it was measured: by the first of the names of times that there is."""
    for name in inbox.time_names:
        value = attributes.get(name, {}).get("value")
        if isinstance(value, str) and name == "dateObserved":
            value = value.partition("/")[0]  # an interval begins with its begin
        if value not in (None, "", " "):
            return to_text(read_time(value, inbox.time_zone))
    return None


def _instance(name: str, attribute: Document, inbox: Inbox, moment: str | None) -> Document | None:
    value, kind = attribute["value"], attribute.get("type")
    kind = kind if isinstance(kind, str) else None
    metadata = attribute.get("metadata") or {}
    if value is None or kind in _COMMANDS:
        return None
    if not isinstance(metadata, dict):
        raise UndecodablePayload("metadata is not an object")
    instance = _valued(name, kind, value, inbox)
    said = {key: _attribute(item) for key, item in metadata.items()}
    observed_at = _moment(said, inbox) or moment
    if observed_at is not None:
        instance["observedAt"] = observed_at
    for key, item in said.items():
        if key in inbox.time_names or key in _OF_ORION or item["value"] is None:
            continue
        if key == _UNIT and isinstance(item["value"], str) and instance["type"] == "Property":
            instance[_UNIT] = item["value"]
        else:
            instance[key] = {"type": "Property", "value": item["value"]}
    return instance


def _valued(name: str, kind: Any, value: Any, inbox: Inbox) -> Document:
    if kind in _GEOMETRIES:
        return {"type": "GeoProperty", "value": _GEOMETRIES[kind](value)}
    if kind in _TIMES and isinstance(value, str):
        moment = to_text(read_time(value, inbox.time_zone))
        return {"type": "Property", "value": {"@type": "DateTime", "@value": moment}}
    reference = _REFERENCE.fullmatch(name)
    if kind in _RELATIONS or (reference is not None and kind in (None, "Text", "String")):
        target = reference[1] if reference else "Thing"
        if isinstance(value, str):
            return {"type": "Relationship", "object": urn(target, value)}
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return {"type": "ListRelationship", "objectList": [urn(target, item) for item in value]}
    if kind in _NUMBERS and isinstance(value, str):
        value = plain_value(value)
        if not isinstance(value, int | float):
            raise UndecodablePayload(f"{value!r} is not a number")
    return {"type": "Property", "value": value}


def _position(text: Any) -> list[float]:
    """``"35.0, 138.4"`` (latitude first) as a position of GeoJSON (longitude first)."""
    found = _PAIR.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise UndecodablePayload(f"{text!r} is not a latitude and a longitude")
    return [float(found[2]), float(found[1])]


def _positions(value: Any, least: int) -> list[list[float]]:
    if not isinstance(value, list) or len(value) < least:
        raise UndecodablePayload(f"{value!r} is not a list of at least {least} positions")
    return [_position(item) for item in value]


def _geojson(value: Any) -> Document:
    """A geometry, or that of a feature."""
    if isinstance(value, dict) and value.get("type") == "Feature":
        value = value.get("geometry")
    if isinstance(value, dict) and value.get("type") == "FeatureCollection":
        features = value.get("features")
        first = features[0] if isinstance(features, list) and len(features) == 1 else None
        value = first.get("geometry") if isinstance(first, dict) else None
    if not isinstance(value, dict) or "coordinates" not in value:
        raise UndecodablePayload(f"{value!r} is not a geometry of GeoJSON")
    return value


def _box(value: Any) -> Document:
    (west, south), (east, north) = _positions(value, 2)[:2]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _polygon(value: Any) -> Document:
    return {"type": "Polygon", "coordinates": [_positions(value, 4)]}


_GEOMETRIES: Final[Mapping[Any, Callable[[Any], Document]]] = {
    "geo:json": _geojson,
    "geo:point": lambda value: {"type": "Point", "coordinates": _position(value)},
    "coords": lambda value: {"type": "Point", "coordinates": _position(value)},
    "geo:line": lambda value: {"type": "LineString", "coordinates": _positions(value, 2)},
    "geo:box": _box,
    "geo:polygon": _polygon,
}

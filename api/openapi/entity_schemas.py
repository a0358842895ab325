# SPDX-License-Identifier: Apache-2.0
"""Entities and attributes as JSON Schemas (clauses 4.5, 5.2.4 to 5.2.8, 5.2.20), as requests and answers have them.

What requests give is described member by member. What answers give depends on form and projection (a simplified
attribute is its bare value; ``pick`` may leave out even the id), so that less is promised there.
"""

from __future__ import annotations

from typing import Final

from api.openapi.building import (
    ANY,
    NAME,
    NUMBER,
    TEXT,
    TIME,
    URI,
    Schema,
    array,
    members,
    named_members,
    ref,
    text_or_array,
)
from broker.entities import VALUE_MEMBER, AttributeKind
from broker.validation import GEOMETRY_DEPTH

_DATASET: Final[Schema] = {"anyOf": [URI, {"const": "@none"}]}
_POSITION: Final[Schema] = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 4}
_TEXTS: Final[Schema] = text_or_array({"type": "string"})
_VALUES: Final[dict[str, Schema]] = {
    AttributeKind.PROPERTY: {"description": "Any JSON value but null", "not": {"type": "null"}},
    AttributeKind.RELATIONSHIP: text_or_array(URI),
    AttributeKind.GEO_PROPERTY: ref("Geometry"),
    AttributeKind.LANGUAGE_PROPERTY: {"type": "object", "minProperties": 1, "additionalProperties": _TEXTS,
                                      "description": "Language tag or @none to text", "examples": [{"ja": "安倍川"}]},
    AttributeKind.VOCAB_PROPERTY: text_or_array(TEXT),
    AttributeKind.JSON_PROPERTY: {"type": ["object", "array"], "description": "Never expanded"},
    AttributeKind.LIST_PROPERTY: {"type": "array", "items": ANY},
    AttributeKind.LIST_RELATIONSHIP: array({"anyOf": [URI, members({"object": URI}, ["object"])]}),
}  # fmt: skip
_UNITS: Final = frozenset((AttributeKind.PROPERTY, AttributeKind.GEO_PROPERTY, AttributeKind.LIST_PROPERTY))
_RELATIONSHIPS: Final = frozenset((AttributeKind.RELATIONSHIP, AttributeKind.LIST_RELATIONSHIP))


def _attribute(kind: AttributeKind) -> Schema:
    """One attribute instance in normalized form; other members are its sub-attributes."""
    own: dict[str, Schema] = {"type": {"const": kind.value}, VALUE_MEMBER[kind]: _VALUES[kind]}
    own |= {"observedAt": TIME, "datasetId": _DATASET, "expiresAt": TIME}
    if kind in _UNITS:
        own["unitCode"] = {"type": "string", "examples": ["MTR"]}
    own["objectType" if kind in _RELATIONSHIPS else "valueType"] = text_or_array(NAME)
    return named_members(own, ["type", VALUE_MEMBER[kind]], others=ref("Attribute"))


_KINDS: Final = {kind.value: _attribute(kind) for kind in AttributeKind}
_IDENTITY: Final[dict[str, Schema]] = {
    "id": URI,
    "type": text_or_array(NAME),
    "scope": text_or_array({"type": "string", "pattern": "^/?[^/]+(/[^/]+)*$", "examples": ["/Japan/Shizuoka"]}),
    "expiresAt": TIME,
}


def _entity(required: list[str], others: str, description: str) -> Schema:
    return named_members(_IDENTITY, required, others=ref(others), description=description)


_EVOLUTION: Final = _IDENTITY | {"scope": ANY}  # a Property with several instances, if it changed

INPUT: Final[dict[str, Schema]] = {
    **_KINDS,
    "Geometry": {
        "description": "GeoJSON in WGS 84, longitude first (4.7)",
        "oneOf": [ref(name) for name in GEOMETRY_DEPTH],
    },
    **{
        name: members({"type": {"const": name}, "coordinates": _coordinates}, ["type", "coordinates"], others=True)
        for name, _coordinates in {
            "Point": _POSITION,
            "MultiPoint": array(_POSITION, 1),
            "LineString": array(_POSITION, 2),
            "MultiLineString": array(array(_POSITION, 2), 1),
            "Polygon": array(array(_POSITION, 4), 1),
            "MultiPolygon": array(array(array(_POSITION, 4), 1), 1),
        }.items()
    },
    "Attribute": {
        "description": "One instance, several that differ by datasetId, or concise: the bare value of a Property (4.5)",
        "anyOf": [
            *map(ref, _KINDS),
            {"type": "array", "minItems": 1, "items": {"anyOf": [ref(kind) for kind in _KINDS]}},
            {"type": ["string", "number", "boolean"]},
            {"type": "object", "description": "A concise attribute: without its type"},
        ],
    },
    "Entity": _entity(["id", "type"], "Attribute", "A complete entity, normalized or concise (5.2.4)"),
    "EntityReplacement": _entity(["type"], "Attribute", "A complete entity; its id may be left to the address"),
    "EntityFragment": _entity([], "AttributeFragment", "Some members of an entity (5.4)"),
    "AttributeReplacement": ref("Attribute"),
    "AttributeFragment": {
        "description": "Some members of an attribute; urn:ngsi-ld:null removes one (5.5.8, 5.5.12)",
        "anyOf": [ref("Attribute"), {"type": "object"}],
    },
    "EntityArray": array(ref("Entity"), 1),
    "EntityFragmentArray": array(
        _entity(["id"], "AttributeFragment", "Some members of the entity with this id (5.4)"), 1
    ),
    "EntityIds": array(URI, 1),
    "TemporalEntity": named_members(
        _EVOLUTION, ["id", "type"], others=ref("Attribute"), description="Attributes with all their instances (4.5.6)"
    ),
    "TemporalEntityFragment": named_members(_EVOLUTION, others=ref("Attribute")),
    "AttributeInstance": {
        "description": "One instance of an attribute, alone or as the only one within a fragment",
        "anyOf": [*map(ref, _KINDS), {"type": "object"}],
    },
}
"""Bodies of requests by name."""

_WRITTEN: Final[dict[str, Schema]] = {
    "id": URI,
    "type": text_or_array(TEXT),
    "scope": ANY,
    "createdAt": TIME,
    "modifiedAt": TIME,
    "deletedAt": TIME,
    "expiresAt": TIME,
    "@context": ANY,
}
_FEATURE: Final = members(
    {
        "id": URI,
        "type": {"const": "Feature"},
        "geometry": {"anyOf": [ref("Geometry"), {"type": "null"}]},
        "properties": {"type": "object"},
        "@context": ANY,
    },
    ["id", "type", "geometry", "properties"],
)

OUTPUT: Final[dict[str, Schema]] = {
    "EntityRepresentation": members(
        _WRITTEN, others=True, description="An entity in the form and with the members asked for (4.5, 4.21)"
    ),
    "Entities": array(ref("EntityRepresentation")),
    "EntityOrLinked": {
        "description": "The entity; with join=flat an array of it and of those linked",
        "anyOf": [ref("EntityRepresentation"), ref("Entities")],
    },
    "Feature": _FEATURE,
    "FeatureCollection": members(
        {"type": {"const": "FeatureCollection"}, "features": array(ref("Feature")), "@context": ANY},
        ["type", "features"],
    ),
    "TemporalEvolution": members(
        _WRITTEN, others=True, description="An entity whose attributes are arrays of instances, values, or aggregates"
    ),
    "TemporalEvolutions": array(ref("TemporalEvolution")),
    "PartlyUpdated": {
        "description": "Attributes that were not written, or with context sources the parts not made",
        "anyOf": [ref("UpdateResult"), ref("BatchOperationResult")],
    },
    "UpdateResult": members(
        {
            "updated": array(TEXT),
            "notUpdated": array(
                members({"attributeName": TEXT, "reason": {"type": "string"}}, ["attributeName", "reason"])
            ),
        },
        ["updated", "notUpdated"],
        description="Which attributes were written, and which not (5.2.18)",
    ),
}
"""Bodies of answers by name."""

GEO_JSON_OF: Final[dict[str, Schema]] = {
    "Entities": ref("FeatureCollection"),
    "EntityOrLinked": {"anyOf": [ref("Feature"), ref("FeatureCollection")]},
}
"""What an answer is in GeoJSON, by the name of its body in JSON."""

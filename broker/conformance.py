# SPDX-License-Identifier: Apache-2.0
"""Entities as earlier versions of the specification knew them (clause 4.3.6.8), on their written form.

A consumer may say with ``Prefer: ngsi-ld=1.5`` which version it understands. What is younger is left out or written as
the Property or Relationship it would have been.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Version: TypeAlias = tuple[int, int]

NEWEST: Final[Version] = (1, 9)

# Tables 4.3.6.8-1 to -3: the version that introduced a member; before it, the member is removed.
_ENTITY_MEMBERS: Final[Mapping[str, Version]] = {"expiresAt": (1, 9), "scope": (1, 4)}
_ATTRIBUTE_MEMBERS: Final[Mapping[str, Version]] = {
    "datasetId": (1, 3),
    "expiresAt": (1, 9),
    "objectType": (1, 8),
    "observedAt": (1, 3),
    "unitCode": (1, 3),
    "valueType": (1, 9),
}
# The version that introduced a kind of attribute, the member with its value, and what it is written as before.
_KINDS: Final[Mapping[str, tuple[Version, str, str]]] = {
    "LanguageProperty": ((1, 4), "languageMap", "Property"),
    "JsonProperty": ((1, 8), "json", "Property"),
    "VocabProperty": ((1, 8), "vocab", "Property"),
    "ListProperty": ((1, 8), "valueList", "Property"),
    "ListRelationship": ((1, 8), "objectList", "Relationship"),
}
_KIND_OF_MEMBER: Final = {member: kind for kind, (_, member, _) in _KINDS.items()}
_VALUE_MEMBER: Final = {"Property": "value", "Relationship": "object"}
# Several types of an entity, and several instances of an attribute (notes 1 to 3 of table 4.3.6.8-1).
_MULTIPLE: Final[Version] = (1, 3)
_NO_ATTRIBUTES: Final = frozenset(
    ("id", "type", "scope", "createdAt", "modifiedAt", "deletedAt", "expiresAt", "@context", "ngsildproof")
)
_NO_SUB_ATTRIBUTES: Final = frozenset(
    (
        *_ATTRIBUTE_MEMBERS,
        *_KIND_OF_MEMBER,
        *("type", "value", "object", "createdAt", "modifiedAt", "deletedAt", "instanceId", "entity", "entityList"),
    )
)


def conform_entity(entity: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """``entity``, normalized or concise, as ``version`` knows it. Simplified values are what they are."""
    conformed: dict[str, Any] = {}
    for name, value in entity.items():
        if version < _ENTITY_MEMBERS.get(name, version):
            continue
        if name == "type" and isinstance(value, list) and version < _MULTIPLE:
            conformed[name] = value[0]
        else:
            conformed[name] = value if name in _NO_ATTRIBUTES else _attribute(value, version)
    return conformed


def _attribute(given: Any, version: Version) -> Any:
    """One attribute: an instance, or a list of them."""
    if isinstance(given, list) and given and all(isinstance(instance, dict) for instance in given):
        if version < _MULTIPLE:
            return _instance(next((one for one in given if "datasetId" not in one), given[0]), version)
        return [_instance(instance, version) for instance in given]
    return _instance(given, version) if isinstance(given, dict) else given


def _instance(given: Mapping[str, Any], version: Version) -> dict[str, Any]:
    kind = given.get("type") or next((_KIND_OF_MEMBER[name] for name in given if name in _KIND_OF_MEMBER), None)
    introduced, value_member, fallback = _KINDS.get(str(kind), (version, "", ""))
    conformed: dict[str, Any] = {}
    for name, value in given.items():
        if version < _ATTRIBUTE_MEMBERS.get(name, version):
            continue
        if name == "entity" and isinstance(value, dict):
            conformed[name] = conform_entity(value, version)
        elif name == "entityList" and isinstance(value, list):
            conformed[name] = [conform_entity(item, version) if isinstance(item, dict) else item for item in value]
        elif version < introduced and name == "type":
            conformed[name] = fallback
        elif version < introduced and name == value_member:
            conformed[_VALUE_MEMBER[fallback]] = _objects(value) if fallback == "Relationship" else value
        else:
            conformed[name] = value if name in _NO_SUB_ATTRIBUTES else _attribute(value, version)
    return conformed


def _objects(object_list: Any) -> Any:
    """The URIs of an ``objectList``, which names them as ``{"object": uri}`` in normalized form."""
    if not isinstance(object_list, list):
        return object_list
    return [item["object"] if isinstance(item, dict) and "object" in item else item for item in object_list]

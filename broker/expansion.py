# SPDX-License-Identifier: Apache-2.0
"""From the wire to the internal form: normalized and concise NGSI-LD with a term map, completely checked.

Implements the representations of clause 4.5 and the validation of 5.5.4. The two forms need no switch: an object with
a ``type`` or with the value member of a kind (``value``, ``object``, ``languageMap`` ...) is an attribute; everything
else is the value of a Property, or of a GeoProperty when it is a geometry (4.5.2.3, 4.7.3).

Two flags say where an NGSI-LD Null (``urn:ngsi-ld:null``) may stand. ``allow_null``: as an attribute or its value, to
remove the attribute (Update Attributes, 5.5.8). ``partial``: also as any member, in values and in language maps, and
the value of an attribute may be missing (Merge Entity 5.5.12, Partial Attribute Update 5.6.4). Such fragments keep the
Null in their instances; :mod:`broker.operations` applies it.

The stored form is one where the wire has two: ``objectList`` is a list of URIs, a geometry given as text is an object.
``valueType`` and ``objectType`` are IRIs, since the core context coerces them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from broker.contexts.jsonld import TermMap
from broker.entities import VALUE_MEMBER, AttributeKind, Attributes, ExpandedEntity, Instance
from broker.errors import BadRequestData
from broker.validation import (
    check_dataset,
    check_geometry,
    check_scopes,
    check_time,
    check_uri,
    contains_null,
    fault,
    is_geometry,
    shown,
)
from broker.values import READERS, ValueReader
from schemas.terms import LOCATION, NGSI_LD, NO_DATASET, NULL, OBSERVATION_SPACE, OPERATION_SPACE

ENTITY_MEMBERS: Final = frozenset(
    ("id", "@id", "type", "@type", "scope", "expiresAt", "@context", "createdAt", "modifiedAt", "deletedAt")
)
_SYSTEM_MEMBERS: Final = frozenset(("createdAt", "modifiedAt", "deletedAt", "instanceId"))  # given by the hub; not read
_OUTPUT_MEMBERS: Final = frozenset(
    ("entity", "entityList", "lang", "previousValue", "previousObject", "previousLanguageMap", "previousVocab",
     "previousJson", "previousValueList", "previousObjectList")
)  # fmt: skip
_VALUE_MEMBERS: Final = frozenset(VALUE_MEMBER.values())
_SEALED_MEMBERS: Final = frozenset(("entityIdSealed", "entityTypeSealed"))
_OWN_MEMBERS: Final = _VALUE_MEMBERS | {"observedAt", "unitCode", "datasetId", "expiresAt", "valueType", "objectType"}
_NOT_SUBATTRIBUTES: Final = _OWN_MEMBERS | _SYSTEM_MEMBERS | _OUTPUT_MEMBERS | _SEALED_MEMBERS | {"type", "@type"}
_PROOF: Final = NGSI_LD + "ngsildproof"
_GEO_ATTRIBUTES: Final = frozenset((LOCATION, OBSERVATION_SPACE, OPERATION_SPACE))
_CORE_ATTRIBUTES: Final = _GEO_ATTRIBUTES | {_PROOF}
_LANG_STRING: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString"
_RELATIONSHIPS: Final = frozenset((AttributeKind.RELATIONSHIP, AttributeKind.LIST_RELATIONSHIP))
_UNITLESS: Final = _RELATIONSHIPS | {
    AttributeKind.LANGUAGE_PROPERTY,
    AttributeKind.VOCAB_PROPERTY,
    AttributeKind.JSON_PROPERTY,
}
_IRIS_OF_MEMBERS: Final = {
    "value": "hasValue", "object": "hasObject", "languageMap": "hasLanguageMap", "vocab": "hasVocab", "json": "hasJSON",
    "valueList": "hasValueList", "objectList": "hasObjectList", "valueType": "hasValueType",
    "objectType": "hasObjectType", "previousValue": "hasPreviousValue", "previousObject": "hasPreviousObject",
    "previousLanguageMap": "hasPreviousLanguageMap", "previousVocab": "hasPreviousVocab",
    "previousJson": "hasPreviousJson", "previousValueList": "hasPreviousValueList",
    "previousObjectList": "hasPreviousObjectList",
}  # fmt: skip
_NOT_ATTRIBUTES: Final = frozenset(
    NGSI_LD + _IRIS_OF_MEMBERS.get(name, name)
    for name in _OWN_MEMBERS | _SYSTEM_MEMBERS | _OUTPUT_MEMBERS | _SEALED_MEMBERS
)
"""IRIs of the core's non-reified members: clause 4.5.1 forbids attributes of these names, whatever their prefix."""
_KINDS: Final[dict[str, str]] = {str(kind): str(kind) for kind in AttributeKind}
_KIND_OF_MEMBER: Final = {member: kind for kind, member in reversed(VALUE_MEMBER.items())} | {
    "value": AttributeKind.PROPERTY,
    "object": AttributeKind.RELATIONSHIP,
}
_NULL_MARKER: Final[Instance] = {"value": NULL}
_NO_TEXTS: Final = {NO_DATASET: NULL}  # a LanguageProperty that is removed (4.5.18.2)


@dataclass(frozen=True, slots=True)
class EntityFragment:
    """What a request says about an existing entity (clause 5.4): absent members are None or empty."""

    attributes: Attributes = field(default_factory=dict)
    types: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    id: str | None = None
    removed: frozenset[str] = frozenset()
    """Those of ``scope`` and ``expiresAt`` that are set to NGSI-LD Null."""


def split_context(body: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The ``@context`` of a body (None if it has none) and the body without it."""
    rest = dict(body)
    return rest.pop("@context", None), rest


def expand_entity(body: Any, terms: TermMap) -> ExpandedEntity:
    """A complete entity (clause 4.5.1): ``id`` and ``type`` are required, NGSI-LD Nulls are not allowed."""
    fragment = expand_fragment(body, terms)
    if fragment.id is None:
        raise BadRequestData('An entity needs an "id"')
    if not fragment.types:
        raise BadRequestData('An entity needs a "type"')
    return ExpandedEntity(
        fragment.id,
        fragment.types,
        fragment.attributes,
        scopes=fragment.scopes or (),
        expires_at=fragment.expires_at,
    )


def expand_fragment(body: Any, terms: TermMap, *, allow_null: bool = False, partial: bool = False) -> EntityFragment:
    """An entity fragment (clause 5.4); ``partial`` implies ``allow_null``."""
    attributes = expand_attributes(body, terms, allow_null=allow_null, partial=partial)
    members, removed = entity_members(body, terms, allow_null=allow_null or partial)
    return EntityFragment(attributes, removed=removed, **members)


def entity_members(body: dict[str, Any], terms: TermMap, *, allow_null: bool) -> tuple[dict[str, Any], frozenset[str]]:
    """The other members than attributes, as :class:`EntityFragment` arguments, and the names of those set to Null."""
    members: dict[str, Any] = {}
    removed = set()
    if (identifier := body.get("id", body.get("@id"))) is not None:
        members["id"] = check_uri(identifier, "id")
    if (types := body.get("type", body.get("@type"))) is not None:
        members["types"] = _expand_types(types, terms)
    for name, member, check in (("scope", "scopes", check_scopes), ("expiresAt", "expires_at", check_time)):
        if (value := body.get(name)) is None:
            continue
        if value == NULL and allow_null:
            removed.add(name)
        else:
            members[member] = check(value, name)
    return members, frozenset(removed)


def _expand_types(value: Any, terms: TermMap) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names):
        raise fault("type", f"{shown(value)} is not a type name or a list of type names")
    if NULL in names:
        raise fault("type", "a type cannot be removed")
    return tuple(dict.fromkeys(map(terms.expand_term, names)))


def expand_attributes(body: Any, terms: TermMap, *, allow_null: bool = False, partial: bool = False) -> Attributes:
    """The attributes among the members of ``body``; ``id``, ``type``, ``scope`` and the like are passed over."""
    if not isinstance(body, dict):
        raise BadRequestData(f"{shown(body)} is not a JSON object")
    return _Expander(terms, allow_null, partial).attributes(body, ENTITY_MEMBERS, "")


def expand_attribute(
    name: str, body: Any, terms: TermMap, *, allow_null: bool = False, partial: bool = False
) -> dict[str, Instance]:
    """The instances by ``datasetId`` (``@none`` for the default one) of the attribute ``name``.

    With ``partial``, an object is always an attribute fragment (clause 5.6.4) and never the bare value of a Property;
    values are replaced as a whole, so that no NGSI-LD Null is allowed within them.
    """
    check_attribute_iri(name, terms, name)
    expander = _Expander(terms, allow_null, partial)
    if not partial:
        return expander.attribute(name, body, name)
    instances = expander.fragment(name, body)
    _check_values_whole(instances, name)
    return instances


def _check_values_whole(instances: dict[str, Instance], path: str) -> None:
    """Only a merge takes values apart: elsewhere no NGSI-LD Null stands within a value or a language map (5.5.4)."""
    for instance in instances.values():
        value = instance.get("value")
        if value.__class__ in (dict, list) and contains_null(value):
            raise fault(path, f"{NULL} is not allowed within a value")
        texts = instance.get("languageMap", {})
        if texts != _NO_TEXTS and contains_null(texts):
            raise fault(path, f"{NULL} is not allowed within a language map")
        for iri, inner in instance.get("attrs", {}).items():
            _check_values_whole(inner, f"{path}.{iri}")


def check_attribute_iri(name: str, terms: TermMap, path: str) -> str:
    """The IRI of an attribute's name; names of core members are refused (clause 4.5.1)."""
    iri = terms.expand_term(name)
    if iri in _NOT_ATTRIBUTES:
        raise fault(path, f"{shown(name)} is a core member and not a name for attributes")
    return iri


def check_core_attribute(iri: str, instances: dict[str, Instance], path: str) -> None:
    """The attributes that the core defines have a fixed kind (clause 4.7.1; 4.5.2.2 for ``ngsildproof``)."""
    for instance in instances.values():
        kind = instance.get("type")
        if iri in _GEO_ATTRIBUTES and kind not in (None, AttributeKind.GEO_PROPERTY):
            raise fault(path, f"it is a GeoProperty by definition, not a {kind}")
        if iri == _PROOF and not (kind == AttributeKind.PROPERTY and isinstance(instance.get("value"), dict)):
            raise fault(path, "it is a Property with the proof as an object")


class _Expander(ValueReader):
    """The walk over one request."""

    __slots__ = ()

    def attributes(self, body: dict[str, Any], skipped: frozenset[str], path: str) -> Attributes:
        result: Attributes = {}
        for name, value in body.items():
            if name not in skipped:
                iri, instances = self._named(name, value, path)
                if iri in result:
                    raise fault(path, f"attribute {iri} is given twice")
                result[iri] = instances
        return result

    def _named(self, name: str, value: Any, path: str) -> tuple[str, dict[str, Instance]]:
        if name == "@context":
            raise fault(path, "an attribute cannot have an @context of its own")
        where = f"{path}.{name}" if path else name
        iri = check_attribute_iri(name, self.terms, where)
        instances = self.attribute(name, value, where)
        if iri in _CORE_ATTRIBUTES:
            check_core_attribute(iri, instances, where)
        return iri, instances

    def attribute(self, name: str, value: Any, path: str) -> dict[str, Instance]:
        if value.__class__ is not list or not any(map(is_instance, value)):
            dataset, instance = self._instance(name, value, path)
            return {dataset: instance}
        instances: dict[str, Instance] = {}
        for index, item in enumerate(value):
            where = f"{path}[{index}]"
            if not is_instance(item):
                raise fault(where, "the other elements are attribute instances, but this one is not")
            dataset, instance = self._instance(name, item, where)
            if dataset in instances:
                what = "no datasetId" if dataset == NO_DATASET else f"datasetId {dataset}"
                raise fault(where, f"more than one instance has {what}")
            instances[dataset] = instance
        return instances

    def fragment(self, name: str, body: Any) -> dict[str, Instance]:
        if not isinstance(body, dict) or "type" in body or "@type" in body:
            return self.attribute(name, body, name)
        dataset, instance = self._members(name, body, _infer_kind(body, partial=True) or "", name)
        return {dataset: instance}

    def _instance(self, name: str, value: Any, path: str) -> tuple[str, Instance]:
        if value.__class__ is dict:
            given = value.get("type")
            kind = _KINDS.get(given) if given.__class__ is str else None
            if kind is None:
                kind = self._kind(value, given, path)
            if kind is not None:
                return self._members(name, value, kind, path)
        if value is None:
            raise fault(path, "null is not a value in NGSI-LD")
        if value == NULL:
            self.check_null(path)
            return NO_DATASET, dict(_NULL_MARKER)
        if is_geometry(value):
            return NO_DATASET, {"type": _KINDS["GeoProperty"], "value": check_geometry(value, path)}
        return NO_DATASET, {"type": _KINDS["Property"], "value": self.value(value, path)}

    def _kind(self, value: dict[str, Any], given: Any, path: str) -> str | None:
        """The kind of an attribute whose ``type`` is missing or unusual; None when ``value`` is the value itself."""
        if given is None and "@value" not in value:
            given = value.get("@type")
        if given is None:
            return _infer_kind(value, self.partial)
        if is_geometry(value):
            return None
        if isinstance(given, str):
            iri = self.terms.expand_value_iri(given)
            if iri.startswith(NGSI_LD) and iri[len(NGSI_LD) :] in _KINDS:
                return iri[len(NGSI_LD) :]
        raise fault(path, f"type {shown(given)} is not one of {', '.join(_KINDS)}")

    def _members(self, name: str, body: dict[str, Any], kind: str, path: str) -> tuple[str, Instance]:
        """One attribute instance with a known kind ("" for a fragment that does not say it) and its datasetId."""
        instance: Instance = {"type": kind} if kind else {}
        member = VALUE_MEMBER.get(kind)  # None: also the empty text may be a name
        dataset = NO_DATASET
        subattributes = False
        for key, item in body.items():
            if key in ("type", "@type"):
                continue
            if key == member:
                instance[key] = READERS[kind](self, item, f"{path}.{key}")
            elif key == "observedAt":
                instance[key] = self.time(item, f"{path}.{key}")
            elif key == "datasetId":
                dataset = check_dataset(item, f"{path}.{key}")
            elif key in _OWN_MEMBERS:
                instance[key] = self._other_member(kind, key, item, path)
            elif key in _OUTPUT_MEMBERS:
                raise fault(path, f'"{key}" is only given in responses')
            elif key in _SEALED_MEMBERS:
                instance[key] = self._sealed(name, key, item, path)
            elif key not in _SYSTEM_MEMBERS:
                subattributes = True
        if subattributes:
            instance["attrs"] = self.attributes(body, _NOT_SUBATTRIBUTES, path)
        if member not in instance and not self.partial:
            raise fault(path, f'a {kind} needs "{member}"')
        return dataset, instance

    def _other_member(self, kind: str, key: str, item: Any, path: str) -> Any:
        """``unitCode``, ``expiresAt``, ``valueType``, ``objectType``; or a value member of another kind."""
        where = f"{path}.{key}"
        if key in _VALUE_MEMBERS or _is_prohibited(kind, key):
            raise fault(path, f'"{key}" is not allowed in a {kind}')
        if key == "expiresAt":
            return self.time(item, where)
        if item == NULL and self.partial:
            return NULL
        if key == "unitCode":
            if not isinstance(item, str) or item == NULL:
                raise fault(where, f"{shown(item)} is not a text")
            return item
        iri = self.vocabulary(item, where)
        if key == "valueType" and kind == AttributeKind.LANGUAGE_PROPERTY and iri != _LANG_STRING:
            raise fault(where, "the valueType of a LanguageProperty is langString")
        return iri

    def _sealed(self, name: str, key: str, item: Any, path: str) -> str:
        if self.terms.expand_term(name) != _PROOF:
            raise fault(path, f'"{key}" is only allowed in "ngsildproof"')
        if not isinstance(item, str):
            raise fault(f"{path}.{key}", f"{shown(item)} is not a text")
        return self.terms.expand_value_iri(item) if key == "entityTypeSealed" else item


def is_instance(value: Any) -> bool:
    """Whether an element of a list is an attribute instance (clause 4.5.5) and not an element of a Property's value."""
    if value.__class__ is not dict:
        return False
    kind = value.get("type", value.get("@type") if "@value" not in value else None)
    if kind is None:
        return not _VALUE_MEMBERS.isdisjoint(value)
    return kind.__class__ is str and kind.rpartition(":")[2].rpartition("/")[2] in _KINDS


def is_own_member(name: str) -> bool:
    """Whether ``name`` is a member that tells an attribute from the bare value of a Property."""
    return name in _OWN_MEMBERS


def _infer_kind(value: dict[str, Any], partial: bool) -> str | None:
    """The kind of a concise attribute (clause 4.5.2.3 and its siblings); None when it is a bare value.

    In a partial fragment, members such as ``observedAt`` are enough for an attribute whose kind stays as it is: "".
    """
    for member, kind in _KIND_OF_MEMBER.items():
        if member in value:
            return _KINDS["GeoProperty"] if member == "value" and is_geometry(value["value"]) else str(kind)
    return "" if partial and not _OWN_MEMBERS.isdisjoint(value) else None


def _is_prohibited(kind: str, key: str) -> bool:
    if key == "unitCode":
        return kind in _UNITLESS
    if key == "valueType":
        return kind in _RELATIONSHIPS
    return key == "objectType" and bool(kind) and kind not in _RELATIONSHIPS

# SPDX-License-Identifier: Apache-2.0
"""From the internal form to the wire: normalized, concise, simplified, GeoJSON (clauses 4.5.1 to 4.5.4, 4.5.16).

A representation is the last pure step before a response or a notification. It walks an entity once and compacts names
with the term map of the request; values are handed over as they are, so the result must not be changed by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from broker.contexts.jsonld import TermMap
from broker.entities import VALUE_MEMBER, AttributeKind, ExpandedEntity, Instance
from broker.errors import BadRequestData
from broker.expansion import is_instance, is_own_member
from broker.times import to_text
from broker.validation import is_geometry
from schemas.terms import LOCATION, NO_DATASET

_SYSTEM_MEMBERS: Final = ("createdAt", "modifiedAt", "expiresAt", "deletedAt", "instanceId")
_PROPERTY: Final = AttributeKind.PROPERTY.value
_WRAPPED: Final[dict[str, str]] = {
    kind: VALUE_MEMBER[kind]
    for kind in (AttributeKind.LANGUAGE_PROPERTY, AttributeKind.VOCAB_PROPERTY, AttributeKind.JSON_PROPERTY)
}
"""Kinds whose simplified value stays in an object with its member (clause 4.5.4, examples 4 to 6)."""


class Form(StrEnum):
    """The representations of clause 6.3.7."""

    NORMALIZED = "normalized"
    CONCISE = "concise"
    SIMPLIFIED = "simplified"


@dataclass(frozen=True, slots=True)
class Representation:
    """How to write an entity. Names in ``pick``, ``omit`` and ``attrs`` are attribute IRIs."""

    form: Form = Form.NORMALIZED
    sys_attrs: bool = False
    """Write ``createdAt``, ``modifiedAt`` and ``expiresAt`` (clause 6.3.11)."""
    attrs: frozenset[str] | None = None
    """Write these attributes only; ``id``, ``type`` and ``scope`` stay."""
    pick: frozenset[str] | None = None
    """Write these members only, where ``id``, ``type``, ``scope`` and the entity's times count too (clause 4.21)."""
    omit: frozenset[str] = frozenset()
    """Leave these members out (clause 4.21)."""
    datasets: frozenset[str] | None = None
    """Write these instances only; ``@none`` is the default one (clause 4.5.5)."""
    languages: tuple[str, ...] = ()
    """Write the best text of a LanguageProperty as a Property (clause 4.15): :func:`parse_language_filter`."""

    def writes(self, member: str) -> bool:
        """Whether the entity's member (``id``, ``type``, ``scope`` or an attribute IRI) is written."""
        return (self.pick is None or member in self.pick) and member not in self.omit

    def writes_attribute(self, iri: str) -> bool:
        """Whether the attribute is written, if it has an instance that is :meth:`chosen`."""
        return self.writes(iri) and (self.attrs is None or iri in self.attrs)

    def chosen(self, instances: dict[str, Instance]) -> dict[str, Instance]:
        """The instances of an attribute that are written, by datasetId."""
        if self.datasets is None:
            return instances
        return {name: item for name, item in instances.items() if name in self.datasets}


NORMALIZED: Final = Representation()
SIMPLIFIED: Final = Representation(Form.SIMPLIFIED)
CONCISE: Final = Representation(Form.CONCISE)


def represent(entity: ExpandedEntity, terms: TermMap, options: Representation = NORMALIZED) -> dict[str, Any]:
    """``entity`` as a JSON object without ``@context`` (clauses 4.5.1 and 4.5.4)."""
    result: dict[str, Any] = {}
    if options.writes("id"):
        result["id"] = entity.id
    if options.writes("type"):
        result["type"] = _one_or_list([terms.compact_iri(iri) for iri in entity.types])
    if entity.scopes and options.writes("scope"):
        result["scope"] = _one_or_list(list(entity.scopes))
    if options.sys_attrs:
        _add_times(result, entity, options)
    _add_attributes(result, entity, terms, options)
    return result


def _add_times(result: dict[str, Any], entity: ExpandedEntity, options: Representation) -> None:
    for member, moment in (
        ("createdAt", entity.created_at),
        ("modifiedAt", entity.modified_at),
        ("expiresAt", entity.expires_at),
    ):
        if moment is not None and options.writes(member):
            result[member] = to_text(moment)


def _add_attributes(result: dict[str, Any], entity: ExpandedEntity, terms: TermMap, options: Representation) -> None:
    projected = options.pick is not None or options.omit or options.attrs is not None
    for iri, instances in entity.attributes.items():
        if projected and not options.writes_attribute(iri):
            continue
        instances = options.chosen(instances)
        if instances:
            result[terms.compact_iri(iri)] = represent_attribute(instances, terms, options)


def represent_attribute(instances: dict[str, Instance], terms: TermMap, options: Representation = NORMALIZED) -> Any:
    """One attribute: its only instance, or all as a list or, simplified, a ``dataset`` object (clause 4.5.4)."""
    if len(instances) == 1:
        for dataset, instance in instances.items():
            return represent_instance(instance, dataset, terms, options)
    if options.form is Form.SIMPLIFIED:
        return {"dataset": {name: _simplified(item, terms, options) for name, item in instances.items()}}
    several = [_normalized(item, name, terms, options) for name, item in instances.items()]
    return several if options.form is Form.NORMALIZED else [_concise(item, alone=False) for item in several]


def represent_instance(instance: Instance, dataset: str, terms: TermMap, options: Representation = NORMALIZED) -> Any:
    """One attribute instance in the form of ``options``; ``dataset`` is ``@none`` for the default instance."""
    if options.form is Form.SIMPLIFIED:
        return _simplified(instance, terms, options)
    result = _normalized(instance, dataset, terms, options)
    return result if options.form is Form.NORMALIZED else _concise(result, alone=True)


def _normalized(instance: Instance, dataset: str, terms: TermMap, options: Representation) -> dict[str, Any]:
    """All members of ``instance`` by their short names; sub-attributes in the form of ``options``."""
    if options.languages and "languageMap" in instance:
        instance = _in_best_language(instance, options.languages)
    result = instance.copy()
    if not options.sys_attrs:
        for member in _SYSTEM_MEMBERS:
            result.pop(member, None)
    if dataset != NO_DATASET:
        result["datasetId"] = dataset
    if "vocab" in result:
        result["vocab"] = _compact_values(result["vocab"], terms)
    elif "objectList" in result and options.form is Form.NORMALIZED:
        result["objectList"] = [{"object": uri} for uri in result["objectList"]]
    for member in ("valueType", "objectType", "entityTypeSealed"):
        if member in result:
            result[member] = _compact_values(result[member], terms)
    if "attrs" in result:
        for iri, instances in result.pop("attrs").items():
            result[terms.compact_iri(iri)] = represent_attribute(instances, terms, options)
    return result


def _concise(result: dict[str, Any], *, alone: bool) -> Any:
    """The tersest form of a normalized attribute that reads back as the same (clauses 4.5.2.3, 4.5.3.3, 4.7.3).

    Only the instance that stands ``alone`` can be a bare value; those of a list are objects.
    """
    kind = result.pop("type", None)
    if "value" not in result:
        return result
    value = result["value"]
    if kind != _PROPERTY:
        return value if alone and len(result) == 1 else result
    if is_geometry(value):
        return {"type": kind, **result}
    return value if alone and len(result) == 1 and _stands_alone(value) else result


def _stands_alone(value: Any) -> bool:
    """Whether a bare ``value`` is read as a Property's value and not as an attribute."""
    if isinstance(value, dict):
        typed = "type" in value or ("@type" in value and "@value" not in value)
        return not typed and not any(map(is_own_member, value))
    return not (isinstance(value, list) and any(map(is_instance, value)))


def _simplified(instance: Instance, terms: TermMap, options: Representation) -> Any:
    kind = instance["type"]
    if kind in _WRAPPED:
        if options.languages and "languageMap" in instance:
            return _in_best_language(instance, options.languages)["value"]
        member = _WRAPPED[kind]
        value = instance[member]
        return {member: _compact_values(value, terms) if member == "vocab" else value}
    return instance[VALUE_MEMBER[kind]]


def _compact_values(value: Any, terms: TermMap) -> Any:
    return [terms.compact_iri(item) for item in value] if isinstance(value, list) else terms.compact_iri(value)


def _one_or_list(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


@lru_cache(maxsize=256)
def parse_language_filter(text: str) -> tuple[str, ...]:
    """The language ranges of a ``lang`` parameter, best first (clause 4.15, RFC 4647): ``fr-CH,fr;q=0.9,*;q=0.5``."""
    ranked = []
    for part in text.split(","):
        language, _, quality = part.strip().partition(";")
        try:
            weight = float(quality.strip().removeprefix("q=")) if quality else 1.0
        except ValueError:
            raise BadRequestData(f"lang: {part.strip()!r} is not a language range such as fr;q=0.9") from None
        if not language.strip():
            raise BadRequestData(f"lang: {text!r} is not a list of languages")
        if weight > 0:
            ranked.append((-weight, language.strip().lower()))
    return tuple(language for _, language in sorted(ranked, key=lambda item: item[0]))


def _in_best_language(instance: Instance, languages: tuple[str, ...]) -> Instance:
    """A LanguageProperty as a Property with the text in the best language and which language that is (``lang``)."""
    texts: dict[str, Any] = instance["languageMap"]
    language = _best_language(texts, languages)
    rest = {member: value for member, value in instance.items() if member not in ("type", "languageMap")}
    return {"type": _PROPERTY, "value": texts[language], "lang": language, **rest}


def _best_language(texts: dict[str, Any], languages: tuple[str, ...]) -> str:
    known = {tag.lower(): tag for tag in texts}
    for wanted in languages:
        if wanted == "*":
            break
        narrowed = wanted
        while narrowed:  # RFC 4647 lookup: de-CH-1996, de-CH, de
            if narrowed in known:
                return known[narrowed]
            narrowed = narrowed.rpartition("-")[0]
        for tag in known:
            if tag.startswith(wanted + "-"):
                return known[tag]
    return NO_DATASET if NO_DATASET in texts else next(iter(texts))


def represent_feature(
    entity: ExpandedEntity, terms: TermMap, options: Representation = NORMALIZED, geometry_property: str = LOCATION
) -> dict[str, Any]:
    """``entity`` as a GeoJSON Feature (clauses 4.5.16.2 and 4.5.17.1); ``geometry_property`` is an attribute IRI."""
    properties = represent(entity, terms, options)
    properties.pop("id", None)
    return {
        "id": entity.id,
        "type": "Feature",
        "geometry": select_geometry(entity, geometry_property, options.datasets),
        "properties": properties,
    }


def select_geometry(
    entity: ExpandedEntity, geometry_property: str, datasets: frozenset[str] | None = None
) -> dict[str, Any] | None:
    """The geometry of clause 4.5.16.1: the default instance, or the one of the only ``datasets``; None without one."""
    instances = entity.attributes.get(geometry_property, {})
    dataset = next(iter(datasets)) if datasets is not None and len(datasets) == 1 else NO_DATASET
    value = instances.get(dataset, {}).get("value")
    return value if is_geometry(value) else None


def feature_collection(features: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A GeoJSON FeatureCollection (clauses 4.5.16.3 and 4.5.17.2)."""
    return {"type": "FeatureCollection", "features": list(features)}

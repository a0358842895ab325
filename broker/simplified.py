# SPDX-License-Identifier: Apache-2.0
"""Simplified (key-values) input of Merge Entity (clauses 4.5.4, 5.6.17.4 and 6.5.3.4).

A simplified value does not say its attribute type. An attribute that exists keeps its own; a new one is a GeoProperty
for a geometry, what its only member says for ``{"languageMap": ...}``, ``{"json": ...}`` and ``{"vocab": ...}``, and
otherwise a Property. Several instances come as ``{"dataset": {datasetId: value}}``.
"""

from __future__ import annotations

from typing import Any, Final

from broker.contexts.jsonld import TermMap
from broker.entities import VALUE_MEMBER, AttributeKind, Attributes, ExpandedEntity, Instance
from broker.errors import BadRequestData
from broker.expansion import (
    ENTITY_MEMBERS,
    EntityFragment,
    check_attribute_iri,
    check_core_attribute,
    entity_members,
)
from broker.validation import check_dataset, fault, is_geometry, shown
from broker.values import READERS, ValueReader
from schemas.terms import NO_DATASET, NULL

_KIND_OF_WRAPPER: Final = {
    "languageMap": AttributeKind.LANGUAGE_PROPERTY,
    "json": AttributeKind.JSON_PROPERTY,
    "vocab": AttributeKind.VOCAB_PROPERTY,
}


def expand_simplified(
    body: Any, terms: TermMap, stored: ExpandedEntity, *, language: str | None = None
) -> EntityFragment:
    """A simplified entity fragment for merging into ``stored``; NGSI-LD Nulls are allowed everywhere.

    ``language`` is the request's ``lang``: where ``stored`` has a LanguageProperty, a text replaces that language only.
    """
    if not isinstance(body, dict):
        raise BadRequestData(f"{shown(body)} is not a JSON object")
    reader = ValueReader(terms, nulls=True, partial=True)
    attributes: Attributes = {}
    for name, value in body.items():
        if name in ENTITY_MEMBERS:
            continue
        iri = check_attribute_iri(name, terms, name)
        if iri in attributes:
            raise fault(name, f"attribute {iri} is given twice")
        kinds = {dataset: instance["type"] for dataset, instance in stored.attributes.get(iri, {}).items()}
        attributes[iri] = {
            dataset: _instance(reader, item, kinds.get(dataset), language, path)
            for dataset, item, path in _instances(name, value)
        }
        check_core_attribute(iri, attributes[iri], name)
    members, removed = entity_members(body, terms, allow_null=True)
    return EntityFragment(attributes, removed=removed, **members)


def _instances(name: str, value: Any) -> list[tuple[str, Any, str]]:
    if not isinstance(value, dict) or set(value) != {"dataset"} or not isinstance(value["dataset"], dict):
        return [(NO_DATASET, value, name)]
    return [(check_dataset(key, name), item, f"{name}.dataset.{key}") for key, item in value["dataset"].items()]


def _instance(reader: ValueReader, value: Any, kind: str | None, language: str | None, path: str) -> Instance:
    if value == NULL:
        return {"value": NULL}
    wrapper = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else ""
    if kind is None:
        kind = str(_KIND_OF_WRAPPER.get(wrapper, AttributeKind.PROPERTY))
        if is_geometry(value):
            kind = str(AttributeKind.GEO_PROPERTY)
    member = VALUE_MEMBER[kind]
    if _KIND_OF_WRAPPER.get(wrapper) == kind:
        value = value[wrapper]
    elif kind == AttributeKind.LANGUAGE_PROPERTY and language is not None and isinstance(value, str | list):
        value = {language: value}
    return {"type": kind, member: READERS[kind](reader, value, path)}

# SPDX-License-Identifier: Apache-2.0
"""Entities and attributes in the one form the hub works with: expanded names, core members by their short names.

The shapes (clause 4.5 of ETSI GS CIM 009 V1.9.1, names expanded per clause 5.2):

``Attributes``
    ``{attribute IRI: {datasetId or "@none": Instance}}``; this is the ``jsonb`` document of an entity row.
``Instance``
    ``{"type": kind, <value member>: ..., "observedAt", "unitCode", "createdAt", "modifiedAt", "attrs": Attributes}``.
    The value member is the one of the wire (``value``, ``object``, ``languageMap``, ``vocab``, ``json``,
    ``valueList``, ``objectList``). Times are canonical text (see :mod:`broker.times`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from schemas.terms import LOCATION, NO_DATASET

Instance = dict[str, Any]
Attributes = dict[str, dict[str, Instance]]


class AttributeKind(StrEnum):
    """The attribute kinds of clause 4.5."""

    PROPERTY = "Property"
    RELATIONSHIP = "Relationship"
    GEO_PROPERTY = "GeoProperty"
    LANGUAGE_PROPERTY = "LanguageProperty"
    VOCAB_PROPERTY = "VocabProperty"
    JSON_PROPERTY = "JsonProperty"
    LIST_PROPERTY = "ListProperty"
    LIST_RELATIONSHIP = "ListRelationship"


VALUE_MEMBER: Final[dict[str, str]] = {
    AttributeKind.PROPERTY: "value",
    AttributeKind.RELATIONSHIP: "object",
    AttributeKind.GEO_PROPERTY: "value",
    AttributeKind.LANGUAGE_PROPERTY: "languageMap",
    AttributeKind.VOCAB_PROPERTY: "vocab",
    AttributeKind.JSON_PROPERTY: "json",
    AttributeKind.LIST_PROPERTY: "valueList",
    AttributeKind.LIST_RELATIONSHIP: "objectList",
}


@dataclass(frozen=True, slots=True)
class ExpandedEntity:
    """One entity. Times are aware UTC; ``scopes`` are kept as given (``/Japan/Shizuoka``)."""

    id: str
    types: tuple[str, ...]
    attributes: Attributes = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    created_at: datetime | None = None
    modified_at: datetime | None = None
    expires_at: datetime | None = None

    def location(self) -> dict[str, Any] | None:
        """The GeoJSON geometry of the default ``location`` instance, or None."""
        instance = self.attributes.get(LOCATION, {}).get(NO_DATASET)
        return instance["value"] if instance and instance.get("type") == AttributeKind.GEO_PROPERTY else None

    def with_attributes(self, attributes: Attributes) -> ExpandedEntity:
        """The same entity with other attributes."""
        return replace(self, attributes=attributes)


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """One attribute instance that an operation wrote or removed (``after`` is None when removed)."""

    attribute: str
    dataset: str
    before: Instance | None
    after: Instance | None


@dataclass(frozen=True, slots=True)
class EntityChange:
    """What an operation makes of an entity: ``before`` is None for a creation, ``after`` for a deletion."""

    before: ExpandedEntity | None
    after: ExpandedEntity | None
    attributes: tuple[AttributeChange, ...] = ()

    @property
    def entity(self) -> ExpandedEntity:
        """The newest state known: after the change, or before it for a deletion."""
        entity = self.after or self.before
        if entity is None:
            raise ValueError("a change has a state before or after it")
        return entity

    @property
    def operation(self) -> str:
        """``created``, ``deleted`` or ``updated``."""
        if self.before is None:
            return "created"
        return "deleted" if self.after is None else "updated"

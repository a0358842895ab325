# SPDX-License-Identifier: Apache-2.0
"""What a query asks, as values: the trees that the parsers make and that matching and SQL both read.

``q`` is a :data:`Formula` of :class:`Term` (clause 4.9), the type selection a formula of :class:`TypeName`
(clause 4.17), ``scopeQ`` a formula of :class:`ScopePattern` (clause 4.19). Names are expanded IRIs. Every class is
frozen and hashable, so that a compiled matcher can be kept by its query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeAlias, TypeVar

Leaf = TypeVar("Leaf")
Expand: TypeAlias = Callable[[str], str]  # a term of the request's @context -> its IRI


@dataclass(frozen=True, slots=True)
class And(Generic[Leaf]):
    """All operands hold."""

    operands: tuple[Formula[Leaf], ...]


@dataclass(frozen=True, slots=True)
class Or(Generic[Leaf]):
    """At least one operand holds."""

    operands: tuple[Formula[Leaf], ...]


Formula: TypeAlias = And[Leaf] | Or[Leaf] | Leaf


class Operator(StrEnum):
    """The operators of ``q``. ``ABSENT`` (``!name``) is an extension: the entity has no such target element."""

    EXISTS = ""
    ABSENT = "!"
    EQUAL = "=="
    UNEQUAL = "!="
    GREATER = ">"
    GREATER_EQUAL = ">="
    LESS = "<"
    LESS_EQUAL = "<="
    PATTERN = "~="
    NOT_PATTERN = "!~="


ORDERING: Final = frozenset({Operator.GREATER, Operator.GREATER_EQUAL, Operator.LESS, Operator.LESS_EQUAL})


class ValueKind(StrEnum):
    """The data types that a value of ``q`` can have; a quoted value is always ``TEXT``."""

    NUMBER = "number"
    TEXT = "string"
    BOOLEAN = "boolean"
    DATE_TIME = "dateTime"
    DATE = "date"
    TIME = "time"
    URI = "URI"


TEMPORAL: Final = frozenset({ValueKind.DATE_TIME, ValueKind.DATE, ValueKind.TIME})


@dataclass(frozen=True, slots=True)
class Value:
    """A literal. Times hold their sort key: UTC without ``Z`` and without trailing zeros (``…T07:47:43.5``)."""

    kind: ValueKind
    content: str | int | float | bool


@dataclass(frozen=True, slots=True)
class ValueList:
    """``a,b,c``: the target is, or includes, any of the values."""

    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """``low..high``: the closed interval between two values of the same kind."""

    low: Value
    high: Value


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression in the dialect of :mod:`broker.query.patterns`."""

    text: str


Operand: TypeAlias = Value | ValueList | Range | Pattern


@dataclass(frozen=True, slots=True)
class AttributePath:
    """``names[0].names[1]…``, then either a member of the last instance or a path into its value.

    ``names`` may be empty only when ``member`` is one of the entity's own times. ``member`` is the short name of a
    system member (``observedAt``, ``unitCode`` ...). ``trailing`` are the JSON member names between the brackets, or
    one language tag; ``("*",)`` means any language.
    """

    names: tuple[str, ...]
    member: str | None = None
    trailing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkedPath:
    """``relationship{types:target}``: the path continues in the entities that the Relationship points at."""

    relationship: str
    types: tuple[str, ...]
    target: AttributePath | LinkedPath


@dataclass(frozen=True, slots=True)
class Term:
    """One condition of ``q``. ``operand`` is None for ``EXISTS`` and ``ABSENT``."""

    path: AttributePath | LinkedPath
    operator: Operator
    operand: Operand | None = None


@dataclass(frozen=True, slots=True)
class TypeName:
    """The entity has this type (an IRI), possibly among others."""

    iri: str


@dataclass(frozen=True, slots=True)
class ScopePattern:
    """A scope by its levels; ``+`` stands for any one level; ``subtree`` takes in everything below (``/#``)."""

    levels: tuple[str, ...]
    subtree: bool = False


QueryTree: TypeAlias = Formula[Term]
TypeTree: TypeAlias = Formula[TypeName]
ScopeTree: TypeAlias = Formula[ScopePattern]


class GeoRelation(StrEnum):
    """The geospatial relationships of clause 4.10; ``near`` comes apart into its two modifiers."""

    NEAR_MAX = "near;maxDistance"
    NEAR_MIN = "near;minDistance"
    WITHIN = "within"
    CONTAINS = "contains"
    OVERLAPS = "overlaps"
    INTERSECTS = "intersects"
    EQUALS = "equals"
    DISJOINT = "disjoint"


@dataclass(frozen=True, slots=True)
class GeoQuery:
    """``relation`` between the entity's ``geoproperty`` (IRI) and ``geometry``.

    ``geometry`` is GeoJSON text: two-dimensional, WGS 84, longitude first, valid in the sense of the OGC.
    ``distance_m`` is set for the two ``near`` relations.
    """

    relation: GeoRelation
    geometry: str
    geoproperty: str
    distance_m: float | None = None


@dataclass(frozen=True, slots=True)
class EntitySelector:
    """One of several alternatives that pick entities by identity (clause 5.2.33); what is not given always holds.

    ``ids`` take precedence over ``id_pattern``, as the clause says.
    """

    ids: tuple[str, ...] = ()
    id_pattern: str | None = None
    types: TypeTree | None = None


@dataclass(frozen=True, slots=True)
class EntityQuery:
    """Everything that a query of entities can ask; what is not given always holds, what is given holds together.

    ``attributes``: the entity has at least one of them (IRIs). ``selectors``: at least one of them holds (POST
    queries and subscriptions name several).
    """

    ids: tuple[str, ...] = ()
    id_pattern: str | None = None
    types: TypeTree | None = None
    attributes: tuple[str, ...] = ()
    q: QueryTree | None = None
    geo: GeoQuery | None = None
    scope: ScopeTree | None = None
    selectors: tuple[EntitySelector, ...] = ()


def leaves(tree: Formula[Leaf]) -> Iterator[Leaf]:
    """The leaves of a formula, from left to right."""
    if isinstance(tree, And | Or):
        for operand in tree.operands:
            yield from leaves(operand)
    else:
        yield tree


def attribute_names(tree: QueryTree) -> frozenset[str]:
    """The top-level attributes (IRIs) that ``q`` names; empty when it asks for the entity's own times only."""
    names = set()
    for term in leaves(tree):
        path = term.path
        if isinstance(path, LinkedPath):
            names.add(path.relationship)
        elif path.names:
            names.add(path.names[0])
    return frozenset(names)


def linked_depth(tree: QueryTree) -> int:
    """How many Relationships the longest path of ``q`` follows; 0 when it stays within the entity."""

    def depth(path: AttributePath | LinkedPath) -> int:
        return 1 + depth(path.target) if isinstance(path, LinkedPath) else 0

    return max(depth(term.path) for term in leaves(tree))

# SPDX-License-Identifier: Apache-2.0
"""Linked entity retrieval: answers with the entities that Relationships point at (clause 4.5.23).

Only Relationships that are written are followed, level by level; an id that was met before (on the way from the
linking entity, or given as ``containedBy``) ends a path, so that loops do. Entities that are not stored here are
passed over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from broker.contexts.jsonld import TermMap
from broker.entities import AttributeKind, ExpandedEntity, Instance
from broker.errors import TooManyResults
from broker.representations import Form, Representation, represent

MAX_JOIN_LEVEL: Final = 32
MAX_LINKED: Final = 10_000  # linked entities read for, or written in, one answer

_TARGETS: Final[dict[str, str]] = {
    AttributeKind.RELATIONSHIP: "object",
    AttributeKind.LIST_RELATIONSHIP: "objectList",
}
_EMBEDDED: Final = {"object": "entity", "objectList": "entityList"}  # clauses 5.2.6 and 5.2.37


class Join(StrEnum):
    """The values of ``join``."""

    NONE = "@none"
    INLINE = "inline"
    FLAT = "flat"


@dataclass(frozen=True, slots=True)
class LinkedRetrieval:
    """How far Relationships are followed, and how what they point at is written."""

    join: Join = Join.NONE
    level: int = 1
    contained_by: frozenset[str] = frozenset()

    @property
    def depth(self) -> int:
        """How many Relationships are followed, one behind the other."""
        return 0 if self.join is Join.NONE else self.level


@dataclass(frozen=True, slots=True)
class LinkedForm:
    """How an entity is written, and by Relationship (IRI) how the entities are that it points at.

    What ``linked`` does not name is written by ``others``; None stands for this form itself.
    """

    representation: Representation
    linked: Mapping[str, LinkedForm] = field(default_factory=dict)
    others: LinkedForm | None = None

    def of(self, relationship: str) -> LinkedForm:
        """The form of the entities that ``relationship`` points at."""
        return self.linked.get(relationship) or self.others or self


Fetch = Callable[[Collection[str]], Awaitable[Mapping[str, ExpandedEntity]]]
Linked = tuple[ExpandedEntity, LinkedForm]


def _links(entity: ExpandedEntity, form: LinkedForm) -> Iterator[tuple[str, str, Instance]]:
    """IRI, datasetId and instance of every Relationship of ``entity`` that is written."""
    representation = form.representation
    for iri, instances in entity.attributes.items():
        if representation.writes_attribute(iri):
            for dataset, instance in representation.chosen(instances).items():
                if instance["type"] in _TARGETS:
                    yield iri, dataset, instance


def _uris(instance: Instance) -> list[str]:
    target = instance[_TARGETS[instance["type"]]]
    return target if isinstance(target, list) else [target]


async def linked_entities(
    roots: Iterable[ExpandedEntity], form: LinkedForm, retrieval: LinkedRetrieval, fetch: Fetch
) -> list[Linked]:
    """The entities linked to ``roots``, nearest first, each with its form; an id is there once for each form.

    Raises :class:`TooManyResults` beyond :data:`MAX_LINKED`.
    """
    frontier: list[Linked] = [(root, form) for root in roots]
    stored = {root.id: root for root, _ in frontier}
    seen = {(root.id, id(form)) for root, _ in frontier}
    found: list[Linked] = []
    for _ in range(retrieval.depth):
        targets = [
            (uri, each.of(iri))
            for entity, each in frontier
            for iri, _, instance in _links(entity, each)
            for uri in _uris(instance)
            if uri not in retrieval.contained_by
        ]
        missing = {uri for uri, _ in targets if uri not in stored}
        if len(stored) + len(missing) > MAX_LINKED:
            raise TooManyResults(f"The answer has more than {MAX_LINKED} linked entities; ask for a smaller page")
        stored.update(await fetch(missing) if missing else {})
        frontier = []
        for uri, each in targets:
            if uri in stored and (uri, id(each)) not in seen:
                seen.add((uri, id(each)))
                frontier.append((stored[uri], each))
        found += frontier
        if not frontier:
            break
    return found


def flattened(roots: Collection[ExpandedEntity], form: LinkedForm, linked: Iterable[Linked]) -> list[Linked]:
    """Linking entities and then linked ones, each once (clause 4.5.23.3)."""
    result = {root.id: (root, form) for root in roots}
    for entity, each in linked:
        result.setdefault(entity.id, (entity, each))
    return list(result.values())


class Inliner:
    """Writes linked entities into the Relationships that point at them (clause 4.5.23.2)."""

    def __init__(self, linked: Iterable[Linked], retrieval: LinkedRetrieval, terms: TermMap) -> None:
        self._stored = {entity.id: entity for entity, _ in linked}
        self._retrieval = retrieval
        self._terms = terms
        self._written = 0

    def inlined(self, root: ExpandedEntity, form: LinkedForm) -> ExpandedEntity:
        """``root`` with the JSON of linked entities in its Relationships, ready to be represented.

        Raises :class:`TooManyResults` when the same entities are repeated too often.
        """
        self._stored.setdefault(root.id, root)
        return self._inlined(root, form, self._retrieval.depth, self._retrieval.contained_by | {root.id})

    def _inlined(self, entity: ExpandedEntity, form: LinkedForm, depth: int, above: frozenset[str]) -> ExpandedEntity:
        if depth == 0:
            return entity
        attributes = dict(entity.attributes)
        for iri, dataset, instance in _links(entity, form):
            written = {
                uri: self._written_entity(self._stored[uri], form.of(iri), depth - 1, above | {uri})
                for uri in _uris(instance)
                if uri in self._stored and uri not in above
            }
            if written:
                simplified = form.representation.form is Form.SIMPLIFIED
                attributes[iri] = {**attributes[iri], dataset: _embedded(instance, written, simplified=simplified)}
        return entity.with_attributes(attributes)

    def _written_entity(
        self, entity: ExpandedEntity, form: LinkedForm, depth: int, above: frozenset[str]
    ) -> dict[str, Any]:
        self._written += 1
        if self._written > MAX_LINKED:
            raise TooManyResults(f"The answer has more than {MAX_LINKED} linked entities; ask for a smaller page")
        return represent(self._inlined(entity, form, depth, above), self._terms, form.representation)


def _embedded(instance: Instance, written: Mapping[str, dict[str, Any]], *, simplified: bool) -> Instance:
    """``instance`` with linked entities beside what it points at or, simplified, in its place."""
    member = _TARGETS[instance["type"]]
    several = isinstance(instance[member], list)
    if simplified:
        replaced = [written.get(uri, uri) for uri in _uris(instance)]
        return {**instance, member: replaced if several else replaced[0]}
    entities = [written[uri] for uri in _uris(instance) if uri in written]
    return {**instance, _EMBEDDED[member]: entities if several else entities[0]}

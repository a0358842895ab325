# SPDX-License-Identifier: Apache-2.0
"""Which registrations a request concerns, and with which part of it (clauses 5.12 and 4.3.6.1).

A source is only asked for what it registered: what a request wants is cut down to a :class:`Share` for each part of a
registration that it matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from broker.entities import ExpandedEntity
from broker.history.temporal import TemporalQuery, TimeProperty
from broker.query import EntityQuery, EntitySelector, GeoQuery, QueryTree, ScopeTree, TypeTree, attribute_names, matches
from broker.query.geometry import compile_geo
from broker.query.match import compile_q, compile_scope, compile_types
from broker.query.patterns import compile_pattern
from broker.query.tree import GeoRelation, Or, TypeName
from broker.registrations.model import EntityInfo, Information, Mode, Registration
from schemas.terms import NGSI_LD

_ENTITY_TIMES: Final = frozenset(NGSI_LD + name for name in ("createdAt", "modifiedAt", "expiresAt", "deletedAt"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request is about: entities of any of ``selectors`` (none: of every kind).

    ``attributes`` (IRIs) are those it wants to see, ``filtered`` those that its filters are about; none: any.
    """

    selectors: tuple[EntitySelector, ...] = ()
    attributes: frozenset[str] = frozenset()
    filtered: frozenset[str] = frozenset()
    datasets: frozenset[str] | None = None

    @property
    def named(self) -> frozenset[str]:
        """All attributes that the request names."""
        return self.attributes | self.filtered


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a request that is a source's: entities, and the attributes it registered (none: all of them)."""

    selector: EntitySelector
    attributes: frozenset[str] = frozenset()

    def part_of(self, entity: ExpandedEntity) -> ExpandedEntity | None:
        """What of ``entity``, as a source gave it, belongs to this share."""
        if not matches(entity, EntityQuery(selectors=(self.selector,))):
            return None
        if not self.attributes:
            return entity
        return entity.with_attributes({iri: item for iri, item in entity.attributes.items() if iri in self.attributes})


def wanted_by(query: EntityQuery, datasets: frozenset[str] | None = None) -> Wanted:
    """What a query of entities is about; attributes in ``q`` and geoqueries count as named (clause 5.10.2.4)."""
    identity = EntitySelector(query.ids, query.id_pattern, query.types)
    selectors = query.selectors or (() if identity == EntitySelector() else (identity,))
    filtered = set() if query.q is None else {name for name in attribute_names(query.q) if name not in _ENTITY_TIMES}
    if query.geo is not None:
        filtered.add(query.geo.geoproperty)
    return Wanted(selectors, frozenset(query.attributes), frozenset(filtered), datasets)


def shares_of(registration: Registration, wanted: Wanted) -> tuple[Share, ...]:
    """The parts of a request that concern ``registration``; none when it does not match (clause 5.12)."""
    if wanted.datasets and registration.datasets and wanted.datasets.isdisjoint(registration.datasets):
        return ()
    found: dict[Share, None] = {}
    for information in registration.information:
        if _names_attributes(information, wanted.named):
            attributes = _shared_attributes(information, wanted)
            for selector in _shared_selectors(information, wanted.selectors):
                found[Share(selector, attributes)] = None
    return tuple(found)


def within(entity: ExpandedEntity, shares: Iterable[Share]) -> ExpandedEntity | None:
    """What of ``entity``, as a source gave it, belongs to the shares that the source was asked for."""
    parts = [part for share in shares if (part := share.part_of(entity)) is not None]
    if not parts:
        return None
    return entity.with_attributes({iri: item for part in parts for iri, item in part.attributes.items()})


def without(entity: ExpandedEntity, shares: Iterable[Share]) -> ExpandedEntity | None:
    """What of ``entity``, as the hub holds it, is not held elsewhere; None when all of it is (clause 4.3.6.3)."""
    for share in shares:
        if matches(entity, EntityQuery(selectors=(share.selector,))):
            if not share.attributes:
                return None
            kept = {iri: item for iri, item in entity.attributes.items() if iri not in share.attributes}
            entity = entity.with_attributes(kept)
    return entity


def matching_information(registration: Registration, wanted: Wanted) -> Iterator[int]:
    """The positions of the RegistrationInfo elements that match, for filtered answers (clause 5.10.2.5)."""
    for index, information in enumerate(registration.information):
        if _names_attributes(information, wanted.named) and any(_shared_selectors(information, wanted.selectors)):
            yield index


def _names_attributes(information: Information, named: frozenset[str]) -> bool:
    return not named or not information.attributes or not named.isdisjoint(information.attributes)


def _shared_attributes(information: Information, wanted: Wanted) -> frozenset[str]:
    if not information.attributes or not wanted.attributes:
        return information.attributes or wanted.attributes
    return information.attributes & (wanted.attributes if wanted.attributes & information.attributes else wanted.named)


def _shared_selectors(information: Information, selectors: tuple[EntitySelector, ...]) -> Iterator[EntitySelector]:
    for selector in selectors or (EntitySelector(),):
        if not information.entities:
            yield selector
        for info in information.entities:
            narrowed = _narrowed(selector, info)
            if narrowed is not None:
                yield narrowed


def _narrowed(selector: EntitySelector, info: EntityInfo) -> EntitySelector | None:
    """``selector`` within ``info``; None when they have nothing in common."""
    types = _shared_types(selector.types, info.types)
    if types is None:
        return None
    identity = _shared_ids(selector, info)
    return None if identity is None else replace(identity, types=types)


def _shared_types(wanted: TypeTree | None, registered: frozenset[str]) -> TypeTree | None:
    """No other types than registered ones are asked for (clause 4.3.6.1)."""
    if wanted is None:
        return any_type(registered)
    names = alternatives(wanted)
    if names is not None:
        shared = names & registered
        return any_type(shared) if shared else None
    whole = ExpandedEntity("", tuple(registered))
    return wanted if compile_types(wanted)(whole) else None


def any_type(names: Iterable[str]) -> TypeTree:
    """The selection of entities of any of these types, of which there is at least one."""
    leaves = tuple(TypeName(name) for name in sorted(names))
    return leaves[0] if len(leaves) == 1 else Or(leaves)


def alternatives(tree: TypeTree) -> frozenset[str] | None:
    """The types of a selection that is no more than a list of them."""
    if isinstance(tree, TypeName):
        return frozenset({tree.iri})
    if isinstance(tree, Or):
        parts = [alternatives(part) for part in tree.operands]
        if None not in parts:
            return frozenset().union(*(part for part in parts if part is not None))
    return None


def _shared_ids(selector: EntitySelector, info: EntityInfo) -> EntitySelector | None:
    """The ids and pattern of both; two patterns are taken to have ids in common (clause 5.12)."""
    if info.id is not None:
        named = not selector.ids or info.id in selector.ids
        fits = selector.ids or selector.id_pattern is None or compile_pattern(selector.id_pattern).search(info.id)
        return EntitySelector((info.id,)) if named and fits else None
    if info.fits is None:
        return selector
    if selector.ids:
        ids = tuple(filter(info.fits, selector.ids))
        return EntitySelector(ids) if ids else None
    return EntitySelector((), selector.id_pattern or info.id_pattern)


# Conflicts (clauses 4.3.6.3 and 5.9.2.4).


def conflicting(registration: Registration, others: Iterable[Registration]) -> Registration | None:
    """A proxied registration that cannot be beside ``registration``: one of the two is exclusive, and both are about
    the same attribute of the same entity."""
    if not registration.mode.is_proxied:
        return None
    for other in others:
        exclusive = Mode.EXCLUSIVE in (registration.mode, other.mode)
        if other.mode.is_proxied and exclusive and other.id != registration.id and _overlap(registration, other):
            return other
    return None


def _overlap(one: Registration, other: Registration) -> bool:
    return any(
        _names_attributes(second, first.attributes) and _have_entities_in_common(first, second)
        for first in one.information
        for second in other.information
    )


def _have_entities_in_common(first: Information, second: Information) -> bool:
    selectors = tuple(selector_of(info) for info in first.entities)
    return next(_shared_selectors(second, selectors), None) is not None


def selector_of(info: EntityInfo) -> EntitySelector:
    """The entities of ``info`` as a selector."""
    return EntitySelector((info.id,) if info.id else (), info.id_pattern, any_type(info.types))


def held_elsewhere(registration: Registration) -> Iterator[EntityQuery]:
    """Queries for entities that the hub may not hold beside a proxied registration (clause 5.9.2.4)."""
    for information in registration.information:
        yield EntityQuery(
            selectors=tuple(selector_of(info) for info in information.entities),
            attributes=tuple(sorted(information.attributes)),
        )


# Filters of sources.


@dataclass(frozen=True, slots=True)
class SourceFilter:
    """What a request says about sources rather than entities (clause 5.10.2.4)."""

    csf: QueryTree | None = None
    scope: ScopeTree | None = None
    geo: GeoQuery | None = None
    temporal: TemporalQuery | None = None

    def admits(self, registration: Registration) -> bool:
        """Whether the source may have what is asked for. One without location or scope has none to be found by."""
        source = registration.described
        return (
            _admits_time(registration, self.temporal)
            and (self.csf is None or compile_q(self.csf)(source))
            and (self.scope is None or compile_scope(self.scope)(source))
            and (self.geo is None or _admits_place(source, self.geo))
        )


def _admits_place(source: ExpandedEntity, geo: GeoQuery) -> bool:
    """The place of the source is in the relation, or it may hold places that are."""
    if compile_geo(geo)(source):
        return True
    if geo.relation in (GeoRelation.NEAR_MAX, GeoRelation.NEAR_MIN):
        return False
    return compile_geo(replace(geo, relation=GeoRelation.INTERSECTS))(source)


def _admits_time(registration: Registration, query: TemporalQuery | None) -> bool:
    """Whether the source has a time that is asked for: its interval and that of the query have one in common."""
    if query is None or not query.restricted:
        return not registration.is_temporal
    observed = query.time_property is TimeProperty.OBSERVED_AT
    interval = registration.observation_interval if observed else registration.management_interval
    if interval is None:
        return False
    return (query.end is None or interval.start <= query.end) and (
        query.start is None or interval.end is None or query.start <= interval.end
    )

# SPDX-License-Identifier: Apache-2.0
"""Which subscriptions a change concerns (clause 5.8.6).

Two steps, because the first needs the change alone and leaves few for the second, which needs the whole entity:
:meth:`SubscriptionIndex.candidates` looks up identity, type, watched attributes and triggers in dictionaries;
:meth:`Indexed.matches` evaluates ``idPattern``, type selection, ``q``, ``geoQ`` and ``scopeQ``. The cost of a change
grows with the subscriptions of its tenant, type and attributes, not with all there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from broker.entities import AttributeChange, ExpandedEntity, Instance
from broker.query import EntitySelector, compile_query
from broker.query.match import Matcher
from broker.query.tree import And, TypeName, TypeTree
from broker.subscriptions.model import Subscription, Trigger, looks_into_linked, of_one_entity

_HUB_TIMES: Final = frozenset({"createdAt", "modifiedAt"})


@dataclass(frozen=True, slots=True)
class EntityEvent:
    """A committed change of one entity. ``operation``: ``created``, ``updated`` or ``deleted``."""

    tenant_id: int
    entity_id: str
    types: tuple[str, ...]
    operation: str
    changes: tuple[AttributeChange, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Indexed:
    """A subscription in the index: ``key`` is its number in the store, ``context`` its ``@context``.

    When ``needs_linked``, its ``q`` looks into linked entities: ``matches`` leaves it out, and the store decides.
    """

    key: int
    tenant_id: int
    subscription: Subscription
    context: Any
    matches: Matcher
    needs_linked: bool = False


def indexed(key: int, tenant_id: int, subscription: Subscription, context: Any) -> Indexed:
    """``subscription`` with its compiled query."""
    query = subscription.query
    matches = compile_query(of_one_entity(query))
    return Indexed(key, tenant_id, subscription, context, matches, looks_into_linked(query))


_ByAttribute: TypeAlias = dict[str | None, list[Indexed]]  # under None: those that watch all attributes


@dataclass(slots=True)
class _Tenant:
    by_id: dict[str, _ByAttribute] = field(default_factory=dict)
    by_type: dict[str, _ByAttribute] = field(default_factory=dict)
    others: _ByAttribute = field(default_factory=dict)

    def add(self, entry: Indexed) -> None:
        selectors = entry.subscription.query.selectors
        if not selectors:
            _add(self.others, entry)
        for selector in selectors:
            for place in self._places(selector):
                _add(place, entry)

    def _places(self, selector: EntitySelector) -> Iterator[_ByAttribute]:
        if selector.ids:
            yield from (self.by_id.setdefault(entity_id, {}) for entity_id in selector.ids)
        elif selector.types is not None:
            yield from (self.by_type.setdefault(iri, {}) for iri in required_types(selector.types))
        else:
            yield self.others

    def places_of(self, event: EntityEvent) -> Iterator[_ByAttribute]:
        if (by_id := self.by_id.get(event.entity_id)) is not None:
            yield by_id
        for iri in event.types:
            if (by_type := self.by_type.get(iri)) is not None:
                yield by_type
        if self.others:
            yield self.others


def _add(place: _ByAttribute, entry: Indexed) -> None:
    watched: Iterable[str | None] = (None,) if entry.subscription.watched is None else entry.subscription.watched
    for attribute in watched:
        place.setdefault(attribute, []).append(entry)


def required_types(tree: TypeTree) -> frozenset[str]:
    """Types of which an entity has at least one whenever ``tree`` holds: as few as possible."""
    if isinstance(tree, TypeName):
        return frozenset({tree.iri})
    parts = [required_types(operand) for operand in tree.operands]
    if isinstance(tree, And):
        return min(parts, key=len)
    return frozenset().union(*parts)


class SubscriptionIndex:
    """The live subscriptions of all tenants. It does not change: a new one is made when they do."""

    def __init__(self, entries: Iterable[Indexed] = ()) -> None:
        self._tenants: dict[int, _Tenant] = {}
        self._size = 0
        for entry in entries:
            self._tenants.setdefault(entry.tenant_id, _Tenant()).add(entry)
            self._size += 1

    def __len__(self) -> int:
        return self._size

    def candidates(self, event: EntityEvent) -> list[Indexed]:
        """Those that the change concerns by identity or type, watched attributes and trigger, each once."""
        tenant = self._tenants.get(event.tenant_id)
        if tenant is None:
            return []
        kinds = changed_attributes(event)
        whole = _WHOLE[event.operation]
        all_kinds = frozenset().union(whole, *kinds.values())
        found: dict[int, Indexed] = {}
        for place in tenant.places_of(event):
            _collect(found, place.get(None), all_kinds)
            for attribute, attribute_kinds in kinds.items():
                _collect(found, place.get(attribute), attribute_kinds | whole)
        return list(found.values())


_WHOLE: Final[dict[str, frozenset[Trigger]]] = {
    "created": frozenset({Trigger.ENTITY_CREATED}),
    "updated": frozenset(),
    "deleted": frozenset({Trigger.ENTITY_DELETED}),
}


def _collect(found: dict[int, Indexed], entries: list[Indexed] | None, kinds: frozenset[Trigger]) -> None:
    for entry in entries or ():
        if not kinds.isdisjoint(entry.subscription.triggers):
            found[entry.key] = entry


_KIND_SETS: Final = {trigger: frozenset({trigger}) for trigger in Trigger}


def changed_attributes(event: EntityEvent) -> dict[str, frozenset[Trigger]]:
    """By attribute, what happened to it; an attribute written with the content it had is not in it (5.8.6)."""
    result: dict[str, frozenset[Trigger]] = {}
    for change in event.changes:
        kind = kind_of(change)
        if kind is not None:
            kinds = _KIND_SETS[kind]
            known = result.get(change.attribute)
            result[change.attribute] = kinds if known is None else known | kinds
    return result


def kind_of(change: AttributeChange) -> Trigger | None:
    """What happened to an attribute instance; None when only the hub's own times differ."""
    if change.before is None:
        return None if change.after is None else Trigger.ATTRIBUTE_CREATED
    if change.after is None:
        return Trigger.ATTRIBUTE_DELETED
    return None if _same_content(change.before, change.after) else Trigger.ATTRIBUTE_UPDATED


def _same_content(before: Instance, after: Instance) -> bool:
    if before.keys() - _HUB_TIMES != after.keys() - _HUB_TIMES:
        return False
    for name, value in before.items():
        if name == "attrs":
            if not _same_attributes(value, after[name]):
                return False
        elif name not in _HUB_TIMES and not _equal(value, after[name]):
            return False
    return True


def _same_attributes(before: dict[str, dict[str, Instance]], after: dict[str, dict[str, Instance]]) -> bool:
    if before.keys() != after.keys():
        return False
    return all(
        group.keys() == after[name].keys() and all(_same_content(item, after[name][key]) for key, item in group.items())
        for name, group in before.items()
    )


def _equal(before: Any, after: Any) -> bool:
    """JSON equality: Python has ``True == 1``."""
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    return bool(before == after)


def state_before(entity: ExpandedEntity, event: EntityEvent) -> ExpandedEntity:
    """``entity`` as it was before ``event``, when it is as it was after it."""
    return _with(entity, event, [(change.attribute, change.dataset, change.before) for change in event.changes])


def state_after(entity: ExpandedEntity, event: EntityEvent) -> ExpandedEntity:
    """``entity`` with the attribute instances as ``event`` left them, whatever came later."""
    return _with(entity, event, [(change.attribute, change.dataset, change.after) for change in event.changes])


def _with(
    entity: ExpandedEntity, event: EntityEvent, instances: list[tuple[str, str, Instance | None]]
) -> ExpandedEntity:
    attributes = dict(entity.attributes)
    for attribute, dataset, instance in instances:
        group = dict(attributes.get(attribute, {}))
        if instance is None:
            group.pop(dataset, None)
        else:
            group[dataset] = instance
        if group:
            attributes[attribute] = group
        else:
            attributes.pop(attribute, None)
    return ExpandedEntity(
        entity.id,
        event.types,
        attributes,
        entity.scopes,
        entity.created_at,
        entity.modified_at,
        entity.expires_at,
    )

# SPDX-License-Identifier: Apache-2.0
"""An index over subscriptions, so that a change costs what it concerns and not what there is.

Three steps. :meth:`SubscriptionIndex.look_up` needs the change alone and looks up tenant, identity, type and changed
attributes in dictionaries. :meth:`Concern.candidates` needs the entity and looks up what it has of the values, scopes,
places and id prefixes that the queries ask for (:mod:`broker.subscriptions.filters`). What is left is evaluated
(:attr:`Indexed.matches`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, TypeAlias

from broker.audiences import Audience
from broker.entities import ExpandedEntity
from broker.query import EntitySelector
from broker.query.match import Matcher
from broker.query.tree import And, TypeName, TypeTree
from broker.subscriptions.filters import Key, Wanted, exact_id, required_keys
from broker.subscriptions.matching import EntityEvent, changed_attributes
from broker.subscriptions.model import Subscription, Trigger, compiled, looks_into_linked, of_one_entity
from broker.subscriptions.notification import shape


@dataclass(frozen=True, slots=True, eq=False)
class Indexed:
    """A subscription in the index: ``key`` is its number in the store, ``context`` its ``@context``.

    Notifications of those with the same ``shape`` differ in nothing but whom they are for. When ``needs_linked``, its
    ``q`` looks into linked entities: ``matches`` leaves it out, and the store decides.
    """

    key: int
    tenant_id: int
    subscription: Subscription
    context: Any
    shape: bytes
    matches: Matcher
    needs_linked: bool = False
    audience: Audience = Audience.STAFF


def indexed(
    key: int, tenant_id: int, subscription: Subscription, context: Any, audience: Audience = Audience.STAFF
) -> Indexed:
    """``subscription`` with its compiled query; ``audience`` is that of whoever made it."""
    query = subscription.query
    matches = compiled(of_one_entity(query))
    form = shape(subscription, context) + audience.word.encode()
    return Indexed(key, tenant_id, subscription, context, form, matches, looks_into_linked(query), audience)


_Entries: TypeAlias = dict[int, Indexed]
_COMPARED: Final = frozenset("<>")


@dataclass(slots=True)
class _Bucket:
    """Subscriptions that a change concerns as far as the change alone can tell."""

    always: _Entries = field(default_factory=dict)
    by_key: dict[Key, _Entries] = field(default_factory=dict)
    ordered: dict[Key, list[tuple[float, Key]]] = field(default_factory=dict)  # thresholds, by what is compared
    wanted: Wanted = field(default_factory=Wanted)

    def add(self, entry: Indexed, keys: frozenset[Key] | None) -> None:
        if keys is None:
            self.always[entry.key] = entry
            return
        for key in keys:
            if key not in self.by_key:
                self.by_key[key] = {}
                if key[0] in _COMPARED:
                    insort(self.ordered.setdefault(key[:2], []), (key[2], key))
            self.by_key[key][entry.key] = entry
        self.wanted.add(keys)

    def remove(self, entry: Indexed, keys: frozenset[Key] | None) -> None:
        if keys is None:
            self.always.pop(entry.key, None)
            return
        for key in keys:
            self.by_key[key].pop(entry.key, None)
            if not self.by_key[key]:
                del self.by_key[key]
                if key[0] in _COMPARED:
                    self.ordered[key[:2]].remove((key[2], key))
        self.wanted.remove(keys)

    def entries(self, entity: ExpandedEntity) -> Iterator[_Entries]:
        """Those that ``entity`` may match, some of them perhaps twice."""
        if self.always:
            yield self.always
        for key in self.wanted.keys_of(entity):
            if key[-1] is None:  # a geometry that is everywhere
                yield from [found for known, found in self.by_key.items() if known[: len(key) - 1] == key[:-1]]
            elif key[0] in _COMPARED:
                yield from self._compared(key)
            elif (found := self.by_key.get(key)) is not None:
                yield found

    def _compared(self, key: Key) -> Iterator[_Entries]:
        """Those whose threshold lies on the right side of the number in ``key``, or on it."""
        thresholds = self.ordered.get(key[:2], [])
        place = bisect_right if key[0] == ">" else bisect_left
        middle = place(thresholds, key[2], key=itemgetter(0))
        chosen = thresholds[:middle] if key[0] == ">" else thresholds[middle:]
        return (self.by_key[known] for _, known in chosen)

    def all(self) -> Iterator[_Entries]:
        yield self.always
        yield from self.by_key.values()


_ByAttribute: TypeAlias = dict[str | None, _Bucket]  # under None: those that watch all attributes


@dataclass(slots=True)
class _Tenant:
    by_id: dict[str, _ByAttribute] = field(default_factory=dict)
    by_type: dict[str, _ByAttribute] = field(default_factory=dict)
    others: _ByAttribute = field(default_factory=dict)

    def buckets(self, entry: Indexed) -> Iterator[tuple[_Bucket, frozenset[Key] | None]]:
        """Where ``entry`` belongs, and under which keys; what is not there yet is made."""
        query = of_one_entity(entry.subscription.query)
        watched: Iterable[str | None] = (None,) if entry.subscription.watched is None else entry.subscription.watched
        selectors: Sequence[EntitySelector | None] = query.selectors or (None,)
        for selector in selectors:
            # With several selectors an entry may be in one bucket twice; the same keys for all keep that simple.
            keys = required_keys(query, selector if len(selectors) == 1 else None)
            for place in self._places(selector):
                for attribute in watched:
                    yield place.setdefault(attribute, _Bucket()), keys

    def _places(self, selector: EntitySelector | None) -> Iterator[_ByAttribute]:
        exact = exact_id(selector.id_pattern) if selector and selector.id_pattern and not selector.ids else None
        if selector is None:
            yield self.others
        elif selector.ids or exact is not None:
            yield from (self.by_id.setdefault(entity_id, {}) for entity_id in selector.ids or (exact,) if entity_id)
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


def required_types(tree: TypeTree) -> frozenset[str]:
    """Types of which an entity has at least one whenever ``tree`` holds: as few as possible."""
    if isinstance(tree, TypeName):
        return frozenset({tree.iri})
    parts = [required_types(operand) for operand in tree.operands]
    if isinstance(tree, And):
        return min(parts, key=len)
    return frozenset().union(*parts)


class Concern:
    """What a change concerns as far as it can tell itself: buckets, each with what happened for those in it."""

    def __init__(self, parts: list[tuple[_Bucket, frozenset[Trigger]]]) -> None:
        self._parts = parts

    def candidates(self, entity: ExpandedEntity) -> list[Indexed]:
        """Those that ``entity`` may match, each once; :attr:`Indexed.matches` decides."""
        found: dict[int, Indexed] = {}
        for bucket, kinds in self._parts:
            for entries in bucket.entries(entity):
                _collect(found, entries, kinds)
        return list(found.values())

    def all(self) -> list[Indexed]:
        """Those that the change concerns whatever the entity is, each once."""
        found: dict[int, Indexed] = {}
        for bucket, kinds in self._parts:
            for entries in bucket.all():
                _collect(found, entries, kinds)
        return list(found.values())


class SubscriptionIndex:
    """The live subscriptions of all tenants."""

    def __init__(self, entries: Iterable[Indexed] = ()) -> None:
        self._tenants: dict[int, _Tenant] = {}
        self._entries: _Entries = {}
        self._removed = 0
        for entry in entries:
            self.add(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: int) -> bool:
        return key in self._entries

    def keys(self) -> set[int]:
        """The numbers of those in it."""
        return set(self._entries)

    def add(self, entry: Indexed) -> None:
        """Put ``entry`` in, in place of the one of the same number."""
        self.remove(entry.key)
        self._entries[entry.key] = entry
        for bucket, keys in self._places_of(entry):
            bucket.add(entry, keys)

    def remove(self, key: int) -> None:
        """Take out the one of this number, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        for bucket, keys in self._places_of(entry):
            bucket.remove(entry, keys)
        self._removed += 1
        if self._removed > len(self._entries) + _TOLERATED:  # places that nobody is in any more
            rest, self._entries, self._tenants, self._removed = self._entries, {}, {}, 0
            for left in rest.values():
                self.add(left)

    def _places_of(self, entry: Indexed) -> list[tuple[_Bucket, frozenset[Key] | None]]:
        """Each bucket once: selectors may lead to the same one."""
        found = self._tenants.setdefault(entry.tenant_id, _Tenant()).buckets(entry)
        return list({id(bucket): (bucket, keys) for bucket, keys in found}.values())

    def look_up(self, event: EntityEvent) -> Concern | None:
        """What the change concerns by identity or type, watched attributes and trigger; None when nothing."""
        tenant = self._tenants.get(event.tenant_id)
        if tenant is None:
            return None
        kinds = changed_attributes(event)
        whole = _WHOLE[event.operation]
        all_kinds = frozenset().union(whole, *kinds.values())
        parts = []
        for place in tenant.places_of(event):
            if (bucket := place.get(None)) is not None:
                parts.append((bucket, all_kinds))
            for attribute, attribute_kinds in kinds.items():
                if (bucket := place.get(attribute)) is not None:
                    parts.append((bucket, attribute_kinds | whole))
        return Concern(parts) if parts else None

    def candidates(self, event: EntityEvent) -> list[Indexed]:
        """Those that the change concerns, whatever the entity is."""
        concern = self.look_up(event)
        return [] if concern is None else concern.all()


_TOLERATED: Final = 1000
_WHOLE: Final[dict[str, frozenset[Trigger]]] = {
    "created": frozenset({Trigger.ENTITY_CREATED}),
    "updated": frozenset(),
    "deleted": frozenset({Trigger.ENTITY_DELETED}),
}


def _collect(found: _Entries, entries: _Entries, kinds: frozenset[Trigger]) -> None:
    for key, entry in entries.items():
        if key not in found and not kinds.isdisjoint(entry.subscription.triggers):
            found[key] = entry

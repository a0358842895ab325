# SPDX-License-Identifier: Apache-2.0
"""What the operations of clause 5.6 make of one entity: pure functions of the entity, the request and the time.

Each returns an :class:`~broker.entities.EntityChange`; one without effect has ``after is before``. Requests come as
:class:`~broker.expansion.EntityFragment` or as instances of one attribute, ``now`` is an aware time. System times
follow clause 4.8: ``createdAt`` of the entity and of every instance survives updates, ``modifiedAt`` is ``now`` where
something was written. Attributes that a request does not mention stay untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from broker.entities import AttributeChange, Attributes, EntityChange, ExpandedEntity, Instance
from broker.errors import AlreadyExists, ResourceNotFound
from broker.expansion import EntityFragment
from broker.merging import is_removal, merge_instance, new_instance, stamp, stamp_all, update_members
from broker.times import to_text
from schemas.terms import NGSI_LD, NO_DATASET

SCOPE: Final = NGSI_LD + "scope"

Update = Callable[[Instance | None, Instance, str], Instance | None]
"""From the old instance (or None), the given one and the attribute's IRI to the new one; None removes it."""


@dataclass(frozen=True, slots=True)
class NotUpdated:
    """An attribute that stayed as it was, and why (clause 5.2.19); ``attribute`` is its IRI."""

    attribute: str
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """A change with the attributes it updated or appended and those it did not (clause 5.2.18), as IRIs."""

    change: EntityChange
    updated: tuple[str, ...] = ()
    not_updated: tuple[NotUpdated, ...] = ()


def existing(entity: ExpandedEntity | None, entity_id: str) -> ExpandedEntity:
    """``entity``, or :class:`ResourceNotFound` when the store has none."""
    if entity is None:
        raise ResourceNotFound(f"Entity {entity_id} does not exist")
    return entity


def create_entity(stored: ExpandedEntity | None, entity: ExpandedEntity, now: datetime) -> EntityChange:
    """Clause 5.6.1. Raises :class:`AlreadyExists` when ``stored`` is not None."""
    if stored is not None:
        raise AlreadyExists(f"Entity {entity.id} already exists")
    attributes = stamp_all(entity.attributes, {}, to_text(now))
    after = replace(entity, attributes=attributes, created_at=now, modified_at=now)
    return EntityChange(None, after, tuple(_differences({}, attributes)))


def replace_entity(stored: ExpandedEntity, entity: ExpandedEntity, now: datetime) -> EntityChange:
    """Clause 5.6.18: everything but ``createdAt`` is that of ``entity``; attributes it does not have are removed."""
    attributes = stamp_all(entity.attributes, stored.attributes, to_text(now))
    after = replace(entity, attributes=attributes, created_at=stored.created_at, modified_at=now)
    return EntityChange(stored, after, tuple(_differences(stored.attributes, attributes)))


def delete_entity(stored: ExpandedEntity) -> EntityChange:
    """Clause 5.6.6: all attribute instances go with the entity."""
    return EntityChange(stored, None, tuple(_differences(stored.attributes, {})))


def merge_entity(
    stored: ExpandedEntity, fragment: EntityFragment, now: datetime, *, observed_at: str | None = None
) -> EntityChange:
    """Clause 5.6.17 with the merge patch of 5.5.12. ``observed_at`` is the request's common time, canonical."""
    text = to_text(now)

    def merged(old: Instance | None, given: Instance, attribute: str) -> Instance | None:
        if is_removal(given):
            return None
        if old is None:
            return new_instance(given, attribute, text)
        return merge_instance(old, given, attribute, text, observed_at)

    attributes, changes = _apply(stored.attributes, fragment.attributes, merged)
    scopes = _given_scopes(stored, fragment)
    return _changed(stored, fragment, attributes, scopes, changes, now)


def append_attributes(
    stored: ExpandedEntity, fragment: EntityFragment, now: datetime, *, overwrite: bool = True
) -> UpdateOutcome:
    """Clause 5.6.3. Without ``overwrite``, existing instances stay and are reported as not updated."""
    text = to_text(now)
    refused: list[NotUpdated] = []

    def appended(old: Instance | None, given: Instance, attribute: str) -> Instance | None:
        if old is not None and not overwrite:
            refused.append(NotUpdated(attribute, "The attribute exists already and overwriting is not allowed"))
            return old
        return stamp(given, old, text)

    attributes, changes = _apply(stored.attributes, fragment.attributes, appended)
    scopes = _given_scopes(stored, fragment)
    if not overwrite and fragment.scopes is not None:
        scopes = tuple(dict.fromkeys((*stored.scopes, *fragment.scopes)))
    change = _changed(stored, fragment, attributes, scopes, changes, now)
    return _outcome(change, fragment, refused)


def update_attributes(stored: ExpandedEntity, fragment: EntityFragment, now: datetime) -> UpdateOutcome:
    """Clause 5.6.2: each attribute instance is replaced as a whole, added when new, removed when it is Null.

    A scope is replaced, but not added to an entity that has none.
    """
    text = to_text(now)
    refused = []
    if fragment.scopes is not None and not stored.scopes:
        refused.append(NotUpdated(SCOPE, "The entity has no scope that could be updated"))

    def updated(old: Instance | None, given: Instance, _attribute: str) -> Instance | None:
        return None if is_removal(given) else stamp(given, old, text)

    attributes, changes = _apply(stored.attributes, fragment.attributes, updated)
    scopes = _given_scopes(stored, fragment) if stored.scopes else ()
    return _outcome(_changed(stored, fragment, attributes, scopes, changes, now), fragment, refused)


def partial_update_attribute(
    stored: ExpandedEntity, attribute: str, instances: dict[str, Instance], now: datetime
) -> EntityChange:
    """Clause 5.6.4: members of existing instances are replaced one by one; an instance set to Null is removed.

    Raises :class:`ResourceNotFound` for an instance that does not exist and
    :class:`~broker.errors.BadRequestData` for another attribute type.
    """
    _require(stored, attribute, instances)
    text = to_text(now)

    def updated(old: Instance | None, given: Instance, name: str) -> Instance | None:
        return None if old is None or is_removal(given) else update_members(old, given, name, text)

    attributes, changes = _apply(stored.attributes, {attribute: instances}, updated)
    return _changed(stored, EntityFragment(), attributes, stored.scopes, changes, now)


def replace_attribute(
    stored: ExpandedEntity, attribute: str, instances: dict[str, Instance], now: datetime
) -> EntityChange:
    """Clause 5.6.19: existing instances become the given ones. Raises :class:`ResourceNotFound` for a new one."""
    _require(stored, attribute, instances)
    text = to_text(now)
    attributes, changes = _apply(
        stored.attributes, {attribute: instances}, lambda old, given, _: stamp(given, old, text)
    )
    return _changed(stored, EntityFragment(), attributes, stored.scopes, changes, now)


def delete_attribute(
    stored: ExpandedEntity, attribute: str, now: datetime, *, dataset: str = NO_DATASET, delete_all: bool = False
) -> EntityChange:
    """Clause 5.6.5: remove one instance or all; the IRI of ``scope`` removes the scopes.

    Raises :class:`ResourceNotFound` when there is no such instance.
    """
    if attribute == SCOPE:
        if not stored.scopes:
            raise ResourceNotFound(f"Entity {stored.id} has no scope")
        return EntityChange(stored, replace(stored, scopes=(), modified_at=now))
    doomed = stored.attributes.get(attribute, {}) if delete_all else {dataset: {}}
    _require(stored, attribute, doomed or (NO_DATASET,))
    attributes, changes = _apply(stored.attributes, {attribute: dict(doomed)}, lambda _old, _given, _name: None)
    return _changed(stored, EntityFragment(), attributes, stored.scopes, changes, now)


def drop_attributes(stored: ExpandedEntity, attributes: Set[str], now: datetime) -> EntityChange:
    """Clause 5.6.21 with ``drop``: all instances of these attributes are removed; the IRI of ``scope`` is one."""
    doomed = {iri: instances for iri, instances in stored.attributes.items() if iri in attributes}
    kept, changes = _apply(stored.attributes, doomed, lambda _old, _given, _name: None)
    scopes = () if SCOPE in attributes else stored.scopes
    return _changed(stored, EntityFragment(), kept, scopes, changes, now)


def keep_attributes(stored: ExpandedEntity, attributes: Set[str], now: datetime) -> EntityChange:
    """Clause 5.6.21 with ``keep``: all other attributes are removed. The scope is no attribute and stays."""
    return drop_attributes(stored, stored.attributes.keys() - attributes, now)


def _require(entity: ExpandedEntity, attribute: str, datasets: Iterable[str]) -> None:
    instances = entity.attributes.get(attribute)
    if not instances:
        raise ResourceNotFound(f"Entity {entity.id} has no attribute {attribute}")
    for dataset in datasets:
        if dataset not in instances:
            which = "default instance" if dataset == NO_DATASET else f"instance with datasetId {dataset}"
            raise ResourceNotFound(f"Attribute {attribute} of entity {entity.id} has no {which}")


def _apply(stored: Attributes, given: Attributes, update: Update) -> tuple[Attributes, list[AttributeChange]]:
    """Run ``update`` over each given instance; what it does not touch is shared with ``stored``."""
    result = dict(stored)
    changes: list[AttributeChange] = []
    for iri, instances in given.items():
        kept = dict(stored.get(iri, {}))
        for dataset, instance in instances.items():
            before = kept.pop(dataset, None)
            after = update(before, instance, iri)
            if after is not None:
                kept[dataset] = after
            if after is not before:
                changes.append(AttributeChange(iri, dataset, before, after))
        if kept:
            result[iri] = kept
        else:
            result.pop(iri, None)
    return result, changes


def _given_scopes(stored: ExpandedEntity, fragment: EntityFragment) -> tuple[str, ...]:
    if "scope" in fragment.removed:
        return ()
    return stored.scopes if fragment.scopes is None else fragment.scopes


def _changed(
    stored: ExpandedEntity,
    fragment: EntityFragment,
    attributes: Attributes,
    scopes: tuple[str, ...],
    changes: list[AttributeChange],
    now: datetime,
) -> EntityChange:
    """The change with the fragment's types added (clauses 5.5.8, 5.5.12); ``after is before`` when nothing differs."""
    types = tuple(dict.fromkeys((*stored.types, *fragment.types))) if fragment.types else stored.types
    expires_at = None if "expiresAt" in fragment.removed else fragment.expires_at or stored.expires_at
    if not changes and (types, scopes, expires_at) == (stored.types, stored.scopes, stored.expires_at):
        return EntityChange(stored, stored)
    after = ExpandedEntity(stored.id, types, attributes, scopes, stored.created_at, now, expires_at)
    return EntityChange(stored, after, tuple(changes))


def _outcome(change: EntityChange, fragment: EntityFragment, refused: list[NotUpdated]) -> UpdateOutcome:
    not_updated = {entry.attribute: entry for entry in refused}
    updated = tuple(iri for iri in fragment.attributes if iri not in not_updated)
    return UpdateOutcome(change, updated, tuple(not_updated.values()))


def _differences(before: Attributes, after: Attributes) -> Iterable[AttributeChange]:
    for iri in dict.fromkeys((*before, *after)):
        old, new = before.get(iri, {}), after.get(iri, {})
        for dataset in dict.fromkeys((*old, *new)):
            yield AttributeChange(iri, dataset, old.get(dataset), new.get(dataset))

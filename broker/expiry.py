# SPDX-License-Identifier: Apache-2.0
"""Transient entities and attributes (clause 4.22): what ``expiresAt`` makes of them. Pure functions of the time.

An entity or attribute instance is gone at its ``expiresAt``, whether or not it has been collected yet. This also
holds for the sub-attributes of an instance, to any depth.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from broker.entities import AttributeChange, Attributes, EntityChange, ExpandedEntity, Instance


def is_expired(entity: ExpandedEntity, now: datetime) -> bool:
    """Whether the entity as a whole is gone."""
    return entity.expires_at is not None and entity.expires_at <= now


def earliest_expiry(attributes: Attributes) -> datetime | None:
    """When the first of the attribute instances and their sub-attributes expires; None when none ever does."""
    earliest: datetime | None = None
    for instances in attributes.values():
        for instance in instances.values():
            if "expiresAt" in instance:
                due = datetime.fromisoformat(instance["expiresAt"])
                earliest = due if earliest is None or due < earliest else earliest
            if "attrs" in instance:
                inner = earliest_expiry(instance["attrs"])
                earliest = inner if earliest is None or (inner is not None and inner < earliest) else earliest
    return earliest


def without_expired(entity: ExpandedEntity, now: datetime) -> ExpandedEntity:
    """``entity`` with the attribute instances that are there now; itself when none has expired."""
    due = earliest_expiry(entity.attributes)
    return entity if due is None or due > now else entity.with_attributes(_live(entity.attributes, now))


def expire_attributes(stored: ExpandedEntity, now: datetime) -> EntityChange:
    """The change that removes what has expired; without effect (``after is before``) when nothing has."""
    live = without_expired(stored, now)
    if live is stored:
        return EntityChange(stored, stored)
    changes = tuple(
        AttributeChange(iri, dataset, instance, after)
        for iri, instances in stored.attributes.items()
        for dataset, instance in instances.items()
        if (after := live.attributes.get(iri, {}).get(dataset)) is not instance
    )
    return EntityChange(stored, replace(live, modified_at=now), changes)


def _live(attributes: Attributes, now: datetime) -> Attributes:
    result: Attributes = {}
    for iri, instances in attributes.items():
        kept = {
            dataset: _live_instance(instance, now)
            for dataset, instance in instances.items()
            if "expiresAt" not in instance or datetime.fromisoformat(instance["expiresAt"]) > now
        }
        if kept:
            result[iri] = kept
    return result


def _live_instance(instance: Instance, now: datetime) -> Instance:
    """``instance`` without the sub-attributes that have expired; itself when none has."""
    if "attrs" not in instance:
        return instance
    due = earliest_expiry(instance["attrs"])
    if due is None or due > now:
        return instance
    result = {member: value for member, value in instance.items() if member != "attrs"}
    if attrs := _live(instance["attrs"], now):
        result["attrs"] = attrs
    return result

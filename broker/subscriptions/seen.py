# SPDX-License-Identifier: Apache-2.0
"""What a subscriber sees of a change who is not staff: attributes that are kept from it do not exist."""

from __future__ import annotations

from dataclasses import replace

from broker.entities import ExpandedEntity
from broker.subscriptions.matching import EntityEvent


def without(entity: ExpandedEntity, hidden: frozenset[str]) -> ExpandedEntity:
    """``entity`` without the attributes ``hidden``."""
    if hidden.isdisjoint(entity.attributes):
        return entity
    return replace(entity, attributes={name: group for name, group in entity.attributes.items() if name not in hidden})


def event_without(event: EntityEvent, hidden: frozenset[str]) -> EntityEvent:
    """``event`` without what happened to the attributes ``hidden``."""
    return replace(event, changes=tuple(change for change in event.changes if change.attribute not in hidden))

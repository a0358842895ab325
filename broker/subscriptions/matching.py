# SPDX-License-Identifier: Apache-2.0
"""Changes of entities as subscriptions see them (clause 5.8.6): what happened to which attribute, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from broker.entities import AttributeChange, ExpandedEntity, Instance
from broker.subscriptions.model import Trigger

_HUB_TIMES: Final = frozenset({"createdAt", "modifiedAt"})


@dataclass(frozen=True, slots=True)
class EntityEvent:
    """A committed change of one entity. ``operation``: ``created``, ``updated`` or ``deleted``."""

    tenant_id: int
    entity_id: str
    types: tuple[str, ...]
    operation: str
    changes: tuple[AttributeChange, ...]


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

# SPDX-License-Identifier: Apache-2.0
"""Taking over what another broker says of an entity, by the rules of time of readings.

Numbers with nothing else said of them are readings, and are judged and stored as those of devices are. All else is
written as the API does it, but for what is older than what is known: that goes to history only. What is known already
is no news.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from broker.entities import EntityChange, ExpandedEntity, Instance
from broker.expansion import EntityFragment
from broker.history.temporal_input import GivenInstance
from broker.merging import is_removal
from broker.operations import UpdateOutcome, append_attributes, create_entity

_OF_A_READING: Final = frozenset(("type", "value", "unitCode", "observedAt"))
_NOT_SAID: Final = frozenset(("createdAt", "modifiedAt", "instanceId", "deletedAt"))


class Reading(NamedTuple):
    """A plain value of one moment: attribute and dataset are names as stored, ``unit`` is UN/CEFACT."""

    attribute: str
    dataset: str
    value: float | str | bool
    unit: str | None
    observed_at: datetime


def split(fragment: EntityFragment, default: datetime) -> tuple[list[Reading], EntityFragment]:
    """The readings in ``fragment`` and the rest of it. A number without a time is of ``default``."""
    readings: list[Reading] = []
    rest: dict[str, dict[str, Instance]] = {}
    for attribute, group in fragment.attributes.items():
        for dataset, instance in group.items():
            if is_removal(instance):
                continue
            found = _reading(attribute, dataset, instance, default)
            if found is not None:
                readings.append(found)
            else:
                rest.setdefault(attribute, {})[dataset] = instance
    return readings, replace(fragment, attributes=rest)


def _reading(attribute: str, dataset: str, instance: Instance, default: datetime) -> Reading | None:
    value = instance.get("value")
    if instance.get("type") != "Property" or not instance.keys() <= _OF_A_READING:
        return None
    if not isinstance(value, int | float | str):
        return None
    time = instance.get("observedAt")
    if time is None and (isinstance(value, str | bool)):
        return None
    observed_at = default if time is None else datetime.fromisoformat(time)
    number = value if isinstance(value, str | bool) else float(value)
    return Reading(attribute, dataset, number, instance.get("unitCode"), observed_at)


def too_far_ahead(fragment: EntityFragment, latest: datetime) -> Iterator[tuple[str, timedelta]]:
    """The attributes that are dated after ``latest``, and by how much."""
    for attribute, group in fragment.attributes.items():
        for instance in group.values():
            time = instance.get("observedAt")
            if time is not None and (ahead := datetime.fromisoformat(time) - latest) > timedelta(0):
                yield attribute, ahead


def take_over(
    stored: ExpandedEntity | None, entity: ExpandedEntity, fragment: EntityFragment, now: datetime
) -> tuple[EntityChange | UpdateOutcome, list[GivenInstance]]:
    """What becomes of the entity, and which instances are for history only."""
    if stored is None:
        return create_entity(None, entity, now), []
    news: dict[str, dict[str, Instance]] = {}
    late: list[GivenInstance] = []
    for attribute, group in fragment.attributes.items():
        for dataset, instance in group.items():
            old = stored.attributes.get(attribute, {}).get(dataset)
            if old is None or _is_newer(instance, old):
                news.setdefault(attribute, {})[dataset] = instance
            elif _said(instance) != _said(old):
                late.append(GivenInstance(attribute, dataset, instance))
    return append_attributes(stored, replace(fragment, attributes=news), now), late


def _is_newer(given: Instance, old: Instance) -> bool:
    """Whether ``given`` takes the place of ``old``: it is not older, and says something else."""
    before, after = old.get("observedAt"), given.get("observedAt")
    if before is not None and after is not None:
        known, new = datetime.fromisoformat(before), datetime.fromisoformat(after)
        return new > known or (new == known and _said(given) != _said(old))
    return _said(given) != _said(old)


def _said(instance: Instance) -> dict[str, Any]:
    """What an instance says, its sub-attributes included, without when the hub learned of it."""
    said = {name: value for name, value in instance.items() if name not in _NOT_SAID}
    if "attrs" in said:
        said["attrs"] = {
            name: {dataset: _said(inner) for dataset, inner in group.items()} for name, group in said["attrs"].items()
        }
    return said

# SPDX-License-Identifier: Apache-2.0
"""One entity of what several places know of it (clauses 4.5.5.2, 4.5.5.3 and 5.7.1.4). Pure functions of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from broker.entities import Attributes, ExpandedEntity, Instance
from broker.expiry import is_expired, without_expired
from broker.times import to_text


def merged(
    versions: Sequence[ExpandedEntity], supplements: Sequence[ExpandedEntity], now: datetime
) -> ExpandedEntity | None:
    """One entity of all ``versions``, and of ``supplements`` (from auxiliary sources) what none of them has.

    Of the same attribute instance the one that was observed last is taken, else the one that was modified last, else
    the first. What has expired is not there. None when nothing is left.
    """
    live = [version for version in versions if not is_expired(version, now)]
    result = _of_equals(live, now) if live else None
    for supplement in supplements:
        if not is_expired(supplement, now):
            result = supplement if result is None else _supplemented(result, supplement)
    return None if result is None else without_expired(result, now)


def _of_equals(versions: Sequence[ExpandedEntity], now: datetime) -> ExpandedEntity:
    if len(versions) == 1:
        return versions[0]
    expiries = [version.expires_at for version in versions]
    if any(expiries) and len(set(expiries)) > 1:
        versions = [_expiring(version) for version in versions]
    attributes: Attributes = {}
    for version in versions:
        for iri, instances in without_expired(version, now).attributes.items():
            group = attributes.setdefault(iri, {})
            for dataset, instance in instances.items():
                group[dataset] = _newer(group[dataset], instance) if dataset in group else instance
    return replace(
        versions[0],
        types=tuple(dict.fromkeys(name for version in versions for name in version.types)),
        attributes=attributes,
        scopes=tuple(dict.fromkeys(scope for version in versions for scope in version.scopes)),
        created_at=_extreme(min, (version.created_at for version in versions)),
        modified_at=_extreme(max, (version.modified_at for version in versions)),
        expires_at=None if None in expiries else _extreme(max, expiries),
    )


def _expiring(version: ExpandedEntity) -> ExpandedEntity:
    """The end of the entity is that of each attribute which does not end earlier (clause 4.5.5.2)."""
    if version.expires_at is None:
        return version
    end = version.expires_at

    def ending(instance: Instance) -> Instance:
        own = instance.get("expiresAt")
        if own is not None and datetime.fromisoformat(own) <= end:
            return instance
        return {**instance, "expiresAt": to_text(end)}

    return version.with_attributes(
        {
            iri: {dataset: ending(instance) for dataset, instance in instances.items()}
            for iri, instances in version.attributes.items()
        }
    )


def _newer(first: Instance, second: Instance) -> Instance:
    """Of conflicting instances the current one (clause 4.5.5.3); the first when nothing tells."""
    for member in ("observedAt", "modifiedAt"):
        times = [_moment(instance, member) for instance in (first, second)]
        if times[0] != times[1] and (member == "observedAt" or None not in times):
            return second if times[0] is None or (times[1] is not None and times[1] > times[0]) else first
    return first


def _moment(instance: Instance, member: str) -> datetime | None:
    return datetime.fromisoformat(instance[member]) if member in instance else None


def _supplemented(entity: ExpandedEntity, supplement: ExpandedEntity) -> ExpandedEntity:
    missing = {iri: group for iri, group in supplement.attributes.items() if iri not in entity.attributes}
    return entity.with_attributes({**entity.attributes, **missing}) if missing else entity


def _extreme(choose: Callable[[Iterable[datetime]], datetime], moments: Iterable[datetime | None]) -> datetime | None:
    known = [moment for moment in moments if moment is not None]
    return choose(known) if known else None

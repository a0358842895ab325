# SPDX-License-Identifier: Apache-2.0
"""The scopes of entities over time (clause 4.18): instances of their own, and when an entity was in a scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from broker.entities import ExpandedEntity
from broker.history.temporal import SCOPE, HistoricInstance
from broker.query import EntityQuery, ScopeTree, matches
from broker.times import to_text
from context_store.history.identities import Identity
from schemas.terms import NO_DATASET

# How scopes changed, beginning with those that held already when the range begins (annex C.5.16). The newest first.
_SCOPE_INSTANCES: Final[LiteralString] = """
    select entity_key, instance_key, scopes, removed, recorded_at, coalesce(observed_at, recorded_at), place
      from scope_instance s
     cross join lateral (select case when %(by_observed)s then coalesce(observed_at, recorded_at)
                                     else recorded_at end as place) p
     where entity_key = any(%(keys)s)
       and recorded_at <= %(known_at)s::timestamptz
       and (superseded_at is null or superseded_at > %(known_at)s::timestamptz)
       and place < %(end)s::timestamptz
       and (place >= %(start)s::timestamptz
            or (%(by_observed)s and not removed
                and place = (select max(coalesce(e.observed_at, e.recorded_at)) from scope_instance e
                              where e.entity_key = s.entity_key
                                and e.recorded_at <= %(known_at)s::timestamptz
                                and (e.superseded_at is null or e.superseded_at > %(known_at)s::timestamptz)
                                and coalesce(e.observed_at, e.recorded_at) <= %(start)s::timestamptz)))
       and (removed = %(removed)s::boolean or %(removed)s::boolean is null)
     order by place desc, recorded_at desc, instance_key desc limit %(limit)s
"""

# Since when which scopes held, and whether somebody said so or they came with the entity's state.
_HELD: Final[LiteralString] = """
    select entity_key, scopes, coalesce(observed_at, recorded_at), observed_at is not null
      from scope_instance
     where entity_key = any(%(keys)s) and recorded_at <= %(known_at)s::timestamptz
       and (superseded_at is null or superseded_at > %(known_at)s::timestamptz)
     order by coalesce(observed_at, recorded_at), instance_key
"""
_EVER: Final = ("-infinity", "infinity")

Span = tuple[str, str]  # since, until before


async def scope_instances(
    connection: AsyncConnection, keys: Sequence[int], bounds: Mapping[str, Any], most: int, *, by_observed: bool
) -> list[tuple[int, HistoricInstance]]:
    """What the scopes of the entities with these numbers were within ``bounds``: the newest, at most ``most``."""
    values = {**bounds, "keys": list(keys), "limit": most, "by_observed": by_observed}
    rows = await (await connection.execute(_SCOPE_INSTANCES, values)).fetchall()
    return [(row[0], _scope_instance(*row[1:])) for row in rows]


def _scope_instance(
    key: int, scopes: list[str], removed: bool, recorded_at: datetime, observed_at: datetime, place: datetime
) -> HistoricInstance:
    """Scopes are observed when the hub learns of them, unless somebody said otherwise (clause 4.5.6)."""
    recorded = recorded_at.astimezone(UTC)
    instance: dict[str, Any] = {"type": "Property", "value": scopes[0] if len(scopes) == 1 else scopes}
    if not removed or observed_at != recorded_at:
        instance["observedAt"] = to_text(observed_at)
    return HistoricInstance(SCOPE, NO_DATASET, instance, key, recorded, place.astimezone(UTC), removed)


async def spans_in_scope(
    connection: AsyncConnection, identities: Sequence[Identity], scope: ScopeTree, known_at: datetime | None
) -> dict[int, list[Span]]:
    """When each entity (number of its newest life) was in a scope that matches, as the texts of two times.

    Where nobody ever said since when scopes hold, those of the newest state hold for all times: history that was
    brought in later is older than anything the hub knows of scopes.
    """
    owner_of = {key: identity.keys[-1] for identity in identities for key in identity.keys}
    values = {"keys": list(owner_of), "known_at": known_at.isoformat() if known_at else "infinity"}
    rows = await (await connection.execute(_HELD, values)).fetchall()
    held: dict[int, list[tuple[list[str], datetime, bool]]] = {owner: [] for owner in owner_of.values()}
    for key, *row in rows:
        scopes, began, said = row
        held[owner_of[key]].append((scopes, began, said))
    wanted = EntityQuery(scope=scope)
    return {owner: _spans(changes, wanted) for owner, changes in held.items()}


def _spans(changes: Sequence[tuple[list[str], datetime, bool]], wanted: EntityQuery) -> list[Span]:
    if changes and not any(said for _, _, said in changes) and _is_in(changes[-1][0], wanted):
        return [_EVER]
    begins = [*(began.isoformat() for _, began, _ in changes), _EVER[1]]
    return [span for span, (scopes, _, _) in zip(pairwise(begins), changes, strict=True) if _is_in(scopes, wanted)]


def _is_in(scopes: Iterable[str], wanted: EntityQuery) -> bool:
    return matches(ExpandedEntity("", (), {}, tuple(scopes)), wanted)

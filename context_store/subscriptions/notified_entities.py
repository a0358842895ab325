# SPDX-License-Identifier: Apache-2.0
"""The entities that notifications are about, as the workers read them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from broker.entities import AttributeChange, ExpandedEntity
from broker.query import EntityQuery
from broker.subscriptions import EntityEvent, state_before
from broker.times import parse_time
from context_store.compiled import to_psycopg
from context_store.entities.changes import StoredEntity, from_row
from context_store.queries.statements import ENTITY_COLUMNS, After, select_entities

_ENTITIES: Final[LiteralString] = """
    select entity_key, id, types, document, scopes, created_at, modified_at, expires_at from entity
     where entity_key = any(%s)
"""

# The last state of entities that are no more.
_GONE: Final[LiteralString] = """
    select entity_key, tenant_id, entity_id, entity_types, changes, entity from change_event
     where operation = 'deleted' and entity_key = any(%s)
"""


async def entities_by_key(connection: AsyncConnection, keys: Collection[int]) -> dict[int, StoredEntity]:
    """Entities by their numbers: as they are now, or as they last were when they have been deleted."""
    rows = await (await connection.execute(_ENTITIES, (list(keys),))).fetchall()
    found = {stored.key: stored for stored in map(from_row, rows)}
    missing = [key for key in keys if key not in found]
    if missing:
        rows = await (await connection.execute(_GONE, (missing,))).fetchall()
        found.update((row[0], StoredEntity(row[0], _last_state(*row[1:]))) for row in rows)
    return found


def _last_state(
    tenant_id: int, entity_id: str, types: list[str], changes: list[dict[str, Any]], entity: dict[str, Any] | None
) -> ExpandedEntity:
    """The entity before the event that deleted it."""
    removed = tuple(AttributeChange(**change) for change in changes)
    event = EntityEvent(tenant_id, entity_id, tuple(types), "deleted", removed)
    state = entity or {}
    times = {name: parse_time(state[name]) for name in ("createdAt", "modifiedAt") if name in state}
    last = ExpandedEntity(entity_id, tuple(types), {}, tuple(state.get("scopes", ())))
    last = replace(last, created_at=times.get("createdAt"), modified_at=times.get("modifiedAt"))
    return state_before(last, event)


async def matching_entities(
    connection: AsyncConnection, tenant_id: int, query: EntityQuery, *, limit: int, after: str | None
) -> list[ExpandedEntity]:
    """A page of the entities that a periodic notification is about, in the order of their ids, behind ``after``."""
    last = None if after is None else After(after)
    columns = ("entity_key", *ENTITY_COLUMNS)
    statement = select_entities(query, tenant_id=tenant_id, limit=limit, after=last, columns=columns)
    rows: Iterable[tuple[Any, ...]] = await (await connection.execute(*to_psycopg(statement))).fetchall()
    return [from_row(row).entity for row in rows]


async def matches_linked(connection: AsyncConnection, tenant_id: int, query: EntityQuery, entity_id: str) -> bool:
    """Whether an entity as it is now matches a query that looks into linked entities."""
    linked = EntityQuery(ids=(entity_id,), q=query.q)
    return bool(await matching_entities(connection, tenant_id, linked, limit=1, after=None))

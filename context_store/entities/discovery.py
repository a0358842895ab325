# SPDX-License-Identifier: Apache-2.0
"""Which entity types and attributes there are (clauses 5.7.5 to 5.7.10), counted by the database.

Most entities of a city share few combinations of types, so rows are reduced to those before anything is unfolded.
Entities and attribute instances that have expired do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from context_store.database import Database
from context_store.entities.changes import utc_now

_LIVE: Final[LiteralString] = "tenant_id = %(tenant_id)s and (expires_at is null or expires_at > %(now)s)"
_INSTANCES: Final[LiteralString] = """
    cross join lateral jsonb_each(a.value) as i
    where (i.value ->> 'expiresAt' is null or (i.value ->> 'expiresAt')::timestamptz > %(now)s)
"""

# All type names.
_TYPES: Final[LiteralString] = f"""
    select distinct unnest(types) as type from (select distinct types from entity where {_LIVE}) t order by type
"""

# All types with the names of their attributes.
_TYPES_IN_DETAIL: Final[LiteralString] = f"""
    select type, coalesce(array_agg(distinct t.attribute order by t.attribute) filter (where t.attribute is not null),
                          '{{}}')
      from (select distinct e.types, found.attribute
              from entity e
              left join lateral (select a.key as attribute from jsonb_each(e.document) as a {_INSTANCES}) found on true
             where {_LIVE}) t
     cross join unnest(t.types) as type
     group by type order by type
"""

_COUNT_OF_TYPE: Final[LiteralString] = f"""
    select count(*) from entity where {_LIVE} and types @> array[%(name)s]
"""

# The attributes of one type with their kinds.
_ATTRIBUTES_OF_TYPE: Final[LiteralString] = f"""
    select attribute, array_agg(distinct kind order by kind)
      from entity
     cross join lateral (
           select a.key as attribute, i.value ->> 'type' as kind from jsonb_each(document) as a {_INSTANCES}) found
     where {_LIVE} and types @> array[%(name)s]
     group by attribute order by attribute
"""

# All attributes with the types of their entities.
_ATTRIBUTES: Final[LiteralString] = f"""
    select attribute, array_agg(distinct type order by type)
      from (select distinct found.attribute, e.types
              from entity e
             cross join lateral (select a.key as attribute from jsonb_each(e.document) as a {_INSTANCES}) found
             where {_LIVE}) t
     cross join unnest(t.types) as type
     group by attribute order by attribute
"""

# One attribute: how many instances, their kinds, the types of their entities; no row when there is none.
_ATTRIBUTE: Final[LiteralString] = f"""
    with found as materialized (
        select e.types, i.value ->> 'type' as kind
          from entity e
         cross join lateral (select e.document -> %(name)s as value) a
         {_INSTANCES} and {_LIVE} and e.document ? %(name)s)
    select count(*), array_agg(distinct kind order by kind),
           (select array_agg(distinct type order by type)
              from (select distinct types from found) t, unnest(t.types) as type)
      from found having count(*) > 0
"""


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """One entity type: how many entities have it, and the kinds of each of their attributes (IRIs)."""

    type: str
    entity_count: int
    attributes: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class AttributeInfo:
    """One attribute: how many instances there are, of which kinds, on entities of which types (IRIs)."""

    attribute: str
    instance_count: int
    kinds: list[str]
    types: list[str]


class Discovery:
    """What there is in a tenant. ``clock`` decides what has expired."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    async def types(self, tenant_id: int) -> list[str]:
        """The entity types, in order."""
        return [row[0] for row in await self._rows(_TYPES, tenant_id)]

    async def types_in_detail(self, tenant_id: int) -> dict[str, list[str]]:
        """The entity types with their attributes, in order."""
        return dict(await self._rows(_TYPES_IN_DETAIL, tenant_id))

    async def type(self, tenant_id: int, name: str) -> TypeInfo | None:
        """One entity type, or None when no entity has it."""
        rows = await self._rows(_COUNT_OF_TYPE, tenant_id, name)
        if not rows[0][0]:
            return None
        return TypeInfo(name, rows[0][0], dict(await self._rows(_ATTRIBUTES_OF_TYPE, tenant_id, name)))

    async def attributes(self, tenant_id: int) -> dict[str, list[str]]:
        """The attributes with the types of their entities, in order."""
        return dict(await self._rows(_ATTRIBUTES, tenant_id))

    async def attribute(self, tenant_id: int, name: str) -> AttributeInfo | None:
        """One attribute, or None when no entity has it."""
        rows = await self._rows(_ATTRIBUTE, tenant_id, name)
        return AttributeInfo(name, *rows[0]) if rows else None

    async def _rows(self, statement: LiteralString, tenant_id: int, name: str | None = None) -> list[Any]:
        values = {"tenant_id": tenant_id, "now": self._clock(), "name": name}
        async with self._database.transaction(tenant_id) as connection:
            return await (await connection.execute(statement, values)).fetchall()

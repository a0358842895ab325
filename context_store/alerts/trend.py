# SPDX-License-Identifier: Apache-2.0
"""How much higher a level is than about an hour before. The caller owns the transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row

# The value of a time, and the good one nearest to an hour before it, at least 20 minutes before.
_CHANGE: Final[LiteralString] = """
    with series as (
        select e.entity_key, t.term_id from entity e, term t
         where e.tenant_id = %(tenant_id)s and e.id = %(entity_id)s and t.name = %(attribute)s
    )
    select n.number_value as value, n.unit_code as unit, b.number_value as before, b.unit_code as unit_before,
           extract(epoch from n.observed_at - b.observed_at)::float8 as seconds
      from series s
     cross join lateral (
        select i.number_value, i.unit_code, i.observed_at from attribute_instance i
         where i.tenant_id = %(tenant_id)s and i.entity_key = s.entity_key and i.attribute_id = s.term_id
           and i.dataset_id = 0 and i.observed_at = %(at)s::timestamptz and i.number_value is not null
           and i.superseded_at is null and not i.removed limit 1) n
     cross join lateral (
        select i.number_value, i.unit_code, i.observed_at from attribute_instance i
         where i.tenant_id = %(tenant_id)s and i.entity_key = s.entity_key and i.attribute_id = s.term_id
           and i.dataset_id = 0 and i.observed_at >= %(at)s::timestamptz - interval '70 minutes'
           and i.observed_at <= %(at)s::timestamptz - interval '20 minutes' and i.number_value is not null
           and i.superseded_at is null and not i.removed and coalesce(i.quality, 1) = 1
         order by abs(extract(epoch from %(at)s::timestamptz - i.observed_at) - 3600) limit 1) b
"""


class Change(NamedTuple):
    """A value, and the one so many ``seconds`` before; units as they were stored."""

    value: float
    unit: str | None
    before: float
    unit_before: str | None
    seconds: float


async def change_of(connection: AsyncConnection, tenant_id: int, step: Mapping[str, Any]) -> Change | None:
    """How what ``step`` is about has changed; None: nothing is known of an hour before."""
    values = {
        "tenant_id": tenant_id,
        "entity_id": step["entityId"],
        "attribute": step["attribute"],
        "at": step["observedAt"],
    }
    async with connection.cursor(row_factory=class_row(Change)) as cursor:
        await cursor.execute(_CHANGE, values)
        return await cursor.fetchone()

# SPDX-License-Identifier: Apache-2.0
"""What the hub's own forecast is made of: the levels that rules watch, and their last day."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, NamedTuple

from psycopg import AsyncConnection

# One process at a time ("base" in ASCII); it is over with the transaction.
_LOCK: Final[LiteralString] = "select pg_try_advisory_xact_lock(x'62617365'::int)"
# Series with a value not older than so, of rules with levels, where rules stand for an entity.
_WATCHED: Final[LiteralString] = """
    select distinct s.tenant_id, s.entity_key, e.id, t.term_id, r.document ->> 'attribute'
      from alert_state s
      join alert_rule r on r.tenant_id = s.tenant_id and r.rule_id = s.rule_id
      join entity e on e.entity_key = s.entity_key
      join term t on t.name = r.document ->> 'attribute'
     where s.observed_at >= %(fresh)s and r.document ? 'levels' and not r.document ? 'datasetId'
       and (r.document ->> 'enabled')::boolean
       and not exists (select from drill d where d.drill_tenant_id = s.tenant_id)
     order by 1, 2, 4 limit %(most)s
"""
# Their numbers since a time, good ones, newest last, as arrays; the unit of the newest.
_POINTS: Final[LiteralString] = """
    select w.number, p.times, p.numbers, p.unit
      from unnest(%(keys)s::bigint[], %(tenants)s::int[], %(attributes)s::int[]) with ordinality
           as w (entity_key, tenant_id, attribute_id, number)
     cross join lateral (
           select array_agg(extract(epoch from i.observed_at)::float8 order by i.observed_at) as times,
                  array_agg(i.number_value order by i.observed_at) as numbers,
                  (array_agg(i.unit_code order by i.observed_at desc))[1] as unit
             from attribute_instance i
            where i.entity_key = w.entity_key and i.tenant_id = w.tenant_id and i.attribute_id = w.attribute_id
              and i.dataset_id = 0 and i.observed_at >= %(since)s and i.observed_at <= %(now)s
              and i.number_value is not null and i.superseded_at is null and not i.removed
              and coalesce(i.quality, 1) = 1) p
     where p.times is not null
"""


class WatchedSeries(NamedTuple):
    """A level that somebody has a rule for, and its values: (seconds, value), oldest first."""

    tenant_id: int
    entity_id: str
    attribute: str
    unit_code: str | None
    points: list[tuple[float, float]]


async def is_mine(connection: AsyncConnection) -> bool:
    """Whether this transaction is the one that makes the forecast now."""
    row = await (await connection.execute(_LOCK)).fetchone()
    return bool(row and row[0])


async def watched_series(
    connection: AsyncConnection, now: datetime, *, fresh: timedelta, memory: timedelta, most: int
) -> list[WatchedSeries]:
    """Of all tenants, series with a value of the last ``fresh``, with the values of ``memory``; at most ``most``."""
    values: dict[str, Any] = {"fresh": now - fresh, "most": most}
    rows = await (await connection.execute(_WATCHED, values)).fetchall()
    if not rows:
        return []
    asked = {
        "tenants": [row[0] for row in rows],
        "keys": [row[1] for row in rows],
        "attributes": [row[3] for row in rows],
        "since": now - memory,
        "now": now,
    }
    found = []
    for number, times, numbers, unit in await (await connection.execute(_POINTS, asked)).fetchall():
        tenant_id, _, entity_id, _, attribute = rows[number - 1]
        points = list(zip(times, numbers, strict=True))
        found.append(WatchedSeries(tenant_id, entity_id, attribute, unit, points))
    return found

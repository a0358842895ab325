# SPDX-License-Identifier: Apache-2.0
"""Long series out of rollups: what a chart shows of years is read from buckets of hours or days.

A tier is used when a point stands for at least four of its buckets. What rollups do not tell is read from the
instances: the ends of the range, what is not rolled yet, days that are noted to be rolled again.
A bucket knows when its last reading was; extremes are placed there when they are that reading, else where it begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from context_store.history.rollup_tiers import TEN_MINUTES, TIERS, Tier
from context_store.history.rollups import BELIEVED, NUMBER, read_state

_FINENESS: Final = 4

# Whether instances of the range were removed by a retention, and whether all of their days have buckets of the tier.
_GONE: Final[LiteralString] = """
    select exists (select from rollup_1d g where g.entity_key = any(%(keys)s::bigint[]) and g.tenant_id = %(tenant_id)s
                      and g.attribute_id = %(attribute_id)s and g.dataset_id = %(dataset_id)s and g.raw_gone
                      and g.bucket >= %(start)s - interval '1 day' and g.bucket < %(end)s)
"""
_INCOMPLETE: Final[LiteralString] = """
    select exists (select from rollup_1d g where g.entity_key = any(%(keys)s::bigint[]) and g.tenant_id = %(tenant_id)s
                      and g.attribute_id = %(attribute_id)s and g.dataset_id = %(dataset_id)s and g.raw_gone
                      and g.bucket >= %(start)s - interval '1 day' and g.bucket < %(end)s
                      and not exists (
                        select from TABLE r
                         where r.entity_key = g.entity_key and r.tenant_id = g.tenant_id
                           and r.attribute_id = g.attribute_id and r.dataset_id = g.dataset_id
                           and r.bucket >= g.bucket and r.bucket < g.bucket + interval '1 day'))
"""
# The unit of the newest reading; its time was a number for a moment, so not to the microsecond.
_UNIT: Final[LiteralString] = """
    select i.unit_code from attribute_instance i
     where i.entity_key = any(%(keys)s::bigint[]) and i.tenant_id = %(tenant_id)s and i.attribute_id = %(attribute_id)s
       and i.dataset_id = %(dataset_id)s and i.observed_at >= %(newest)s - interval '1 second'
       and i.observed_at <= %(newest)s + interval '1 second' and i.superseded_at is null and not i.removed
     order by i.observed_at desc limit 1
"""

# Days that are noted to be rolled again: (entity, begin, end) of each within the rolled range.
_NOTED: Final[LiteralString] = """
    select distinct n.entity_key, greatest(timezone('UTC', n.day::timestamp), %(body)s),
           least(timezone('UTC', (n.day + 1)::timestamp), %(tail)s)
      from rollup_note n
     where n.entity_key = any(%(keys)s::bigint[]) and n.tenant_id = %(tenant_id)s and n.attribute_id = %(attribute_id)s
       and n.day >= timezone('UTC', %(body)s)::date and n.day <= timezone('UTC', %(tail)s)::date
       and not exists (select from rollup_1d g
                        where g.entity_key = n.entity_key and g.tenant_id = n.tenant_id
                          and g.attribute_id = n.attribute_id and g.raw_gone
                          and g.bucket = timezone('UTC', n.day::timestamp))
"""

# A piece is an instance or a bucket: bucket of the plot, last reading, lowest and highest with a time, numbers of
# readings, of doubtful ones, of instances that are no number.
_INSTANCE: Final[LiteralString] = f"""
        select date_bin(make_interval(secs => %(width)s), i.observed_at, %(start)s) k, i.observed_at last_t,
               o.number last_v, i.observed_at low_t, o.number low, i.observed_at high_t, o.number high,
               (o.number is not null)::int n, (i.quality > 1 and o.number is not null)::int doubtful,
               (o.number is null)::int others
          from SOURCE cross join lateral (select {NUMBER} as number) o
         where i.tenant_id = %(tenant_id)s and i.attribute_id = %(attribute_id)s and i.dataset_id = %(dataset_id)s
           and {BELIEVED} and RANGE
"""
# The two ends of the range, each with bounds that leave all other partitions out when the statement is planned.
_END: Final[LiteralString] = _INSTANCE.replace("SOURCE", "attribute_instance i").replace(
    "RANGE", "i.entity_key = any(%(keys)s::bigint[]) and i.observed_at >= LOW and i.observed_at < HIGH"
)
_NOTED_DAYS: Final[LiteralString] = _INSTANCE.replace(
    "SOURCE",
    "unnest(%(noted)s::bigint[], %(lows)s::timestamptz[], %(highs)s::timestamptz[]) w (key, low, high)"
    " join attribute_instance i on i.entity_key = w.key and i.observed_at >= w.low and i.observed_at < w.high",
).replace("RANGE", "true")
_OF_TIER: Final[LiteralString] = """
        select date_bin(make_interval(secs => %(width)s), r.bucket, %(start)s), r.last_at, r.last_value,
               case when r.lowest = r.last_value then r.last_at else r.bucket end, r.lowest,
               case when r.highest = r.last_value then r.last_at else r.bucket end, r.highest,
               r.numbers, r.numbers - r.good, r.others
          from TABLE r
         where r.entity_key = any(%(keys)s::bigint[]) and r.tenant_id = %(tenant_id)s
           and r.attribute_id = %(attribute_id)s and r.dataset_id = %(dataset_id)s
           and r.bucket >= %(body)s and r.bucket < %(tail)s
"""
_NOT_NOTED: Final[LiteralString] = """
           and not exists (select from unnest(%(noted)s::bigint[], %(lows)s::timestamptz[], %(highs)s::timestamptz[])
                                       w (key, low, high)
                            where w.key = r.entity_key and r.bucket >= w.low and r.bucket < w.high)
"""
_PLOTTED: Final[LiteralString] = """
    b as (select p.*, min(last_t) over bucket first_t, max(last_t) over bucket end_t, min(low) over bucket lowest,
                 max(high) over bucket highest
            from p window bucket as (partition by k))
    select coalesce(sum(n), 0)::int, coalesce(sum(doubtful), 0)::int,
           extract(epoch from min(first_t))::float8, min(last_v) filter (where last_t = first_t),
           extract(epoch from min(low_t) filter (where low = lowest))::float8, min(lowest),
           extract(epoch from min(high_t) filter (where high = highest))::float8, min(highest),
           extract(epoch from min(end_t))::float8, min(last_v) filter (where last_t = end_t), sum(others)::int
      from b group by k order by k
"""


def _statement(tier: Tier, *, noted: bool) -> LiteralString:
    head = _END.replace("LOW", "%(start)s").replace("HIGH", "%(body)s")
    tail = _END.replace("LOW", "%(tail)s").replace("HIGH", "%(end)s")
    pieces = head + " union all " + tail + " union all " + _OF_TIER.replace("TABLE", tier.table)
    if noted:
        pieces += _NOT_NOTED + " union all " + _NOTED_DAYS
    return "with p as (" + pieces + ")," + _PLOTTED


_STATEMENTS: Final = {(tier, noted): _statement(tier, noted=noted) for tier in TIERS for noted in (False, True)}
_CHECKS: Final = {tier: _INCOMPLETE.replace("TABLE", tier.table) for tier in TIERS}


@dataclass(frozen=True, slots=True)
class RolledSeries:
    """Rows as :mod:`context_store.history.series` reads buckets of, their unit in place of two; the tier they are of,
    and the
    seconds that each stands for."""

    tier: Tier
    rows: Sequence[tuple[Any, ...]]
    unit: str | None
    width_s: float
    is_all: bool
    """Whether instances cannot tell more, because a retention has removed some."""


def tier_for(width_s: float) -> Tier | None:
    """The coarsest tier of which a stretch of ``width_s`` seconds has enough buckets."""
    fitting = [tier for tier in TIERS if tier.length.total_seconds() * _FINENESS <= width_s]
    return fitting[-1] if fitting else None


async def rolled_series(
    connection: AsyncConnection, values: Mapping[str, Any], start: datetime, end: datetime, width_s: float
) -> RolledSeries | None:
    """The series from rollups; None when instances tell it: it is short, not only numbers, or not rolled yet.

    The transaction sees one snapshot: what is noted, rolled and written has to be of one moment.
    """
    tier = tier_for(width_s)
    rolled_until = (await read_state(connection)).rolled_until
    if rolled_until is None:
        return None
    is_gone = await _is_true(connection, _GONE, values)
    if is_gone:
        tier = await _kept_tier(connection, values, tier or TEN_MINUTES)
        width_s = max(width_s, 2 * tier.length.total_seconds())
    if tier is None:
        return None
    body, tail = tier.ceil(start), tier.floor(min(end, rolled_until))
    if body >= tail:
        return None
    places = {**values, "body": body, "tail": tail, "width": width_s}
    noted = await (await connection.execute(_NOTED, places)).fetchall()
    for name, column in zip(("noted", "lows", "highs"), zip(*noted, strict=True), strict=False):
        places[name] = list(column)
    rows = await (await connection.execute(_STATEMENTS[tier, bool(noted)], places)).fetchall()
    others = sum(row[10] for row in rows)
    if not rows or (others and not is_gone):
        return None
    numbers = [row[:10] for row in rows if row[0]]
    unit = await _unit(connection, places, numbers[-1][8]) if numbers else None
    return RolledSeries(tier, numbers, unit, width_s, is_gone)


async def _unit(connection: AsyncConnection, places: Mapping[str, Any], newest: float) -> str | None:
    values = {**places, "newest": datetime.fromtimestamp(newest, UTC)}
    found = await (await connection.execute(_UNIT, values)).fetchone()
    return found[0] if found else None


async def _kept_tier(connection: AsyncConnection, values: Mapping[str, Any], wanted: Tier) -> Tier:
    """``wanted``, or the next one that retention has left whole."""
    for tier in TIERS[TIERS.index(wanted) :]:
        if not await _is_true(connection, _CHECKS[tier], values):
            return tier
    return TIERS[-1]


async def _is_true(connection: AsyncConnection, statement: LiteralString, values: Mapping[str, Any]) -> bool:
    row = await (await connection.execute(statement, values)).fetchone()
    return bool(row and row[0])

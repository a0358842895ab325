# SPDX-License-Identifier: Apache-2.0
"""Answering questions about history from rollups, right at every moment.

A question is cut into what the rollups tell, and the rest, which is read from the instances: the ends of the range that
lie within a bucket, what is not rolled yet, and days that are noted to be rolled again. All of it is one statement, so
one snapshot. Attributes that are not only numbers are left to the instances; :mod:`context_store.aggregates` asks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

from broker.aggregation import Aggregation, AggregationMethod, Period
from context_store.rollup_tiers import DAY, HOUR, TIERS, Tier
from context_store.rollups import BELIEVED, NUMBER, RollupState

# What the methods are of pieces: buckets, and single instances as buckets of one; and of one bucket by itself.
METHODS: Final[Mapping[AggregationMethod, LiteralString]] = {
    AggregationMethod.TOTAL_COUNT: "sum(i.numbers)",
    AggregationMethod.SUM: "sum(i.total)::float8",
    AggregationMethod.AVG: "(sum(i.total) / nullif(sum(i.numbers), 0))::float8",
    AggregationMethod.MIN: "min(i.lowest)",
    AggregationMethod.MAX: "max(i.highest)",
    AggregationMethod.STDDEV: "sqrt(greatest(sum(i.numbers) * sum(i.squares) - sum(i.total) * sum(i.total), 0)"
    " / nullif(sum(i.numbers)::numeric * sum(i.numbers), 0))::float8",
    AggregationMethod.SUMSQ: "sum(i.squares)::float8",
}
_OF_ONE: Final[Mapping[AggregationMethod, LiteralString]] = {
    AggregationMethod.TOTAL_COUNT: "r.numbers::bigint",
    AggregationMethod.SUM: "r.total::float8",
    AggregationMethod.AVG: "(r.total / nullif(r.numbers, 0))::float8",
    AggregationMethod.MIN: "r.lowest",
    AggregationMethod.MAX: "r.highest",
    AggregationMethod.STDDEV: "sqrt(greatest(r.numbers * r.squares - r.total * r.total, 0)"
    " / nullif(r.numbers::numeric * r.numbers, 0))::float8",
    AggregationMethod.SUMSQ: "r.squares::float8",
}

# The attributes of the question, and their days that are noted. Where a retention has removed the instances, rollups
# are all that is left, whatever is noted.
_WANTED: Final[LiteralString] = """
    with w as materialized (
        select * from unnest(%(keys)s::bigint[], %(attributes)s::int[], %(owners)s::bigint[],
                             %(origins)s::timestamptz[], %(endings)s::timestamptz[])
                      as g (entity_key, attribute_id, owner, origin, ending)),
    noted as materialized (
        select distinct w.entity_key, w.attribute_id, n.day
          from w join rollup_note n on n.entity_key = w.entity_key and n.attribute_id = w.attribute_id
         where n.tenant_id = %(tenant_id)s
           and n.day >= timezone('UTC', %(body)s::timestamptz)::date
           and n.day <= timezone('UTC', %(tail)s::timestamptz)::date
           and not exists (select from rollup_1d g
                            where g.entity_key = w.entity_key and g.tenant_id = %(tenant_id)s
                              and g.attribute_id = w.attribute_id and g.raw_gone
                              and g.bucket = timezone('UTC', n.day::timestamp))),
"""
_PIECES: Final[LiteralString] = (
    " select w.*, r.dataset_id, r.bucket as place, r.numbers, r.total, r.squares, r.lowest, r.highest, r.others"
)
_BUCKETS: Final[LiteralString] = """
          from w cross join lateral (
            select * from TABLE r
             where r.entity_key = w.entity_key and r.tenant_id = %(tenant_id)s and r.attribute_id = w.attribute_id
               and r.bucket >= FROM and r.bucket < TO
               and (r.dataset_id = any(%(datasets)s::int[]) or %(datasets)s::int[] is null)) r
         where not exists (select from noted n where n.entity_key = w.entity_key and n.attribute_id = w.attribute_id
                              and n.day = timezone('UTC', r.bucket)::date)
"""
_INSTANCES: Final[LiteralString] = f"""
        select w.entity_key, w.attribute_id, w.owner, w.origin, w.ending, i.dataset_id,
               i.observed_at as place, (o.number is not null)::int as numbers, o.number::numeric as total,
               o.number::numeric * o.number::numeric as squares, o.number::numeric::float8 as lowest,
               o.number::numeric::float8 as highest, (o.number is null)::int as others
          from (select w.*, e.low, e.high from w cross join (values
                       (%(start)s::timestamptz, %(body)s::timestamptz),
                       (%(tail)s::timestamptz, %(end)s::timestamptz)) as e (low, high)
                union all
                select w.*, greatest(timezone('UTC', n.day::timestamp), %(body)s::timestamptz),
                       least(timezone('UTC', (n.day + 1)::timestamp), %(tail)s::timestamptz)
                  from w join noted n on n.entity_key = w.entity_key and n.attribute_id = w.attribute_id) w
         cross join lateral (
            select * from attribute_instance i
             where i.entity_key = w.entity_key and i.tenant_id = %(tenant_id)s and i.attribute_id = w.attribute_id
               and i.observed_at >= w.low and i.observed_at < w.high and {BELIEVED}
               and (i.dataset_id = any(%(datasets)s::int[]) or %(datasets)s::int[] is null)) i
         cross join lateral (select {NUMBER} as number) o
"""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where a question is cut: ``body`` to ``inner`` is told by ``tier``, ``inner`` to ``tail`` by hours."""

    tier: Tier
    body: datetime
    inner: datetime
    tail: datetime


def may_tell(aggregation: Aggregation, start: datetime) -> bool:
    """Whether rollups have these methods, and buckets with which periods from ``start`` on begin."""
    period = aggregation.period
    return METHODS.keys() >= set(aggregation.methods) and (period.is_whole_range or _fits(period, start, TIERS[0]))


def cuts(aggregation: Aggregation, start: datetime, end: datetime | None, state: RollupState) -> Cuts | None:
    """How to answer from rollups a question about instances from ``start`` until ``end``; None when they cannot.

    Only what they may tell at all is asked.
    """
    if state.rolled_until is None:
        return None
    if end is None and aggregation.period.is_whole_range:  # which ends with the last instance
        return None
    until = state.rolled_until if end is None else min(end, state.rolled_until)
    for tier in reversed(TIERS):
        if aggregation.period.is_whole_range or _fits(aggregation.period, start, tier):
            body = tier.ceil(start)
            inner = max(tier.floor(until), body)
            tail = max(HOUR.floor(until), inner) if tier is DAY else inner
            if body < tail:
                return Cuts(tier, body, inner, tail)
    return None


def _fits(period: Period, start: datetime, tier: Tier) -> bool:
    """Whether all periods from ``start`` on begin with a bucket of ``tier``."""
    return tier.holds(start) and not timedelta(microseconds=period.microseconds) % tier.length


def rollup_statement(places: Cuts, cut: LiteralString, aggregation: Aggregation) -> LiteralString:
    """The statement; ``cut`` gives each piece ``i`` of ``w`` its period ``p`` (begins, ends).

    Its rows are those of the statement on instances, and what there is: 0 numbers, 1 other instances too, 2 no number.
    """
    methods = aggregation.methods
    body = _buckets(places.tier, "%(body)s", "%(inner)s")
    hours = _PIECES + _buckets(HOUR, "%(inner)s", "%(tail)s") + " union all " if places.inner < places.tail else ""
    if _length_of(aggregation.period) == places.tier.length:  # each bucket is a period: there is nothing to compose
        whole = (
            " union all select w.owner, w.attribute_id, r.dataset_id, 1, r.bucket, r.bucket + "
            + places.tier.interval
            + "".join([", " + _OF_ONE[method] for method in methods])
            + ", case when r.numbers = 0 then 2 when r.others > 0 then 1 else 0 end"
            + body
        )
        pieces = hours + _INSTANCES
    else:
        whole = ""
        pieces = _PIECES + body + " union all " + hours + _INSTANCES
    return (
        _WANTED
        + "pieces as ("
        + pieces
        + ") select * from (select w.owner, w.attribute_id, i.dataset_id, 1, p.begins, p.ends"
        + "".join([", " + METHODS[method] for method in methods])
        + ", case when sum(i.numbers) = 0 then 2 when sum(i.others) > 0 then 1 else 0 end"
        " from pieces w cross join lateral (select w.place, w.dataset_id, w.numbers, w.total,"
        " w.squares, w.lowest, w.highest, w.others) i "
        + cut
        + " group by w.owner, w.attribute_id, i.dataset_id, p.begins, p.ends"
        " having sum(i.numbers) > 0 or sum(i.others) > 0" + whole + ") answer order by 1, 2, 3, 5 limit %(limit)s"
    )


def _buckets(tier: Tier, start: LiteralString, past: LiteralString) -> LiteralString:
    return _BUCKETS.replace("TABLE", tier.table).replace("FROM", start).replace("TO", past)


def _length_of(period: Period) -> timedelta | None:
    """The length of all its periods; None when they differ."""
    return None if period.months else timedelta(days=period.days, microseconds=period.microseconds)


def cut_values(places: Cuts) -> dict[str, Any]:
    """The values of the cuts in the statement."""
    return {"body": places.body, "inner": places.inner, "tail": places.tail}


# Attributes some of whose instances in the range a retention has removed.
RETIRED: Final[LiteralString] = """
    select distinct w.owner, w.attribute_id
      from unnest(%(keys)s::bigint[], %(attributes)s::int[], %(owners)s::bigint[])
           as w (entity_key, attribute_id, owner)
      join rollup_1d g on g.entity_key = w.entity_key and g.tenant_id = %(tenant_id)s
       and g.attribute_id = w.attribute_id and g.raw_gone and g.bucket >= %(body)s and g.bucket < %(tail)s
"""

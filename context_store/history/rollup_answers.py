# SPDX-License-Identifier: Apache-2.0
"""Answering questions about history from rollups, right at every moment.

A question is cut into what the rollups tell, and the rest, which is read from the instances: the ends of the range that
lie within a bucket, what is not rolled yet, and days that are noted to be rolled again. All of it is asked in one
snapshot, which the caller's transaction has to have. Attributes that are not only numbers are left to the instances;
:mod:`context_store.history.aggregates` asks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, LiteralString, NamedTuple

from broker.history.aggregation import Aggregation, AggregationMethod, Period
from context_store.history.exact import deviation, mean
from context_store.history.rollup_tiers import DAY, HOUR, TIERS, Tier
from context_store.history.rollups import BELIEVED, NUMBER, RollupState

# What the methods are of pieces: buckets, and single instances as buckets of one; and of one bucket by itself.
METHODS: Final[Mapping[AggregationMethod, LiteralString]] = {
    AggregationMethod.TOTAL_COUNT: "sum(i.numbers)",
    AggregationMethod.SUM: "sum(i.total)::float8",
    AggregationMethod.AVG: mean("sum(i.total)", "sum(i.numbers)"),
    AggregationMethod.MIN: "min(i.lowest)",
    AggregationMethod.MAX: "max(i.highest)",
    AggregationMethod.STDDEV: deviation("sum(i.numbers)", "sum(i.total)", "sum(i.squares)"),
    AggregationMethod.SUMSQ: "sum(i.squares)::float8",
}
_OF_ONE: Final[Mapping[AggregationMethod, LiteralString]] = {
    AggregationMethod.TOTAL_COUNT: "r.numbers::bigint",
    AggregationMethod.SUM: "r.total::float8",
    AggregationMethod.AVG: mean("r.total", "r.numbers"),
    AggregationMethod.MIN: "r.lowest",
    AggregationMethod.MAX: "r.highest",
    AggregationMethod.STDDEV: deviation("r.numbers", "r.total", "r.squares"),
    AggregationMethod.SUMSQ: "r.squares::float8",
}

# The days of the question's attributes that are noted. Where a retention has removed the instances, rollups are all
# that is left, whatever is noted.
NOTED: Final[LiteralString] = """
    select distinct n.entity_key, n.attribute_id, n.day
      from unnest(%(keys)s::bigint[], %(attributes)s::int[]) as w (entity_key, attribute_id)
      join rollup_note n on n.entity_key = w.entity_key and n.attribute_id = w.attribute_id
     where n.tenant_id = %(tenant_id)s
       and n.day >= timezone('UTC', %(body)s::timestamptz)::date
       and n.day <= timezone('UTC', %(tail)s::timestamptz)::date
       and not exists (select from rollup_1d g
                        where g.entity_key = w.entity_key and g.tenant_id = %(tenant_id)s
                          and g.attribute_id = w.attribute_id and g.raw_gone
                          and g.bucket = timezone('UTC', n.day::timestamp))
"""
_WANTED: Final[LiteralString] = """
    with w as materialized (
        select * from unnest(%(keys)s::bigint[], %(attributes)s::int[], %(owners)s::bigint[],
                             %(origins)s::timestamptz[], %(endings)s::timestamptz[])
                      as g (entity_key, attribute_id, owner, origin, ending))
"""
_NOTED_DAYS: Final[LiteralString] = """,
    noted as materialized (
        select * from unnest(%(noted_keys)s::bigint[], %(noted_attributes)s::int[], %(noted_days)s::date[])
                      as g (entity_key, attribute_id, day))
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
"""
_NOT_NOTED: Final[LiteralString] = """
         where not exists (select from noted n where n.entity_key = w.entity_key and n.attribute_id = w.attribute_id
                              and n.day = timezone('UTC', r.bucket)::date)
"""
# Instances of a range that is known when the statement is planned: partitions and chunks beside it are left out.
_INSTANCES: Final[LiteralString] = f"""
        select w.entity_key, w.attribute_id, w.owner, w.origin, w.ending, i.dataset_id,
               i.observed_at as place, (o.number is not null)::int as numbers, o.number::numeric as total,
               o.number::numeric * o.number::numeric as squares, o.number::numeric::float8 as lowest,
               o.number::numeric::float8 as highest, (o.number is null)::int as others
          from WANTED cross join lateral (
            select * from attribute_instance i
             where i.entity_key = w.entity_key and i.tenant_id = %(tenant_id)s and i.attribute_id = w.attribute_id
               and i.observed_at >= FROM and i.observed_at < TO and {BELIEVED}
               and (i.dataset_id = any(%(datasets)s::int[]) or %(datasets)s::int[] is null)) i
         cross join lateral (select {NUMBER} as number) o
"""
_HEAD: Final[LiteralString] = (
    _INSTANCES.replace("WANTED", "w").replace("FROM", "%(start)s::timestamptz").replace("TO", "%(body)s::timestamptz")
)
_TAIL: Final[LiteralString] = (
    _INSTANCES.replace("WANTED", "w").replace("FROM", "%(tail)s::timestamptz").replace("TO", "%(end)s::timestamptz")
)
_OF_NOTED_DAYS: Final[LiteralString] = (
    _INSTANCES.replace("WANTED", "w join noted n on n.entity_key = w.entity_key and n.attribute_id = w.attribute_id")
    .replace("FROM", "greatest(timezone('UTC', n.day::timestamp), %(body)s::timestamptz)")
    .replace(
        "TO",
        "least(timezone('UTC', (n.day + 1)::timestamp), %(tail)s::timestamptz)"
        " and i.observed_at >= %(noted_from)s::date and i.observed_at < %(noted_to)s::date",
    )
)


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where a question is cut: ``body`` to ``inner`` is told by ``tier``, ``inner`` to ``tail`` by hours."""

    tier: Tier
    body: datetime
    inner: datetime
    tail: datetime


class Ends(NamedTuple):
    """Whether there may be instances before the first and after the last rolled bucket of a question."""

    head: bool
    tail: bool


def ends_of(places: Cuts, start: datetime, end: datetime | None) -> Ends:
    """What of a question from ``start`` until ``end`` lies beside the rolled buckets."""
    return Ends(start < places.body, end is None or places.tail < end)


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
    return (
        period.keeps_time_of_day and tier.holds(start) and not timedelta(microseconds=period.microseconds) % tier.length
    )


def rollup_statement(
    places: Cuts, cut: LiteralString, aggregation: Aggregation, ends: Ends, *, noted: bool
) -> LiteralString:
    """The statement; ``cut`` gives each piece ``i`` of ``w`` its period ``p`` (begins, ends).

    Its rows are those of the statement on instances, and what there is: 0 numbers, 1 other instances too, 2 no number.
    Of the instances it reads ``ends`` of the range, and with ``noted`` those of noted days.
    """
    methods = aggregation.methods
    body = _buckets(places.tier, "%(body)s", "%(inner)s", noted=noted)
    is_whole = _length_of(aggregation.period) == places.tier.length  # each bucket is a period: nothing to compose
    pieces: list[LiteralString] = [] if is_whole else [_PIECES + body]
    pieces += [_PIECES + _buckets(HOUR, "%(inner)s", "%(tail)s", noted=noted)] if places.inner < places.tail else []
    pieces += ([_HEAD] if ends.head else []) + ([_TAIL] if ends.tail else []) + ([_OF_NOTED_DAYS] if noted else [])
    answers: list[LiteralString] = []
    if is_whole:
        answers.append(
            " select w.owner, w.attribute_id, r.dataset_id, 1, r.bucket, r.bucket + "
            + places.tier.interval
            + "".join([", " + _OF_ONE[method] for method in methods])
            + ", case when r.numbers = 0 then 2 when r.others > 0 then 1 else 0 end"
            + body
        )
    if pieces:
        answers.append(
            "select w.owner, w.attribute_id, i.dataset_id, 1, p.begins, p.ends"
            + "".join([", " + METHODS[method] for method in methods])
            + ", case when sum(i.numbers) = 0 then 2 when sum(i.others) > 0 then 1 else 0 end"
            " from pieces w cross join lateral (select w.place, w.dataset_id, w.numbers, w.total,"
            " w.squares, w.lowest, w.highest, w.others) i "
            + cut
            + " group by w.owner, w.attribute_id, i.dataset_id, p.begins, p.ends"
            " having sum(i.numbers) > 0 or sum(i.others) > 0"
        )
    return (
        _WANTED
        + (_NOTED_DAYS if noted else "")
        + (", pieces as (" + " union all ".join(pieces) + ")" if pieces else "")
        + " select * from ("
        + " union all ".join(answers)
        + ") answer order by 1, 2, 3, 5 limit %(limit)s"
    )


def _buckets(tier: Tier, start: LiteralString, past: LiteralString, *, noted: bool) -> LiteralString:
    buckets = _BUCKETS.replace("TABLE", tier.table).replace("FROM", start).replace("TO", past)
    return buckets + _NOT_NOTED if noted else buckets


def _length_of(period: Period) -> timedelta | None:
    """The length of all its periods; None when they differ."""
    return None if period.is_of_calendar else timedelta(days=period.days, microseconds=period.microseconds)


def cut_values(places: Cuts) -> dict[str, Any]:
    """The values of the cuts in the statement."""
    return {"body": places.body, "inner": places.inner, "tail": places.tail}


def noted_values(noted: Sequence[tuple[int, int, date]]) -> dict[str, Any]:
    """The values of noted days (entity, attribute, day) in the statement."""
    if not noted:
        return {}
    keys, attributes, days = (list(column) for column in zip(*noted, strict=True))
    columns = {"noted_keys": keys, "noted_attributes": attributes, "noted_days": days}
    return {**columns, "noted_from": min(days), "noted_to": max(days) + timedelta(days=1)}


# Attributes some of whose instances in the range a retention has removed.
RETIRED: Final[LiteralString] = """
    select distinct w.owner, w.attribute_id
      from unnest(%(keys)s::bigint[], %(attributes)s::int[], %(owners)s::bigint[])
           as w (entity_key, attribute_id, owner)
      join rollup_1d g on g.entity_key = w.entity_key and g.tenant_id = %(tenant_id)s
       and g.attribute_id = w.attribute_id and g.raw_gone and g.bucket >= %(body)s and g.bucket < %(tail)s
"""

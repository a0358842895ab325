# SPDX-License-Identifier: Apache-2.0
"""Aggregating history in the database (clause 4.5.19): the same statements for native partitions and for a hypertable.

Periods begin at the start of the query's range, or with the first instance of the entity when that is open. Numbers
are added as ``numeric``: exact, so that the answer does not depend on the order in which partitions are read, and
0.1 + 0.2 is 0.3. Rollups answer what they can, :mod:`context_store.history.plain_aggregates` what is all plain
numbers, with
the same digits; the statement here can do everything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import compress, groupby
from operator import itemgetter
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.errors import NumericValueOutOfRange
from psycopg.types.string import TextLoader

from broker.errors import BadRequestData, TooManyResults
from broker.history.aggregation import (
    AggregatedSeries,
    Aggregation,
    AggregationMethod,
    Period,
    column_of,
    times_of,
)
from broker.times import from_database
from context_store.history.exact import deviation, mean
from context_store.history.instances import BELIEVED, NOT_EXPIRED, Series, columns_of, is_bounded
from context_store.history.plain_aggregates import can_tell, plain_statement
from context_store.history.rollup_answers import METHODS as ROLLED_METHODS
from context_store.history.rollup_answers import (
    NOTED,
    RETIRED,
    cut_values,
    cuts,
    ends_of,
    may_tell,
    noted_values,
    rollup_statement,
)
from context_store.history.rollups import read_state
from context_store.history.terms import NO_TERM, TermIds
from context_store.history.writing import KIND_NAME
from schemas.terms import NO_DATASET

MAX_PERIODS: Final = 100_000
"""How many periods of attributes one answer may have."""

_SOURCE: Final[LiteralString] = """
      from unnest(%(keys)s::bigint[], %(attributes)s::int[], %(owners)s::bigint[], %(origins)s::timestamptz[],
                  %(endings)s::timestamptz[], %(since)s::timestamptz[], %(until)s::timestamptz[])
           as w (entity_key, attribute_id, owner, origin, ending, since, until)
     cross join lateral (
        select i.*, i.AXIS as place from attribute_instance i
         where i.entity_key = w.entity_key and i.tenant_id = %(tenant_id)s and i.attribute_id = w.attribute_id
           and i.AXIS >= %(start)s::timestamptz and i.AXIS < %(end)s::timestamptz
           and (i.has_observed_at or not %(only_observed)s) and not i.removed
           and (i.dataset_id = any(%(datasets)s::int[]) or %(datasets)s::int[] is null)"""
_WITHIN: Final[LiteralString] = " and i.AXIS >= w.since and i.AXIS < w.until"
_NEWEST: Final[LiteralString] = " order by i.AXIS desc, i.recorded_at desc, i.instance_key desc limit %(last_n)s"
# The newest of each attribute of an entity, whichever lives they are of.
_RANKED: Final[LiteralString] = """
      from (select * from (
            select w.owner, w.origin, w.ending, i.*, row_number() over (
                   partition by w.owner, i.attribute_id
                   order by i.place desc, i.recorded_at desc, i.instance_key desc) as rank SOURCE) r
             where r.rank <= %(last_n)s) i
     cross join lateral (select i.owner, i.origin, i.ending) w
"""
_EXTENT: Final[LiteralString] = "select w.owner, min(i.place), max(i.place) SOURCE group by w.owner"

# What methods work on. Kinds: 1 Property, 7 ListProperty.
_OPERANDS: Final[LiteralString] = """
     cross join lateral (
        select case when i.kind in (1, 7) and jsonb_typeof(i.json_value) = 'array'
                    then jsonb_array_length(i.json_value)::numeric end as size,
               case when i.kind = 1 then coalesce(
                    case when jsonb_typeof(i.json_value) = 'number' then i.json_value::numeric end,
                    i.number_value::numeric, i.boolean_value::int::numeric) end as number,
               case when i.kind = 1 then coalesce(i.text_value,
                    case when i.json_value ->> '@type' ~ '(DateTime|Date|Time)$' then i.json_value ->> '@value' end)
                    end as text,
               case when i.kind = 1 and i.json_value ->> '@type' ~ '(^|[^e])Time$'
                     and i.json_value ->> '@value' ~ '^([01][0-9]|2[0-3])(:[0-5][0-9]){2}([.,][0-9]+)?Z?$'
                    then extract(epoch from rtrim(translate(i.json_value ->> '@value', ',', '.'), 'Z')::time) end
                    as clock) o
"""
_METHODS: Final[dict[AggregationMethod, LiteralString]] = {
    AggregationMethod.TOTAL_COUNT: "to_jsonb(count(*))",
    AggregationMethod.DISTINCT_COUNT: "to_jsonb(count(distinct coalesce(i.json_value, to_jsonb(i.number_value),"
    " to_jsonb(i.text_value), to_jsonb(i.boolean_value))))",
    AggregationMethod.SUM: "to_jsonb(sum(coalesce(o.number, o.size))::float8)",
    AggregationMethod.AVG: "coalesce(to_jsonb("
    + mean("sum(coalesce(o.number, o.size))", "count(coalesce(o.number, o.size))")
    + "), to_jsonb(to_char(make_interval(secs => round(avg(o.clock), 3)::float8), 'HH24:MI:SS.MS') || 'Z'))",
    AggregationMethod.MIN: "coalesce(to_jsonb(min(coalesce(o.number, o.size))::float8),"
    ' to_jsonb(min(o.text collate "C")))',
    AggregationMethod.MAX: "coalesce(to_jsonb(max(coalesce(o.number, o.size))::float8),"
    ' to_jsonb(max(o.text collate "C")))',
    # Not stddev_pop: the same arithmetic as of rollups, so that both give the same to the last digit.
    AggregationMethod.STDDEV: "to_jsonb("
    + deviation("count(o.number)", "sum(o.number)", "sum(o.number * o.number)")
    + ")",
    AggregationMethod.SUMSQ: "to_jsonb(sum(o.number * o.number)::float8)",
}
_SLOTS: Final = ("keys", "attributes", "owners", "origins", "endings", "since", "until")
_COUNTS: Final = frozenset({AggregationMethod.TOTAL_COUNT, AggregationMethod.DISTINCT_COUNT})

_LENGTH: Final[LiteralString] = (
    "make_interval(months => %(months)s::int, days => %(days)s::int, secs => %(seconds)s::float8)"
)
# The period of an instance as (begins, ends).
_WHOLE: Final[LiteralString] = "cross join lateral (select w.origin as begins, w.ending as ends) p"
_FIXED: Final[LiteralString] = (
    f"cross join lateral (select date_bin({_LENGTH}, i.place, w.origin) as begins) b"
    f" cross join lateral (select b.begins, timezone('UTC', timezone('UTC', b.begins) + {_LENGTH}) as ends) p"
)
# Months differ in length, and days where there is summer time: the mean length gives the number of the period but for
# one up or down, and the calendar decides. All borders are counted from the origin: a month after 31 January is the
# last of February, two are 31 March.
_CALENDAR: Final[LiteralString] = f"""
     cross join lateral (
        select max(timezone(%(zone)s, c.begins)) as begins, max(timezone(%(zone)s, timezone(%(zone)s, w.origin) +
               (c.number + 1) * {_LENGTH})) as ends
          from (select n as number, timezone(%(zone)s, w.origin) + n * {_LENGTH} as begins
                  from generate_series(
                       floor(extract(epoch from i.place - w.origin) / %(mean_seconds)s::float8)::int - 1,
                       floor(extract(epoch from i.place - w.origin) / %(mean_seconds)s::float8)::int + 1) n) c
         where timezone(%(zone)s, c.begins) <= i.place) p
"""


@dataclass(frozen=True, slots=True)
class Aggregated:
    """What was computed, by the number of the entity; ``is_lasting``: no instance that it is of expires by itself."""

    series: dict[int, list[AggregatedSeries]]
    is_lasting: bool


async def aggregate(
    connection: AsyncConnection,
    terms: TermIds,
    aggregation: Aggregation,
    series: Sequence[Series],
    values: Mapping[str, Any],
    axis: LiteralString,
) -> Aggregated:
    """What ``series`` are aggregated to, by entity; attributes in their order. The transaction has one snapshot.

    ``values`` are ``tenant_id``, ``datasets``, ``last_n`` (only so many of the newest instances count; None: all) and
    the bounds of the range. Raises :class:`TooManyResults`, and :class:`BadRequestData` for sums of squares that are no
    numbers any more.
    """
    try:
        rows, is_lasting = await _rows(connection, aggregation, series, values, axis)
    except NumericValueOutOfRange as exc:
        raise BadRequestData("The values are too large for this method of aggregation") from exc
    if len(rows) > MAX_PERIODS:
        raise TooManyResults(f"The answer would have more than {MAX_PERIODS} periods; ask for longer ones")
    names = await terms.names({row[1] for row in rows} | {row[2] for row in rows})
    result: dict[int, list[AggregatedSeries]] = {}
    for (owner, attribute, dataset, kind), periods in groupby(rows, _SERIES):
        _, _, _, _, starts, ends, *results = zip(*periods, strict=True)
        found = AggregatedSeries(
            names[attribute],
            NO_DATASET if dataset == NO_TERM else names[dataset],
            KIND_NAME[kind],
            times_of(from_database(starts), from_database(ends)),
            tuple(map(column_of, results)),
        )
        result.setdefault(owner, []).append(found)
    return Aggregated(result, is_lasting)


_SERIES: Final = itemgetter(0, 1, 2, 3)


def together(aggregation: Aggregation, start: datetime | None) -> tuple[AggregationMethod, ...]:
    """The methods that are computed from ``start`` on with those of ``aggregation`` for little more.

    Rollups do not count distinct values: this method by itself would have the others read from the instances.
    """
    rolled = replace(aggregation, methods=tuple(ROLLED_METHODS))
    if start is None or not may_tell(rolled, start):
        return tuple(AggregationMethod)
    return rolled.methods if set(aggregation.methods) <= set(ROLLED_METHODS) else aggregation.methods


async def _rows(
    connection: AsyncConnection,
    aggregation: Aggregation,
    series: Sequence[Series],
    values: Mapping[str, Any],
    axis: LiteralString,
) -> tuple[list[tuple[Any, ...]], bool]:
    """Rows of periods in their order, and whether nothing of what they are of expires."""
    period = aggregation.period
    places = {
        **values,
        **columns_of(series),
        "owners": [item.owner for item in series],
        "origins": [None] * len(series),
        "endings": [None] * len(series),
    }
    source = _source(series, newest=values.get("last_n") is not None).replace("AXIS", axis)
    start, end = _given(values["start"]), _given(values["end"])
    borders: dict[int, tuple[datetime | None, datetime | None]] = {}
    if start is None or (end is None and period.is_whole_range):
        extents = await (await connection.execute(_EXTENT.replace("SOURCE", source), places)).fetchall()
        borders = {owner: (first, last) for owner, first, last in extents}
    nothing = (None, None)
    places["origins"] = [start or borders.get(owner, nothing)[0] for owner in places["owners"]]
    places["endings"] = [end or borders.get(owner, nothing)[1] for owner in places["owners"]]
    places |= _length(period) | {"limit": MAX_PERIODS + 1}
    rows: list[tuple[Any, ...]] = []
    if values.get("last_n") is None and not is_bounded(series):
        rows, left = await _from_rollups(connection, aggregation, places, axis)
        if left is places:
            rows, left = await _from_plain_numbers(connection, aggregation, places, axis)
        places = left
    is_lasting = True
    if places["keys"]:
        found = await _fetched(connection, _statement(aggregation, source), places)
        is_lasting = all(row[-1] for row in found)
        rows += [(*row[:6], *_typed(row[6:-1], aggregation)) for row in found]
        rows.sort(key=lambda row: row[:5])
    return rows, is_lasting


async def _from_rollups(
    connection: AsyncConnection, aggregation: Aggregation, places: dict[str, Any], axis: LiteralString
) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
    """The rows that rollups can tell, and what is left to ask the instances themselves (of ``places``)."""
    if axis != "observed_at" or not places["only_observed"] or places["known_at"] != "infinity":
        return [], places
    start = _given(places["start"])
    if start is None or not may_tell(aggregation, start):
        return [], places
    end = _given(places["end"])
    where = cuts(aggregation, start, end, await read_state(connection))
    if where is None:
        return [], places
    values = places | cut_values(where)
    noted = await (await connection.execute(NOTED, values)).fetchall()
    ends = ends_of(where, start, end)
    statement = rollup_statement(where, _cut(aggregation.period), aggregation, ends, noted=bool(noted))
    # Planned for its values where instances are read, so that only partitions of their time are looked at.
    prepare = False if noted or any(ends) else None
    found = await _fetched(connection, statement, values | noted_values(noted), prepare=prepare)
    mixed = {row[:2] for row in found if row[-1]}
    if mixed:  # the instances can tell more, where they are there
        rows = await (await connection.execute(RETIRED, values)).fetchall()
        mixed.difference_update(tuple(row) for row in rows)
    told = [row[:-1] for row in found if row[:2] not in mixed and row[-1] < 2]
    return told, _only(places, mixed)


async def _from_plain_numbers(
    connection: AsyncConnection, aggregation: Aggregation, places: dict[str, Any], axis: LiteralString
) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
    """The rows of attributes that are all plain numbers, and what is left to ask (of ``places``)."""
    slots = list(zip(places["owners"], places["attributes"], strict=True))
    if not can_tell(aggregation.period) or len(set(slots)) < len(slots):  # several lives may share a period
        return [], places
    # Planned for its values: whether sorting or hashing is quicker depends on how much history the range has.
    found = await _fetched(connection, plain_statement(aggregation, axis), places, prepare=False)
    left = {row[:2] for row in found if not row[-1]}
    rows = [row[:-1] for row in found if row[:2] not in left]
    return sorted(rows, key=lambda row: row[:5]), _only(places, left)


async def _fetched(
    connection: AsyncConnection, statement: LiteralString, values: Mapping[str, Any], *, prepare: bool | None = None
) -> list[tuple[Any, ...]]:
    """The rows of a statement with times as the texts that PostgreSQL writes: they are only written again."""
    async with connection.cursor() as cursor:
        cursor.adapters.register_loader("timestamptz", TextLoader)
        await cursor.execute(statement, values, prepare=prepare)
        return await cursor.fetchall()


def _only(places: dict[str, Any], slots: Collection[tuple[int, int]]) -> dict[str, Any]:
    """``places`` without what is not of these ``slots`` (owner, attribute)."""
    kept = [slot in slots for slot in zip(places["owners"], places["attributes"], strict=True)]
    return places | {name: list(compress(places[name], kept)) for name in _SLOTS}


def _cut(period: Period) -> LiteralString:
    return _WHOLE if period.is_whole_range else _CALENDAR if period.is_of_calendar else _FIXED


def _source(series: Sequence[Series], *, newest: bool) -> LiteralString:
    """The instances as ``i``, each with what belongs to its entity as ``w``; AXIS is still to be set."""
    source = _SOURCE + BELIEVED + NOT_EXPIRED + (_WITHIN if is_bounded(series) else "")
    return _RANKED.replace("SOURCE", source + _NEWEST + ") i ") if newest else source + ") i "


def _statement(aggregation: Aggregation, source: LiteralString) -> LiteralString:
    cut = _cut(aggregation.period)
    results = ", ".join([_METHODS[method] for method in aggregation.methods])
    return (
        "select w.owner, i.attribute_id, i.dataset_id, i.kind, p.begins, p.ends, "
        + results
        + ", bool_and(i.detail ->> 'expiresAt' is null)"
        + source
        + cut
        + _OPERANDS
        + " group by w.owner, i.attribute_id, i.dataset_id, i.kind, p.begins, p.ends"
        + " order by w.owner, i.attribute_id, i.dataset_id, i.kind, p.begins limit %(limit)s"
    )


def _given(bound: str) -> datetime | None:
    return None if bound.endswith("infinity") else datetime.fromisoformat(bound)


def _length(period: Period) -> dict[str, Any]:
    return {
        "months": period.months,
        "days": period.days,
        "seconds": period.microseconds / 1e6,
        "mean_seconds": period.seconds,
        "zone": period.zone,
    }


def _typed(results: Sequence[Any], aggregation: Aggregation) -> Iterator[Any]:
    """Results of JSON as those of numbers are: all but counts are floats."""
    for method, value in zip(aggregation.methods, results, strict=True):
        yield float(value) if type(value) is int and method not in _COUNTS else value

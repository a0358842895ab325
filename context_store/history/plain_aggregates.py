# SPDX-License-Identifier: Apache-2.0
"""Aggregating plain numbers, the bulk of what sensors send: the same answers to the last digit, for less work.

Numbers count with their 15 significant digits, and are added exactly (see :mod:`context_store.history.aggregates`). To
write a ``float8`` as ``numeric`` takes longer than to read its row. So what is less than 10,000 is added as a whole
number of 1e-14, by ``sum(bigint)``, which is exact: from 1 on where multiplying shows for certain which 15 digits are
the nearest ones (nine of ten numbers, and all of few decimals), below 1 what has at most six decimals. The rest is
added as ``numeric``. Periods that are not all of plain numbers are left to the statement that can do everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, LiteralString

from broker.history.aggregation import Aggregation, AggregationMethod, Period
from context_store.history.exact import deviation, mean
from context_store.history.instances import BELIEVED, NOT_EXPIRED

_SUM: Final[LiteralString] = "(coalesce(sum(i.units) * 1e-14, 0) + coalesce(sum(i.rest), 0))"
# Squares of units have twice their digits: they are put together of halves with 30 binary digits.
_HIGH: Final[LiteralString] = "(i.units >> 30)"
_LOW: Final[LiteralString] = "(i.units & 1073741823)"
_SQUARES: Final[LiteralString] = (
    f"(coalesce((sum({_HIGH} * {_HIGH}) * 1152921504606846976 + sum({_HIGH} * {_LOW}) * 2147483648"
    f" + sum({_LOW} * {_LOW})) * 1e-28, 0) + coalesce(sum(i.rest * i.rest), 0))"
)
_METHODS: Final[Mapping[AggregationMethod, LiteralString]] = {
    AggregationMethod.TOTAL_COUNT: "count(*)",
    AggregationMethod.DISTINCT_COUNT: "count(distinct i.number)",
    AggregationMethod.SUM: f"{_SUM}::float8",
    AggregationMethod.AVG: mean(_SUM, "count(*)"),
    AggregationMethod.MIN: "min(i.number)::numeric::float8",
    AggregationMethod.MAX: "max(i.number)::numeric::float8",
    AggregationMethod.STDDEV: deviation("count(*)", _SUM, _SQUARES),
    AggregationMethod.SUMSQ: f"{_SQUARES}::float8",
}
_SIZE: Final[LiteralString] = "abs(i.number_value)"
# The product is off by less than 1/16, and so far from its nearest whole number that no other one can be meant.
_UNITS_OF: Final[LiteralString] = (
    "case when abs(i.number_value * SCALE::float8 - round(i.number_value * SCALE::float8)) < 0.46::float8"
    " then (i.number_value * SCALE::float8)::bigint * EACH::bigint end"
)


def _units(scale: LiteralString, each: LiteralString) -> LiteralString:
    return _UNITS_OF.replace("SCALE", scale).replace("EACH", each)


# Numbers as whole ones of 1e-14, null where they are not; and those that are left.
UNITS: Final[LiteralString] = (
    f"case when {_SIZE} >= 1 and {_SIZE} < 10000 then"
    f" case when {_SIZE} < 10 then {_units('1e14', '1')} when {_SIZE} < 100 then {_units('1e13', '10')}"
    f" when {_SIZE} < 1000 then {_units('1e12', '100')} else {_units('1e11', '1000')} end"
    f" when {_SIZE} < 1 and i.number_value = round(i.number_value * 1e6::float8) / 1e6::float8"
    " then round(i.number_value * 1e6::float8)::bigint * 100000000 end"
)
REST: Final[LiteralString] = (
    "case when i.units is null then case when abs(i.number) < 1e9"
    " and i.number = round(i.number * 1e6::float8) / 1e6::float8"
    " then round(i.number * 1e6::float8)::bigint * 0.000001 else i.number::numeric end end"
)
_PLAIN: Final[LiteralString] = (
    "i.kind = 1 and i.number_value is not null and i.json_value is null and i.detail ->> 'expiresAt' is null"
)
"""What a number tells all of. Whether something expires decides how long an answer is true."""
_SQUARED: Final = frozenset({AggregationMethod.STDDEV, AggregationMethod.SUMSQ})
_SUMMED: Final = _SQUARED | {AggregationMethod.SUM, AggregationMethod.AVG}

# One row for each period of an attribute (in one life of its entity) and dataset. "offset 0": what is computed of an
# instance is computed once.
_STATEMENT: Final[LiteralString] = """
    select w.owner, w.attribute_id, s.*
      from unnest(%(keys)s::bigint[], %(attributes)s::int[], %(owners)s::bigint[], %(origins)s::timestamptz[],
                  %(endings)s::timestamptz[])
           as w (entity_key, attribute_id, owner, origin, ending)
     cross join lateral (
        select i.dataset_id, 1, BEGINS, ENDS, RESULTS, bool_and(i.is_plain) as told
          from SOURCE i
         group by GROUPS limit %(limit)s) s
"""
_INSTANCES: Final[LiteralString] = f"""(
        select i.dataset_id, PERIOD as begins, i.number_value as number, {_PLAIN} as is_plain, UNITS as units
          from attribute_instance i
         where i.entity_key = w.entity_key and i.tenant_id = %(tenant_id)s and i.attribute_id = w.attribute_id
           and i.AXIS >= %(start)s::timestamptz and i.AXIS < %(end)s::timestamptz
           and (i.has_observed_at or not %(only_observed)s) and not i.removed
           and (i.dataset_id = any(%(datasets)s::int[]) or %(datasets)s::int[] is null)
           {BELIEVED} {NOT_EXPIRED} offset 0)"""
_WITH_REST: Final[LiteralString] = f"(select i.*, {REST} as rest from {_INSTANCES} i offset 0)"
_LENGTH: Final[LiteralString] = "make_interval(days => %(days)s::int, secs => %(seconds)s::float8)"
_PERIOD: Final[LiteralString] = f"date_bin({_LENGTH}, i.AXIS, w.origin)"


def can_tell(period: Period) -> bool:
    """Whether periods like this are of one length, as :func:`plain_statement` needs them."""
    return not period.is_of_calendar


def plain_statement(aggregation: Aggregation, axis: LiteralString) -> LiteralString:
    """The statement. Its rows are those of the one that can do everything, in any order; last, whether they hold."""
    whole = aggregation.period.is_whole_range
    is_summed = not _SUMMED.isdisjoint(aggregation.methods)
    results: LiteralString = ", ".join([_METHODS[method] for method in aggregation.methods])
    statement = _STATEMENT.replace("SOURCE", _WITH_REST if is_summed else _INSTANCES)
    statement = statement.replace("BEGINS", "w.origin" if whole else "i.begins")
    statement = statement.replace("ENDS", "w.ending" if whole else f"i.begins + {_LENGTH}")
    statement = statement.replace("GROUPS", "i.dataset_id" if whole else "i.dataset_id, i.begins")
    statement = statement.replace("UNITS", UNITS if is_summed else "null").replace("RESULTS", results)
    return statement.replace("PERIOD", "w.origin" if whole else _PERIOD).replace("AXIS", axis)

# SPDX-License-Identifier: Apache-2.0
"""Aggregating plain numbers, the bulk of what sensors send: the same answers to the last digit, for less work.

Numbers count with their 15 significant digits, and are added exactly (see :mod:`context_store.history.aggregates`).
What has at
most six decimals is a whole number of millionths, and whole numbers below 2**53 are added exactly as ``float8`` in
any order: five times faster than as ``numeric``. Each period tells whether it was all of that kind; where one says no,
the attribute is added as ``numeric``, and left to the statement that can do everything when it is not all plain
numbers. Begins and ends are made of periods, not instances.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, LiteralString

from broker.history.aggregation import Aggregation, AggregationMethod, Period
from context_store.history.instances import BELIEVED, NOT_EXPIRED

_MILLIONTHS: Final[LiteralString] = "round(i.number_value * 1e6::float8)"
_TOTAL: Final[LiteralString] = f"sum(case when abs(i.number_value) < 1e9 then {_MILLIONTHS} end)"
_METHODS: Final[Mapping[AggregationMethod, LiteralString]] = {
    AggregationMethod.TOTAL_COUNT: "count(*)",
    AggregationMethod.DISTINCT_COUNT: "count(distinct i.number_value)",
    AggregationMethod.SUM: "sum(n.exact)::float8",
    AggregationMethod.AVG: "(sum(n.exact) / count(*))::float8",
    AggregationMethod.MIN: "min(i.number_value)::numeric::float8",
    AggregationMethod.MAX: "max(i.number_value)::numeric::float8",
    AggregationMethod.STDDEV: "sqrt(greatest(count(*) * sum(n.exact * n.exact) - sum(n.exact) * sum(n.exact), 0)"
    " / (count(*)::numeric * count(*)))::float8",
    AggregationMethod.SUMSQ: "sum(n.exact * n.exact)::float8",
}
_OF_MILLIONTHS: Final[Mapping[AggregationMethod, LiteralString]] = {
    **_METHODS,
    AggregationMethod.SUM: f"({_TOTAL} + 0) / 1e6::float8",
    AggregationMethod.AVG: f"(greatest(least({_TOTAL}, 1e15), -1e15)::bigint * 0.000001 / count(*))::float8",
}
# "offset 0": the cast, which costs most of it, is done once.
_EXACT: Final[LiteralString] = " cross join lateral (select i.number_value::numeric as exact offset 0) n"
_PLAIN: Final[LiteralString] = (
    "i.kind = 1 and i.number_value is not null and i.json_value is null and i.detail ->> 'expiresAt' is null"
)
"""What a number tells all of. Whether something expires decides how long an answer is true."""
_IN_MILLIONTHS: Final[LiteralString] = (
    f" and case when abs(i.number_value) < 1e9 then i.number_value = {_MILLIONTHS} / 1e6::float8 end is true)"
    " and greatest(max(i.number_value), -min(i.number_value)) < 1e9::float8 / count(*)"
)
_SUMMED: Final = frozenset({AggregationMethod.SUM, AggregationMethod.AVG})
_SQUARED: Final = frozenset({AggregationMethod.STDDEV, AggregationMethod.SUMSQ})

# One row for each period of an attribute (in one life of its entity) and dataset.
_STATEMENT: Final[LiteralString] = f"""
    select w.owner, w.attribute_id, s.*
      from unnest(%(keys)s::bigint[], %(attributes)s::int[], %(owners)s::bigint[], %(origins)s::timestamptz[],
                  %(endings)s::timestamptz[])
           as w (entity_key, attribute_id, owner, origin, ending)
     cross join lateral (
        select i.dataset_id, 1, BEGINS, ENDS, RESULTS, TOLD as told
          from attribute_instance i EXACT
         where i.entity_key = w.entity_key and i.tenant_id = %(tenant_id)s and i.attribute_id = w.attribute_id
           and i.AXIS >= %(start)s::timestamptz and i.AXIS < %(end)s::timestamptz
           and (i.has_observed_at or not %(only_observed)s) and not i.removed
           and (i.dataset_id = any(%(datasets)s::int[]) or %(datasets)s::int[] is null)
           {BELIEVED} {NOT_EXPIRED}
         group by GROUPS limit %(limit)s) s
"""
_LENGTH: Final[LiteralString] = "make_interval(days => %(days)s::int, secs => %(seconds)s::float8)"
_PERIOD: Final[LiteralString] = f"date_bin({_LENGTH}, i.AXIS, w.origin)"


def can_tell(period: Period) -> bool:
    """Whether periods like this are of one length, as :func:`plain_statement` needs them."""
    return not period.months


def in_millionths(aggregation: Aggregation) -> bool:
    """Whether sums decide how long it takes, so that it is worth a try to add millionths."""
    return not _SUMMED.isdisjoint(aggregation.methods) and _SQUARED.isdisjoint(aggregation.methods)


def plain_statement(aggregation: Aggregation, axis: LiteralString, *, millionths: bool) -> LiteralString:
    """The statement. Its rows are those of the one that can do everything, in any order; last, whether they hold.

    With ``millionths`` they only hold for numbers of few decimals.
    """
    whole = aggregation.period.is_whole_range
    methods = _OF_MILLIONTHS if millionths else _METHODS
    results: LiteralString = ", ".join([methods[method] for method in aggregation.methods])
    told: LiteralString = f"bool_and({_PLAIN}" + (_IN_MILLIONTHS if millionths else ")")
    statement = _STATEMENT.replace("BEGINS", "w.origin" if whole else _PERIOD)
    statement = statement.replace("ENDS", "w.ending" if whole else f"{_PERIOD} + {_LENGTH}")
    statement = statement.replace("GROUPS", "i.dataset_id" if whole else f"i.dataset_id, {_PERIOD}")
    statement = statement.replace("RESULTS", results).replace("TOLD", told)
    exact = not millionths and not (_SUMMED | _SQUARED).isdisjoint(aggregation.methods)
    return statement.replace("EXACT", _EXACT if exact else "").replace("AXIS", axis)

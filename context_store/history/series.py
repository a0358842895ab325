# SPDX-License-Identifier: Apache-2.0
"""Reading one attribute of one entity for a chart: all readings where they are few, else buckets of them.

Long ranges are read from rollups (:mod:`context_store.history.series_rollups`).

PostgreSQL cuts the range into buckets and finds the first, lowest, highest and last reading of each in one pass along
the primary key; only these leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.errors import ResourceNotFound
from broker.history.series import Bucket, Point
from context_store.database import Database
from context_store.history.series_rollups import RolledSeries, rolled_series
from context_store.history.terms import NO_TERM, TermIds
from context_store.history.writing import quality_numbers
from schemas.terms import NO_DATASET

# The numbers of all lives of an entity, and how often the device that feeds the attribute should report, in seconds.
_ENTITY: Final[LiteralString] = """
    select array_agg(entity_key order by entity_key),
           (select extract(epoch from min(d.expected_interval))::float8 from device d
             where d.tenant_id = %(tenant_id)s and d.entity_id = %(entity_id)s and d.attributes @> %(mapping)s::jsonb
               and (d.service_until is null or d.service_until > now()))
      from entity_identity where tenant_id = %(tenant_id)s and id = %(entity_id)s
"""

# What is believed now, or was at a time.
_BELIEVED: Final[LiteralString] = """
           and i.recorded_at <= %(known_at)s::timestamptz
           and (i.superseded_at is null or i.superseded_at > %(known_at)s::timestamptz)
           and (coalesce(i.quality, 1) = any(%(qualities)s::smallint[]) or %(qualities)s::smallint[] is null)
"""
_FROM: Final[LiteralString] = (
    """
          from attribute_instance i
         where i.entity_key = ENTITY and i.tenant_id = %(tenant_id)s and i.attribute_id = %(attribute_id)s
           and i.dataset_id = %(dataset_id)s and i.observed_at >= %(start)s and i.observed_at < %(end)s
           and not i.removed and (i.number_value is not null or i.boolean_value is not null)
"""
    + _BELIEVED
)
_VALUE: Final[LiteralString] = "coalesce(i.number_value, i.boolean_value::int)"

# The first readings of the range, of each life of the entity.
_READINGS: Final[LiteralString] = (
    "select extract(epoch from r.t)::float8, r.v, r.doubtful, r.u from unnest(%(keys)s::bigint[]) k (key) cross join"
    " lateral (select i.observed_at t, "
    + _VALUE
    + " v, coalesce(i.quality > 1, false) doubtful, i.unit_code u"
    + _FROM.replace("ENTITY", "k.key")
    + " order by i.observed_at limit %(limit)s) r order by r.t limit %(limit)s"
)

# Buckets of %(width)s seconds from the start on. Extremes are looked up by their value: the earliest reading of it. By
# windows and not by joining buckets and readings, whose numbers the planner would have to guess.
_BUCKETS: Final[LiteralString] = (
    "with r as (select date_bin(make_interval(secs => %(width)s), i.observed_at, %(start)s) k, i.observed_at t, "
    + _VALUE
    + " v, coalesce(i.quality > 1, false) doubtful, i.unit_code u"
    + _FROM.replace("ENTITY", "any(%(keys)s::bigint[])")
    + """),
    b as (select r.*, min(t) over bucket first_t, max(t) over bucket last_t, min(v) over bucket low,
                 max(v) over bucket high
            from r window bucket as (partition by k))
    select count(*), count(*) filter (where doubtful),
           extract(epoch from min(first_t))::float8, min(v) filter (where t = first_t),
           extract(epoch from min(t) filter (where v = low))::float8, min(low),
           extract(epoch from min(t) filter (where v = high))::float8, min(high),
           extract(epoch from min(last_t))::float8, min(v) filter (where t = last_t),
           min(u collate "C"), max(u collate "C")
      from b group by k order by k"""
)


@dataclass(frozen=True, slots=True)
class SeriesQuestion:
    """Which readings: attribute and dataset (IRIs), from ``start`` until before ``end``, as believed now or at
    ``known_at``; ``most`` is how many of them are still read one by one, ``buckets`` how many stretches the range is
    cut into when there are more."""

    entity_id: str
    attribute: str
    start: datetime
    end: datetime
    most: int
    buckets: int
    dataset: str = NO_DATASET
    known_at: datetime | None = None
    qualities: tuple[str, ...] | None = None
    """Only values of these; of which nothing is said, they count as good. Rollups do not tell them apart."""

    @property
    def width_s(self) -> float:
        """Seconds of a bucket."""
        return (self.end - self.start).total_seconds() / self.buckets


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """The readings, or when they are too many, buckets of them; ``units`` are the different unit codes among them;
    ``expected_interval_s`` how often the device should report."""

    readings: tuple[Point, ...] | None
    buckets: tuple[Bucket, ...] = ()
    units: tuple[str, ...] = ()
    expected_interval_s: float | None = None
    width_s: float = 0.0
    """Seconds that a bucket stands for."""
    rollup: str | None = None
    """The tier of rollups that the buckets are made of; None: instances."""


class SeriesStore:
    """Series of all tenants."""

    def __init__(self, database: Database, terms: TermIds) -> None:
        self._database = database
        self._terms = terms

    async def read(self, tenant_id: int, question: SeriesQuestion) -> FoundSeries:
        """The series asked for; raises :class:`ResourceNotFound` when history knows no such entity."""
        numbers = await self._terms.lookup([question.attribute, question.dataset])
        mapping = orjson.dumps([{"attribute": question.attribute}]).decode()
        place = {"tenant_id": tenant_id, "entity_id": question.entity_id, "mapping": mapping}
        async with self._database.transaction(tenant_id, snapshot=True) as connection:
            row = await (await connection.execute(_ENTITY, place)).fetchone()
            if row is None or row[0] is None:
                raise ResourceNotFound(f"Entity {question.entity_id} does not exist")
            keys, interval_s = row
            if question.attribute not in numbers or question.dataset not in numbers:
                return FoundSeries((), expected_interval_s=interval_s)
            values = _values(tenant_id, keys, numbers, question)
            if question.known_at is None and question.qualities is None:
                rolled = await rolled_series(connection, values, question.start, question.end, question.width_s)
                if rolled is not None and (rolled.is_all or sum(row[0] for row in rolled.rows) > question.most):
                    return _of_rollups(rolled, interval_s)
            readings, units = await _readings(connection, values)
            if len(readings) <= question.most:
                return FoundSeries(tuple(readings), (), tuple(sorted(units)), interval_s)
            buckets, units = await _buckets(connection, values)
        return FoundSeries(None, tuple(buckets), tuple(sorted(units)), interval_s, question.width_s)


def _values(tenant_id: int, keys: Sequence[int], numbers: dict[str, int], question: SeriesQuestion) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "keys": keys,
        "attribute_id": numbers[question.attribute],
        "dataset_id": NO_TERM if question.dataset == NO_DATASET else numbers[question.dataset],
        "start": question.start,
        "end": question.end,
        "known_at": question.known_at.isoformat() if question.known_at else "infinity",
        "qualities": quality_numbers(question.qualities),
        "limit": question.most + 1,
        "width": question.width_s,
    }


async def _readings(connection: AsyncConnection, values: dict[str, Any]) -> tuple[list[Point], set[str]]:
    rows = await (await connection.execute(_READINGS, values)).fetchall()
    return [Point(time, value, float(doubtful)) for time, value, doubtful, _ in rows], {row[3] for row in rows} - {None}


async def _buckets(connection: AsyncConnection, values: dict[str, Any]) -> tuple[list[Bucket], set[str]]:
    rows = await (await connection.execute(_BUCKETS, values)).fetchall()
    return [_bucket(row) for row in rows], {unit for row in rows for unit in row[10:12]} - {None}


def _bucket(row: tuple[Any, ...]) -> Bucket:
    return Bucket(row[0], row[1], first=row[2:4], low=row[4:6], high=row[6:8], last=row[8:10])


def _of_rollups(rolled: RolledSeries, interval_s: float | None) -> FoundSeries:
    units = (rolled.unit,) if rolled.unit is not None else ()
    buckets = tuple(map(_bucket, rolled.rows))
    return FoundSeries(None, buckets, units, interval_s, rolled.width_s, rolled.tier.name)

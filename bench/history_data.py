# SPDX-License-Identifier: Apache-2.0
"""A city's history for the measurements: levels of many sensors every five minutes, and ten years of days of them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString

from bench.services import WATER_LEVEL, WATER_OBSERVED
from context_store.database import ALL_TENANTS, Database
from context_store.history.partitions import HISTORY, HYPERTABLE, Partitions
from context_store.history.rollup_tiers import HOUR
from context_store.history.terms import TermIds
from context_store.history.writing import NumberRows

STEP: Final = timedelta(minutes=5)
TEN_YEARS: Final = 3652  # days
_BLOCK: Final = 250  # moments of all sensors in one transaction

_ENTITIES: Final[LiteralString] = """
    insert into entity (tenant_id, id, types, document, location, created_at, modified_at)
    select 1, 'urn:ngsi-ld:WaterObserved:bench-' || s, array[%(type)s],
           jsonb_build_object(%(level)s::text, jsonb_build_object('@none', jsonb_build_object(
               'type', 'Property', 'value', 2.5, 'unitCode', 'MTR', 'observedAt', '2026-11-01T00:00:00Z',
               'createdAt', '2026-11-01T00:00:00Z', 'modifiedAt', '2026-11-01T00:00:00Z'))),
           st_setsrid(st_makepoint(138 + s * 0.0001, 35), 4326), now(), now()
      from generate_series(1, %(sensors)s) s
"""
# A river that rises and falls, with the noise of a gauge, in millimetres; each sensor reports at its own second.
_INSTANCES: Final[LiteralString] = """
    insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash,
                                    kind, recorded_at, number_value, unit_code)
    select e.entity_key, 1, %(level)s, x.moment, 0, 0, hashtextextended(x.value::text, 0), 1,
           x.moment + interval '2 seconds', x.value, 'MTR'
      from generate_series(%(first)s::int, %(last)s::int) n cross join entity e
     cross join lateral (
        select %(start)s::timestamptz + n * interval '5 minutes' + (e.entity_key %% 300) * interval '1 s' as moment,
               round((2 + sin(n / 288.0 + e.entity_key) + 0.2 * sin(n / 11.0) + random() * 0.02)::numeric, 3)::float8
               as value) x
     order by n, e.entity_key
"""
_DAYS: Final[LiteralString] = """
    insert into rollup_1d (entity_key, bucket, last_at, lowest, highest, last_value, tenant_id, attribute_id,
                           dataset_id, numbers, good, others, total, squares, raw_gone)
    select e.entity_key, d, d + interval '86100 seconds', 1.5, 3, 2.25, 1, %(level)s, 0, 288, 288, 0,
           round((600 + 50 * sin(extract(epoch from d) / 1e6))::numeric, 3), 1300, true
      from generate_series(%(start)s::timestamptz - %(days)s::int * interval '1 day',
                           %(start)s::timestamptz - interval '1 day', interval '1 day') d cross join entity e
        on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class City:
    """What was made: ``keys`` of the entities in the order of their numbers (from 1), and when history begins."""

    keys: tuple[int, ...]
    level: int
    start: datetime
    until: datetime

    @staticmethod
    def entity_id(number: int) -> str:
        """The id of a sensor's entity."""
        return f"urn:ngsi-ld:WaterObserved:bench-{number}"


async def make_city(database: Database, sensors: int, each: int, now: datetime) -> City:
    """Entities and their history: ``each`` instances, the newest a few hours before ``now``."""
    level = (await TermIds(database).resolve([WATER_LEVEL]))[WATER_LEVEL]
    start = (HOUR.floor(now) - timedelta(hours=6) - each * STEP).replace(hour=0)
    await Partitions(database, HISTORY).ensure(start + n * timedelta(days=1) for n in range((each * STEP).days + 3))
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute(_ENTITIES, {"type": WATER_OBSERVED, "level": WATER_LEVEL, "sensors": sensors})
        rows = await (await connection.execute("select entity_key from entity order by entity_key")).fetchall()
    for first in range(0, each, _BLOCK):
        values = {"level": level, "start": start, "first": first, "last": min(first + _BLOCK, each) - 1}
        async with database.transaction(ALL_TENANTS) as connection:
            await connection.execute(_INSTANCES, values)
    return City(tuple(row[0] for row in rows), level, start, start + each * STEP)


async def add_ten_years(database: Database, city: City) -> None:
    """Days of ten years before the instances begin, as a retention leaves them."""
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute(_DAYS, {"level": city.level, "start": city.start, "days": TEN_YEARS})


def batches(city: City, begin: datetime, size: int, seed: int) -> Iterator[list[tuple[int, datetime, float]]]:
    """Readings (entity, time, level) without end, in the order of time, from ``begin`` on."""
    numbers, number = random.Random(seed), 0
    while True:
        batch = []
        for _ in range(size):
            turn, place = divmod(number, len(city.keys))
            moment = begin + timedelta(seconds=turn)
            batch.append((city.keys[place], moment, round(2 + math.sin(turn / 50) + numbers.random() * 0.02, 3)))
            number += 1
        yield batch


def number_rows(city: City, batch: list[tuple[int, datetime, float]]) -> NumberRows:
    """The same as the hub gathers them."""
    rows = NumberRows()
    for key, moment, value in batch:
        rows.add((key, 1, city.level, moment, 0, 0), value, "MTR")
    return rows


def history_table(mode: str) -> str:
    """The table itself, which is behind a view with TimescaleDB."""
    return HYPERTABLE if mode == "timescale" else HISTORY.table


def at(day: int) -> datetime:
    """A day of the measurement's month, for what is inserted; nothing else is there."""
    return datetime(2027, 1, 1, tzinfo=UTC) + timedelta(days=day)

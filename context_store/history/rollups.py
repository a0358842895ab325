# SPDX-License-Identifier: Apache-2.0
"""Rolling history up: what came in time in steps of hours, what came late by the day it is of.

Triggers note which days of which attributes were changed before ``rollup_state.noted_until``; what is newer needs no
note, since it is yet to be rolled. The trap is a writer that read an old ``noted_until`` and commits after its hour was
rolled. So the line is drawn first (:meth:`Rollups._announce`); once every transaction that may not have seen it has
ended, the time before it is rolled. Nobody waits for anybody, and a process that dies leaves a state that the next one
goes on from: each step is one transaction. See docs/decisions (rollups of history).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from context_store.database import ALL_TENANTS, Database
from context_store.history.partitions import HISTORY, Partitions
from context_store.history.rollup_tiers import DAY, HOUR, TEN_MINUTES, TIERS, Tier

GRACE: Final = timedelta(minutes=10)  # how long an hour is left to those that report late, before it is rolled
_STEP: Final = timedelta(days=7)  # most time that is rolled in one transaction
_NOTES: Final = 500  # days of attributes that are rolled again in one transaction

# One at a time in all processes ("roll" in ASCII).
_HOLD: Final[LiteralString] = "select pg_try_advisory_xact_lock(x'726f6c6c'::int)"

# Days of attributes are found by the key, whatever the planner believes of tables that grow while it looks; and what is
# grouped is sorted in memory.
_PLANNING: Final[LiteralString] = """
    select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
           set_config('enable_seqscan', 'off', true)
"""
_MEMORY: Final[LiteralString] = "select set_config('work_mem', '64MB', true)"

# A horizon above all numbers given out is of another cluster, from which this database was restored.
_STATE: Final[LiteralString] = """
    select nullif(noted_until, '-infinity'), nullif(rolled_until, '-infinity'),
           horizon is not null and horizon < pg_snapshot_xmax(pg_current_snapshot()),
           pg_snapshot_xmin(pg_current_snapshot()) >= horizon
      from rollup_state
"""
_ANNOUNCE: Final[LiteralString] = "update rollup_state set noted_until = %s, horizon = null"
_FIX_HORIZON: Final[LiteralString] = "update rollup_state set horizon = pg_current_xact_id()"
_ADVANCE: Final[LiteralString] = "update rollup_state set rolled_until = %s"

# Days of attributes that are noted; their notes are gone with this transaction. Those of days whose instances a
# retention has removed are only forgotten.
_TAKE: Final[LiteralString] = """
    with taken as (select distinct entity_key, attribute_id, day, tenant_id from rollup_note
                    order by entity_key, attribute_id, day, tenant_id limit %(limit)s),
         gone as (delete from rollup_note n using taken t
                   where n.entity_key = t.entity_key and n.tenant_id = t.tenant_id
                     and n.attribute_id = t.attribute_id and n.day = t.day)
    select t.entity_key, t.tenant_id, t.attribute_id, t.day from taken t
     where not exists (select from rollup_1d g
                        where g.entity_key = t.entity_key and g.tenant_id = t.tenant_id
                          and g.attribute_id = t.attribute_id and g.bucket = timezone('UTC', t.day::timestamp)
                          and g.raw_gone)
"""

BELIEVED: Final[LiteralString] = "i.has_observed_at and not i.removed and i.superseded_at is null"
"""Which instances count."""
NUMBER: Final[LiteralString] = (
    "case when i.kind = 1 and i.json_value is null and i.detail ->> 'expiresAt' is null then i.number_value end"
)
"""The number of an instance that a rollup tells all of. Kind 1: Property. Beside JSON stand integers of many digits;
what expires is told of until then only."""

# The instances of a bucket. Extremes as numeric has them (15 digits), as answers from instances are. The last of equal
# times is the one that the hub learned of last; an array is compared element by element, and unlike array_agg needs no
# sorting. "offset 0": the cast, which costs most of it, is done once.
_OF_INSTANCES: Final[LiteralString] = f"""
    select i.entity_key, date_bin('10 minutes', i.observed_at, timestamptz '2000-01-01 00:00:00+00') as bucket,
           max(i.observed_at) filter (where o.number is not null), min(o.number)::numeric::float8,
           max(o.number)::numeric::float8,
           (max(array[extract(epoch from i.observed_at)::float8, extract(epoch from i.recorded_at)::float8,
                      i.instance_key::float8, o.number]) filter (where o.number is not null))[4],
           i.tenant_id, i.attribute_id, i.dataset_id, count(o.number)::int,
           (count(o.number) filter (where i.quality is null or i.quality = 1))::int, (count(*) - count(o.number))::int,
           sum(n.exact), sum(n.exact * n.exact)
      from SOURCE cross join lateral (select {NUMBER} as number) o
     cross join lateral (select o.number::numeric as exact offset 0) n
     where {BELIEVED} and RANGE
     group by i.entity_key, i.tenant_id, i.attribute_id, bucket, i.dataset_id
"""
# Buckets of the tier below.
_OF_BUCKETS: Final[LiteralString] = """
    select i.entity_key, date_bin(LENGTH, i.bucket, timestamptz '2000-01-01 00:00:00+00') as place, max(i.last_at),
           min(i.lowest), max(i.highest), (max(array[extract(epoch from i.last_at)::float8, i.last_value])
           filter (where i.last_at is not null))[2],
           i.tenant_id, i.attribute_id, i.dataset_id, sum(i.numbers)::int, sum(i.good)::int, sum(i.others)::int,
           sum(i.total), sum(i.squares)
      from SOURCE
     where RANGE
     group by i.entity_key, i.tenant_id, i.attribute_id, place, i.dataset_id
"""
_COLUMNS: Final[LiteralString] = (
    "entity_key, bucket, last_at, lowest, highest, last_value, tenant_id, attribute_id, dataset_id, numbers, good, "
    "others, total, squares"
)
_VALUES: Final[LiteralString] = "last_at, lowest, highest, last_value, numbers, good, others, total, squares"
_NEW_VALUES: Final[LiteralString] = (
    "excluded.last_at, excluded.lowest, excluded.highest, excluded.last_value, excluded.numbers, excluded.good, "
    "excluded.others, excluded.total, excluded.squares"
)
_OLD_VALUES: Final[LiteralString] = (
    "r.last_at, r.lowest, r.highest, r.last_value, r.numbers, r.good, r.others, r.total, r.squares"
)
# What is as it was is not written again.
_WRITE: Final[LiteralString] = f"""
    insert into TABLE as r ({_COLUMNS}) select * from fresh
        on conflict (entity_key, tenant_id, attribute_id, bucket, dataset_id)
        do update set ({_VALUES}) = ({_NEW_VALUES}) where ({_OLD_VALUES}) is distinct from ({_NEW_VALUES})
"""
# A time of all attributes, and some days of some of them; of those, buckets that are empty now are removed.
_ROLL_RANGE: Final[LiteralString] = f"with fresh ({_COLUMNS}) as (SELECTION) {_WRITE}"
_ROLL_DAYS: Final[LiteralString] = f"""
    with day as materialized (
             select w.*, timezone('UTC', w.day::timestamp) as start,
                    least(timezone('UTC', (w.day + 1)::timestamp), %(until)s) as past
               from unnest(%(keys)s::bigint[], %(tenants)s::int[], %(attributes)s::int[], %(days)s::date[])
                    as w (entity_key, tenant_id, attribute_id, day)),
         fresh ({_COLUMNS}) as materialized (SELECTION),
         gone as (delete from TABLE r using day w
                   where r.entity_key = w.entity_key and r.tenant_id = w.tenant_id and r.attribute_id = w.attribute_id
                     and r.bucket >= w.start and r.bucket < w.past
                     and (r.entity_key, r.tenant_id, r.attribute_id, r.bucket, r.dataset_id) not in (
                         select entity_key, tenant_id, attribute_id, bucket, dataset_id from fresh))
    {_WRITE}
"""
_BY_DAY: Final[LiteralString] = """day w cross join lateral (
        select * from FROM_TABLE i
         where i.entity_key = w.entity_key and i.tenant_id = w.tenant_id and i.attribute_id = w.attribute_id
           and i.AXIS >= w.start and i.AXIS < w.past) i"""


def _selection(tier: Tier, below: Tier | None, source: LiteralString, condition: LiteralString) -> LiteralString:
    """The buckets of ``tier`` out of instances or of the tier ``below``."""
    selection = _OF_INSTANCES if below is None else _OF_BUCKETS.replace("LENGTH", tier.interval)
    table: LiteralString = "attribute_instance" if below is None else below.table
    axis: LiteralString = "observed_at" if below is None else "bucket"
    selection = selection.replace("SOURCE", source).replace("RANGE", condition)
    return selection.replace("FROM_TABLE", table).replace("AXIS", axis)


def _statements(tier: Tier, below: Tier | None) -> tuple[LiteralString, LiteralString]:
    """What rolls a range of all attributes, and what rolls days of some."""
    everything = _selection(tier, below, "FROM_TABLE i", "i.AXIS >= %(start)s and i.AXIS < %(until)s")
    days = _selection(tier, below, _BY_DAY, "true")
    return (
        _ROLL_RANGE.replace("SELECTION", everything).replace("TABLE", tier.table),
        _ROLL_DAYS.replace("SELECTION", days).replace("TABLE", tier.table),
    )


# The rollups of days whose instances are gone, which nobody rolls any more: the finer tiers first.
_FORGET: Final[LiteralString] = """
    delete from TABLE r using rollup_1d g
     where g.tenant_id = %(tenant_id)s and g.entity_key = any(%(keys)s) and g.raw_gone
       and (g.attribute_id = %(attribute)s::int or %(attribute)s::int is null)
       and (g.dataset_id = %(dataset)s::int or %(dataset)s::int is null)
       and r.entity_key = g.entity_key and r.tenant_id = g.tenant_id and r.attribute_id = g.attribute_id
       and r.dataset_id = g.dataset_id and r.bucket >= g.bucket and r.bucket < g.bucket + interval '1 day'
"""
_FORGET_TIERS: Final = tuple(_FORGET.replace("TABLE", tier.table) for tier in TIERS)

_BELOW: Final[tuple[tuple[Tier, Tier | None], ...]] = ((TEN_MINUTES, None), (HOUR, TEN_MINUTES), (DAY, HOUR))
_ROLL: Final = {tier: _statements(tier, below) for tier, below in _BELOW}


@dataclass(frozen=True, slots=True)
class RollupState:
    """``rolled_until``: before it, all is rolled but for what is noted; None: nothing is.

    ``fixed``: the horizon is drawn; ``passed``: all transactions below it have ended.
    """

    noted_until: datetime | None
    rolled_until: datetime | None
    fixed: bool = False
    passed: bool = False


class Rollups:
    """The rollups of all tenants. Any number of processes may call :meth:`step`; one at a time works."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._history = Partitions(database, HISTORY)
        self._partitions = {tier: Partitions(database, tier.partitions) for tier in _ROLL if tier.partitions}

    async def step(self, now: datetime) -> bool:
        """Do what is to be done next; returns whether there was something, so that there may be more."""
        return await self._advance(now) | await self._roll_notes()

    async def run(self, now: datetime) -> None:
        """Do all that is to be done."""
        while await self.step(now):
            pass

    async def _advance(self, now: datetime) -> bool:
        """The next step of time."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            if not await _first(connection, _HOLD):
                return False
            state = await read_state(connection)
            if state.noted_until == state.rolled_until:
                return await self._announce(connection, state, HOUR.floor(now - GRACE))
            if not state.fixed:
                # A number of its own, in a transaction that began when the line could be seen: whoever may not have
                # seen it has a lower one.
                await connection.execute(_FIX_HORIZON)
                return True
            if not state.passed or state.noted_until is None:
                return False
            return await self._roll_range(connection, state.rolled_until, state.noted_until)

    async def _announce(self, connection: AsyncConnection, state: RollupState, until: datetime) -> bool:
        if state.noted_until is not None and state.noted_until >= until:
            return False
        await connection.execute(_ANNOUNCE, (until,))
        return True

    async def _roll_range(self, connection: AsyncConnection, done: datetime | None, noted_until: datetime) -> bool:
        start, until = await self._next_range(connection, done, noted_until)
        if start < until:
            await connection.execute(_MEMORY)
            await self._ensure(start, until)
            await _roll(connection, TEN_MINUTES, start, until)
            await _roll(connection, HOUR, start, until)
            await _roll(connection, DAY, DAY.floor(start), DAY.floor(until))
        await connection.execute(_ADVANCE, (until,))
        return True

    async def _next_range(
        self, connection: AsyncConnection, done: datetime | None, noted_until: datetime
    ) -> tuple[datetime, datetime]:
        """The next range that may have instances; empty when none is left before ``noted_until``."""
        for start, end in await self._history.ranges(connection):
            begin = start if done is None else max(start, done)
            if begin < min(end, noted_until):
                return begin, min(end, noted_until, begin + _STEP)
        return noted_until, noted_until

    async def _roll_notes(self) -> bool:
        """Roll some of the noted days again."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            if not await _first(connection, _HOLD):
                return False
            state = await read_state(connection)
            cursor = await connection.execute(_TAKE, {"limit": _NOTES})
            taken = await cursor.fetchall()
            if not cursor.rowcount or state.rolled_until is None:
                return False
            days = [day for day in taken if _midnight(day[3]) < state.rolled_until]
            if days:
                await connection.execute(_PLANNING)
                await connection.execute(_MEMORY)
                await self._ensure(*[_midnight(chosen(day[3] for day in days)) for chosen in (min, max)])
                await _roll_days(connection, days, state.rolled_until)
        return True

    async def _ensure(self, start: datetime, until: datetime) -> None:
        """Make the partitions of the years from ``start`` to ``until``."""
        years = [datetime(year, 1, 1, tzinfo=UTC) for year in range(start.year, until.year + 1)]
        for partitions in self._partitions.values():
            await partitions.ensure(years)


async def read_state(connection: AsyncConnection) -> RollupState:
    """Where rolling stands."""
    row = await (await connection.execute(_STATE)).fetchone()
    if row is None:
        return RollupState(None, None)
    noted_until, rolled_until, fixed, passed = row
    return RollupState(_utc(noted_until), _utc(rolled_until), fixed, bool(passed))


async def forget_rollups(connection: AsyncConnection, slots: Mapping[str, Any]) -> int:
    """Remove what is left of instances that a retention has removed, when history itself is deleted.

    ``slots`` are ``tenant_id``, ``keys`` of entities, and ``attribute`` and ``dataset`` (None: all). Returns how many
    buckets there were. The rollups of instances that are there follow these by themselves.
    """
    return sum([(await connection.execute(statement, slots)).rowcount for statement in _FORGET_TIERS])


async def _roll(connection: AsyncConnection, tier: Tier, start: datetime, until: datetime) -> None:
    if start < until:
        await connection.execute(_ROLL[tier][0], {"start": start, "until": until})


async def _roll_days(connection: AsyncConnection, days: Sequence[tuple[int, int, int, date]], until: datetime) -> None:
    keys, tenants, attributes, dates = (list(column) for column in zip(*days, strict=True))
    values: dict[str, Any] = {"keys": keys, "tenants": tenants, "attributes": attributes, "days": dates}
    for tier, (_, statement) in _ROLL.items():
        await connection.execute(statement, {**values, "until": tier.floor(until)})


async def _first(connection: AsyncConnection, statement: LiteralString) -> Any:
    row = await (await connection.execute(statement)).fetchone()
    return row[0] if row else None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment is not None else None

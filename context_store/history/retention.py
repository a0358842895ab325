# SPDX-License-Identifier: Apache-2.0
"""Removing history whose time is over: instances, then buckets of 10 minutes, hours, days.

Partitions and chunks that nobody wants any more are dropped whole; what somebody else's longer rule keeps there is
left, and the rest is deleted in bounded batches. Rollups outlive the instances: their days are marked first, so that
no late reading rolls them anew from what is left. Nothing is removed that is not rolled yet.

What has no observedAt (names, say) is in no rollup; it goes with its partition or chunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from broker.history.retention import Kept, kept_for
from context_store.database import ALL_TENANTS, Database
from context_store.history.partitions import HISTORY, Partitions
from context_store.history.rollup_tiers import DAY, TIERS, Tier
from context_store.history.rollups import read_state

_DAYS: Final = 1000  # days of attributes whose instances go in one transaction
_ENTITIES: Final = 50  # entities whose buckets go in one transaction

_RULES: Final[LiteralString] = "select tenant_id, entity_type, raw_days, days_10m, days_1h, days_1d from retention_rule"
_GROUPS: Final[LiteralString] = "select distinct tenant_id, types, types::text from entity_identity"
_NOTED: Final[LiteralString] = "select exists (select from rollup_note where day < %s)"
_RETIRING: Final[LiteralString] = "select set_config('minamo.retiring', 'on', true)"
# Rolling waits meanwhile, and this for it ("roll" in ASCII).
_HOLD: Final[LiteralString] = "select pg_advisory_xact_lock(x'726f6c6c'::int)"
_MARK_ALL: Final[LiteralString] = "update rollup_1d set raw_gone = true where bucket < %s and not raw_gone"

# The oldest days of attributes whose instances are there no longer wanted; marked before they go.
_MARK: Final[LiteralString] = """
    with wanted as (
        select r.entity_key, r.tenant_id, r.attribute_id, r.bucket
          from rollup_1d r
          join entity_identity i on i.entity_key = r.entity_key
          join unnest(%(tenants)s::int[], %(types)s::text[], %(horizons)s::timestamptz[])
               as g (tenant_id, types, horizon)
            on g.tenant_id = i.tenant_id and g.types = i.types::text
         where not r.raw_gone and r.bucket < g.horizon and r.bucket < %(latest)s
         order by r.bucket limit %(limit)s),
    marked as (
        update rollup_1d r set raw_gone = true from wanted w
         where r.entity_key = w.entity_key and r.tenant_id = w.tenant_id and r.attribute_id = w.attribute_id
           and r.bucket = w.bucket)
    select entity_key, tenant_id, attribute_id, min(bucket), max(bucket) + interval '1 day'
      from wanted group by entity_key, tenant_id, attribute_id
"""
# Of one attribute, so that of a compressed chunk only its own batches are unpacked.
_DELETE: Final[LiteralString] = """
    delete from attribute_instance
     where entity_key = %s and tenant_id = %s and attribute_id = %s and observed_at >= %s and observed_at < %s
"""
_OF_GROUP: Final[LiteralString] = """
    select entity_key from entity_identity where tenant_id = %s and types::text = %s and entity_key > %s
     order by entity_key limit %s
"""
_DELETE_BUCKETS: Final[dict[Tier, LiteralString]] = {
    tier: "delete from TABLE where entity_key = any(%s) and tenant_id = %s and bucket < %s".replace("TABLE", tier.table)
    for tier in TIERS
}
_REMOVE_RULE: Final[LiteralString] = "delete from retention_rule where tenant_id = %s and entity_type = %s"
_ADD_RULE: Final[LiteralString] = """
    insert into retention_rule (tenant_id, entity_type, raw_days, days_10m, days_1h, days_1d)
    values (%s, %s, %s, %s, %s, %s)
"""
_RETIRED_ON: Final[LiteralString] = "select retired_on from rollup_state"
_DONE: Final[LiteralString] = "update rollup_state set retired_on = %s"


@dataclass(frozen=True, slots=True)
class _Group:
    """Entities of one tenant with the same types (as the text of the array)."""

    tenant_id: int
    types: str
    kept: Kept


@dataclass(slots=True)
class Removed:
    """What was removed: names of partitions and chunks, and rows beside them."""

    partitions: list[str]
    rows: int = 0


class Retention:
    """Removes what is over, of all tenants; ``default`` is what holds where a tenant has no rule."""

    def __init__(self, database: Database, default: Kept) -> None:
        self._database = database
        self._default = default
        self._history = Partitions(database, HISTORY)
        self._buckets = {tier: Partitions(database, tier.partitions) for tier in TIERS if tier.partitions}

    async def run_daily(self, now: datetime) -> Removed | None:
        """:meth:`run`, unless it ran today already; None then."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            row = await (await connection.execute(_RETIRED_ON)).fetchone()
        if row and row[0] is not None and row[0] >= now.date():
            return None
        return await self.run(now)

    async def run(self, now: datetime) -> Removed:
        """Remove all that is over at ``now``."""
        groups = await self._groups()
        removed = Removed([])
        if not await self._retire_instances(groups, now, removed):
            return removed  # some days are to be rolled first
        for place, tier in enumerate(TIERS, start=1):
            await self._retire_buckets(groups, tier, place, now, removed)
        async with self._database.transaction(ALL_TENANTS) as connection:
            await connection.execute(_DONE, (now.date(),))
        return removed

    async def _groups(self) -> list[_Group]:
        async with self._database.transaction(ALL_TENANTS) as connection:
            rules = await read_rules(connection)
            found = await (await connection.execute(_GROUPS)).fetchall()
        return [
            _Group(tenant_id, text, kept_for(types, rules.get(tenant_id, {}), self._default))
            for tenant_id, types, text in found
        ]

    async def _retire_instances(self, groups: Sequence[_Group], now: datetime, removed: Removed) -> bool:
        """Instances; False when days that are over have still to be rolled."""
        horizons = [_horizon(group.kept.raw, now) for group in groups]
        newest = max((horizon for horizon in horizons if horizon), default=None)
        if newest is None:
            return True
        async with self._database.transaction(ALL_TENANTS) as connection:
            rolled_until = (await read_state(connection)).rolled_until
            row = await (await connection.execute(_NOTED, (newest.date(),))).fetchone()
        if rolled_until is None or (row and row[0]):
            return False
        latest = DAY.floor(rolled_until)
        if None not in horizons:
            await self._drop_history(min([latest, *filter(None, horizons)]), removed)
        wanted = [(group, horizon) for group, horizon in zip(groups, horizons, strict=True) if horizon]
        values = {
            "tenants": [group.tenant_id for group, _ in wanted],
            "types": [group.types for group, _ in wanted],
            "horizons": [horizon for _, horizon in wanted],
            "latest": latest,
            "limit": _DAYS,
        }
        while count := await self._retire_days(values):
            removed.rows += count
        return True

    async def _drop_history(self, moment: datetime, removed: Removed) -> None:
        """Partitions and chunks that end before ``moment``, which nobody wants any more."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            await connection.execute(_HOLD)
            ends = [end for _, end in await self._history.ranges(connection) if end <= moment]
            if not ends:
                return
            await connection.execute(_MARK_ALL, (max(ends),))
        removed.partitions += await self._history.drop_before(moment)

    async def _retire_days(self, values: Mapping[str, Any]) -> int:
        """One batch; the number of rows removed, at least one while there may be more."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            await connection.execute(_HOLD)
            await connection.execute(_RETIRING)
            marked = await (await connection.execute(_MARK, values)).fetchall()
            rows = 0
            for slot in marked:
                rows += (await connection.execute(_DELETE, slot, prepare=False)).rowcount
        return max(rows, 1) if marked else 0

    async def _retire_buckets(
        self, groups: Sequence[_Group], tier: Tier, place: int, now: datetime, removed: Removed
    ) -> None:
        horizons = [_horizon(astuple(group.kept)[place], now) for group in groups]
        partitions = self._buckets.get(tier)
        if partitions is not None and horizons and None not in horizons:
            removed.partitions += await partitions.drop_before(min(filter(None, horizons)))
        for group, horizon in zip(groups, horizons, strict=True):
            if horizon is not None:
                removed.rows += await self._delete_buckets(group, tier, horizon)

    async def _delete_buckets(self, group: _Group, tier: Tier, horizon: datetime) -> int:
        """The buckets of one group, some entities at a time."""
        rows, last = 0, 0
        while True:
            async with self._database.transaction(ALL_TENANTS) as connection:
                place = (group.tenant_id, group.types, last, _ENTITIES)
                keys = [row[0] for row in await (await connection.execute(_OF_GROUP, place)).fetchall()]
                if not keys:
                    return rows
                cursor = await connection.execute(_DELETE_BUCKETS[tier], (keys, group.tenant_id, horizon))
                rows += cursor.rowcount
            last = keys[-1]


async def read_rules(connection: AsyncConnection) -> dict[int, dict[str, Kept]]:
    """The rules that the transaction may see, by tenant and type."""
    rules: dict[int, dict[str, Kept]] = {}
    for tenant_id, entity_type, *days in await (await connection.execute(_RULES)).fetchall():
        rules.setdefault(tenant_id, {})[entity_type] = Kept(*days)
    return rules


async def put_rule(connection: AsyncConnection, tenant_id: int, entity_type: str, kept: Kept | None) -> None:
    """Set the rule of a type (an IRI, or :data:`~broker.history.retention.ALL_TYPES`) of a tenant; None takes it
    away."""
    await connection.execute(_REMOVE_RULE, (tenant_id, entity_type))
    if kept is not None:
        await connection.execute(_ADD_RULE, (tenant_id, entity_type, *astuple(kept)))


def _horizon(days: int | None, now: datetime) -> datetime | None:
    """What begins before is over; a midnight of UTC."""
    return None if days is None else DAY.floor(now.astimezone(UTC)) - timedelta(days=days)

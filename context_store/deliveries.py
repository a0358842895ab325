# SPDX-License-Identifier: Apache-2.0
"""The outbox: everything that leaves the hub is a row first, written with the change that caused it.

Deliveries belong to streams (a subscription and an entity, say) and leave each stream in order. A worker claims a
stream with the first of its deliveries for the time of a lease, so that a worker that dies in the middle is followed
by another. Delivery is at least once; ``sequence`` lets the receiver drop repeats and see gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, LiteralString

import orjson
from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from context_store.database import ALL_TENANTS, Database

CHANNEL: Final = "minamo_deliveries"


class Priority(IntEnum):
    """Which deliveries go first; lower goes before higher."""

    ALERT = 0
    NORMAL = 5
    BULK = 9


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A delivery to be made. ``body`` is sent as it is, with ``headers``."""

    tenant_id: int
    kind: str
    priority: Priority
    order_key: str
    destination: str
    sequence: int
    body: bytes
    headers: dict[str, str]
    subscription_key: int | None = None


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery to be made; ``attempts`` failed so far."""

    delivery_id: int
    sequence: int
    body: bytes
    headers: dict[str, str]
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ClaimedStream:
    """A stream that this worker has until its ``lease`` ends, with the deliveries to make now, in their order."""

    stream_key: int
    lease: datetime
    kind: str
    destination: str
    subscription_key: int | None
    deliveries: list[ClaimedDelivery]


@dataclass(frozen=True, slots=True)
class StreamOutcome:
    """How the work on a claimed stream ended.

    ``delivered`` are done. ``failed`` is the one that was not, with its ``error``: it is tried again at ``retry_at``
    and holds up those behind it, or is a dead letter when that is None, and those behind it go on.
    """

    stream_key: int
    lease: datetime
    subscription_key: int | None
    delivered: list[int]
    failed: int | None = None
    error: str | None = None
    retry_at: datetime | None = None


# Streams are locked in the order of their numbers, here and when they are settled, so that nobody waits in a circle.
_LOCK_KNOWN: Final[LiteralString] = """
    select from delivery_stream where order_key = any(%(order_keys)b) order by stream_key for no key update
"""
# The streams of new deliveries; one that waits for a retry goes on waiting. Texts and bytes go in binary (%b), because
# escaping them as text takes half of the time.
_UPSERT_STREAMS: Final[LiteralString] = """
    insert into delivery_stream (tenant_id, order_key, kind, priority, destination, subscription_key, due_at)
    select n.*, now()
      from (select distinct on (order_key) * from unnest(
                %(tenants)s::int[], %(order_keys)b::text[], %(kinds)s::text[], %(priorities)s::smallint[],
                %(destinations)b::text[], %(subscriptions)s::bigint[])
                as t (tenant_id, order_key, kind, priority, destination, subscription_key)
             order by order_key) as n
    on conflict (order_key) do update
       set due_at = coalesce(delivery_stream.due_at, now()), destination = excluded.destination
    returning order_key, stream_key
"""
_INSERT: Final[LiteralString] = """
    insert into delivery (tenant_id, stream_key, sequence, body, headers)
    select d.tenant_id, d.stream_key, d.sequence, d.body, d.headers::jsonb
      from unnest(%(tenants)s::int[], %(streams)s::bigint[], %(sequences)s::bigint[], %(bodies)b::bytea[],
                  %(headers)b::text[]) with ordinality
           as d (tenant_id, stream_key, sequence, body, headers, position)
     order by d.position
"""
_NOTIFY: Final[LiteralString] = "select pg_notify('minamo_deliveries', '')"

# Streams that are due, alerts first, of each destination no more than its free share.
_CLAIM: Final[LiteralString] = """
    with due as materialized (
        select stream_key, destination, priority, due_at from delivery_stream
         where due_at <= now() and (claimed_until is null or claimed_until < now()) and destination <> all(%(full)s)
         order by priority, due_at limit 1000
    ), ranked as (
        select due.*, row_number() over (partition by destination order by priority, due_at) as place from due
    ), chosen as (
        select s.stream_key from delivery_stream s
          join ranked using (stream_key)
          left join unnest(%(names)s::text[], %(counts)s::int[]) as f (destination, in_flight)
                 on f.destination = s.destination
         where ranked.place <= %(share)s - coalesce(f.in_flight, 0)
           and s.due_at <= now() and (s.claimed_until is null or s.claimed_until < now())
         order by s.priority, s.due_at
         limit %(limit)s
         for update of s skip locked
    )
    update delivery_stream s set claimed_until = now() + make_interval(secs => %(lease_s)s)
      from chosen where s.stream_key = chosen.stream_key
    returning s.stream_key, s.claimed_until, s.kind, s.destination, s.subscription_key
"""
# The first deliveries of claimed streams.
_FIRST: Final[LiteralString] = """
    select d.stream_key, d.delivery_id, d.sequence, d.body, d.headers, d.attempts, d.created_at
      from unnest(%(streams)s::bigint[]) as s (stream_key)
     cross join lateral (
        select * from delivery where stream_key = s.stream_key and state = 'pending' order by delivery_id limit %(run)s
     ) as d
     order by d.stream_key, d.delivery_id
"""

# Locked before it is asked what is still pending, so that a delivery added meanwhile is seen.
_LOCK_STREAMS: Final[LiteralString] = """
    select stream_key from delivery_stream where stream_key = any(%(streams)s) order by stream_key for update
"""
_DELIVERED: Final[LiteralString] = """
    update delivery set state = 'delivered', finished_at = now(), last_error = null where delivery_id = any(%(ids)s)
"""
_FAILED: Final[LiteralString] = """
    update delivery d
       set attempts = d.attempts + 1, last_error = f.error, state = case when f.dead then 'dead' else 'pending' end,
           finished_at = case when f.dead then now() end
      from unnest(%(ids)s::bigint[], %(errors)s::text[], %(dead)s::boolean[]) as f (delivery_id, error, dead)
     where d.delivery_id = f.delivery_id and d.state = 'pending'
"""
# A stream whose lease had run out may be in other hands by now: it is left to them.
_RELEASE: Final[LiteralString] = """
    update delivery_stream s
       set claimed_until = null,
           due_at = case when exists (select from delivery d where d.stream_key = s.stream_key and d.state = 'pending')
                         then coalesce(r.retry_at, now()) end
      from unnest(%(streams)s::bigint[], %(leases)s::timestamptz[], %(retries)s::timestamptz[])
           as r (stream_key, lease, retry_at)
     where s.stream_key = r.stream_key and s.claimed_until = r.lease
"""

# Subscriptions come before streams and these before deliveries, in the order of their keys: for all who lock them.
_HOLD_SUBSCRIPTIONS: Final[LiteralString] = """
    select from subscription where subscription_key = any(%s) order by subscription_key for no key update
"""
# What the receivers answered. How many notifications there were is counted where they are made.
_COUNT_FOR_SUBSCRIPTIONS: Final[LiteralString] = """
    update subscription s
       set times_failed = s.times_failed + r.failed,
           last_success = case when r.succeeded then now() else s.last_success end,
           last_failure = case when r.failed > 0 then now() else s.last_failure end,
           last_error = coalesce(r.error, s.last_error)
      from unnest(%(keys)s::bigint[], %(failed)s::int[], %(succeeded)s::boolean[], %(errors)s::text[])
           as r (subscription_key, failed, succeeded, error)
     where s.subscription_key = r.subscription_key
"""

_PURGE: Final[LiteralString] = """
    delete from delivery where delivery_id in (
        select delivery_id from delivery
         where state = 'delivered' and finished_at < %(before)s limit %(limit)s)
"""
_COUNTS: Final[LiteralString] = """
    select s.kind, d.state, count(*),
           coalesce(extract(epoch from now() - min(d.created_at) filter (where d.state = 'pending')), 0)::float8
      from delivery d join delivery_stream s using (stream_key)
     where d.state <> 'delivered' group by s.kind, d.state
"""
# Streams without any delivery left; a new delivery makes them again.
_PURGE_STREAMS: Final[LiteralString] = """
    delete from delivery_stream s
     where due_at is null and claimed_until is null
       and not exists (select from delivery d where d.stream_key = s.stream_key)
"""


async def insert_deliveries(connection: AsyncConnection, deliveries: Sequence[NewDelivery]) -> None:
    """Put ``deliveries`` into the outbox, in their order; part of the caller's transaction."""
    if not deliveries:
        return
    parameters = {
        "tenants": [delivery.tenant_id for delivery in deliveries],
        "order_keys": [delivery.order_key for delivery in deliveries],
        "kinds": [delivery.kind for delivery in deliveries],
        "priorities": [int(delivery.priority) for delivery in deliveries],
        "destinations": [delivery.destination for delivery in deliveries],
        "subscriptions": [delivery.subscription_key for delivery in deliveries],
    }
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_LOCK_KNOWN, parameters)
        await cursor.execute(_UPSERT_STREAMS, parameters)
        streams: dict[str, int] = dict(await cursor.fetchall())
        rows = {
            "tenants": parameters["tenants"],
            "streams": [streams[delivery.order_key] for delivery in deliveries],
            "sequences": [delivery.sequence for delivery in deliveries],
            "bodies": [delivery.body for delivery in deliveries],
            "headers": [orjson.dumps(delivery.headers).decode() for delivery in deliveries],
        }
        await cursor.execute(_INSERT, rows)
        await cursor.execute(_NOTIFY)


class DeliveryStore:
    """The worker's side of the outbox. ``run`` is how many deliveries of a stream are claimed at once."""

    def __init__(self, database: Database, *, lease_s: float = 60.0, run: int = 20) -> None:
        self._database = database
        self._lease_s = lease_s
        self._run = run

    async def claim(self, limit: int, share: int, in_flight: Mapping[str, int]) -> list[ClaimedStream]:
        """Up to ``limit`` streams that are due, at most ``share`` to a destination with those ``in_flight``."""
        parameters = {
            "full": [name for name, count in in_flight.items() if count >= share],
            "names": list(in_flight),
            "counts": list(in_flight.values()),
            "share": share,
            "limit": limit,
            "lease_s": self._lease_s,
        }
        async with self._database.transaction(ALL_TENANTS) as connection:
            streams = await (await connection.execute(_CLAIM, parameters)).fetchall()
            keys = [stream[0] for stream in streams]
            rows = await (await connection.execute(_FIRST, {"streams": keys, "run": self._run})).fetchall()
        by_stream: dict[int, list[ClaimedDelivery]] = {key: [] for key in keys}
        for row in rows:
            by_stream[row[0]].append(ClaimedDelivery(*row[1:]))
        return [ClaimedStream(key, lease, kind, url, owner, by_stream[key]) for key, lease, kind, url, owner in streams]

    async def settle(self, outcomes: Sequence[StreamOutcome]) -> None:
        """Write down how the work on claimed streams ended, and let go of them."""
        if not outcomes:
            return
        failed = [outcome for outcome in outcomes if outcome.failed is not None]
        streams = [outcome.stream_key for outcome in outcomes]
        # In one go: a subscriber that asks for the state right after its answer should find it booked.
        async with self._database.transaction(ALL_TENANTS) as connection, connection.pipeline():
            await self._count(connection, outcomes)
            await connection.execute(_LOCK_STREAMS, {"streams": streams})
            await connection.execute(_DELIVERED, {"ids": [key for o in outcomes for key in o.delivered]})
            if failed:
                parameters = {
                    "ids": [outcome.failed for outcome in failed],
                    "errors": [outcome.error for outcome in failed],
                    "dead": [outcome.retry_at is None for outcome in failed],
                }
                await connection.execute(_FAILED, parameters)
            retries = [outcome.retry_at for outcome in outcomes]
            leases = [outcome.lease for outcome in outcomes]
            await connection.execute(_RELEASE, {"streams": streams, "leases": leases, "retries": retries})

    async def _count(self, connection: AsyncConnection, outcomes: Sequence[StreamOutcome]) -> None:
        by_key: dict[int, list[StreamOutcome]] = {}
        for outcome in outcomes:
            if outcome.subscription_key is not None and (outcome.delivered or outcome.failed is not None):
                by_key.setdefault(outcome.subscription_key, []).append(outcome)
        if not by_key:
            return
        groups = list(by_key.values())
        await connection.execute(_HOLD_SUBSCRIPTIONS, (list(by_key),))
        await connection.execute(
            _COUNT_FOR_SUBSCRIPTIONS,
            {
                "keys": list(by_key),
                "failed": [sum(outcome.failed is not None for outcome in group) for group in groups],
                "succeeded": [any(outcome.delivered for outcome in group) for group in groups],
                "errors": [next((o.error for o in reversed(group) if o.error), None) for group in groups],
            },
        )

    async def purge(self, before: datetime, limit: int = 10_000) -> int:
        """Remove deliveries made before ``before``; dead letters stay. Returns how many were removed."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            cursor = await connection.execute(_PURGE, {"before": before, "limit": limit})
            await connection.execute(_PURGE_STREAMS)
            return cursor.rowcount

    async def counts(self) -> list[tuple[str, str, int, float]]:
        """(kind, state, count, age in seconds of the oldest pending one) of all deliveries not made."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            return await (await connection.execute(_COUNTS)).fetchall()

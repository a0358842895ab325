# SPDX-License-Identifier: Apache-2.0
"""The outbox: everything that leaves the hub is a row first, written with the change that caused it.

Rows with the same ``order_key`` leave one after the other; a claimed row is leased, so that a worker that dies in the
middle is followed by another. Delivery is at least once; ``sequence`` lets the receiver drop repeats and see gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection
from psycopg.rows import class_row

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
    """A delivery that this worker has to make before its lease ends."""

    delivery_id: int
    tenant_id: int
    kind: str
    destination: str
    subscription_key: int | None
    sequence: int
    body: bytes
    headers: dict[str, str]
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. ``retry_at`` None and not delivered: given up, a dead letter."""

    delivery_id: int
    subscription_key: int | None
    delivered: bool
    error: str | None = None
    retry_at: datetime | None = None


_INSERT: Final[LiteralString] = """
    insert into delivery (tenant_id, kind, priority, order_key, destination, subscription_key, sequence, body, headers)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb)
"""
_NOTIFY: Final[LiteralString] = "select pg_notify('minamo_deliveries', '')"

# The first row of each order key that is due, alerts first, and of each destination no more than its free share.
_CLAIM: Final[LiteralString] = """
    with due as materialized (
        select d.delivery_id, d.destination, d.priority, d.next_attempt_at from delivery d
         where d.state = 'pending' and d.next_attempt_at <= now()
           and (d.claimed_until is null or d.claimed_until < now())
           and d.destination <> all(%(full)s)
           and not exists (
               select from delivery earlier
                where earlier.order_key = d.order_key and earlier.state = 'pending'
                  and earlier.delivery_id < d.delivery_id)
         order by d.priority, d.next_attempt_at
         limit 1000
    ), ranked as (
        select due.*, row_number() over (partition by destination order by priority, next_attempt_at) as place
          from due
    ), chosen as (
        select d.delivery_id from delivery d
          join ranked using (delivery_id)
          left join unnest(%(names)s::text[], %(counts)s::int[]) as f (destination, in_flight)
                 on f.destination = d.destination
         where ranked.place <= %(share)s - coalesce(f.in_flight, 0)
           and d.state = 'pending' and (d.claimed_until is null or d.claimed_until < now())
         order by d.priority, d.next_attempt_at
         limit %(limit)s
         for update of d skip locked
    )
    update delivery d
       set claimed_until = now() + make_interval(secs => %(lease_s)s), attempts = d.attempts + 1
      from chosen where d.delivery_id = chosen.delivery_id
    returning d.delivery_id, d.tenant_id, d.kind, d.destination, d.subscription_key, d.sequence, d.body, d.headers,
              d.attempts, d.created_at
"""

_SETTLE: Final[LiteralString] = """
    update delivery d
       set state = r.state, claimed_until = null, last_error = r.error,
           next_attempt_at = coalesce(r.retry_at, d.next_attempt_at),
           finished_at = case when r.state <> 'pending' then now() end
      from unnest(%(ids)s::bigint[], %(states)s::text[], %(errors)s::text[], %(retries)s::timestamptz[])
           as r (delivery_id, state, error, retry_at)
     where d.delivery_id = r.delivery_id
"""

_COUNT_FOR_SUBSCRIPTIONS: Final[LiteralString] = """
    update subscription s
       set times_sent = s.times_sent + r.sent, times_failed = s.times_failed + r.failed,
           last_notification = now(),
           last_success = case when r.succeeded then now() else s.last_success end,
           last_failure = case when r.failed > 0 then now() else s.last_failure end,
           last_error = coalesce(r.error, s.last_error)
      from (select * from unnest(%(keys)s::bigint[], %(sent)s::int[], %(failed)s::int[], %(succeeded)s::boolean[],
                                 %(errors)s::text[]) order by 1)
           as r (subscription_key, sent, failed, succeeded, error)
     where s.subscription_key = r.subscription_key
"""

_PURGE: Final[LiteralString] = """
    delete from delivery where delivery_id in (
        select delivery_id from delivery
         where state = 'delivered' and finished_at < %(before)s limit %(limit)s)
"""
_COUNTS: Final[LiteralString] = """
    select kind, state, count(*),
           coalesce(extract(epoch from now() - min(created_at) filter (where state = 'pending')), 0)::float8
      from delivery where state <> 'delivered' group by kind, state
"""


async def insert_deliveries(connection: AsyncConnection, deliveries: Sequence[NewDelivery]) -> None:
    """Put ``deliveries`` into the outbox; part of the caller's transaction."""
    if not deliveries:
        return
    async with connection.cursor() as cursor:
        await cursor.executemany(_INSERT, [_row(delivery) for delivery in deliveries])
    await connection.execute(_NOTIFY)


def _row(delivery: NewDelivery) -> tuple[Any, ...]:
    return (
        delivery.tenant_id,
        delivery.kind,
        int(delivery.priority),
        delivery.order_key,
        delivery.destination,
        delivery.subscription_key,
        delivery.sequence,
        delivery.body,
        orjson.dumps(delivery.headers).decode(),
    )


class DeliveryStore:
    """The worker's side of the outbox."""

    def __init__(self, database: Database, *, lease_s: float = 60.0) -> None:
        self._database = database
        self._lease_s = lease_s

    async def claim(self, limit: int, share: int, in_flight: Mapping[str, int]) -> list[ClaimedDelivery]:
        """Up to ``limit`` deliveries that are due, at most ``share`` to a destination with those ``in_flight``."""
        parameters = {
            "full": [name for name, count in in_flight.items() if count >= share],
            "names": list(in_flight),
            "counts": list(in_flight.values()),
            "share": share,
            "limit": limit,
            "lease_s": self._lease_s,
        }
        async with (
            self._database.transaction(ALL_TENANTS) as connection,
            connection.cursor(row_factory=class_row(ClaimedDelivery)) as cursor,
        ):
            await cursor.execute(_CLAIM, parameters)
            claimed = await cursor.fetchall()
        return sorted(claimed, key=lambda delivery: delivery.delivery_id)

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write down how attempts ended, in the outbox and at their subscriptions."""
        if not outcomes:
            return
        async with self._database.transaction(ALL_TENANTS) as connection:
            await connection.execute(
                _SETTLE,
                {
                    "ids": [outcome.delivery_id for outcome in outcomes],
                    "states": [_state(outcome) for outcome in outcomes],
                    "errors": [outcome.error for outcome in outcomes],
                    "retries": [outcome.retry_at for outcome in outcomes],
                },
            )
            await self._count(connection, outcomes)

    async def _count(self, connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
        by_key: dict[int, list[Outcome]] = {}
        for outcome in outcomes:
            if outcome.subscription_key is not None:
                by_key.setdefault(outcome.subscription_key, []).append(outcome)
        if not by_key:
            return
        groups = list(by_key.values())
        await connection.execute(
            _COUNT_FOR_SUBSCRIPTIONS,
            {
                "keys": list(by_key),
                "sent": [len(group) for group in groups],
                "failed": [sum(not outcome.delivered for outcome in group) for group in groups],
                "succeeded": [any(outcome.delivered for outcome in group) for group in groups],
                "errors": [next((o.error for o in reversed(group) if o.error), None) for group in groups],
            },
        )

    async def purge(self, before: datetime, limit: int = 10_000) -> int:
        """Remove deliveries made before ``before``; dead letters stay. Returns how many were removed."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            cursor = await connection.execute(_PURGE, {"before": before, "limit": limit})
            return cursor.rowcount

    async def counts(self) -> list[tuple[str, str, int, float]]:
        """(kind, state, count, age in seconds of the oldest pending one) of all deliveries not made."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            return await (await connection.execute(_COUNTS)).fetchall()


def _state(outcome: Outcome) -> str:
    if outcome.delivered:
        return "delivered"
    return "pending" if outcome.retry_at is not None else "dead"

# SPDX-License-Identifier: Apache-2.0
"""The worker's side of the outbox: claiming what is due, settling what became of it.

Streams belong to a lane (their priority) and a receiver (scheme, host and port). Claiming walks over the receivers of a
lane, so that it costs what is claimed, however much waits for a receiver that does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.sealed import Stored
from broker.subscriptions import Sending
from context_store.database import ALL_TENANTS, Database
from context_store.deliveries.outbox import Priority
from context_store.subscriptions.ending import end_subscription


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery to be made; ``attempts`` failed since ``queued_at``, when it was made or replayed."""

    delivery_id: int
    sequence: int
    body: bytes
    headers: dict[str, Stored]
    attempts: int
    queued_at: datetime


@dataclass(frozen=True, slots=True)
class ClaimedStream:
    """A stream that this worker has until its ``lease`` ends, with the deliveries to make now, in their order.

    ``is_abandoned``: whoever had it before has not said how it ended, so the deliveries may have been made.
    """

    stream_key: int
    lease: datetime
    kind: str
    destination: str
    receiver: str
    subscription_key: int | None
    deliveries: list[ClaimedDelivery]
    sending: Sending
    is_abandoned: bool = False


@dataclass(frozen=True, slots=True)
class StreamOutcome:
    """How the work on a claimed stream ended.

    ``delivered`` are done. ``failed`` is the one that was not, with its ``error``: it is tried again at ``retry_at``
    and holds up those behind it, or is a dead letter when that is None, and those behind it go on. ``status`` and
    ``seconds`` tell of the receiver's answer, ``no_answer`` that there was none.
    """

    stream_key: int
    lease: datetime
    subscription_key: int | None
    delivered: list[int]
    failed: int | None = None
    error: str | None = None
    retry_at: datetime | None = None
    status: int | None = None
    seconds: float = 0.0
    no_answer: bool = False

    def failure(self) -> bytes:
        """What the dead letter will tell of this attempt."""
        seconds = round(self.seconds, 3)
        at = datetime.now(UTC)
        return orjson.dumps({"at": at, "status": self.status, "error": self.error, "seconds": seconds})


_BEHIND_ALL: Final = "~"  # in the order of characters; a receiver begins with the letters of its scheme

# Streams of a lane that are due, of each receiver no more than its free share. The receivers of the lane are found one
# after the other in the index; the walk ends when there is enough.
_CLAIM: Final[LiteralString] = """
    with recursive receivers as (
        (select receiver from delivery_stream
          where priority = %(lane)s and due_at is not null and receiver > %(after)s and receiver <= %(last)s
          order by receiver limit 1)
        union all
        select (select s.receiver from delivery_stream s
                 where s.priority = %(lane)s and s.due_at is not null and s.receiver > r.receiver
                   and s.receiver <= %(last)s
                 order by s.receiver limit 1)
          from receivers r where r.receiver is not null
    ), chosen as (
        select c.stream_key, c.claimed_until from receivers r
          left join unnest(%(names)s::text[], %(counts)s::int[]) as f (receiver, taken) on f.receiver = r.receiver
         cross join lateral (
            select s.stream_key, s.claimed_until from delivery_stream s
             where s.priority = %(lane)s and s.receiver = r.receiver and s.due_at <= now()
               and (s.claimed_until is null or s.claimed_until < now())
             order by s.due_at limit greatest(%(share)s - coalesce(f.taken, 0), 0)
               for update skip locked
         ) as c
         limit %(limit)s
    )
    update delivery_stream s set claimed_until = now() + make_interval(secs => %(lease_s)s)
      from chosen where s.stream_key = chosen.stream_key
    returning s.stream_key, s.claimed_until, s.kind, s.destination, s.receiver, s.subscription_key,
              coalesce((select b.sending from subscription b where b.subscription_key = s.subscription_key), s.sending),
              chosen.claimed_until is not null
"""
# The first deliveries of claimed streams.
_FIRST: Final[LiteralString] = """
    select d.stream_key, d.delivery_id, d.sequence, d.body, d.headers, d.attempts, d.queued_at
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
# What became of deliveries, and what follows for their streams. What is settled already stays as it is. A stream whose
# lease had run out may be in other hands by now: it is left to them, and only that something was delivered counts.
_SETTLE: Final[LiteralString] = """
    with done as (
        update delivery d
           set state = t.state, last_error = t.error, finished_at = case when t.state <> 'pending' then now() end,
               attempts = d.attempts + case when t.failure is null then 0 else 1 end,
               failures = case when t.failure is null then d.failures
                               when jsonb_array_length(d.failures) >= 10 then (d.failures - 0) || t.failure::jsonb
                               else d.failures || t.failure::jsonb end
          from unnest(%(ids)s::bigint[], %(states)s::text[], %(errors)s::text[], %(failures)s::text[],
                      %(needed_leases)s::timestamptz[]) as t (delivery_id, state, error, failure, needed_lease)
         where d.delivery_id = t.delivery_id and d.state = 'pending'
           and (t.needed_lease is null
                or t.needed_lease = (select claimed_until from delivery_stream s where s.stream_key = d.stream_key))
        returning d.delivery_id, d.stream_key, d.state <> 'pending' as is_finished
    ), counted as (
        select stream_key, count(*) filter (where is_finished) as finished from done group by stream_key
    ), told as (
        select r.*, coalesce(c.finished, 0) as finished, next.queued_at as oldest_at
          from unnest(%(streams)s::bigint[], %(leases)s::timestamptz[], %(retries)s::timestamptz[],
                      %(stalled)s::boolean[]) as r (stream_key, lease, retry_at, stalled)
          left join counted c using (stream_key)
          left join lateral (
            select d.queued_at from delivery d
             where d.stream_key = r.stream_key and d.state = 'pending'
               and d.delivery_id not in (select delivery_id from done where is_finished)
             order by d.delivery_id limit 1
          ) as next on true
    )
    update delivery_stream s
       set pending = s.pending - t.finished, oldest_at = t.oldest_at,
           stalled = case when s.claimed_until = t.lease then t.stalled else s.stalled end,
           due_at = case when s.claimed_until is distinct from t.lease then s.due_at
                         when t.oldest_at is null then null
                         when exists (select from subscription b where b.subscription_key = s.subscription_key
                                         and not coalesce((b.document -> 'isActive')::boolean, true))
                         then 'infinity' -- paused meanwhile
                         else coalesce(t.retry_at, now()) end,
           claimed_until = case when s.claimed_until is distinct from t.lease then s.claimed_until end
      from told t where s.stream_key = t.stream_key
"""

# A receiver answers again: what waited for it is due.
_RESUME: Final[LiteralString] = """
    update delivery_stream set due_at = now(), stalled = false
     where stream_key in (
        select stream_key from delivery_stream
         where priority = %(lane)s and receiver = %(receiver)s and due_at > now() and due_at < 'infinity' and stalled
         order by stream_key for update)
"""
# Due later than anything can be: the clock was put back meanwhile. Endpoints of subscriptions may want longer pauses.
_BRING_FORWARD: Final[LiteralString] = """
    update delivery_stream
       set due_at = least(due_at, now()),
           claimed_until = case when claimed_until is not null
                                then least(claimed_until, now() + make_interval(secs => %(lease_s)s)) end
     where stream_key in (
        select stream_key from delivery_stream
         where priority = %(lane)s and subscription_key is null and due_at is not null and due_at < 'infinity'
           and (due_at > now() + make_interval(secs => %(longest_s)s)
                or claimed_until > now() + make_interval(secs => 2 * %(lease_s)s))
         order by stream_key for update)
"""
# Streams whose receiver does not answer and that have deliveries older than can be delivered.
_OVERDUE: Final[LiteralString] = """
    select stream_key from delivery_stream
     where priority = %(lane)s and receiver = %(receiver)s and due_at < 'infinity' and oldest_at < %(horizon)s
       and (claimed_until is null or claimed_until < now())
     order by stream_key for update
"""
_EXPIRE: Final[LiteralString] = """
    update delivery set state = 'dead', finished_at = now(), last_error = %(error)s
     where stream_key = any(%(streams)s) and state = 'pending' and queued_at < %(horizon)s
"""
# Streams as their deliveries are now; for what happens rarely, since it counts them all.
_REFRESH_STREAMS: Final[LiteralString] = """
    update delivery_stream s
       set pending = n.pending, oldest_at = n.oldest_at,
           due_at = case when n.pending > 0 then coalesce(s.due_at, now()) end
      from (select k.stream_key, count(d.delivery_id) as pending, min(d.queued_at) as oldest_at
              from unnest(%(streams)s::bigint[]) as k (stream_key)
              left join delivery d on d.stream_key = k.stream_key and d.state = 'pending'
             group by k.stream_key) as n
     where s.stream_key = n.stream_key
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
         where state not in ('pending', 'dead') and finished_at < %(before)s order by finished_at limit %(limit)s)
"""
_COUNTS: Final[LiteralString] = """
    select kind, 'pending', sum(pending)::bigint, extract(epoch from now() - min(oldest_at))::float8
      from delivery_stream where due_at is not null group by kind
    union all
    select s.kind, 'dead', count(*), 0
      from delivery d join delivery_stream s using (stream_key) where d.state = 'dead' group by s.kind
"""
# Streams without any delivery left; a new delivery makes them again.
_PURGE_STREAMS: Final[LiteralString] = """
    delete from delivery_stream s
     where due_at is null and claimed_until is null
       and not exists (select from delivery d where d.stream_key = s.stream_key)
"""


class DeliveryStore:
    """The worker's side of the outbox. ``run`` is how many deliveries of a stream are claimed at once."""

    def __init__(self, database: Database, *, lease_s: float = 60.0, run: int = 20) -> None:
        self._database = database
        self._lease_s = lease_s
        self._run = run

    async def claim(
        self,
        limit: int,
        share: int,
        taken: Mapping[str, int],
        *,
        lane: Priority = Priority.NORMAL,
        after: str = "",
    ) -> list[ClaimedStream]:
        """Up to ``limit`` streams of ``lane`` that are due, at most ``share`` to a receiver with those ``taken``.

        Receivers have their turn in the order of their names, those behind ``after`` first.
        """
        parameters = {
            "lane": int(lane),
            "names": list(taken),
            "counts": list(taken.values()),
            "share": share,
            "lease_s": self._lease_s,
        }
        turns = [(after, _BEHIND_ALL), ("", after)] if after else [("", _BEHIND_ALL)]
        streams: list[tuple[Any, ...]] = []
        async with self._database.transaction(ALL_TENANTS, durable=False, by_key=True) as connection:
            for first, last in turns:
                if free := limit - len(streams):
                    turn = {**parameters, "after": first, "last": last, "limit": free}
                    streams += await (await connection.execute(_CLAIM, turn)).fetchall()
            if not streams:
                return []
            keys = [stream[0] for stream in streams]
            rows = await (await connection.execute(_FIRST, {"streams": keys, "run": self._run})).fetchall()
        by_stream: dict[int, list[ClaimedDelivery]] = {key: [] for key in keys}
        for row in rows:
            by_stream[row[0]].append(ClaimedDelivery(*row[1:]))
        return [
            ClaimedStream(key, lease, kind, url, receiver, owner, by_stream[key], Sending.from_stored(sending), again)
            for key, lease, kind, url, receiver, owner, sending, again in streams
        ]

    async def settle(self, outcomes: Sequence[StreamOutcome]) -> None:
        """Write down how the work on claimed streams ended, and let go of them."""
        if not outcomes:
            return
        # In one go: a subscriber that asks for the state right after its answer should find it booked. Not durable:
        # what a dying server forgets is delivered once more.
        async with (
            self._database.transaction(ALL_TENANTS, durable=False, by_key=True) as connection,
            connection.pipeline(),
        ):
            await self._count(connection, outcomes)
            await connection.execute(_LOCK_STREAMS, {"streams": [outcome.stream_key for outcome in outcomes]})
            await connection.execute(_SETTLE, {**_fates(outcomes), **_releases(outcomes)})

    async def resume(self, lane: Priority, receiver: str) -> None:
        """What waits because ``receiver`` did not answer is due: it answers again."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            await connection.execute(_RESUME, {"lane": int(lane), "receiver": receiver})

    async def bring_forward(self, lane: Priority, longest_s: float) -> int:
        """Let go on what waits longer than ``longest_s``, which nothing does unless the clock was put back."""
        parameters = {"lane": int(lane), "longest_s": longest_s, "lease_s": self._lease_s}
        async with self._database.transaction(ALL_TENANTS) as connection:
            return (await connection.execute(_BRING_FORWARD, parameters)).rowcount

    async def expire(self, lane: Priority, receiver: str, horizon: datetime, error: str) -> int:
        """Make dead letters of what waits for ``receiver``, which does not answer, since before ``horizon``."""
        parameters = {"lane": int(lane), "receiver": receiver, "horizon": horizon, "error": error}
        async with self._database.transaction(ALL_TENANTS) as connection:
            rows = await (await connection.execute(_OVERDUE, parameters)).fetchall()
            parameters["streams"] = [row[0] for row in rows]
            expired = (await connection.execute(_EXPIRE, parameters)).rowcount
            await connection.execute(_REFRESH_STREAMS, parameters)
        return expired

    async def end_subscription(self, key: int, reason: str) -> bool:
        """See :func:`context_store.subscriptions.ending.end_subscription`."""
        return await end_subscription(self._database, key, reason)

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
        """Remove what was delivered, kept or dropped before ``before``; dead letters stay. Returns how many."""
        removed, count = 0, limit
        while count == limit:
            async with self._database.transaction(ALL_TENANTS) as connection:
                count = (await connection.execute(_PURGE, {"before": before, "limit": limit})).rowcount
            removed += count
        async with self._database.transaction(ALL_TENANTS) as connection:
            await connection.execute(_PURGE_STREAMS)
        return removed

    async def counts(self) -> list[tuple[str, str, int, float]]:
        """(kind, state, count, age in seconds of the oldest pending one) of all deliveries not made."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            return await (await connection.execute(_COUNTS)).fetchall()


def _fates(outcomes: Sequence[StreamOutcome]) -> dict[str, Any]:
    """By delivery: what became of it."""
    failed = [outcome for outcome in outcomes if outcome.failed is not None]
    delivered = [key for outcome in outcomes for key in outcome.delivered]
    states = ["dead" if outcome.retry_at is None else "pending" for outcome in failed]
    nothing = [None] * len(delivered)
    return {
        "ids": delivered + [outcome.failed for outcome in failed],
        "states": ["delivered"] * len(delivered) + states,
        "errors": nothing + [outcome.error for outcome in failed],
        "failures": nothing + [outcome.failure().decode() for outcome in failed],
        "needed_leases": nothing + [outcome.lease for outcome in failed],
    }


def _releases(outcomes: Sequence[StreamOutcome]) -> dict[str, Any]:
    """By stream: until when it was ours, and when it goes on."""
    return {
        "streams": [outcome.stream_key for outcome in outcomes],
        "leases": [outcome.lease for outcome in outcomes],
        "retries": [outcome.retry_at for outcome in outcomes],
        "stalled": [outcome.no_answer for outcome in outcomes],
    }

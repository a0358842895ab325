# SPDX-License-Identifier: Apache-2.0
"""Deliveries that are to be made again: dead letters that are replayed, notifications that somebody catches up on.

They go back into their streams, before what is newer, so that each stream keeps its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, LiteralString

from psycopg import AsyncConnection

from broker.subscriptions import PULLED_URI
from context_store.deliveries.outbox import NOTIFY, receiver_of

# What was only kept, for a subscription that was pulled then, goes through one stream of its own.
_STREAM_OF_KEPT: Final[LiteralString] = """
    with kept as (
        select distinct d.tenant_id, d.subscription_key, s.endpoint
          from delivery d join subscription s using (subscription_key)
         where d.delivery_id = any(%(ids)s) and d.stream_key is null
    ), streams as (
        insert into delivery_stream (tenant_id, order_key, kind, priority, destination, receiver, subscription_key)
        select tenant_id, subscription_key || ':kept', 'notification', 5, endpoint, '', subscription_key from kept
        on conflict (order_key) do update set destination = excluded.destination
        returning stream_key, subscription_key
    )
    update delivery d set stream_key = s.stream_key from streams s
     where d.delivery_id = any(%(ids)s) and d.stream_key is null and d.subscription_key = s.subscription_key
"""
_LOCK_STREAMS: Final[LiteralString] = """
    select s.stream_key, coalesce(u.endpoint, s.destination)
      from delivery_stream s left join subscription u using (subscription_key)
     where s.stream_key in (select stream_key from delivery where delivery_id = any(%(ids)s))
     order by s.stream_key for no key update of s
"""
_REQUEUE: Final[LiteralString] = """
    update delivery set state = 'pending', queued_at = now(), finished_at = null, attempts = 0
     where delivery_id = any(%(ids)s) and state <> 'pending' and stream_key is not null
"""
# They go where the subscription's notifications go now, at once.
_DUE: Final[LiteralString] = """
    update delivery_stream s
       set pending = n.pending, oldest_at = n.oldest_at, destination = n.destination, receiver = n.receiver,
           due_at = case when n.pending > 0 then now() end, stalled = false
      from (select k.stream_key, k.destination, k.receiver, count(d.delivery_id) as pending,
                   min(d.queued_at) as oldest_at
              from unnest(%(streams)s::bigint[], %(destinations)s::text[], %(receivers)s::text[])
                   as k (stream_key, destination, receiver)
              left join delivery d on d.stream_key = k.stream_key and d.state = 'pending'
             group by k.stream_key, k.destination, k.receiver) as n
     where s.stream_key = n.stream_key
"""


# The receiver comes and asks now: nothing is sent any more, all is kept.
_KEEP: Final[LiteralString] = """
    update delivery set state = 'kept', stream_key = null, finished_at = now()
     where subscription_key = %(key)s and state = any(%(states)s)
"""
_NOTHING_WAITS: Final[LiteralString] = """
    update delivery_stream set pending = 0, oldest_at = null, due_at = null, stalled = false
     where subscription_key = %(key)s and due_at is not null
"""
_LOCK_WAITING: Final[LiteralString] = """
    select from delivery_stream where subscription_key = %(key)s and due_at is not null
     order by stream_key for no key update
"""
_REDIRECT: Final[LiteralString] = """
    update delivery_stream
       set destination = %(endpoint)s, receiver = %(receiver)s, stalled = false,
           due_at = case when due_at = 'infinity' then due_at else now() end
     where subscription_key = %(key)s and due_at is not null
"""

# While a subscription is paused, what waits for its receiver is due at the end of time.
_HOLD: Final[LiteralString] = """
    update delivery_stream set due_at = 'infinity', stalled = false
     where subscription_key = %(key)s and due_at is not null
"""
_RELEASE: Final[LiteralString] = """
    update delivery_stream set due_at = now() where subscription_key = %(key)s and due_at = 'infinity'
"""


async def pause_streams(connection: AsyncConnection, key: int) -> None:
    """The subscription is paused: nothing of it is sent until :func:`resume_streams`."""
    await connection.execute(_LOCK_WAITING, {"key": key})
    await connection.execute(_HOLD, {"key": key})


async def resume_streams(connection: AsyncConnection, key: int) -> None:
    """The subscription is active again: what waited is due."""
    await connection.execute(_LOCK_WAITING, {"key": key})
    await connection.execute(_RELEASE, {"key": key})
    await connection.execute(NOTIFY)


async def redirect(connection: AsyncConnection, key: int, endpoint: str) -> None:
    """What waits for the receiver of a subscription goes to its new ``endpoint``, at once.

    Part of the caller's transaction, which holds the subscription.
    """
    parameters = {"key": key, "endpoint": endpoint, "receiver": receiver_of(endpoint)}
    await connection.execute(_LOCK_WAITING, parameters)
    if endpoint == PULLED_URI:
        await connection.execute(_KEEP, {**parameters, "states": ["pending", "dead"]})
        await connection.execute(_NOTHING_WAITS, parameters)
    else:
        await connection.execute(_REDIRECT, parameters)
        await connection.execute(NOTIFY)


async def requeue(connection: AsyncConnection, delivery_ids: Sequence[int]) -> int:
    """Make these deliveries again, from the beginning; returns how many were not waiting already.

    Part of the caller's transaction, which holds no delivery yet.
    """
    if not delivery_ids:
        return 0
    parameters = {"ids": list(delivery_ids)}
    await connection.execute(_STREAM_OF_KEPT, parameters)
    streams = await (await connection.execute(_LOCK_STREAMS, parameters)).fetchall()
    count = (await connection.execute(_REQUEUE, parameters)).rowcount
    await connection.execute(
        _DUE,
        {
            "streams": [key for key, _ in streams],
            "destinations": [destination for _, destination in streams],
            "receivers": [receiver_of(destination) for _, destination in streams],
        },
    )
    await connection.execute(NOTIFY)
    return count

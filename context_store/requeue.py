# SPDX-License-Identifier: Apache-2.0
"""Deliveries that are to be made again: dead letters that are replayed, notifications that somebody catches up on.

They go back into their streams, before what is newer, so that each stream keeps its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, LiteralString

from psycopg import AsyncConnection

from context_store.deliveries import NOTIFY, receiver_of

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

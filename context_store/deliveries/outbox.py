# SPDX-License-Identifier: Apache-2.0
"""The outbox: everything that leaves the hub is a row first, written with the change that caused it.

Deliveries belong to streams (a subscription and an entity, say) and leave each stream in order. A worker claims a
stream with the first of its deliveries for the time of a lease, so that a worker that dies in the middle is followed
by another (:mod:`context_store.deliveries.queue`). Delivery is at least once; ``sequence`` lets the receiver drop
repeats
and see gaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final, LiteralString
from urllib.parse import urlsplit

import orjson
from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from broker.sealed import Stored
from broker.subscriptions import PULLED_URI, Sending

CHANNEL: Final = "minamo_deliveries"
KEPT_CHANNEL: Final = "minamo_notifications"  # there are new notifications for those who pull


class Priority(IntEnum):
    """Which deliveries go first; lower goes before higher."""

    ALERT = 0
    NORMAL = 5
    BULK = 9


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A delivery to be made. ``body`` is sent as it is, with ``headers``; one whose ``destination`` is
    :data:`PULLED_URI` is only kept, for the receiver to come for it. ``sending`` is for those of no subscription.
    """

    tenant_id: int
    kind: str
    priority: Priority
    order_key: str
    destination: str
    sequence: int
    body: bytes
    headers: dict[str, Stored]
    subscription_key: int | None = None
    sending: Sending | None = None


# Streams are locked in the order of their numbers, here and when they are settled, so that nobody waits in a circle.
_LOCK_KNOWN: Final[LiteralString] = """
    select from delivery_stream where order_key = any(%(order_keys)b) order by stream_key for no key update
"""
# The streams of new deliveries; one that waits for a retry goes on waiting. Texts and bytes go in binary (%b), because
# escaping them as text takes half of the time.
_UPSERT_STREAMS: Final[LiteralString] = """
    insert into delivery_stream as s
           (tenant_id, order_key, kind, priority, destination, receiver, subscription_key, pending, sending, due_at,
            oldest_at)
    select n.*, now(), now()
      from unnest(%(tenants)s::int[], %(order_keys)b::text[], %(kinds)s::text[], %(priorities)s::smallint[],
                  %(destinations)b::text[], %(receivers)b::text[], %(subscriptions)s::bigint[], %(counts)s::int[],
                  %(sendings)s::jsonb[]) as n
    on conflict (order_key) do update
       set due_at = case when s.destination = excluded.destination then coalesce(s.due_at, now()) else now() end,
           priority = excluded.priority, destination = excluded.destination, receiver = excluded.receiver,
           sending = excluded.sending, pending = s.pending + excluded.pending, oldest_at = coalesce(s.oldest_at, now())
    returning order_key, stream_key
"""
_INSERT: Final[LiteralString] = """
    insert into delivery (tenant_id, stream_key, subscription_key, sequence, body, headers, state, finished_at)
    select d.tenant_id, d.stream_key, d.subscription_key, d.sequence, d.body, d.headers::jsonb,
           case when d.stream_key is null then 'kept' else 'pending' end, case when d.stream_key is null then now() end
      from unnest(%(tenants)s::int[], %(streams)s::bigint[], %(subscriptions)s::bigint[], %(sequences)s::bigint[],
                  %(bodies)b::bytea[], %(headers)b::text[]) with ordinality
           as d (tenant_id, stream_key, subscription_key, sequence, body, headers, position)
     order by d.position
"""
NOTIFY: Final[LiteralString] = "select pg_notify('minamo_deliveries', '')"
_NOTIFY_KEPT: Final[LiteralString] = "select pg_notify('minamo_notifications', '')"


async def insert_deliveries(connection: AsyncConnection, deliveries: Sequence[NewDelivery]) -> None:
    """Put ``deliveries`` into the outbox, in their order; part of the caller's transaction."""
    if not deliveries:
        return
    sent = [delivery for delivery in deliveries if delivery.destination != PULLED_URI]
    async with connection.cursor(row_factory=tuple_row) as cursor:
        streams: dict[str, int] = {}
        if sent:
            parameters = _stream_parameters(sent)
            await cursor.execute(_LOCK_KNOWN, parameters)
            await cursor.execute(_UPSERT_STREAMS, parameters)
            streams = dict(await cursor.fetchall())
            await cursor.execute(NOTIFY)
        rows = {
            "tenants": [delivery.tenant_id for delivery in deliveries],
            "streams": [streams.get(delivery.order_key) for delivery in deliveries],
            "subscriptions": [delivery.subscription_key for delivery in deliveries],
            "sequences": [delivery.sequence for delivery in deliveries],
            "bodies": [delivery.body for delivery in deliveries],
            "headers": [orjson.dumps(delivery.headers).decode() for delivery in deliveries],
        }
        await cursor.execute(_INSERT, rows)
        await cursor.execute(_NOTIFY_KEPT)


def _stream_parameters(deliveries: Sequence[NewDelivery]) -> dict[str, Any]:
    """The streams of ``deliveries``, each once, as its newest delivery has it."""
    newest = {delivery.order_key: delivery for delivery in deliveries}
    streams = {key: newest[key] for key in sorted(newest)}  # so that two who insert new ones never wait in a circle
    counts = Counter(delivery.order_key for delivery in deliveries)
    return {
        "tenants": [delivery.tenant_id for delivery in streams.values()],
        "order_keys": list(streams),
        "kinds": [delivery.kind for delivery in streams.values()],
        "priorities": [int(delivery.priority) for delivery in streams.values()],
        "destinations": [delivery.destination for delivery in streams.values()],
        "receivers": [receiver_of(delivery.destination) for delivery in streams.values()],
        "subscriptions": [delivery.subscription_key for delivery in streams.values()],
        "counts": [counts[key] for key in streams],
        "sendings": [_stored(delivery.sending) for delivery in streams.values()],
    }


def _stored(sending: Sending | None) -> str | None:
    stored = None if sending is None else sending.to_stored()
    return None if stored is None else orjson.dumps(stored).decode()


@lru_cache(maxsize=10_000)
def receiver_of(destination: str) -> str:
    """Scheme, host and port of ``destination``: who answers there, whatever the path."""
    parts = urlsplit(destination)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()

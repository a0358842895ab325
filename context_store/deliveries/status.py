# SPDX-License-Identifier: Apache-2.0
"""How it goes with the notifications of subscriptions: what waits, since when, what failed and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection

from broker.errors import ResourceNotFound
from broker.subscriptions import Document
from context_store.database import ALL_TENANTS, Database
from context_store.rows import row_of, rows_of

_STATUS: Final = """
    select u.id, u.document, u.endpoint, u.last_sequence, u.times_sent, u.times_failed, u.last_notification,
           u.last_success, u.last_failure, u.last_error, w.pending, w.oldest_at, w.in_flight, w.stalled,
           (select count(*) from delivery d where d.subscription_key = u.subscription_key and d.state = 'dead') as dead,
           (select d.sequence from delivery d where d.subscription_key = u.subscription_key
             order by d.sequence limit 1) as first_available
      from subscription u cross join lateral (
        select coalesce(sum(s.pending), 0)::bigint as pending, min(s.oldest_at) as oldest_at,
               count(*) filter (where s.claimed_until > now()) as in_flight,
               count(*) filter (where s.stalled) as stalled
          from delivery_stream s where s.subscription_key = u.subscription_key and s.due_at is not null
      ) as w
     where u.tenant_id = %(tenant_id)s
"""
_ONE: Final[LiteralString] = _STATUS + " and u.id = %(id)s"
_PAGE: Final[LiteralString] = _STATUS + " order by u.subscription_key limit %(limit)s offset %(offset)s"
# Those with the most waiting, of all tenants: for gauges, which must not grow with the number of subscriptions.
_WORST: Final[LiteralString] = """
    select t.name, u.id, w.pending, extract(epoch from now() - w.oldest_at)::float8
      from (select subscription_key, sum(pending)::bigint as pending, min(oldest_at) as oldest_at from delivery_stream
             where due_at is not null and subscription_key is not null
             group by subscription_key order by 2 desc limit %(limit)s) as w
      join subscription u using (subscription_key) join tenant t using (tenant_id)
"""


# Everything that waits, and what the outbox takes on disk with all that is kept in it.
_SIZE: Final[LiteralString] = """
    select coalesce((select sum(pending) from delivery_stream where due_at is not null), 0)::bigint,
           pg_total_relation_size('delivery')
"""


async def outbox_size(connection: AsyncConnection) -> tuple[int, int]:
    """(deliveries that wait, bytes on disk)."""
    row = await (await connection.execute(_SIZE)).fetchone()
    return (row[0], row[1]) if row else (0, 0)


@dataclass(frozen=True, slots=True)
class SubscriptionStatus:
    """A subscription's deliveries: ``in_flight`` and ``stalled`` count streams (entities), ``pending`` notifications.

    ``first_available`` is the first number that can still be caught up on.
    """

    id: str
    document: Document
    endpoint: str
    last_sequence: int
    times_sent: int
    times_failed: int
    last_notification: datetime | None
    last_success: datetime | None
    last_failure: datetime | None
    last_error: str | None
    pending: int
    oldest_at: datetime | None
    in_flight: int
    stalled: int
    dead: int
    first_available: int | None


class DeliveryStatusStore:
    """The state of deliveries, for people and gauges."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant_id: int, subscription_id: str) -> SubscriptionStatus:
        """Raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            status = await row_of(connection, SubscriptionStatus, _ONE, {"tenant_id": tenant_id, "id": subscription_id})
        if status is None:
            raise ResourceNotFound(f"Subscription {subscription_id} does not exist")
        return status

    async def page(self, tenant_id: int, *, limit: int, offset: int) -> list[SubscriptionStatus]:
        """In the order of creation."""
        async with self._database.transaction(tenant_id) as connection:
            return await rows_of(
                connection, SubscriptionStatus, _PAGE, {"tenant_id": tenant_id, "limit": limit, "offset": offset}
            )

    async def worst(self, limit: int) -> list[tuple[str, str, int, float]]:
        """(tenant, subscription, pending, age of the oldest in seconds) of those with the most waiting."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            return await (await connection.execute(_WORST, {"limit": limit})).fetchall()

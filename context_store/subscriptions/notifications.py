# SPDX-License-Identifier: Apache-2.0
"""The notifications of a subscription by their numbers: for those who pull, and for those who catch up.

Numbers are given under the lock of the subscription's row, so they become visible in their order: reading on behind
the last number seen misses nothing. What was removed after its retention shows as missing numbers, which are said.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from broker.errors import ResourceNotFound
from broker.sealed import Stored
from context_store.database import ALL_TENANTS, Database
from context_store.deliveries.requeue import requeue

_FIND: Final[LiteralString] = """
    select subscription_key, endpoint, last_sequence from subscription where tenant_id = %s and id = %s
"""
_LAST: Final[LiteralString] = "select last_sequence from subscription where subscription_key = %(key)s"
# The next notifications: so many, and no more bytes than a reader should hold, but always one.
_READ: Final[LiteralString] = """
    select sequence, delivery_id, state, created_at, headers, body from (
        select d.*, sum(octet_length(d.body)) over (order by d.sequence) - octet_length(d.body) as bytes_before
          from (select sequence, delivery_id, state, created_at, headers, body from delivery
                 where subscription_key = %(key)s and sequence > %(after)s order by sequence limit %(limit)s) as d
    ) as page where bytes_before < %(max_bytes)s order by sequence
"""
_PROGRESS: Final[LiteralString] = """
    select subscription_key, last_sequence from subscription where subscription_key = any(%s)
"""
# Numbers behind one that are not there any more.
_MISSING: Final[LiteralString] = """
    select first, last from (
        select previous + 1 as first, sequence - 1 as last from (
            select sequence, lag(sequence, 1, %(after)s::bigint) over (order by sequence) as previous from delivery
             where subscription_key = %(key)s and sequence > %(after)s) as found
        union all
        select greatest(%(after)s, (select max(sequence) from delivery where subscription_key = %(key)s)) + 1,
               %(last)s::bigint
    ) as gaps where first <= last order by first limit 100
"""
_AGAIN: Final[LiteralString] = """
    select delivery_id from delivery
     where subscription_key = %(key)s and sequence > %(after)s and state <> 'pending' order by sequence
"""


@dataclass(frozen=True, slots=True)
class FoundSubscription:
    """Which one it is, where its notifications go, and the number of its last one."""

    key: int
    endpoint: str
    last_sequence: int


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification as it was made. ``state`` is that of its delivery."""

    sequence: int
    delivery_id: int
    state: str
    created_at: datetime
    headers: dict[str, Stored]
    body: bytes


@dataclass(frozen=True, slots=True)
class Missing:
    """Numbers from ``first`` to ``last`` whose notifications were removed after their retention."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """How many are delivered again; ``missing`` are those that cannot be."""

    count: int
    missing: list[Missing]


class NotificationLog:
    """Notifications by number, of one tenant at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant_id: int, subscription_id: str) -> FoundSubscription:
        """Raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_FIND, (tenant_id, subscription_id))).fetchone()
        if row is None:
            raise ResourceNotFound(f"Subscription {subscription_id} does not exist")
        return FoundSubscription(*row)

    async def read(
        self, tenant_id: int, key: int, after: int, *, limit: int = 100, max_bytes: int = 1_000_000
    ) -> list[Notification | Missing]:
        """What comes behind number ``after``: at most ``limit`` notifications, in their order, and what is missing
        before, between and behind them. Raises :class:`ResourceNotFound` when the subscription is gone.
        """
        parameters = {"key": key, "after": after, "limit": limit, "max_bytes": max_bytes}
        async with self._database.transaction(tenant_id) as connection:
            # First the last number: what is committed between the two statements is no gap.
            row = await (await connection.execute(_LAST, parameters)).fetchone()
            if row is None:
                raise ResourceNotFound("The subscription does not exist any more")
            found = []
            if row[0] > after:
                rows = await (await connection.execute(_READ, parameters)).fetchall()
                found = [Notification(*values) for values in rows]
        return with_missing(found, after, row[0])

    async def last_sequences(self, keys: Collection[int]) -> dict[int, int]:
        """By key, the number of the last notification; without those that are gone. Over all tenants."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            return dict(await (await connection.execute(_PROGRESS, (list(keys),))).fetchall())

    async def catch_up(self, tenant_id: int, key: int, after: int, *, partial: bool) -> CaughtUp:
        """Deliver everything behind number ``after`` again. When some of it is missing, only if ``partial``."""
        async with self._database.transaction(tenant_id) as connection:
            parameters: dict[str, Any] = {"key": key, "after": after}
            row = await (await connection.execute(_LAST, parameters)).fetchone()
            if row is None:
                raise ResourceNotFound("The subscription does not exist any more")
            parameters["last"] = row[0]
            gaps = await (await connection.execute(_MISSING, parameters)).fetchall()
            missing = [Missing(first, last) for first, last in gaps]
            if missing and not partial:
                return CaughtUp(0, missing)
            rows = await (await connection.execute(_AGAIN, parameters)).fetchall()
            return CaughtUp(await requeue(connection, [row[0] for row in rows]), missing)


def with_missing(found: Sequence[Notification], after: int, last: int) -> list[Notification | Missing]:
    """``found`` behind number ``after``, with what is missing between; when nothing was found, up to ``last``."""
    items: list[Notification | Missing] = []
    for notification in found:
        if notification.sequence > after + 1:
            items.append(Missing(after + 1, notification.sequence - 1))
        items.append(notification)
        after = notification.sequence
    if not found and last > after:
        items.append(Missing(after + 1, last))
    return items

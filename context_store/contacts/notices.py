# SPDX-License-Identifier: Apache-2.0
"""What each contact is told: notices, from the decision to the receiver's answer.

A notice is queued (its delivery is in the outbox), or held for a digest or the end of a quiet time and then merged into
another one. The caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, LiteralString

from psycopg import AsyncConnection

from context_store.rows import rows_of, tuples_of

HeldFor = Literal["quiet", "digest"]
_MINUTE: Final = timedelta(minutes=1)

# One worker at a time ("tell" in ASCII), as the readers of change events: an advisory lock, so that looking for news
# writes nothing, and a statement of its own, so that the next one sees what its last holder committed.
_HOLD: Final[LiteralString] = "select pg_try_advisory_xact_lock(x'74656c6c'::int)"
_CURSOR: Final[LiteralString] = "select alarm_step_id from contact_cursor"
_MOVE: Final[LiteralString] = "update contact_cursor set alarm_step_id = %s"
_ADD: Final[LiteralString] = """
    insert into contact_notice (tenant_id, contact_id, channel, address, kind, alarm_id, alarm_step_id, state, held_for,
                                due_at, order_key, created_at)
    values (%(tenant_id)s, %(contact_id)s, %(channel)s, %(address)s, %(kind)s, %(alarm_id)s, %(alarm_step_id)s,
            case when %(due_at)s::timestamptz is null then 'queued' else 'held' end, %(held_for)s, %(due_at)s,
            %(order_key)s, %(now)s)
    returning notice_id
"""
_ADD_FAILED: Final[LiteralString] = """
    insert into contact_notice (tenant_id, contact_id, channel, address, kind, alarm_id, alarm_step_id, state,
                                order_key, created_at, finished_at, error)
    values (%(tenant_id)s, %(contact_id)s, %(channel)s, %(address)s, %(kind)s, %(alarm_id)s, %(alarm_step_id)s,
            'failed', %(order_key)s, %(now)s, %(now)s, %(error)s)
"""
_TOLD: Final[LiteralString] = """
    select distinct contact_id from contact_notice where tenant_id = %s and alarm_id = %s order by contact_id
"""
_RECENT: Final[LiteralString] = """
    select contact_id, count(distinct coalesce(alarm_step_id, -notice_id)) from contact_notice
     where tenant_id = %(tenant_id)s and contact_id = any(%(contacts)s) and created_at > %(since)s
       and state not in ('held', 'merged')
     group by contact_id
"""
_HELD: Final[LiteralString] = """
    select distinct contact_id from contact_notice
     where tenant_id = %(tenant_id)s and contact_id = any(%(contacts)s) and state = 'held' and held_for = 'digest'
"""
# All that is held of those streams of which something is due.
_DUE: Final[LiteralString] = """
    select n.notice_id, n.tenant_id, n.contact_id, n.channel, n.order_key, n.alarm_id, s.document
      from contact_notice n join alarm_step s on s.alarm_step_id = n.alarm_step_id
     where n.state = 'held' and n.due_at <= %s
     order by n.order_key, n.notice_id for update of n skip locked
"""
_MERGE: Final[LiteralString] = """
    update contact_notice set state = 'merged', merged_into = %s, finished_at = %s where notice_id = any(%s)
"""
# Deliveries that came to an end.
_SETTLE: Final[LiteralString] = """
    update contact_notice n
       set state = case when d.state = 'delivered' then 'delivered' else 'failed' end,
           finished_at = d.finished_at, error = d.last_error
      from delivery_stream s join delivery d on d.stream_key = s.stream_key
     where n.state = 'queued' and s.order_key = n.order_key and d.sequence = n.notice_id and d.state <> 'pending'
"""
# What waits is as well off as the first of its stream, behind which it waits.
_LIST: Final[LiteralString] = """
    select n.notice_id, n.contact_id, n.channel, n.address, n.kind, n.alarm_id, n.alarm_step_id, n.state, n.held_for,
           n.due_at, n.merged_into, n.created_at, n.finished_at, coalesce(n.error, d.last_error, h.last_error) as error,
           coalesce(d.attempts, h.attempts, 0) as attempts
      from contact_notice n
      left join lateral (select d.last_error, d.attempts from delivery_stream s join delivery d using (stream_key)
                          where n.state <> 'queued' and s.order_key = n.order_key and d.sequence = n.notice_id limit 1
                        ) d on true
      left join lateral (select d.last_error, d.attempts from delivery_stream s join delivery d using (stream_key)
                          where n.state = 'queued' and s.order_key = n.order_key and d.state = 'pending'
                          order by d.delivery_id limit 1) h on true
     where n.tenant_id = %(tenant_id)s and (%(alarm_id)s::text is null or n.alarm_id = %(alarm_id)s)
       and (%(contact_id)s::text is null or n.contact_id = %(contact_id)s) and n.notice_id < %(before)s
     order by n.notice_id desc limit %(limit)s
"""


@dataclass(frozen=True, slots=True)
class NewNotice:
    """A notice to write; ``due_at`` None: its delivery is made at once."""

    tenant_id: int
    contact_id: str
    channel: str
    address: str
    kind: str
    order_key: str
    alarm_id: str | None = None
    alarm_step_id: int | None = None
    held_for: HeldFor | None = None
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice with what became of it; of one that is queued, how it goes with the first of its stream."""

    notice_id: int
    contact_id: str
    channel: str
    address: str
    kind: str
    alarm_id: str | None
    alarm_step_id: int | None
    state: str
    held_for: str | None
    due_at: datetime | None
    merged_into: int | None
    created_at: datetime
    finished_at: datetime | None
    error: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class HeldNotice:
    """A held notice whose time has come, with the step that it is about."""

    notice_id: int
    tenant_id: int
    contact_id: str
    channel: str
    order_key: str
    alarm_id: str
    document: dict[str, Any]


async def take_cursor(connection: AsyncConnection) -> int | None:
    """Up to which step people were told, held until the transaction ends; None: somebody else is at it."""
    if (await (await connection.execute(_HOLD)).fetchone()) != (True,):
        return None
    row = await (await connection.execute(_CURSOR)).fetchone()
    return None if row is None else int(row[0])


async def move_cursor(connection: AsyncConnection, alarm_step_id: int) -> None:
    """People were told up to this step."""
    await connection.execute(_MOVE, (alarm_step_id,))


async def add_notice(connection: AsyncConnection, notice: NewNotice, now: datetime) -> int:
    """Write a notice; returns its number."""
    parameters = {name: getattr(notice, name) for name in notice.__slots__} | {"now": now}
    row = await (await connection.execute(_ADD, parameters)).fetchone()
    if row is None:
        raise LookupError("a notice was not written")
    return int(row[0])


async def add_failed_notice(connection: AsyncConnection, notice: NewNotice, error: str, now: datetime) -> None:
    """Write down that somebody could not be told, because there is no way to do so."""
    parameters = {name: getattr(notice, name) for name in notice.__slots__} | {"now": now, "error": error}
    await connection.execute(_ADD_FAILED, parameters)


async def told_before(connection: AsyncConnection, tenant_id: int, alarm_id: str) -> list[str]:
    """The contacts that know of an alarm, or will."""
    rows = await tuples_of(connection, _TOLD, (tenant_id, alarm_id))
    return [name for (name,) in rows]


async def last_minute(
    connection: AsyncConnection, tenant_id: int, contacts: Collection[str], now: datetime
) -> tuple[dict[str, int], set[str]]:
    """How many messages each contact got in the last minute, and for whom a digest is being gathered."""
    parameters = {"tenant_id": tenant_id, "contacts": list(contacts), "since": now - _MINUTE}
    recent = await tuples_of(connection, _RECENT, parameters)
    held = await tuples_of(connection, _HELD, parameters)
    return dict(recent), {name for (name,) in held}


async def due_notices(connection: AsyncConnection, now: datetime) -> list[HeldNotice]:
    """Held notices whose time has come, by stream and in order."""
    return await rows_of(connection, HeldNotice, _DUE, (now,))


async def merge(connection: AsyncConnection, notices: Sequence[int], into: int, now: datetime) -> None:
    """What was held is told by another notice."""
    await connection.execute(_MERGE, (into, now, list(notices)))


async def settle(connection: AsyncConnection) -> int:
    """Take over what became of deliveries; returns of how many."""
    return (await connection.execute(_SETTLE)).rowcount


async def list_notices(
    connection: AsyncConnection,
    tenant_id: int,
    *,
    alarm_id: str | None = None,
    contact_id: str | None = None,
    before: int = 2**63 - 1,
    limit: int = 100,
) -> list[Notice]:
    """Notices, the newest first."""
    parameters = {
        "tenant_id": tenant_id,
        "alarm_id": alarm_id,
        "contact_id": contact_id,
        "before": before,
        "limit": limit,
    }
    return await rows_of(connection, Notice, _LIST, parameters)

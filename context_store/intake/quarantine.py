# SPDX-License-Identifier: Apache-2.0
"""Quarantine: messages set aside with their raw bytes and the reason, until a person replays or drops them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.errors import ResourceNotFound
from broker.intake.readings import Quarantined
from context_store.database import ALL_TENANTS, Database
from context_store.rows import row_of, rows_of

_NEVER: Final = datetime(1, 1, 2, tzinfo=UTC)
_EXPIRED_AT_ONCE: Final = 5_000
_DEFAULT_TENANT_ID: Final = 1  # messages of unknown devices belong to the operator's tenant

_INSERT: Final[LiteralString] = """
    insert into quarantine (tenant_id, received_at, topic, payload, properties, device_key, reason, detail)
    values (%s, %s, %s, %s, %s::jsonb, %s, %s, %s)
"""
_COLUMNS: Final[LiteralString] = """
    quarantine_id, tenant_id, received_at, topic, payload, properties, device_key, reason, detail, state, attempts,
    resolved_at
"""
_FILTER: Final[LiteralString] = """
     where tenant_id = %(tenant_id)s
       and (%(state)s::text is null or state = %(state)s)
       and (%(reason)s::text is null or reason = %(reason)s)
       and (%(device_key)s::text is null or device_key = %(device_key)s)
       and (%(since)s::timestamptz is null or received_at >= %(since)s)
       and (%(until)s::timestamptz is null or received_at < %(until)s)
       and (%(text)s::text is null
            or position(lower(%(text)s) in lower(concat_ws(' ', device_key, topic, detail))) > 0)
"""
# A page of quarantined messages, newest first.
_LIST: Final[LiteralString] = f"""
    select {_COLUMNS} from quarantine {_FILTER}
       and (%(before)s::bigint is null or quarantine_id < %(before)s)
     order by quarantine_id desc limit %(limit)s
"""
_GET: Final[LiteralString] = f"""
    select {_COLUMNS} from quarantine where tenant_id = %s and quarantine_id = %s
"""
# Messages to replay, oldest first, locked so that two replays do not meet.
_CLAIM: Final[LiteralString] = f"""
    select {_COLUMNS} from quarantine
     where tenant_id = %(tenant_id)s and state = 'held' and quarantine_id = any(%(ids)s)
     order by quarantine_id for update skip locked
"""
_IDS_HELD: Final[LiteralString] = f"""
    select quarantine_id from quarantine {_FILTER}
       and quarantine_id > %(after)s order by quarantine_id limit %(limit)s
"""
# What is held, by device and reason, most of it first.
_SUMMARY: Final[LiteralString] = """
    select device_key, reason, count(*), min(received_at), max(received_at), max(quarantine_id)
      from quarantine where tenant_id = %s and state = 'held' group by 1, 2 order by 3 desc, 1, 2 limit %s
"""
# What is over: held for too long, or resolved long ago. The first condition is that of the index.
_EXPIRE: Final[LiteralString] = """
    delete from quarantine
     where quarantine_id in (
           select quarantine_id from quarantine
            where received_at < greatest(%(held)s::timestamptz, %(resolved)s::timestamptz)
              and (state = 'held' and received_at < %(held)s or state <> 'held' and resolved_at < %(resolved)s)
            limit %(limit)s)
"""
_RESOLVE: Final[LiteralString] = """
    update quarantine set state = %s, attempts = attempts + 1, resolved_at = now() where quarantine_id = %s
"""
_STILL_HELD: Final[LiteralString] = """
    update quarantine set reason = %s, detail = %s, attempts = attempts + 1 where quarantine_id = %s
"""
_COUNT: Final[LiteralString] = "select reason, count(*) from quarantine where state = 'held' group by reason"


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A stored message as the table has it."""

    quarantine_id: int
    tenant_id: int
    received_at: datetime
    topic: str
    payload: bytes
    properties: dict[str, Any]
    device_key: str | None
    reason: str
    detail: str
    state: str
    attempts: int
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """Which messages: what is None admits all. ``text`` is looked for in device, topic and detail; ``since`` is
    inclusive, ``until`` is not."""

    state: str | None = "held"
    reason: str | None = None
    device_key: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """How many messages of a device are held for a reason, and from when until when they came."""

    device_key: str | None
    reason: str
    count: int
    first: datetime
    last: datetime
    newest_id: int


async def insert_quarantined(connection: AsyncConnection, messages: Sequence[Quarantined]) -> None:
    """Keep ``messages``; part of the caller's transaction."""
    async with connection.cursor() as cursor:
        await cursor.executemany(_INSERT, [_row(message) for message in messages])


def _row(message: Quarantined) -> tuple[Any, ...]:
    # PostgreSQL text holds no NUL; topics and details come from outside.
    return (
        message.tenant_id or _DEFAULT_TENANT_ID,
        message.received_at,
        message.topic.replace("\0", "�"),
        message.payload,
        orjson.dumps(message.properties).decode(),
        message.device_key,
        message.reason.value,
        message.detail.replace("\0", "�"),
    )


class QuarantineStore:
    """Reading and resolving quarantined messages of one tenant at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, tenant_id: int, wanted: QuarantineFilter, *, before: int | None = None, limit: int = 100
    ) -> list[QuarantineEntry]:
        """Messages, newest first; ``before`` is the number of the last one of the previous page."""
        parameters = {**asdict(wanted), "tenant_id": tenant_id, "before": before, "limit": limit}
        async with self._database.transaction(tenant_id) as connection:
            return await rows_of(connection, QuarantineEntry, _LIST, parameters)

    async def summary(self, tenant_id: int, limit: int = 500) -> list[HeldGroup]:
        """What is held, by device and reason."""
        async with self._database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_SUMMARY, (tenant_id, limit))).fetchall()
        return [HeldGroup(*row) for row in rows]

    async def get(self, tenant_id: int, quarantine_id: int) -> QuarantineEntry:
        """One message; raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            entry = await row_of(connection, QuarantineEntry, _GET, (tenant_id, quarantine_id))
        if entry is None:
            raise ResourceNotFound(f"Quarantined message {quarantine_id} does not exist")
        return entry

    async def held_ids(
        self, tenant_id: int, wanted: QuarantineFilter, *, after: int = 0, limit: int = 10_000
    ) -> list[int]:
        """The numbers of messages that are held, oldest first, behind ``after``."""
        parameters = {**asdict(wanted), "state": "held", "tenant_id": tenant_id, "after": after, "limit": limit}
        async with self._database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_IDS_HELD, parameters)).fetchall()
        return [row[0] for row in rows]

    async def expire(self, held_before: datetime | None, resolved_before: datetime | None) -> int:
        """Remove, of all tenants, what has been held or resolved since before then (None: kept); how many it were."""
        values = {"held": held_before or _NEVER, "resolved": resolved_before or _NEVER, "limit": _EXPIRED_AT_ONCE}
        removed = 0
        while True:
            async with self._database.transaction(ALL_TENANTS) as connection:
                count = (await connection.execute(_EXPIRE, values)).rowcount
            removed += count
            if count < _EXPIRED_AT_ONCE:
                return removed

    async def claim(self, connection: AsyncConnection, tenant_id: int, ids: Sequence[int]) -> list[QuarantineEntry]:
        """The held messages among ``ids``, locked until the caller's transaction ends."""
        return await rows_of(connection, QuarantineEntry, _CLAIM, {"tenant_id": tenant_id, "ids": list(ids)})

    async def resolve(self, connection: AsyncConnection, quarantine_id: int, state: str) -> None:
        """Mark a message ``replayed`` or ``dropped``."""
        await connection.execute(_RESOLVE, (state, quarantine_id))

    async def keep(self, connection: AsyncConnection, quarantine_id: int, reason: str, detail: str) -> None:
        """Leave a message held after a replay that failed, with what is wrong with it now."""
        await connection.execute(_STILL_HELD, (reason, detail, quarantine_id))

    async def counts(self, connection: AsyncConnection) -> dict[str, int]:
        """How many messages are held, by reason."""
        return dict(await (await connection.execute(_COUNT)).fetchall())

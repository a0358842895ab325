# SPDX-License-Identifier: Apache-2.0
"""What people did with alarms and rules: who, when, what, why. The database itself refuses to change or remove a row.

Written in the transaction of the deed, so that neither is there without the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from context_store.rows import rows_of

_ADD: Final[LiteralString] = """
    insert into audit_entry (tenant_id, recorded_at, actor, name, action, target, reason, details)
    values (%s, %s, %s, %s, %s, %s, %s, %s::jsonb)
"""
_READ: Final[LiteralString] = """
    select audit_entry_id, recorded_at, actor, name, action, target, reason, details from audit_entry
     where tenant_id = %(tenant_id)s and audit_entry_id > %(after)s
       and (%(since)s::timestamptz is null or recorded_at >= %(since)s)
       and (%(until)s::timestamptz is null or recorded_at < %(until)s)
     order by audit_entry_id limit %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: whose credential it is, and who the person says to be."""

    key: str
    name: str | None = None

    @property
    def shown(self) -> str:
        """How others see the person."""
        return self.name or self.key


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One deed."""

    audit_entry_id: int
    recorded_at: datetime
    actor: str
    name: str | None
    action: str
    target: str
    reason: str | None
    details: dict[str, Any]


async def add_entry(
    connection: AsyncConnection,
    tenant_id: int,
    actor: Actor,
    action: str,
    target: str,
    now: datetime,
    *,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Note that ``actor`` did ``action`` to ``target`` (``alarm.shelve``, an alarm id)."""
    text = orjson.dumps(dict(details or {})).decode()
    await connection.execute(_ADD, (tenant_id, now, actor.key, actor.name, action, target, reason, text))


async def read_entries(
    connection: AsyncConnection,
    tenant_id: int,
    *,
    after: int = 0,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 1000,
) -> list[AuditEntry]:
    """Deeds numbered above ``after``, the oldest first."""
    parameters = {"tenant_id": tenant_id, "after": after, "since": since, "until": until, "limit": limit}
    return await rows_of(connection, AuditEntry, _READ, parameters)

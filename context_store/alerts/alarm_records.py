# SPDX-License-Identifier: Apache-2.0
"""Steps of alarms as versions of documents. The caller owns the transaction and its tenant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from context_store.rows import rows_of

# The version counts the steps of these kinds of the same alarm, up to this one (by alarm_step_alarm_index).
_READ: Final[LiteralString] = """
    select s.alarm_step_id, s.document, s.recorded_at,
           (select count(*)::int from alarm_step o
             where o.tenant_id = s.tenant_id and o.alarm_id = s.alarm_id and o.alarm_step_id <= s.alarm_step_id
               and o.kind = any(%(kinds)s)) as version
      from alarm_step s
     where s.tenant_id = %(tenant_id)s and s.alarm_step_id > %(after)s and s.kind = any(%(kinds)s)
       and coalesce(s.document ->> 'capStatus', 'Test') = %(status)s
       and (%(since)s::timestamptz is null or s.recorded_at >= %(since)s)
       and (%(until)s::timestamptz is null or s.recorded_at < %(until)s)
     order by s.alarm_step_id limit %(limit)s
"""


@dataclass(frozen=True, slots=True)
class VersionedStep:
    """A step, and the how many-th of its alarm it is."""

    alarm_step_id: int
    document: dict[str, Any]
    recorded_at: datetime
    version: int


async def read_versions(
    connection: AsyncConnection,
    tenant_id: int,
    kinds: Sequence[str],
    status: str,
    *,
    after: int = 0,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 500,
) -> list[VersionedStep]:
    """Steps of these kinds and of alarms with this status (Actual, Exercise, Test), in order."""
    parameters = {
        "tenant_id": tenant_id,
        "kinds": list(kinds),
        "status": status,
        "after": after,
        "since": since,
        "until": until,
        "limit": limit,
    }
    return await rows_of(connection, VersionedStep, _READ, parameters)

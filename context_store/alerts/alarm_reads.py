# SPDX-License-Identifier: Apache-2.0
"""Reading alarms, their steps and incidents: lists for people, and the stream for those who deliver.

The caller owns the transaction and its tenant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from broker.alerts import Alarm
from context_store.alerts.alarms import alarm_of
from context_store.rows import rows_of

# A silence has a time at which it was too long, and no value of that time: it is not what was measured last.
_ALARMS: Final[LiteralString] = """
    select a.*, p.peak, s.document as step
      from alarm a
      left join lateral (
           select max(peak_value) as peak from alert
            where tenant_id = a.tenant_id and entity_key = a.entity_key and rule_id = a.rule_id
              and raised_at >= a.opened_at and (a.cleared_at is null or raised_at <= a.cleared_at)) p on true
      left join lateral (
           select document from alarm_step
            where tenant_id = a.tenant_id and alarm_id = a.alarm_id and document ? 'observedAt' and kind <> 'silent'
              and not (document -> 'bySilence' = 'true' and kind in ('raised', 'escalated'))
            order by alarm_step_id desc limit 1) s on true
     where a.tenant_id = %(tenant_id)s
"""
_ONE: Final[LiteralString] = " and a.alarm_id = %(alarm_id)s"
_PAGE: Final[LiteralString] = """
       and (not %(open_only)s or a.cleared_at is null)
       and (%(entity_id)s::text is null or a.entity_id = %(entity_id)s)
     order by a.opened_at desc, a.alarm_id desc limit %(limit)s
"""
_OF_INCIDENTS: Final[LiteralString] = """
       and a.incident_id = any(%(incidents)s) order by a.opened_at, a.alarm_id
"""
_STEPS: Final[LiteralString] = """
    select alarm_step_id, tenant_id, alarm_id, kind, document, recorded_at from alarm_step
     where (tenant_id = %(tenant_id)s or %(tenant_id)s = 0) and alarm_step_id > %(after)s
       and (%(alarm_id)s::text is null or alarm_id = %(alarm_id)s)
     order by alarm_step_id limit %(limit)s
"""
_LAST_STEP: Final[LiteralString] = """
    select coalesce(max(alarm_step_id), 0) from alarm_step where tenant_id = %(tenant_id)s
"""
_INCIDENTS: Final[LiteralString] = """
    select incident_id, river, name, opened_at, closed_at from incident
     where tenant_id = %(tenant_id)s and (not %(open_only)s or closed_at is null)
       and (%(incident_id)s::text is null or incident_id = %(incident_id)s)
     order by recorded_at desc limit %(limit)s
"""


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """An alarm with the highest value of its alerts and the last step that a measurement made."""

    alarm: Alarm
    peak: float | None
    about: dict[str, Any]
    step: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class AlarmStep:
    """One step in the stream; ``document`` is ``broker.alerts.steps.step_document``."""

    alarm_step_id: int
    tenant_id: int
    alarm_id: str
    kind: str
    document: dict[str, Any]
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Incident:
    """What happens on one river at one time."""

    incident_id: str
    river: str
    name: dict[str, str]
    opened_at: datetime
    closed_at: datetime | None


async def list_alarms(
    connection: AsyncConnection, tenant_id: int, *, open_only: bool, entity_id: str | None = None, limit: int = 100
) -> list[AlarmRecord]:
    """Alarms, the newest first."""
    parameters = {"tenant_id": tenant_id, "open_only": open_only, "entity_id": entity_id, "limit": limit}
    return await _records(connection, _ALARMS + _PAGE, parameters)


async def get_alarm(connection: AsyncConnection, tenant_id: int, alarm_id: str) -> AlarmRecord | None:
    """One alarm."""
    found = await _records(connection, _ALARMS + _ONE, {"tenant_id": tenant_id, "alarm_id": alarm_id})
    return found[0] if found else None


async def alarms_of_incidents(
    connection: AsyncConnection, tenant_id: int, incidents: list[str]
) -> dict[str, list[AlarmRecord]]:
    """The alarms of each incident, in the order in which they began."""
    found: dict[str, list[AlarmRecord]] = {incident_id: [] for incident_id in incidents}
    for record in await _records(connection, _ALARMS + _OF_INCIDENTS, {"tenant_id": tenant_id, "incidents": incidents}):
        found[record.alarm.incident_id].append(record)
    return found


async def read_steps(
    connection: AsyncConnection, tenant_id: int, after: int, *, alarm_id: str | None = None, limit: int = 500
) -> list[AlarmStep]:
    """Steps numbered above ``after``, in order; never skips one. Tenant 0: all tenants."""
    parameters = {"tenant_id": tenant_id, "after": after, "alarm_id": alarm_id, "limit": limit}
    return await rows_of(connection, AlarmStep, _STEPS, parameters)


async def last_step_id(connection: AsyncConnection, tenant_id: int) -> int:
    """The number of the newest step, 0 when there is none: where to begin to follow what is new."""
    row = await (await connection.execute(_LAST_STEP, {"tenant_id": tenant_id})).fetchone()
    return int(row[0]) if row else 0


async def list_incidents(
    connection: AsyncConnection, tenant_id: int, *, open_only: bool, incident_id: str | None = None, limit: int = 50
) -> list[Incident]:
    """Incidents, the newest first."""
    parameters = {"tenant_id": tenant_id, "open_only": open_only, "incident_id": incident_id, "limit": limit}
    return await rows_of(connection, Incident, _INCIDENTS, parameters)


async def _records(
    connection: AsyncConnection, statement: LiteralString, parameters: Mapping[str, Any]
) -> list[AlarmRecord]:
    rows = await rows_of(connection, dict, statement, parameters)
    return [AlarmRecord(alarm_of(row), row["peak"], row["about"], row["step"]) for row in rows]

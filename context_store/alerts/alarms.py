# SPDX-License-Identifier: Apache-2.0
"""Alarms, their steps and the incidents they belong to, in PostgreSQL.

The caller owns the transaction and its tenant. Who changes an alarm locks its row first (:meth:`AlarmStore.hold`), then
takes the lock of the event stream (:meth:`AlarmStore.lock_stream`): steps become visible in the order of their numbers,
so that a reader may ask for those above the last one it saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.alerts import Alarm
from context_store.alerts.standing import LOCK_EVENTS, NOTIFY, StateKey
from context_store.rows import rows_of, tuples_of

_COLUMNS: Final[LiteralString] = """
    alarm_id, rule_id, entity_key, entity_id, opened_at, stages, highest, escalate_after, escalation_base, status,
    incident_id, is_unknown, is_unstable, cleared_at, acknowledged_at, acknowledged_by, shelved_until, shelved_by,
    shelve_reason, escalation, escalate_at
"""
# Open alarms of rules and stations; they stay as they are until the transaction ends.
_HOLD_OPEN: Final[LiteralString] = (
    "select tenant_id, about, "
    + _COLUMNS
    + """ from alarm
     where cleared_at is null and (tenant_id, rule_id, entity_key) in (
               select * from unnest(%(tenants)s::int[], %(rules)s::text[], %(entities)s::bigint[]))
     order by tenant_id, alarm_id for update
"""
)
_HOLD_ONE: Final[LiteralString] = (
    "select tenant_id, about, " + _COLUMNS + " from alarm where tenant_id = %s and alarm_id = %s for update"
)
# Alarms whose time has come: to be escalated, or off their shelf.
_HOLD_DUE: Final[LiteralString] = (
    "select tenant_id, about, "
    + _COLUMNS
    + """ from alarm
     where (escalate_at <= %(now)s or shelved_until <= %(now)s) and cleared_at is null
     order by tenant_id, alarm_id limit %(limit)s for update skip locked
"""
)
_SAVE: Final[LiteralString] = """
    insert into alarm (tenant_id, alarm_id, rule_id, entity_key, entity_id, incident_id, status, stages, highest,
                       is_unknown, is_unstable, opened_at, cleared_at, acknowledged_at, acknowledged_by, shelved_until,
                       shelved_by, shelve_reason, escalate_after, escalation_base, escalation, escalate_at, about,
                       recorded_at)
    values (%(tenant_id)s, %(alarm_id)s, %(rule_id)s, %(entity_key)s, %(entity_id)s, %(incident_id)s, %(status)s,
            %(stages)s, %(highest)s, %(is_unknown)s, %(is_unstable)s, %(opened_at)s, %(cleared_at)s,
            %(acknowledged_at)s, %(acknowledged_by)s, %(shelved_until)s, %(shelved_by)s, %(shelve_reason)s,
            %(escalate_after)s, %(escalation_base)s, %(escalation)s, %(escalate_at)s, %(about)s::jsonb, %(now)s)
    on conflict (tenant_id, alarm_id) do update
       set incident_id = excluded.incident_id, status = excluded.status, stages = excluded.stages,
           highest = excluded.highest, is_unknown = excluded.is_unknown, is_unstable = excluded.is_unstable,
           opened_at = excluded.opened_at, cleared_at = excluded.cleared_at, acknowledged_at = excluded.acknowledged_at,
           acknowledged_by = excluded.acknowledged_by, shelved_until = excluded.shelved_until,
           shelved_by = excluded.shelved_by, shelve_reason = excluded.shelve_reason,
           escalate_after = excluded.escalate_after, escalation_base = excluded.escalation_base,
           escalation = excluded.escalation, escalate_at = excluded.escalate_at, about = excluded.about
"""
_ADD_STEP: Final[LiteralString] = """
    insert into alarm_step (tenant_id, alarm_id, kind, document, recorded_at)
    values (%s, %s, %s, %s::jsonb, %s) returning alarm_step_id
"""
# Alerts of an alarm that are open, and those that were closed at a moment.
_ALERTS_OF: Final[LiteralString] = """
    select alert_id from alert
     where tenant_id = %s and rule_id = %s and entity_key = %s and raised_at >= %s
       and (cleared_at is null or cleared_at = %s)
     order by alert_id
"""
_LATEST_INCIDENT: Final[LiteralString] = """
    select incident_id, closed_at from incident
     where tenant_id = %s and river = %s and (closed_at is null or closed_at > %s)
     order by recorded_at desc limit 1
"""
_OPEN_INCIDENT: Final[LiteralString] = """
    insert into incident (tenant_id, incident_id, river, name, opened_at, recorded_at)
    values (%s, %s, %s, %s::jsonb, %s, %s)
    on conflict (tenant_id, incident_id) do update set closed_at = null
"""
_REOPEN: Final[LiteralString] = "update incident set closed_at = null where tenant_id = %s and incident_id = %s"
_CLOSE: Final[LiteralString] = """
    update incident set closed_at = %(now)s
     where tenant_id = %(tenant_id)s and incident_id = %(incident_id)s and closed_at is null
       and not exists (select from alarm where tenant_id = %(tenant_id)s and incident_id = %(incident_id)s
                                           and cleared_at is null)
"""


@dataclass(frozen=True, slots=True)
class KeptAlarm:
    """An alarm with its tenant and what it is about (``broker.alerts.steps.about_document``)."""

    tenant_id: int
    alarm: Alarm
    about: dict[str, Any]


class AlarmStore:
    """Alarms to be changed. Holds nothing itself; every method works in ``connection``."""

    def __init__(self, reopen_within: timedelta = timedelta(hours=6)) -> None:
        self._reopen_within = reopen_within

    async def hold(self, connection: AsyncConnection, keys: Sequence[StateKey]) -> dict[StateKey, KeptAlarm]:
        """The open alarms of rules and stations, locked until the transaction ends."""
        parameters = {
            "tenants": [key.tenant_id for key in keys],
            "rules": [key.rule_id for key in keys],
            "entities": [key.entity_key for key in keys],
        }
        kept = await _alarms(connection, _HOLD_OPEN, parameters)
        return {StateKey(one.tenant_id, one.alarm.rule_id, one.alarm.entity_key): one for one in kept}

    async def hold_one(self, connection: AsyncConnection, tenant_id: int, alarm_id: str) -> KeptAlarm | None:
        """One alarm, locked until the transaction ends."""
        return next(iter(await _alarms(connection, _HOLD_ONE, (tenant_id, alarm_id))), None)

    async def hold_due(self, connection: AsyncConnection, now: datetime, limit: int) -> list[KeptAlarm]:
        """Alarms whose time has come, locked until the transaction ends."""
        return await _alarms(connection, _HOLD_DUE, {"now": now, "limit": limit})

    async def lock_stream(self, connection: AsyncConnection) -> None:
        """Wait for others who number events; hold them up until the transaction ends."""
        await connection.execute(LOCK_EVENTS)

    async def save(self, connection: AsyncConnection, kept: KeptAlarm, now: datetime) -> None:
        """Write the alarm as it is; an incident without open alarms ends with it."""
        alarm = kept.alarm
        parameters = {name: getattr(alarm, name) for name in alarm.__slots__} | {
            "tenant_id": kept.tenant_id,
            "stages": list(alarm.stages),
            "escalate_after": list(alarm.escalate_after),
            "about": orjson.dumps(kept.about).decode(),
            "now": now,
        }
        await connection.execute(_SAVE, parameters)
        if alarm.cleared_at is not None:
            await connection.execute(_CLOSE, parameters)

    async def add_step(
        self, connection: AsyncConnection, tenant_id: int, document: Mapping[str, Any], now: datetime
    ) -> int:
        """Append a step to the stream, after :meth:`lock_stream`; returns its number."""
        text = orjson.dumps(dict(document)).decode()
        row = (tenant_id, document["alarmId"], document["kind"], text, now)
        (number,) = (await tuples_of(connection, _ADD_STEP, row))[0]
        await connection.execute(NOTIFY)
        return int(number)

    async def place_in_incident(
        self, connection: AsyncConnection, kept: KeptAlarm, river: str, now: datetime
    ) -> KeptAlarm:
        """``kept`` in the incident of its river: one that is open or ended lately, else a new one.

        After :meth:`lock_stream`, so that two never open the same.
        """
        name = kept.about["river"] or kept.about["stationName"]
        since = now - self._reopen_within
        found = await tuples_of(connection, _LATEST_INCIDENT, (kept.tenant_id, river, since))
        if found:
            incident_id, closed_at = found[0]
            if closed_at is not None:
                await connection.execute(_REOPEN, (kept.tenant_id, incident_id))
        else:
            opened_at = kept.alarm.opened_at
            incident_id = f"{opened_at:%Y%m%dT%H%M%SZ}-{hashlib.sha256(river.encode()).hexdigest()[:8]}"
            row = (kept.tenant_id, incident_id, river, orjson.dumps(name).decode(), opened_at, now)
            await connection.execute(_OPEN_INCIDENT, row)
        return KeptAlarm(kept.tenant_id, replace(kept.alarm, incident_id=incident_id), kept.about)

    async def alerts_of(self, connection: AsyncConnection, kept: KeptAlarm) -> list[str]:
        """Ids of the alerts whose entities speak of the alarm: the open ones and those that ended it."""
        alarm = kept.alarm
        row = (kept.tenant_id, alarm.rule_id, alarm.entity_key, alarm.opened_at, alarm.cleared_at)
        return [alert_id for (alert_id,) in await tuples_of(connection, _ALERTS_OF, row)]


def alarm_of(row: Mapping[str, Any]) -> Alarm:
    """A row of the table."""
    members = {name: row[name] for name in Alarm.__slots__}
    members |= {"stages": tuple(row["stages"]), "escalate_after": tuple(row["escalate_after"])}
    return Alarm(**members)


async def _alarms(
    connection: AsyncConnection, statement: LiteralString, parameters: Mapping[str, Any] | Sequence[Any]
) -> list[KeptAlarm]:
    rows = await rows_of(connection, dict, statement, parameters)
    return [KeptAlarm(row["tenant_id"], alarm_of(row), row["about"]) for row in rows]

# SPDX-License-Identifier: Apache-2.0
"""What people do with alarms: acknowledge, shelve, unshelve. Each deed is a step and a line of the audit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from api.hub import Hub
from api.workers.alarms import AlarmKeeper
from broker.alerts import Alarm, Step
from broker.errors import ResourceNotFound
from context_store.alerts.alarms import KeptAlarm
from context_store.alerts.audit import Actor, add_entry

Deed = Callable[[Alarm, datetime], Step | None]


async def change_alarm(
    hub: Hub, tenant_id: int, alarm_id: str, actor: Actor, deed: Deed, *, details: dict[str, Any] | None = None
) -> Alarm:
    """Do ``deed`` to the alarm; returns it as it is afterwards. None from ``deed``: it is so already.

    Raises :class:`ResourceNotFound` and what ``deed`` raises.
    """
    now = datetime.now(UTC)
    async with hub.database.transaction(tenant_id) as connection:
        kept = await hub.alarms.hold_one(connection, tenant_id, alarm_id)
        if kept is None:
            raise ResourceNotFound(f"Alarm {alarm_id} does not exist")
        step = deed(kept.alarm, now)
        if step is None:
            return kept.alarm
        await hub.alarms.lock_stream(connection)
        changed = KeptAlarm(tenant_id, step.alarm, kept.about)
        await AlarmKeeper(hub.alarms, hub.writer).take(connection, changed, step, now)
        noted = {"stage": step.alarm.stage, "entityId": step.alarm.entity_id, **(details or {})}
        action = f"alarm.{step.kind}"
        await add_entry(connection, tenant_id, actor, action, alarm_id, now, reason=step.reason, details=noted)
        return step.alarm

# SPDX-License-Identifier: Apache-2.0
"""Keeping alarms: what readings, people and time do to them becomes steps, and the alert entities say so.

Everything of one transaction; who comes first locks the alarm's row, so that a step is made once, whatever dies.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from api.metrics import ALARM_STEPS
from broker.alerts import AlertDecision, AlertRule, Place, Step, Subject, alarm_attributes
from broker.alerts.lifecycle import advance, time_passes
from broker.alerts.steps import about_document, step_document
from broker.entities import AttributeChange, Attributes, EntityChange, ExpandedEntity
from context_store.alerts.alarms import AlarmStore, KeptAlarm
from context_store.alerts.standing import StateKey
from context_store.entities.changes import EntityWriter, StoredEntity, lock_entities

log = structlog.get_logger(__name__)

SOURCE = "minamo:alerts"
_DUE_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Turn:
    """What one reading, or silence, decided by one rule for one entity, and the stages raised after it.

    ``since``: when the reading was committed.
    """

    key: StateKey
    entity_id: str
    rule: AlertRule
    decisions: tuple[AlertDecision, ...]
    stages: tuple[str, ...]
    since: datetime


class AlarmKeeper:
    """Writes alarms and their steps into the caller's transaction."""

    def __init__(self, store: AlarmStore, writer: EntityWriter, *, cap_status: str = "Test") -> None:
        self._store = store
        self._writer = writer
        self._cap_status = cap_status

    async def hold(self, connection: AsyncConnection, turns: Sequence[Turn]) -> dict[StateKey, KeptAlarm]:
        """The open alarms that ``turns`` are about; to be called before events are numbered."""
        return await self._store.hold(connection, sorted({turn.key for turn in turns}))

    async def follow(
        self,
        connection: AsyncConnection,
        held: dict[StateKey, KeptAlarm],
        turns: Sequence[Turn],
        places: dict[tuple[int, str], Place],
        now: datetime,
        exercises: Collection[int] = (),
    ) -> None:
        """Make the steps of ``turns``, in their order; ``exercises`` are the tenants of drills."""
        await self._store.lock_stream(connection)
        for turn in turns:
            kept = held.get(turn.key)
            subject = Subject(turn.key.rule_id, turn.key.entity_key, turn.entity_id, turn.rule.escalate_after)
            place = places[turn.key.tenant_id, turn.entity_id]
            for step in advance(kept.alarm if kept else None, subject, turn.decisions, turn.stages, now):
                is_exercise = turn.key.tenant_id in exercises
                about = kept.about if kept else self._about(turn.rule, place, is_exercise)
                following = KeptAlarm(turn.key.tenant_id, step.alarm, about)
                if kept is None:
                    river = place.river_ja or place.entity_id
                    following = await self._store.place_in_incident(connection, following, river, now)
                kept = await self.take(connection, following, step, now)
            if kept is not None and kept.alarm.cleared_at is None:
                held[turn.key] = kept
            else:
                held.pop(turn.key, None)

    def _about(self, rule: AlertRule, place: Place, is_exercise: bool) -> dict[str, Any]:
        return about_document(rule, place, is_exercise=is_exercise, cap_status=self._cap_status)

    async def take(self, connection: AsyncConnection, kept: KeptAlarm, step: Step, now: datetime) -> KeptAlarm:
        """Write the alarm after ``step``, the step, and what the alert entities say; the stream is locked."""
        await self._store.save(connection, kept, now)
        if step.kind != "changed":
            told = Step(step.kind, kept.alarm, step.previous, step.decision, step.by, step.reason)
            document = step_document(told, kept.about, now)
            number = await self._store.add_step(connection, kept.tenant_id, document, now)
            ALARM_STEPS.labels(step.kind).inc()
            log.info("alarm." + step.kind, alarm=kept.alarm.alarm_id, stage=kept.alarm.stage, step=number)
        await self._tell_entities(connection, kept, now)
        return kept

    async def time_passes(self, connection: AsyncConnection, now: datetime) -> int:
        """Escalations and ends of shelves that are due; returns how many."""
        due = await self._store.hold_due(connection, now, _DUE_AT_ONCE)
        steps = [(kept, step) for kept in due if (step := time_passes(kept.alarm, now)) is not None]
        if steps:
            await self._store.lock_stream(connection)
        for kept, step in steps:
            await self.take(connection, KeptAlarm(kept.tenant_id, step.alarm, kept.about), step, now)
        return len(steps)

    async def _tell_entities(self, connection: AsyncConnection, kept: KeptAlarm, now: datetime) -> None:
        ids = await self._store.alerts_of(connection, kept)
        if not ids:
            return
        attributes = alarm_attributes(kept.alarm, now)
        for stored in (await lock_entities(connection, kept.tenant_id, ids)).values():
            change = with_attributes(stored, attributes, now)
            if change.attributes:
                await self._writer.write(connection, kept.tenant_id, stored.key, change, source=SOURCE, now=now)


def with_attributes(stored: StoredEntity, attributes: Attributes, now: datetime) -> EntityChange:
    """The change from the entity as stored to one with ``attributes``; those that stay the same are no change."""
    before, after = stored.entity, dict(stored.entity.attributes)
    changes = []
    for name, group in attributes.items():
        for dataset, instance in group.items():
            old = before.attributes.get(name, {}).get(dataset)
            if old is None or _content(old) != _content(instance):
                changes.append(AttributeChange(name, dataset, old, instance))
                after[name] = {**after.get(name, {}), dataset: instance}
    merged = ExpandedEntity(before.id, before.types, after, before.scopes, before.created_at, now, before.expires_at)
    return EntityChange(before, merged, tuple(changes))


def _content(instance: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in instance.items() if name not in ("createdAt", "modifiedAt")}

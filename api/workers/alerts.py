# SPDX-License-Identifier: Apache-2.0
"""Evaluating alert rules on change events: states, alerts, their entities, the event stream and webhooks, at once.

All effects of a batch are in the transaction that moves the feed on: an alert is decided exactly once, whatever dies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import structlog
from psycopg import AsyncConnection

from adapters.cap import CapProfile, profile_document
from api.metrics import ALERT_DECISIONS, ALERT_LATENCY
from broker.alerts import (
    AlertDecision,
    AlertRule,
    Place,
    RuleState,
    Sample,
    alert_entity,
    alert_id,
    alert_message,
    evaluate,
    new_peaks,
    place_of,
    sample_of,
)
from broker.entities import AttributeChange, EntityChange, ExpandedEntity
from context_store.alert_rules import AlertRuleStore
from context_store.alerts import AlertKey, AlertOutcome, AlertStore, RecordedEvent, StateKey
from context_store.caches import version_of
from context_store.deliveries import NewDelivery, Priority, insert_deliveries
from context_store.entities import EntityWriter, StoredEntity, creation, get_entities, lock_entities
from context_store.events import ChangeEvent

log = structlog.get_logger(__name__)

SOURCE: Final = "minamo:alerts"
_FUTURE_TOLERANCE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision with what it is about; ``since`` is when the reading behind it was committed."""

    key: StateKey
    entity_id: str
    rule: AlertRule
    decision: AlertDecision
    since: datetime


class AlertEvaluator:
    """What the alerts worker does with a batch of change events."""

    def __init__(
        self,
        store: AlertStore,
        rules: AlertRuleStore,
        writer: EntityWriter,
        cap: CapProfile,
        webhooks: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._rule_store = rules
        self._writer = writer
        self._cap = profile_document(cap)
        self._webhooks = tuple(webhooks)
        self._version = -1
        self._rules: dict[tuple[int, str, str], list[AlertRule]] = {}

    async def process(self, connection: AsyncConnection, events: list[ChangeEvent]) -> None:
        """Evaluate the rules on ``events`` and write what follows into the caller's transaction."""
        await self._refresh_rules(connection)
        now = datetime.now(UTC)
        samples = [sample for event in events for sample in self._samples(event, now)]
        if not samples:
            return
        keys = list(dict.fromkeys(key for key, _, _, _ in samples))
        before = await self._store.load_states(connection, keys)
        states = dict(before)
        decided: list[Decided] = []
        for key, event, rule, sample in samples:
            if key not in states:  # the rule was deleted meanwhile
                continue
            states[key], decisions = evaluate(rule, states[key], sample)
            decided += [Decided(key, event.entity_id, rule, decision, event.recorded_at) for decision in decisions]
        if decided:
            await self.publish(connection, decided, now)
        await self._store.update_peaks(connection, _peaks(samples, before, states))
        await self._store.save_states(connection, states)

    async def _refresh_rules(self, connection: AsyncConnection) -> None:
        if await version_of(connection, "alert_rules") == self._version:
            return
        loaded = await self._rule_store.load_rules(connection)
        self._rules = {}
        for tenant_id, rule in loaded.rules:
            self._rules.setdefault((tenant_id, rule.attribute, rule.dataset), []).append(rule)
        self._version = loaded.version

    def _samples(self, event: ChangeEvent, now: datetime) -> list[tuple[StateKey, ChangeEvent, AlertRule, Sample]]:
        found = []
        types = tuple(event.entity_types)
        for change in event.changes:
            after = change.get("after")
            if after is None:
                continue
            for rule in self._rules.get((event.tenant_id, change["attribute"], change["dataset"]), ()):
                if not rule.entities.matches(event.entity_id, types):
                    continue
                sample = sample_of(rule, after, not_after=now + _FUTURE_TOLERANCE)
                if sample is not None:
                    found.append((StateKey(event.tenant_id, rule.id, event.entity_key), event, rule, sample))
        return found

    async def publish(self, connection: AsyncConnection, decided: list[Decided], now: datetime) -> None:
        """Write what ``decided`` means for everybody: records, stream, alert entities and webhooks."""
        places = await _places(connection, decided)
        outcomes = [_outcome(item, places[item.key.tenant_id, item.entity_id], self._cap) for item in decided]
        recorded = await self._store.record(connection, outcomes, now)
        for item, event in zip(decided, recorded, strict=True):
            place = places[item.key.tenant_id, item.entity_id]
            await self._write_entity(connection, item, place, event, now)
        await insert_deliveries(connection, self._deliveries(outcomes, recorded))
        for item in decided:
            ALERT_DECISIONS.labels(item.decision.kind, item.decision.stage).inc()
            ALERT_LATENCY.observe((now - item.since).total_seconds())
            log.info(
                "alert." + item.decision.kind,
                entity=item.entity_id,
                stage=item.decision.stage,
                value=item.decision.value,
                observed_at=item.decision.observed_at.isoformat(),
            )

    async def _write_entity(
        self, connection: AsyncConnection, item: Decided, place: Place, event: RecordedEvent, now: datetime
    ) -> None:
        tenant_id = item.key.tenant_id
        entity = alert_entity(item.decision, item.rule, place, issued_at=event.issued_at, now=now)
        stored = (await lock_entities(connection, tenant_id, [entity.id])).get(entity.id)
        change = creation(entity) if stored is None else _update(stored, entity)
        key = None if stored is None else stored.key
        await self._writer.write(connection, tenant_id, key, change, source=SOURCE, now=now)

    def _deliveries(self, outcomes: list[AlertOutcome], recorded: list[RecordedEvent]) -> list[NewDelivery]:
        return [
            NewDelivery(
                tenant_id=outcome.key.tenant_id,
                kind="alert",
                priority=Priority.ALERT,
                order_key=f"alert:{outcome.key.entity_key}:{url}",
                destination=url,
                sequence=event.alert_event_id,
                body=orjson.dumps({**outcome.message, "sequence": event.alert_event_id}),
                headers={"Content-Type": "application/json", "Minamo-Sequence": str(event.alert_event_id)},
            )
            for outcome, event in zip(outcomes, recorded, strict=True)
            for url in self._webhooks
        ]


async def _places(connection: AsyncConnection, decided: list[Decided]) -> dict[tuple[int, str], Place]:
    """Name and position of each station decided about; of a station deleted meanwhile only the id."""
    wanted: dict[int, set[str]] = {}
    for item in decided:
        wanted.setdefault(item.key.tenant_id, set()).add(item.entity_id)
    places = {}
    for tenant_id, ids in wanted.items():
        found = await get_entities(connection, tenant_id, ids)
        for entity_id in ids:
            stored = found.get(entity_id)
            places[tenant_id, entity_id] = place_of(stored.entity) if stored else Place(entity_id, entity_id, entity_id)
    return places


def _outcome(item: Decided, place: Place, cap: Mapping[str, Any]) -> AlertOutcome:
    decision = item.decision
    return AlertOutcome(
        key=item.key,
        entity_id=place.entity_id,
        decision=decision,
        message={**alert_message(decision, item.rule, place), "cap": cap},
    )


def _update(stored: StoredEntity, entity: ExpandedEntity) -> EntityChange:
    """The change from the alert as stored to ``entity``; attributes that stay the same are no change."""
    before, after = stored.entity, dict(stored.entity.attributes)
    changes = []
    for name, group in entity.attributes.items():
        for dataset, instance in group.items():
            old = before.attributes.get(name, {}).get(dataset)
            if old is None or _content(old) != _content(instance):
                changes.append(AttributeChange(name, dataset, old, instance))
                after[name] = {**after.get(name, {}), dataset: instance}
    merged = ExpandedEntity(
        before.id, before.types, after, before.scopes, before.created_at, entity.modified_at, before.expires_at
    )
    return EntityChange(before, merged, tuple(changes))


def _content(instance: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in instance.items() if name not in ("createdAt", "modifiedAt")}


def _peaks(
    samples: list[tuple[StateKey, ChangeEvent, AlertRule, Sample]],
    before: dict[StateKey, RuleState],
    after: dict[StateKey, RuleState],
) -> dict[AlertKey, float]:
    peaks = {}
    for key, event, rule, _ in samples:
        if key in after:
            for stage, (raised_at, peak) in new_peaks(before[key], after[key]).items():
                peaks[AlertKey(key.tenant_id, alert_id(event.entity_id, rule.id, stage, raised_at))] = peak
    return peaks

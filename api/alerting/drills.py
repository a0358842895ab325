# SPDX-License-Identifier: Apache-2.0
"""Drills: a flood of the record, or values that somebody sends, through the live chain; only the chosen are told.

A drill has a tenant of its own with copies of the stations and rules. Row-level security keeps it apart: subscriptions,
webhooks and feeds of the real tenant cannot see it. Everything in it is marked 訓練 / Exercise.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from psycopg import AsyncConnection

from api.alerting.notices import notice_document
from api.hub import Hub
from api.workers.alarms import with_attributes
from broker.alerts import AlertRule, Sample
from broker.alerts.drills import compressed
from broker.contacts import Contact, Group, Plan
from broker.entities import AttributeKind, ExpandedEntity
from broker.errors import BadRequestData, Conflict, ResourceNotFound
from broker.times import to_text, to_text_or_none
from context_store.alerts.alarm_reads import read_steps
from context_store.alerts.audit import Actor, add_entry
from context_store.alerts.drills import Drill, add_drill, delivered, end_drill, get_drill, hold_running, move
from context_store.alerts.replay_readings import entities_of_type, recorded_samples
from context_store.contacts.browsers import copy_browsers
from context_store.contacts.documents import Kind, delete_all, load_roster, put_document
from context_store.contacts.notices import list_notices
from context_store.database import ALL_TENANTS
from context_store.entities.changes import StoredEntity, creation, get_entities, lock_entities
from context_store.history.terms import NO_TERM
from schemas.terms import NO_DATASET

SOURCE: Final = "minamo:drill"
MOST_STATIONS: Final = 500
FASTEST: Final = 600.0
LONGEST: Final = timedelta(days=31)
_MOST_NOTICES: Final = 5000  # in a report
_AT_ONCE: Final = 500  # readings in one transaction


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """What is to be exercised. Without ``start`` there is no record: people send values.

    ``recipients`` are webhooks, ``contacts`` people who are told as the plans say; nobody else is.
    """

    title: str
    start: datetime | None = None
    end: datetime | None = None
    speed: float = 1.0
    entity_ids: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()


async def start_drill(hub: Hub, tenant_id: int, plan: DrillPlan, actor: Actor) -> Drill:
    """Copy stations and rules into a tenant for the drill, and begin. Raises :class:`BadRequestData`."""
    now = datetime.now(UTC)
    drill_id = f"{now:%Y%m%dt%H%M%Sz}-{secrets.token_hex(2)}"
    drill_tenant_id = await hub.tenants.find_or_create(f"drill-{drill_id}")
    async with hub.database.transaction(ALL_TENANTS) as connection:
        rules = [rule for rule in await hub.alert_rules.list_rules(connection, tenant_id) if rule.enabled]
        ids = plan.entity_ids or await _watched(connection, tenant_id, rules)
        stations = await get_entities(connection, tenant_id, set(ids))
        if not stations:
            raise BadRequestData("entityIds: there is no station to exercise with / 訓練に使う観測局がありません")
        copied = await _copy_rules(hub, connection, drill_tenant_id, rules, stations, plan.speed, now)
        series = _series(copied)
        for stored in stations.values():
            change = creation(_without(stored.entity, {one["attribute"] for one in series}, now))
            await hub.writer.write(connection, drill_tenant_id, None, change, source=SOURCE, now=now)
        await _invite(connection, tenant_id, drill_tenant_id, plan.contacts, now)
        await add_drill(
            connection,
            {
                "tenant_id": tenant_id,
                "drill_id": drill_id,
                "drill_tenant_id": drill_tenant_id,
                "title": plan.title,
                "started_by": actor.shown,
                "started_at": now,
                "record_from": plan.start,
                "record_to": plan.end,
                "speed": plan.speed,
                "series": series,
                "recipients": list(plan.recipients),
                "contacts": list(plan.contacts),
            },
        )
        details = {"title": plan.title, "recipients": list(plan.recipients), "contacts": list(plan.contacts)}
        await add_entry(connection, tenant_id, actor, "drill.start", drill_id, now, details=details)
        return await _known(connection, tenant_id, drill_id)


async def stop_drill(hub: Hub, tenant_id: int, drill_id: str, actor: Actor) -> Drill:
    """End it; nothing goes out of it any more. Raises :class:`ResourceNotFound`."""
    now = datetime.now(UTC)
    async with hub.database.transaction(ALL_TENANTS) as connection:
        drill = await _known(connection, tenant_id, drill_id)
        if await end_drill(connection, tenant_id, drill_id, now):
            await delete_all(connection, drill.drill_tenant_id)
            await add_entry(connection, tenant_id, actor, "drill.end", drill_id, now)
        return await _known(connection, tenant_id, drill_id)


async def inject(hub: Hub, tenant_id: int, drill_id: str, entity_id: str, attribute: str, value: float) -> None:
    """Send a value into a drill, as if a sensor had measured it now.

    Raises :class:`ResourceNotFound`, :class:`Conflict` when the drill is over.
    """
    now = datetime.now(UTC)
    async with hub.database.transaction(ALL_TENANTS) as connection:
        drill = await _known(connection, tenant_id, drill_id, to_change=True)
        if drill.ended_at is not None:
            raise Conflict(f"Drill {drill_id} is over / 訓練は終了しています")
        sample = Sample(now, value)
        if not await _send(hub, connection, drill, entity_id, (attribute, NO_DATASET), sample, now):
            raise ResourceNotFound(f"Entity {entity_id} takes no part in drill {drill_id}")


async def advance_drills(hub: Hub, now: datetime) -> int:
    """Send what is due by now in all drills that run; returns how many values that was.

    Each drill moves in a transaction with its values: a process that dies sends none twice and leaves none out.
    """
    sent, number = 0, 0
    while True:
        async with hub.database.transaction(ALL_TENANTS) as connection:
            drill = await hold_running(connection, number)
            if drill is None:
                return sent
            sent += await _advance(hub, connection, drill, now)
            number += 1


async def _advance(hub: Hub, connection: AsyncConnection, drill: Drill, now: datetime) -> int:
    position, until = drill.position, drill.recorded_at(now)
    if position is None or until <= position:
        return 0
    due: list[tuple[datetime, str, tuple[str, str], Sample]] = []
    for one in drill.series:
        attribute, dataset = one["attribute"], one["datasetId"]
        terms = {NO_DATASET: NO_TERM} | await hub.terms.lookup([attribute, dataset])
        if attribute in terms and dataset in terms:
            numbers, span = (terms[attribute], terms[dataset]), (position, until)
            read = await recorded_samples(connection, drill.tenant_id, one["entityId"], numbers, span, _AT_ONCE)
            if len(read) == _AT_ONCE:  # the rest of all series in the next turn
                until = min(until, read[-1].observed_at)
            due += [(sample.observed_at, one["entityId"], (attribute, dataset), sample) for sample in read]
    due = sorted((item for item in due if item[0] < until), key=lambda item: item[:3])
    for observed_at, entity_id, name, sample in due:
        played = replace(sample, observed_at=drill.played_at(observed_at))
        await _send(hub, connection, drill, entity_id, name, played, now)
    await move(connection, drill, until)
    return len(due)


async def _send(
    hub: Hub,
    connection: AsyncConnection,
    drill: Drill,
    entity_id: str,
    name: tuple[str, str],
    sample: Sample,
    now: datetime,
) -> bool:
    """Write one value into the drill's tenant, as ingest would; tells whether the entity is there."""
    stored = (await lock_entities(connection, drill.drill_tenant_id, [entity_id])).get(entity_id)
    if stored is None:
        return False
    instance = {
        "type": AttributeKind.PROPERTY.value,
        "value": sample.value,
        "observedAt": to_text(sample.observed_at),
        "createdAt": to_text(now),
        "modifiedAt": to_text(now),
    }
    if sample.unit is not None:
        instance["unitCode"] = sample.unit
    change = with_attributes(stored, {name[0]: {name[1]: instance}}, now)
    if change.attributes:
        await hub.writer.write(connection, drill.drill_tenant_id, stored.key, change, source=SOURCE, now=now)
    return True


async def drill_report(hub: Hub, tenant_id: int, drill_id: str) -> dict[str, Any]:
    """What happened: every step with its time, how soon somebody answered, what went to whom."""
    async with hub.database.transaction(ALL_TENANTS) as connection:
        drill = await _known(connection, tenant_id, drill_id)
        steps = await read_steps(connection, drill.drill_tenant_id, 0, limit=10_000)
        sent = await delivered(connection, drill.drill_tenant_id)
        notices = await list_notices(connection, drill.drill_tenant_id, limit=_MOST_NOTICES)
    told = ("at", "kind", "stage", "previousStage", "alarmId", "stationName", "observedAt", "value", "by", "reason")
    shown = [{name: step.document.get(name) for name in told} for step in steps]
    return (
        drill_document(drill)
        | {"steps": shown, "answers": _answers(steps), "deliveries": sent}
        | {"notices": [notice_document(notice) for notice in reversed(notices)]}
    )


def drill_document(drill: Drill) -> dict[str, Any]:
    """A drill as JSON; ``tenant`` is the one to look at for its alarms."""
    return {
        "drillId": drill.drill_id,
        "tenant": drill.drill_tenant,
        "title": drill.title,
        "startedBy": drill.started_by,
        "startedAt": to_text(drill.started_at),
        "endedAt": to_text_or_none(drill.ended_at),
        "from": to_text_or_none(drill.record_from),
        "to": to_text_or_none(drill.record_to),
        "position": to_text_or_none(drill.position),
        "speed": drill.speed,
        "recipients": drill.recipients,
        "contacts": drill.contacts,
        "stations": [{"entityId": one["entityId"], "attribute": one["attribute"]} for one in drill.series],
    }


def _answers(steps: Sequence[Any]) -> list[dict[str, Any]]:
    """How long it took from a raise or an escalation until somebody acknowledged."""
    asked: dict[str, Any] = {}
    found = []
    for step in steps:
        if step.kind in ("raised", "escalated"):
            asked[step.alarm_id] = step
        elif step.kind == "acknowledged" and step.alarm_id in asked:
            since = asked.pop(step.alarm_id)
            seconds = (step.recorded_at - since.recorded_at).total_seconds()
            answer = {"alarmId": step.alarm_id, "stage": since.document["stage"], "by": step.document["by"]}
            found.append(answer | {"seconds": round(seconds, 3)})
    unanswered = [{"alarmId": i, "stage": s.document["stage"], "by": None, "seconds": None} for i, s in asked.items()]
    return found + unanswered


async def _invite(
    connection: AsyncConnection, tenant_id: int, drill_tenant_id: int, contacts: Sequence[str], now: datetime
) -> None:
    """The chosen, with the groups and plans that they are in, into the drill's tenant."""
    if not contacts:
        return
    roster = await load_roster(connection, tenant_id)
    if missing := [name for name in contacts if name not in roster.contacts]:
        raise BadRequestData(f"contacts: {', '.join(missing)}: not known / 登録されていません")
    chosen = roster.only(contacts)
    documents: list[tuple[Kind, Contact | Group | Plan]] = [("contact", one) for one in chosen.contacts.values()]
    documents += [("group", one) for one in chosen.groups.values()]
    documents += [("plan", one) for one in chosen.plans.values()]
    for kind, document in documents:
        await put_document(connection, drill_tenant_id, kind, document, now)
    await copy_browsers(connection, tenant_id, drill_tenant_id, contacts)


async def _watched(connection: AsyncConnection, tenant_id: int, rules: Sequence[AlertRule]) -> tuple[str, ...]:
    """All stations that some rule watches."""
    found: dict[str, None] = {}
    for rule in rules:
        found |= dict.fromkeys(rule.entities.ids)
        if rule.entities.type is not None:
            listed = await entities_of_type(connection, tenant_id, rule.entities.type, MOST_STATIONS + 1)
            types = (rule.entities.type,)
            found |= dict.fromkeys(i for i, scopes in listed if rule.entities.matches(i, types, scopes))
    if len(found) > MOST_STATIONS:
        raise BadRequestData(f"entityIds: more than {MOST_STATIONS} stations; name some of them")
    return tuple(found)


async def _copy_rules(
    hub: Hub,
    connection: AsyncConnection,
    drill_tenant_id: int,
    rules: Sequence[AlertRule],
    stations: Mapping[str, StoredEntity],
    speed: float,
    now: datetime,
) -> list[AlertRule]:
    """The rules that watch ``stations``, into the drill's tenant."""
    copied = []
    for rule in rules:
        ids = tuple(
            entity_id
            for entity_id, stored in sorted(stations.items())
            if rule.entities.matches(entity_id, tuple(stored.entity.types), tuple(stored.entity.scopes))
        )
        if ids:
            copy = compressed(rule, speed, ids)
            await hub.alert_rules.put_rule(connection, drill_tenant_id, copy, now)
            copied.append(copy)
    return copied


def _series(rules: Sequence[AlertRule]) -> list[dict[str, str]]:
    """Everything that the rules look at."""
    found = {
        (series.entity or entity_id, series.attribute, series.dataset)
        for rule in rules
        for entity_id in rule.entities.ids
        for series in rule.for_entity(entity_id).series()
    }
    return [{"entityId": i, "attribute": a, "datasetId": d} for i, a, d in sorted(found)]


def _without(entity: ExpandedEntity, attributes: set[str], now: datetime) -> ExpandedEntity:
    """The station as it is, without what the drill will say of it."""
    kept = {name: group for name, group in entity.attributes.items() if name not in attributes}
    return ExpandedEntity(entity.id, entity.types, kept, entity.scopes, now, now)


async def _known(connection: AsyncConnection, tenant_id: int, drill_id: str, *, to_change: bool = False) -> Drill:
    drill = await get_drill(connection, tenant_id, drill_id, to_change=to_change)
    if drill is None:
        raise ResourceNotFound(f"Drill {drill_id} does not exist")
    return drill

# SPDX-License-Identifier: Apache-2.0
"""Changing alert rules: alerts that nobody watches any more are withdrawn, never left open; every change is noted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import AsyncConnection

from api.hub import Hub
from api.routers.alerts_cap import cap_profile
from api.workers.alarms import Turn
from api.workers.alerts import AlertEvaluator
from api.workers.clock import SteadyClock
from broker.alerts import AlertRule, check_replacement, parse_rule, rule_document, warnings_of, withdraw
from broker.contexts.jsonld import TermMap
from broker.errors import BadRequestData, ResourceNotFound
from broker.subscriptions import Sending
from context_store.alerts.alarm_timers import look_again
from context_store.alerts.audit import Actor, add_entry
from context_store.alerts.standing import AlertRecord, StateKey
from schemas.contexts import MINAMO_CONTEXT

MOST_IMPORTED: Final = 10_000
_DEPTH: Final = 20
_NAMED: Final = frozenset({"level", "rise", "reaches", "sum"})


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a rule that was put: whether it is new, and what is probably not meant."""

    rule: AlertRule
    created: bool
    warnings: list[str]


def make_evaluator(hub: Hub, clock: SteadyClock | None = None) -> AlertEvaluator:
    """What decides and publishes alerts, as the settings want it; ``clock`` says when it decides."""
    return AlertEvaluator(
        hub.alerts,
        hub.alert_rules,
        hub.writer,
        cap_profile(hub),
        webhooks_of(hub),
        _signing(hub),
        alarms=hub.alarms,
        clock=clock,
        write_after_s=hub.settings.alert_states_write_s,
        most_states=hub.settings.alert_states_in_memory,
    )


def _signing(hub: Hub) -> Sending | None:
    secret = hub.settings.alert_webhook_secret
    return None if secret is None else hub.sealer.seal_sending(Sending(secret=secret.get_secret_value()))


def webhooks_of(hub: Hub) -> list[str]:
    """The addresses that get every alert."""
    return [str(url) for url in hub.settings.alert_webhooks]


async def with_expanded_names(hub: Hub, tenant_id: int, document: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` with the names of attributes and entity type as IRIs, by its ``@context`` or the hub's own."""
    expanded = dict(document)
    tenant = await hub.tenants.name(tenant_id)
    terms = await hub.contexts.resolve(expanded.pop("@context", MINAMO_CONTEXT), tenant)
    if isinstance(expanded.get("attribute"), str):
        expanded["attribute"] = terms.expand_term(expanded["attribute"])
    entities = expanded.get("entities")
    if isinstance(entities, dict) and isinstance(entities.get("type"), str):
        expanded["entities"] = {**entities, "type": terms.expand_term(entities["type"])}
    overrides = expanded.get("overrides")
    if isinstance(overrides, dict):
        expanded["overrides"] = {i: _with_levels(members, terms) for i, members in overrides.items()}
    named: dict[str, Any] = _with_levels(expanded, terms)
    return named


def _with_levels(members: Any, terms: TermMap) -> Any:
    if not isinstance(members, dict) or not isinstance(members.get("levels"), list):
        return members
    return {**members, "levels": [_with_condition(level, terms) for level in members["levels"]]}


def _with_condition(level: Any, terms: TermMap) -> Any:
    if not isinstance(level, dict) or "when" not in level:
        return level
    return {**level, "when": _condition(level["when"], terms, _DEPTH)}


def _condition(node: Any, terms: TermMap, depth: int) -> Any:
    """``node`` with expanded names of attributes; what is no condition is left for :func:`parse_rule` to refuse."""
    if isinstance(node, list) and depth:
        return [_condition(item, terms, depth - 1) for item in node]
    if not isinstance(node, dict) or not depth:
        return node
    found = {}
    for name, inside in node.items():
        if name in _NAMED and isinstance(inside, dict) and isinstance(inside.get("attribute"), str):
            found[name] = {**inside, "attribute": terms.expand_term(inside["attribute"])}
        elif name == "count":
            found[name] = inside
        else:
            found[name] = _condition(inside, terms, depth - 1)
    return found


async def read_rule(hub: Hub, tenant_id: int, document: Mapping[str, Any], *, strict: bool = True) -> AlertRule:
    """The rule that a user's document describes. Raises :class:`BadRequestData`."""
    return parse_rule(await with_expanded_names(hub, tenant_id, document), strict=strict)


async def put_rule_document(hub: Hub, tenant_id: int, document: dict[str, Any], actor: Actor) -> tuple[AlertRule, bool]:
    """Create or replace a rule; returns it and whether it is new. Raises :class:`BadRequestData`."""
    rule = await read_rule(hub, tenant_id, document)
    async with hub.database.transaction(tenant_id) as connection:
        return rule, await _put(hub, connection, tenant_id, rule, actor)


async def import_rules(
    hub: Hub, tenant_id: int, documents: list[Any], actor: Actor, *, replace: bool = False, dry_run: bool = False
) -> tuple[list[Put], list[str]]:
    """Put all of ``documents`` or none; with ``replace`` rules that are not among them are removed.

    Returns what became of each, and the ids removed. Thresholds need not ascend; that is a warning. Raises
    :class:`BadRequestData` that names the place (``rules[3].levels[0].threshold: ...``).
    """
    if len(documents) > MOST_IMPORTED:
        raise BadRequestData(f"rules: more than {MOST_IMPORTED}")
    rules = [await _read_at(hub, tenant_id, index, document) for index, document in enumerate(documents)]
    ids = [rule.id for rule in rules]
    for index, rule_id in enumerate(ids):
        if rule_id in ids[:index]:
            raise BadRequestData(f"rules[{index}].id: {rule_id} is there twice")
    async with hub.database.transaction(tenant_id) as connection:
        known = {rule.id: rule for rule in await hub.alert_rules.list_rules(connection, tenant_id)}
        removed = sorted(known.keys() - set(ids)) if replace else []
        for rule in rules:
            if rule.id in known:
                check_replacement(known[rule.id], rule)
        if not dry_run:
            for rule in sorted(rules, key=lambda rule: rule.id):
                await _put(hub, connection, tenant_id, rule, actor)
            for rule_id in removed:
                await _remove(hub, connection, tenant_id, rule_id, actor)
    return [Put(rule, rule.id not in known, warnings_of(rule)) for rule in rules], removed


async def remove_rule(hub: Hub, tenant_id: int, rule_id: str, actor: Actor) -> None:
    """Delete a rule and withdraw its open alerts. Raises :class:`ResourceNotFound`."""
    async with hub.database.transaction(tenant_id) as connection:
        await _remove(hub, connection, tenant_id, rule_id, actor)


async def _read_at(hub: Hub, tenant_id: int, index: int, document: Any) -> AlertRule:
    if not isinstance(document, dict):
        raise BadRequestData(f"rules[{index}]: an object is expected")
    try:
        return await read_rule(hub, tenant_id, document, strict=False)
    except BadRequestData as exc:
        raise BadRequestData(f"rules[{index}].{exc.detail}") from exc


async def _put(hub: Hub, connection: AsyncConnection, tenant_id: int, rule: AlertRule, actor: Actor) -> bool:
    now = datetime.now(UTC)
    await _withdraw_where(
        hub, connection, tenant_id, rule.id, lambda alert: not _still_watches(rule.for_entity(alert.entity_id), alert)
    )
    before = await _document_of(hub, connection, tenant_id, rule.id)
    created = await hub.alert_rules.put_rule(connection, tenant_id, rule, now)
    await look_again(connection, tenant_id, rule.id, now)
    details = {"before": before, "after": rule_document(rule)}
    if details["before"] != details["after"]:
        await add_entry(connection, tenant_id, actor, "rule.put", rule.id, now, details=details)
    return created


async def _remove(hub: Hub, connection: AsyncConnection, tenant_id: int, rule_id: str, actor: Actor) -> None:
    await _withdraw_where(hub, connection, tenant_id, rule_id, lambda _: True)
    before = await _document_of(hub, connection, tenant_id, rule_id)
    await hub.alert_rules.delete_rule(connection, tenant_id, rule_id)
    now = datetime.now(UTC)
    await add_entry(connection, tenant_id, actor, "rule.delete", rule_id, now, details={"before": before})


async def _document_of(hub: Hub, connection: AsyncConnection, tenant_id: int, rule_id: str) -> dict[str, Any] | None:
    try:
        return rule_document(await hub.alert_rules.get_rule(connection, tenant_id, rule_id))
    except ResourceNotFound:
        return None


def _still_watches(rule: AlertRule, alert: AlertRecord) -> bool:
    """By id; for a rule over a type its entities stay watched, since the type is still the selector."""
    return rule.enabled and (rule.entities.type is not None or alert.entity_id in rule.entities.ids)


async def _withdraw_where(
    hub: Hub, connection: AsyncConnection, tenant_id: int, rule_id: str, gone: Callable[[AlertRecord], bool]
) -> None:
    try:
        # Locked first, as the evaluating worker does, so that the two cannot wait for each other.
        rule = await hub.alert_rules.get_rule(connection, tenant_id, rule_id, to_change=True)
    except ResourceNotFound:
        return
    now = datetime.now(UTC)
    alerts = await hub.alerts.list_alerts(connection, tenant_id, open_only=True, rule_id=rule_id, limit=10_000)
    entities = {StateKey(tenant_id, rule_id, alert.entity_key): alert.entity_id for alert in alerts if gone(alert)}
    if not entities:
        return
    evaluator = make_evaluator(hub)
    states = await evaluator.standing(connection, entities)
    turns = []
    for key, state in states.items():
        states[key], decisions = withdraw(state, now)
        if decisions:
            turns.append(Turn(key, entities[key], rule, tuple(decisions), (), now))
    if turns:
        await evaluator.publish(connection, turns, now)
    await hub.alerts.save_states(connection, states)

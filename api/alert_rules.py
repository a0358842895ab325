# SPDX-License-Identifier: Apache-2.0
"""Changing alert rules: alerts that nobody watches any more are withdrawn, never left open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection

from api.hub import Hub
from api.routers.alerts_cap import cap_profile
from api.workers.alerts import AlertEvaluator, Decided
from broker.alerts import AlertRule, parse_rule, withdraw
from broker.errors import ResourceNotFound
from context_store.alerts import AlertRecord, StateKey
from schemas.contexts import MINAMO_CONTEXT


async def with_expanded_names(hub: Hub, tenant_id: int, document: dict[str, Any]) -> dict[str, Any]:
    """``document`` with the names of attribute and entity type as IRIs, by its ``@context`` or the hub's own."""
    expanded = dict(document)
    tenant = await hub.tenants.name(tenant_id)
    terms = await hub.contexts.resolve(expanded.pop("@context", MINAMO_CONTEXT), tenant)
    if isinstance(expanded.get("attribute"), str):
        expanded["attribute"] = terms.expand_term(expanded["attribute"])
    entities = expanded.get("entities")
    if isinstance(entities, dict) and isinstance(entities.get("type"), str):
        expanded["entities"] = {**entities, "type": terms.expand_term(entities["type"])}
    return expanded


async def put_rule_document(hub: Hub, tenant_id: int, document: dict[str, Any]) -> tuple[AlertRule, bool]:
    """Create or replace a rule; returns it and whether it is new. Raises :class:`BadRequestData`."""
    rule = parse_rule(await with_expanded_names(hub, tenant_id, document))
    now = datetime.now(UTC)
    async with hub.database.transaction(tenant_id) as connection:
        await _withdraw_where(
            hub, connection, tenant_id, rule.id, lambda alert: not rule.enabled or not _still_watches(rule, alert)
        )
        return rule, await hub.alert_rules.put_rule(connection, tenant_id, rule, now)


async def remove_rule(hub: Hub, tenant_id: int, rule_id: str) -> None:
    """Delete a rule and withdraw its open alerts. Raises :class:`ResourceNotFound`."""
    async with hub.database.transaction(tenant_id) as connection:
        await _withdraw_where(hub, connection, tenant_id, rule_id, lambda _: True)
        await hub.alert_rules.delete_rule(connection, tenant_id, rule_id)


def _still_watches(rule: AlertRule, alert: AlertRecord) -> bool:
    """By id; for a rule over a type its entities stay watched, since the type is still the selector."""
    return rule.entities.type is not None or alert.entity_id in rule.entities.ids


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
    states = await hub.alerts.load_states(connection, list(entities))
    decided = []
    for key, state in states.items():
        states[key], decisions = withdraw(state, now)
        decided += [Decided(key, entities[key], rule, decision, now) for decision in decisions]
    if decided:
        evaluator = AlertEvaluator(hub.alerts, hub.alert_rules, hub.writer, cap_profile(hub), webhooks_of(hub))
        await evaluator.publish(connection, decided, now)
    await hub.alerts.save_states(connection, states)


def webhooks_of(hub: Hub) -> list[str]:
    """The addresses that get every alert."""
    return [str(url) for url in hub.settings.alert_webhooks]

# SPDX-License-Identifier: Apache-2.0
"""Which silent stations wait because their gateway is silent, and which one stands for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from psycopg import AsyncConnection

from broker.alerts import AlertRule, RuleState
from broker.alerts.gateways import Gateway, is_silent, may_wait
from context_store.alerts.gateways import gateways_of, was_told
from context_store.alerts.standing import StateKey


async def behind_gateways(
    connection: AsyncConnection,
    rules: Mapping[StateKey, AlertRule],
    states: Mapping[StateKey, RuleState],
    ids: Mapping[StateKey, str | None],
    now: datetime,
) -> tuple[set[StateKey], dict[StateKey, Gateway]]:
    """Of states that are due: those that wait, and those that stand for all stations of a gateway."""
    candidates = [key for key, state in states.items() if ids[key] and may_wait(rules[key], state, now)]
    waiting: set[StateKey] = set()
    standing: dict[StateKey, Gateway] = {}
    for tenant_id in {key.tenant_id for key in candidates}:
        own = [key for key in candidates if key.tenant_id == tenant_id]
        known = await gateways_of(connection, tenant_id, {ids[key] or "" for key in own}, now)
        told: dict[tuple[str, str], bool] = {}
        for key in own:
            gateway = known.get(ids[key] or "")
            if gateway is None or not is_silent(rules[key], states[key], gateway):
                continue
            place = (key.rule_id, gateway.name)
            if place not in told:
                told[place] = await was_told(connection, tenant_id, key.rule_id, gateway)
            if told[place]:
                waiting.add(key)
            else:
                standing[key], told[place] = gateway, True
    return waiting, standing

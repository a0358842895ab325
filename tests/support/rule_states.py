# SPDX-License-Identifier: Apache-2.0
"""Where rules stand, read from the table as the worker does that has nothing in memory."""

from __future__ import annotations

from collections.abc import Collection

from psycopg import AsyncConnection

from broker.alerts import RuleState
from context_store.alerts.counting import hold_rules
from context_store.alerts.standing import AlertStore, StateKey


async def load_states(
    store: AlertStore, connection: AsyncConnection, keys: Collection[StateKey]
) -> dict[StateKey, RuleState]:
    """A new state where there is none, nothing of rules that are gone; the rules are held."""
    held = await hold_rules(connection, {key[:2] for key in keys})
    found = await store.read_states(connection, keys)
    return {key: found[key][0] if key in found else RuleState() for key in keys if key[:2] in held}

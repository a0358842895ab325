# SPDX-License-Identifier: Apache-2.0
"""Timers of silence: which rules have to be judged for which stations, because nothing was heard.

They are times in the table of states, so that no restart loses them. The caller owns the transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection

from context_store.alerts.standing import StateKey
from context_store.rows import tuples_of

_DUE: Final[LiteralString] = """
    select s.tenant_id, s.rule_id, s.entity_key, e.id
      from alert_state s left join entity e on e.tenant_id = s.tenant_id and e.entity_key = s.entity_key
     where s.due_at <= %(now)s
     order by s.due_at limit %(limit)s
"""
# A rule has changed: judge all it stands for anew, soon.
_LOOK_AGAIN: Final[LiteralString] = "update alert_state set due_at = %s where tenant_id = %s and rule_id = %s"
# The entity is gone, and with it whoever could be silent.
_FORGET: Final[LiteralString] = """
    update alert_state set due_at = null where tenant_id = %s and rule_id = %s and entity_key = %s
"""
_KEYS_OF: Final[LiteralString] = "select id, entity_key from entity where tenant_id = %s and id = any(%s)"
_SCOPES_OF: Final[LiteralString] = "select entity_key, scopes from entity where entity_key = any(%s)"


async def due_states(connection: AsyncConnection, now: datetime, limit: int) -> dict[StateKey, str | None]:
    """Where silence has to be judged by ``now``, with the id of the entity (None: it was deleted)."""
    rows = await tuples_of(connection, _DUE, {"now": now, "limit": limit})
    return {StateKey(tenant_id, rule_id, key): found for tenant_id, rule_id, key, found in rows}


async def look_again(connection: AsyncConnection, tenant_id: int, rule_id: str, now: datetime) -> None:
    """Judge all states of a rule soon: what is due may have changed with it."""
    await connection.execute(_LOOK_AGAIN, (now, tenant_id, rule_id))


async def forget(connection: AsyncConnection, key: StateKey) -> None:
    """Never judge this state again."""
    await connection.execute(_FORGET, (key.tenant_id, key.rule_id, key.entity_key))


async def entity_keys(connection: AsyncConnection, tenant_id: int, ids: list[str]) -> dict[str, int]:
    """The keys of entities by their ids."""
    return dict(await tuples_of(connection, _KEYS_OF, (tenant_id, ids)))


async def entity_scopes(connection: AsyncConnection, keys: list[int]) -> dict[int, tuple[str, ...]]:
    """The scopes of entities by their keys."""
    return {key: tuple(scopes) for key, scopes in await tuples_of(connection, _SCOPES_OF, (keys,))}

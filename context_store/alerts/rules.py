# SPDX-License-Identifier: Apache-2.0
"""Alert rules as documents, and the word to every process that they have changed.

The caller owns the transaction and its tenant (``minamo.tenant``; all tenants for the evaluating worker).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.alerts import AlertRule, check_replacement, parse_rule, rule_document
from broker.errors import ResourceNotFound
from context_store.rows import tuples_of

# Every rule this transaction may see; the version is read first, so that it is never newer than the rules.
_RULES_VERSION: Final[LiteralString] = "select version from cache_version where name = 'alert_rules'"
_LOAD_RULES: Final[LiteralString] = "select tenant_id, document from alert_rule order by tenant_id, rule_id"

# The rules of one tenant.
_LIST_RULES: Final[LiteralString] = "select document from alert_rule where tenant_id = %s order by rule_id"

# One rule; the second form keeps others from changing it until the transaction ends.
_GET_RULE: Final[LiteralString] = "select document from alert_rule where tenant_id = %s and rule_id = %s"
_GET_RULE_TO_CHANGE: Final[LiteralString] = _GET_RULE + " for update"

# Create or replace a rule.
_PUT_RULE: Final[LiteralString] = """
    insert into alert_rule (tenant_id, rule_id, document, created_at, modified_at)
    values (%(tenant_id)s, %(rule_id)s, %(document)s::jsonb, %(now)s, %(now)s)
    on conflict (tenant_id, rule_id) do update
       set document = excluded.document, modified_at = excluded.modified_at
"""

# Remove a rule; where it stood goes with it, the alerts it raised stay.
_DELETE_RULE: Final[LiteralString] = "delete from alert_rule where tenant_id = %s and rule_id = %s"

# Tell every process that its copy of the rules is old: by number, and by a notification that wakes it.
_RULES_CHANGED: Final[LiteralString] = """
    with bumped as (update cache_version set version = version + 1 where name = 'alert_rules' returning name)
    select pg_notify('minamo_cache', name) from bumped
"""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules with their tenants, as of ``version`` of the cache ``alert_rules`` (or newer)."""

    version: int
    rules: list[tuple[int, AlertRule]]


class AlertRuleStore:
    """Alert rules in PostgreSQL. Holds nothing itself; every method works in ``connection``."""

    async def load_rules(self, connection: AsyncConnection) -> RuleSet:
        """Every rule of the tenants this transaction may see."""
        versions = await tuples_of(connection, _RULES_VERSION, ())
        rows = await tuples_of(connection, _LOAD_RULES, ())
        return RuleSet(
            versions[0][0], [(tenant_id, parse_rule(document, strict=False)) for tenant_id, document in rows]
        )

    async def list_rules(self, connection: AsyncConnection, tenant_id: int) -> list[AlertRule]:
        """The rules of one tenant, by id."""
        return [
            parse_rule(document, strict=False) for (document,) in await tuples_of(connection, _LIST_RULES, (tenant_id,))
        ]

    async def get_rule(
        self, connection: AsyncConnection, tenant_id: int, rule_id: str, *, to_change: bool = False
    ) -> AlertRule:
        """One rule; raises :class:`ResourceNotFound`.

        ``to_change`` locks it until the transaction ends. Who withdraws alerts and then deletes or replaces the rule
        begins with that: taken after the states, the lock could meet the evaluating worker in a deadlock.
        """
        rows = await tuples_of(connection, _GET_RULE_TO_CHANGE if to_change else _GET_RULE, (tenant_id, rule_id))
        if not rows:
            raise _no_rule(rule_id)
        return parse_rule(rows[0][0], strict=False)

    async def put_rule(self, connection: AsyncConnection, tenant_id: int, rule: AlertRule, now: datetime) -> bool:
        """Create or replace a rule; tells whether it is new.

        Raises :class:`~broker.errors.BadRequestData` when it would turn a rule into one about another series.
        What is raised stays raised until the next sample is evaluated with the new levels; the caller withdraws
        (:func:`broker.alerts.withdraw`) what a disabled or narrower rule no longer watches.
        """
        rows = await tuples_of(connection, _GET_RULE_TO_CHANGE, (tenant_id, rule.id))
        if rows:
            check_replacement(parse_rule(rows[0][0], strict=False), rule)
        document = orjson.dumps(rule_document(rule)).decode()
        parameters = {"tenant_id": tenant_id, "rule_id": rule.id, "document": document, "now": now}
        await connection.execute(_PUT_RULE, parameters)
        await connection.execute(_RULES_CHANGED)
        return not rows

    async def delete_rule(self, connection: AsyncConnection, tenant_id: int, rule_id: str) -> None:
        """Remove a rule and where it stands; raises :class:`ResourceNotFound`.

        Open alerts stay open: withdraw them first (:func:`broker.alerts.withdraw`), in the same transaction.
        """
        deleted = await connection.execute(_DELETE_RULE, (tenant_id, rule_id))
        if deleted.rowcount == 0:
            raise _no_rule(rule_id)
        await connection.execute(_RULES_CHANGED)


def _no_rule(rule_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"Alert rule {rule_id} does not exist")

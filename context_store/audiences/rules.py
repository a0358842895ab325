# SPDX-License-Identifier: Apache-2.0
"""Rules for audiences as rows, and what they keep from a subscriber."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final, LiteralString

from psycopg import AsyncConnection

from broker.audiences import Audience, AudienceRule
from context_store.database import ALL_TENANTS, SCHEMA, SEEN_SCHEMA, SET_TENANT

_LIST: Final[LiteralString] = """
    select audience, entity_type, entity_id, attribute,
           (select count(*) from entity e
             where e.tenant_id = r.tenant_id and (r.entity_type = '' or e.types @> array[r.entity_type])
               and (r.entity_id = '' or e.id = r.entity_id) and (r.attribute = '' or e.document ? r.attribute))
      from audience_rule r where tenant_id = %s order by entity_type, entity_id, attribute
"""
_DELETE: Final[LiteralString] = "delete from audience_rule where tenant_id = %s"
_PUT: Final[LiteralString] = """
    insert into audience_rule (tenant_id, entity_type, entity_id, attribute, audience) values (%s, %s, %s, %s, %s)
    on conflict (tenant_id, entity_type, entity_id, attribute)
    do update set audience = excluded.audience, modified_at = now()
"""
_LOCK: Final[LiteralString] = "select from tenant where tenant_id = %s for no key update"  # one change at a time
_LOOK: Final[LiteralString] = """
    select set_config('search_path', %s, true), set_config('minamo.tenant', %s, true),
           set_config('minamo.audience', %s, true), set_config('minamo.caller', '', true)
"""
_HIDDEN: Final[LiteralString] = """
    select entity_key, minamo_seen.hidden_attributes(tenant_id, types, id) from entity_identity
     where tenant_id = %s and entity_key = any(%s)
"""


async def list_audience_rules(connection: AsyncConnection, tenant_id: int) -> list[tuple[AudienceRule, int]]:
    """The rules of a tenant, each with how many entities it is about now."""
    rows = await (await connection.execute(_LIST, (tenant_id,))).fetchall()
    return [(AudienceRule(Audience(audience), *texts), count) for audience, *texts, count in rows]


async def replace_audience_rules(
    connection: AsyncConnection, tenant_id: int, rules: Collection[AudienceRule]
) -> list[AudienceRule]:
    """Put these rules in the place of all that there are, which are returned. Rules that say public say nothing."""
    await connection.execute(_LOCK, (tenant_id,))
    before = [rule for rule, _ in await list_audience_rules(connection, tenant_id)]
    await connection.execute(_DELETE, (tenant_id,))
    for rule in rules:
        if rule.audience is not Audience.PUBLIC:
            row = (tenant_id, rule.entity_type, rule.entity_id, rule.attribute, int(rule.audience))
            await connection.execute(_PUT, row)
    return before


@asynccontextmanager
async def seeing_as(connection: AsyncConnection, tenant_id: int, audience: Audience) -> AsyncIterator[None]:
    """Within a transaction over all tenants: read as this audience of one tenant does. Staff reads as before."""
    if audience is Audience.STAFF:
        yield
        return
    await connection.execute(_LOOK, (f"{SEEN_SCHEMA},public", str(tenant_id), str(int(audience))))
    yield  # after an error the transaction is over, and its settings with it
    await connection.execute("select set_config('search_path', %s, true)", (f"{SCHEMA},public",))
    await connection.execute(SET_TENANT, (str(ALL_TENANTS),))


async def hidden_of(
    connection: AsyncConnection, entities: Collection[tuple[int, int]], audience: Audience
) -> dict[int, frozenset[str]]:
    """By entity (tenant and number), the attributes that the audience must not see; those it sees nothing of are not
    in the answer."""
    found: dict[int, frozenset[str]] = {}
    for tenant_id in {tenant_id for tenant_id, _ in entities}:
        keys = [key for owner, key in entities if owner == tenant_id]
        async with seeing_as(connection, tenant_id, audience):
            rows = await (await connection.execute(_HIDDEN, (tenant_id, keys))).fetchall()
        found.update((key, frozenset(names)) for key, names in rows)
    return found

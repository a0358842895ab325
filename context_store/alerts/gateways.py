# SPDX-License-Identifier: Apache-2.0
"""What stations are heard through, and when anything was last heard through it. Asked only when a station is silent."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection

from broker.alerts.gateways import Gateway
from broker.devices.state import LAST_SEEN, STATE_ATTRIBUTES
from context_store.rows import tuples_of

# Of stations their gateway or group, if all their devices have the same; and of each of these how many stations it has
# and the newest sign of any device.
_GATEWAYS: Final[LiteralString] = """
    with heard as materialized (
        select d.entity_id,
               coalesce(d.profile #>> '{silence,group}', s.document #>> array[%(gateway)s, '@none', 'value']) as name,
               greatest((s.document #>> array[%(last_seen)s, '@none', 'value', '@value'])::timestamptz,
                        (select max((e.document -> (m.value ->> 'attribute')
                                     -> coalesce(m.value ->> 'datasetId', '@none') ->> 'observedAt')::timestamptz)
                           from jsonb_array_elements(d.attributes) m)) as last_sign
          from device d
          left join entity e on e.tenant_id = d.tenant_id and e.id = d.entity_id
          left join entity s on s.tenant_id = d.tenant_id and s.id = 'urn:ngsi-ld:Device:' || d.key
         where d.tenant_id = %(tenant_id)s and (d.service_until is null or d.service_until > %(now)s)),
    asked as (
        select entity_id, min(name) as name from heard where entity_id = any(%(ids)s)
         group by entity_id having count(*) = count(name) and min(name) = max(name)),
    known as (
        select name, count(distinct entity_id) as stations, max(last_sign) as last_sign, array_agg(entity_id) as members
          from heard where name in (select name from asked) group by name)
    select a.entity_id, k.name, k.stations, k.last_sign, k.members from asked a join known k using (name)
"""
# Stations that were told to be silent for these rules since a time.
_TOLD: Final[LiteralString] = """
    select exists (select from alarm where tenant_id = %s and rule_id = %s and entity_id = any(%s)
                      and cleared_at is null and 'no_data' = any(stages) and opened_at > %s)
"""


async def gateways_of(
    connection: AsyncConnection, tenant_id: int, ids: Collection[str], now: datetime
) -> dict[str, Gateway]:
    """By id of a station, what it is heard through; those of which that is not known are not in the answer."""
    values = {
        "tenant_id": tenant_id,
        "ids": list(ids),
        "now": now,
        "gateway": STATE_ATTRIBUTES["gateway"][0],
        "last_seen": LAST_SEEN,
    }
    rows = await tuples_of(connection, _GATEWAYS, values)
    return {
        entity_id: Gateway(name, stations, sign, tuple(members)) for entity_id, name, stations, sign, members in rows
    }


async def was_told(connection: AsyncConnection, tenant_id: int, rule_id: str, gateway: Gateway) -> bool:
    """Whether the rule has told that the gateway is silent, by the alarm of one of its stations."""
    values = (tenant_id, rule_id, list(gateway.members), gateway.last_sign)
    row = await (await connection.execute(_TOLD, values)).fetchone()
    return bool(row and row[0])

# SPDX-License-Identifier: Apache-2.0
"""What the live page shows: every registered sensor with its newest value, thresholds and raised stages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from context_store.database import Database
from context_store.history.terms import TermIds
from context_store.rows import rows_of

# Each device in service with the present document of its entity and the stages that are raised there.
_STATIONS: Final[LiteralString] = """
    select d.device_id, d.name, d.entity_id, d.entity_types as types, d.attributes as mappings,
           d.profile,
           st_x(d.location) as longitude, st_y(d.location) as latitude, e.document,
           coalesce((select jsonb_object_agg(a.rule_id || '/' || a.stage, a.threshold)
                       from alert a where a.tenant_id = d.tenant_id and a.entity_key = e.entity_key
                        and a.cleared_at is null), '{}') as raised
      from device d
      left join entity e on e.tenant_id = d.tenant_id and e.id = d.entity_id
     where d.tenant_id = %(tenant_id)s and (d.service_from is null or d.service_from <= now())
       and (d.service_until is null or d.service_until > now())
     order by d.name, d.device_id
"""

# One attribute of one entity over time, as it is believed: of values of several devices for one moment the one learned
# last.
_SERIES: Final[LiteralString] = """
    select extract(epoch from s.observed_at)::float8, s.number_value
      from (select distinct on (i.observed_at) i.observed_at, i.number_value
              from attribute_instance i
              join entity e on e.entity_key = i.entity_key
             where e.tenant_id = %(tenant_id)s and e.id = %(entity_id)s and i.tenant_id = %(tenant_id)s
               and i.attribute_id = %(attribute_id)s and i.dataset_id = 0
               and i.observed_at >= %(start)s and i.observed_at < %(end)s and i.number_value is not null
               and i.superseded_at is null
             order by i.observed_at desc, i.recorded_at desc, i.instance_key desc
             limit %(limit)s) as s
     order by s.observed_at
"""


@dataclass(frozen=True, slots=True)
class StationRow:
    """A device and what is known of its entity; ``raised`` is ``{"<rule>/<stage>": threshold}``."""

    device_id: str
    name: str
    entity_id: str
    types: list[str]
    mappings: list[dict[str, Any]]
    profile: dict[str, Any]
    longitude: float | None
    latitude: float | None
    document: dict[str, Any] | None
    raised: dict[str, float]


class StationStore:
    """Reads for people; one tenant at a time."""

    def __init__(self, database: Database, terms: TermIds) -> None:
        self._database = database
        self._terms = terms

    async def stations(self, tenant_id: int) -> list[StationRow]:
        """The devices of a tenant that are in service, by name."""
        async with self._database.transaction(tenant_id) as connection:
            return await rows_of(connection, StationRow, _STATIONS, {"tenant_id": tenant_id})

    async def series(
        self, tenant_id: int, entity_id: str, attribute: str, start: datetime, end: datetime, limit: int
    ) -> list[tuple[float, float]]:
        """(epoch seconds, value) of numbers measured from ``start`` until before ``end``; the newest ``limit``."""
        found = await self._terms.lookup([attribute])
        if attribute not in found:
            return []
        parameters = {
            "tenant_id": tenant_id,
            "entity_id": entity_id,
            "attribute_id": found[attribute],
            "start": start,
            "end": end,
            "limit": limit,
        }
        async with self._database.transaction(tenant_id) as connection:
            return await (await connection.execute(_SERIES, parameters)).fetchall()

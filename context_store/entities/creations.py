# SPDX-License-Identifier: Apache-2.0
"""New entities, many at once: a thousand devices that report for the first time cost a few statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import orjson
from psycopg import AsyncConnection

from broker.entities import ExpandedEntity
from broker.expiry import earliest_expiry
from broker.query import indexed_geometry
from context_store.entities.changes import add_instances, creation, term_names
from context_store.events import insert_events
from context_store.history.partitions import Partitions
from context_store.history.terms import TermIds
from context_store.history.writing import InstanceRows

# New entities in the order of their ids, as all writers create them; those that exist by now are left out.
_INSERT: Final[LiteralString] = """
    insert into entity (tenant_id, id, types, document, location, scopes, created_at, modified_at, expires_at,
                        attributes_expire_at)
    select %(tenant_id)s, r.id, r.types, r.document, st_setsrid(st_force2d(st_geomfromgeojson(r.location)), 4326),
           r.scopes, r.created_at, r.modified_at, r.expires_at, r.attributes_expire_at
      from json_to_recordset(%(rows)s::json) as r (
           id text, types text[], document jsonb, location text, scopes text[], created_at timestamptz,
           modified_at timestamptz, expires_at timestamptz, attributes_expire_at timestamptz)
     order by r.id
        on conflict (tenant_id, id) do nothing
    returning id, entity_key
"""


class NewEntity(NamedTuple):
    """An entity to be created, and who writes it (a device's key, or empty for the API)."""

    entity: ExpandedEntity
    source: str


async def insert_new(connection: AsyncConnection, tenant_id: int, entities: Sequence[ExpandedEntity]) -> dict[str, int]:
    """Insert the rows of ``entities``; the keys of those that did not exist, by their ids."""
    rows = orjson.dumps([entity_record(entity) for entity in entities]).decode()
    cursor = await connection.execute(_INSERT, {"tenant_id": tenant_id, "rows": rows})
    return dict(await cursor.fetchall())


async def create_entities(
    connection: AsyncConnection, terms: TermIds, history: Partitions, tenant_id: int, new: Sequence[NewEntity],
    now: datetime,
) -> None:  # fmt: skip
    """Create those of ``new`` that do not exist, each once, with their history and events. Readers are woken."""
    keys = await insert_new(connection, tenant_id, [one.entity for one in new])
    made = [(keys[one.entity.id], creation(one.entity), one.source) for one in new if one.entity.id in keys]
    if not made:
        return
    sources = await terms.resolve({source for _, _, source in made})
    ids = await terms.resolve({name for _, change, _ in made for name in term_names(change.attributes)})
    rows, times = InstanceRows(), {now}
    for key, change, source in made:
        times |= add_instances(rows, (tenant_id, key), change.attributes, ids, sources[source], now)
    await history.ensure(times)
    await rows.insert(connection, now)
    changes = [(key, change) for key, change, _ in made]
    await insert_events(connection, tenant_id, changes, [sources[source] for _, _, source in made])


def entity_record(entity: ExpandedEntity, key: int | None = None) -> Mapping[str, Any]:
    """The columns of an entity's row, by their names; places as GeoJSON."""
    return {
        "entity_key": key,
        "id": entity.id,
        "types": entity.types,
        "document": entity.attributes,
        "location": indexed_geometry(entity),
        "scopes": entity.scopes,
        "created_at": entity.created_at,
        "modified_at": entity.modified_at,
        "expires_at": entity.expires_at,
        "attributes_expire_at": earliest_expiry(entity.attributes),
    }

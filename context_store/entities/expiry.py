# SPDX-License-Identifier: Apache-2.0
"""Collecting what has expired (clause 4.22): entities and attribute instances, with their events.

Reads and writes never take what has expired for being there; this is what makes it go, and tells the subscribers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection

from broker.expiry import earliest_expiry, expire_attributes, is_expired
from broker.operations import delete_entity
from context_store.database import ALL_TENANTS, Database
from context_store.entities.changes import API_SOURCE, EntityWriter, StoredEntity, from_row, utc_now

# What is due, and not being changed by somebody else: that is looked at again at the next turn.
_DUE: Final[LiteralString] = """
    select tenant_id, entity_key, id, types, document, scopes, created_at, modified_at, expires_at
      from entity where expires_at <= %(now)s or attributes_expire_at <= %(now)s
     order by entity_key limit %(limit)s for no key update skip locked
"""

_POSTPONE: Final[LiteralString] = "update entity set attributes_expire_at = %s where entity_key = %s"


class ExpiryStore:
    """What has expired, of all tenants. Any number of processes may collect at once."""

    def __init__(self, database: Database, writer: EntityWriter, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock

    async def collect(self, limit: int) -> int:
        """Collect at most ``limit`` entities, or the expired attributes of them; returns how many there were."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            now = self._clock()
            rows = await (await connection.execute(_DUE, {"now": now, "limit": limit})).fetchall()
            for tenant_id, *row in rows:
                await self._collect_one(connection, tenant_id, from_row(tuple(row)), now)
        return len(rows)

    async def _collect_one(
        self, connection: AsyncConnection, tenant_id: int, stored: StoredEntity, now: datetime
    ) -> None:
        entity = stored.entity
        change = delete_entity(entity) if is_expired(entity, now) else expire_attributes(entity, now)
        if change.after is change.before:
            await connection.execute(_POSTPONE, (earliest_expiry(entity.attributes), stored.key))
            return
        await self._writer.write(connection, tenant_id, stored.key, change, source=API_SOURCE, now=now)

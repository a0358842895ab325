# SPDX-License-Identifier: Apache-2.0
"""Doing the same to all entities that match a query, page by page (Purge Entities, clause 5.6.21).

Each page of ids is one transaction: a purge of a million entities holds no lock for long, and what is done is done
when the hub dies in the middle. An entity that was changed between being found and being locked is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from broker.entities import EntityChange, ExpandedEntity
from broker.operations import existing
from broker.query import EntityQuery, matches
from context_store.compiled import to_psycopg
from context_store.database import Database
from context_store.entities.batch import BatchItem, EntityBatch, Operation
from context_store.queries.statements import After, select_entities

_PAGE: Final = 500  # entities in one transaction


class Purge:
    """Purges the entities of all tenants."""

    def __init__(self, database: Database, batch: EntityBatch) -> None:
        self._database = database
        self._batch = batch

    async def run(
        self, tenant_id: int, query: EntityQuery, change: Callable[[ExpandedEntity, datetime], EntityChange]
    ) -> None:
        """Do ``change`` to every entity that matches ``query``, which follows no links."""
        after: After | None = None
        while ids := await self._page(tenant_id, query, after):
            operations = (BatchItem(entity_id, _guarded(entity_id, query, change)) for entity_id in ids)
            await self._batch.run(tenant_id, list(operations))
            after = After(ids[-1])

    async def _page(self, tenant_id: int, query: EntityQuery, after: After | None) -> list[str]:
        page = select_entities(query, tenant_id=tenant_id, limit=_PAGE, after=after, columns=("id",))
        async with self._database.transaction(tenant_id) as connection:
            return [row[0] for row in await (await connection.execute(*to_psycopg(page))).fetchall()]


def _guarded(
    entity_id: str, query: EntityQuery, change: Callable[[ExpandedEntity, datetime], EntityChange]
) -> Operation:
    def operation(stored: ExpandedEntity | None, now: datetime) -> EntityChange:
        entity = existing(stored, entity_id)
        return change(entity, now) if matches(entity, query) else EntityChange(entity, entity)

    return operation

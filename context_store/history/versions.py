# SPDX-License-Identifier: Apache-2.0
"""Versions of the history of entities: equal as long as nothing of it has changed.

A version is made of the numbers of the transactions that wrote the rows of all lives of an entity in the current state
and in ``entity_identity``. Every reading writes the first; what is written into history alone (late readings,
corrections, imports, the temporal API) leaves a mark in the second, by triggers and by :func:`mark`. It costs the hot
path nothing, because no counter is kept. Only what a retention removes does not change it, and what expires.

Who asks for the version first and for history afterwards has history that is at least as new: should the version
be the same later on, nothing was committed in between.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, LiteralString

from psycopg import AsyncConnection

from context_store.database import Database
from context_store.entities.gathering import Gathering

_MOST: Final = 128  # in one statement
_LANES: Final = 2

_VERSIONS: Final[LiteralString] = """
    select i.id,
           string_agg(concat_ws(' ', i.entity_key, i.xmin, coalesce(e.xmin::text, '-')), ', ' order by i.entity_key)
      from entity_identity i left join entity e on e.entity_key = i.entity_key
     where i.tenant_id = %s and i.id = any(%s) group by i.id
"""
_MARK: Final[LiteralString] = "update entity_identity set modified_at = modified_at where entity_key = any(%s)"


class HistoryVersions:
    """The versions of all tenants' histories. Those that are asked for together are read in one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: Gathering[str, str | None] = Gathering(self._read, most=_MOST, lanes=_LANES)

    async def of(self, tenant_id: int, entity_id: str) -> str | None:
        """The version of one entity's history; None when nobody knows of such an entity."""
        return await self._asked.ask(tenant_id, entity_id)

    async def _read(self, tenant_id: int, ids: Sequence[str]) -> Sequence[str | None]:
        found = dict(await self._database.read(tenant_id, _VERSIONS, (tenant_id, list(ids))))
        return [found.get(entity_id) for entity_id in ids]


async def mark(connection: AsyncConnection, keys: Collection[int]) -> None:
    """The histories of these entities (numbers) are changed by this transaction, whose writer marks them itself."""
    if keys:
        await connection.execute(_MARK, (sorted(keys),))

# SPDX-License-Identifier: Apache-2.0
"""Numbers for long names (attribute IRIs, dataset ids, sources) that every history row repeats."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from context_store.database import ALL_TENANTS, Database
from schemas.terms import NO_DATASET

NO_TERM: Final = 0

# Terms already there.
_SELECT: Final = "select name, term_id from term where name = any(%s)"
# New terms; another process may have added some of them in the meantime.
_INSERT: Final = "insert into term (name) select unnest(%s::text[]) on conflict (name) do nothing"
# Names of numbers, for reading history.
_NAMES: Final = "select term_id, name from term where term_id = any(%s)"


class TermIds:
    """Two-way cache of the table ``term``.

    Terms are never changed or removed, so the cache is never stale. New ones are committed in a transaction of their
    own: the caller's transaction may roll back without taking a number away that others already use.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: dict[str, int] = {"": NO_TERM, NO_DATASET: NO_TERM}
        self._names: dict[int, str] = {}

    async def resolve(self, names: Collection[str]) -> dict[str, int]:
        """The numbers of ``names``; unknown ones get a number. The answer is the cache itself: do not change it."""
        missing = [name for name in names if name not in self._ids]
        if missing:
            async with self._database.transaction(ALL_TENANTS, aside=True) as connection:
                await connection.execute(_INSERT, (sorted(set(missing)),))
                cursor = await connection.execute(_SELECT, (missing,))
                self._ids.update(await cursor.fetchall())
        return self._ids

    async def names(self, ids: Collection[int]) -> dict[int, str]:
        """The names of ``ids`` (the empty name for 0). The answer is the cache itself: do not change it."""
        missing = [term_id for term_id in ids if term_id not in self._names]
        if missing:
            async with self._database.transaction(ALL_TENANTS, aside=True) as connection:
                cursor = await connection.execute(_NAMES, (missing,))
                self._names.update(await cursor.fetchall())
        return self._names

    async def lookup(self, names: Collection[str]) -> dict[str, int]:
        """The numbers of those ``names`` that have one; nothing is added."""
        missing = [name for name in names if name not in self._ids]
        if missing:
            async with self._database.transaction(ALL_TENANTS, aside=True) as connection:
                cursor = await connection.execute(_SELECT, (missing,))
                self._ids.update(await cursor.fetchall())
        return {name: self._ids[name] for name in names if name in self._ids}

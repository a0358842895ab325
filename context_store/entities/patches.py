# SPDX-License-Identifier: Apache-2.0
"""Changes of attributes of entities that are there, the bulk of what a hub is asked for: all in one statement.

A statement costs as much as writing several rows, for this process as for PostgreSQL. So state, history, events and the
call for the readers of the events go together, in the transaction of the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection

from context_store.arrays import PackedArray, bigints, cursor_for_arrays, documents, integers, timestamps
from context_store.events import INSERT_UPDATES, NOTIFY
from context_store.exchange import Bound, Statement
from context_store.history.writing import INSERT_NEW, INSERT_NEW_NUMBERS, InstanceRows

# Attributes that changed, and nothing that is indexed: these updates stay HOT.
_PATCH: Final[LiteralString] = """
    update entity e
       set document = e.document || r.patch::jsonb, modified_at = r.modified_at,
           look_until = greatest(e.look_until, r.hidden)
      from unnest(%(patched)b::bigint[], %(patches)b::text[], %(moments)b::timestamptz[], %(hidden)b::timestamptz[])
           as r (entity_key, patch, modified_at, hidden)
     where e.entity_key = r.entity_key
"""
# Events have identity and types of the rows that are changed.
_TELL: Final[LiteralString] = INSERT_UPDATES.replace("join entity e", "join patched e")


def _writing(keep: LiteralString) -> Statement:
    """State, history (inserted by ``keep``), events and the call for their readers."""
    patch: LiteralString = _PATCH + " returning e.tenant_id, e.entity_key, e.id, e.types"
    return Statement(f"with patched as ({patch}), kept as ({keep}), told as ({_TELL}) {NOTIFY}")


_WRITE: Final = _writing(INSERT_NEW)
_WRITE_NUMBERS: Final = _writing(INSERT_NEW_NUMBERS)


@dataclass(slots=True)
class Patches:
    """The attributes (JSON) to be merged into entities, each entity once, when each was changed, and until when history
    has more than they tell of (``entity.look_until``)."""

    keys: list[int] = field(default_factory=list)
    patches: list[bytes] = field(default_factory=list)
    moments: list[datetime | None] = field(default_factory=list)
    hidden: list[datetime | None] = field(default_factory=list)

    def add(self, key: int, patch: bytes, moment: datetime | None, hidden: datetime | None) -> None:
        """Add what changes of the entity ``key``."""
        self.keys.append(key)
        self.patches.append(patch)
        self.moments.append(moment)
        self.hidden.append(hidden)

    async def write(self, connection: AsyncConnection) -> None:
        """Write the state alone."""
        if self.keys:
            await cursor_for_arrays(connection).execute(_PATCH, self._columns())

    def written_with(
        self, history: InstanceRows, events: Sequence[tuple[int, bytes]], source_id: int, now: datetime
    ) -> Bound:
        """The statement that writes the state with its ``history``, all of which has to be new, and the ``events`` (key
        and changes)."""
        keys, changes = zip(*events, strict=True)
        told = {"keys": bigints(keys), "changes": documents(changes), "sources": integers([source_id] * len(keys))}
        statement = _WRITE_NUMBERS if history.are_numbers else _WRITE
        return statement.of({**self._columns(), **history.columns(), **told, "now": now})

    def _columns(self) -> dict[str, PackedArray]:
        return {
            "patched": bigints(self.keys),
            "patches": documents(self.patches),
            "moments": timestamps(self.moments),
            "hidden": timestamps(self.hidden),
        }

# SPDX-License-Identifier: Apache-2.0
"""Writing history by the temporal API (clauses 5.6.11 to 5.6.16): one transaction an operation.

These operations change what is known of the past and nothing of the present: the current state stays as it is and
nobody is notified. Whoever changes the evolution of an entity holds a lock on its id, and on its current state.

What is deleted or replaced is believed no longer, and stays for the question what was believed before; only the
deletion of the whole evolution erases.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from broker.errors import ResourceNotFound
from broker.history.temporal import SCOPE
from broker.history.temporal_input import GivenInstance, TemporalFragment
from broker.times import to_text
from context_store.database import Database
from context_store.entities.changes import API_SOURCE, instance_time, utc_now
from context_store.entities.store import store_refusals
from context_store.history.corrections import LOOK_UNTIL, insert_believed
from context_store.history.identities import Identity, find_identities
from context_store.history.partitions import Partitions
from context_store.history.rollups import forget_rollups
from context_store.history.terms import TermIds
from context_store.history.versions import mark
from context_store.history.writing import InstanceRows, RowKey
from schemas.terms import NO_DATASET

_HOLD: Final[LiteralString] = "select pg_advisory_xact_lock(hashtextextended(%s, %s))"
_HOLD_CURRENT: Final[LiteralString] = "select from entity where tenant_id = %s and id = %s for no key update"

# A life that only history knows; its number comes from where those of entities come from.
_BEGIN: Final[LiteralString] = """
    insert into entity_identity (entity_key, tenant_id, id, types, created_at, modified_at)
    values (nextval(pg_get_serial_sequence('entity', 'entity_key')), %(tenant_id)s, %(id)s, %(types)s, %(now)s, %(now)s)
    returning entity_key
"""
# Types are added to those that are there.
_TOUCH: Final[LiteralString] = """
    update entity_identity
       set modified_at = %(now)s, scopes = coalesce(%(scopes)s::text[], scopes),
           types = types || array(select t from unnest(%(types)s::text[]) with ordinality as given (t, position)
                                   where t <> all (types) order by position)
     where entity_key = %(key)s
"""
_ADD_SCOPES: Final[LiteralString] = """
    insert into scope_instance (entity_key, tenant_id, scopes, removed, recorded_at, observed_at)
    values (%s, %s, %s, %s, %s, %s)
"""
_DELETE_ALL: Final[LiteralString] = "delete from attribute_instance where tenant_id = %s and entity_key = any(%s)"
_DELETE_SCOPES: Final[LiteralString] = "delete from scope_instance where entity_key = any(%s)"
_END_SCOPES: Final[LiteralString] = """
    update scope_instance set superseded_at = greatest(recorded_at, %(now)s)
     where entity_key = any(%(keys)s) and (instance_key = %(instance)s::bigint or %(instance)s::bigint is null)
       and superseded_at is null
"""
_CORRECT_SCOPES: Final[LiteralString] = """
    update scope_instance set superseded_at = greatest(recorded_at, %(now)s)
     where entity_key = %(key)s and observed_at = %(observed_at)s and superseded_at is null
"""
# Lives that are not in the current state end with their history.
_DELETE_LIVES: Final[LiteralString] = """
    delete from entity_identity i
     where i.entity_key = any(%s) and not exists (select from entity e where e.entity_key = i.entity_key)
"""
_END_ATTRIBUTE: Final[LiteralString] = """
    update attribute_instance set superseded_at = greatest(recorded_at, %(now)s)
     where tenant_id = %(tenant_id)s and entity_key = any(%(keys)s) and attribute_id = %(attribute)s
       and (dataset_id = %(dataset)s::int or %(dataset)s::int is null) and superseded_at is null
"""
_END_INSTANCE: Final[LiteralString] = """
    update attribute_instance set superseded_at = greatest(recorded_at, %(now)s)
     where tenant_id = %(tenant_id)s and entity_key = any(%(keys)s) and attribute_id = %(attribute)s
       and instance_key = %(instance)s and superseded_at is null
    returning entity_key, source_id, coalesce((detail ->> 'createdAt')::timestamptz, recorded_at)
"""
# The row that took the place of another one: it has its number, and was created when that was.
_SUCCEED: Final[LiteralString] = """
    update attribute_instance
       set instance_key = %s, detail = coalesce(detail, '{}') || jsonb_build_object('createdAt', %s::text)
     where entity_key = %s and tenant_id = %s and attribute_id = %s and observed_at = %s and dataset_id = %s
       and source_id = %s and value_hash = %s
"""


class EvolutionStore:
    """Changes of the temporal evolution of entities. ``clock`` gives the time that is recorded."""

    def __init__(
        self, database: Database, terms: TermIds, history: Partitions, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._terms = terms
        self._history = history
        self._clock = clock

    async def upsert(self, tenant_id: int, entity_id: str, given: TemporalFragment) -> bool:
        """Clause 5.6.11: add to the evolution of an entity, which is made when there is none (then True)."""
        async with self._held(tenant_id, entity_id) as connection:
            known = (await find_identities(connection, tenant_id, [entity_id])).get(entity_id)
            now = self._clock()
            if known is None:
                values = {"tenant_id": tenant_id, "id": entity_id, "types": list(given.types), "now": now}
                row = await (await connection.execute(_BEGIN, values)).fetchone()
                key = int(row[0]) if row else 0
            else:
                key = known.keys[-1]
            await self._add(connection, (tenant_id, key), given, now)
        return known is None

    async def append(self, tenant_id: int, entity_id: str, given: TemporalFragment) -> None:
        """Clause 5.6.12; raises :class:`ResourceNotFound`."""
        async with self._known(tenant_id, entity_id) as (connection, identity):
            await self._add(connection, (tenant_id, identity.keys[-1]), given, self._clock())

    async def delete(self, tenant_id: int, entity_id: str) -> None:
        """Clause 5.6.16; raises :class:`ResourceNotFound`. An entity of the current state begins an empty history.

        All of it is erased, with what was believed once.
        """
        async with self._known(tenant_id, entity_id) as (connection, identity):
            keys = list(identity.keys)
            await connection.execute(_DELETE_ALL, (tenant_id, keys))
            await forget_rollups(connection, {"tenant_id": tenant_id, "keys": keys, "attribute": None, "dataset": None})
            await connection.execute(_DELETE_SCOPES, (keys,))
            await connection.execute(_DELETE_LIVES, (keys,))

    async def delete_attribute(
        self, tenant_id: int, entity_id: str, attribute: str, *, dataset: str = NO_DATASET, delete_all: bool = False
    ) -> None:
        """Clause 5.6.13: all instances of one dataset, or of all; raises :class:`ResourceNotFound`."""
        forgotten = 0
        async with self._known(tenant_id, entity_id) as (connection, identity):
            if attribute == SCOPE:
                values: dict[str, Any] = {"keys": list(identity.keys), "instance": None, "now": self._clock()}
                cursor = await connection.execute(_END_SCOPES, values)
            else:
                values = await self._slot(tenant_id, identity, attribute)
                values["dataset"] = None if delete_all else (await self._terms.lookup([dataset])).get(dataset, -1)
                cursor = await connection.execute(_END_ATTRIBUTE, values)
                forgotten = await forget_rollups(connection, values)
            if not cursor.rowcount and not forgotten:
                raise ResourceNotFound(f"The temporal evolution of {entity_id} has no such attribute {attribute}")

    async def delete_instance(self, tenant_id: int, entity_id: str, attribute: str, instance: int | None) -> None:
        """Clause 5.6.15; raises :class:`ResourceNotFound`."""
        async with self._known(tenant_id, entity_id) as (connection, identity):
            if attribute == SCOPE:
                values: dict[str, Any] = {"keys": list(identity.keys), "instance": instance or 0}
                cursor = await connection.execute(_END_SCOPES, {**values, "now": self._clock()})
            else:
                values = {**await self._slot(tenant_id, identity, attribute), "instance": instance}
                cursor = await connection.execute(_END_INSTANCE, values)
            if not cursor.rowcount:
                raise ResourceNotFound(f"Attribute {attribute} of {entity_id} has no such instance")

    async def replace_instance(
        self, tenant_id: int, entity_id: str, given: GivenInstance, instance: int | None
    ) -> None:
        """Clause 5.6.14: another instance takes the place of one; raises :class:`ResourceNotFound`."""
        async with self._known(tenant_id, entity_id) as (connection, identity):
            values = {**await self._slot(tenant_id, identity, given.attribute), "instance": instance}
            row = await (await connection.execute(_END_INSTANCE, values)).fetchone()
            if row is None:
                raise ResourceNotFound(f"Attribute {given.attribute} of {entity_id} has no such instance")
            (key, source_id, created_at), now = row, values["now"]
            (row_key,) = await self._insert(connection, (tenant_id, key), [given], now, source_id, repeats=False)
            await connection.execute(_SUCCEED, (instance, to_text(created_at), *row_key))

    async def _add(
        self, connection: AsyncConnection, owner: tuple[int, int], given: TemporalFragment, now: datetime
    ) -> None:
        tenant_id, key = owner
        latest = max(given.scopes, key=lambda item: item.observed_at or now, default=None)
        scopes = None if latest is None else list(latest.scopes)
        await connection.execute(_TOUCH, {"key": key, "now": now, "types": list(given.types), "scopes": scopes})
        for item in given.scopes:
            if item.observed_at is not None:
                corrected = {"key": key, "observed_at": item.observed_at, "now": now}
                await connection.execute(_CORRECT_SCOPES, corrected)
            row = (key, tenant_id, list(item.scopes), not item.scopes, now, item.observed_at)
            await connection.execute(_ADD_SCOPES, row)
        source_id = (await self._terms.resolve([API_SOURCE]))[API_SOURCE]
        await self._insert(connection, owner, given.instances, now, source_id)

    async def _insert(
        self,
        connection: AsyncConnection,
        owner: tuple[int, int],
        given: Sequence[GivenInstance],
        now: datetime,
        source_id: int,
        *,
        repeats: bool = True,
    ) -> list[RowKey]:
        """Add instances of one entity (tenant, number); returns the keys of those that are new.

        With ``repeats`` False, all are: also what is believed already.
        """
        tenant_id, key = owner
        ids = await self._terms.resolve({name for item in given for name in (item.attribute, item.dataset)})
        rows = InstanceRows()
        for item in given:
            moment = instance_time(item.instance, now)
            place = (key, tenant_id, ids[item.attribute], moment, ids[item.dataset], source_id)
            observed = "observedAt" in item.instance
            if item.removed:
                rows.add_removed(place, item.instance["type"], observed=observed)
            else:
                rows.add(place, item.instance, look=observed)
        await self._history.ensure({row[3] for row in rows.rows})
        if rows.look:
            newest = max(slot[3] for slot in rows.look)
            await connection.execute(LOOK_UNTIL, {"keys": [key], "moments": [newest]})
        return await insert_believed(connection, rows, now, repeats=repeats)

    async def _slot(self, tenant_id: int, identity: Identity, attribute: str) -> dict[str, Any]:
        """Where the rows of one attribute are; a name that history never saw has none."""
        number = (await self._terms.lookup([attribute])).get(attribute, -1)
        return {"tenant_id": tenant_id, "keys": list(identity.keys), "attribute": number, "now": self._clock()}

    @asynccontextmanager
    async def _held(self, tenant_id: int, entity_id: str) -> AsyncIterator[AsyncConnection]:
        with store_refusals():
            async with self._database.transaction(tenant_id) as connection:
                await connection.execute(_HOLD, (entity_id, tenant_id))
                await connection.execute(_HOLD_CURRENT, (tenant_id, entity_id))
                yield connection

    @asynccontextmanager
    async def _known(self, tenant_id: int, entity_id: str) -> AsyncIterator[tuple[AsyncConnection, Identity]]:
        async with self._held(tenant_id, entity_id) as connection:
            identity = (await find_identities(connection, tenant_id, [entity_id])).get(entity_id)
            if identity is None:
                raise ResourceNotFound(f"Nothing is known of the temporal evolution of {entity_id}")
            await mark(connection, identity.keys)
            yield connection, identity

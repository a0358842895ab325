# SPDX-License-Identifier: Apache-2.0
"""Committing batches of readings: history, current state and change events in one transaction.

The rules of time: the current value is the newest by ``observedAt``; a late reading goes to history only; the same
reading again changes nothing; another value for a moment already known is a correction, kept beside the first, and
becomes current when that moment is the newest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, LiteralString

import orjson
import psycopg
from psycopg import AsyncConnection

from broker.devices.model import Device, device_entity
from broker.errors import StoreUnavailable
from broker.intake.readings import CommitSummary, Observation, Quarantined, UnstorableBatch
from context_store.arrays import bigints, cursor_for_arrays, documents, integers, texts
from context_store.database import ALL_TENANTS, Database
from context_store.entities.creations import NewEntity, create_entities
from context_store.events import insert_updates
from context_store.history.corrections import past_rows, supersede
from context_store.history.partitions import Partitions
from context_store.history.terms import TermIds
from context_store.history.versions import mark
from context_store.intake.batch import EntityState, ReadingBatch, known_slots
from context_store.intake.known import Entity, KnownEntities, Version
from context_store.intake.quarantine import insert_quarantined

# The present values of the attributes that a batch has to load, and the versions of all the entities that it touches,
# locked in one order against other writers.
_LOCK: Final[LiteralString] = """
    select e.entity_key, e.tenant_id, e.id, e.look_until, e.version, e.modified_at, w.attribute,
           (e.document -> w.attribute)::text
      from (select tenant_id, entity_key, id, look_until, xmin::text as version, modified_at, document from entity
             where (tenant_id, id) in (select * from unnest(%(tenant_ids)b::int[], %(ids)b::text[]))
             order by tenant_id, id for no key update) as e
      left join unnest(%(wanted_tenants)b::int[], %(wanted_ids)b::text[], %(wanted)b::text[])
           as w (tenant_id, id, attribute) on w.tenant_id = e.tenant_id and w.id = e.id
"""
# The versions alone, of entities whose keys are known.
_LOCK_KNOWN: Final[LiteralString] = """
    select entity_key, xmin::text, modified_at from entity where entity_key = any(%(keys)b::bigint[])
     order by tenant_id, id for no key update
"""

# Replace the attributes named in each patch.
_UPDATE: Final[LiteralString] = """
    update entity as e set document = e.document || p.patch::jsonb, modified_at = %(now)s
      from unnest(%(keys)b::bigint[], %(patches)b::text[]) as p (entity_key, patch)
     where e.entity_key = p.entity_key
"""

# The number of this transaction, as xmin of the rows that it writes has it.
_TRANSACTION: Final[LiteralString] = "select pg_current_xact_id()::xid::text"


class PostgresReadingStore:
    """The :class:`~broker.intake.readings.ReadingStore` on PostgreSQL."""

    def __init__(
        self,
        database: Database,
        terms: TermIds,
        history: Partitions,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._terms = terms
        self._history = history
        self._clock = clock
        self._known = KnownEntities()

    async def commit(self, observations: list[Observation], quarantined: list[Quarantined]) -> CommitSummary:
        """See :class:`~broker.intake.readings.ReadingStore`."""
        try:
            # What is there already was looked for, where it can be. Should it be there nevertheless, once more.
            with contextlib.suppress(psycopg.errors.UniqueViolation):
                return await self._commit(observations, quarantined, repeats=False)
            return await self._commit(observations, quarantined, repeats=True)
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.NotSupportedError) as exc:
            if isinstance(exc, psycopg.errors.CheckViolation) and exc.diag.constraint_name is None:
                # A day's partition of change events is missing: nothing is wrong with the readings, they can wait.
                raise StoreUnavailable(str(exc).splitlines()[0]) from exc
            raise UnstorableBatch(str(exc).splitlines()[0]) from exc

    async def _commit(
        self, observations: list[Observation], quarantined: list[Quarantined], *, repeats: bool
    ) -> CommitSummary:
        now = self._clock()
        wanted = _Wanted(observations)
        term_ids = await self._terms.resolve(wanted.names)
        await self._history.ensure({o.observed_at for o in observations})
        async with self._database.transaction(ALL_TENANTS, marks_itself=True) as connection:
            entities = await self._load(connection, wanted, now)
            past = await past_rows(connection, known_slots(observations, entities, term_ids))
            batch = ReadingBatch(entities, term_ids, past, now)
            for observation in observations:
                batch.add(observation)
            if quarantined:
                await insert_quarantined(connection, quarantined)
            written = await self._write(connection, batch, now, repeats=repeats)
        self._known.keep(entities, written)
        fates = batch.fates
        return CommitSummary(
            fates.total(),
            fates["current"],
            fates["late"],
            fates["repeated"],
            fates["corrections"],
            len(quarantined),
            fates["missing"],
        )

    async def _write(
        self, connection: AsyncConnection, batch: ReadingBatch, now: datetime, *, repeats: bool
    ) -> Version | None:
        """Write the batch and commit; the version that the changed entities have now, if any are."""
        transaction = None
        async with connection.pipeline():
            await batch.numbers.insert(connection, now, repeats=repeats)
            await batch.others.insert(connection, now)
            await supersede(connection, list(batch.superseded), now)
            batch.fold()
            keys, patches = batch.patches()
            if keys:
                columns = {"keys": bigints(keys), "patches": documents(patches), "now": now}
                await cursor_for_arrays(connection).execute(_UPDATE, columns)
                events = batch.events
                await insert_updates(connection, [e[0] for e in events], [e[1] for e in events], [e[2] for e in events])
                transaction = await connection.execute(_TRANSACTION)
            if batch.has_unseen:
                await mark(connection, batch.keys() - set(keys))
            await connection.execute("commit")  # in the same message; when something before it fails, it is not done
        row = await transaction.fetchone() if transaction is not None else None
        return (row[0], now) if row is not None else None

    async def _load(
        self, connection: AsyncConnection, wanted: _Wanted, now: datetime
    ) -> dict[tuple[int, str], EntityState]:
        entities = await _lock(connection, wanted.attributes, self._known.take(wanted.attributes))
        missing = sorted(place for place in wanted.attributes if place not in entities)
        for tenant_id, places in groupby(missing, key=lambda place: place[0]):
            devices = [wanted.devices[place] for place in places]
            new = [NewEntity(device_entity(device, now), device.key) for device in devices]
            await create_entities(connection, self._terms, self._history, tenant_id, new, now)
        if missing:
            entities.update(await _lock(connection, {place: wanted.attributes[place] for place in missing}, {}))
        return entities


class _Wanted:
    """What a batch needs to know before it is decided: ``attributes`` of entities (by tenant and id), a device that
    feeds each, and the ``names`` that history needs numbers for."""

    def __init__(self, observations: list[Observation]) -> None:
        self.attributes: dict[tuple[int, str], dict[str, None]] = {}
        self.devices: dict[tuple[int, str], Device] = {}
        self.names: set[str] = set()
        names = self.names
        for device, _, values, missing, _ in observations:
            place = (device.tenant_id, device.entity_id)
            attributes = self.attributes.get(place)
            if attributes is None:
                attributes = self.attributes[place] = {}
                self.devices[place] = device
            names.add(device.key)
            for mapping, _ in (*values, *missing) if missing else values:
                attributes[mapping.attribute] = None
                names.add(mapping.attribute)
                names.add(mapping.dataset)


async def _lock(
    connection: AsyncConnection, wanted: Mapping[Entity, Collection[str]], known: Mapping[Entity, EntityState]
) -> dict[Entity, EntityState]:
    """Lock the ``wanted`` entities and load these attributes of them, but for those ``known`` that are still so."""
    if known and len(known) == len(wanted):
        entities = await _lock_known(connection, known)
    else:
        entities = await _lock_all(connection, wanted, known)
    changed = {place: wanted[place] for place in known if place not in entities}
    if changed:  # their rows are locked by now
        entities.update(await _lock_all(connection, changed, {}))
    return entities


async def _lock_known(connection: AsyncConnection, known: Mapping[Entity, EntityState]) -> dict[Entity, EntityState]:
    """Lock the ``known`` entities; those that are still as they are known."""
    cursor = cursor_for_arrays(connection)
    await cursor.execute(_LOCK_KNOWN, {"keys": bigints([state.key for state in known.values()])})
    versions = {key: (transaction, modified_at) for key, transaction, modified_at in await cursor.fetchall()}
    return {place: state for place, state in known.items() if versions.get(state.key) == state.version}


async def _lock_all(
    connection: AsyncConnection, wanted: Mapping[Entity, Collection[str]], known: Mapping[Entity, EntityState]
) -> dict[Entity, EntityState]:
    """Lock the ``wanted`` entities and load those that are not ``known``; left out are those known and changed."""
    pairs = [(*place, attribute) for place in wanted if place not in known for attribute in wanted[place]]
    tenants, ids, attributes = zip(*pairs, strict=True) if pairs else ((), (), ())
    parameters = {
        "tenant_ids": integers([place[0] for place in wanted]),
        "ids": documents([place[1].encode() for place in wanted]),
        "wanted_tenants": integers(tenants),
        "wanted_ids": texts(ids),
        "wanted": texts(attributes),
    }
    cursor = cursor_for_arrays(connection)
    await cursor.execute(_LOCK, parameters)
    entities: dict[Entity, EntityState] = {}
    for key, tenant_id, entity_id, look_until, transaction, modified_at, attribute, slot in await cursor.fetchall():
        place = (tenant_id, entity_id)
        if (state := known.get(place)) is not None:
            if (state.key, state.version) == (key, (transaction, modified_at)):
                entities[place] = state
            continue
        if place not in entities:
            entities[place] = EntityState(key, tenant_id, look_until, (transaction, modified_at))
        if attribute is not None:
            entities[place].load(attribute, orjson.loads(slot) if slot is not None else None)
    return entities

# SPDX-License-Identifier: Apache-2.0
"""Committing batches of readings: history, current state and change events in one transaction.

The rules of time: the current value is the newest by ``observedAt``; a late reading goes to history only; the same
reading again changes nothing; another value for a moment already known is a correction, kept beside the first, and
becomes current when that moment is the newest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final, LiteralString

import psycopg
from psycopg import AsyncConnection

from broker.devices import Device, device_entity
from broker.readings import CommitSummary, Observation, Quarantined, UnstorableBatch
from context_store.corrections import past_rows, supersede
from context_store.database import ALL_TENANTS, Database
from context_store.entities import EntityWriter, creation
from context_store.events import NOTIFY, insert_updates
from context_store.partitions import Partitions
from context_store.quarantine import insert_quarantined
from context_store.reading_batch import EntityState, ReadingBatch, known_slots
from context_store.terms import TermIds

# The present values of the attributes that a batch touches, locked in one order against other writers.
_LOCK: Final[LiteralString] = """
    select e.entity_key, e.tenant_id, e.id, e.look_until, w.attribute, e.document -> w.attribute
      from (select tenant_id, entity_key, id, look_until, document from entity
             where (tenant_id, id) in (select * from unnest(%(tenant_ids)s::int[], %(ids)s::text[]))
             order by tenant_id, id for no key update) as e
      join unnest(%(wanted_tenants)s::int[], %(wanted_ids)s::text[], %(wanted)s::text[])
           as w (tenant_id, id, attribute) on w.tenant_id = e.tenant_id and w.id = e.id
"""

# Replace the attributes named in each patch.
_UPDATE: Final[LiteralString] = """
    update entity as e set document = e.document || p.patch::jsonb, modified_at = %(now)s
      from unnest(%(keys)b::bigint[], %(patches)b::text[]) as p (entity_key, patch)
     where e.entity_key = p.entity_key
"""

_OLDEST: Final = datetime.min.replace(tzinfo=UTC)


class PostgresReadingStore:
    """The :class:`~broker.readings.ReadingStore` on PostgreSQL."""

    def __init__(
        self,
        database: Database,
        terms: TermIds,
        history: Partitions,
        writer: EntityWriter,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._terms = terms
        self._history = history
        self._writer = writer
        self._clock = clock

    async def commit(self, observations: list[Observation], quarantined: list[Quarantined]) -> CommitSummary:
        """See :class:`~broker.readings.ReadingStore`."""
        try:
            # What is there already was looked for, where it can be. Should it be there nevertheless, once more.
            with contextlib.suppress(psycopg.errors.UniqueViolation):
                return await self._commit(observations, quarantined, repeats=False)
            return await self._commit(observations, quarantined, repeats=True)
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.NotSupportedError) as exc:
            raise UnstorableBatch(str(exc).splitlines()[0]) from exc

    async def _commit(
        self, observations: list[Observation], quarantined: list[Quarantined], *, repeats: bool
    ) -> CommitSummary:
        now = self._clock()
        mappings = [mapping for o in observations for mapping, _ in (*o.values, *o.missing)]
        names = {mapping.attribute for mapping in mappings}
        names.update(mapping.dataset for mapping in mappings)
        names.update(o.device.key for o in observations)
        term_ids = await self._terms.resolve(names)
        await self._history.ensure({o.observed_at for o in observations})
        async with self._database.transaction(ALL_TENANTS) as connection:
            entities = await self._load(connection, observations, now)
            past = await past_rows(connection, known_slots(observations, entities, term_ids))
            batch = ReadingBatch(entities, term_ids, past, now)
            for observation in observations:
                batch.add(observation)
            await self._write(connection, batch, now, repeats=repeats)
            if quarantined:
                await insert_quarantined(connection, quarantined)
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

    async def _write(self, connection: AsyncConnection, batch: ReadingBatch, now: datetime, *, repeats: bool) -> None:
        async with connection.pipeline():
            await batch.numbers.insert(connection, now, repeats=repeats)
            await batch.others.insert(connection, now)
            await supersede(connection, list(batch.superseded), now)
            batch.fold()
            keys, patches = batch.patches()
            if keys:
                await connection.execute(_UPDATE, {"keys": keys, "patches": patches, "now": now})
                events = batch.events
                await insert_updates(connection, [e[0] for e in events], [e[1] for e in events], [e[2] for e in events])

    async def _load(
        self, connection: AsyncConnection, observations: list[Observation], now: datetime
    ) -> dict[tuple[int, str], EntityState]:
        wanted: dict[tuple[int, str], dict[str, None]] = {}
        devices: dict[tuple[int, str], Device] = {}
        for observation in observations:
            place = (observation.device.tenant_id, observation.device.entity_id)
            devices[place] = observation.device
            told = (*observation.values, *observation.missing) if observation.missing else observation.values
            wanted.setdefault(place, {}).update((mapping.attribute, None) for mapping, _ in told)
        entities = await self._lock(connection, wanted)
        missing = sorted(place for place in wanted if place not in entities)
        for place in missing:
            change = creation(device_entity(devices[place], now))
            await self._writer.write(connection, place[0], None, change, source=devices[place].key, now=now)
        if missing:
            await connection.execute(NOTIFY)
            entities.update(await self._lock(connection, {place: wanted[place] for place in missing}))
        return entities

    async def _lock(
        self, connection: AsyncConnection, wanted: dict[tuple[int, str], dict[str, None]]
    ) -> dict[tuple[int, str], EntityState]:
        pairs: Iterable[tuple[int, str, str]] = [
            (tenant_id, entity_id, attribute)
            for (tenant_id, entity_id), attributes in wanted.items()
            for attribute in attributes
        ]
        parameters = {
            "tenant_ids": [place[0] for place in wanted],
            "ids": [place[1] for place in wanted],
            "wanted_tenants": [pair[0] for pair in pairs],
            "wanted_ids": [pair[1] for pair in pairs],
            "wanted": [pair[2] for pair in pairs],
        }
        rows = await (await connection.execute(_LOCK, parameters)).fetchall()
        entities: dict[tuple[int, str], EntityState] = {}
        for key, tenant_id, entity_id, look_until, attribute, slot in rows:
            place = (tenant_id, entity_id)
            if place not in entities:
                entities[place] = EntityState(key, tenant_id, look_until)
            entities[place].load(attribute, slot)
        return entities

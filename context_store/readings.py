# SPDX-License-Identifier: Apache-2.0
"""Committing batches of readings: history, current state and change events in one transaction.

The rules of time: the current value is the newest by ``observedAt``; a late reading goes to history only; the same
reading again changes nothing; another value for a moment already known is a correction, kept beside the first, and
becomes current when that moment is the newest.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import orjson
import psycopg
from psycopg import AsyncConnection

from broker.devices import AttributeMapping, Device, device_entity
from broker.entities import Instance
from broker.readings import CommitSummary, Observation, Quarantined, UnstorableBatch
from broker.times import to_text
from context_store.corrections import PastRow, Slot, past_rows, supersede
from context_store.database import ALL_TENANTS, Database
from context_store.entities import EntityWriter, creation
from context_store.events import NOTIFY, insert_updates
from context_store.history import InstanceRows, NumberRows, Place, RowKey, value_hash
from context_store.partitions import Partitions
from context_store.quarantine import insert_quarantined
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

Instances = dict[str, Instance]  # of one attribute by dataset


class _Entity:
    """What a batch knows of one entity; ``newest`` and ``values`` are by attribute and dataset, and run ahead of
    ``attributes`` until the batch is folded. History may have instances until ``look_until``, and of each attribute
    until its current value; after ``known_until`` it has none of any."""

    __slots__ = ("attributes", "changed", "key", "known_until", "look_until", "newest", "tenant_id", "values")

    def __init__(self, key: int, tenant_id: int, look_until: datetime | None) -> None:
        self.key = key
        self.tenant_id = tenant_id
        self.look_until = self.known_until = look_until or _OLDEST
        self.attributes: dict[str, Instances] = {}
        self.newest: dict[tuple[str, str], datetime] = {}
        self.values: dict[tuple[str, str], Any] = {}
        self.changed: set[str] = set()

    def load(self, attribute: str, slot: Instances | None) -> None:
        """Take in the present instances of ``attribute``."""
        self.attributes[attribute] = slot or {}
        for dataset, instance in self.attributes[attribute].items():
            observed_at = instance.get("observedAt")
            newest = datetime.fromisoformat(observed_at) if observed_at else _OLDEST
            self.newest[attribute, dataset] = newest
            self.known_until = max(self.known_until, newest)
            self.values[attribute, dataset] = instance.get("value")


class _Batch:
    """One batch of readings and the present state of what they are of.

    First :meth:`add` decides what becomes of each reading, in their order; then the history rows are known. The rest
    of the work, :meth:`fold`, is done while the database inserts them. ``past`` is what history has of the moments
    of :func:`_known_slots`.
    """

    def __init__(
        self,
        entities: dict[tuple[int, str], _Entity],
        term_ids: dict[str, int],
        past: dict[Slot, list[PastRow]],
        now: datetime,
    ) -> None:
        self._entities = entities
        self._term_ids = term_ids
        self._past = past
        self._now_text = to_text(now)
        self._current: list[tuple[_Entity, datetime, int, list[tuple[AttributeMapping, Any]]]] = []
        self.numbers = NumberRows()
        self.others = InstanceRows()
        self.superseded: dict[RowKey, None] = {}
        self.events: list[tuple[int, bytes, int]] = []
        self.fates: Counter[str] = Counter()

    def add(self, observation: Observation) -> None:
        """Decide about one observation."""
        device, observed_at, values = observation
        entity = self._entities[device.tenant_id, device.entity_id]
        term_ids = self._term_ids
        source_id = term_ids[device.key]
        current = []
        for mapping, value in values:
            attribute, dataset = mapping.attribute, mapping.dataset
            newest = entity.newest.get((attribute, dataset), _OLDEST)
            place = (entity.key, entity.tenant_id, term_ids[attribute], observed_at, term_ids[dataset], source_id)
            fate = "current" if observed_at > newest else "late" if observed_at < newest else "corrections"
            if fate != "current" or observed_at <= entity.look_until:
                present = entity.values.get((attribute, dataset)) if fate == "corrections" else None
                if self._is_repeat(place, value, present):
                    fate = "repeated"
            self.fates[fate] += 1
            if fate == "repeated":
                continue
            if type(value) is float:
                self.numbers.add(place, value, mapping.unit_code)
            else:
                self.others.add(place, self._instance(mapping, value, to_text(observed_at)))
            if fate != "late":
                entity.newest[attribute, dataset] = observed_at
                entity.values[attribute, dataset] = value
                current.append((mapping, value))
        if current:
            self._current.append((entity, observed_at, source_id, current))

    def _is_repeat(self, place: Place, value: Any, present: Any) -> bool:
        """Whether the value was seen before for this moment of this source; else it corrects what was.

        ``present`` is the current value when that is of the same moment, whoever it came from.
        """
        if present is not None and present == value and type(present) is not bool:
            return True
        there = [row for row in self._past.get(place[:5], ()) if row.place == place]
        in_batch = self.numbers.at(place) + self.others.at(place)
        key = (*place, value_hash(value))
        if key in in_batch or any(row.key == key for row in there):
            return True
        self.superseded.update(dict.fromkeys([*(row.key for row in there if row.believed), *in_batch]))
        return False

    def fold(self) -> None:
        """Bring what was decided into the present state, and make the events of it."""
        for entity, observed_at, source_id, values in self._current:
            text = to_text(observed_at)
            changes = [
                self._make_current(entity, mapping, self._instance(mapping, value, text)) for mapping, value in values
            ]
            self.events.append((entity.key, orjson.dumps(changes), source_id))
        self._current.clear()

    def _instance(self, mapping: AttributeMapping, value: Any, observed_text: str) -> Instance:
        instance: Instance = {
            "type": "Property",
            "value": value,
            "observedAt": observed_text,
            "createdAt": self._now_text,
            "modifiedAt": self._now_text,
        }
        if mapping.unit_code is not None:
            instance["unitCode"] = mapping.unit_code
        return instance

    def _make_current(self, entity: _Entity, mapping: AttributeMapping, instance: Instance) -> dict[str, Any]:
        attribute, dataset = mapping.attribute, mapping.dataset
        slot = entity.attributes.setdefault(attribute, {})
        before = slot.get(dataset)
        if before is not None:
            instance["createdAt"] = before.get("createdAt", self._now_text)
        slot[dataset] = instance
        entity.changed.add(attribute)
        return {"attribute": attribute, "dataset": dataset, "before": before, "after": instance}

    def patches(self) -> tuple[list[int], list[str]]:
        """Keys of the changed entities, and for each the attributes to replace."""
        keys, patches = [], []
        for entity in self._entities.values():
            if entity.changed:
                keys.append(entity.key)
                patch = {name: entity.attributes[name] for name in entity.changed}
                patches.append(orjson.dumps(patch).decode())
        return keys, patches


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
        names = {mapping.attribute for o in observations for mapping, _ in o.values}
        names.update(mapping.dataset for o in observations for mapping, _ in o.values)
        names.update(o.device.key for o in observations)
        term_ids = await self._terms.resolve(names)
        await self._history.ensure({o.observed_at for o in observations})
        async with self._database.transaction(ALL_TENANTS) as connection:
            entities = await self._load(connection, observations, now)
            past = await past_rows(connection, _known_slots(observations, entities, term_ids))
            batch = _Batch(entities, term_ids, past, now)
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
        )

    async def _write(self, connection: AsyncConnection, batch: _Batch, now: datetime, *, repeats: bool) -> None:
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
    ) -> dict[tuple[int, str], _Entity]:
        wanted: dict[tuple[int, str], dict[str, None]] = {}
        devices: dict[tuple[int, str], Device] = {}
        for observation in observations:
            place = (observation.device.tenant_id, observation.device.entity_id)
            devices[place] = observation.device
            wanted.setdefault(place, {}).update((mapping.attribute, None) for mapping, _ in observation.values)
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
    ) -> dict[tuple[int, str], _Entity]:
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
        entities: dict[tuple[int, str], _Entity] = {}
        for key, tenant_id, entity_id, look_until, attribute, slot in rows:
            place = (tenant_id, entity_id)
            if place not in entities:
                entities[place] = _Entity(key, tenant_id, look_until)
            entities[place].load(attribute, slot)
        return entities


def _known_slots(
    observations: Iterable[Observation], entities: dict[tuple[int, str], _Entity], term_ids: dict[str, int]
) -> set[Slot]:
    """The moments of which history may have something: those that are not newer than all that is known."""
    slots: set[Slot] = set()
    for device, observed_at, values in observations:
        entity = entities[device.tenant_id, device.entity_id]
        if observed_at > entity.known_until:
            continue
        for mapping, _ in values:
            newest = entity.newest.get((mapping.attribute, mapping.dataset), _OLDEST)
            if observed_at <= newest or observed_at <= entity.look_until:
                attribute_id, dataset_id = term_ids[mapping.attribute], term_ids[mapping.dataset]
                slots.add((entity.key, entity.tenant_id, attribute_id, observed_at, dataset_id))
    return slots

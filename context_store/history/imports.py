# SPDX-License-Identifier: Apache-2.0
"""Taking history in from files: a part of a file is one transaction.

Numbers come by COPY into a temporary table. Where history has nothing of their attributes and times yet, they are
inserted as they are. Where it has, they are compared first: what is believed already changes nothing, another value for
a moment corrects whatever is believed of it (as a write through the API does). The same part twice is the same as once.

The newest value becomes the current one where the current one is older. No change event is written: an import notifies
nobody and raises no alert.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, LiteralString

import numpy as np
import psycopg
from psycopg import AsyncConnection

from broker.entities import EntityChange, ExpandedEntity
from broker.errors import BadRequestData, Conflict
from broker.history.imports import ImportResult, ImportRules, Numbers, Other, Part, Rejected, Series
from broker.times import to_text
from context_store.database import Database
from context_store.entities.changes import EntityWriter, StoredEntity, creation, lock_entities
from context_store.history.corrections import past_rows, settle, supersede
from context_store.history.import_rows import (
    NOWHERE,
    AttributeSlot,
    Newest,
    Placed,
    is_newer,
    keep_newest,
    moment,
    months_of,
    newest_numbers,
    number_columns,
)
from context_store.history.instance_copy import NumberColumns, copy_into_stage
from context_store.history.partitions import Partitions
from context_store.history.terms import TermIds
from context_store.history.writing import InstanceRows

# The newest lives of entities that are gone, or that only history knows.
_LIVES: Final[LiteralString] = """
    select distinct on (id) id, entity_key from entity_identity
     where tenant_id = %s and id = any(%s) order by id, entity_key desc
"""
_LOOK_UNTIL: Final[LiteralString] = """
    update entity e set look_until = greatest(e.look_until, w.newest)
      from unnest(%s::bigint[], %s::timestamptz[]) as w (entity_key, newest)
     where e.entity_key = w.entity_key and (e.look_until is null or e.look_until < w.newest)
"""

# Whether history has anything of some attributes in some ranges of time, all of which lie between two moments: with
# these bounds other partitions are left out when the statement is planned.
_ANYTHING: Final[LiteralString] = """
    select exists (select from unnest(%(keys)s::bigint[], %(attributes)s::int[], %(datasets)s::int[],
                                      %(first)s::timestamptz[], %(last)s::timestamptz[])
                        as w (entity_key, attribute_id, dataset_id, low, high)
                   cross join lateral (
                     select from attribute_instance i
                      where i.entity_key = w.entity_key and i.tenant_id = %(tenant_id)s
                        and i.attribute_id = w.attribute_id and i.observed_at >= w.low and i.observed_at <= w.high
                        and i.observed_at >= %(start)s and i.observed_at <= %(end)s
                        and i.dataset_id = w.dataset_id limit 1) i)
"""
# What history has of the moment of a row; the bounds keep to the entities and the time of the part.
_SAME_MOMENT: Final[LiteralString] = """
    i.entity_key = r.entity_key and i.tenant_id = r.tenant_id and i.attribute_id = r.attribute_id
       and i.observed_at = r.observed_at and i.dataset_id = r.dataset_id
"""
_THERE: Final[LiteralString] = f"""
    {_SAME_MOMENT} and i.entity_key = any(%(keys)s::bigint[]) and i.observed_at >= %(first)s
       and i.observed_at <= %(last)s
"""
# Rows that say what is believed already.
_REPEATS: Final[LiteralString] = f"""
    delete from import_row r using attribute_instance i
     where {_THERE} and i.has_observed_at and i.superseded_at is null and not i.removed and i.kind = 1
       and i.number_value = r.number_value and i.json_value is null and i.detail is null
       and i.unit_code is not distinct from r.unit_code and i.quality is not distinct from r.quality
"""
# The same for rows of another hub; and what was believed, was not, and was again has a key of its own each time.
_SAME_RECORDS: Final[LiteralString] = f"""
    delete from import_row r using attribute_instance i
     where {_THERE} and i.source_id = r.source_id and i.number_value = r.number_value
       and i.recorded_at = r.recorded_at
"""
_AGAIN: Final[LiteralString] = f"""
    update import_row r set value_hash = r.value_hash + a.earlier
      from (select r.place, row_number() over (
                       partition by r.entity_key, r.attribute_id, r.dataset_id, r.source_id, r.observed_at,
                                    r.number_value order by r.recorded_at, r.place)
                   - 1 + (select count(*) from attribute_instance i
                           where {_THERE} and i.source_id = r.source_id
                             and i.number_value = r.number_value) as earlier
              from import_row r) a
     where a.place = r.place and a.earlier > 0
"""
# Rows of moments of which history has something, or the file more than one.
_CONTESTED: Final[LiteralString] = f"""
    delete from import_row r
     where exists (select from attribute_instance i where {_THERE})
        or exists (select from import_row i where {_SAME_MOMENT} and i.place <> r.place)
    returning r.place
"""
_COLUMNS: Final[LiteralString] = (
    "entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash, kind, recorded_at, "
    "number_value, unit_code, quality, superseded_at"
)
_INSERT: Final[LiteralString] = f"""
    insert into attribute_instance ({_COLUMNS}) select {_COLUMNS} from import_row
"""


class _TakenBack(Exception):
    """The end of a dry run."""


class HistoryImport:
    """Imports of all tenants. ``clock`` gives the time that is recorded."""

    def __init__(
        self,
        database: Database,
        terms: TermIds,
        history: Partitions,
        writer: EntityWriter,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._terms = terms
        self._history = history
        self._writer = writer
        self._clock = clock

    async def commit(self, tenant_id: int, part: Part, rules: ImportRules) -> ImportResult:
        """Take ``part`` in. Raises :class:`Conflict` when somebody wrote the same at the same time: try again."""
        result = ImportResult(rows=part.count, rejected=list(part.rejected))
        names = {name for s in part.series for name in (s.attribute, s.dataset, s.source)}
        term_ids = await self._terms.resolve(names)
        await self._history.ensure(months_of(part))
        try:
            async with self._database.transaction(tenant_id) as connection:
                work = _Work(connection, tenant_id, part, rules, result, term_ids, self._clock(), self._writer)
                await work.do()
                if rules.dry_run:
                    raise _TakenBack
        except _TakenBack:
            pass
        except psycopg.errors.UniqueViolation as exc:
            raise Conflict("The same history was written at the same time; try again") from exc
        except psycopg.DataError as exc:
            raise BadRequestData(f"A row cannot be stored: {exc.diag.message_primary}") from exc
        result.rejected.sort()
        return result


class _Work:
    """One part within its transaction."""

    def __init__(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        part: Part,
        rules: ImportRules,
        result: ImportResult,
        term_ids: Mapping[str, int],
        now: datetime,
        writer: EntityWriter,
    ) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._part = part
        self._rules = rules
        self._result = result
        self._term_ids = term_ids
        self._now = now
        self._writer = writer
        self._stored: dict[str, StoredEntity] = {}
        self._places: list[Placed] = []

    async def do(self) -> None:
        """Everything."""
        await self._find_entities()
        numbers = self._known(self._part.numbers)
        others = [other for other in self._part.others if self._places[other.series] != NOWHERE]
        newest = newest_numbers(self._part.series, numbers)
        for other in others:
            keep_newest(newest, self._part.series[other.series], other)
        if len(numbers):
            await self._write_numbers(numbers)
        if others:
            await self._write_others(others)
        await self._make_current(newest)

    async def _find_entities(self) -> None:
        """Lock the entities; make those that are missing, or reject their rows."""
        ids = {series.entity_id for series in self._part.series if series.entity_id}
        self._stored = await lock_entities(self._connection, self._tenant_id, ids)
        keys = {entity_id: stored.key for entity_id, stored in self._stored.items()}
        missing = sorted(ids - keys.keys())
        if missing:
            cursor = await self._connection.execute(_LIVES, (self._tenant_id, missing))
            keys.update(await cursor.fetchall())
        wanted = [entity_id for entity_id in missing if entity_id not in keys]
        if wanted and self._rules.create:
            keys |= await self._create(wanted)
        faults = {entity_id for entity_id in wanted if entity_id not in keys}
        self._places = [self._place(series, keys) for series in self._part.series]
        if faults:
            self._reject(faults)

    def _place(self, series: Series, keys: Mapping[str, int]) -> Placed:
        if series.entity_id not in keys:
            return NOWHERE
        ids = self._term_ids
        return keys[series.entity_id], ids[series.attribute], ids[series.dataset], ids[series.source]

    async def _create(self, wanted: Collection[str]) -> dict[str, int]:
        """Make the entities of these ids whose types the file tells; without attributes, those come with the rows."""
        types = {series.entity_id: series.types for series in self._part.series if series.types}
        created = {}
        for entity_id in wanted:
            if entity_id in types:
                entity = ExpandedEntity(entity_id, types[entity_id], {}, created_at=self._now, modified_at=self._now)
                key = await self._writer.write_state(self._connection, self._tenant_id, None, creation(entity))
                self._stored[entity_id] = StoredEntity(key, entity)
                created[entity_id] = key
        self._result.created = sorted(created)
        return created

    def _reject(self, unknown: Collection[str]) -> None:
        if self._rules.create:
            reason, detail = "type", "The entity is not there and no type is given / 型がないため作成できません"
        else:
            reason, detail = "unknownEntity", "The entity is not there; create makes it / エンティティがありません"
        numbers, others = self._part.numbers, self._part.others
        rows = [*zip(numbers.rows, numbers.series, strict=True), *((other.row, other.series) for other in others)]
        self._result.rejected += [
            Rejected(int(row), reason, detail) for row, series in rows if self._part.series[series].entity_id in unknown
        ]

    def _known(self, numbers: Numbers) -> Numbers:
        """Those of known entities."""
        if not len(numbers) or NOWHERE not in self._places:
            return numbers
        kept = [n for n, series in enumerate(numbers.series) if self._places[series] != NOWHERE]
        rows, series = ([column[n] for n in kept] for column in (numbers.rows, numbers.series))
        times, values = (np.asarray(column)[kept].tolist() for column in (numbers.times_us, numbers.values))
        believed = None if numbers.believed is None else [numbers.believed[n] for n in kept]
        return Numbers(rows, series, times, values, believed)

    async def _write_numbers(self, numbers: Numbers) -> None:
        rows = number_columns(self._part.series, self._places, numbers)
        fresh = not self._rules.as_recorded and await self._is_fresh(rows)
        await copy_into_stage(self._connection, self._tenant_id, rows, self._now)
        if fresh:
            self._result.new += (await self._connection.execute(_INSERT)).rowcount
            return
        await self._connection.execute("analyze import_row")
        left = len(rows)
        span = {
            "first": moment(rows.times_us.min()),
            "last": moment(rows.times_us.max()),
            "keys": np.unique(rows.entity).tolist(),
        }
        if self._rules.as_recorded:
            await self._connection.execute(_SAME_RECORDS, span, prepare=False)
            await self._connection.execute(_AGAIN, span, prepare=False)
        else:
            await self._connection.execute(_REPEATS, span, prepare=False)
            contested = await (await self._connection.execute(_CONTESTED, span, prepare=False)).fetchall()
            await self._write_contested(numbers, sorted(place for (place,) in contested))
            left -= len(contested)
        new = (await self._connection.execute(_INSERT)).rowcount
        self._result.new += new
        self._result.repeated += left - new

    async def _is_fresh(self, rows: NumberColumns) -> bool:
        """Whether no moment is in the part twice and history has nothing of the ranges of its attributes."""
        slot = np.stack([rows.entity, rows.attribute, rows.dataset])
        order = np.lexsort((rows.times_us, *slot))
        slot, times = slot[:, order], rows.times_us[order]
        same = (slot[:, 1:] == slot[:, :-1]).all(axis=0)
        if (same & (times[1:] == times[:-1])).any():
            return False
        first = np.concatenate(([True], ~same))
        last = np.concatenate((~same, [True]))
        values = {
            "keys": slot[0, first].tolist(),
            "attributes": slot[1, first].tolist(),
            "datasets": slot[2, first].tolist(),
            "first": [moment(time) for time in times[first]],
            "last": [moment(time) for time in times[last]],
            "start": moment(times.min()),
            "end": moment(times.max()),
            "tenant_id": self._tenant_id,
        }
        row = await (await self._connection.execute(_ANYTHING, values, prepare=False)).fetchone()
        return not (row and row[0])

    async def _write_contested(self, numbers: Numbers, places: Sequence[int]) -> None:
        """Rows of moments that history knows otherwise: one by one, as the API writes them."""
        rows = InstanceRows()
        for n in places:
            series = self._part.series[numbers.series[n]]
            at = moment(numbers.times_us[n])
            instance = {"type": series.kind, "value": float(numbers.values[n]), "observedAt": to_text(at)}
            if series.unit_code is not None:
                instance["unitCode"] = series.unit_code
            rows.add(self._row_place(numbers.series[n], at), instance, look=True, quality=series.quality)
        await self._believe(rows, len(places))

    async def _write_others(self, others: Sequence[Other]) -> None:
        """Rows that are not plain numbers."""
        rows, as_they_are = InstanceRows(), InstanceRows()
        for other in others:
            series = self._part.series[other.series]
            place = self._row_place(other.series, other.at)
            believed = other.believed
            recorded = believed.recorded_at if believed else None if other.observed else other.at
            until = believed.superseded_at if believed else None
            target = as_they_are if recorded is not None else rows
            look = target is rows
            if other.instance is None:
                target.add_removed(
                    place,
                    series.kind,
                    observed=other.observed,
                    quality=series.quality,
                    recorded_at=recorded,
                    superseded_at=until,
                )
            else:
                target.add(
                    place,
                    other.instance,
                    look=look,
                    quality=series.quality,
                    recorded_at=recorded,
                    superseded_at=until,
                )
        new = await as_they_are.insert(self._connection, self._now)
        self._result.new += new
        self._result.repeated += len(as_they_are) - new
        await self._believe(rows, len(rows))

    async def _believe(self, rows: InstanceRows, count: int) -> None:
        """Write what may correct something, and count what became of it."""
        if not count:
            return
        superseded = settle(rows, await past_rows(self._connection, rows.look))
        await rows.insert(self._connection, self._now)
        await supersede(self._connection, superseded, self._now)
        self._result.new += len(rows)
        self._result.repeated += count - len(rows)
        self._result.corrections += len(superseded)

    def _row_place(self, series: int, at: datetime) -> tuple[int, int, int, datetime, int, int]:
        key, attribute, dataset, source = self._places[series]
        return key, self._tenant_id, attribute, at, dataset, source

    async def _make_current(self, newest: Mapping[AttributeSlot, Newest]) -> None:
        """Bring what is newer than the current values into the entities, and tell how far history goes now."""
        by_entity: dict[str, list[tuple[AttributeSlot, Newest]]] = {}
        for slot, row in newest.items():
            by_entity.setdefault(slot[0], []).append((slot, row))
        for entity_id, rows in by_entity.items():
            stored = self._stored.get(entity_id)
            if stored is not None:
                await self._change_entity(stored, rows)
        known = [(entity_id, rows) for entity_id, rows in by_entity.items() if entity_id in self._stored]
        keys = [self._stored[entity_id].key for entity_id, _ in known]
        await self._connection.execute(_LOOK_UNTIL, (keys, [max(row.at for _, row in rows) for _, rows in known]))

    async def _change_entity(self, stored: StoredEntity, rows: Iterable[tuple[AttributeSlot, Newest]]) -> None:
        before = stored.entity
        attributes = {name: dict(group) for name, group in before.attributes.items()}
        changed = 0
        for (_, attribute, dataset), row in rows:
            present = attributes.get(attribute, {}).get(dataset)
            if is_newer(row, present):
                created = (present or {}).get("createdAt", to_text(self._now))
                stamps = {"createdAt": created, "modifiedAt": to_text(self._now)}
                attributes.setdefault(attribute, {})[dataset] = row.instance | stamps
                changed += 1
        if changed:
            after = replace(before, attributes=attributes, modified_at=self._now)
            change = EntityChange(before, after, ())
            await self._writer.write_state(self._connection, self._tenant_id, stored.key, change)
            self._result.current += changed

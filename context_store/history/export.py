# SPDX-License-Identifier: Apache-2.0
"""History as CSV, written by PostgreSQL: lines leave it as they are made, whatever their number.

Entities are found as the temporal API finds them and taken a few hundred at a time; the rows of each attribute come
along the primary key without sorting. All of it is one snapshot, so an export is of one moment however long it takes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from broker.history.rows import FORMULA_STARTS
from broker.query import EntityQuery
from context_store.compiled import to_psycopg
from context_store.database import Database
from context_store.history.identities import entities_in_window, window_attributes
from context_store.history.terms import TermIds
from context_store.history.writing import quality_numbers
from context_store.queries.statements import select_entities

_ENTITIES_AT_ONCE: Final = 200
_BLOCK_BYTES: Final = 64 * 1024
_ALL: Final = 2**31 - 1  # entities

# The lives of some entities, and which attributes each has in the range: one step in the primary key for each of them.
_SLOTS: Final[LiteralString] = """
    with recursive lives as (
        select id, entity_key, array_to_string(types, ' ') as types from entity_identity
         where tenant_id = %(tenant_id)s and id = any(%(ids)s)),
    held (entity_key, attribute_id) as (
        select entity_key, (select i.attribute_id from attribute_instance i
                             where i.entity_key = lives.entity_key and i.tenant_id = %(tenant_id)s
                               and i.observed_at >= %(start)s::timestamptz and i.observed_at < %(end)s::timestamptz
                             order by i.attribute_id limit 1)
          from lives
        union all
        select h.entity_key, (select i.attribute_id from attribute_instance i
                               where i.entity_key = h.entity_key and i.tenant_id = %(tenant_id)s
                                 and i.attribute_id > h.attribute_id
                                 and i.observed_at >= %(start)s::timestamptz and i.observed_at < %(end)s::timestamptz
                               order by i.attribute_id limit 1)
          from held h where h.attribute_id is not null
    )
    select id, types, entity_key, attribute_id from held join lives using (entity_key)
     where attribute_id is not null and (attribute_id = any(%(wanted)s::int[]) or %(wanted)s::int[] is null)
"""

_TIME: Final[LiteralString] = "replace(timezone('UTC', COLUMN)::text, ' ', 'T') || 'Z'"
_SAFE: Final[LiteralString] = "case when strpos(%(formulas)s, left(COLUMN, 1)) > 0 then '''' || COLUMN else COLUMN end"


_BELIEVED: Final[LiteralString] = """
 and i.recorded_at <= %(known_at)s::timestamptz
 and (i.superseded_at is null or i.superseded_at > %(known_at)s::timestamptz)"""


def _rows(*, corrections: bool, spreadsheet: bool) -> LiteralString:
    """The COPY of the rows of some slots, in the columns of :data:`broker.history.rows.COLUMNS`."""
    as_is: LiteralString = "COLUMN"
    all_of_them: LiteralString = ""
    cell = _SAFE if spreadsheet else as_is
    believed = all_of_them if corrections else _BELIEVED
    return (
        "copy (select s.id, s.types, s.name, i.dataset, (array['Property', 'Relationship', 'GeoProperty',"
        " 'LanguageProperty', 'VocabProperty', 'JsonProperty', 'ListProperty', 'ListRelationship'])[i.kind],"
        " case when i.has_observed_at then "
        + _TIME.replace("COLUMN", "i.observed_at")
        + " end, "
        + _TIME.replace("COLUMN", "i.recorded_at")
        + ", "
        + _TIME.replace("COLUMN", "i.superseded_at")
        + ", case when not i.removed then coalesce(i.json_value::text, i.number_value::text, i.boolean_value::text, "
        + cell.replace("COLUMN", "i.text_value")
        + ") end, case when i.removed then 'removed' when i.json_value is not null then 'json'"
        " when i.number_value is not null then 'number' when i.boolean_value is not null then 'boolean'"
        " else 'text' end, "
        + cell.replace("COLUMN", "i.unit_code")
        + ", (array['good', 'suspect', 'missing', 'estimated', 'maintenance'])[i.quality], i.source, i.detail::text"
        " from unnest(%(ids)s::text[], %(types)s::text[], %(names)s::text[], %(keys)s::bigint[], %(attributes)s::int[])"
        " as s (id, types, name, key, attribute_id) cross join lateral ("
        ' select i.*, (select t.name collate "C" from term t where t.term_id = i.dataset_id and i.dataset_id > 0)'
        ' as dataset, (select t.name collate "C" from term t where t.term_id = i.source_id and i.source_id > 0)'
        " as source"
        " from attribute_instance i where i.entity_key = s.key and i.tenant_id = %(tenant_id)s"
        " and i.attribute_id = s.attribute_id and i.observed_at >= %(start)s::timestamptz"
        " and i.observed_at < %(end)s::timestamptz"
        + believed
        + " and (coalesce(i.quality, 1) = any(%(qualities)s::smallint[]) or %(qualities)s::smallint[] is null)"
        " order by i.observed_at, dataset nulls first, source nulls first, i.recorded_at, i.value_hash) i"
        ") to stdout (format csv)"
    )


_STATEMENTS: Final[dict[tuple[bool, bool], LiteralString]] = {
    (corrections, spreadsheet): _rows(corrections=corrections, spreadsheet=spreadsheet)
    for corrections in (False, True)
    for spreadsheet in (False, True)
}


@dataclass(frozen=True, slots=True)
class ExportQuestion:
    """What is exported: entities that match in the range, these ``attributes`` of them (IRIs; None: all), from
    ``start`` until before ``end``, as believed now, at ``known_at``, or with ``corrections`` all that ever was.

    ``qualities``: only values of these; of which nothing is said, they count as good.
    ``spreadsheet`` puts an apostrophe before texts that a spreadsheet would take for formulas; such a file does not
    say what the hub has.
    """

    entities: EntityQuery
    attributes: tuple[str, ...] | None = None
    start: datetime | None = None
    end: datetime | None = None
    known_at: datetime | None = None
    corrections: bool = False
    spreadsheet: bool = False
    qualities: tuple[str, ...] | None = None

    @property
    def bounds(self) -> dict[str, Any]:
        """The range as statements take it."""
        return {
            "start": self.start.isoformat() if self.start else "-infinity",
            "end": self.end.isoformat() if self.end else "infinity",
            "only_observed": False,
            "known_at": self.known_at.isoformat() if self.known_at else "infinity",
        }


class ExportStore:
    """Exports of all tenants. ``name`` gives the name of an IRI in a file."""

    def __init__(self, database: Database, terms: TermIds, name: Callable[[str], str]) -> None:
        self._database = database
        self._terms = terms
        self._name = name

    async def lines(self, tenant_id: int, question: ExportQuestion) -> AsyncGenerator[bytes, None]:
        """Blocks of whole lines without a header: by entity id, attribute name, time."""
        wanted = None
        if question.attributes is not None:
            wanted = sorted((await self._terms.lookup(question.attributes)).values())
        async with (
            self._database.transaction(tenant_id, snapshot=True) as connection,
            aclosing(self._entities(connection, tenant_id, question)) as entities,
        ):
            async for ids in entities:
                slots = await self._slots(connection, tenant_id, ids, wanted, question)
                async with aclosing(_copied(connection, tenant_id, slots, question)) as blocks:
                    async for block in blocks:
                        yield block

    async def _entities(
        self, connection: AsyncConnection, tenant_id: int, question: ExportQuestion
    ) -> AsyncGenerator[list[str], None]:
        """Ids of the entities that match, some at a time."""
        query = question.entities
        numbers = sorted((await self._terms.lookup(window_attributes(query))).values())
        window = entities_in_window(query, numbers, question.bounds, "observed_at")
        page = select_entities(query, tenant_id=tenant_id, limit=_ALL, columns=("id",), indexed=False).add_cte(window)
        async with connection.cursor(name="export") as cursor:
            await cursor.execute(*to_psycopg(page))
            while rows := await cursor.fetchmany(_ENTITIES_AT_ONCE):
                yield [row[0] for row in rows]

    async def _slots(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        ids: Sequence[str],
        wanted: Collection[int] | None,
        question: ExportQuestion,
    ) -> list[tuple[str, str, str, int, int]]:
        """(id, types, name of the attribute, numbers of entity and attribute) in the order of the file."""
        values = {"tenant_id": tenant_id, "ids": ids, "wanted": wanted, **question.bounds}
        rows = await (await connection.execute(_SLOTS, values)).fetchall()
        names = await self._terms.names({row[3] for row in rows})
        named = [
            (entity_id, " ".join(map(self._name, types.split())), self._name(names[attribute]), key, attribute)
            for entity_id, types, key, attribute in rows
        ]
        return sorted(named, key=lambda slot: (slot[0], slot[2], slot[3]))


async def _copied(
    connection: AsyncConnection, tenant_id: int, slots: Sequence[tuple[Any, ...]], question: ExportQuestion
) -> AsyncGenerator[bytes, None]:
    """The lines of ``slots`` in blocks of about :data:`_BLOCK_BYTES`."""
    if not slots:
        return
    columns = zip(("ids", "types", "names", "keys", "attributes"), map(list, zip(*slots, strict=True)), strict=True)
    values: Mapping[str, Any] = {
        **dict(columns),
        **question.bounds,
        "tenant_id": tenant_id,
        "formulas": FORMULA_STARTS,
        "qualities": quality_numbers(question.qualities),
    }
    statement = _STATEMENTS[question.corrections, question.spreadsheet]
    waiting: list[bytes] = []
    size = 0
    async with connection.cursor().copy(statement, values) as copy:
        async for line in copy:
            waiting.append(bytes(line))
            size += len(line)
            if size >= _BLOCK_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)

# SPDX-License-Identifier: Apache-2.0
"""Corrections: what the hub believed of a moment before, and ceases to believe.

An instance is believed from ``recorded_at`` until before ``superseded_at``. Another value for the same observedAt of
the same attribute and dataset ends the belief in what was there, at the time the new row is recorded; a write through
an API whoever it came from, a reading only what its own device said. Nothing is looked for where nothing can be: an
instance that is newer than the current value, and than ``entity.look_until``, corrects nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import orjson
from psycopg import AsyncConnection

from broker.entities import AttributeChange
from context_store.arrays import bigints, cursor_for_arrays, integers, timestamps
from context_store.exchange import Rows, Statement, exchange
from context_store.history.writing import QUALITY_NUMBER, InstanceRows, Place, RowKey, free_key

# entity_key, tenant_id, attribute_id, observed_at, dataset_id: a moment of an attribute, whoever tells of it.
Slot = tuple[int, int, int, datetime, int]

# All rows of some moments. The bounds spare looking into other partitions.
_PAST: Final[LiteralString] = """
    select i.entity_key, i.tenant_id, i.attribute_id, i.observed_at, i.dataset_id, i.source_id, i.value_hash,
           i.superseded_at is null, i.kind, i.removed, i.number_value, i.text_value, i.boolean_value, i.json_value,
           i.unit_code, i.detail - 'createdAt', i.quality
      from unnest(%(entity_key)b::bigint[], %(tenant_id)b::int[], %(attribute_id)b::int[],
                  %(observed_at)b::timestamptz[], %(dataset_id)b::int[])
           as s (entity_key, tenant_id, attribute_id, observed_at, dataset_id)
      join attribute_instance i
        on i.entity_key = s.entity_key and i.tenant_id = s.tenant_id and i.attribute_id = s.attribute_id
       and i.observed_at = s.observed_at and i.dataset_id = s.dataset_id
     where i.has_observed_at and i.observed_at >= %(first)s::timestamptz and i.observed_at <= %(last)s::timestamptz
"""

_ASK_PAST: Final = Statement(_PAST)

# These rows are believed no longer. Clocks of two processes may differ: nothing ends before it began.
_SUPERSEDE: Final[LiteralString] = """
    update attribute_instance i set superseded_at = greatest(i.recorded_at, %(now)s)
      from unnest(%(entity_key)b::bigint[], %(tenant_id)b::int[], %(attribute_id)b::int[],
                  %(observed_at)b::timestamptz[], %(dataset_id)b::int[], %(source_id)b::int[], %(value_hash)b::bigint[])
           as s (entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash)
     where i.entity_key = s.entity_key and i.tenant_id = s.tenant_id and i.attribute_id = s.attribute_id
       and i.observed_at = s.observed_at and i.dataset_id = s.dataset_id and i.source_id = s.source_id
       and i.value_hash = s.value_hash and i.superseded_at is null
       and i.observed_at >= %(first)s::timestamptz and i.observed_at <= %(last)s::timestamptz
"""

# History has instances of these entities until these times that their current values do not tell of.
LOOK_UNTIL: Final[LiteralString] = """
    update entity e set look_until = greatest(e.look_until, r.moment)
      from unnest(%(keys)s::bigint[], %(moments)s::timestamptz[]) as r (entity_key, moment)
     where e.entity_key = r.entity_key
"""

_GOOD: Final = QUALITY_NUMBER["good"]


class PastRow(NamedTuple):
    """A row of history; ``content`` is all it says of the attribute."""

    key: RowKey
    believed: bool
    content: tuple[Any, ...] = ()

    @property
    def value(self) -> Any:
        """The number it says; None when it says something else."""
        return self.content[2] if self.content else None

    @property
    def place(self) -> Place:
        """Whose row it is, and of when."""
        return self.key[:6]


async def past_rows(connection: AsyncConnection, slots: Collection[Slot]) -> dict[Slot, list[PastRow]]:
    """What history has of ``slots``, believed or not. The caller keeps other writers of the entities out."""
    if not slots:
        return {}
    found = await cursor_for_arrays(connection).execute(_PAST, _columns(sorted(slots)))
    return _by_slot(await found.fetchall())


async def past_rows_at_once(connection: AsyncConnection, slots: Collection[Slot]) -> dict[Slot, list[PastRow]]:
    """As :func:`past_rows`, on a connection that is doing nothing else."""
    if not slots:
        return {}
    (rows,) = await exchange(connection, _ASK_PAST.of(_columns(sorted(slots))))
    return _by_slot(rows)


def _by_slot(rows: Rows) -> dict[Slot, list[PastRow]]:
    past: dict[Slot, list[PastRow]] = {}
    for row in rows:
        past.setdefault(row[:5], []).append(PastRow(row[:7], row[7], row[8:]))
    return past


async def supersede(connection: AsyncConnection, keys: Sequence[RowKey], now: datetime) -> None:
    """From ``now`` on, the rows with these keys are not believed."""
    if keys:
        columns = zip(*keys, strict=True)
        *_, sources, hashes = columns
        values = {**_columns(keys), "source_id": integers(sources), "value_hash": bigints(hashes), "now": now}
        await cursor_for_arrays(connection).execute(_SUPERSEDE, values)


async def insert_believed(
    connection: AsyncConnection, rows: InstanceRows, now: datetime, *, repeats: bool = True
) -> list[RowKey]:
    """Insert rows that came through an API, and supersede what they correct; returns the keys of those inserted.

    What is believed already is not inserted again, unless ``repeats`` is False.
    """
    superseded = settle(rows, await past_rows(connection, rows.look), repeats=repeats)
    await rows.insert(connection, now)
    await supersede(connection, superseded, now)
    return [row[:7] for row in rows.rows]


def settle(rows: InstanceRows, past: Mapping[Slot, list[PastRow]], *, repeats: bool = True) -> list[RowKey]:
    """Take the repeats out of ``rows`` and give each a key of its own; returns which rows are superseded.

    ``past`` is what history has of the moments that ``rows.look`` names.
    """
    if not rows.look and rows.are_distinct:
        return []
    held = {slot: list(found) for slot, found in past.items()}
    taken = {found.key for several in past.values() for found in several}
    kept: list[tuple[Any, ...]] = []
    superseded: list[RowKey] = []
    for row in rows.rows:
        key, content = row[:7], _content(row)
        if row[8]:  # has_observed_at: what has none is of the moment of writing, and nothing else is
            there = held.setdefault(row[:5], [])
            same = [found for found in there if found.believed and _is_same(found, content)][:1] if repeats else []
            superseded += [found.key for found in there if found.believed and found not in same]
            there[:] = [found if found in same else found._replace(believed=False) for found in there]
            if same:
                continue
        key = free_key(key, taken)
        taken.add(key)
        kept.append((*key, *row[7:]))
        if row[8]:
            there.append(PastRow(key, True, content))
    rows.rows[:] = kept
    return superseded


def _content(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """All that a row to insert says, as :class:`PastRow` has it."""
    kind, _, removed, number, text, boolean, json_text, unit_code, detail, quality = row[7:17]
    json_value = None if json_text is None else orjson.loads(json_text)
    beside = None if detail is None else orjson.loads(detail)
    return kind, removed, number, text, boolean, json_value, unit_code, beside, quality


def _is_same(found: PastRow, content: tuple[Any, ...]) -> bool:
    """Whether ``content`` says what ``found`` does; who says nothing of the quality does not deny that it is good."""
    return found.content[:-1] == content[:-1] and (
        found.content[-1] == content[-1] or (content[-1] is None and found.content[-1] == _GOOD)
    )


def hidden_until(changes: Iterable[AttributeChange]) -> datetime | None:
    """The newest observedAt that the current values tell of before ``changes`` and no longer afterwards."""
    hidden = None
    for change in changes:
        before, after = _observed(change.before), _observed(change.after)
        if before is not None and (after is None or after < before) and (hidden is None or before > hidden):
            hidden = before
    return hidden


def may_correct(change: AttributeChange, look_until: datetime | None) -> bool:
    """Whether history may have an instance of the moment that ``change`` is of."""
    before, after = _observed(change.before), _observed(change.after)
    if after is None:
        return False
    return (before is not None and after <= before) or (look_until is not None and after <= look_until)


def _observed(instance: Mapping[str, Any] | None) -> datetime | None:
    text = instance.get("observedAt") if instance else None
    return datetime.fromisoformat(text) if text else None


def _columns(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The columns of slots or keys as arrays, and the first and the last of their times."""
    keys, tenants, attributes, times, datasets = (list(column) for column in list(zip(*rows, strict=True))[:5])
    return {
        "entity_key": bigints(keys),
        "tenant_id": integers(tenants),
        "attribute_id": integers(attributes),
        "observed_at": timestamps(times),
        "dataset_id": integers(datasets),
        "first": min(times),
        "last": max(times),
    }

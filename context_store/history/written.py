# SPDX-License-Identifier: Apache-2.0
"""Plain numbers of history as the JSON that an answer has of them, written by the database.

Most of what sensors send is a number with its time. As rows, an instance costs ten times as much in this process as
in the database, and all requests share the process. So an attribute whose instances are all plain comes as one text;
others are left to the statement that reads rows, with the same answers to the last digit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, LiteralString, NamedTuple

import orjson
from psycopg import AsyncConnection

from broker.history.temporal import INSTANCE_ID, TemporalQuery, TimeProperty, WrittenForm, WrittenSeries
from context_store.history.instances import (
    BELIEVED,
    IN_OBSERVED,
    NOT_EXPIRED,
    WANTED,
    Series,
    bounds_of,
    is_bounded,
    is_within_partitions,
)
from context_store.history.terms import NO_TERM, TermIds
from schemas.terms import NO_DATASET

# What a text tells all of. Whole numbers of more digits would be written with an exponent.
_PLAIN: Final[LiteralString] = (
    "i.kind = 1 and i.number_value is not null and i.json_value is null and abs(i.number_value) < 1e15"
    " and i.has_observed_at and not i.removed"
)
_VALUE_ONLY: Final[LiteralString] = " and i.detail ->> 'expiresAt' is null"
_NOTHING_ELSE: Final[LiteralString] = " and i.detail is null and i.quality is null"
# "+ 0": there is no negative zero in an answer. Blanks and "+00" of times become T and Z afterwards.
_PAIR: Final[LiteralString] = """'[' || (i.number_value + 0) || ',"' || i.observed_at || '"]'"""
_INSTANCE: Final[LiteralString] = """
    '{"type":"Property","value":' || (i.number_value + 0) || ',"observedAt":"' || i.observed_at
    || '","instanceId":"INSTANCE_ID' || i.instance_key
    || case when i.dataset_id = 0 then '"}' else '","datasetId":' || i.dataset_id || '#}' end
""".replace("INSTANCE_ID", INSTANCE_ID)
_OLDEST: Final[LiteralString] = "i.observed_at, i.recorded_at, i.instance_key"
_NEWEST: Final[LiteralString] = "i.observed_at desc, i.recorded_at desc, i.instance_key desc"

_STATEMENT: Final[LiteralString] = f"""
    select w.owner, w.attribute_id, s.*
      from unnest(%(keys)s::bigint[], %(attributes)s::int[], %(owners)s::bigint[])
           as w (entity_key, attribute_id, owner)
     cross join lateral (
        select count(*)::int, bool_and(PLAIN), string_agg(WRITTEN, ',' order by ORDER), UNITS, DATASETS
          from (select * from attribute_instance i
                 where i.entity_key = w.entity_key and i.tenant_id = %(tenant_id)s
                   and i.attribute_id = w.attribute_id {WANTED} {BELIEVED} {NOT_EXPIRED} {IN_OBSERVED}
                 order by LIMITED limit %(limit)s) i
        GROUPED having count(*) > 0 order by FIRST) s
"""
_OLDEST_FIRST: Final[LiteralString] = "min(i.observed_at), min(i.recorded_at), min(i.instance_key)"
_NEWEST_FIRST: Final[LiteralString] = "max(i.observed_at) desc, max(i.recorded_at) desc, max(i.instance_key) desc"
_NO_UNITS: Final[LiteralString] = "null, null, 0"
_UNITS: Final[LiteralString] = 'min(i.unit_code collate "C"), max(i.unit_code collate "C"), count(i.unit_code)::int'
_STATEMENTS: Final = {
    WrittenForm.VALUES: _STATEMENT.replace("PLAIN", _PLAIN + _VALUE_ONLY)
    .replace("WRITTEN", _PAIR)
    .replace("UNITS", _NO_UNITS)
    .replace("DATASETS", "array[i.dataset_id]")
    .replace("GROUPED", "group by i.dataset_id"),
    WrittenForm.INSTANCES: _STATEMENT.replace("PLAIN", _PLAIN + _NOTHING_ELSE)
    .replace("WRITTEN", _INSTANCE)
    .replace("UNITS", _UNITS)
    .replace("DATASETS", "array_agg(distinct i.dataset_id)")
    .replace("GROUPED", ""),
}
# Which of several of one time are within the limit only matters where the newest are asked for.
_FORWARDS: Final = {
    form: text.replace("ORDER", _OLDEST).replace("LIMITED", "i.observed_at").replace("FIRST", _OLDEST_FIRST)
    for form, text in _STATEMENTS.items()
}
_BACKWARDS: Final = {
    form: text.replace("ORDER", _NEWEST).replace("LIMITED", _NEWEST).replace("FIRST", _NEWEST_FIRST)
    for form, text in _STATEMENTS.items()
}
_MOST_KNOWN: Final = 20_000


class _Row(NamedTuple):
    owner: int
    attribute: int
    instances: int
    is_plain: bool
    text: str
    lowest_unit: str | None
    highest_unit: str | None
    with_unit: int
    datasets: list[int]

    @property
    def holds(self) -> bool:
        """Whether the text tells all, with one unit for the whole of it."""
        return self.is_plain and self.with_unit in (0, self.instances) and self.lowest_unit == self.highest_unit


class Written(NamedTuple):
    """Texts by the number of their entity, of ``size`` instances in all; ``left`` is to be read as rows."""

    texts: dict[int, list[WrittenSeries]]
    left: list[Series]
    size: int


class PlainHistory:
    """Reads what is plain as text, and remembers of which attributes of which entities it is in vain to try."""

    def __init__(self, terms: TermIds) -> None:
        self._terms = terms
        self._mixed: set[tuple[WrittenForm, int, int]] = set()

    async def read(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        series: Sequence[Series],
        query: TemporalQuery,
        form: WrittenForm,
        datasets: Sequence[int] | None,
        most: int,
    ) -> Written:
        """The texts of those ``series`` that are all plain, at most ``most`` instances of each."""
        tried = [item for item in series if (form, item.owner, item.attribute) not in self._mixed]
        if not tried or not _may_be_written(query, series):
            return Written({}, list(series), 0)
        rows = await _rows(connection, tenant_id, tried, query, form, datasets, most)
        mixed = {(form, row.owner, row.attribute) for row in rows if not row.holds}
        self._remember(mixed)
        told = [row for row in rows if (form, row.owner, row.attribute) not in mixed]
        names = await self._terms.names({row.attribute for row in told} | {n for row in told for n in row.datasets})
        texts: dict[int, list[WrittenSeries]] = {}
        for row in told:
            dataset = NO_DATASET if row.datasets[0] == NO_TERM else names[row.datasets[0]]
            text = _finished(row, {n: names[n] for n in row.datasets}, form)
            texts.setdefault(row.owner, []).append(WrittenSeries(names[row.attribute], dataset, text))
        tried_slots = {(item.owner, item.attribute) for item in tried} - {key[1:] for key in mixed}
        left = [item for item in series if (item.owner, item.attribute) not in tried_slots]
        return Written(texts, left, sum(row.instances for row in told))

    def _remember(self, mixed: Collection[tuple[WrittenForm, int, int]]) -> None:
        if len(self._mixed) + len(mixed) > _MOST_KNOWN:
            self._mixed.clear()
        self._mixed.update(mixed)


def _may_be_written(query: TemporalQuery, series: Sequence[Series]) -> bool:
    """Whether time alone orders the instances, and each attribute has one life."""
    if query.time_property is not TimeProperty.OBSERVED_AT or query.corrections or is_bounded(series):
        return False
    return len({item.owner for item in series}) == len({item.key for item in series})


async def _rows(
    connection: AsyncConnection,
    tenant_id: int,
    series: Sequence[Series],
    query: TemporalQuery,
    form: WrittenForm,
    datasets: Sequence[int] | None,
    most: int,
) -> Iterable[_Row]:
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "keys": [item.key for item in series],
        "attributes": [item.attribute for item in series],
        "owners": [item.owner for item in series],
        "datasets": None if datasets is None else list(datasets),
        "limit": most if query.last_n is None else min(query.last_n, most),
        **bounds_of(query),
    }
    statement = (_FORWARDS if query.last_n is None else _BACKWARDS)[form]
    prepare = False if is_within_partitions(query) else None
    cursor = await connection.execute(statement, values, prepare=prepare)
    return [_Row(*row) for row in await cursor.fetchall()]


def _finished(row: _Row, datasets: dict[int, str], form: WrittenForm) -> str:
    """The text with times as JSON has them, and what is the same for all or rarely there."""
    text = row.text.replace(" ", "T").replace('+00"', 'Z"')
    if form is WrittenForm.VALUES:
        return text
    for number, name in datasets.items():
        text = text.replace(f'","datasetId":{number}#}}', f'","datasetId":{orjson.dumps(name).decode()}}}')
    if row.lowest_unit is None:
        return text
    return text.replace(',"instanceId":"', f',"unitCode":{orjson.dumps(row.lowest_unit).decode()},"instanceId":"')

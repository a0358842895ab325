# SPDX-License-Identifier: Apache-2.0
"""Reading history: the temporal evolution of entities out of ``attribute_instance``.

Each attribute is read by itself along the primary key (entity, attribute, time) and no further than an answer can
hold, so that a year of readings costs what the page costs. The statements are the same for native partitions and for
a hypertable; both order by time without sorting and skip what lies outside of the range.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import sqlalchemy as sa
from psycopg import AsyncConnection
from sqlalchemy.dialects.postgresql import ARRAY

from broker.aggregation import AggregatedPeriod, Aggregation
from broker.entities import VALUE_MEMBER, ExpandedEntity, Instance
from broker.errors import ResourceNotFound
from broker.query import EntityQuery, Ordering
from broker.temporal import SCOPE, Cut, HistoricInstance, TemporalQuery, TimeProperty, cut_to_page, newest
from broker.times import to_text
from context_store.aggregates import aggregate
from context_store.compiled import to_psycopg
from context_store.database import Database
from context_store.history import KIND_NAME, typed_value
from context_store.identities import (
    IDENTITY,
    Identity,
    entities_in_window,
    find_identities,
    scope_instances,
    window_attributes,
)
from context_store.query_sql import ENTITY, count_entities, select_entities
from context_store.terms import NO_TERM, TermIds
from schemas.terms import NO_DATASET

# Which attributes an entity has in history: one step in the primary key for each, however many rows it has.
_ATTRIBUTES: Final[LiteralString] = """
    with recursive held (entity_key, attribute_id) as (
        select key, (select i.attribute_id from attribute_instance i
                      where i.entity_key = key and i.tenant_id = %(tenant_id)s order by i.attribute_id limit 1)
          from unnest(%(keys)s::bigint[]) as key
        union all
        select h.entity_key, (select i.attribute_id from attribute_instance i
                               where i.entity_key = h.entity_key and i.tenant_id = %(tenant_id)s
                                 and i.attribute_id > h.attribute_id order by i.attribute_id limit 1)
          from held h where h.attribute_id is not null
    )
    select entity_key, attribute_id from held where attribute_id is not null
"""

_HEAD: Final[LiteralString] = """
    select i.entity_key, i.attribute_id, i.dataset_id, i.kind, i.observed_at, i.has_observed_at, i.removed,
           i.recorded_at, i.instance_key, i.number_value, i.text_value, i.boolean_value, i.json_value, i.unit_code,
           i.detail
      from unnest(%(keys)s::bigint[], %(attributes)s::int[]) as wanted (entity_key, attribute_id)
     cross join lateral (
        select * from attribute_instance i
         where i.entity_key = wanted.entity_key and i.tenant_id = %(tenant_id)s
           and i.attribute_id = wanted.attribute_id
           and i.recorded_at <= %(known_at)s::timestamptz
           and (i.superseded_at is null or i.superseded_at > %(known_at)s::timestamptz)
           and (i.has_observed_at or not %(only_observed)s)
           and (i.removed = %(removed)s::boolean or %(removed)s::boolean is null)
           and (i.dataset_id = any(%(datasets)s::int[]) or %(datasets)s::int[] is null)
"""
_IN_OBSERVED: Final[LiteralString] = """
           and i.observed_at >= %(start)s::timestamptz and i.observed_at < %(end)s::timestamptz
         order by i.observed_at"""
_IN_RECORDED: Final[LiteralString] = """
           and i.recorded_at >= %(start)s::timestamptz and i.recorded_at < %(end)s::timestamptz
         order by i.recorded_at"""
# Corrections of the same time stand in the order in which the hub learned of them.
_FIRST: Final[LiteralString] = ", i.recorded_at, i.instance_key limit %(limit)s) i"
_LAST: Final[LiteralString] = " desc, i.recorded_at desc, i.instance_key desc limit %(limit)s) i"

# (by the time of observation, only the newest) -> the instances of some attributes of some entities.
_INSTANCES: Final[dict[tuple[bool, bool], LiteralString]] = {
    (True, False): _HEAD + _IN_OBSERVED + _FIRST,
    (True, True): _HEAD + _IN_OBSERVED + _LAST,
    (False, False): _HEAD + _IN_RECORDED + _FIRST,
    (False, True): _HEAD + _IN_RECORDED + _LAST,
}

_HISTORY: Final = sa.Table(
    "attribute_instance",
    sa.MetaData(),
    sa.Column("entity_key", sa.BigInteger),
    sa.Column("tenant_id", sa.Integer),
    sa.Column("attribute_id", sa.Integer),
    sa.Column("dataset_id", sa.Integer),
    sa.Column("observed_at", sa.TIMESTAMP(timezone=True)),
    sa.Column("recorded_at", sa.TIMESTAMP(timezone=True)),
    sa.Column("has_observed_at", sa.Boolean),
    sa.Column("removed", sa.Boolean),
    sa.Column("superseded_at", sa.TIMESTAMP(timezone=True)),
)


@dataclass(frozen=True, slots=True)
class TemporalEntity:
    """An entity and the instances found, each attribute in the order of time (newest first with ``last_n``)."""

    entity: ExpandedEntity
    instances: tuple[HistoricInstance, ...] = ()
    cut_off: tuple[HistoricInstance, ...] = ()
    """One instance of each attribute whose instances are all on other pages."""
    deleted_at: datetime | None = None
    periods: tuple[AggregatedPeriod, ...] = ()
    """In the place of the instances, when the query aggregates."""


@dataclass(frozen=True, slots=True)
class TemporalPage:
    """What was found; ``cut`` when instances were left out, ``more`` when entities follow."""

    entities: tuple[TemporalEntity, ...]
    cut: Cut | None = None
    more: bool = False
    total: int | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """Instances by the number of their entity: those on the page, and when it was cut, all that were read."""

    kept: dict[int, list[HistoricInstance]]
    read: dict[int, list[HistoricInstance]]
    cut: Cut | None
    periods: dict[int, list[AggregatedPeriod]] = field(default_factory=dict)

    def of(self, identity: Identity) -> TemporalEntity:
        """What was found of one entity."""
        key = identity.keys[-1]
        kept = self.kept.get(key, ())
        shown = {item.attribute for item in kept}
        cut_off = {item.attribute: item for item in self.read.get(key, ()) if item.attribute not in shown}
        periods = tuple(self.periods.get(key, ()))
        return TemporalEntity(identity.entity, tuple(kept), tuple(cut_off.values()), identity.deleted_at, periods)


def _by_entity(instances: Iterable[tuple[int, HistoricInstance]]) -> dict[int, list[HistoricInstance]]:
    result: dict[int, list[HistoricInstance]] = {}
    for key, instance in instances:
        result.setdefault(key, []).append(instance)
    return result


class TemporalStore:
    """The history of all tenants. An answer holds at most ``max_instances`` instances."""

    def __init__(self, database: Database, terms: TermIds, *, max_instances: int) -> None:
        self._database = database
        self._terms = terms
        self._max_instances = max_instances

    async def retrieve(
        self, tenant_id: int, entity_id: str, query: TemporalQuery, attributes: Collection[str] | None = None
    ) -> TemporalPage:
        """The evolution of one entity, of all its attributes or of some (IRIs).

        Raises :class:`ResourceNotFound` when there is no such entity.
        """
        async with self._database.transaction(tenant_id) as connection:
            identity = (await find_identities(connection, tenant_id, [entity_id])).get(entity_id)
            if identity is None:
                raise ResourceNotFound(f"Entity {entity_id} does not exist")
            found = await self._instances(connection, tenant_id, [identity], query, attributes)
        return TemporalPage((found.of(identity),), found.cut)

    async def query(
        self,
        tenant_id: int,
        entities: EntityQuery,
        query: TemporalQuery,
        attributes: Collection[str] | None = None,
        *,
        limit: int,
        offset: int = 0,
        count: bool = False,
        ordering: Ordering | None = None,
    ) -> TemporalPage:
        """The evolution of one page of the entities that match and have instances in the range (clause 5.7.4.4)."""
        evolving = _has_instances(
            tenant_id, query, await self._numbers(attributes), await self._numbers(query.datasets)
        )
        numbers = await self._numbers(window_attributes(entities)) or ()
        window = entities_in_window(entities, numbers, _bounds(query), _axis(query))
        page = select_entities(
            entities,
            tenant_id=tenant_id,
            limit=limit + 1,
            offset=offset,
            ordering=ordering,
            columns=("id",),
            indexed=False,
        )
        total = None
        async with self._database.transaction(tenant_id) as connection:
            ids = await _first_column(connection, page.where(evolving).add_cte(window)) if limit else []
            if count:
                counted = count_entities(entities, tenant_id=tenant_id, indexed=False).where(evolving).add_cte(window)
                total = int((await _first_column(connection, counted))[0])
            known = await find_identities(connection, tenant_id, ids[:limit])
            found = await self._instances(connection, tenant_id, list(known.values()), query, attributes)
        evolved = tuple(found.of(known[entity_id]) for entity_id in ids[:limit] if entity_id in known)
        return TemporalPage(evolved, found.cut, len(ids) > limit > 0, total)

    async def _instances(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        identities: Sequence[Identity],
        query: TemporalQuery,
        attributes: Collection[str] | None,
    ) -> _Found:
        """The instances of these entities, all lives of one under the number of its newest."""
        entity_of = {key: identity.keys[-1] for identity in identities for key in identity.keys}
        instances: list[tuple[int, HistoricInstance]] = []
        slots = await self._slots(connection, tenant_id, list(entity_of), attributes)
        if query.aggregation is not None:
            wanted = [(key, attribute, entity_of[key]) for key, attribute in slots]
            return await self._aggregated(connection, tenant_id, wanted, query, query.aggregation)
        by_observed = query.time_property is TimeProperty.OBSERVED_AT
        if slots:
            datasets = await self._numbers(query.datasets)
            statement, values = history_statement(tenant_id, slots, query, self._max_instances + 1, datasets)
            rows = await (await connection.execute(statement, values)).fetchall()
            names = await self._terms.names({number for row in rows for number in row[1:3]})
            instances = [(entity_of[row[0]], _from_row(row, names, by_observed=by_observed)) for row in rows]
        if (attributes is None or SCOPE in attributes) and (query.datasets is None or NO_DATASET in query.datasets):
            most, bounds = self._max_instances + 1, _bounds(query)
            scopes = await scope_instances(connection, list(entity_of), bounds, most, by_observed=by_observed)
            instances += [(entity_of[key], item) for key, item in scopes]
        if query.last_n is not None:
            instances = newest(instances, query.last_n)
        kept, cut = cut_to_page(instances, query, self._max_instances)
        kept.sort(key=lambda item: item[1].order, reverse=query.last_n is not None)
        return _Found(_by_entity(kept), _by_entity(instances) if cut else {}, cut)

    async def _aggregated(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        slots: Sequence[tuple[int, int, int]],
        query: TemporalQuery,
        aggregation: Aggregation,
    ) -> _Found:
        datasets = await self._numbers(query.datasets)
        values = {"tenant_id": tenant_id, "datasets": datasets, **_bounds(query)}
        periods = await aggregate(connection, self._terms, aggregation, slots, values, _axis(query))
        return _Found({}, {}, None, periods)

    async def _slots(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        keys: Sequence[int],
        attributes: Collection[str] | None,
    ) -> list[tuple[int, int]]:
        """The pairs of entity and attribute to look at."""
        numbers = await self._numbers(attributes)
        if numbers is not None:
            return [(key, number) for key in keys for number in numbers]
        cursor = await connection.execute(_ATTRIBUTES, {"tenant_id": tenant_id, "keys": list(keys)})
        return [(key, number) for key, number in await cursor.fetchall()]

    async def _numbers(self, names: Collection[str] | None) -> list[int] | None:
        """The numbers of those names that occur in history; None for no names at all."""
        return None if names is None else sorted((await self._terms.lookup(names)).values())


def history_statement(
    tenant_id: int,
    slots: Sequence[tuple[int, int]],
    query: TemporalQuery,
    most: int,
    datasets: Sequence[int] | None = None,
) -> tuple[LiteralString, dict[str, Any]]:
    """What reads the instances of ``slots`` (pairs of entity and attribute numbers), at most ``most`` of each."""
    values = {
        "tenant_id": tenant_id,
        "keys": [key for key, _ in slots],
        "attributes": [attribute for _, attribute in slots],
        "datasets": None if datasets is None else list(datasets),
        "limit": most if query.last_n is None else min(query.last_n, most),
        **_bounds(query),
    }
    by_observed = query.time_property is TimeProperty.OBSERVED_AT
    return _INSTANCES[by_observed, query.last_n is not None], values


def _bounds(query: TemporalQuery) -> dict[str, Any]:
    """The range, and which rows count at all: those that were believed, and have the time property once a range is
    asked for."""
    removed: bool | None = None
    if query.time_property is TimeProperty.DELETED_AT:
        removed = True
    elif query.restricted and query.time_property is not TimeProperty.OBSERVED_AT:
        removed = False
    return {
        "start": query.start.isoformat() if query.start else "-infinity",
        "end": query.end.isoformat() if query.end else "infinity",
        "only_observed": query.restricted and query.time_property is TimeProperty.OBSERVED_AT,
        "removed": removed,
        "known_at": query.as_known_at.isoformat() if query.as_known_at else "infinity",
    }


def _axis(query: TemporalQuery) -> LiteralString:
    return "observed_at" if query.time_property is TimeProperty.OBSERVED_AT else "recorded_at"


async def _first_column(connection: AsyncConnection, statement: sa.Select[Any]) -> list[Any]:
    rows = await (await connection.execute(*to_psycopg(statement))).fetchall()
    return [row[0] for row in rows]


def _has_instances(
    tenant_id: int, query: TemporalQuery, attribute_ids: Sequence[int] | None, dataset_ids: Sequence[int] | None
) -> sa.ColumnElement[bool]:
    """Whether an entity has an instance that the temporal query finds."""
    bounds = _bounds(query)
    columns = _HISTORY.c
    axis = columns[_axis(query)]
    tenant = sa.literal(tenant_id, sa.Integer)
    found: sa.Select[Any] = sa.select(sa.literal_column("1")).where(
        IDENTITY.c.tenant_id == tenant,
        IDENTITY.c.id == ENTITY.c.id,
        columns.entity_key == IDENTITY.c.entity_key,
        columns.tenant_id == tenant,
    )
    for column, numbers in ((columns.attribute_id, attribute_ids), (columns.dataset_id, dataset_ids)):
        if numbers is not None:
            found = found.where(column == sa.any_(sa.literal(list(numbers), ARRAY(sa.Integer))))
    if query.start is not None:
        found = found.where(axis >= query.start)
    if query.end is not None:
        found = found.where(axis < query.end)
    if bounds["only_observed"]:
        found = found.where(columns.has_observed_at)
    if bounds["removed"] is not None:
        found = found.where(columns.removed.is_(bounds["removed"]))
    believed: sa.ColumnElement[bool] = columns.superseded_at.is_(None)
    if query.as_known_at is not None:
        believed = sa.or_(believed, columns.superseded_at > query.as_known_at)
        found = found.where(columns.recorded_at <= query.as_known_at)
    found = found.where(believed)
    return sa.exists(found)


def _from_row(row: tuple[Any, ...], names: Mapping[int, str], *, by_observed: bool) -> HistoricInstance:
    """One row of :data:`_HEAD`; times in UTC."""
    _, attribute_id, dataset_id, kind_number, observed_at, has_observed_at, removed, recorded_at, key, *value = row
    *typed, unit_code, detail = value
    kind = KIND_NAME[kind_number]
    instance: Instance = {"type": kind}
    if not removed:
        instance[VALUE_MEMBER[kind]] = typed_value(kind, *typed)
    if has_observed_at:
        instance["observedAt"] = to_text(observed_at)
    if unit_code is not None:
        instance["unitCode"] = unit_code
    return HistoricInstance(
        attribute=names[attribute_id],
        dataset=NO_DATASET if dataset_id == NO_TERM else names[dataset_id],
        instance=instance | (detail or {}),
        key=key,
        recorded_at=recorded_at.astimezone(UTC),
        place=_utc(observed_at if by_observed else recorded_at),
        removed=removed,
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)

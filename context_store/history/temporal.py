# SPDX-License-Identifier: Apache-2.0
"""The temporal evolution of entities: which have one, and what it is (clauses 5.7.3 and 5.7.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import sqlalchemy as sa
from psycopg import AsyncConnection

from broker.entities import ExpandedEntity
from broker.errors import ResourceNotFound, TooManyResults
from broker.history.aggregation import AggregatedSeries, Aggregation
from broker.history.temporal import (
    SCOPE,
    Cut,
    HistoricInstance,
    TemporalQuery,
    TimeProperty,
    WrittenForm,
    WrittenSeries,
    cut_to_page,
    newest,
)
from broker.query import EntityQuery, Ordering, ScopeTree
from context_store.compiled import to_psycopg
from context_store.database import Database
from context_store.history.aggregates import aggregate
from context_store.history.identities import (
    Identity,
    entities_in_window,
    find_identities,
    has_instances,
    window_attributes,
)
from context_store.history.instances import (
    Series,
    axis_of,
    bounds_of,
    from_rows,
    history_statement,
    is_within_partitions,
    on_first_page,
)
from context_store.history.scopes import scope_instances, spans_in_scope
from context_store.history.terms import TermIds
from context_store.history.written import PlainHistory, Written
from context_store.queries.statements import count_entities, select_entities
from schemas.terms import NO_DATASET

# Which attributes an entity has in history, in a range if one is asked for: one step in the primary key for each,
# however many rows it has.
_ATTRIBUTES: Final[LiteralString] = """
    with recursive held (entity_key, attribute_id) as (
        select key, (select i.attribute_id from attribute_instance i
                      where i.entity_key = key and i.tenant_id = %(tenant_id)s RANGE
                      order by i.attribute_id limit 1)
          from unnest(%(keys)s::bigint[]) as key
        union all
        select h.entity_key, (select i.attribute_id from attribute_instance i
                               where i.entity_key = h.entity_key and i.tenant_id = %(tenant_id)s
                                 and i.attribute_id > h.attribute_id RANGE order by i.attribute_id limit 1)
          from held h where h.attribute_id is not null
    )
    select entity_key, attribute_id from held where attribute_id is not null
"""

_EVER: Final = _ATTRIBUTES.replace("RANGE", "")
# Planned for its values, so that partitions of other times are left out.
_WITHIN: Final = _ATTRIBUTES.replace(
    "RANGE", "and i.observed_at >= %(start)s::timestamptz and i.observed_at < %(end)s::timestamptz"
)


@dataclass(frozen=True, slots=True)
class TemporalEntity:
    """An entity and the instances found, each attribute in the order of time (newest first with ``last_n``)."""

    entity: ExpandedEntity
    instances: tuple[HistoricInstance, ...] = ()
    cut_off: tuple[HistoricInstance, ...] = ()
    """One instance of each attribute whose instances are all on other pages."""
    deleted_at: datetime | None = None
    superseded: tuple[HistoricInstance, ...] = ()
    """What is believed no longer, when the query asks for corrections; in the order of time."""
    aggregated: tuple[AggregatedSeries, ...] = ()
    """In the place of the instances, when the query aggregates."""
    is_lasting: bool = True
    """Whether it is true until something is written: no part of it expires by itself."""
    written: tuple[WrittenSeries, ...] = ()
    """Attributes that are text already, in the place of their instances; only when the caller allows it."""


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
    superseded: dict[int, list[HistoricInstance]] = field(default_factory=dict)
    aggregated: dict[int, list[AggregatedSeries]] = field(default_factory=dict)
    is_lasting: bool = True
    written: dict[int, list[WrittenSeries]] = field(default_factory=dict)

    def of(self, identity: Identity) -> TemporalEntity:
        """What was found of one entity."""
        key = identity.keys[-1]
        kept = self.kept.get(key, ())
        shown = {item.attribute for item in kept}
        cut_off = {item.attribute: item for item in self.read.get(key, ()) if item.attribute not in shown}
        return TemporalEntity(
            identity.entity,
            tuple(kept),
            tuple(cut_off.values()),
            identity.deleted_at,
            tuple(self.superseded.get(key, ())),
            tuple(self.aggregated.get(key, ())),
            self.is_lasting,
            tuple(self.written.get(key, ())),
        )


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
        self._plain = PlainHistory(terms)
        self._max_instances = max_instances

    async def retrieve(
        self,
        tenant_id: int,
        entity_id: str,
        query: TemporalQuery,
        attributes: Collection[str] | None = None,
        *,
        form: WrittenForm | None = None,
    ) -> TemporalPage:
        """The evolution of one entity, of all its attributes or of some (IRIs).

        With ``form``, attributes of plain numbers may come as text that is :class:`WrittenSeries`.
        Raises :class:`ResourceNotFound` when there is no such entity.
        """
        async with self._database.transaction(tenant_id, snapshot=True) as connection:
            known = await find_identities(connection, tenant_id, [entity_id], known_at=query.as_known_at)
            if entity_id not in known:
                raise ResourceNotFound(f"Entity {entity_id} does not exist")
            identity = known[entity_id]
            found = await self._instances(connection, tenant_id, [identity], query, attributes, form=form)
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
        form: WrittenForm | None = None,
    ) -> TemporalPage:
        """The evolution of one page of the entities that match and have instances in the range (clause 5.7.4.4)."""
        evolving, window = await self._evolving(tenant_id, entities, query, attributes)
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
        async with self._database.transaction(tenant_id, snapshot=True) as connection:
            ids = await _first_column(connection, page.where(evolving).add_cte(window)) if limit else []
            if count:
                counted = count_entities(entities, tenant_id=tenant_id, indexed=False).where(evolving).add_cte(window)
                total = int((await _first_column(connection, counted))[0])
            known = await find_identities(connection, tenant_id, ids[:limit], known_at=query.as_known_at)
            identities = list(known.values())
            scope = entities.scope
            found = await self._instances(connection, tenant_id, identities, query, attributes, scope, form=form)
        evolved = tuple(found.of(known[entity_id]) for entity_id in ids[:limit] if entity_id in known)
        return TemporalPage(evolved, found.cut, len(ids) > limit > 0, total)

    async def find_ids(
        self,
        tenant_id: int,
        entities: EntityQuery,
        query: TemporalQuery,
        attributes: Collection[str] | None = None,
        *,
        most: int,
        ordering: Ordering | None = None,
    ) -> list[str]:
        """The ids of the entities that :meth:`query` finds, on all pages; at most ``most``."""
        evolving, window = await self._evolving(tenant_id, entities, query, attributes)
        found = select_entities(
            entities, tenant_id=tenant_id, limit=most, ordering=ordering, columns=("id",), indexed=False
        )
        async with self._database.transaction(tenant_id) as connection:
            return await _first_column(connection, found.where(evolving).add_cte(window))

    async def _evolving(
        self, tenant_id: int, entities: EntityQuery, query: TemporalQuery, attributes: Collection[str] | None
    ) -> tuple[sa.ColumnElement[bool], sa.CTE]:
        """The condition that an entity has instances in the range, and the entities as the range shows them."""
        evolving = has_instances(tenant_id, query, await self._numbers(attributes), await self._numbers(query.datasets))
        numbers = await self._numbers(window_attributes(entities)) or ()
        return evolving, entities_in_window(entities, numbers, bounds_of(query), axis_of(query))

    async def _instances(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        identities: Sequence[Identity],
        query: TemporalQuery,
        attributes: Collection[str] | None,
        scope: ScopeTree | None = None,
        *,
        form: WrittenForm | None = None,
    ) -> _Found:
        """The instances of these entities, all lives of one under the number of its newest."""
        series = await self._series(connection, tenant_id, identities, attributes, query)
        if scope is not None:
            series = await self._while_in_scope(connection, series, identities, scope, query.as_known_at)
        if query.aggregation is not None:
            return await self._aggregated(connection, tenant_id, series, query, query.aggregation)
        written = await self._written(connection, tenant_id, series, query, form)
        instances = await self._read(connection, tenant_id, written.left, query)
        if (attributes is None or SCOPE in attributes) and (query.datasets is None or NO_DATASET in query.datasets):
            owner_of = {key: identity.keys[-1] for identity in identities for key in identity.keys}
            by_observed = query.time_property is TimeProperty.OBSERVED_AT
            most = self._max_instances + 1
            scopes = await scope_instances(connection, list(owner_of), bounds_of(query), most, by_observed=by_observed)
            instances += [(owner_of[key], item) for key, item in scopes]
        if written.size and written.size + len(instances) > self._max_instances:
            # A page is cut between instances.
            return await self._instances(connection, tenant_id, identities, query, attributes, scope)
        if query.last_n is not None:
            instances = newest(instances, query.last_n)
        kept, cut = cut_to_page(instances, query, self._max_instances)
        kept.sort(key=lambda item: item[1].order, reverse=query.last_n is not None)
        superseded: dict[int, list[HistoricInstance]] = {}
        if query.corrections:
            shown = _shown(query, cut, kept)
            superseded = _by_entity(await self._read(connection, tenant_id, series, shown, superseded=True))
        shown_now = [item for _, item in instances] + [item for several in superseded.values() for item in several]
        is_lasting = not any("expiresAt" in item.instance for item in shown_now)
        read = _by_entity(instances) if cut else {}
        return _Found(_by_entity(kept), read, cut, superseded, is_lasting=is_lasting, written=written.texts)

    async def _written(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        series: Sequence[Series],
        query: TemporalQuery,
        form: WrittenForm | None,
    ) -> Written:
        """Attributes of plain numbers as text, where the caller takes it, and those that are left."""
        if form is None:
            return Written({}, list(series), 0)
        datasets = await self._numbers(query.datasets)
        most = self._max_instances + 1
        return await self._plain.read(connection, tenant_id, series, query, form, datasets, most)

    async def _read(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        series: Sequence[Series],
        query: TemporalQuery,
        *,
        superseded: bool = False,
    ) -> list[tuple[int, HistoricInstance]]:
        """Instances with the number of their entity. Raises :class:`TooManyResults` for too many superseded ones."""
        if not series:
            return []
        datasets = await self._numbers(query.datasets)
        most = self._max_instances + 1
        statement, values = history_statement(tenant_id, series, query, most, datasets, superseded=superseded)
        prepare = False if is_within_partitions(query) else None
        cursor = await connection.execute(statement, values, prepare=prepare)
        rows: Sequence[tuple[Any, ...]] = await cursor.fetchall()
        if superseded and len(rows) > self._max_instances:
            raise TooManyResults("There are too many corrections for one answer; ask for a shorter time")
        by_observed = query.time_property is TimeProperty.OBSERVED_AT
        if query.last_n is None and not superseded:
            rows = on_first_page(rows, self._max_instances, by_observed=by_observed)
        names = await self._terms.names({row[1] for row in rows} | {row[2] for row in rows})
        owner_of = {item.key: item.owner for item in series}
        found = from_rows(rows, names, by_observed=by_observed)
        return [(owner_of[row[0]], item) for row, item in zip(rows, found, strict=True)]

    async def _aggregated(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        series: Sequence[Series],
        query: TemporalQuery,
        aggregation: Aggregation,
    ) -> _Found:
        datasets = await self._numbers(query.datasets)
        values = {"tenant_id": tenant_id, "datasets": datasets, "last_n": query.last_n, **bounds_of(query)}
        found = await aggregate(connection, self._terms, aggregation, series, values, axis_of(query))
        return _Found({}, {}, None, aggregated=found.series, is_lasting=found.is_lasting)

    async def _series(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        identities: Sequence[Identity],
        attributes: Collection[str] | None,
        query: TemporalQuery,
    ) -> list[Series]:
        """The attributes to look at, in all lives of the entities."""
        owner_of = {key: identity.keys[-1] for identity in identities for key in identity.keys}
        numbers = await self._numbers(attributes)
        if numbers is not None:
            return [Series(key, number, owner) for key, owner in owner_of.items() for number in numbers]
        values = {"tenant_id": tenant_id, "keys": list(owner_of), **bounds_of(query)}
        bounded = is_within_partitions(query)
        cursor = await connection.execute(_WITHIN if bounded else _EVER, values, prepare=False if bounded else None)
        return [Series(key, number, owner_of[key]) for key, number in await cursor.fetchall()]

    async def _while_in_scope(
        self,
        connection: AsyncConnection,
        series: Sequence[Series],
        identities: Sequence[Identity],
        scope: ScopeTree,
        known_at: datetime | None,
    ) -> list[Series]:
        """``series`` while a scope that matches held (clause 4.18, annex C.5.16)."""
        spans = await spans_in_scope(connection, identities, scope, known_at)
        return [item._replace(since=since, until=until) for item in series for since, until in spans[item.owner]]

    async def _numbers(self, names: Collection[str] | None) -> list[int] | None:
        """The numbers of those names that occur in history; None for no names at all."""
        return None if names is None else sorted((await self._terms.lookup(names)).values())


async def _first_column(connection: AsyncConnection, statement: sa.Select[Any]) -> list[Any]:
    rows = await (await connection.execute(*to_psycopg(statement))).fetchall()
    return [row[0] for row in rows]


def _shown(query: TemporalQuery, cut: Cut | None, kept: Sequence[tuple[int, HistoricInstance]]) -> TemporalQuery:
    """``query`` about the time that the instances on the page are of."""
    if (cut is None and query.last_n is None) or not kept:
        return query
    places = [item.place for _, item in kept]
    start, end = min(places), max(places) + timedelta(microseconds=1)
    if cut is not None and query.last_n is None:
        return replace(query, end=end)
    return replace(query, start=start) if cut is None else replace(query, start=start, end=query.end)

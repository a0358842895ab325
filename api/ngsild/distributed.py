# SPDX-License-Identifier: Apache-2.0
"""Reading entities here and at context sources as if they were in one place (clauses 4.3.6.7, 5.7.1.4, 5.7.2.4).

Nothing here is reached in a tenant without registrations, nor with ``local=true``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from starlette.requests import Request

from api.hub import Hub
from api.ngsild.paging import Page
from api.ngsild.queries import QueryInput, filters_of
from api.ngsild.sources import ContextSources, Gathered, Keep, Source
from broker.contexts.jsonld import TermMap
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData, OperationNotSupported, ResourceNotFound, TooManyResults
from broker.linked import Fetch
from broker.query import EntityQuery, EntitySelector, TypeTree, matches, parse_q
from broker.registrations.matching import Share, SourceFilter, Wanted, wanted_by, without
from broker.registrations.merging import merged
from broker.registrations.operations import QUERY, QUERY_BATCH, RETRIEVE
from broker.registrations.requests import Asking, Filters, Manner, queries, retrievals
from context_store.entities.store import EntityPage, EntityStore

_RETRIEVING: Final = frozenset((RETRIEVE, QUERY, QUERY_BATCH))
_QUERYING: Final = frozenset((QUERY, QUERY_BATCH))


@dataclass(frozen=True, slots=True)
class Found:
    """An entity and what went wrong with sources; None when nobody has it."""

    entity: ExpandedEntity | None
    warnings: Sequence[str] = ()


class DistributedReads:
    """Entities of this hub and of the sources that are registered with it."""

    def __init__(self, hub: Hub, store: EntityStore, sources: ContextSources) -> None:
        self._store = store
        self.sources = sources
        self._splits = hub.settings.split_entities
        self._most = hub.settings.csource_max_entities

    async def entity(
        self,
        request: Request,
        tenant_id: int,
        entity_id: str,
        terms: TermMap,
        *,
        types: TypeTree | None,
        attributes: Iterable[str],
        mapped: bool,
    ) -> Found:
        """One entity (clause 5.7.1.4). ``mapped``: an entity map is asked for, which knows nothing of sources."""
        wanted = Wanted((EntitySelector((entity_id,), None, types),), frozenset(attributes))
        sources = await self.sources.matching(request, tenant_id, wanted, _RETRIEVING)
        if not sources:
            return Found(await self._local(tenant_id, entity_id, types))
        _refuse_map(mapped=mapped)

        def plan(source: Source, manner: Manner) -> tuple[list[Asking], None]:
            return retrievals(source.registration, entity_id, source.shares, manner), None

        local, gathered = await asyncio.gather(
            self._local(tenant_id, entity_id, None), self.sources.gather(request, sources, terms, plan)
        )
        whole = _whole([] if local is None else [local], gathered, sources).get(entity_id)
        if whole is not None and types is not None and not matches(whole, EntityQuery(types=types)):
            whole = None
        return Found(whole, gathered.warnings)

    async def _local(self, tenant_id: int, entity_id: str, types: TypeTree | None) -> ExpandedEntity | None:
        try:
            return await self._store.get(tenant_id, entity_id, types=types)
        except ResourceNotFound:
            return None

    def fetching(self, request: Request, tenant_id: int, terms: TermMap, warnings: list[str], *, local: bool) -> Fetch:
        """How linked entities are got; what goes wrong with sources is added to ``warnings``."""

        async def fetch(ids: Collection[str]) -> Mapping[str, ExpandedEntity]:
            held = await self._store.get_all(tenant_id, ids)
            if local or not await self.sources.any_of(tenant_id):
                return held
            wanted = Wanted((EntitySelector(tuple(ids)),))
            sources = await self.sources.matching(request, tenant_id, wanted, _QUERYING)
            if not sources:
                return held
            plan = partial(_ask_for, query=EntityQuery(), filters=Filters(), batch=False)
            gathered = await self.sources.gather(request, sources, terms, plan)
            warnings.extend(gathered.warnings)
            return _whole(held.values(), gathered, sources)

        return fetch

    async def query(
        self,
        request: Request,
        tenant_id: int,
        given: QueryInput,
        query: EntityQuery,
        page: Page,
        terms: TermMap,
        *,
        ordered: bool,
        mapped: bool,
    ) -> tuple[EntityPage, Sequence[str]] | None:
        """One page of entities by id (clause 5.7.2.4), and warnings; None when no source is concerned."""
        csf = None if given.csf is None else parse_q(given.csf, terms.expand_term, name="csf")
        asked = wanted_by(query)
        find = partial(self.sources.matching, request, tenant_id, operations=_QUERYING, sources=SourceFilter(csf))
        sources = await find(
            replace(asked, attributes=asked.named if asked.attributes else frozenset(), filtered=frozenset())
        )
        if not sources:
            return None
        if ordered:
            raise BadRequestData("orderBy needs local=true: entities of context sources are not ordered (5.7.2.4)")
        _refuse_map(mapped=mapped)
        if page.offset + page.limit > self._most:
            raise TooManyResults(f"Beyond {self._most} entities of context sources there are no pages")
        splits = self._splits or any(source.is_partial for source in sources)
        if splits if given.split is None else given.split:
            return await self._split(request, tenant_id, query, page, terms, sources)
        sources = await find(replace(asked, filtered=frozenset()))
        return await self._unsplit(request, tenant_id, given, query, page, terms, sources)

    async def _unsplit(
        self,
        request: Request,
        tenant_id: int,
        given: QueryInput,
        query: EntityQuery,
        page: Page,
        terms: TermMap,
        sources: Sequence[Source],
    ) -> tuple[EntityPage, Sequence[str]]:
        """Every place filters its own entities; what comes before the end of the page here is among the first here."""
        reach = page.offset + page.limit + 1 if page.limit else 0
        plan = partial(_ask_for, query=query, filters=filters_of(given), batch=request.method == "POST")
        local, gathered = await asyncio.gather(
            self._store.query(tenant_id, query, limit=reach, count=page.count),
            self.sources.gather(request, sources, terms, plan),
        )
        whole = _whole(local.entities, gathered, sources)
        total = None
        if page.count:
            elsewhere = {entity.id for entity in (*gathered.entities, *gathered.supplements)}
            total = (local.total or 0) + len(elsewhere) - await self._held(tenant_id, query, elsewhere)
        return _paged(whole, page, total), gathered.warnings

    async def _held(self, tenant_id: int, query: EntityQuery, ids: Collection[str]) -> int:
        """How many of ``ids`` are among what ``query`` finds here."""
        shared = set(ids) & set(query.ids) if query.ids else set(ids)
        if not shared:
            return 0
        among = replace(query, ids=tuple(sorted(shared)))
        return (await self._store.query(tenant_id, among, limit=0, count=True)).total or 0

    async def _split(
        self,
        request: Request,
        tenant_id: int,
        query: EntityQuery,
        page: Page,
        terms: TermMap,
        sources: Sequence[Source],
    ) -> tuple[EntityPage, Sequence[str]]:
        """Every place gives all that may be part of an entity; the filters are applied to whole entities."""
        candidates = replace(query, q=None, geo=None, scope=None, attributes=())
        plan = partial(_ask_for, query=EntityQuery(), filters=Filters(), batch=request.method == "POST")
        local, gathered = await asyncio.gather(
            self._store.query(tenant_id, candidates, limit=self._most),
            self.sources.gather(request, sources, terms, plan),
        )
        if local.more:
            raise TooManyResults(
                f"More than {self._most} entities here may have parts at context sources; narrow the query, "
                "or say splitEntities=false"
            )
        whole = _whole(local.entities, gathered, sources)
        found = {name: entity for name, entity in whole.items() if matches(entity, query)}
        return _paged(found, page, len(found) if page.count else None), gathered.warnings


def _refuse_map(*, mapped: bool) -> None:
    if mapped:
        raise OperationNotSupported(
            "Entity maps over context sources are not supported; local=true makes one of the hub's own entities"
        )


def _ask_for(
    source: Source, manner: Manner, *, query: EntityQuery, filters: Filters, batch: bool
) -> tuple[list[Asking], Keep | None]:
    """A query to one source; filters that it would not understand are applied to what it gives."""
    keep: Keep | None = None
    if not manner.knows_request and filters.needs_context:
        filtering = EntityQuery(attributes=query.attributes, q=query.q, geo=query.geo, scope=query.scope)
        filters, keep = Filters(), partial(matches, query=filtering)
    return queries(source.registration, source.shares, filters, manner, batch=batch), keep


def _whole(local: Iterable[ExpandedEntity], gathered: Gathered, sources: Sequence[Source]) -> dict[str, ExpandedEntity]:
    """All entities by id: of several versions one, without what the hub may not hold itself."""
    proxied: list[Share] = [
        share for source in sources if source.registration.mode.is_proxied for share in source.shares
    ]
    versions: dict[str, list[ExpandedEntity]] = {}
    supplements: dict[str, list[ExpandedEntity]] = {}
    for entity in local:
        kept = without(entity, proxied) if proxied else entity
        if kept is not None:
            versions.setdefault(entity.id, []).append(kept)
    for entity in gathered.entities:
        versions.setdefault(entity.id, []).append(entity)
    for entity in gathered.supplements:
        supplements.setdefault(entity.id, []).append(entity)
    now = datetime.now(UTC)
    result = {}
    for name in versions | supplements:
        one = merged(versions.get(name, ()), supplements.get(name, ()), now)
        if one is not None:
            result[name] = one
    return result


def _paged(entities: Mapping[str, ExpandedEntity], page: Page, total: int | None) -> EntityPage:
    names = sorted(entities)[page.offset :] if page.limit else []
    return EntityPage(tuple(entities[name] for name in names[: page.limit]), len(names) > page.limit > 0, total)

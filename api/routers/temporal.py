# SPDX-License-Identifier: Apache-2.0
"""``/temporal/entities``: how entities evolved (clauses 6.18 and 6.19), read from history."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.hub import Hub
from api.negotiation import answer, existing_tenant, linked_terms, negotiate
from api.ngsild.paging import PAGE_PARAMETERS, count_header, page_links, read_page
from api.ngsild.parameters import Parameters
from api.ngsild.projection import ENTITY_MAP_PARAMETERS, UNSUPPORTED_PARAMETERS, Projection, temporal_projection
from api.ngsild.queries import FILTER_PARAMETERS, check_width, entity_query, query_of_parameters
from api.ngsild.resource import Resource
from api.routers.entities import entity_id_of
from broker.errors import BadRequestData, ResourceNotFound
from broker.temporal import Cut, TemporalQuery, represent_temporal, temporal_query
from context_store.temporal import TemporalStore

_TIMES: Final = frozenset(("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN"))
_FORM: Final = frozenset(("attrs", "pick", "omit", "datasetId", "lang", "format", "options"))
_AGGREGATION: Final = frozenset(("aggrMethods", "aggrPeriodDuration"))
_RETRIEVE: Final = _TIMES | _FORM | _AGGREGATION | ENTITY_MAP_PARAMETERS
_QUERY: Final = _RETRIEVE | FILTER_PARAMETERS | PAGE_PARAMETERS | UNSUPPORTED_PARAMETERS


class TemporalEntities:
    """The operations that read temporal evolutions."""

    def __init__(self, hub: Hub, store: TemporalStore) -> None:
        self._hub = hub
        self._store = store

    async def retrieve(self, request: Request) -> Response:
        """Retrieve Temporal Evolution of an Entity: implements 6.19.3.1."""
        media_type = negotiate(request)
        parameters = Parameters(request, _RETRIEVE)
        entity_id = entity_id_of(request)
        terms = await linked_terms(request, self._hub.contexts)
        projection, simplified = temporal_projection(parameters, terms, media_type)
        query = _temporal_query(parameters, projection)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        page = await self._store.retrieve(tenant_id, entity_id, query, _attributes(projection))
        found = page.entities[0]
        payload = represent_temporal(
            found.entity,
            found.instances,
            terms,
            projection.representation,
            values_of=query.time_property if simplified else None,
        )
        if not payload or (projection.attributes and not found.instances):
            raise ResourceNotFound(f"Entity {entity_id} has nothing of what is asked for in this time")
        status, headers = _extent(page.cut)
        return answer(request, payload, terms, media_type, status=status, headers=headers)

    async def query(self, request: Request) -> Response:
        """Query Temporal Evolution of Entities: implements 6.18.3.2."""
        media_type = negotiate(request)
        parameters = Parameters(request, _QUERY)
        settings = self._hub.settings
        page = read_page(parameters, default_limit=settings.query_default_limit, max_limit=settings.query_max_limit)
        terms = await linked_terms(request, self._hub.contexts)
        projection, simplified = temporal_projection(parameters, terms, media_type)
        given = query_of_parameters(parameters)
        entities = entity_query(given, terms)
        attributes = _attributes(projection)
        check_width(given, replace(entities, attributes=tuple(attributes or ())))
        query = _temporal_query(parameters, projection)
        if not query.restricted:
            raise BadRequestData("A query of temporal evolutions needs timerel and timeAt")
        tenant_id = await existing_tenant(request, self._hub.tenants)
        result = await self._store.query(
            tenant_id,
            entities,
            query,
            attributes,
            limit=page.limit,
            offset=page.offset,
            count=page.count,
        )
        values_of = query.time_property if simplified else None
        payload = [
            represent_temporal(item.entity, item.instances, terms, projection.representation, values_of=values_of)
            for item in result.entities
        ]
        status, headers = _extent(result.cut)
        links = page_links(request, page, media_type, more=result.more)
        headers |= count_header(result.total)
        return answer(request, payload, terms, media_type, status=status, links=links, headers=headers)


def temporal_routes(hub: Hub, store: TemporalStore) -> list[BaseRoute]:
    """The resources of temporal evolutions."""
    temporal = TemporalEntities(hub, store)
    return [
        Resource("/temporal/entities/{entity_id}", GET=temporal.retrieve),
        Resource("/temporal/entities", GET=temporal.query),
    ]


def _temporal_query(parameters: Parameters, projection: Projection) -> TemporalQuery:
    return temporal_query(
        timerel=parameters.text("timerel"),
        time_at=parameters.time("timeAt"),
        end_time_at=parameters.time("endTimeAt"),
        time_property=parameters.text("timeproperty"),
        last_n=parameters.integer("lastN", least=1),
        datasets=projection.representation.datasets,
    )


def _attributes(projection: Projection) -> Collection[str] | None:
    """The attributes to read (IRIs): those projected, or None for all."""
    return projection.attributes or None


def _extent(cut: Cut | None) -> tuple[int, dict[str, str]]:
    """Status and headers: partial content says what it covers (clause 6.3.10)."""
    return (200, {}) if cut is None else (206, {"Content-Range": cut.content_range()})

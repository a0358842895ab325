# SPDX-License-Identifier: Apache-2.0
"""``/entityMaps`` and ``/temporal/entityMaps`` (clauses 6.32, 6.34 and 6.35)."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import REPRESENTATIONS, answer, existing_tenant, linked_terms, negotiate, read_document
from api.hub import Hub
from api.ngsild import evolutions
from api.ngsild.entity_maps import (
    ENTITY_MAP_HEADER,
    MappedEvolutions,
    MapRequest,
    map_header,
    map_of_body,
    map_of_parameters,
)
from api.ngsild.evolutions import EvolutionRequest, evolution_of_body, evolution_of_parameters
from api.ngsild.linked import retrieval_of_body, retrieval_of_parameters
from api.ngsild.operation import LOOKUP, READING, found, operation
from api.ngsild.parameters import Parameters
from api.ngsild.projection import (
    FORM_OPTIONS,
    FORMATS,
    TEMPORAL_FORMATS,
    TEMPORAL_OPTIONS,
    Projection,
    entity_form,
    projection_of_body,
    projection_of_parameters,
)
from api.ngsild.queries import (
    QueryInput,
    check_query_body,
    check_width,
    entity_query,
    query_of_body,
    query_of_parameters,
    read_local,
    requested_order,
)
from api.ngsild.resource import Resource
from api.routers.entities import POST_QUERY_PARAMETERS, QUERY_PARAMETERS
from broker.contexts.jsonld import TermMap, core_terms
from broker.entity_maps import EntityMap, represent_entity_map
from broker.errors import BadRequestData, OperationNotSupported, TooComplexQuery
from broker.validation import check_time, check_uri
from context_store.entities.maps import EntityMapStore, unknown_map
from context_store.history.temporal import TemporalStore
from schemas.terms import JSON

_MAP: Final = found("EntityMap", REPRESENTATIONS, ENTITY_MAP_HEADER, status=201)
_ERRORS: Final = (*READING, OperationNotSupported, TooComplexQuery)


class EntityMaps:
    """The operations on entity maps."""

    def __init__(self, hub: Hub, maps: EntityMapStore, history: TemporalStore) -> None:
        self._hub = hub
        self._maps = maps
        self._evolutions = MappedEvolutions(maps, history)

    @operation(QUERY_PARAMETERS, options=FORM_OPTIONS, formats=FORMATS, answers=(_MAP,), errors=_ERRORS)
    async def create(self, request: Request) -> Response:
        """Create EntityMap for Query Entities: implements 6.34.3.1."""
        negotiate(request, REPRESENTATIONS)
        parameters = Parameters(request)
        terms = await linked_terms(request, self._hub.contexts)
        depth = retrieval_of_parameters(parameters).depth
        projection = projection_of_parameters(parameters, terms, JSON, entity_form(parameters), depth=depth)
        asked = map_of_parameters(request, parameters)
        return await self._create(request, query_of_parameters(parameters), projection, depth, terms, asked)

    @operation(
        POST_QUERY_PARAMETERS,
        options=FORM_OPTIONS,
        formats=FORMATS,
        body="Query",
        answers=(_MAP,),
        errors=_ERRORS,
    )
    async def create_by_post(self, request: Request) -> Response:
        """Create EntityMap for Query Entities by POST: implements 6.34.3.2."""
        negotiate(request, REPRESENTATIONS)
        parameters = Parameters(request)
        document = await read_document(request, self._hub.contexts, self._hub.settings.max_request_bytes)
        check_query_body(document.body)
        body, terms = document.body, document.terms
        depth = retrieval_of_body(body).depth
        projection = projection_of_body(body, parameters, terms, JSON, entity_form(parameters), depth=depth)
        given = query_of_body(body, read_local(parameters))
        return await self._create(request, given, projection, depth, terms, map_of_body(request, body))

    async def _create(
        self,
        request: Request,
        given: QueryInput,
        projection: Projection,
        depth: int,
        terms: TermMap,
        asked: MapRequest,
    ) -> Response:
        query = entity_query(given, terms, attributes=projection.required_attributes, depth=depth)
        check_width(given, query)
        ordering = requested_order(given, terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        entity_map = await self._maps.create(tenant_id, query, ordering=ordering, lifetime=asked.lifetime)
        return await self._answer(request, tenant_id, entity_map, created=True)

    @operation(
        evolutions.QUERY_PARAMETERS, options=TEMPORAL_OPTIONS, formats=TEMPORAL_FORMATS, answers=(_MAP,), errors=_ERRORS
    )
    async def create_temporal(self, request: Request) -> Response:
        """Create EntityMap for Query Temporal Evolution of Entities: implements 6.35.3.1."""
        negotiate(request, REPRESENTATIONS)
        parameters = Parameters(request)
        terms = await linked_terms(request, self._hub.contexts)
        asked = evolution_of_parameters(request, parameters, terms, JSON)
        return await self._create_temporal(request, asked, terms)

    @operation(
        evolutions.POST_QUERY_PARAMETERS,
        options=TEMPORAL_OPTIONS,
        formats=TEMPORAL_FORMATS,
        body="TemporalQuery",
        answers=(_MAP,),
        errors=_ERRORS,
    )
    async def create_temporal_by_post(self, request: Request) -> Response:
        """Create EntityMap for Query Temporal Evolution of Entities by POST: implements 6.35.3.2."""
        negotiate(request, REPRESENTATIONS)
        parameters = Parameters(request)
        document = await read_document(request, self._hub.contexts, self._hub.settings.max_request_bytes)
        asked = evolution_of_body(request, parameters, document.body, document.terms, JSON)
        return await self._create_temporal(request, asked, document.terms)

    async def _create_temporal(self, request: Request, asked: EvolutionRequest, terms: TermMap) -> Response:
        selection = asked.selection(terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        entity_map = await self._evolutions.create(tenant_id, selection, asked.entity_map.lifetime)
        return await self._answer(request, tenant_id, entity_map, created=True)

    @operation(uses_context=False, answers=(found("EntityMap"),), errors=LOOKUP)
    async def retrieve(self, request: Request) -> Response:
        """Retrieve EntityMap: implements 6.32.3.1."""
        negotiate(request, REPRESENTATIONS)
        Parameters(request)
        map_id = _map_id(request)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        entity_map = await self._maps.find(tenant_id, map_id)
        if entity_map is None:
            raise unknown_map(map_id)
        return await self._answer(request, tenant_id, entity_map, created=False)

    @operation(body="EntityMapFragment", errors=LOOKUP)
    async def update(self, request: Request) -> Response:
        """Update EntityMap: implements 6.32.3.2. Only ``expiresAt`` can be changed (clause 5.5.14)."""
        Parameters(request)
        map_id = _map_id(request)
        document = await read_document(request, self._hub.contexts, self._hub.settings.max_request_bytes)
        fragment: dict[str, Any] = document.body
        if fragment.get("id", map_id) != map_id or fragment.get("type", "EntityMap") != "EntityMap":
            raise BadRequestData("The body is about something else than the request")
        tenant_id = await existing_tenant(request, self._hub.tenants)
        if "expiresAt" in fragment:
            await self._maps.set_expiry(tenant_id, map_id, check_time(fragment["expiresAt"], "expiresAt"))
        elif await self._maps.find(tenant_id, map_id) is None:
            raise unknown_map(map_id)
        return Response(status_code=204)

    @operation(uses_context=False, errors=LOOKUP)
    async def delete(self, request: Request) -> Response:
        """Delete EntityMap: implements 6.32.3.3."""
        Parameters(request)
        map_id = _map_id(request)
        await self._maps.delete(await existing_tenant(request, self._hub.tenants), map_id)
        return Response(status_code=204)

    async def _answer(self, request: Request, tenant_id: int, entity_map: EntityMap, *, created: bool) -> Response:
        payload = represent_entity_map(entity_map, await self._maps.entity_ids(tenant_id, entity_map))
        status, headers = (201, map_header(request, entity_map)) if created else (200, {})
        media_type = negotiate(request, REPRESENTATIONS)
        return answer(request, payload, core_terms(), media_type, status=status, headers=headers)


def _map_id(request: Request) -> str:
    return check_uri(request.path_params["map_id"], "The id of the EntityMap")


def entity_map_routes(hub: Hub, maps: EntityMapStore, history: TemporalStore) -> list[Resource]:
    """The resources of entity maps."""
    handlers = EntityMaps(hub, maps, history)
    return [
        Resource("/entityMaps", GET=handlers.create, POST=handlers.create_by_post),
        Resource("/entityMaps/{map_id}", GET=handlers.retrieve, PATCH=handlers.update, DELETE=handlers.delete),
        Resource("/temporal/entityMaps", GET=handlers.create_temporal, POST=handlers.create_temporal_by_post),
    ]

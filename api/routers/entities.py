# SPDX-License-Identifier: Apache-2.0
"""``/entities`` and ``/entityOperations/query``: whole entities (clauses 6.4, 6.5 and 6.23)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import (
    GEO_REPRESENTATIONS,
    answer,
    answering_terms,
    existing_tenant,
    linked_terms,
    negotiate,
    read_document,
)
from api.http.problem_details import error_response
from api.hub import Hub
from api.ngsild.distributed import DistributedReads
from api.ngsild.entity_maps import (
    ENTITY_MAP_HEADER,
    MappedEntities,
    MapRequest,
    map_header,
    map_of_body,
    map_of_one,
    map_of_parameters,
)
from api.ngsild.linked import LinkedWriter, retrieval_of_body, retrieval_of_parameters
from api.ngsild.operation import LOOKUP, READING, found, operation
from api.ngsild.paging import COUNT_HEADER, PAGE_PARAMETERS, Page, count_header, page_links, read_page
from api.ngsild.parameters import Parameters
from api.ngsild.projection import (
    ENTITY_MAP_PARAMETERS,
    FORM_OPTIONS,
    FORMATS,
    JOIN_PARAMETERS,
    ORDER_PARAMETERS,
    PROJECTION_PARAMETERS,
    Projection,
    entity_form,
    projection_of_body,
    projection_of_parameters,
)
from api.ngsild.queries import (
    FILTER_PARAMETERS,
    QueryInput,
    check_query_body,
    check_width,
    entity_query,
    query_of_body,
    query_of_parameters,
    read_local,
    requested_order,
)
from api.ngsild.remembered import Remembered
from api.ngsild.resource import Resource
from api.ngsild.sources import WARNING_HEADER, ContextSources, warning_header
from api.routers.bodies import entity_id_of
from api.routers.entity_changes import EntityChanges
from api.routers.purge import PurgeEntities
from broker.contexts.jsonld import TermMap
from broker.entities import ExpandedEntity
from broker.errors import OperationNotSupported, ResourceNotFound, TooComplexQuery, TooManyResults
from broker.linked import Join, LinkedRetrieval
from broker.operations import existing
from broker.query import TypeTree
from broker.representations import feature_collection
from context_store.entities.maps import EntityMapStore
from context_store.entities.store import EntityStore
from schemas.terms import GEO_JSON

_RETRIEVE: Final = PROJECTION_PARAMETERS | JOIN_PARAMETERS | ENTITY_MAP_PARAMETERS | {"type"}
QUERY_PARAMETERS: Final = _RETRIEVE | FILTER_PARAMETERS | ORDER_PARAMETERS | PAGE_PARAMETERS
POST_QUERY_PARAMETERS: Final = PAGE_PARAMETERS | {"options", "format", "geometryProperty"}
_COLLECTION: Final = (
    found("Entities", GEO_REPRESENTATIONS, COUNT_HEADER, ENTITY_MAP_HEADER, WARNING_HEADER),
    found("Entities", GEO_REPRESENTATIONS, COUNT_HEADER, ENTITY_MAP_HEADER, status=201),
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a query asks for: of which entities, how written, how far linked, which page, through which map."""

    entities: QueryInput
    projection: Projection
    retrieval: LinkedRetrieval
    page: Page
    entity_map: MapRequest


@dataclass(frozen=True, slots=True)
class _Retrieval:
    """What Retrieve Entity asks for beside the entity's id."""

    media_type: str
    projection: Projection
    retrieval: LinkedRetrieval
    types: TypeTree | None
    entity_map: MapRequest
    local: bool


def _read_retrieval(request: Request, terms: TermMap) -> _Retrieval:
    media_type = negotiate(request, GEO_REPRESENTATIONS)
    parameters = Parameters(request)
    retrieval = retrieval_of_parameters(parameters)
    form = entity_form(parameters)
    projection = projection_of_parameters(parameters, terms, media_type, form, depth=retrieval.depth)
    entity_map = map_of_parameters(request, parameters)
    local = bool(read_local(parameters))
    return _Retrieval(media_type, projection, retrieval, parameters.types(terms), entity_map, local)


class Entities:
    """The operations that read whole entities."""

    def __init__(self, hub: Hub, store: EntityStore, maps: EntityMapStore, sources: ContextSources) -> None:
        self._hub = hub
        self._store = store
        self._mapped = MappedEntities(maps, store)
        self._reads = DistributedReads(hub, store, sources)
        self._max_bytes = hub.settings.max_request_bytes
        self._retrievals = Remembered(_read_retrieval)

    @operation(
        _RETRIEVE,
        options=FORM_OPTIONS,
        formats=FORMATS,
        answers=(found("EntityOrLinked", GEO_REPRESENTATIONS, ENTITY_MAP_HEADER, WARNING_HEADER),),
        errors=(*LOOKUP, OperationNotSupported, TooComplexQuery),
    )
    async def retrieve(self, request: Request) -> Response:
        """Retrieve Entity: implements 6.5.3.1."""
        entity_id = entity_id_of(request)
        terms = await linked_terms(request, self._hub.contexts)
        asked = self._retrievals.get(request, terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        if asked.local or not await self._reads.sources.any_of(tenant_id):
            entity = await self._store.get(tenant_id, entity_id, types=asked.types)
            return await self._answer_retrieval(request, tenant_id, entity, asked, terms, [])
        found = await self._reads.entity(
            request,
            tenant_id,
            entity_id,
            terms,
            types=asked.types,
            attributes=asked.projection.required_attributes,
            mapped=asked.entity_map.in_use,
        )
        warnings = list(found.warnings)
        try:
            entity = existing(found.entity, entity_id)
            return await self._answer_retrieval(request, tenant_id, entity, asked, terms, warnings)
        except ResourceNotFound as error:  # maybe because a source gave nothing
            response = await error_response(request, error)
            response.headers.update(warning_header(warnings))
            return response

    async def _answer_retrieval(
        self,
        request: Request,
        tenant_id: int,
        entity: ExpandedEntity,
        asked: _Retrieval,
        terms: TermMap,
        warnings: list[str],
    ) -> Response:
        fetch = self._reads.fetching(request, tenant_id, terms, warnings, local=asked.local)
        writer = LinkedWriter(fetch, asked.retrieval)
        written = await writer.write([entity], asked.projection, terms, asked.media_type)
        payload = _collection(written, asked.media_type) if asked.retrieval.join is Join.FLAT else written[0]
        if not written[0] or not _has_any(entity, asked.projection.required_attributes):
            raise ResourceNotFound(f"Entity {entity.id} has none of the members asked for")
        through = asked.entity_map
        headers = warning_header(warnings)
        if through.in_use:
            headers |= map_header(request, await map_of_one(self._mapped.maps, tenant_id, entity.id, through))
        return answer(request, payload, terms, asked.media_type, headers=headers)

    @operation(
        QUERY_PARAMETERS,
        options=FORM_OPTIONS,
        formats=FORMATS,
        answers=_COLLECTION,
        errors=(*READING, OperationNotSupported, TooComplexQuery, TooManyResults),
    )
    async def query(self, request: Request) -> Response:
        """Query Entities: implements 6.4.3.2."""
        media_type = negotiate(request, GEO_REPRESENTATIONS)
        parameters = Parameters(request)
        page = self._page(parameters)
        terms = await linked_terms(request, self._hub.contexts)
        retrieval = retrieval_of_parameters(parameters)
        form = entity_form(parameters)
        projection = projection_of_parameters(parameters, terms, media_type, form, depth=retrieval.depth)
        entity_map = map_of_parameters(request, parameters)
        asked = _Asked(query_of_parameters(parameters), projection, retrieval, page, entity_map)
        return await self._answer_query(request, asked, terms, media_type)

    @operation(
        POST_QUERY_PARAMETERS,
        options=FORM_OPTIONS,
        formats=FORMATS,
        body="Query",
        answers=_COLLECTION,
        errors=(*READING, OperationNotSupported, TooComplexQuery, TooManyResults),
    )
    async def post_query(self, request: Request) -> Response:
        """Query Entities by POST: implements 6.23.3.1."""
        media_type = negotiate(request, GEO_REPRESENTATIONS)
        parameters = Parameters(request)
        page = self._page(parameters)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        check_query_body(document.body)
        body, terms = document.body, document.terms
        retrieval = retrieval_of_body(body)
        form = entity_form(parameters)
        projection = projection_of_body(body, parameters, terms, media_type, form, depth=retrieval.depth)
        given = query_of_body(body, read_local(parameters))
        asked = _Asked(given, projection, retrieval, page, map_of_body(request, body))
        return await self._answer_query(request, asked, terms, media_type)

    async def _answer_query(self, request: Request, asked: _Asked, terms: TermMap, media_type: str) -> Response:
        projection, page = asked.projection, asked.page
        query = entity_query(
            asked.entities, terms, attributes=projection.required_attributes, depth=asked.retrieval.depth
        )
        check_width(asked.entities, query)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        ordering = requested_order(asked.entities, terms)
        given, local, warnings = asked.entities, asked.entities.is_local, list[str]()
        status, headers = 200, dict[str, str]()
        distributed = None
        if not local and await self._reads.sources.any_of(tenant_id):
            mapped = asked.entity_map.in_use
            distributed = await self._reads.query(
                request, tenant_id, given, query, page, terms, ordered=ordering is not None, mapped=mapped
            )
        if distributed is not None:
            result, told = distributed
            warnings += told
        elif asked.entity_map.in_use:
            result, entity_map, new = await self._mapped.query(tenant_id, query, ordering, page, asked.entity_map)
            status, headers = 201 if new else 200, map_header(request, entity_map)
        else:
            result = await self._store.query(
                tenant_id, query, ordering=ordering, limit=page.limit, offset=page.offset, count=page.count
            )
        links = page_links(request, page, media_type, more=result.more) if request.method == "GET" else []
        written = answering_terms(terms, media_type)
        writer = LinkedWriter(self._reads.fetching(request, tenant_id, terms, warnings, local=local), asked.retrieval)
        payload = _collection(await writer.write(result.entities, projection, written, media_type), media_type)
        headers |= count_header(result.total) | warning_header(warnings)
        return answer(request, payload, written, media_type, status=status, links=links, headers=headers)

    def _page(self, parameters: Parameters) -> Page:
        settings = self._hub.settings
        return read_page(parameters, default_limit=settings.query_default_limit, max_limit=settings.query_max_limit)


def entity_routes(hub: Hub, store: EntityStore, maps: EntityMapStore, sources: ContextSources) -> list[Resource]:
    """The resources of whole entities."""
    entities = Entities(hub, store, maps, sources)
    changes = EntityChanges(hub, store, sources)
    return [
        Resource(
            "/entities/{entity_id}",
            GET=entities.retrieve,
            PUT=changes.replace,
            PATCH=changes.merge,
            DELETE=changes.delete,
        ),
        Resource(
            "/entities",
            of_items=("PUT", "PATCH"),  # without an id they are BadRequestData (5.6.17.4, 5.6.18.4)
            GET=entities.query,
            POST=changes.create,
            DELETE=PurgeEntities(hub, store, sources).purge,
        ),
        Resource("/entityOperations/query", POST=entities.post_query),
    ]


def _has_any(entity: ExpandedEntity, attributes: Iterable[str]) -> bool:
    wanted = tuple(attributes)
    return not wanted or any(name in entity.attributes for name in wanted)


def _collection(written: list[dict[str, Any]], media_type: str) -> list[dict[str, Any]] | dict[str, Any]:
    if media_type == GEO_JSON:
        return feature_collection(written)
    return [item for item in written if item]

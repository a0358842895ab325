# SPDX-License-Identifier: Apache-2.0
"""``/entities`` and ``/entityOperations/query``: whole entities (clauses 6.4, 6.5 and 6.23)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from api.hub import Hub
from api.negotiation import (
    GEO_REPRESENTATIONS,
    answer,
    answering_terms,
    created_tenant,
    existing_tenant,
    linked_terms,
    negotiate,
    read_document,
)
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
from api.ngsild.operation import CREATED, CREATION, LOOKUP, READING, found, operation
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
from api.ngsild.resource import Resource, location
from api.routers.purge import PurgeEntities
from broker.entities import EntityChange, ExpandedEntity
from broker.errors import BadRequestData, ResourceNotFound, TooComplexQuery
from broker.expansion import expand_entity, expand_fragment
from broker.jsonld import TermMap
from broker.linked import Join, LinkedRetrieval
from broker.operations import delete_entity, merge_entity, replace_entity
from broker.query import TypeTree
from broker.representations import Form, feature_collection
from broker.simplified import expand_simplified
from broker.times import to_text
from broker.validation import check_uri
from context_store.entity_maps import EntityMapStore
from context_store.entity_store import EntityStore
from schemas.terms import GEO_JSON

_RETRIEVE: Final = PROJECTION_PARAMETERS | JOIN_PARAMETERS | ENTITY_MAP_PARAMETERS | {"type"}
QUERY_PARAMETERS: Final = _RETRIEVE | FILTER_PARAMETERS | ORDER_PARAMETERS | PAGE_PARAMETERS
POST_QUERY_PARAMETERS: Final = PAGE_PARAMETERS | {"options", "format", "geometryProperty"}
_MERGE: Final = frozenset(("type", "options", "format", "lang", "observedAt"))
_SIMPLIFIED: Final = frozenset(("simplified", "keyValues"))
_COLLECTION: Final = (
    found("Entities", GEO_REPRESENTATIONS, COUNT_HEADER, ENTITY_MAP_HEADER),
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


def _read_retrieval(request: Request, terms: TermMap) -> _Retrieval:
    media_type = negotiate(request, GEO_REPRESENTATIONS)
    parameters = Parameters(request)
    retrieval = retrieval_of_parameters(parameters)
    form = entity_form(parameters)
    projection = projection_of_parameters(parameters, terms, media_type, form, depth=retrieval.depth)
    entity_map = map_of_parameters(request, parameters)
    return _Retrieval(media_type, projection, retrieval, parameters.types(terms), entity_map)


class Entities:
    """The operations on whole entities."""

    def __init__(self, hub: Hub, store: EntityStore, maps: EntityMapStore) -> None:
        self._hub = hub
        self._store = store
        self._mapped = MappedEntities(maps, store)
        self._max_bytes = hub.settings.max_request_bytes
        self._retrievals = Remembered(_read_retrieval)

    @operation(body="Entity", answers=(CREATED,), errors=CREATION)
    async def create(self, request: Request) -> Response:
        """Create Entity: implements 6.4.3.1."""
        Parameters(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        entity = expand_entity(document.body, document.terms)
        tenant_id = await created_tenant(request, self._hub.tenants)
        await self._store.create(tenant_id, entity)
        return Response(status_code=201, headers={"Location": location("entities", entity.id)})

    @operation(
        _RETRIEVE,
        options=FORM_OPTIONS,
        formats=FORMATS,
        answers=(found("EntityOrLinked", GEO_REPRESENTATIONS, ENTITY_MAP_HEADER),),
        errors=(*LOOKUP, TooComplexQuery),
    )
    async def retrieve(self, request: Request) -> Response:
        """Retrieve Entity: implements 6.5.3.1."""
        entity_id = entity_id_of(request)
        terms = await linked_terms(request, self._hub.contexts)
        asked = self._retrievals.get(request, terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        entity = await self._store.get(tenant_id, entity_id, types=asked.types)
        writer = LinkedWriter(self._store, tenant_id, asked.retrieval)
        written = await writer.write([entity], asked.projection, terms, asked.media_type)
        payload = _collection(written, asked.media_type) if asked.retrieval.join is Join.FLAT else written[0]
        if not written[0] or not _has_any(entity, asked.projection.required_attributes):
            raise ResourceNotFound(f"Entity {entity_id} has none of the members asked for")
        through = asked.entity_map
        headers = {}
        if through.in_use:
            headers = map_header(request, await map_of_one(self._mapped.maps, tenant_id, entity_id, through))
        return answer(request, payload, terms, asked.media_type, headers=headers)

    @operation(("type",), errors=LOOKUP)
    async def delete(self, request: Request) -> Response:
        """Delete Entity: implements 6.5.3.2."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        terms = await linked_terms(request, self._hub.contexts)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        await self._store.change(
            tenant_id, entity_id, lambda stored, _now: delete_entity(stored), types=parameters.types(terms)
        )
        return Response(status_code=204)

    @operation(("type",), body="EntityReplacement", errors=LOOKUP)
    async def replace(self, request: Request) -> Response:
        """Replace Entity: implements 6.5.3.3."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        entity = expand_entity({"id": entity_id, **document.body}, document.terms)
        check_same_id(entity.id, entity_id)
        await self._store.change(
            await existing_tenant(request, self._hub.tenants),
            entity_id,
            lambda stored, now: replace_entity(stored, entity, now),
            types=parameters.types(document.terms),
        )
        return Response(status_code=204)

    @operation(_MERGE, options=_SIMPLIFIED, formats=_SIMPLIFIED, body="EntityFragment", errors=LOOKUP)
    async def merge(self, request: Request) -> Response:
        """Merge Entity: implements 6.5.3.4."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        simplified = _is_simplified(parameters)
        language, observed_at = parameters.text("lang"), parameters.time("observedAt")
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        check_same_id(document.body.get("id", entity_id), entity_id)
        fragment = None if simplified else expand_fragment(document.body, document.terms, partial=True)

        def merged(stored: ExpandedEntity, now: datetime) -> EntityChange:
            given = fragment or expand_simplified(document.body, document.terms, stored, language=language)
            return merge_entity(stored, given, now, observed_at=to_text(observed_at) if observed_at else None)

        tenant_id = await existing_tenant(request, self._hub.tenants)
        await self._store.change(tenant_id, entity_id, merged, types=parameters.types(document.terms))
        return Response(status_code=204)

    @operation(
        QUERY_PARAMETERS,
        options=FORM_OPTIONS,
        formats=FORMATS,
        answers=_COLLECTION,
        errors=(*READING, TooComplexQuery),
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
        errors=(*READING, TooComplexQuery),
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
        status, headers = 200, {}
        if asked.entity_map.in_use:
            result, entity_map, new = await self._mapped.query(tenant_id, query, ordering, page, asked.entity_map)
            status, headers = 201 if new else 200, map_header(request, entity_map)
        else:
            result = await self._store.query(
                tenant_id, query, ordering=ordering, limit=page.limit, offset=page.offset, count=page.count
            )
        links = page_links(request, page, media_type, more=result.more) if request.method == "GET" else []
        written = answering_terms(terms, media_type)
        writer = LinkedWriter(self._store, tenant_id, asked.retrieval)
        payload = _collection(await writer.write(result.entities, projection, written, media_type), media_type)
        headers |= count_header(result.total)
        return answer(request, payload, written, media_type, status=status, links=links, headers=headers)

    def _page(self, parameters: Parameters) -> Page:
        settings = self._hub.settings
        return read_page(parameters, default_limit=settings.query_default_limit, max_limit=settings.query_max_limit)


def entity_routes(hub: Hub, store: EntityStore, maps: EntityMapStore) -> list[Resource]:
    """The resources of whole entities."""
    entities = Entities(hub, store, maps)
    return [
        Resource(
            "/entities/{entity_id}",
            GET=entities.retrieve,
            PUT=entities.replace,
            PATCH=entities.merge,
            DELETE=entities.delete,
        ),
        Resource("/entities", GET=entities.query, POST=entities.create, DELETE=PurgeEntities(hub).purge),
        Resource("/entityOperations/query", POST=entities.post_query),
    ]


def entity_id_of(request: Request) -> str:
    """The entity id in the path; raises ``BadRequestData`` when it is not a URI."""
    return check_uri(request.path_params["entity_id"], "The entity id")


def check_same_id(given: Any, entity_id: str) -> None:
    """A body may repeat the id of its entity; it cannot name another one."""
    if given != entity_id:
        raise BadRequestData(f"The body is about {given}, the request about {entity_id}")


def _is_simplified(parameters: Parameters) -> bool:
    form = parameters.text("format")
    options = parameters.options()
    if form is not None and form not in _SIMPLIFIED:
        raise BadRequestData(f"format is {form!r}; {Form.SIMPLIFIED} or keyValues is expected")
    return form is not None or bool(options)


def _has_any(entity: ExpandedEntity, attributes: Iterable[str]) -> bool:
    wanted = tuple(attributes)
    return not wanted or any(name in entity.attributes for name in wanted)


def _collection(written: list[dict[str, Any]], media_type: str) -> list[dict[str, Any]] | dict[str, Any]:
    if media_type == GEO_JSON:
        return feature_collection(written)
    return [item for item in written if item]

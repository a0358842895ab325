# SPDX-License-Identifier: Apache-2.0
"""``/temporal/entities``: how entities evolved (clauses 6.18 to 6.22): reading history, and all routes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import (
    REPRESENTATIONS,
    answer,
    answering_terms,
    existing_tenant,
    linked_terms,
    negotiate,
    preferred_version,
    read_document,
)
from api.hub import Hub
from api.ngsild.entity_maps import ENTITY_MAP_HEADER, MappedEvolutions, map_header, map_of_one
from api.ngsild.evolutions import (
    POST_QUERY_PARAMETERS,
    QUERY_PARAMETERS,
    RETRIEVE_PARAMETERS,
    EvolutionRequest,
    evolution_of_body,
    evolution_of_parameters,
)
from api.ngsild.kept_answers import KeptAnswers, key_of
from api.ngsild.kept_periods import KeptPeriods
from api.ngsild.operation import LOOKUP, READING, Answer, found, operation
from api.ngsild.paging import COUNT_HEADER, Page, count_header, page_links, read_page
from api.ngsild.parameters import Parameters
from api.ngsild.projection import TEMPORAL_FORMATS, TEMPORAL_OPTIONS
from api.ngsild.resource import Resource
from api.routers.bodies import entity_id_of
from api.routers.temporal_provision import TemporalProvision
from broker.contexts.jsonld import TermMap
from broker.errors import OperationNotSupported, ResourceNotFound, TooComplexQuery, TooManyResults
from broker.history.aggregation import AggregationMethod, represent_aggregated
from broker.history.temporal import Cut, WrittenForm, represent_temporal
from context_store.audiences.callers import current_caller
from context_store.entities.maps import EntityMapStore
from context_store.history.aggregates import together
from context_store.history.evolution import EvolutionStore
from context_store.history.temporal import TemporalEntity, TemporalPage, TemporalStore
from context_store.history.versions import HistoryVersions

_EVOLUTION: Final = (
    found("TemporalEvolution", REPRESENTATIONS, ENTITY_MAP_HEADER, "ETag"),
    found("TemporalEvolution", REPRESENTATIONS, ENTITY_MAP_HEADER, "Content-Range", "ETag", status=206),
    Answer(304, headers=("ETag",)),
)
_EVOLUTIONS: Final = (
    found("TemporalEvolutions", REPRESENTATIONS, COUNT_HEADER, ENTITY_MAP_HEADER),
    found("TemporalEvolutions", REPRESENTATIONS, COUNT_HEADER, ENTITY_MAP_HEADER, status=201),
    found("TemporalEvolutions", REPRESENTATIONS, COUNT_HEADER, ENTITY_MAP_HEADER, "Content-Range", status=206),
)
_ERRORS: Final = (OperationNotSupported, TooComplexQuery, TooManyResults)


def _write(asked: EvolutionRequest, found: TemporalEntity, terms: TermMap) -> dict[str, Any]:
    """One evolution as JSON."""
    representation = asked.projection.representation
    if asked.query.aggregation is not None:
        return represent_aggregated(found.entity, found.aggregated, asked.query.aggregation, terms, representation)
    return represent_temporal(
        found.entity,
        found.instances,
        terms,
        representation,
        values_of=asked.query.time_property if asked.form.as_values else None,
        cut_off=found.cut_off,
        deleted_at=found.deleted_at,
        superseded=found.superseded,
        written=found.written,
    )


def _written_form(request: Request, asked: EvolutionRequest) -> WrittenForm | None:
    """The form in which the store may write plain numbers as text; None when more has to be told of each."""
    if preferred_version(request) is not None:
        return None
    if asked.form.as_values:
        return WrittenForm.VALUES
    return None if asked.projection.representation.sys_attrs else WrittenForm.INSTANCES


class TemporalEntities:
    """The operations that read temporal evolutions."""

    def __init__(self, hub: Hub, store: TemporalStore, maps: EntityMapStore) -> None:
        self._hub = hub
        self._store = store
        self._mapped = MappedEvolutions(maps, store)
        self._versions = HistoryVersions(hub.database)
        kept_bytes = hub.settings.temporal_answers_mb * 1_000_000
        self._periods = KeptPeriods(kept_bytes // 2, time.monotonic)
        self._kept = KeptAnswers(kept_bytes - kept_bytes // 2, time.monotonic)

    @operation(
        RETRIEVE_PARAMETERS,
        options=TEMPORAL_OPTIONS,
        formats=TEMPORAL_FORMATS,
        answers=_EVOLUTION,
        errors=(*LOOKUP, *_ERRORS),
    )
    async def retrieve(self, request: Request) -> Response:
        """Retrieve Temporal Evolution of an Entity: implements 6.19.3.1."""
        terms = await linked_terms(request, self._hub.contexts)
        if not self._kept or current_caller().is_restricted:
            return await self._retrieve(request, terms, keep=False)
        kept = await self._kept.find(key := key_of(request), terms)
        if kept is not None and kept.version == await self._versions.of(kept.tenant_id, kept.entity_id):
            return kept.response(request)
        with self._kept.computing(key):
            return await self._retrieve(request, terms, keep=True)

    async def _retrieve(self, request: Request, terms: TermMap, *, keep: bool) -> Response:
        media_type = negotiate(request)
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        asked = evolution_of_parameters(request, parameters, terms, media_type)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        version = await self._versions.of(tenant_id, entity_id) if keep else None
        page = await self._evolution(tenant_id, entity_id, version, asked, _written_form(request, asked))
        (found,) = page.entities
        payload = _write(asked, found, terms)
        if not payload or (
            asked.attributes
            and not (found.instances or found.written or found.cut_off or found.aggregated or found.superseded)
        ):
            raise ResourceNotFound(f"Entity {entity_id} has nothing of what is asked for in this time")
        status, headers = _extent(page.cut)
        if asked.entity_map.in_use:
            headers |= map_header(request, await map_of_one(self._mapped.maps, tenant_id, entity_id, asked.entity_map))
        response = answer(request, payload, terms, media_type, status=status, headers=headers)
        if version is None or asked.entity_map.in_use or not found.is_lasting:
            return response
        kept = self._kept.keep(key_of(request), (tenant_id, entity_id, version), terms, response)
        return response if kept is None else kept.response(request)

    async def _evolution(
        self, tenant_id: int, entity_id: str, version: str | None, asked: EvolutionRequest, form: WrittenForm | None
    ) -> TemporalPage:
        """What history has of the entity; periods of which all methods are known are not computed again."""
        query = asked.query
        if version is None or query.aggregation is None:
            return await self._store.retrieve(tenant_id, entity_id, query, asked.attributes, form=form)
        period = replace(query.aggregation, methods=())

        async def compute(methods: tuple[AggregationMethod, ...]) -> TemporalPage:
            wanted = replace(query, aggregation=replace(period, methods=methods))
            return await self._store.retrieve(tenant_id, entity_id, wanted, asked.attributes)

        question = tenant_id, entity_id, asked.attributes, replace(query, aggregation=period)
        methods = query.aggregation.methods
        return await self._periods.ask(question, version, methods, together(query.aggregation, query.start), compute)

    @operation(
        QUERY_PARAMETERS,
        options=TEMPORAL_OPTIONS,
        formats=TEMPORAL_FORMATS,
        answers=_EVOLUTIONS,
        errors=(*READING, *_ERRORS),
    )
    async def query(self, request: Request) -> Response:
        """Query Temporal Evolution of Entities: implements 6.18.3.2."""
        media_type = negotiate(request)
        parameters = Parameters(request)
        page = self._page(parameters)
        terms = await linked_terms(request, self._hub.contexts)
        asked = evolution_of_parameters(request, parameters, terms, media_type)
        return await self._answer_query(request, asked, page, terms, media_type)

    @operation(
        POST_QUERY_PARAMETERS,
        options=TEMPORAL_OPTIONS,
        formats=TEMPORAL_FORMATS,
        body="TemporalQuery",
        answers=_EVOLUTIONS,
        errors=(*READING, *_ERRORS),
    )
    async def post_query(self, request: Request) -> Response:
        """Query Temporal Evolution of Entities by POST: implements 6.24.3.1."""
        media_type = negotiate(request)
        parameters = Parameters(request)
        page = self._page(parameters)
        document = await read_document(request, self._hub.contexts, self._hub.settings.max_request_bytes)
        asked = evolution_of_body(request, parameters, document.body, document.terms, media_type)
        return await self._answer_query(request, asked, page, document.terms, media_type)

    async def _answer_query(
        self, request: Request, asked: EvolutionRequest, page: Page, terms: TermMap, media_type: str
    ) -> Response:
        selection = asked.selection(terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        mapped: dict[str, str] = {}
        if asked.entity_map.in_use:
            result, entity_map, new = await self._mapped.query(tenant_id, selection, page, asked.entity_map)
            mapped = map_header(request, entity_map)
        else:
            form = _written_form(request, asked)
            result, new = await selection.run(self._store, tenant_id, page, form=form), False
        written = answering_terms(terms, media_type)
        payload = [_write(asked, item, written) for item in result.entities]
        status, headers = _extent(result.cut)
        links = page_links(request, page, media_type, more=result.more) if request.method == "GET" else []
        headers |= mapped | count_header(result.total)
        status = 201 if new and status == 200 else status
        return answer(request, payload, written, media_type, status=status, links=links, headers=headers)

    def _page(self, parameters: Parameters) -> Page:
        settings = self._hub.settings
        return read_page(parameters, default_limit=settings.query_default_limit, max_limit=settings.query_max_limit)


def temporal_routes(hub: Hub, store: TemporalStore, maps: EntityMapStore) -> list[Resource]:
    """The resources of temporal evolutions."""
    temporal = TemporalEntities(hub, store, maps)
    provision = TemporalProvision(hub, EvolutionStore(hub.database, hub.terms, hub.history))
    one = "/temporal/entities/{entity_id}"
    return [
        Resource(one, GET=temporal.retrieve, DELETE=provision.delete),
        Resource("/temporal/entities", GET=temporal.query, POST=provision.upsert),
        Resource("/temporal/entityOperations/query", POST=temporal.post_query),
        Resource(f"{one}/attrs", POST=provision.append),
        Resource(f"{one}/attrs/{{attribute}}", DELETE=provision.delete_attribute),
        Resource(
            f"{one}/attrs/{{attribute}}/{{instance_id}}",
            PATCH=provision.replace_instance,
            DELETE=provision.delete_instance,
        ),
    ]


def _extent(cut: Cut | None) -> tuple[int, dict[str, str]]:
    """Status and headers: partial content says what it covers (clause 6.3.10)."""
    return (200, {}) if cut is None else (206, {"Content-Range": cut.content_range()})

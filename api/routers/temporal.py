# SPDX-License-Identifier: Apache-2.0
"""``/temporal/entities``: how entities evolved (clauses 6.18 to 6.22): reading history, and all routes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from api.hub import Hub
from api.negotiation import (
    REPRESENTATIONS,
    answer,
    answering_terms,
    existing_tenant,
    linked_terms,
    negotiate,
    read_document,
)
from api.ngsild.aggregation import AGGREGATION_PARAMETERS, EvolutionForm, read_form, split_body
from api.ngsild.operation import LOOKUP, READING, found, operation
from api.ngsild.paging import COUNT_HEADER, PAGE_PARAMETERS, Page, count_header, page_links, read_page
from api.ngsild.parameters import Parameters
from api.ngsild.projection import (
    ENTITY_MAP_PARAMETERS,
    JOIN_PARAMETERS,
    TEMPORAL_FORMATS,
    TEMPORAL_OPTIONS,
    UNSUPPORTED_PARAMETERS,
    Projection,
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
    temporal_of_body,
)
from api.ngsild.resource import Resource
from api.routers.entities import entity_id_of
from api.routers.temporal_provision import TemporalProvision
from broker.aggregation import represent_aggregated
from broker.errors import BadRequestData, OperationNotSupported, ResourceNotFound, TooComplexQuery
from broker.jsonld import TermMap
from broker.query import Ordering
from broker.representations import Representation
from broker.temporal import Cut, TemporalQuery, represent_temporal, temporal_query
from context_store.evolution import EvolutionStore
from context_store.temporal import TemporalEntity, TemporalStore

_TIMES: Final = frozenset(("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN"))
_FORM: Final = frozenset(("attrs", "pick", "omit", "datasetId", "lang", "format", "options"))
_RETRIEVE: Final = _TIMES | _FORM | AGGREGATION_PARAMETERS | ENTITY_MAP_PARAMETERS
_POST_QUERY: Final = PAGE_PARAMETERS | {"options", "format"} | AGGREGATION_PARAMETERS
_QUERY: Final = _RETRIEVE | FILTER_PARAMETERS | PAGE_PARAMETERS | UNSUPPORTED_PARAMETERS

_EVOLUTION: Final = (
    found("TemporalEvolution"),
    found("TemporalEvolution", REPRESENTATIONS, "Content-Range", status=206),
)
_EVOLUTIONS: Final = (
    found("TemporalEvolutions", REPRESENTATIONS, COUNT_HEADER),
    found("TemporalEvolutions", REPRESENTATIONS, COUNT_HEADER, "Content-Range", status=206),
)
_ERRORS: Final = (OperationNotSupported, TooComplexQuery)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request asks for: of which entities, when, and how written."""

    entities: QueryInput
    query: TemporalQuery
    projection: Projection
    form: EvolutionForm

    def write(self, found: TemporalEntity, terms: TermMap) -> dict[str, Any]:
        """One evolution as JSON."""
        representation = self.projection.representation
        if self.query.aggregation is not None:
            return represent_aggregated(found.entity, found.periods, self.query.aggregation, terms, representation)
        values_of = self.query.time_property if self.form.as_values else None
        return represent_temporal(
            found.entity,
            found.instances,
            terms,
            representation,
            values_of=values_of,
            cut_off=found.cut_off,
            deleted_at=found.deleted_at,
        )


class TemporalEntities:
    """The operations that read temporal evolutions."""

    def __init__(self, hub: Hub, store: TemporalStore) -> None:
        self._hub = hub
        self._store = store

    @operation(
        _RETRIEVE,
        options=TEMPORAL_OPTIONS,
        formats=TEMPORAL_FORMATS,
        answers=_EVOLUTION,
        errors=(*LOOKUP, *_ERRORS),
    )
    async def retrieve(self, request: Request) -> Response:
        """Retrieve Temporal Evolution of an Entity: implements 6.19.3.1."""
        media_type = negotiate(request)
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        terms = await linked_terms(request, self._hub.contexts)
        form = read_form(parameters)
        projection = projection_of_parameters(parameters, terms, media_type, form.representation)
        query = _temporal_query(parameters, projection, form)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        page = await self._store.retrieve(tenant_id, entity_id, query, projection.attributes or None)
        found = page.entities[0]
        payload = _Asked(QueryInput(), query, projection, form).write(found, terms)
        if not payload or (projection.attributes and not (found.instances or found.cut_off or found.periods)):
            raise ResourceNotFound(f"Entity {entity_id} has nothing of what is asked for in this time")
        status, headers = _extent(page.cut)
        return answer(request, payload, terms, media_type, status=status, headers=headers)

    @operation(
        _QUERY,
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
        form = read_form(parameters)
        _check_not_linked(parameters)
        projection = projection_of_parameters(parameters, terms, media_type, form.representation, depth=0)
        query = _temporal_query(parameters, projection, form)
        asked = _Asked(query_of_parameters(parameters), query, projection, form)
        return await self._answer_query(request, asked, page, terms, media_type)

    @operation(
        _POST_QUERY,
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
        body, aggregation = split_body(document.body)
        check_query_body(body, temporal=True)
        form = EvolutionForm(Representation(), aggregation=aggregation) if aggregation else read_form(parameters)
        projection = projection_of_body(body, parameters, document.terms, media_type, form.representation)
        query = temporal_of_body(body.get("temporalQ", {}), projection.representation.datasets)
        query = replace(query, aggregation=form.aggregation)
        asked = _Asked(query_of_body(body, read_local(parameters)), query, projection, form)
        return await self._answer_query(request, asked, page, document.terms, media_type)

    async def _answer_query(
        self, request: Request, asked: _Asked, page: Page, terms: TermMap, media_type: str
    ) -> Response:
        if not asked.query.restricted:
            raise BadRequestData("A query of temporal evolutions needs timerel and timeAt")
        entities = entity_query(asked.entities, terms)
        attributes = asked.projection.attributes or None
        check_width(asked.entities, replace(entities, attributes=tuple(attributes or ())))
        result = await self._store.query(
            await existing_tenant(request, self._hub.tenants),
            entities,
            asked.query,
            attributes,
            limit=page.limit,
            offset=page.offset,
            count=page.count,
            ordering=_ordering(asked.entities, terms),
        )
        written = answering_terms(terms, media_type)
        payload = [asked.write(item, written) for item in result.entities]
        status, headers = _extent(result.cut)
        links = page_links(request, page, media_type, more=result.more) if request.method == "GET" else []
        headers |= count_header(result.total)
        return answer(request, payload, written, media_type, status=status, links=links, headers=headers)

    def _page(self, parameters: Parameters) -> Page:
        settings = self._hub.settings
        return read_page(parameters, default_limit=settings.query_default_limit, max_limit=settings.query_max_limit)


def temporal_routes(hub: Hub, store: TemporalStore) -> list[Resource]:
    """The resources of temporal evolutions."""
    temporal = TemporalEntities(hub, store)
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


def _temporal_query(parameters: Parameters, projection: Projection, form: EvolutionForm) -> TemporalQuery:
    query = temporal_query(
        timerel=parameters.text("timerel"),
        time_at=parameters.time("timeAt"),
        end_time_at=parameters.time("endTimeAt"),
        time_property=parameters.text("timeproperty"),
        last_n=parameters.integer("lastN", least=1),
        datasets=projection.representation.datasets,
    )
    return replace(query, aggregation=form.aggregation)


def _check_not_linked(parameters: Parameters) -> None:
    """Raise for parameters of Linked Entity retrieval, which evolutions do not know."""
    for name in JOIN_PARAMETERS:
        if name in parameters and (name, parameters.text(name)) != ("join", "@none"):
            raise OperationNotSupported(f"Parameter {name!r} is not for this operation")


def _ordering(given: QueryInput, terms: TermMap) -> Ordering | None:
    """The order of the entities: by ``id`` only (clause 5.7.4.4)."""
    ordering = requested_order(given, terms)
    if ordering is not None and any(term.path.names or term.path.member != "id" for term in ordering.terms):
        raise BadRequestData("orderBy: temporal evolutions can only be ordered by id")
    return ordering


def _extent(cut: Cut | None) -> tuple[int, dict[str, str]]:
    """Status and headers: partial content says what it covers (clause 6.3.10)."""
    return (200, {}) if cut is None else (206, {"Content-Range": cut.content_range()})

# SPDX-License-Identifier: Apache-2.0
"""``/csourceRegistrations``: registering context sources and finding them (clauses 6.8 and 6.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from adapters.web.guard import ForbiddenDestination, check_url
from api.access.secrets_shown import reveal
from api.http.negotiation import (
    REPRESENTATIONS,
    answer,
    answering_terms,
    created_tenant,
    existing_tenant,
    linked_terms,
    negotiate,
    read_document,
)
from api.hub import Hub
from api.ngsild.operation import CREATED, LOOKUP, READING, found, operation
from api.ngsild.paging import COUNT_HEADER, PAGE_PARAMETERS, Page, count_header, page_links, read_page
from api.ngsild.parameters import Parameters
from api.ngsild.queries import FILTER_PARAMETERS, QueryInput, entity_query, query_of_parameters
from api.ngsild.resource import Resource, location
from api.ngsild.source_notifications import SourceNotifier
from broker.contexts.jsonld import TermMap
from broker.document_members import Document, merge
from broker.errors import AlreadyExists, BadRequestData, Conflict
from broker.history.temporal import TemporalQuery, temporal_query
from broker.query import parse_q
from broker.registrations.document import expand_registration, merge_registration
from broker.registrations.matching import (
    SourceFilter,
    Wanted,
    conflicting,
    held_elsewhere,
    matching_information,
    wanted_by,
)
from broker.registrations.model import Registration, check_expiry, read_registration, represent_registration
from broker.times import to_text
from broker.validation import check_dataset, check_uri
from context_store.entities.store import EntityStore
from context_store.registrations.rows import RegistrationStore, StoredRegistration
from context_store.sealing import in_registration

_SYS_ATTRS: Final = "sysAttrs"
_TIME_PARAMETERS: Final = frozenset(("timerel", "timeAt", "endTimeAt", "timeproperty"))
_QUERY_PARAMETERS: Final = (
    (FILTER_PARAMETERS - {"splitEntities", "expandValues", "jsonKeys"})
    | PAGE_PARAMETERS
    | _TIME_PARAMETERS
    | {"attrs", "datasetId", "lang", "options"}
)


class CsourceRegistrations:
    """The operations on registrations. A change holds in this process at once, in all others within a second."""

    def __init__(self, hub: Hub, entities: EntityStore) -> None:
        self._hub = hub
        self._entities = entities
        self._store = RegistrationStore(hub.database, SourceNotifier(hub).registration_changed, hub.sealer)

    @operation(body="CSourceRegistration", answers=(CREATED,), errors=(AlreadyExists, Conflict))
    async def create(self, request: Request) -> Response:
        """Register Context Source: implements 6.8.3.1."""
        Parameters(request)
        given = await read_document(request, self._hub.contexts, self._hub.settings.max_request_bytes)
        document = expand_registration(given.body, given.terms)
        registration_id = check_uri(
            given.body.get("id", given.body.get("@id", f"urn:ngsi-ld:ContextSourceRegistration:{uuid4()}")), "id"
        )
        registration = _checked(document, registration_id)
        check_expiry(document, datetime.now(UTC))
        tenant_id = await created_tenant(request, self._hub.tenants)
        await self._check_entities(tenant_id, registration)
        await self._store.create(tenant_id, registration_id, document, given.terms.context, _check_others)
        await self._hub.registrations.refresh()
        return Response(status_code=201, headers={"Location": location("csourceRegistrations", registration_id)})

    @operation(
        _QUERY_PARAMETERS,
        options=(_SYS_ATTRS,),
        answers=(found("CSourceRegistrations", REPRESENTATIONS, COUNT_HEADER),),
        errors=READING,
    )
    async def query(self, request: Request) -> Response:
        """Query Context Source Registrations: implements 6.8.3.2. At least one of type, attrs, q and georel."""
        media_type = negotiate(request)
        parameters = Parameters(request)
        sys_attrs = _SYS_ATTRS in parameters.options()
        page = self._page(parameters)
        given = query_of_parameters(parameters)
        terms = await linked_terms(request, self._hub.contexts)
        wanted, sources = _asked(parameters, given, terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        await self._hub.registrations.refresh()
        keys = self._matching(tenant_id, wanted, sources)
        some = keys[page.offset : page.offset + page.limit]
        written = answering_terms(terms, media_type)
        payload = [
            _shown(self._readable(request, stored), written, sys_attrs=sys_attrs, wanted=wanted)
            for stored in await self._store.some(tenant_id, some)
        ]
        links = page_links(request, page, media_type, more=len(keys) > page.offset + page.limit)
        headers = count_header(len(keys) if page.count else None)
        return answer(request, payload, written, media_type, links=links, headers=headers)

    @operation(
        ("options",), options=(_SYS_ATTRS,), answers=(found("CSourceRegistrationRepresentation"),), errors=LOOKUP
    )
    async def retrieve(self, request: Request) -> Response:
        """Retrieve Context Source Registration: implements 6.9.3.1."""
        media_type = negotiate(request)
        sys_attrs = _SYS_ATTRS in Parameters(request).options()
        registration_id = _id_of(request)
        terms = answering_terms(await linked_terms(request, self._hub.contexts), media_type)
        stored = await self._store.get(await existing_tenant(request, self._hub.tenants), registration_id)
        shown = _shown(self._readable(request, stored), terms, sys_attrs=sys_attrs)
        return answer(request, shown, terms, media_type)

    @operation(body="CSourceRegistrationFragment", errors=(*LOOKUP, Conflict))
    async def update(self, request: Request) -> Response:
        """Update Context Source Registration: implements 6.9.3.2."""
        Parameters(request)
        registration_id = _id_of(request)
        given = await read_document(request, self._hub.contexts, self._hub.settings.max_request_bytes)
        if given.body.get("id", registration_id) != registration_id:
            raise BadRequestData("id: the id of a registration cannot be changed")
        fragment = expand_registration(given.body, given.terms, fragment=True)
        check_expiry(merge({}, fragment), datetime.now(UTC))
        tenant_id = await existing_tenant(request, self._hub.tenants)
        stored = await self._store.get(tenant_id, registration_id)
        await self._check_entities(tenant_id, _checked(merge_registration(stored.document, fragment), registration_id))

        def change(document: Document) -> Document:
            return merge_registration(document, fragment)

        await self._store.update(tenant_id, registration_id, change, _check_others)
        await self._hub.registrations.refresh()
        return Response(status_code=204)

    @operation(uses_context=False, errors=LOOKUP)
    async def delete(self, request: Request) -> Response:
        """Delete Context Source Registration: implements 6.9.3.3."""
        Parameters(request)
        registration_id = _id_of(request)
        await self._store.delete(await existing_tenant(request, self._hub.tenants), registration_id)
        await self._hub.registrations.refresh()
        return Response(status_code=204)

    def _readable(self, request: Request, stored: StoredRegistration) -> StoredRegistration:
        """With its ``contextSourceInfo`` as it was given, for who may see it."""
        return replace(stored, document=in_registration(stored.document, reveal(self._hub, request)))

    def _page(self, parameters: Parameters) -> Page:
        settings = self._hub.settings
        return read_page(parameters, default_limit=settings.query_default_limit, max_limit=settings.query_max_limit)

    def _matching(self, tenant_id: int, wanted: Wanted, sources: SourceFilter) -> list[int]:
        """The keys of those that match, in the order of creation."""
        now = datetime.now(UTC)
        return sorted(
            key
            for key, registration in self._hub.registrations.of(tenant_id).items()
            if registration.is_live(now)
            and sources.admits(registration)
            and any(True for _ in matching_information(registration, wanted))
        )

    async def _check_entities(self, tenant_id: int, registration: Registration) -> None:
        """Raise :class:`Conflict` when the hub holds what a proxied registration says is elsewhere (5.9.2.4)."""
        if not registration.mode.is_proxied:
            return
        for query in held_elsewhere(registration):
            held = await self._entities.query(tenant_id, query, limit=1)
            if held.entities:
                raise Conflict(f"The hub itself holds {held.entities[0].id}, which is registered as held elsewhere")


def _check_others(registration: Registration, proxied: Sequence[Registration]) -> None:
    """Raise :class:`Conflict` when one of ``proxied`` leaves no room for ``registration`` (clause 4.3.6.3)."""
    now = datetime.now(UTC)
    other = conflicting(registration, [item for item in proxied if item.is_live(now)])
    if other is not None:
        raise Conflict(f"Registration {other.id} ({other.mode}) is about the same attributes of the same entities")


def _checked(document: Document, registration_id: str) -> Registration:
    registration = read_registration(document, registration_id)
    try:
        check_url(registration.endpoint)
    except ForbiddenDestination as exc:
        raise BadRequestData(f"endpoint: {exc}") from exc
    return registration


def _asked(parameters: Parameters, given: QueryInput, terms: TermMap) -> tuple[Wanted, SourceFilter]:
    """What entities, and which sources, a query is about; raises ``BadRequestData`` for one that is too wide."""
    attributes = tuple(terms.expand_term(name) for name in parameters.names("attrs"))
    if given.types is None and not attributes and given.q is None and given.georel is None:
        raise BadRequestData("The query is too wide: give at least one of type, attrs, q, georel")
    query = entity_query(given, terms, attributes=attributes)
    datasets = frozenset(check_dataset(dataset, "datasetId") for dataset in parameters.names("datasetId"))
    csf = None if given.csf is None else parse_q(given.csf, terms.expand_term, name="csf")
    return wanted_by(query, datasets or None), SourceFilter(csf, query.scope, query.geo, _temporal(parameters))


def _temporal(parameters: Parameters) -> TemporalQuery:
    return temporal_query(
        timerel=parameters.text("timerel"),
        time_at=parameters.time("timeAt"),
        end_time_at=parameters.time("endTimeAt"),
        time_property=parameters.text("timeproperty"),
        last_n=None,
    )


def _shown(
    stored: StoredRegistration, terms: TermMap, *, sys_attrs: bool, wanted: Wanted | None = None
) -> dict[str, Any]:
    """A registration for clients; found by a query, with the matching elements of its information only (5.10.2.5)."""
    document = stored.document
    if wanted is not None:
        kept = [document["information"][index] for index in matching_information(stored.read(), wanted)]
        document = {**document, "information": kept or document["information"]}
    shown = represent_registration(document, stored.id, stored.counters, terms)
    if sys_attrs:
        shown |= {"createdAt": to_text(stored.created_at), "modifiedAt": to_text(stored.modified_at)}
    return shown


def _id_of(request: Request) -> str:
    return check_uri(request.path_params["registration_id"], "The registration id")


def csource_routes(hub: Hub, entities: EntityStore) -> list[Resource]:
    """The resources of context source registrations."""
    registrations = CsourceRegistrations(hub, entities)
    return [
        Resource("/csourceRegistrations", GET=registrations.query, POST=registrations.create),
        Resource(
            "/csourceRegistrations/{registration_id}",
            GET=registrations.retrieve,
            PATCH=registrations.update,
            DELETE=registrations.delete,
        ),
    ]

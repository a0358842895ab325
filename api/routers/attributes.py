# SPDX-License-Identifier: Apache-2.0
"""``/entities/{entityId}/attrs`` and one attribute of it (clauses 6.6 and 6.7)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import Document, existing_tenant, linked_terms, read_document
from api.hub import Hub
from api.ngsild.changes import DistributedChanges
from api.ngsild.operation import DISTRIBUTED, DONE, LOOKUP, PARTLY, Answer, operation
from api.ngsild.parameters import Parameters
from api.ngsild.resource import Resource
from api.ngsild.sources import ContextSources
from api.routers.bodies import attribute_iris, check_same_id, entity_id_of
from broker.contexts.jsonld import TermMap
from broker.entities import EntityChange, ExpandedEntity
from broker.errors import BadRequestData
from broker.expansion import expand_attribute, expand_fragment
from broker.operations import (
    SCOPE,
    UpdateOutcome,
    append_attributes,
    delete_attribute,
    partial_update_attribute,
    replace_attribute,
    update_attributes,
)
from broker.query import TypeTree
from broker.validation import check_dataset
from context_store.entities.store import EntityStore
from schemas.terms import JSON, NO_DATASET

_NO_OVERWRITE: Final = "noOverwrite"
_ERRORS: Final = (*LOOKUP, *DISTRIBUTED)
_MADE: Final = (DONE, PARTLY)
_UPDATED: Final = (DONE, Answer(207, "PartlyUpdated", (JSON,)))
Update = Callable[[ExpandedEntity, datetime], UpdateOutcome]


class _Asked(NamedTuple):
    """A request about one attribute: the operation as registrations call it, the attribute's IRI, the types it may
    have."""

    operation: str
    entity_id: str
    attribute: str
    terms: TermMap
    types: TypeTree | None


class EntityAttributes:
    """The operations on attributes of one entity."""

    def __init__(self, hub: Hub, store: EntityStore, sources: ContextSources) -> None:
        self._hub = hub
        self._store = store
        self._changes = DistributedChanges(sources, store)
        self._max_bytes = hub.settings.max_request_bytes

    @operation(("type", "options"), options=(_NO_OVERWRITE,), body="EntityFragment", answers=_UPDATED, errors=_ERRORS)
    async def append(self, request: Request) -> Response:
        """Append Attributes: implements 6.6.3.1."""
        parameters = Parameters(request)
        overwrite = _NO_OVERWRITE not in parameters.options()
        document = await self._read(request)

        def change(body: dict[str, Any]) -> Update:
            fragment = expand_fragment(body, document.terms)
            return lambda stored, now: append_attributes(stored, fragment, now, overwrite=overwrite)

        return await self._change_some(request, "appendAttrs", document, parameters, change)

    @operation(("type",), body="EntityFragment", answers=_UPDATED, errors=_ERRORS)
    async def update(self, request: Request) -> Response:
        """Update Attributes: implements 6.6.3.2."""
        parameters = Parameters(request)
        document = await self._read(request)

        def change(body: dict[str, Any]) -> Update:
            fragment = expand_fragment(body, document.terms, allow_null=True)
            return lambda stored, now: update_attributes(stored, fragment, now)

        return await self._change_some(request, "updateEntity", document, parameters, change)

    @operation(("type",), body="AttributeFragment", answers=_MADE, errors=_ERRORS)
    async def partial_update(self, request: Request) -> Response:
        """Partial Attribute Update: implements 6.7.3.1."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        name, attribute = _writable_name(request, document.terms)
        instances = expand_attribute(name, document.body, document.terms, partial=True)

        def change(stored: ExpandedEntity, now: datetime) -> EntityChange:
            return partial_update_attribute(stored, attribute, instances, now)

        asked = _Asked("updateAttrs", entity_id, attribute, document.terms, parameters.types(document.terms))
        return await self._change_one(request, asked, change, document.body)

    @operation(("type",), body="AttributeReplacement", answers=_MADE, errors=_ERRORS)
    async def replace(self, request: Request) -> Response:
        """Replace Attribute: implements 6.7.3.3."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        name, attribute = _writable_name(request, document.terms)
        instances = expand_attribute(name, document.body, document.terms)

        def change(stored: ExpandedEntity, now: datetime) -> EntityChange:
            return replace_attribute(stored, attribute, instances, now)

        asked = _Asked("replaceAttrs", entity_id, attribute, document.terms, parameters.types(document.terms))
        return await self._change_one(request, asked, change, document.body)

    @operation(("type", "datasetId", "deleteAll"), answers=_MADE, errors=_ERRORS)
    async def delete(self, request: Request) -> Response:
        """Delete Attribute: implements 6.7.3.2."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        dataset = check_dataset(parameters.text("datasetId") or NO_DATASET, "datasetId")
        delete_all = parameters.flag("deleteAll")
        terms = await linked_terms(request, self._hub.contexts)
        attribute = _expanded_name(request, terms)

        def change(stored: ExpandedEntity, now: datetime) -> EntityChange:
            return delete_attribute(stored, attribute, now, dataset=dataset, delete_all=delete_all)

        asked = _Asked("deleteAttrs", entity_id, attribute, terms, parameters.types(terms))
        return await self._change_one(request, asked, change)

    async def _read(self, request: Request) -> Document:
        """The body of a request about several attributes of the entity in its path."""
        entity_id = entity_id_of(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        check_same_id(document.body.get("id", entity_id), entity_id)
        return document

    async def _change_some(
        self,
        request: Request,
        operation: str,
        document: Document,
        parameters: Parameters,
        change: Callable[[dict[str, Any]], Update],
    ) -> Response:
        """Do ``change`` of the body, here and at the sources that have a part in it."""
        update, terms = change(document.body), document.terms
        entity_id, types = entity_id_of(request), parameters.types(terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        names = attribute_iris(document.body, terms) if await self._changes.applies(request, tenant_id) else ()
        shared = await self._changes.of(request, tenant_id, operation, entity_id, types=types, attributes=names)
        if shared is None:
            found = attribute_iris(document.body, terms)
            return _update_result(await self._store.change(tenant_id, entity_id, update, types=types, attributes=found))
        part = shared.part_here(document.body, terms)

        async def local() -> Response:
            return _update_result(await self._store.change(tenant_id, entity_id, change(part or {}), types=types))

        path, ours = ("entities", entity_id, "attrs"), None if part is None else local
        return await self._changes.make(request, shared, terms, path, ours, body=document.body)

    async def _change_one(
        self,
        request: Request,
        asked: _Asked,
        change: Callable[[ExpandedEntity, datetime], EntityChange],
        body: Any = None,
    ) -> Response:
        """Do ``change`` to the attribute in the path, here and at the sources that have a part in it."""
        entity_id, types, names = asked.entity_id, asked.types, (asked.attribute,)
        tenant_id = await existing_tenant(request, self._hub.tenants)

        async def local() -> Response:
            await self._store.change(tenant_id, entity_id, change, types=types, attributes=names)
            return Response(status_code=204)

        shared = await self._changes.of(request, tenant_id, asked.operation, entity_id, types=types, attributes=names)
        if shared is None:
            return await local()
        path = ("entities", entity_id, "attrs", request.path_params["attribute"])
        ours = local if shared.is_here(asked.attribute) else None
        return await self._changes.make(request, shared, asked.terms, path, ours, attribute=body)


def attribute_routes(hub: Hub, store: EntityStore, sources: ContextSources) -> list[Resource]:
    """The resources of attributes."""
    attributes = EntityAttributes(hub, store, sources)
    return [
        Resource(
            "/entities/{entity_id}/attrs/{attribute}",
            PATCH=attributes.partial_update,
            PUT=attributes.replace,
            DELETE=attributes.delete,
        ),
        Resource("/entities/{entity_id}/attrs", POST=attributes.append, PATCH=attributes.update),
    ]


def _expanded_name(request: Request, terms: TermMap) -> str:
    """The IRI of the attribute in the path; raises ``BadRequestData`` for what is no name."""
    return terms.expand_term(request.path_params["attribute"])


def _writable_name(request: Request, terms: TermMap) -> tuple[str, str]:
    """The attribute name in the path and its IRI; the scope cannot be updated or replaced (5.6.4.4, 5.6.19.4)."""
    attribute = _expanded_name(request, terms)
    if attribute == SCOPE:
        raise BadRequestData("The scope can be deleted here, but neither updated nor replaced")
    return request.path_params["attribute"], attribute


def _update_result(outcome: UpdateOutcome) -> Response:
    """204 when every attribute was written, else 207 with an UpdateResult (clause 5.2.18) and full names (6.3.6)."""
    if not outcome.not_updated:
        return Response(status_code=204)
    body = {
        "updated": list(outcome.updated),
        "notUpdated": [{"attributeName": entry.attribute, "reason": entry.reason} for entry in outcome.not_updated],
    }
    return Response(orjson.dumps(body), 207, media_type=JSON)

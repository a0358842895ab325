# SPDX-License-Identifier: Apache-2.0
"""``/entities/{entityId}/attrs`` and one attribute of it (clauses 6.6 and 6.7)."""

from __future__ import annotations

from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.hub import Hub
from api.negotiation import existing_tenant, linked_terms, read_document
from api.ngsild.operation import DONE, LOOKUP, Answer, operation
from api.ngsild.parameters import Parameters
from api.ngsild.resource import Resource
from api.routers.entities import check_same_id, entity_id_of
from broker.errors import BadRequestData
from broker.expansion import expand_attribute, expand_fragment
from broker.jsonld import TermMap
from broker.operations import (
    SCOPE,
    UpdateOutcome,
    append_attributes,
    delete_attribute,
    partial_update_attribute,
    replace_attribute,
    update_attributes,
)
from broker.validation import check_dataset
from context_store.entity_store import EntityStore
from schemas.terms import JSON, NO_DATASET

_NO_OVERWRITE: Final = "noOverwrite"
_UPDATED: Final = (DONE, Answer(207, "UpdateResult", (JSON,)))


class EntityAttributes:
    """The operations on attributes of one entity."""

    def __init__(self, hub: Hub, store: EntityStore) -> None:
        self._hub = hub
        self._store = store
        self._max_bytes = hub.settings.max_request_bytes

    @operation(("type", "options"), options=(_NO_OVERWRITE,), body="EntityFragment", answers=_UPDATED, errors=LOOKUP)
    async def append(self, request: Request) -> Response:
        """Append Attributes: implements 6.6.3.1."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        overwrite = _NO_OVERWRITE not in parameters.options()
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        check_same_id(document.body.get("id", entity_id), entity_id)
        fragment = expand_fragment(document.body, document.terms)
        outcome = await self._store.change(
            await existing_tenant(request, self._hub.tenants),
            entity_id,
            lambda stored, now: append_attributes(stored, fragment, now, overwrite=overwrite),
            types=parameters.types(document.terms),
        )
        return _update_result(outcome)

    @operation(("type",), body="EntityFragment", answers=_UPDATED, errors=LOOKUP)
    async def update(self, request: Request) -> Response:
        """Update Attributes: implements 6.6.3.2."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        check_same_id(document.body.get("id", entity_id), entity_id)
        fragment = expand_fragment(document.body, document.terms, allow_null=True)
        outcome = await self._store.change(
            await existing_tenant(request, self._hub.tenants),
            entity_id,
            lambda stored, now: update_attributes(stored, fragment, now),
            types=parameters.types(document.terms),
        )
        return _update_result(outcome)

    @operation(("type",), body="AttributeFragment", errors=LOOKUP)
    async def partial_update(self, request: Request) -> Response:
        """Partial Attribute Update: implements 6.7.3.1."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        name = _writable_name(request, document.terms)
        instances = expand_attribute(name, document.body, document.terms, partial=True)
        attribute = document.terms.expand_term(name)
        await self._store.change(
            await existing_tenant(request, self._hub.tenants),
            entity_id,
            lambda stored, now: partial_update_attribute(stored, attribute, instances, now),
            types=parameters.types(document.terms),
        )
        return Response(status_code=204)

    @operation(("type",), body="AttributeReplacement", errors=LOOKUP)
    async def replace(self, request: Request) -> Response:
        """Replace Attribute: implements 6.7.3.3."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        name = _writable_name(request, document.terms)
        instances = expand_attribute(name, document.body, document.terms)
        attribute = document.terms.expand_term(name)
        await self._store.change(
            await existing_tenant(request, self._hub.tenants),
            entity_id,
            lambda stored, now: replace_attribute(stored, attribute, instances, now),
            types=parameters.types(document.terms),
        )
        return Response(status_code=204)

    @operation(("type", "datasetId", "deleteAll"), errors=LOOKUP)
    async def delete(self, request: Request) -> Response:
        """Delete Attribute: implements 6.7.3.2."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        dataset = check_dataset(parameters.text("datasetId") or NO_DATASET, "datasetId")
        delete_all = parameters.flag("deleteAll")
        terms = await linked_terms(request, self._hub.contexts)
        attribute = _expanded_name(request, terms)
        await self._store.change(
            await existing_tenant(request, self._hub.tenants),
            entity_id,
            lambda stored, now: delete_attribute(stored, attribute, now, dataset=dataset, delete_all=delete_all),
            types=parameters.types(terms),
        )
        return Response(status_code=204)


def attribute_routes(hub: Hub, store: EntityStore) -> list[Resource]:
    """The resources of attributes."""
    attributes = EntityAttributes(hub, store)
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


def _writable_name(request: Request, terms: TermMap) -> str:
    """The attribute name in the path; the scope is none that can be updated or replaced (5.6.4.4, 5.6.19.4)."""
    if _expanded_name(request, terms) == SCOPE:
        raise BadRequestData("The scope can be deleted here, but neither updated nor replaced")
    name: str = request.path_params["attribute"]
    return name


def _update_result(outcome: UpdateOutcome) -> Response:
    """204 when every attribute was written, else 207 with an UpdateResult (clause 5.2.18) and full names (6.3.6)."""
    if not outcome.not_updated:
        return Response(status_code=204)
    body = {
        "updated": list(outcome.updated),
        "notUpdated": [{"attributeName": entry.attribute, "reason": entry.reason} for entry in outcome.not_updated],
    }
    return Response(orjson.dumps(body), 207, media_type=JSON)

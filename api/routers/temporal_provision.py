# SPDX-License-Identifier: Apache-2.0
"""Writing temporal evolutions: the operations of clauses 6.18 to 6.22 that add, change and remove history."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import created_tenant, existing_tenant, linked_terms, read_document
from api.hub import Hub
from api.ngsild.operation import CREATED, DONE, LOOKUP, operation
from api.ngsild.parameters import Parameters
from api.ngsild.resource import location
from api.routers.bodies import check_same_id, entity_id_of
from broker.errors import BadRequestData
from broker.history.temporal_input import expand_one_instance, expand_temporal, instance_key
from broker.validation import check_dataset
from context_store.history.evolution import EvolutionStore
from schemas.terms import NO_DATASET


class TemporalProvision:
    """The operations that write temporal evolutions."""

    def __init__(self, hub: Hub, store: EvolutionStore) -> None:
        self._hub = hub
        self._store = store
        self._max_bytes = hub.settings.max_request_bytes

    @operation(body="TemporalEntity", answers=(CREATED, DONE), errors=())
    async def upsert(self, request: Request) -> Response:
        """Create or Update Temporal Evolution of an Entity: implements 6.18.3.1."""
        Parameters(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        given = expand_temporal(document.body, document.terms)
        if given.id is None or not given.types:
            raise BadRequestData('A temporal evolution needs an "id" and a "type"')
        tenant_id = await created_tenant(request, self._hub.tenants)
        if await self._store.upsert(tenant_id, given.id, given):
            return Response(status_code=201, headers={"Location": location("temporal", "entities", given.id)})
        return Response(status_code=204)

    @operation(uses_context=False, errors=LOOKUP)
    async def delete(self, request: Request) -> Response:
        """Delete Temporal Evolution of an Entity: implements 6.19.3.2."""
        Parameters(request)
        entity_id = entity_id_of(request)
        await self._store.delete(await existing_tenant(request, self._hub.tenants), entity_id)
        return Response(status_code=204)

    @operation(body="TemporalEntityFragment", errors=LOOKUP)
    async def append(self, request: Request) -> Response:
        """Add Attributes to Temporal Evolution of an Entity: implements 6.20.3.1."""
        Parameters(request)
        entity_id = entity_id_of(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        check_same_id(document.body.get("id", entity_id), entity_id)
        given = expand_temporal(document.body, document.terms)
        await self._store.append(await existing_tenant(request, self._hub.tenants), entity_id, given)
        return Response(status_code=204)

    @operation(("datasetId", "deleteAll"), errors=LOOKUP)
    async def delete_attribute(self, request: Request) -> Response:
        """Delete Attribute from Temporal Evolution of an Entity: implements 6.21.3.1."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        dataset = check_dataset(parameters.text("datasetId") or NO_DATASET, "datasetId")
        delete_all = parameters.flag("deleteAll")
        terms = await linked_terms(request, self._hub.contexts)
        attribute = terms.expand_term(request.path_params["attribute"])
        tenant_id = await existing_tenant(request, self._hub.tenants)
        await self._store.delete_attribute(tenant_id, entity_id, attribute, dataset=dataset, delete_all=delete_all)
        return Response(status_code=204)

    @operation(body="AttributeInstance", errors=LOOKUP)
    async def replace_instance(self, request: Request) -> Response:
        """Modify Attribute instance in Temporal Evolution of an Entity: implements 6.22.3.1."""
        Parameters(request)
        entity_id = entity_id_of(request)
        instance = instance_key(request.path_params["instance_id"])
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        given = expand_one_instance(request.path_params["attribute"], document.body, document.terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        await self._store.replace_instance(tenant_id, entity_id, given, instance)
        return Response(status_code=204)

    @operation(errors=LOOKUP)
    async def delete_instance(self, request: Request) -> Response:
        """Delete Attribute instance from Temporal Evolution of an Entity: implements 6.22.3.2."""
        Parameters(request)
        entity_id = entity_id_of(request)
        instance = instance_key(request.path_params["instance_id"])
        terms = await linked_terms(request, self._hub.contexts)
        attribute = terms.expand_term(request.path_params["attribute"])
        tenant_id = await existing_tenant(request, self._hub.tenants)
        await self._store.delete_instance(tenant_id, entity_id, attribute, instance)
        return Response(status_code=204)

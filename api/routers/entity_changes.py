# SPDX-License-Identifier: Apache-2.0
"""Creating, deleting, replacing and merging whole entities, here and at context sources (clauses 6.4 and 6.5)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import created_tenant, existing_tenant, linked_terms, read_document
from api.hub import Hub
from api.ngsild.changes import DistributedChanges, Local
from api.ngsild.operation import CREATED, CREATION, DISTRIBUTED, DONE, LOOKUP, PARTLY, operation
from api.ngsild.parameters import Parameters
from api.ngsild.resource import location
from api.ngsild.sources import ContextSources
from api.routers.bodies import attribute_iris, check_same_id, entity_id_of
from broker.entities import EntityChange, ExpandedEntity
from broker.errors import BadRequestData
from broker.expansion import expand_entity, expand_fragment
from broker.operations import delete_entity, merge_entity, replace_entity
from broker.query import TypeTree
from broker.representations import Form
from broker.simplified import expand_simplified
from broker.times import to_text_or_none
from context_store.entities.store import EntityStore

_MERGE: Final = frozenset(("type", "options", "format", "lang", "observedAt"))
_SIMPLIFIED: Final = frozenset(("simplified", "keyValues"))


class EntityChanges:
    """The operations that change whole entities."""

    def __init__(self, hub: Hub, store: EntityStore, sources: ContextSources) -> None:
        self._hub = hub
        self._store = store
        self._changes = DistributedChanges(sources, store)
        self._max_bytes = hub.settings.max_request_bytes

    @operation(body="Entity", answers=(CREATED, PARTLY), errors=(*CREATION, *DISTRIBUTED))
    async def create(self, request: Request) -> Response:
        """Create Entity: implements 6.4.3.1."""
        Parameters(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        entity = expand_entity(document.body, document.terms)
        tenant_id = await created_tenant(request, self._hub.tenants)
        change = await self._changes.of(
            request, tenant_id, "createEntity", entity.id, types=entity.types, attributes=entity.attributes
        )
        done = Response(status_code=201, headers={"Location": location("entities", entity.id)})
        if change is None:
            await self._store.create(tenant_id, entity)
            return done
        part = change.part_here(document.body, document.terms)
        local = None if part is None else self._creating(tenant_id, expand_entity(part, document.terms), done)
        return await self._changes.make(
            request, change, document.terms, ("entities",), local, done=done, body=document.body
        )

    @operation(("type",), answers=(DONE, PARTLY), errors=(*LOOKUP, *DISTRIBUTED))
    async def delete(self, request: Request) -> Response:
        """Delete Entity: implements 6.5.3.2."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        terms = await linked_terms(request, self._hub.contexts)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        types = parameters.types(terms)
        local = self._changing(tenant_id, entity_id, types, lambda stored, _now: delete_entity(stored))
        change = await self._changes.of(request, tenant_id, "deleteEntity", entity_id, types=types)
        if change is None:
            return await local()
        ours = None if change.ours is None else local
        return await self._changes.make(request, change, terms, ("entities", entity_id), ours)

    @operation(("type",), body="EntityReplacement", answers=(DONE, PARTLY), errors=(*LOOKUP, *DISTRIBUTED))
    async def replace(self, request: Request) -> Response:
        """Replace Entity: implements 6.5.3.3."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        entity = expand_entity({"id": entity_id, **document.body}, document.terms)
        check_same_id(entity.id, entity_id)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        types = parameters.types(document.terms)
        change = await self._changes.of(request, tenant_id, "replaceEntity", entity_id, types=entity.types)
        if change is not None and change.ours is not None:
            part = change.ours.part(document.body, document.terms)
            entity = expand_entity({"id": entity_id, **part}, document.terms)
        local = self._changing(tenant_id, entity_id, types, lambda stored, now: replace_entity(stored, entity, now))
        if change is None:
            return await local()
        path, ours = ("entities", entity_id), None if change.ours is None else local
        return await self._changes.make(request, change, document.terms, path, ours, body=document.body)

    @operation(
        _MERGE,
        options=_SIMPLIFIED,
        formats=_SIMPLIFIED,
        body="EntityFragment",
        answers=(DONE, PARTLY),
        errors=(*LOOKUP, *DISTRIBUTED),
    )
    async def merge(self, request: Request) -> Response:
        """Merge Entity: implements 6.5.3.4."""
        parameters = Parameters(request)
        entity_id = entity_id_of(request)
        simplified = _is_simplified(parameters)
        language, observed_at = parameters.text("lang"), parameters.time("observedAt")
        document = await read_document(request, self._hub.contexts, self._max_bytes)
        check_same_id(document.body.get("id", entity_id), entity_id)
        terms = document.terms
        fragment = None if simplified else expand_fragment(document.body, terms, partial=True)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        types = parameters.types(terms)
        names = attribute_iris(document.body, terms) if await self._changes.applies(request, tenant_id) else ()
        change = await self._changes.of(request, tenant_id, "mergeEntity", entity_id, types=types, attributes=names)
        body = document.body if change is None else change.part_here(document.body, terms)
        if change is not None and fragment is not None and body is not None:
            fragment = expand_fragment(body, terms, partial=True)

        def merged(stored: ExpandedEntity, now: datetime) -> EntityChange:
            given = fragment or expand_simplified(body, terms, stored, language=language)
            return merge_entity(stored, given, now, observed_at=to_text_or_none(observed_at))

        local = self._changing(tenant_id, entity_id, types, merged)
        if change is None:
            return await local()
        path, ours = ("entities", entity_id), None if body is None else local
        return await self._changes.make(request, change, terms, path, ours, body=document.body)

    def _creating(self, tenant_id: int, entity: ExpandedEntity, done: Response) -> Local:
        async def create() -> Response:
            await self._store.create(tenant_id, entity)
            return done

        return create

    def _changing(
        self, tenant_id: int, entity_id: str, types: TypeTree | None, change: Callable[..., EntityChange]
    ) -> Local:
        async def make() -> Response:
            await self._store.change(tenant_id, entity_id, change, types=types)
            return Response(status_code=204)

        return make


def _is_simplified(parameters: Parameters) -> bool:
    form = parameters.text("format")
    options = parameters.options()
    if form is not None and form not in _SIMPLIFIED:
        raise BadRequestData(f"format is {form!r}; {Form.SIMPLIFIED} or keyValues is expected")
    return form is not None or bool(options)

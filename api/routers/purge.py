# SPDX-License-Identifier: Apache-2.0
"""``DELETE /entities``: purging what matches a query, or some attributes of it (clauses 5.6.21 and 6.4.3.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import existing_tenant, linked_terms
from api.hub import Hub
from api.ngsild.changes import DistributedChanges
from api.ngsild.operation import DISTRIBUTED, READING, operation
from api.ngsild.parameters import Parameters
from api.ngsild.queries import FILTER_PARAMETERS, check_width, entity_query, query_of_parameters
from api.ngsild.sources import ContextSources
from broker.contexts.jsonld import TermMap
from broker.entities import EntityChange, ExpandedEntity
from broker.errors import BadRequestData, TooComplexQuery
from broker.operations import delete_entity, drop_attributes, keep_attributes
from broker.registrations.matching import wanted_by
from context_store.entities.batch import EntityBatch
from context_store.entities.purge import Purge
from context_store.entities.store import EntityStore

_PARAMETERS: Final = FILTER_PARAMETERS | {"attrs", "keep", "drop", "geometryProperty"}
_NEEDED: Final = frozenset(("id", "type"))  # members without which an entity is none

Change = Callable[[ExpandedEntity, datetime], EntityChange]


class PurgeEntities:
    """The operation Purge Entities."""

    def __init__(self, hub: Hub, store: EntityStore, sources: ContextSources) -> None:
        self._hub = hub
        self._changes = DistributedChanges(sources, store)
        self._purge = Purge(hub.database, EntityBatch(hub.database, hub.terms, hub.history))

    @operation(_PARAMETERS, errors=(*READING, *DISTRIBUTED, TooComplexQuery))
    async def purge(self, request: Request) -> Response:
        """Purge Entities: implements 6.4.3.3."""
        parameters = Parameters(request)
        terms = await linked_terms(request, self._hub.contexts)
        given = query_of_parameters(parameters)
        query = entity_query(given, terms, attributes=_attributes(parameters, "attrs", terms))
        check_width(given, query)
        change = _change(parameters, terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        if await self._changes.applies(request, tenant_id) and not given.is_local:
            refusal = await self._changes.refusal(request, tenant_id, "purgeEntity", wanted_by(query))
            if refusal is not None:
                raise refusal
        await self._purge.run(tenant_id, query, change)
        return Response(status_code=204)


def _attributes(parameters: Parameters, name: str, terms: TermMap) -> tuple[str, ...]:
    """The attributes (IRIs) that a parameter names."""
    names = parameters.names(name)
    for attribute in names:
        if "{" in attribute or "}" in attribute:
            raise BadRequestData(f"{attribute!r} names an attribute of a linked entity, which a purge cannot follow")
        if attribute in _NEEDED:
            raise BadRequestData(f"{name} names attributes; {attribute!r} is none")
    return tuple(map(terms.expand_term, names))


def _change(parameters: Parameters, terms: TermMap) -> Change:
    """What is to be done to each entity."""
    if "keep" in parameters and "drop" in parameters:
        raise BadRequestData("Only one of keep and drop can be given")
    if "keep" in parameters:
        kept = frozenset(_attributes(parameters, "keep", terms))
        return lambda entity, now: keep_attributes(entity, kept, now)
    if "drop" in parameters:
        dropped = frozenset(_attributes(parameters, "drop", terms))
        return lambda entity, now: drop_attributes(entity, dropped, now)
    return lambda entity, _now: delete_entity(entity)

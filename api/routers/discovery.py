# SPDX-License-Identifier: Apache-2.0
"""``/types`` and ``/attributes``: what there is to query (clauses 6.25 to 6.28)."""

from __future__ import annotations

from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import REPRESENTATIONS, answer, answering_terms, existing_tenant, linked_terms, negotiate
from api.hub import Hub
from api.ngsild.operation import LOOKUP, found, operation
from api.ngsild.paging import COUNT_HEADER, count_header
from api.ngsild.parameters import Parameters
from api.ngsild.resource import Resource
from api.ngsild.sources import WARNING_HEADER, ContextSources
from broker.contexts.jsonld import TermMap
from broker.errors import BadRequestData, ResourceNotFound
from broker.expansion import ENTITY_MEMBERS
from context_store.entities.discovery import Discovery

_LIST: Final = ("details", "count")


class Discoveries:
    """The operations of discovery. Names come back short where the request's ``@context`` has them."""

    def __init__(self, hub: Hub, sources: ContextSources) -> None:
        self._hub = hub
        self._sources = sources
        self._discovery = Discovery(hub.database)

    @operation(_LIST, answers=(found("EntityTypes", REPRESENTATIONS, COUNT_HEADER, WARNING_HEADER),))
    async def types(self, request: Request) -> Response:
        """Retrieve Available Entity Types: implements 6.25.3.1. With ``details`` the attributes of each."""
        media_type = negotiate(request)
        parameters = Parameters(request)
        in_detail = parameters.flag("details")
        terms = answering_terms(await linked_terms(request, self._hub.contexts), media_type)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        warned = await self._sources.not_asked(
            request, tenant_id, "retrieveEntityTypeDetails" if in_detail else "retrieveEntityTypes"
        )
        if in_detail:
            found = await self._discovery.types_in_detail(tenant_id)
            payload: Any = [_entity_type(name, attributes, terms) for name, attributes in found.items()]
            return answer(request, payload, terms, media_type, headers=_count(parameters, len(found)) | warned)
        names = await self._discovery.types(tenant_id)
        payload = _name_list("EntityTypeList", "typeList", tenant_id, names, terms)
        return answer(request, payload, terms, media_type, headers=_count(parameters, len(names)) | warned)

    @operation(answers=(found("EntityTypeInfo", REPRESENTATIONS, WARNING_HEADER),), errors=LOOKUP)
    async def type(self, request: Request) -> Response:
        """Retrieve Available Entity Type Information: implements 6.26.3.1."""
        media_type = negotiate(request)
        Parameters(request)
        terms = answering_terms(await linked_terms(request, self._hub.contexts), media_type)
        name = _expanded(request, terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        info = await self._discovery.type(tenant_id, name)
        if info is None:
            raise ResourceNotFound(f"No entity has the type {name}")
        payload = {
            "id": name,
            "type": "EntityTypeInfo",
            "typeName": terms.compact_iri(name),
            "entityCount": info.entity_count,
            "attributeDetails": [
                {**_attribute(attribute, terms), "attributeTypes": kinds}
                for attribute, kinds in info.attributes.items()
            ],
        }
        warned = await self._sources.not_asked(request, tenant_id, "retrieveEntityTypeInfo")
        return answer(request, payload, terms, media_type, headers=warned)

    @operation(_LIST, answers=(found("Attributes", REPRESENTATIONS, COUNT_HEADER, WARNING_HEADER),))
    async def attributes(self, request: Request) -> Response:
        """Retrieve Available Attributes: implements 6.27.3.1. With ``details`` the types of each."""
        media_type = negotiate(request)
        parameters = Parameters(request)
        in_detail = parameters.flag("details")
        terms = answering_terms(await linked_terms(request, self._hub.contexts), media_type)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        found = await self._discovery.attributes(tenant_id)
        warned = await self._sources.not_asked(
            request, tenant_id, "retrieveAttrTypeDetails" if in_detail else "retrieveAttrTypes"
        )
        payload: Any = _name_list("AttributeList", "attributeList", tenant_id, list(found), terms)
        if in_detail:
            payload = [
                {**_attribute(attribute, terms), "typeNames": [terms.compact_iri(name) for name in types]}
                for attribute, types in found.items()
            ]
        return answer(request, payload, terms, media_type, headers=_count(parameters, len(found)) | warned)

    @operation(answers=(found("AttributeInfo", REPRESENTATIONS, WARNING_HEADER),), errors=LOOKUP)
    async def attribute(self, request: Request) -> Response:
        """Retrieve Available Attribute Information: implements 6.28.3.1."""
        media_type = negotiate(request)
        Parameters(request)
        terms = answering_terms(await linked_terms(request, self._hub.contexts), media_type)
        if request.path_params["name"] in ENTITY_MEMBERS:
            raise ResourceNotFound(f"{request.path_params['name']} is a member of entities, not an attribute")
        name = _expanded(request, terms)
        tenant_id = await existing_tenant(request, self._hub.tenants)
        info = await self._discovery.attribute(tenant_id, name)
        if info is None:
            raise ResourceNotFound(f"No entity has the attribute {name}")
        payload = {
            **_attribute(name, terms),
            "attributeCount": info.instance_count,
            "attributeTypes": info.kinds,
            "typeNames": [terms.compact_iri(kind) for kind in info.types],
        }
        warned = await self._sources.not_asked(request, tenant_id, "retrieveAttrTypeInfo")
        return answer(request, payload, terms, media_type, headers=warned)


def discovery_routes(hub: Hub, sources: ContextSources) -> list[Resource]:
    """The resources of discovery."""
    discoveries = Discoveries(hub, sources)
    return [
        Resource("/types", GET=discoveries.types),
        Resource("/types/{name}", GET=discoveries.type),
        Resource("/attributes", GET=discoveries.attributes),
        Resource("/attributes/{name}", GET=discoveries.attribute),
    ]


def _expanded(request: Request, terms: TermMap) -> str:
    """The type or attribute in the path as an IRI."""
    name: str = request.path_params["name"]
    if "\x00" in name:
        raise BadRequestData("A name cannot contain a NUL character")
    return terms.expand_term(name)


def _name_list(kind: str, member: str, tenant_id: int, names: list[str], terms: TermMap) -> dict[str, Any]:
    """An EntityTypeList (5.2.24) or AttributeList (5.2.27); a tenant's list keeps its id as long as it is the same."""
    identifier = uuid5(NAMESPACE_URL, "\n".join([kind, str(tenant_id), *names]))
    listed = [terms.compact_iri(name) for name in names]
    return {"id": f"urn:ngsi-ld:{kind}:{identifier}", "type": kind, member: listed}


def _entity_type(name: str, attributes: list[str], terms: TermMap) -> dict[str, Any]:
    """An EntityType (5.2.25)."""
    listed = [terms.compact_iri(attribute) for attribute in attributes]
    return {"id": name, "type": "EntityType", "typeName": terms.compact_iri(name), "attributeNames": listed}


def _attribute(name: str, terms: TermMap) -> dict[str, Any]:
    """The members that every Attribute (5.2.28) has."""
    return {"id": name, "type": "Attribute", "attributeName": terms.compact_iri(name)}


def _count(parameters: Parameters, total: int) -> dict[str, str]:
    return count_header(total if parameters.flag("count") else None)

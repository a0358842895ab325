# SPDX-License-Identifier: Apache-2.0
"""What the hub's own API (``/api/v1``) takes from a request: tenant, times, names."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Header, Request

from api.hub import Hub
from broker.errors import BadRequestData
from broker.times import parse_time
from context_store.entities import get_entities
from context_store.tenants import DEFAULT_TENANT
from schemas.contexts import MINAMO_CONTEXT


def hub_of(request: Request) -> Hub:
    """The hub this application was made for."""
    hub: Hub = request.app.state.hub
    return hub


async def _tenant_id(
    request: Request, ngsild_tenant: Annotated[str | None, Header(description="Tenant / テナント")] = None
) -> int:
    return await hub_of(request).tenants.find(ngsild_tenant or DEFAULT_TENANT)


TenantId = Annotated[int, Depends(_tenant_id)]


def parse_moment(text: str, name: str) -> datetime:
    """The time in parameter ``name``; a ``+`` that arrived as a space is understood. Raises BadRequestData."""
    try:
        return parse_time(text.replace(" ", "+"))
    except ValueError as exc:
        raise BadRequestData(f"{name}: {exc}") from exc


def short_name(iri: str) -> str:
    """The last part of ``iri``, for people."""
    return iri.rsplit("/", 1)[-1].rsplit("#", 1)[-1]


async def expand_name(hub: Hub, tenant_id: int, entity_id: str, name: str) -> str:
    """``name`` as an IRI: itself, an attribute of the entity, or a name of the hub's own context."""
    if ":" in name:
        return name
    async with hub.database.transaction(tenant_id) as connection:
        stored = (await get_entities(connection, tenant_id, [entity_id])).get(entity_id)
    attributes = stored.entity.attributes if stored else {}
    terms = await hub.contexts.resolve(MINAMO_CONTEXT)
    return next((iri for iri in attributes if short_name(iri) == name), terms.expand_term(name))

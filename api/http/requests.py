# SPDX-License-Identifier: Apache-2.0
"""What the hub's own API (``/api/v1``) takes from a request: tenant, times, names."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request
from pydantic import Field

from api.http.negotiation import content_type, read_json
from api.http.problem_details import TENANT_HEADER
from api.hub import Hub
from broker.errors import BadRequestData, InvalidRequest
from broker.quality import Flag
from broker.times import parse_time
from context_store.entities.changes import get_entities
from context_store.tenants import DEFAULT_TENANT
from schemas.contexts import MINAMO_CONTEXT


def hub_of(request: Request) -> Hub:
    """The hub this application was made for."""
    hub: Hub = request.app.state.hub
    return hub


async def _storable(request: Request) -> None:
    """No text of the database can hold a NUL character, so that nothing can be found by one."""
    if b"%00" in request.scope["query_string"] or "\x00" in request.scope["path"]:
        raise BadRequestData("The address has a NUL character (U+0000)")


async def _tenant_id(
    request: Request,
    _: Annotated[None, Depends(_storable)],
    tenant: Annotated[str | None, Header(alias=TENANT_HEADER, description="Tenant / テナント")] = None,
) -> int:
    return await hub_of(request).tenants.find(tenant or DEFAULT_TENANT)


async def _json_object(request: Request) -> dict[str, Any]:
    content_type(request)
    body = await read_json(request, hub_of(request).settings.max_request_bytes)
    if not isinstance(body, dict):
        raise InvalidRequest("The body is not a JSON object")
    return body


TenantId = Annotated[int, Depends(_tenant_id)]
TenantName = Annotated[str | None, Header(alias=TENANT_HEADER, description="Tenant / テナント")]
JsonObject = Annotated[dict[str, Any], Depends(_json_object)]
"""The body, read as that of the NGSI-LD API: of a limited size, as strict about JSON, with the same errors."""

QUALITIES: Final = "Only values of these: good (or nothing is said), suspect, missing, estimated, maintenance"
"""What a parameter with words for quality is."""

_LARGEST_ROW: Final = 2**63 - 1
RowNumber = Annotated[int, Field(ge=0, le=_LARGEST_ROW)]
"""The number of a row of the database, or a position among rows."""


def parse_moment(text: str, name: str) -> datetime:
    """The time in parameter ``name``; a ``+`` that arrived as a space is understood. Raises BadRequestData."""
    try:
        return parse_time(text.replace(" ", "+"))
    except ValueError as exc:
        raise BadRequestData(f"{name}: {exc}") from exc


def parse_qualities(text: str | None) -> tuple[str, ...] | None:
    """The words for quality in a parameter, comma-separated; None: any. Raises BadRequestData."""
    if text is None:
        return None
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    if unknown := [word for word in words if word not in set(Flag)]:
        raise BadRequestData(f"quality is {unknown[0]!r}; the words are {', '.join(Flag)}")
    return words


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

# SPDX-License-Identifier: Apache-2.0
"""``/jsonldContexts``: the hub as a server of ``@context``s, and its copies of others (clauses 5.13, 6.29 and 6.30)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.context_uses import write_uses
from api.http.negotiation import (
    REPRESENTATIONS,
    content_type,
    created_tenant,
    negotiate,
    own_url,
    read_json,
    tenant_name,
)
from api.hub import Hub
from api.ngsild.operation import CREATED, Answer, operation
from api.ngsild.paging import COUNT_HEADER, PAGE_PARAMETERS, count_header, page_links, read_page
from api.ngsild.parameters import Parameters
from api.ngsild.resource import Resource
from broker.errors import (
    BadRequestData,
    InvalidRequest,
    LdContextNotAvailable,
    OperationNotSupported,
    ResourceNotFound,
)
from broker.times import to_text
from context_store.contexts.hosted import ContextEntry, Kind
from schemas.contexts import hosted_path, is_core_context


class Contexts:
    """The operations on stored contexts."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._store = hub.hosted_contexts

    @operation(body="ContextDocument", uses_context=False, answers=(CREATED,), errors=(LdContextNotAvailable,))
    async def add(self, request: Request) -> Response:
        """Add @context: implements 6.29.3.1. What it refers to is fetched at its first use."""
        Parameters(request)
        content_type(request)
        body = await read_json(request, self._hub.settings.max_request_bytes)
        if not isinstance(body, dict) or "@context" not in body:
            raise InvalidRequest("The body is no JSON object with an @context member")
        context = body["@context"]
        if context is None:
            raise BadRequestData("@context is not valid: it is null")
        await self._hub.contexts.validate(context)
        tenant_id = await created_tenant(request, self._hub.tenants)
        local_id = await self._store.add(tenant_id, context, datetime.now(UTC))
        return Response(status_code=201, headers={"Location": hosted_path(local_id)})

    @operation(
        ("details", "kind", *sorted(PAGE_PARAMETERS)),
        uses_context=False,
        answers=(Answer(200, "ContextList", REPRESENTATIONS, ("Link", COUNT_HEADER)),),
        errors=(),
    )
    async def list(self, request: Request) -> Response:
        """List @contexts: implements 6.29.3.2. Without a limit, a page is as long as one may be (5.5.9)."""
        media_type = negotiate(request)
        parameters = Parameters(request)
        details, kinds = parameters.flag("details"), _kinds(parameters.text("kind"))
        most = self._hub.settings.query_max_limit
        page = read_page(parameters, default_limit=most, max_limit=most)
        await write_uses(self._hub)
        entries = await self._store.entries(await self._tenant_id(request), kinds)
        end = page.offset + page.limit
        listed = [
            _metadata(entry, request) if details else _url(entry, request) for entry in entries[page.offset : end]
        ]
        headers = count_header(len(entries) if page.count else None)
        if links := page_links(request, page, media_type, more=len(entries) > end):
            headers["Link"] = ", ".join(links)
        return Response(orjson.dumps(listed), headers=headers, media_type=media_type)

    @operation(
        ("details",),
        uses_context=False,
        answers=(Answer(200, "ContextOrMetadata", REPRESENTATIONS),),
        errors=(ResourceNotFound, OperationNotSupported),
    )
    async def serve(self, request: Request) -> Response:
        """Serve @context: implements 6.30.3.1."""
        media_type = negotiate(request)
        details = Parameters(request).flag("details")
        if details:
            await write_uses(self._hub)
        entry = await self._entry(request)
        if details:
            return Response(orjson.dumps(_metadata(entry, request)), media_type=media_type)
        if entry.kind is Kind.CACHED:
            raise OperationNotSupported(f"@context {entry.url} is a copy; it is served at that address")
        return Response(orjson.dumps(entry.document), media_type=media_type)

    @operation(("reload",), uses_context=False, errors=(ResourceNotFound, LdContextNotAvailable))
    async def delete(self, request: Request) -> Response:
        """Delete and Reload @context: implements 6.30.3.2."""
        if Parameters(request).flag("reload"):
            await self._reload(request)
        else:
            entry = await self._entry(request)
            if entry.is_bundled:
                raise BadRequestData(f"@context {entry.url or entry.local_id} comes with the hub and cannot be deleted")
            await self._store.delete(await self._tenant_id(request), entry)
            self._hub.contexts.forget(entry.url or entry.local_id)
        return Response(status_code=204)

    async def _reload(self, request: Request) -> None:
        """Fetch a copy again. Published versions of the core context do not change: theirs are right as they are."""
        try:
            entry = await self._entry(request)
        except ResourceNotFound as exc:  # no copy of the hub's, so nothing that reload=true is for
            raise BadRequestData(f"Only copies can be reloaded: {exc.detail}") from exc
        url = entry.url
        if url is None or entry.kind is not Kind.CACHED:
            raise BadRequestData(f"@context {entry.local_id} is no copy of another one, so it cannot be reloaded")
        if is_core_context(url):
            return
        if entry.is_bundled:
            raise BadRequestData(f"@context {url} comes with the hub and cannot be reloaded")
        await self._hub.context_loader.reload(url, self._hub.contexts.validate)
        self._hub.contexts.forget(url)

    async def _entry(self, request: Request) -> ContextEntry:
        return await self._store.get(await self._tenant_id(request), request.path_params["context_id"])

    async def _tenant_id(self, request: Request) -> int | None:
        """A tenant that is not there yet has no contexts of its own; it sees the shared ones."""
        return await self._store.tenant_id(tenant_name(request))


def context_routes(hub: Hub) -> list[Resource]:
    """The resources of stored contexts."""
    contexts = Contexts(hub)
    return [
        Resource("/jsonldContexts", GET=contexts.list, POST=contexts.add),
        Resource("/jsonldContexts/{context_id}", GET=contexts.serve, DELETE=contexts.delete),
    ]


def _kinds(given: str | None) -> tuple[Kind, ...]:
    if given is None:
        return tuple(Kind)
    if given not in tuple(Kind):
        raise BadRequestData(f"kind is {given!r}; one of {', '.join(Kind)} is expected")
    return (Kind(given),)


def _url(entry: ContextEntry, request: Request) -> str:
    return entry.url or own_url(request, hosted_path(entry.local_id))


def _metadata(entry: ContextEntry, request: Request) -> dict[str, Any]:
    """Clause 5.13.3.5. Hits are counted for what is at home here; of copies, the hub tells how often each was used."""
    metadata = {
        "URL": _url(entry, request),
        "localId": entry.local_id,
        "kind": entry.kind,
        "createdAt": to_text(entry.created_at),
    }
    if entry.expires_at is not None:
        metadata["expiresAt"] = to_text(entry.expires_at)
    if entry.last_usage is not None:
        metadata["lastUsage"] = to_text(entry.last_usage)
    if entry.is_bundled:
        return metadata | {"extraInfo": "comes with the hub"}
    if entry.kind is Kind.CACHED:
        return metadata | {"extraInfo": f"uses: {entry.uses}"}
    return metadata | {"numberOfHits": entry.uses}

# SPDX-License-Identifier: Apache-2.0
"""What every NGSI-LD request and answer has in common (clause 6.3): media types, ``@context``, bodies, tenants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.http.json_bodies import parse_body
from api.http.problem_details import TENANT_HEADER, UnacceptableRequest, problem
from broker.conformance import NEWEST, Version, conform_entity
from broker.contexts.jsonld import ContextResolver, TermMap, core_terms
from broker.errors import BadRequestData, InvalidRequest, TooComplexQuery
from context_store.contexts.hosted import HostedContexts, implicit_id
from context_store.tenants import DEFAULT_TENANT, Tenants
from schemas.contexts import context_url, hosted_path
from schemas.terms import CONTEXT_LINK_REL, CORE_CONTEXT, GEO_JSON, JSON, JSON_LD, MERGE_PATCH

REPRESENTATIONS: Final = (JSON, JSON_LD)
"""What most operations answer with, in the order of clause 6.3.4: the first one wins a tie."""
GEO_REPRESENTATIONS: Final = (JSON, JSON_LD, GEO_JSON)
"""What Retrieve Entity and Query Entities answer with."""

_PREFERENCE: Final = re.compile(r'\s*ngsi-ld\s*=\s*"?([1-9]\d{0,2})\.(\d{1,3})"?\s*(?:;.*)?', re.IGNORECASE)
_ENTITY_PATH: Final = re.compile(r".*/ngsi-ld/v1/(temporal/)?(entities(/.+)?|entityOperations/query)/?")
_SIMPLIFIED: Final = frozenset(("simplified", "keyValues", "temporalValues", "aggregatedValues"))
_WEIGHT: Final = re.compile(r"0(\.\d*)?|1(\.0*)?")
_LINK: Final = re.compile(r"<([^>]*)>((?:\s*;\s*[^\s;,=]+\s*(?:=\s*(?:\"[^\"]*\"|[^\s;,\"]*))?)*)")
_LINK_PARAMETER: Final = re.compile(r";\s*([^\s;,=]+)\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]*))")


@dataclass(frozen=True, slots=True)
class Document:
    """A request's body as JSON, without its ``@context``, and the term map that its names are expanded with."""

    body: Any
    terms: TermMap


def negotiate(request: Request, offered: Sequence[str] = REPRESENTATIONS) -> str:
    """The media type of the answer (clause 6.3.4): of ``offered``, the best for the Accept header; the first of equals.

    Raises :class:`UnacceptableRequest` with 406 and the list of what there is.
    """
    accept = ", ".join(request.headers.getlist("accept"))
    if not accept or accept == "*/*":
        return offered[0]
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    weights = [_weight(media_type, ranges) for media_type in offered]
    best = max(weights)
    if best <= 0:
        refusal = problem(InvalidRequest(f"None of the media types of Accept is available: {accept}"))
        body = {**refusal, "status": 406, "availableRepresentations": list(offered)}
        raise UnacceptableRequest(406, body)
    return offered[weights.index(best)]


def _media_range(text: str) -> tuple[str, float]:
    """A media range and its weight, 1 when it is not given or not readable (RFC 9110, section 12.5.1)."""
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media_range, float(value) if _WEIGHT.fullmatch(value.strip()) else 1.0
    return media_range, 1.0


def _weight(media_type: str, ranges: Iterable[tuple[str, float]]) -> float:
    """The weight that the most specific range gives to ``media_type``; 0 when none covers it."""
    by_range = dict(ranges)
    for candidate in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if candidate in by_range:
            return by_range[candidate]
    return 0.0


def content_type(request: Request) -> str:
    """``application/json`` or ``application/ld+json``; merge-patch+json of a PATCH counts as the first (6.3.4).

    Raises :class:`UnacceptableRequest` with 415 for any other.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given == MERGE_PATCH and request.method == "PATCH":
        return JSON
    if given not in (JSON, JSON_LD):
        raise UnacceptableRequest(415)
    return given


async def read_json(request: Request, max_bytes: int) -> Any:
    """The body as JSON; raises what :func:`read_body` and :func:`parse_body` raise (clauses 5.5.4 and 6.3.4)."""
    return parse_body(await read_body(request, max_bytes))


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body.

    Raises :class:`UnacceptableRequest` with 411 without Content-Length and 413 beyond ``max_bytes`` (clause 6.3.4).
    """
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise UnacceptableRequest(411)
    if int(length) > max_bytes:
        raise _too_large(max_bytes)
    parts, size, more = [], 0, True
    while more:  # nearly always once; the framework's stream costs three times as much
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("The body ended early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
        more = message.get("more_body", False)
    return b"".join(parts)


def _too_large(max_bytes: int) -> UnacceptableRequest:
    detail = f"The body is larger than {max_bytes} bytes"
    return UnacceptableRequest(413, {**problem(InvalidRequest(detail)), "status": 413})


def link_context(request: Request) -> str | None:
    """The URL of the ``@context`` that a Link header names, or None. Raises for more than one (JSON-LD 1.1, 6.2)."""
    header = ", ".join(request.headers.getlist("link"))
    if CONTEXT_LINK_REL not in header:
        return None
    urls = [
        url.strip()
        for url, parameters in _LINK.findall(header)
        if any(
            name.lower() == "rel" and CONTEXT_LINK_REL in (quoted or token).split()
            for name, quoted, token in _LINK_PARAMETER.findall(parameters)
        )
    ]
    if len(urls) > 1:
        raise BadRequestData("More than one Link header names an @context")
    return urls[0] if urls else None


async def linked_terms(request: Request, contexts: ContextResolver) -> TermMap:
    """The terms of a request without a body: those of its Link header, or the core's alone (clause 6.3.5)."""
    return await contexts.resolve(link_context(request), tenant_name(request))


async def read_document(request: Request, contexts: ContextResolver, max_bytes: int) -> Document:
    """A body that is one JSON object, and its terms by clause 6.3.5: from the Link header or ``@context``, never both.

    Raises what :func:`content_type`, :func:`read_json` and :meth:`ContextResolver.resolve` raise,
    :class:`InvalidRequest` for a body that is no object, and :class:`BadRequestData` when the two ways to give an
    ``@context`` are mixed up.
    """
    media_type = content_type(request)
    body = await read_json(request, max_bytes)
    if not isinstance(body, dict):
        raise InvalidRequest("The body is not a JSON object")
    context = body_context(request, media_type, body)
    rest = {name: value for name, value in body.items() if name != "@context"}
    terms = await contexts.resolve(context, tenant_name(request))
    if context_url(terms.context) is None and _is_query(request) and negotiate(request, GEO_REPRESENTATIONS) == JSON:
        terms = await _linkable(request, contexts, terms)
    return Document(rest, terms)


def _is_query(request: Request) -> bool:
    """Whether it is one of the queries by POST: of all requests with a body, they alone are answered in its terms."""
    return request.url.path.rstrip("/").endswith("/entityOperations/query")


async def _linkable(request: Request, contexts: ContextResolver, terms: TermMap) -> TermMap:
    """``terms`` of an inline ``@context`` with an address of their own, for a Link in the answer (clause 5.13.1)."""
    hosted: HostedContexts = request.app.state.hub.hosted_contexts
    tenant = tenant_name(request)
    url = own_url(request, hosted_path(implicit_id(terms.context)))
    if not contexts.knows(url, tenant):
        tenant_id = await hosted.tenant_id(tenant)
        if tenant_id is None:
            return terms
        await hosted.add_implicitly(tenant_id, terms.context, datetime.now(UTC))
    return await contexts.resolve(url, tenant)


def body_context(request: Request, media_type: str, body: Mapping[str, Any]) -> Any:
    """The ``@context`` value of a JSON object in a request's body (clause 6.3.5)."""
    link = link_context(request)
    if media_type == JSON:
        if "@context" in body:
            raise BadRequestData(f"A body of type {JSON} cannot have an @context; send it as {JSON_LD}, or use a Link")
        return link
    if link is not None:
        raise BadRequestData(f"A body of type {JSON_LD} carries its own @context; a Link header cannot name another")
    if body.get("@context") is None:
        raise BadRequestData(f"A body of type {JSON_LD} needs an @context")
    return body["@context"]


def tenant_name(request: Request) -> str:
    """The name of the tenant addressed (clause 6.3.14)."""
    return request.headers.get(TENANT_HEADER) or DEFAULT_TENANT


def own_url(request: Request, path: str) -> str:
    """``path`` of this hub as an address for others: at ``public_url``, else where this client found the hub."""
    base = public_url(request) or f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"
    return base + path


def public_url(request: Request) -> str:
    """Where the hub is for others, without a slash at the end; empty when nobody has said so."""
    hub = getattr(request.app.state, "hub", None) if "app" in request.scope else None
    return str(hub.settings.public_url or "") if hub is not None else ""


async def existing_tenant(request: Request, tenants: Tenants) -> int:
    """The number of the tenant addressed (clause 6.3.14); raises ``NonexistentTenant``."""
    return await tenants.find(tenant_name(request))


async def created_tenant(request: Request, tenants: Tenants) -> int:
    """The same for operations that create information: a new tenant comes into being with it (clause 5.5.10)."""
    return await tenants.find_or_create(tenant_name(request))


def answering_terms(terms: TermMap, media_type: str) -> TermMap:
    """The terms to write an answer with: ``terms``, unless the answer has to link to them and they have no one URL."""
    return core_terms() if media_type == JSON and context_url(terms.context) is None else terms


def answered_context(terms: TermMap) -> Any:
    """The ``@context`` member of an answer: as the user gave it; the core's is always implied (clause 5.5.5)."""
    return CORE_CONTEXT if terms.context is None else terms.context


def context_link(terms: TermMap) -> str:
    """The Link header value that names the ``@context`` of an answer (clause 6.3.5)."""
    return f'<{context_url(terms.context) or CORE_CONTEXT}>; rel="{CONTEXT_LINK_REL}"; type="{JSON_LD}"'


def answer(
    request: Request,
    payload: Any,
    terms: TermMap,
    media_type: str,
    *,
    status: int = 200,
    links: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """``payload`` (an object or a list of objects) as clause 6.3.6 wants it for ``media_type``.

    JSON links to the ``@context``; JSON-LD and GeoJSON have it in the body, GeoJSON not when ``Prefer: body=json``.
    ``links`` are further Link values. With ``Prefer: ngsi-ld=1.5`` entities are written as that version knew them, with
    status 203 when that changes them. ``Preference-Applied`` names what was followed (RFC 7240, section 3).
    """
    links = list(links)
    applied = []
    plain = media_type == GEO_JSON and _prefers_plain_body(request)
    if plain:
        applied.append("body=json")
    if media_type == JSON or plain:
        links.append(context_link(terms))
    elif isinstance(payload, list):
        context = answered_context(terms)
        payload = [{**item, "@context": context} for item in payload]
    else:
        payload = {**payload, "@context": answered_context(terms)}
    given = dict(headers or {})
    version = preferred_version(request)
    if version is not None and media_type in REPRESENTATIONS:
        applied.append(f"ngsi-ld={version[0]}.{version[1]}")
        conformed = _conformed(request, payload, version)
        if conformed != payload:
            payload, status = conformed, 203 if status == 200 else status
    if applied:
        given["Preference-Applied"] = ", ".join(applied)
    if links:
        given["Link"] = ", ".join(links)
    return Response(_written(payload), status, given, media_type)


def _written(payload: Any) -> bytes:
    try:
        return orjson.dumps(payload)
    except orjson.JSONEncodeError as exc:  # entities within entities within entities ...
        raise TooComplexQuery("The answer is nested too deep to be written") from exc


def preferred_version(request: Request) -> Version | None:
    """The version of the specification that the client prefers; None when it has no preference, or an unreadable one.

    Versions to come are answered with the newest that the hub knows.
    """
    for part in ",".join(request.headers.getlist("prefer")).split(","):
        if found := _PREFERENCE.fullmatch(part):
            return min((int(found[1]), int(found[2])), NEWEST)
    return None


def has_versions(path: str) -> bool:
    """Whether what is answered under ``path`` (or a template of it) are entities, written as a preferred version."""
    return _ENTITY_PATH.fullmatch(path) is not None


def _conformed(request: Request, payload: Any, version: Version) -> Any:
    """``payload`` with entities as ``version`` knows them; other resources and simplified values are what they are."""
    form = f"{request.query_params.get('options', '')},{request.query_params.get('format', '')}".split(",")
    if not has_versions(request.url.path) or not _SIMPLIFIED.isdisjoint(form):
        return payload
    if isinstance(payload, list):
        return [conform_entity(item, version) for item in payload]
    return conform_entity(payload, version)


def _prefers_plain_body(request: Request) -> bool:
    preferences = ",".join(request.headers.getlist("prefer"))
    return any(part.strip().replace('"', "").lower() == "body=json" for part in re.split(r"[,;]", preferences))

# SPDX-License-Identifier: Apache-2.0
"""What is sent to a context source: HTTP requests as values (clauses 4.3.6.5, 4.3.6.6, 5.7.1.4, 5.7.2.4, 6.3.18)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import orjson

from broker.contexts.jsonld import TermMap, core_terms
from broker.query.tree import EntitySelector
from broker.query.types import types_text
from broker.registrations.document import TAKEN_FROM_REQUEST
from broker.registrations.matching import Share, alternatives, any_type
from broker.registrations.model import Registration
from broker.registrations.operations import QUERY, QUERY_BATCH, RETRIEVE
from broker.sealed import plain
from schemas.contexts import context_url
from schemas.terms import CONTEXT_LINK_REL, CORE_CONTEXT, JSON, JSON_LD

_GEO: Final = ("georel", "geometry", "coordinates", "geoproperty")
API_PATH: Final = "/ngsi-ld/v1"
PAGE: Final = 500  # entities asked for at once

_DEFINED: Final = frozenset(("accept", "contentType", "jsonldContext", "ngsildConformance"))  # clause 4.3.6.6
_CREDENTIALS: Final = frozenset(("authorization", "cookie", "proxy-authorization"))
"""What a client gives to this hub: it is never passed on, whatever a registration asks for."""
_RESERVED: Final = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
     "trailer", "expect", "proxy-connection", "link", "ngsild-tenant", "via", "accept-encoding")
)  # fmt: skip
"""What the connection, the interaction or the registration itself decides; clause 4.3.6.5 has it ignored."""


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """One HTTP request to a source."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters of a query as the client wrote them, by the names of URL parameters."""

    texts: Mapping[str, str] = field(default_factory=dict)
    needs_context: bool = False
    """Whether names of the client's own ``@context`` are in them."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a source is talked to: the names in requests and answers are those of ``terms``."""

    terms: TermMap
    headers: Mapping[str, str]
    knows_request: bool = True
    """Whether the texts of the client's request mean the same to the source."""


def manner_of(
    registration: Registration,
    request_headers: Mapping[str, str],
    terms: TermMap,
    own_terms: TermMap | None,
    via: str,
) -> Manner:
    """How to pass a request on; ``own_terms`` are those of the source's ``jsonldContext``, if it has one.

    ``terms`` are those of the request, ``request_headers`` its headers by lower-case names. An ``@context`` that has
    no address on the web cannot be told to a source; names are then written as IRIs.
    """
    url = context_url(terms.context)
    linkable = terms.context is None or (url is not None and url.startswith(("http://", "https://")))
    chosen = own_terms or (terms if linkable else core_terms())
    headers = {"Accept": registration.info("accept") or JSON, "Via": via}
    if (link := context_url(chosen.context)) is not None:
        headers["Link"] = f'<{link}>; rel="{CONTEXT_LINK_REL}"; type="{JSON_LD}"'
    if registration.tenant is not None:
        headers["NGSILD-Tenant"] = registration.tenant
    if (version := registration.info("ngsildConformance")) is not None:
        headers["Prefer"] = f"ngsi-ld={version}"
    headers |= dict(_conveyed(registration, request_headers))
    return Manner(chosen, headers, knows_request=own_terms is None and linkable)


def _conveyed(registration: Registration, request_headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in registration.source_info:
        name = key.lower()
        if key in _DEFINED or name in _RESERVED:
            continue
        if value != TAKEN_FROM_REQUEST:
            yield key, plain(value)
        elif name in request_headers and name not in _CREDENTIALS:
            yield key, request_headers[name]


@dataclass(frozen=True, slots=True)
class Asking:
    """A request that can be repeated for the next page of its answer; one entity is ``single`` and has no pages."""

    method: str
    url: str
    headers: Mapping[str, str]
    parameters: Mapping[str, str]
    body: Mapping[str, Any] | None = None
    single: bool = False

    def at(self, offset: int) -> SourceRequest:
        """The request for the page that begins there."""
        parameters = dict(self.parameters)
        if not self.single:
            parameters |= {"limit": str(PAGE)} | ({"offset": str(offset)} if offset else {})
        query = urlencode(parameters, safe=":*,/()[]|;", quote_via=quote)
        body = None if self.body is None else orjson.dumps(self.body)
        return SourceRequest(self.method, f"{self.url}?{query}" if query else self.url, self.headers, body)


def retrievals(registration: Registration, entity_id: str, shares: Iterable[Share], manner: Manner) -> list[Asking]:
    """How one entity is asked for, by the operation that the source has for it."""
    shares = tuple(shares)
    if RETRIEVE not in registration.operations:
        return queries(registration, shares, Filters(), manner, batch=False)
    parameters = _parameters(registration, _attributes(shares), manner)
    url = resource_url(registration, "entities", entity_id)
    return [Asking("GET", url, manner.headers, parameters, single=True)]


def queries(
    registration: Registration, shares: Iterable[Share], filters: Filters, manner: Manner, *, batch: bool
) -> list[Asking]:
    """How entities are asked for: by GET or POST as the source can, as the client did (``batch``) if it can both."""
    combined = _combined(shares)
    able = registration.operations
    if QUERY_BATCH in able and (batch or QUERY not in able):
        return list(_posts(registration, combined, filters, manner))
    return [_get(registration, share, filters, manner) for share in combined]


def _get(registration: Registration, share: Share, filters: Filters, manner: Manner) -> Asking:
    selector = share.selector
    parameters = {}
    if selector.types is not None:
        parameters["type"] = types_text(selector.types, manner.terms.compact_iri).replace("|", ",")
    if selector.ids:
        parameters["id"] = ",".join(selector.ids)
    elif selector.id_pattern is not None:
        parameters["idPattern"] = selector.id_pattern
    parameters |= _parameters(registration, share.attributes, manner)
    parameters |= filters.texts
    return Asking("GET", resource_url(registration, "entities"), manner.headers, parameters)


def _posts(registration: Registration, shares: Iterable[Share], filters: Filters, manner: Manner) -> Iterator[Asking]:
    """One query for the shares of the same attributes."""
    selectors: dict[frozenset[str], list[EntitySelector]] = {}
    for share in shares:
        selectors.setdefault(share.attributes, []).append(share.selector)
    for attributes, entities in selectors.items():
        parameters = _parameters(registration, attributes, manner)
        body: dict[str, Any] = {"type": "Query"}
        if entities != [EntitySelector()]:
            body["entities"] = [_entity_selector(selector, manner.terms) for selector in entities]
        if (names := parameters.pop("attrs", None)) is not None:
            body["attrs"] = names.split(",")
        headers = {**manner.headers, "Content-Type": JSON}
        if registration.info("contentType") == JSON_LD:
            headers["Content-Type"] = JSON_LD
            headers.pop("Link", None)
            body["@context"] = context_url(manner.terms.context) or CORE_CONTEXT
        body |= _filter_members(filters)
        url = resource_url(registration, "entityOperations", "query")
        yield Asking("POST", url, headers, parameters, body)


def _entity_selector(selector: EntitySelector, terms: TermMap) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "*" if selector.types is None else types_text(selector.types, terms.compact_iri)}
    if selector.ids:
        written["id"] = selector.ids[0] if len(selector.ids) == 1 else list(selector.ids)
    elif selector.id_pattern is not None:
        written["idPattern"] = selector.id_pattern
    return written


def _filter_members(filters: Filters) -> dict[str, Any]:
    """The filters as members of a Query (clause 5.2.23)."""
    texts = dict(filters.texts)
    geo: dict[str, Any] = {
        name: texts.pop(name) for name in ("georel", "geometry", "coordinates", "geoproperty") if name in texts
    }
    members: dict[str, Any] = texts
    for name in ("expandValues", "jsonKeys"):
        if name in members:
            members[name] = members[name].split(",")
    if "coordinates" in geo:
        with suppress(orjson.JSONDecodeError):
            geo["coordinates"] = orjson.loads(geo["coordinates"])
    return members | ({"geoQ": geo} if geo else {})


def _parameters(registration: Registration, attributes: frozenset[str], manner: Manner) -> dict[str, str]:
    """System attributes are asked for because they tell which of two values is newer (clause 4.5.5.3)."""
    parameters = {"options": "sysAttrs"}
    if attributes:
        parameters["attrs"] = ",".join(sorted(map(manner.terms.compact_iri, attributes)))
    if registration.local_only:
        parameters["local"] = "true"
    return parameters


def _attributes(shares: Iterable[Share]) -> frozenset[str]:
    """What is asked of one entity; none: everything."""
    named = [share.attributes for share in shares]
    return frozenset().union(*named) if all(named) else frozenset()


def _combined(shares: Iterable[Share]) -> list[Share]:
    """Shares that differ in their types only as one."""
    found: dict[Any, list[Share]] = {}
    for share in shares:
        found.setdefault((share.selector.ids, share.selector.id_pattern, share.attributes), []).append(share)
    return [combined for alike in found.values() for combined in _one_of(alike)]


def _one_of(alike: list[Share]) -> list[Share]:
    names: set[str] = set()
    for share in alike:
        if share.selector.types is None:
            return [share]
        simple = alternatives(share.selector.types)
        if simple is None:
            return alike
        names |= simple
    first = alike[0].selector
    return [Share(EntitySelector(first.ids, first.id_pattern, any_type(names)), alike[0].attributes)]


def resource_url(registration: Registration, *segments: str) -> str:
    """A resource of the source; its endpoint may be given with or without the path of the API."""
    base = registration.endpoint.rstrip("/")
    if not urlsplit(base).path.endswith(API_PATH):
        base += API_PATH
    return "/".join([base, *(quote(segment, safe=":@!$'()*,;~") for segment in segments)])

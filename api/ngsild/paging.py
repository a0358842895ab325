# SPDX-License-Identifier: Apache-2.0
"""Pages of a result: limit, offset, Link values to the pages beside, and the count (clauses 5.5.9, 6.3.10, 6.3.13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from starlette.requests import Request

from api.http.negotiation import public_url
from api.ngsild.parameters import Parameters
from broker.errors import BadRequestData

PAGE_PARAMETERS: Final = frozenset({"limit", "offset", "count"})
COUNT_HEADER: Final = "NGSILD-Results-Count"
# Characters of RFC 3986 that may stand in a query as they are; "," and ";" mean something in a Link header.
_SAFE: Final = ":*/?@!$'()~"


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a result is asked for; ``limit`` is 0 when only the number of results is."""

    limit: int
    offset: int = 0
    count: bool = False


def read_page(parameters: Parameters, *, default_limit: int, max_limit: int) -> Page:
    """The page of a request. A limit beyond ``max_limit`` gives pages of that size, as clause 5.5.9.1 allows."""
    limit = parameters.integer("limit", least=0)
    page = Page(
        min(default_limit if limit is None else limit, max_limit),
        parameters.integer("offset", least=0) or 0,
        parameters.flag("count"),
    )
    if limit == 0 and not page.count:
        raise BadRequestData("limit=0 is only allowed together with count=true")
    return page


def page_links(request: Request, page: Page, media_type: str, *, more: bool) -> list[str]:
    """Link values to the previous and, when there is ``more``, to the next page: the request with another offset.

    They are relative to the host unless the hub knows its ``public_url``, and name their parameters in alphabetical
    order: one page, one URL.
    """
    links = []
    if page.offset > 0 and page.limit > 0:
        links.append(_link(request, page, max(0, page.offset - page.limit), "prev", media_type))
    if more and page.limit > 0:
        links.append(_link(request, page, page.offset + page.limit, "next", media_type))
    return links


def _link(request: Request, page: Page, offset: int, relation: str, media_type: str) -> str:
    values = dict(request.query_params) | {"limit": str(page.limit), "offset": str(offset)}
    query = "&".join(f"{quote(name, safe=_SAFE)}={quote(value, safe=_SAFE)}" for name, value in sorted(values.items()))
    path = quote(request.url.path.rstrip("/"), safe="/:")
    return f'<{public_url(request)}{path}?{query}>;rel="{relation}";type="{media_type}"'


def count_header(total: int | None) -> dict[str, str]:
    """The header with the number of results, when it was asked for."""
    return {} if total is None else {COUNT_HEADER: str(total)}

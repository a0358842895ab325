# SPDX-License-Identifier: Apache-2.0
"""Routes of the NGSI-LD API: one object a resource, plain functions for its methods.

Paths are matched segment by segment before percent-decoding. Entity ids and attribute names are URIs, so a segment
may well hold an encoded slash, which a router that decodes first takes for two segments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from starlette.datastructures import URLPath
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from api.http.negotiation import public_url
from api.http.problem_details import TENANT_HEADER
from api.ngsild.operation import Endpoint, Operation, operation_of, remember
from broker.errors import BadRequestData

API_PATH: Final = "/ngsi-ld/v1"


class Resource(BaseRoute):
    """A path below ``/ngsi-ld/v1`` such as ``/entities/{entity_id}`` and what its methods do.

    An answer carries the tenant of the request (clause 6.3.14); a method that is not there is answered with 405. The
    Location of what is new is relative to the host, unless the hub knows its ``public_url``.
    """

    def __init__(self, path: str, *, of_items: Sequence[str] = (), **methods: Endpoint) -> None:
        """``methods`` are described endpoints by method name: ``GET=retrieve``. HEAD is what GET is.

        ``of_items`` are methods of the resources below a collection. Asked of its path with an empty last segment
        (``PUT /entities/``), what is wrong is that the id is not there.
        """
        self.path = API_PATH + path
        self._of_items: Final = frozenset(of_items)
        self.operations: Mapping[str, Operation] = {name: operation_of(endpoint) for name, endpoint in methods.items()}
        self.pattern: Final = tuple(part.encode() for part in self.path.split("/"))
        self._names = [(place, part[1:-1].decode()) for place, part in enumerate(self.pattern) if part.startswith(b"{")]
        self._methods = {name: (endpoint, operation_of(endpoint)) for name, endpoint in methods.items()}
        if "GET" in methods:
            self._methods["HEAD"] = self._methods["GET"]
        self._allow = {"Allow": ", ".join(sorted(self._methods))}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path of the request is of this form, whatever its method."""
        if scope["type"] != "http":
            return Match.NONE, {}
        segments = segments_of(scope)
        if len(segments) != len(self.pattern) or any(
            wanted != segment and not wanted.startswith(b"{")
            for wanted, segment in zip(self.pattern, segments, strict=True)
        ):
            return Match.NONE, {}
        return Match.FULL, {"endpoint": self, "path_params": self.values(segments)}

    def values(self, segments: Sequence[bytes]) -> dict[str, str]:
        """The variable segments of a path of this form, by name, percent-decoded."""
        return {name: unquote_to_bytes(segments[place]).decode("utf-8", "replace") for place, name in self._names}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request; errors are raised for the application's handlers."""
        response = await self.answer(Request(scope, receive, send))
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """The answer to a request for this resource; errors are raised."""
        if request.method not in self._methods:
            if request.method in self._of_items and request.scope["path"].endswith("/"):
                raise BadRequestData(f"The path {request.scope['path']} ends without an id")
            raise HTTPException(405, headers=self._allow)
        endpoint, operation = self._methods[request.method]
        remember(request.scope, operation)
        response = await endpoint(request)
        if response.status_code == 201 and (base := public_url(request)) and "location" in response.headers:
            response.headers["Location"] = base + response.headers["Location"]
        tenant = request.headers.get(TENANT_HEADER)
        if tenant:
            response.headers[TENANT_HEADER] = tenant
        return response

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Resources have no names to look up."""
        raise NoMatchFound(name, path_params)


def segments_of(scope: Scope) -> list[bytes]:
    """The segments of the path of a request, still percent-encoded; without a last empty one."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    segments = raw.removeprefix(scope.get("root_path", "").encode()).split(b"/")
    if not segments[-1]:
        segments.pop()  # "/entities/" is "/entities" to many clients
    return segments


def location(*segments: str) -> str:
    """The path of a resource, for the Location header: relative to the host, segments encoded where they need it."""
    return "/".join([API_PATH, *(quote(segment, safe=":@!$'()*,;~") for segment in segments)])

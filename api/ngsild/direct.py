# SPDX-License-Identifier: Apache-2.0
"""The NGSI-LD API as an ASGI application of its own, without the general layers of the framework.

Most requests are small, so what every request passes decides how many there can be. The resources are found in a tree
of path segments, and errors become problem details here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from api.http.problem_details import error_response
from api.ngsild.request import ApiRequest
from api.ngsild.resource import Resource, segments_of

_ANY: Final = b"{}"  # a segment that may be anything


class _Node:
    """A segment of paths: what may follow it, and the resource whose path ends with it."""

    __slots__ = ("following", "resource")

    def __init__(self) -> None:
        self.following: dict[bytes, _Node] = {}
        self.resource: Resource | None = None


class NgsiLdApplication:
    """Answers requests for ``resources``; a path that is none of theirs gets 404."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._root = _Node()
        for resource in resources:
            node = self._root
            for segment in resource.pattern:
                node = node.following.setdefault(_ANY if segment.startswith(b"{") else segment, _Node())
            node.resource = resource

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            segments = segments_of(scope)
            resource = _find(self._root, segments, 0)
            if resource is None:
                raise HTTPException(404)
            scope["path_params"] = resource.values(segments)
            response = await resource.answer(ApiRequest(scope, receive))
        except Exception as error:  # noqa: BLE001 - what nothing else knows becomes 500 and is logged
            response = await error_response(Request(scope, receive), error)
        await response(scope, receive, send)


def _find(node: _Node, segments: list[bytes], position: int) -> Resource | None:
    for place in range(position, len(segments)):
        named, other = node.following.get(segments[place]), node.following.get(_ANY)
        if named is not None and other is not None:
            return _find(named, segments, place + 1) or _find(other, segments, place + 1)
        following = other if named is None else named
        if following is None:
            return None
        node = following
    return node.resource

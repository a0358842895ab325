# SPDX-License-Identifier: Apache-2.0
"""What requests ask for, remembered: clients repeat the same few query strings, and reading them anew costs more than
the entity they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from starlette.requests import Request

from api.ngsild.entity_maps import ENTITY_MAP_HEADER
from broker.contexts.jsonld import TermMap

Asked = TypeVar("Asked")

_MOST: Final = 500  # then all are forgotten
_LONGEST: Final = 500  # bytes of a query string


class Remembered(Generic[Asked]):
    """``read`` of a request and its terms, called once for the same query string, terms, Accept and entity map.

    It must depend on nothing else. What it raises is not remembered.
    """

    def __init__(self, read: Callable[[Request, TermMap], Asked]) -> None:
        self._read = read
        self._known: dict[tuple[bytes, str, str | None, TermMap], Asked] = {}

    def get(self, request: Request, terms: TermMap) -> Asked:
        """What ``request`` asks for in ``terms``."""
        query: bytes = request.scope["query_string"]
        headers = request.headers
        key = (query, ",".join(headers.getlist("accept")), headers.get(ENTITY_MAP_HEADER), terms)
        asked = self._known.get(key)
        if asked is None:
            asked = self._read(request, terms)
            if len(query) <= _LONGEST:
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[key] = asked
        return asked

# SPDX-License-Identifier: Apache-2.0
"""A request of the NGSI-LD API: what every operation looks at several times is read once."""

from __future__ import annotations

from typing import Any, Final

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.types import Scope

_NO_PARAMETERS: Final = QueryParams()


class IndexedHeaders(Headers):
    """Headers by name; the framework's walk through all of them for each question."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._first: dict[bytes, bytes] = dict(reversed(self._list))  # names are in lower case already (ASGI)

    def get(self, key: str, default: Any = None) -> Any:
        """The first value of a header."""
        found = self._first.get(key.lower().encode("latin-1"))
        return default if found is None else found.decode("latin-1")

    def getlist(self, key: str) -> list[str]:
        """All values of a header."""
        return super().getlist(key) if key in self else []

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower().encode("latin-1")].decode("latin-1")

    def __contains__(self, key: Any) -> bool:
        return isinstance(key, str) and key.lower().encode("latin-1") in self._first


class ApiRequest(Request):
    """The framework's request with :class:`IndexedHeaders`."""

    @property
    def headers(self) -> Headers:
        """The headers."""
        if not hasattr(self, "_headers"):
            self._headers = IndexedHeaders(self.scope)
        return self._headers

    @property
    def query_params(self) -> QueryParams:
        """The parameters; reading none costs nothing."""
        return super().query_params if self.scope["query_string"] else _NO_PARAMETERS

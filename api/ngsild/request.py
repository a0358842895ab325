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
        self._values: dict[str, list[str]] = {}
        for name, value in self._list:  # names are in lower case already (ASGI)
            self._values.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))

    def get(self, key: str, default: Any = None) -> Any:
        """The first value of a header."""
        found = self._values.get(key.lower())
        return default if found is None else found[0]

    def getlist(self, key: str) -> list[str]:
        """All values of a header."""
        return list(self._values.get(key.lower(), ()))

    def __getitem__(self, key: str) -> str:
        return self._values[key.lower()][0]

    def __contains__(self, key: Any) -> bool:
        return isinstance(key, str) and key.lower() in self._values


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

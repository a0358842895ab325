# SPDX-License-Identifier: Apache-2.0
"""Which requests callers may make who are not staff. What they see of an answer is the database's to say.

Whatever is not listed here is for staff. A test walks over all routes of the application and asks each for its verdict.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from api.http.problem_details import TENANT_HEADER
from api.ngsild.resource import API_PATH
from broker.audiences import Audience
from context_store.audiences.callers import Caller

_READ: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_POST: Final = frozenset({"POST"})
_ALL: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PATCH", "DELETE"})
_TENANT: Final = TENANT_HEADER.lower().encode()
_DRILLS: Final = b"drill-"


@dataclass(frozen=True, slots=True)
class _Open:
    """Requests that callers of ``audience`` and above may make."""

    audience: Audience
    methods: frozenset[str]
    path: re.Pattern[str]


def _open(methods: frozenset[str], path: str, audience: Audience = Audience.PUBLIC) -> _Open:
    return _Open(audience, methods, re.compile(f"(?:{path})/?"))


_ID: Final = "[^/]+"
_OPEN: Final = (
    _open(_READ, rf"/ngsi-ld/v1/(temporal/)?entities(/{_ID})?"),
    _open(_READ, rf"/ngsi-ld/v1/(types|attributes)(/{_ID})?"),
    _open(_READ, rf"/ngsi-ld/v1/(jsonldContexts|entityMaps)/{_ID}"),
    _open(_READ | _POST, r"/ngsi-ld/v1/(temporal/)?entityMaps"),
    _open(_READ, r"/ngsi-ld/v1/info/sourceIdentity"),
    _open(_POST, r"/ngsi-ld/v1/(temporal/)?entityOperations/query"),
    _open(_ALL, rf"/ngsi-ld/v1/subscriptions(/{_ID})?", Audience.BRIEFED),
    _open(_READ, rf"/api/v1/subscriptions/{_ID}/stream", Audience.BRIEFED),
    _open(_POST, r"/api/v1/stream-tickets", Audience.BRIEFED),
    _open(_READ, rf"/api/v1/stations(/{_ID}/series)?"),
    _open(_READ, r"/api/v1/entities/(?!.*/quality/).+/series/.+"),
    _open(_READ, r"/api/v1/export"),
    _open(_READ, rf"/api/v1/forecasts|/api/v1/forecast-runs(/{_ID})?"),
    _open(_READ, r"/api/v1/alerts(/stream|/cap)?"),
    _open(_READ, rf"/api/v1/alerts/{_ID}/cap(/\d+)?"),
    _open(_POST | {"DELETE"}, r"/api/v1/session"),
    _open(_READ, r"/(healthz|readyz|openapi\.json|docs)?"),
    _open(_READ, r"/static/.+"),
)


def may_ask(caller: Caller, scope: Scope) -> bool:
    """Whether ``caller`` may make this request at all. Drills are for staff, as a whole."""
    if not caller.is_restricted:
        return True
    if any(name == _TENANT and value.lower().startswith(_DRILLS) for name, value in scope["headers"]):
        return False
    method = scope.get("method", "GET")  # WebSockets have none: they read
    path = _routed(scope)
    return any(
        caller.audience >= entry.audience and method in entry.methods and entry.path.fullmatch(path) for entry in _OPEN
    )


def _routed(scope: Scope) -> str:
    """The path as routes compare it: those of the NGSI-LD API before it is decoded, all others after."""
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or path.encode()
    return raw.decode("latin-1").partition("?")[0] if path.startswith(API_PATH) else path

# SPDX-License-Identifier: Apache-2.0
"""Every route of the application has a verdict: who may ask for it at all. What is in the answers is tested in
tests/integration/test_audiences.py for each route that is open here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from unittest.mock import MagicMock

import pytest
from starlette.routing import BaseRoute

from api.access.audiences import may_ask
from api.app import create_app
from api.settings import Settings
from broker.audiences import Audience
from broker.contexts.jsonld import ContextResolver
from context_store.audiences.callers import Caller

NGSI = "/ngsi-ld/v1"
PUBLIC = {
    f"GET {NGSI}/entities",
    f"GET {NGSI}/entities/{{entity_id}}",
    f"POST {NGSI}/entityOperations/query",
    f"GET {NGSI}/types",
    f"GET {NGSI}/types/{{name}}",
    f"GET {NGSI}/attributes",
    f"GET {NGSI}/attributes/{{name}}",
    f"GET {NGSI}/info/sourceIdentity",
    f"GET {NGSI}/entityMaps",
    f"POST {NGSI}/entityMaps",
    f"GET {NGSI}/entityMaps/{{map_id}}",
    f"GET {NGSI}/temporal/entityMaps",
    f"POST {NGSI}/temporal/entityMaps",
    f"GET {NGSI}/temporal/entities",
    f"GET {NGSI}/temporal/entities/{{entity_id}}",
    f"POST {NGSI}/temporal/entityOperations/query",
    f"GET {NGSI}/jsonldContexts/{{context_id}}",
    "GET /api/v1/stations",
    "GET /api/v1/stations/{entity_id}/series",
    "GET /api/v1/entities/{entity_id:path}/series/{attribute:path}",
    "GET /api/v1/export",
    "GET /api/v1/forecasts",
    "GET /api/v1/forecast-runs",
    "GET /api/v1/forecast-runs/{run_id}",
    "GET /api/v1/alerts",
    "GET /api/v1/alerts/stream",
    "GET /api/v1/alerts/cap",
    "GET /api/v1/alerts/{alert_id}/cap",
    "GET /api/v1/alerts/{alert_id}/cap/{sequence}",
    "POST /api/v1/session",
    "DELETE /api/v1/session",
    "GET /healthz",
    "GET /readyz",
    "GET /openapi.json",
    "GET /docs",
    "GET /",
    "GET /static",
}
BRIEFED = {
    f"GET {NGSI}/subscriptions",
    f"POST {NGSI}/subscriptions",
    f"GET {NGSI}/subscriptions/{{subscription_id}}",
    f"PATCH {NGSI}/subscriptions/{{subscription_id}}",
    f"DELETE {NGSI}/subscriptions/{{subscription_id}}",
    "GET /api/v1/subscriptions/{subscription_id}/stream",
    "POST /api/v1/stream-tickets",
}
STAFF = re.compile(
    r"(POST|PUT|PATCH|DELETE) /ngsi-ld/v1/(temporal/)?entities.*"
    r"|POST /ngsi-ld/v1/entityOperations/(create|upsert|update|merge|delete)"
    r"|.* /ngsi-ld/v1/csource(Registrations|Subscriptions).*"
    r"|(PATCH|DELETE) /ngsi-ld/v1/entityMaps/\{map_id\}"
    r"|(GET|POST) /ngsi-ld/v1/jsonldContexts|DELETE /ngsi-ld/v1/jsonldContexts/\{context_id\}"
    r"|.* /api/v1/(alert-rules|alarms|incidents|audit|contacts|contact-groups|notification-plans|notices|audiences"
    r"|web-push|languages|briefed-people|polls|inboxes|notified|drills|dead-letters|devices|devices\.csv|device-models|quarantine|silence|readings|import)(/.*)?"
    r"|GET /api/v1/subscriptions(/\{subscription_id\}(/notifications)?)?"
    r"|POST /api/v1/subscriptions/\{subscription_id\}/catch-up"
    r"|.* /api/v1/entities/\{entity_id:path\}/quality/.*"
    r"|POST /api/v1/forecasts|GET /api/v1/forecast-verification"
    r"|GET /(metrics|rules|devices|alarms|contacts|drills|frames|polls|quarantine)"
    r"|POST /api/v1/decode|(GET|POST) /iot/.*"
)
EXAMPLES = {"entity_id": "urn:a%2Fb", "sequence": "12"}


def flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        router = getattr(route, "original_router", None)
        yield from [route] if router is None else flat(router.routes)


def requests() -> Iterator[str]:
    """Method and path of everything that the application answers."""
    app = create_app(MagicMock(settings=Settings(), contexts=ContextResolver(MagicMock())))
    for route in flat(app.routes):
        methods = getattr(route, "operations", None) or getattr(route, "methods", None) or {"GET"}
        for method in sorted({*methods} - {"HEAD", "OPTIONS"}):
            yield f"{method} {getattr(route, 'path', '')}"


REQUESTS = sorted(set(requests()))


def asked_by(request: str, audience: Audience) -> bool:
    """Whether callers of this audience may make ``request``."""
    method, template = request.split(" ", 1)
    path = re.sub(r"\{(\w+)(:path)?\}", lambda found: EXAMPLES.get(found[1], "x"), template)
    path += "/x.js" if path == "/static" else ""
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": []}
    return may_ask(Caller(audience), scope)


def wanted(request: str) -> Audience | None:
    if request in PUBLIC:
        return Audience.PUBLIC
    if request in BRIEFED:
        return Audience.BRIEFED
    return Audience.STAFF if STAFF.fullmatch(request) else None


@pytest.mark.parametrize("request_", REQUESTS)
def test_every_route_has_a_verdict(request_: str) -> None:
    assert wanted(request_) is not None, "say who may ask for it: api/access/audiences.py, here, and test_audiences.py"


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("audience", list(Audience))
def test_a_request_is_answered_from_its_audience_on(request_: str, audience: Audience) -> None:
    verdict = wanted(request_)
    assert asked_by(request_, audience) is (verdict is not None and audience >= verdict)


def test_no_verdict_is_about_a_route_that_is_gone() -> None:
    assert set(REQUESTS) >= PUBLIC | BRIEFED


def test_drills_are_for_staff() -> None:
    scope = {"type": "http", "method": "GET", "path": f"{NGSI}/entities", "headers": [(b"ngsild-tenant", b"drill-1")]}
    assert not may_ask(Caller(Audience.BRIEFED), scope)


@pytest.mark.parametrize("path", [f"{NGSI}/entities/x/attrs", "/api/v1/alerts/../audit", "/api/v1/export/../audit"])
def test_a_path_that_only_begins_like_an_open_one_is_not_open(path: str) -> None:
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
    assert not may_ask(Caller(Audience.PUBLIC), scope)

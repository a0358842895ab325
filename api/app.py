# SPDX-License-Identifier: Apache-2.0
"""The HTTP application: NGSI-LD API, the hub's own API, health, metrics and the live page."""

from __future__ import annotations

import importlib.metadata
from importlib import resources
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from api.health import Health, health_routes
from api.hub import Hub
from api.middleware import RequestMetrics, SecurityHeaders, TokenAccess
from api.ngsild import ngsi_ld_routes
from api.problem_details import install_problem_details
from api.routers.alerts import Wakes, alerts_router
from api.routers.devices import devices_router
from api.routers.stations import stations_router
from api.routers.subscriptions import subscription_routes


def create_app(hub: Hub, health: Health | None = None, wakes: Wakes | None = None) -> FastAPI:
    """The application on ``hub``. ``wakes`` is woken by the caller when alerts were written."""
    app = FastAPI(
        title="Minamo",
        version=importlib.metadata.version("minamo"),
        description="City data hub / 都市データハブ: NGSI-LD, history, alerts",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.hub = hub
    install_problem_details(app)
    app.router.routes.extend(ngsi_ld_routes(hub))
    app.router.routes.extend(subscription_routes(hub))
    app.router.routes.extend(health_routes(health or Health({"database": hub.database.ping})))
    app.include_router(stations_router(hub))
    app.include_router(alerts_router(hub, wakes or Wakes()))
    app.include_router(devices_router(hub))
    _pages(app)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(TokenAccess, hashes=hub.settings.api_tokens_sha256)
    app.add_middleware(RequestMetrics)
    return app


def _pages(app: FastAPI) -> None:
    root = Path(str(resources.files("web")))

    async def index() -> FileResponse:
        return FileResponse(root / "index.html", headers={"Cache-Control": "no-cache"})

    app.add_api_route("/", index, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=root), name="static")

# SPDX-License-Identifier: Apache-2.0
"""The HTTP application: NGSI-LD API, the hub's own API, health, metrics and the live page."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.doors import TokenAccess
from api.access.sessions import LIFETIME, Sessions, Tokens, sessions_router
from api.health import Health, health_routes
from api.http.middleware import Compression, RequestMetrics, SecurityHeaders
from api.http.overload import Limits, LoadGuard, WriteShedding
from api.http.pages import add_pages
from api.http.problem_details import install_problem_details
from api.hub import Hub
from api.ngsild import ngsi_ld_routes
from api.ngsild.direct import NgsiLdApplication
from api.ngsild.resource import API_PATH
from api.openapi.routes import document_routes
from api.routers.alarms import alarms_router
from api.routers.alerts import alerts_router
from api.routers.audiences import audiences_router
from api.routers.briefed_people import briefed_people_router
from api.routers.contacts import contacts_router
from api.routers.contexts import context_routes
from api.routers.csource_subscriptions import csource_subscription_routes
from api.routers.decoding import decoding_router
from api.routers.deliveries import deliveries_router
from api.routers.device_files import device_files_router
from api.routers.device_models import device_models_router
from api.routers.device_service import device_service_router
from api.routers.devices import devices_router
from api.routers.drills import drills_router
from api.routers.export import export_router
from api.routers.forecasts import forecasts_router
from api.routers.history_import import import_router
from api.routers.inboxes import inboxes_router
from api.routers.iot_agent import iot_agent_router
from api.routers.polls import polls_router
from api.routers.quality import quality_router
from api.routers.quarantine import quarantine_router
from api.routers.readings import readings_router
from api.routers.series import series_router
from api.routers.silence import silence_router
from api.routers.stations import Notice, stations_router
from api.routers.streams import streams_router
from api.routers.subscriptions import subscription_routes
from api.streams.numbered import Wakes
from api.streams.readers import StreamReaders
from api.streams.tickets import SECRET_NAME, Tickets
from context_store.audiences.briefed_people import BriefedTokens
from context_store.entities.changes import utc_now
from context_store.secrets import shared_secret
from context_store.subscriptions.notifications import NotificationLog

_MB: Final = 1_048_576


def create_app(
    hub: Hub,
    health: Health | None = None,
    wakes: Wakes | None = None,
    notice: Notice | None = None,
    readers: StreamReaders | None = None,
    guard: LoadGuard | None = None,
) -> FastAPI:
    """The application on ``hub``.

    ``wakes`` is woken by the caller when alerts were written. ``notice`` is shown on the live page (``{"ja", "en"}``),
    for instance that what it shows is a replay. ``readers`` of streams and the ``guard`` against overload
    are kept running by the caller.
    """
    app = HubApplication(
        title="Minamo",
        version=importlib.metadata.version("minamo"),
        description="City data hub / 都市データハブ: NGSI-LD, history, alerts",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.hub = hub
    install_problem_details(app)
    resources = [
        *ngsi_ld_routes(hub),
        *subscription_routes(hub),
        *csource_subscription_routes(hub),
        *context_routes(hub),
    ]
    app.router.routes.extend(resources)
    app.router.routes.extend(health_routes(health or Health({"database": hub.database.ping})))
    app.include_router(stations_router(hub, notice))
    app.include_router(series_router(hub))
    app.include_router(quality_router(hub))
    app.include_router(export_router(hub))
    app.include_router(import_router(hub))
    wakes = wakes or Wakes()
    app.include_router(alerts_router(hub, wakes))
    app.include_router(alarms_router(hub, wakes))
    app.include_router(contacts_router(hub))
    app.include_router(audiences_router(hub))
    app.include_router(briefed_people_router(hub))
    app.include_router(forecasts_router(hub))
    app.include_router(drills_router(hub))
    app.include_router(deliveries_router(hub))
    tickets = Tickets(lambda: shared_secret(hub.database, SECRET_NAME))
    people = BriefedTokens(hub.database, utc_now)
    tokens = Tokens(hub.settings.api_tokens_sha256, hub.settings.briefed_tokens_sha256, people)
    sessions = Sessions(Tickets(lambda: shared_secret(hub.database, SECRET_NAME), lifetime=LIFETIME), tokens)
    app.include_router(sessions_router(tokens, sessions))
    app.include_router(streams_router(hub, readers or make_readers(hub), tickets))
    app.include_router(devices_router(hub))
    app.include_router(silence_router(hub))
    app.include_router(device_models_router(hub))
    app.include_router(device_service_router(hub))
    app.include_router(device_files_router(hub))
    app.include_router(decoding_router(hub))
    app.include_router(quarantine_router(hub))
    app.include_router(readings_router(hub))
    app.include_router(polls_router(hub))
    app.include_router(inboxes_router(hub))
    app.include_router(iot_agent_router(hub))
    app.router.routes.extend(document_routes(app))
    add_pages(app)
    app.add_middleware(Compression)
    every = [
        Middleware(RequestMetrics),
        Middleware(TokenAccess, tokens=tokens, tickets=tickets, sessions=sessions, public=hub.settings.public_access),
        Middleware(WriteShedding, guard=guard or make_guard(hub)),
        Middleware(SecurityHeaders),
    ]
    for layer in reversed(every):
        app.add_middleware(layer.cls, *layer.args, **layer.kwargs)
    app.answer_directly(NgsiLdApplication(resources), every)
    return app


def make_readers(hub: Hub) -> StreamReaders:
    """The readers of streams, as the settings want them."""
    settings = hub.settings
    log = NotificationLog(hub.database)
    return StreamReaders(log, max_open=settings.stream_max_open, heartbeat_s=settings.stream_heartbeat_s)


def make_guard(hub: Hub) -> LoadGuard:
    """The guard against overload, as the settings want it."""
    settings = hub.settings
    limits = Limits(
        pending=settings.overload_pending,
        outbox_bytes=settings.overload_outbox_mb * _MB,
        event_lag=settings.overload_event_lag,
        free_disk_bytes=settings.overload_free_disk_mb * _MB,
        disk=settings.data_dir if settings.database_url is None else None,
    )
    return LoadGuard(hub.database, limits)


class HubApplication(FastAPI):
    """The application; the NGSI-LD API goes past the layers of the framework, which are for the rest."""

    _direct: ASGIApp | None = None

    def answer_directly(self, ngsi_ld: ASGIApp, layers: Sequence[Middleware]) -> None:
        """Let ``ngsi_ld`` answer what is below its path, behind these ``layers`` (the first is the outermost)."""
        self._direct = ngsi_ld
        for layer in reversed(layers):
            self._direct = layer.cls(self._direct, *layer.args, **layer.kwargs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._direct is not None and scope["type"] == "http" and scope["path"].startswith(API_PATH):
            scope["app"] = self
            await self._direct(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

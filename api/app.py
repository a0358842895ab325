# SPDX-License-Identifier: Apache-2.0
"""The HTTP application: NGSI-LD API, the hub's own API, health, metrics and the live page."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, FastAPI
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
    *,
    at_once: bool = True,
) -> FastAPI:
    """The application on ``hub``.

    ``wakes`` is woken by the caller when alerts were written. ``notice`` is shown on the live page (``{"ja", "en"}``),
    for instance that what it shows is a replay. ``readers`` of streams and the ``guard`` against overload
    are kept running by the caller. Not ``at_once``: what is not the NGSI-LD API is made by the first request for it,
    which waits 0.2 s for that.
    """
    access = _make_access(hub)
    app = _bare_application()
    app.state.hub = hub
    resources = [
        *ngsi_ld_routes(hub),
        *subscription_routes(hub),
        *csource_subscription_routes(hub),
        *context_routes(hub),
    ]
    layers = _layers(hub, access, guard or make_guard(hub))
    app.answer_directly(NgsiLdApplication(resources), layers)

    def make_rest() -> None:
        install_problem_details(app)
        app.router.routes.extend(resources)
        app.router.routes.extend(health_routes(health or Health({"database": hub.database.ping})))
        for router in _routers(hub, access, wakes or Wakes(), notice, readers or make_readers(hub)):
            app.include_router(router)
        app.router.routes.extend(document_routes(app))
        add_pages(app)
        app.add_middleware(Compression)
        for layer in reversed(layers):
            app.add_middleware(layer.cls, *layer.args, **layer.kwargs)

    app.answer_rest(make_rest)
    if at_once:
        app.make_rest()
    return app


def _bare_application() -> HubApplication:
    return HubApplication(
        title="Minamo",
        version=importlib.metadata.version("minamo"),
        description="City data hub / 都市データハブ: NGSI-LD, history, alerts",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )


@dataclass(frozen=True, slots=True)
class _Access:
    """What people and programs pass by."""

    tokens: Tokens
    sessions: Sessions
    tickets: Tickets


def _make_access(hub: Hub) -> _Access:
    async def secret() -> bytes:
        return await shared_secret(hub.database, SECRET_NAME, hub.sealer)

    people = BriefedTokens(hub.database, utc_now)
    tokens = Tokens(hub.settings.api_tokens_sha256, hub.settings.briefed_tokens_sha256, people)
    return _Access(tokens, Sessions(Tickets(secret, lifetime=LIFETIME), tokens), Tickets(secret))


def _routers(
    hub: Hub, access: _Access, wakes: Wakes, notice: Notice | None, readers: StreamReaders
) -> Sequence[APIRouter]:
    """Those of the hub's own API, in the order of its document."""
    return (
        stations_router(hub, notice),
        series_router(hub),
        quality_router(hub),
        export_router(hub),
        import_router(hub),
        alerts_router(hub, wakes),
        alarms_router(hub, wakes),
        contacts_router(hub),
        audiences_router(hub),
        briefed_people_router(hub),
        forecasts_router(hub),
        drills_router(hub),
        deliveries_router(hub),
        sessions_router(access.tokens, access.sessions),
        streams_router(hub, readers, access.tickets),
        devices_router(hub),
        silence_router(hub),
        device_models_router(hub),
        device_service_router(hub),
        device_files_router(hub),
        decoding_router(hub),
        quarantine_router(hub),
        readings_router(hub),
        polls_router(hub),
        inboxes_router(hub),
        iot_agent_router(hub),
    )


def _layers(hub: Hub, access: _Access, guard: LoadGuard) -> Sequence[Middleware]:
    """What every request passes, the outermost first."""
    return (
        Middleware(RequestMetrics),
        Middleware(
            TokenAccess,
            tokens=access.tokens,
            tickets=access.tickets,
            sessions=access.sessions,
            public=hub.settings.public_access,
        ),
        Middleware(WriteShedding, guard=guard),
        Middleware(SecurityHeaders),
    )


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
    _make_rest: Callable[[], None] | None = None

    def answer_directly(self, ngsi_ld: ASGIApp, layers: Sequence[Middleware]) -> None:
        """Let ``ngsi_ld`` answer what is below its path, behind these ``layers`` (the first is the outermost)."""
        self._direct = ngsi_ld
        for layer in reversed(layers):
            self._direct = layer.cls(self._direct, *layer.args, **layer.kwargs)

    def answer_rest(self, make: Callable[[], None]) -> None:
        """Answer everything else with what ``make`` adds to this application; it is called once, when needed."""
        self._make_rest = make

    def make_rest(self) -> None:
        """Make that part now, unless it is there."""
        make, self._make_rest = self._make_rest, None
        if make is not None:
            make()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._direct is not None and scope["type"] == "http" and scope["path"].startswith(API_PATH):
            scope["app"] = self
            await self._direct(scope, receive, send)
        else:
            self.make_rest()
            await super().__call__(scope, receive, send)

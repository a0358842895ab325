# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/subscriptions/{id}/stream``: notifications as server-sent events and over WebSocket, and tickets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import unquote, urlencode, urlsplit

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.http.problem_details import TENANT_HEADER, UnacceptableRequest
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import EVENT_STREAM, NEEDED, answers, takes
from api.streams.frames import sse_frames, sse_opening, websocket_messages, websocket_opening
from api.streams.readers import StreamReaders, TooManyStreams
from api.streams.sending import EventStream, until_either_ends
from api.streams.tickets import STREAM_PATH, Tickets
from broker.errors import BadRequestData, NonexistentTenant, ResourceNotFound
from broker.times import to_text
from context_store.audiences.callers import current_caller
from context_store.subscriptions.notifications import FoundSubscription, NotificationLog
from context_store.tenants import DEFAULT_TENANT

_RETRY_AFTER_S: Final = 10
# Closing codes for what HTTP says with a status (4000 and above are the application's).
_NOT_FOUND: Final = 4404
_BAD_REQUEST: Final = 4400
_TRY_LATER: Final = 1013
_FORBIDDEN: Final = 1008
_ENDED: Final = 1000


def streams_router(hub: Hub, readers: StreamReaders, tickets: Tickets) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["deliveries"])
    notifications = NotificationLog(hub.database)

    @router.get(
        "/subscriptions/{subscription_id}/stream",
        summary="Notifications as they are made (server-sent events; also WebSocket) / 通知のストリーム",
        responses=answers("NotificationEvents", *NEEDED, media_type=EVENT_STREAM)
        | {503: {"description": "Too many streams are open"}},
    )
    async def stream(
        tenant_id: TenantId,
        subscription_id: str,
        last_event_id: Annotated[int | None, Header(ge=0, description="Resume after this number")] = None,
        after: Annotated[int | None, Query(ge=0, description="The same, for clients that cannot set headers")] = None,
        ticket: Annotated[str | None, Query(description="Instead of a token")] = None,  # noqa: ARG001 - see TokenAccess
    ) -> Response:
        found = await notifications.find(tenant_id, subscription_id)
        position = _position(found, last_event_id if last_event_id is not None else after)
        frames = _events(readers, tenant_id, found, position)
        try:
            first = await anext(frames)
        except TooManyStreams as exc:
            raise _too_many(exc) from exc
        return EventStream(_beginning_with(first, frames), stall_s=hub.settings.stream_stall_s)

    @router.post(
        "/stream-tickets",
        status_code=201,
        summary="A ticket that opens one stream, for browsers / ブラウザー用のストリーム入場券",
        responses=answers("StreamTicket", statuses=(201,)),
        openapi_extra=takes("StreamTicketRequest"),
    )
    async def make_ticket(
        tenant_id: TenantId,  # noqa: ARG001 - it has to exist
        body: JsonObject,
        tenant: Annotated[str | None, Header(alias=TENANT_HEADER)] = None,
    ) -> Json:
        path = body.get("path")
        if not isinstance(path, str) or not STREAM_PATH.fullmatch(unquote(path)):
            raise BadRequestData(
                "path: none of /api/v1/subscriptions/{id}/stream, /api/v1/alerts/stream, /api/v1/alarms/stream"
            )
        text, ticket = await tickets.make(unquote(path), tenant or DEFAULT_TENANT, datetime.now(UTC), current_caller())
        url = f"{path}?{urlencode({'ticket': text})}"
        return Json({"ticket": text, "url": url, "expiresAt": to_text(ticket.until)}, status_code=201)

    router.routes.append(_websocket_route(hub, notifications, readers))
    return router


def _position(found: FoundSubscription, after: int | None) -> int:
    """Behind which number a stream goes on: the last one, unless the client names one that exists."""
    return found.last_sequence if after is None else min(after, found.last_sequence)


async def _events(readers: StreamReaders, tenant_id: int, found: FoundSubscription, after: int) -> AsyncIterator[bytes]:
    with readers.place():
        yield sse_opening(after)
        async for page in readers.pages(tenant_id, found, after):
            yield sse_frames(page)


async def _beginning_with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for frame in rest:
            yield frame
    finally:
        await rest.aclose()  # type: ignore[attr-defined]


def _too_many(error: TooManyStreams) -> UnacceptableRequest:
    body = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": str(error)}
    return UnacceptableRequest(503, body, {"Retry-After": str(_RETRY_AFTER_S)})


def _websocket_route(hub: Hub, notifications: NotificationLog, readers: StreamReaders) -> WebSocketRoute:
    async def stream(socket: WebSocket) -> None:
        if not _same_origin(socket):
            await socket.close(_FORBIDDEN)
            return
        await socket.accept()
        try:
            tenant_id = await hub.tenants.find(socket.headers.get(TENANT_HEADER, DEFAULT_TENANT))
            found = await notifications.find(tenant_id, socket.path_params["subscription_id"])
            after = _position(found, _after(socket))
            with readers.place():
                sending = _send(socket, readers, tenant_id, found, after, hub.settings.stream_stall_s)
                await until_either_ends(sending, _until_closed(socket))
        except (NonexistentTenant, ResourceNotFound) as exc:
            await socket.close(_NOT_FOUND, exc.detail[:120])
        except BadRequestData as exc:
            await socket.close(_BAD_REQUEST, exc.detail[:120])
        except TooManyStreams as exc:
            await socket.close(_TRY_LATER, str(exc))
        except (TimeoutError, WebSocketDisconnect):
            pass

    return WebSocketRoute("/api/v1/subscriptions/{subscription_id}/stream", stream)


def _same_origin(socket: WebSocket) -> bool:
    """Whether a page of the hub's own asks, or no page at all, or one that was given a ticket.

    Browsers let any page open a WebSocket to any host, with whatever opens the hub to them.
    """
    origin = socket.headers.get("origin")
    return origin is None or "ticket" in socket.query_params or urlsplit(origin).netloc == socket.headers.get("host")


def _after(socket: WebSocket) -> int | None:
    text = socket.query_params.get("after")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise BadRequestData("after is not the number of a notification")
    return int(text)


async def _send(
    socket: WebSocket,
    readers: StreamReaders,
    tenant_id: int,
    found: FoundSubscription,
    after: int,
    stall_s: float,
) -> None:
    await socket.send_text(websocket_opening(after))
    async for page in readers.pages(tenant_id, found, after):
        for message in websocket_messages(page):
            async with asyncio.timeout(stall_s):
                await socket.send_text(message)
    await socket.close(_ENDED, "the subscription is gone")


async def _until_closed(socket: WebSocket) -> None:
    """What the client sends is not needed, but its leaving is noticed."""
    with suppress(WebSocketDisconnect):
        while True:
            await socket.receive_text()

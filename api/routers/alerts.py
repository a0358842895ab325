# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/alerts`` and ``/api/v1/alert-rules``: alerts, their live stream (SSE) and the rules behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from api.hub import Hub
from api.openapi.plain import EVENT_STREAM, answers
from api.requests import RowNumber, TenantId
from api.responses import Json
from api.routers.alert_rules import add_rule_routes
from api.routers.alerts_cap import add_cap_routes
from broker.errors import StoreUnavailable
from broker.times import to_text, to_text_or_none
from context_store.alerts import AlertEvent, AlertRecord

_KEEPALIVE_S: Final = 15.0
_PAGE: Final = 500


def alerts_router(hub: Hub, wakes: Wakes) -> APIRouter:
    """The routes on ``hub``; ``wakes`` tells streams that there is something new."""
    router = APIRouter(prefix="/api/v1", tags=["alerts"])

    @router.get("/alerts", summary="Alerts, newest first / 警報一覧", responses=answers("Alerts"))
    async def alerts(
        tenant_id: TenantId,
        state: Annotated[Literal["open", "all"], Query(description="open: not cleared yet")] = "open",
        entity: Annotated[str | None, Query(alias="entityId")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            records = await hub.alerts.list_alerts(
                connection, tenant_id, open_only=state == "open", entity_id=entity, limit=limit
            )
        return Json({"alerts": [alert_document(record) for record in records]})

    @router.get(
        "/alerts/stream",
        summary="Alerts as they happen (server-sent events) / 警報の配信",
        response_class=StreamingResponse,
        responses=answers("AlertEvents", media_type=EVENT_STREAM),
    )
    async def stream(
        request: Request,
        tenant_id: TenantId,
        last_event_id: Annotated[RowNumber | None, Header(description="Resume after this event")] = None,
        after: Annotated[RowNumber | None, Query(description="The same, for clients that cannot set headers")] = None,
    ) -> StreamingResponse:
        position = last_event_id if last_event_id is not None else after
        if position is None:
            async with hub.database.transaction(tenant_id) as connection:
                position = await hub.alerts.last_event_id(connection, tenant_id)
        events = _events(hub, wakes, request, tenant_id, position)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events, media_type=EVENT_STREAM, headers=headers)

    add_cap_routes(router, hub)
    add_rule_routes(router, hub)
    return router


class Wakes:
    """Wakes every open stream when something was written."""

    def __init__(self) -> None:
        self._events: set[asyncio.Event] = set()

    def wake(self) -> None:
        """Something was written."""
        for event in self._events:
            event.set()

    def register(self) -> asyncio.Event:
        """An event that is set at each wake."""
        event = asyncio.Event()
        self._events.add(event)
        return event

    def forget(self, event: asyncio.Event) -> None:
        """The stream has ended."""
        self._events.discard(event)


async def _events(hub: Hub, wakes: Wakes, request: Request, tenant_id: int, position: int) -> AsyncIterator[bytes]:
    wake = wakes.register()
    yield b"retry: 2000\n\n"
    try:
        while not await request.is_disconnected():
            wake.clear()
            try:
                found = await _read(hub, tenant_id, position)
            except StoreUnavailable:
                found = []
            for event in found:
                yield _frame(event)
                position = event.alert_event_id
            if len(found) == _PAGE:
                continue
            try:
                async with asyncio.timeout(_KEEPALIVE_S):
                    await wake.wait()
            except TimeoutError:
                yield b": keep-alive\n\n"
    finally:
        wakes.forget(wake)


async def _read(hub: Hub, tenant_id: int, position: int) -> list[AlertEvent]:
    async with hub.database.transaction(tenant_id) as connection:
        return await hub.alerts.read_events(connection, tenant_id, position, limit=_PAGE)


def _frame(event: AlertEvent) -> bytes:
    data = orjson.dumps({**event.document, "sequence": event.alert_event_id})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.alert_event_id, event.kind.encode(), data)


def alert_document(record: AlertRecord) -> dict[str, Any]:
    """An alert as it stands, for lists: the message of its last event with the newest peak."""
    return {
        **(record.document or {}),
        "id": record.alert_id,
        "entityId": record.entity_id,
        "stage": record.stage,
        "threshold": record.threshold,
        "value": record.cleared_value if record.cleared_at else record.raised_value,
        "peakValue": record.peak_value,
        "raisedAt": to_text(record.raised_at),
        "clearedAt": to_text_or_none(record.cleared_at),
        "status": "cleared" if record.cleared_at else "raised",
    }

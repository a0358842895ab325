# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/alerts`` and ``/api/v1/alert-rules``: alerts, their live stream (SSE) and the rules behind them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from api.http.requests import RowNumber, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import EVENT_STREAM, answers
from api.routers.alert_rules import add_rule_routes
from api.routers.alerts_cap import add_cap_routes
from api.streams.numbered import PAGE, NumberedEvent, Wakes, numbered_stream
from api.streams.sending import EventStream
from broker.times import to_text, to_text_or_none
from context_store.alerts.standing import AlertRecord


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
        tenant_id: TenantId,
        last_event_id: Annotated[RowNumber | None, Header(description="Resume after this event")] = None,
        after: Annotated[RowNumber | None, Query(description="The same, for clients that cannot set headers")] = None,
    ) -> EventStream:
        position = last_event_id if last_event_id is not None else after
        if position is None:
            async with hub.database.transaction(tenant_id) as connection:
                position = await hub.alerts.last_event_id(connection, tenant_id)

        async def read(behind: int) -> list[NumberedEvent]:
            async with hub.database.transaction(tenant_id) as connection:
                found = await hub.alerts.read_events(connection, tenant_id, behind, limit=PAGE)
            return [NumberedEvent(event.alert_event_id, event.kind, event.document) for event in found]

        return numbered_stream(wakes, read, position, stall_s=hub.settings.stream_stall_s)

    add_cap_routes(router, hub)
    add_rule_routes(router, hub)
    return router


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

# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/devices`` and ``/api/v1/quarantine``: the sensors, and the messages that could not be taken."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.device_registration import register
from api.device_views import registered_document, shown
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from api.quarantine import ReplayResult, drop, replay
from api.requests import JsonObject, RowNumber, TenantId
from api.responses import Json
from broker.errors import AlreadyExists, Conflict
from broker.times import to_text, to_text_or_none
from context_store.devices import DeviceFilter
from context_store.quarantine import QuarantineEntry

DEFAULT_PAGE: Final = 1000
MAX_PAGE: Final = 10_000


def devices_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["devices"])

    @router.get("/devices", summary="Registered devices / 登録済みのセンサー", responses=answers("Devices"))
    async def devices(
        tenant_id: TenantId,
        text: Annotated[str | None, Query(description="In id, key, name, entity, serial number or DevEUI")] = None,
        model: Annotated[str | None, Query(description="Id of a device model")] = None,
        entity_id: Annotated[str | None, Query(alias="entityId", description="The station it feeds")] = None,
        owner: Annotated[str | None, Query(description="Exactly so")] = None,
        retired: Annotated[bool, Query(description="Also those out of service")] = True,
        after: Annotated[str, Query(description="Behind this id: next of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    ) -> Json:
        wanted = DeviceFilter(model=model, entity_id=entity_id, owner=owner, text=text, retired=retired)
        found = await hub.devices.page(tenant_id, wanted, after=after, limit=limit + 1)
        now = datetime.now(UTC)
        page = [shown(entry, now) for entry in found[:limit]]
        return Json({"devices": page, "next": page[-1]["id"] if len(found) > limit else None})

    @router.get("/devices/{device_id}", summary="One device / センサー一件", responses=answers("Device", *NEEDED))
    async def device(tenant_id: TenantId, device_id: str) -> Json:
        return Json(shown(await hub.devices.listed(tenant_id, device_id), datetime.now(UTC)))

    @router.put(
        "/devices/{device_id}",
        summary="Register or change a device / センサーの登録・変更",
        responses=answers("Device", AlreadyExists, Conflict, statuses=(200, 201)),
        openapi_extra=takes("DeviceInput"),
    )
    async def put_device(tenant_id: TenantId, device_id: str, body: JsonObject) -> Response:
        found = await register(hub, tenant_id, {**body, "id": device_id})
        return Json(
            registered_document(hub.settings, found), status_code=201 if found.created or found.password else 200
        )

    @router.delete(
        "/devices/{device_id}",
        status_code=204,
        summary="Delete a device / センサーの削除",
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def delete_device(tenant_id: TenantId, device_id: str) -> Response:
        await hub.devices.delete(tenant_id, device_id)
        return Response(status_code=204)

    _quarantine(router, hub)
    return router


def _quarantine(router: APIRouter, hub: Hub) -> None:
    @router.get(
        "/quarantine",
        summary="Messages that could not be taken / 受け入れできなかったメッセージ",
        responses=answers("Quarantine"),
    )
    async def quarantine(
        tenant_id: TenantId,
        state: Annotated[Literal["held", "replayed", "dropped", "all"], Query()] = "held",
        reason: str | None = None,
        device: str | None = None,
        before: RowNumber | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Json:
        entries = await hub.quarantine.page(
            tenant_id,
            state=None if state == "all" else state,
            reason=reason,
            device_key=device,
            before=before,
            limit=limit,
        )
        return Json({"messages": [entry_document(entry) for entry in entries]})

    @router.get(
        "/quarantine/{quarantine_id}",
        summary="One message / メッセージ一件",
        responses=answers("QuarantineEntry", *NEEDED),
    )
    async def entry(tenant_id: TenantId, quarantine_id: RowNumber) -> Json:
        return Json(entry_document(await hub.quarantine.get(tenant_id, quarantine_id)))

    @router.post(
        "/quarantine/replay", summary="Try all held messages again / 保留中の再投入", responses=answers("Replay")
    )
    async def replay_all(tenant_id: TenantId, reason: str | None = None, device: str | None = None) -> Json:
        ids = await hub.quarantine.held_ids(tenant_id, reason=reason, device_key=device)
        return Json(_result(await replay(hub, tenant_id, ids)))

    @router.post(
        "/quarantine/{quarantine_id}/replay",
        summary="Try a message again / 一件の再投入",
        responses=answers("Replay", *NEEDED),
    )
    async def replay_one(tenant_id: TenantId, quarantine_id: RowNumber) -> Json:
        await hub.quarantine.get(tenant_id, quarantine_id)
        return Json(_result(await replay(hub, tenant_id, [quarantine_id])))

    @router.delete(
        "/quarantine/{quarantine_id}",
        status_code=204,
        summary="Drop a message / 破棄",
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def drop_one(tenant_id: TenantId, quarantine_id: RowNumber) -> Response:
        await drop(hub, tenant_id, quarantine_id)
        return Response(status_code=204)


def _result(result: ReplayResult) -> dict[str, Any]:
    return {"stored": result.stored, "stillHeld": result.still_held}


def entry_document(entry: QuarantineEntry) -> dict[str, Any]:
    """A quarantined message as JSON: the raw bytes in base64, and as text where they are UTF-8."""
    try:
        text = entry.payload.decode()
    except UnicodeDecodeError:
        text = None
    return {
        "id": entry.quarantine_id,
        "receivedAt": to_text(entry.received_at),
        "topic": entry.topic,
        "deviceKey": entry.device_key,
        "reason": entry.reason,
        "detail": entry.detail,
        "state": entry.state,
        "attempts": entry.attempts,
        "payloadBase64": base64.b64encode(entry.payload).decode(),
        "payloadText": text,
        "resolvedAt": to_text_or_none(entry.resolved_at),
    }

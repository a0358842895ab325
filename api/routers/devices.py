# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/devices`` and ``/api/v1/quarantine``: the sensors, and the messages that could not be taken."""

from __future__ import annotations

import base64
import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from adapters.formats import check_profile
from api.embedded.passwords import hash_password
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from api.quarantine import ReplayResult, drop, replay
from api.requests import JsonObject, RowNumber, TenantId
from api.responses import Json
from broker.device_documents import device_document, parse_device
from broker.devices import Device
from broker.errors import ResourceNotFound
from broker.times import to_text
from context_store.quarantine import QuarantineEntry
from context_store.tenants import DEFAULT_TENANT
from schemas.contexts import MINAMO_CONTEXT


async def read_document(hub: Hub, tenant_id: int, document: Any) -> Device:
    """The device in ``document``; raises :class:`~broker.errors.BadRequestData`."""
    tenant = DEFAULT_TENANT if tenant_id == 1 else await hub.tenants.name(tenant_id)
    terms = await hub.contexts.resolve(document.get("@context", MINAMO_CONTEXT), tenant)
    device = parse_device(document, tenant=tenant, tenant_id=tenant_id, expand=terms.expand_term)
    check_profile(device.format)
    return device


async def register(hub: Hub, tenant_id: int, document: Any) -> tuple[Device, str | None]:
    """Register or change the device in ``document``; a new one gets a password, returned only this once."""
    device = await read_document(hub, tenant_id, document)
    try:
        known = await hub.devices.get(tenant_id, device.device_id)
    except ResourceNotFound:
        known = None
    if known is not None and known.password_hash is not None and not document.get("newPassword"):
        await hub.devices.put(device)
        return device, None
    password = secrets.token_urlsafe(18)
    await hub.devices.put(device.with_password_hash(hash_password(password)))
    return device, password


def devices_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["devices"])

    @router.get("/devices", summary="Registered devices / 登録済みのセンサー", responses=answers("Devices"))
    async def devices(tenant_id: TenantId) -> Json:
        return Json({"devices": [device_document(d) for d in await hub.devices.page(tenant_id)]})

    @router.get("/devices/{device_id}", summary="One device / センサー一件", responses=answers("Device", *NEEDED))
    async def device(tenant_id: TenantId, device_id: str) -> Json:
        return Json(device_document(await hub.devices.get(tenant_id, device_id)))

    @router.put(
        "/devices/{device_id}",
        summary="Register or change a device / センサーの登録・変更",
        responses=answers("Device", statuses=(200, 201)),
        openapi_extra=takes("DeviceInput"),
    )
    async def put_device(tenant_id: TenantId, device_id: str, body: JsonObject) -> Response:
        found, password = await register(hub, tenant_id, {**body, "id": device_id})
        answer = device_document(found)
        if password is not None:
            answer["mqtt"] = {
                "username": found.key,
                "password": password,
                "topic": f"minamo/v1/{found.key}/readings",
            }
        return Json(answer, status_code=201 if password is not None else 200)

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
        "resolvedAt": to_text(entry.resolved_at) if entry.resolved_at else None,
    }

# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/devices/{id}/...``: credential, maintenance, replacement."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from fastapi.responses import Response

from api.devices.service import (
    add_maintenance,
    change_maintenance,
    remove_maintenance,
    replace_device,
    revoke_credential,
    rotate_credential,
)
from api.devices.views import access_of, registered_document
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from broker.errors import AlreadyExists, Conflict


def device_service_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1/devices/{device_id}", tags=["devices"])

    @router.put(  # which no page of another site can make a browser send, as it could a POST without a body
        "/credential",
        status_code=201,
        summary="Another password; the old one ends / パスワードの再発行（旧パスワードは無効）",
        responses=answers("DeviceAccess", Conflict, *NEEDED, statuses=(201,)),
    )
    async def rotate(tenant_id: TenantId, device_id: str) -> Json:
        record, password = await rotate_credential(hub, tenant_id, device_id)
        return Json({"mqtt": access_of(hub.settings, record.device, password)}, status_code=201)

    @router.delete(
        "/credential",
        status_code=204,
        summary="Take the password away / パスワードの失効",
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def revoke(tenant_id: TenantId, device_id: str) -> Response:
        await revoke_credential(hub, tenant_id, device_id)
        return Response(status_code=204)

    @router.post(
        "/replacement",
        status_code=201,
        summary="A new device in its place; the series goes on / 機器の交換（系列は続く）",
        responses=answers("Device", AlreadyExists, Conflict, *NEEDED, statuses=(201,)),
        openapi_extra=takes("ReplacementInput"),
    )
    async def replacement(tenant_id: TenantId, device_id: str, body: JsonObject) -> Json:
        found = await replace_device(hub, tenant_id, device_id, body, datetime.now(UTC))
        return Json(registered_document(hub.settings, found), status_code=201)

    _maintenance(router, hub)
    return router


def _maintenance(router: APIRouter, hub: Hub) -> None:
    @router.get(
        "/maintenance", summary="Times of maintenance / 点検の予定と記録", responses=answers("Maintenance", *NEEDED)
    )
    async def windows(tenant_id: TenantId, device_id: str) -> Json:
        device = await hub.devices.get(tenant_id, device_id)
        return Json({"windows": [window.document() for window in device.maintenance]})

    @router.post(
        "/maintenance",
        status_code=201,
        summary="Announce or begin maintenance / 点検の登録・開始",
        responses=answers("MaintenanceWindow", Conflict, *NEEDED, statuses=(201,)),
        openapi_extra=takes("MaintenanceInput"),
    )
    async def add(tenant_id: TenantId, device_id: str, body: JsonObject) -> Json:
        window = await add_maintenance(hub, tenant_id, device_id, body, datetime.now(UTC))
        return Json(window.document(), status_code=201)

    @router.patch(
        "/maintenance/{window_id}",
        summary="Change it, for instance its end / 点検の変更・終了",
        responses=answers("MaintenanceWindow", *NEEDED),
        openapi_extra=takes("MaintenanceChange"),
    )
    async def change(tenant_id: TenantId, device_id: str, window_id: str, body: JsonObject) -> Json:
        window = await change_maintenance(hub, tenant_id, device_id, window_id, body, datetime.now(UTC))
        return Json(window.document())

    @router.delete(
        "/maintenance/{window_id}",
        status_code=204,
        summary="Remove what was announced by mistake / 点検の取消",
        responses=answers(None, *NEEDED, statuses=(204,)),
    )
    async def remove(tenant_id: TenantId, device_id: str, window_id: str) -> Response:
        await remove_maintenance(hub, tenant_id, device_id, window_id)
        return Response(status_code=204)

# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/devices``: the sensors."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.devices.registration import register
from api.devices.views import registered_document, shown
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from broker.errors import AlreadyExists, Conflict
from context_store.devices.registry import DeviceFilter

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

    return router

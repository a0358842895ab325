# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/device-models``: what devices of one kind have in common."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api.devices.registration import all_models, delete_model, get_model, put_model
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from broker.errors import Conflict


def device_models_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1/device-models", tags=["devices"])

    @router.get("", summary="Models of devices / 機種の一覧", responses=answers("DeviceModels"))
    async def device_models(tenant_id: TenantId) -> Json:
        return Json({"models": [model.shown() for model in await all_models(hub, tenant_id)]})

    @router.get("/{model_id}", summary="One model / 機種一件", responses=answers("DeviceModel", *NEEDED))
    async def device_model(tenant_id: TenantId, model_id: str) -> Json:
        return Json((await get_model(hub, tenant_id, model_id)).shown())

    @router.put(
        "/{model_id}",
        summary="Create or change a model, and with it its devices / 機種の登録・変更（その機種の機器に反映）",
        description="One with the id of a built-in model takes its place. / 同じ ID の組み込み機種に代わります。",
        responses=answers("DeviceModel", statuses=(200, 201)),
        openapi_extra=takes("DeviceModelInput"),
    )
    async def put_device_model(tenant_id: TenantId, model_id: str, body: JsonObject) -> Response:
        model, is_new, devices = await put_model(hub, tenant_id, {**body, "id": model_id})
        return Json({**model.shown(), "devices": devices}, status_code=201 if is_new else 200)

    @router.delete(
        "/{model_id}",
        status_code=204,
        summary="Delete a model that no device has / 機種の削除",
        responses=answers(None, Conflict, *NEEDED, statuses=(204,)),
    )
    async def delete_device_model(tenant_id: TenantId, model_id: str) -> Response:
        await delete_model(hub, tenant_id, model_id)
        return Response(status_code=204)

    return router

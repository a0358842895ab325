# SPDX-License-Identifier: Apache-2.0
"""Many devices at once: ``POST /api/v1/devices`` (JSON), and ``/api/v1/devices.csv`` in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from adapters.files.device_csv import BYTE_ORDER_MARK, Line, read_lines, write_lines
from api.devices.registration import Outcome, Registered, register_many
from api.devices.views import access_of
from api.http.negotiation import read_body
from api.http.requests import JsonObject, TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.answers import WITH_BODY, shared
from api.openapi.plain import answers, takes
from api.settings import Settings
from broker.devices.records import record_document
from broker.errors import BadRequestData
from context_store.devices.registry import ListedDevice

_CSV: Final = "text/csv"
_PAGE: Final = 5000  # devices read at once
_BODY: Final = {"requestBody": {"required": True, "content": {_CSV: {"schema": {"type": "string"}}}}}
_EXPORTED: Final = answers(None)
_EXPORTED[200]["content"] = {_CSV: {"schema": {"type": "string"}}}

DryRun = Annotated[bool, Query(alias="dryRun", description="Only tell what would become of each / 試行のみ")]


def device_files_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["devices"])

    @router.post(
        "/devices",
        summary="Register or change many devices / センサーの一括登録",
        description="Each for itself: what cannot be taken is told in its place. / 一件ずつ結果を返します。",
        responses=answers("DeviceResults"),
        openapi_extra=takes("DevicesInput"),
    )
    async def post_devices(tenant_id: TenantId, body: JsonObject, dry_run: DryRun = False) -> Json:
        documents = body.get("devices")
        if not isinstance(documents, list):
            raise BadRequestData(f"devices is {documents!r}; it has to be an array of registrations")
        lines = [_entry(number, document) for number, document in enumerate(documents, start=1)]
        return Json(await _results(hub, tenant_id, lines, dry_run=dry_run))

    @router.post(
        "/devices.csv",
        summary="The same from a spreadsheet / CSV による一括登録",
        description="UTF-8 or Shift_JIS, with a header. / 一行目は列名。UTF-8 または Shift_JIS。",
        responses=answers("DeviceResults")
        | {status: shared(name) for status, name in WITH_BODY.items() if status != 415},
        openapi_extra=_BODY,
    )
    async def import_devices(tenant_id: TenantId, request: Request, dry_run: DryRun = False) -> Json:
        lines = read_lines(await read_body(request, hub.settings.max_request_bytes))
        return Json(await _results(hub, tenant_id, lines, dry_run=dry_run))

    @router.get("/devices.csv", summary="All devices as a spreadsheet / CSV で書き出し", responses=_EXPORTED)
    async def export_devices(tenant_id: TenantId) -> Response:
        documents = [record_document(entry.record) for entry in await _everything(hub, tenant_id)]
        text = BYTE_ORDER_MARK + "".join(write_lines(documents))
        headers = {"Content-Disposition": 'attachment; filename="devices.csv"'}
        return Response(text.encode(), media_type=_CSV, headers=headers)

    return router


async def _everything(hub: Hub, tenant_id: int) -> list[ListedDevice]:
    found: list[ListedDevice] = []
    while True:
        after = found[-1].record.device.device_id if found else ""
        page = await hub.devices.page(tenant_id, after=after, limit=_PAGE)
        found += page
        if len(page) < _PAGE:
            return found


def _entry(number: int, document: Any) -> Line:
    if not isinstance(document, dict):
        return Line(number, None, f"{document!r} is no object")
    return Line(number, document)


async def _results(hub: Hub, tenant_id: int, lines: Sequence[Line], *, dry_run: bool) -> dict[str, Any]:
    documents = [line.document for line in lines if line.document is not None]
    outcomes = iter(await register_many(hub, tenant_id, documents, dry_run=dry_run))
    results = [_result(hub.settings, line, None if line.document is None else next(outcomes)) for line in lines]
    counts = {status: sum(result["status"] == status for result in results) for status in _STATUSES}
    return {**counts, "dryRun": dry_run, "results": results}


_STATUSES: Final = ("created", "changed", "refused")


def _result(settings: Settings, line: Line, outcome: Outcome | None) -> dict[str, Any]:
    given = line.document.get("id") if line.document else None
    about: dict[str, Any] = {"number": line.number, "id": given if isinstance(given, str) else None}
    if not isinstance(outcome, Registered):
        return {**about, "status": "refused", "detail": line.fault if outcome is None else outcome.detail}
    told = {**about, "status": "created" if outcome.created else "changed"}
    if outcome.password is not None:
        told["mqtt"] = access_of(settings, outcome.record.device, outcome.password)
    return told

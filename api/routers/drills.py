# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/drills``: exercises with a recorded flood or with values that somebody sends, and their reports."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Query

from api.access.actors import RequestActor, with_name
from api.alerting.drills import (
    FASTEST,
    LONGEST,
    DrillPlan,
    drill_document,
    drill_report,
    inject,
    start_drill,
    stop_drill,
)
from api.http.requests import JsonObject, TenantId, expand_name
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import NEEDED, answers, takes
from broker.errors import BadRequestData, Conflict
from broker.times import parse_time
from context_store.alerts.drills import list_drills

_MEMBERS: Final = ("title", "from", "to", "speed", "entityIds", "recipients", "contacts", "by")
_LONGEST_TITLE: Final = 200


def drills_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["drills"])

    @router.get("/drills", summary="Drills, newest first / 訓練", responses=answers("Drills"))
    async def drills(tenant_id: TenantId, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Json:
        async with hub.database.transaction(tenant_id) as connection:
            found = await list_drills(connection, tenant_id, limit)
        return Json({"drills": [drill_document(drill) for drill in found]})

    @router.post(
        "/drills",
        summary="Begin a drill / 訓練を始める",
        responses=answers("Drill", statuses=(201,)),
        openapi_extra=takes("DrillInput"),
    )
    async def start(tenant_id: TenantId, actor: RequestActor, body: JsonObject) -> Json:
        drill = await start_drill(hub, tenant_id, _plan(body), with_name(actor, body))
        return Json(drill_document(drill), status_code=201)

    @router.get(
        "/drills/{drill_id}", summary="The report of a drill / 訓練の記録", responses=answers("DrillReport", *NEEDED)
    )
    async def report(tenant_id: TenantId, drill_id: str) -> Json:
        return Json(await drill_report(hub, tenant_id, drill_id))

    @router.post(
        "/drills/{drill_id}/values",
        summary="Send a value into a drill / 訓練に値を入れる",
        status_code=204,
        responses=answers(None, Conflict, *NEEDED, statuses=(204,)),
        openapi_extra=takes("DrillValue"),
    )
    async def send(tenant_id: TenantId, drill_id: str, body: JsonObject) -> None:
        entity_id, attribute, value = body.get("entityId"), body.get("attribute", "waterLevel"), body.get("value")
        if not isinstance(entity_id, str) or not isinstance(attribute, str):
            raise BadRequestData("entityId, attribute: texts are expected")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadRequestData("value: a number is expected")
        name = await expand_name(hub, tenant_id, entity_id, attribute)
        await inject(hub, tenant_id, drill_id, entity_id, name, float(value))

    @router.post("/drills/{drill_id}/end", summary="End a drill / 訓練を終える", responses=answers("Drill", *NEEDED))
    async def end(tenant_id: TenantId, drill_id: str, actor: RequestActor) -> Json:
        return Json(drill_document(await stop_drill(hub, tenant_id, drill_id, actor)))

    return router


def _plan(body: dict[str, Any]) -> DrillPlan:
    for name in body:
        if name not in _MEMBERS:
            raise BadRequestData(f"{name}: unknown member; known are {', '.join(sorted(_MEMBERS))}")
    title = body.get("title")
    if not isinstance(title, str) or not title.strip() or len(title) > _LONGEST_TITLE:
        raise BadRequestData(f"title: a text of 1 to {_LONGEST_TITLE} characters is expected")
    start, end = _moment(body, "from"), _moment(body, "to")
    if (start is None) != (end is None):
        raise BadRequestData("from and to are expected together")
    if start is not None and end is not None and not start < end <= start + LONGEST:
        raise BadRequestData(f"to: it is not after from, or more than {LONGEST.days} days")
    speed = body.get("speed", 1)
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 1 <= speed <= FASTEST:
        raise BadRequestData(f"speed: a number from 1 to {FASTEST:g} is expected")
    stations, contacts = _texts(body, "entityIds"), _texts(body, "contacts")
    return DrillPlan(title.strip(), start, end, float(speed), stations, _recipients(body), contacts)


def _recipients(body: dict[str, Any]) -> tuple[str, ...]:
    recipients = _texts(body, "recipients")
    for url in recipients:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise BadRequestData("recipients: URLs of webhooks are expected")
    return recipients


def _texts(body: dict[str, Any], name: str) -> tuple[str, ...]:
    found = body.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise BadRequestData(f"{name}: an array of texts is expected")
    return tuple(dict.fromkeys(found))


def _moment(body: dict[str, Any], name: str) -> datetime | None:
    if body.get(name) is None:
        return None
    try:
        return parse_time(body[name])
    except (TypeError, ValueError) as exc:
        raise BadRequestData(f"{name}: a time such as 2026-06-01T00:00:00+09:00 is expected") from exc

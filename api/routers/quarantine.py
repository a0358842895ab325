# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/quarantine``: messages that could not be taken, for the person who has to mend what is wrong."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from api.http.requests import JsonObject, RowNumber, TenantId, parse_moment
from api.http.responses import Json
from api.hub import Hub
from api.intake.ingest_parts import make_decoder
from api.intake.quarantine import ReplayResult, device_of, drop, replay
from api.openapi.plain import NEEDED, answers, takes
from api.routers.decoding import explanation_document, tried_device
from broker.times import to_text, to_text_or_none
from context_store.intake.quarantine import HeldGroup, QuarantineEntry, QuarantineFilter
from ingest.decode import Message
from ingest.topics import route_of

MAX_REPLAYED: Final = 10_000  # in one request


def _filter(
    reason: str | None = None,
    device: Annotated[str | None, Query(description="The device's key")] = None,
    text: Annotated[str | None, Query(description="In key, topic or detail")] = None,
    since: Annotated[str | None, Query(alias="from", description="Arrived then or later")] = None,
    until: Annotated[str | None, Query(alias="to", description="Arrived before")] = None,
) -> QuarantineFilter:
    return QuarantineFilter(
        reason=reason,
        device_key=device,
        text=text or None,
        since=parse_moment(since, "from") if since else None,
        until=parse_moment(until, "to") if until else None,
    )


Wanted = Annotated[QuarantineFilter, Depends(_filter)]


def quarantine_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["devices"])
    _reading(router, hub)
    _decoding(router, hub)
    _resolving(router, hub)
    return router


def _reading(router: APIRouter, hub: Hub) -> None:
    @router.get(
        "/quarantine",
        summary="Messages that could not be taken / 受け入れできなかったメッセージ",
        responses=answers("Quarantine"),
    )
    async def quarantine(
        tenant_id: TenantId,
        wanted: Wanted,
        state: Annotated[Literal["held", "replayed", "dropped", "all"], Query()] = "held",
        before: RowNumber | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Json:
        chosen = QuarantineFilter(
            None if state == "all" else state,
            wanted.reason,
            wanted.device_key,
            wanted.text,
            wanted.since,
            wanted.until,
        )
        entries = await hub.quarantine.page(tenant_id, chosen, before=before, limit=limit)
        return Json({"messages": [entry_document(entry) for entry in entries]})

    @router.get(
        "/quarantine/summary",
        summary="What is held, by device and reason / 機器と理由ごとの件数",
        responses=answers("QuarantineSummary"),
    )
    async def summary(tenant_id: TenantId) -> Json:
        return Json({"groups": [_group(group) for group in await hub.quarantine.summary(tenant_id)]})

    @router.get(
        "/quarantine/{quarantine_id}",
        summary="One message / メッセージ一件",
        responses=answers("QuarantineEntry", *NEEDED),
    )
    async def entry(tenant_id: TenantId, quarantine_id: RowNumber) -> Json:
        found = await hub.quarantine.get(tenant_id, quarantine_id)
        device = await device_of(hub, found)
        return Json(
            {
                **entry_document(found),
                "payloadHex": found.payload.hex(" "),
                "deviceId": device.device_id if device else None,
            }
        )


def _decoding(router: APIRouter, hub: Hub) -> None:
    decoder = make_decoder(hub.settings)

    @router.post(
        "/quarantine/{quarantine_id}/decode",
        summary="What a held message would become / 隔離メッセージの試し読み",
        description="With the present registration, or with the members in ``device`` in its place. Nothing is stored.",
        responses=answers("Decode", *NEEDED),
        openapi_extra=takes("QuarantineDecodeInput"),
    )
    async def decode(tenant_id: TenantId, quarantine_id: RowNumber, body: JsonObject) -> Json:
        found = await hub.quarantine.get(tenant_id, quarantine_id)
        device = await device_of(hub, found)
        changes = body.get("device")
        if (device is None and changes is None) or route_of(found.topic) is None:
            fault = {"reason": found.reason, "detail": found.detail}
            return Json({"measurements": [], "stored": [], "missing": [], "fault": fault})
        tried = await tried_device(hub, tenant_id, device.device_id if device else None, changes)
        message = Message(found.topic, found.payload, found.received_at)
        return Json(explanation_document(decoder.explain(message, tried)))


def _resolving(router: APIRouter, hub: Hub) -> None:
    @router.post(
        "/quarantine/replay",
        summary="Try all held messages again, or those chosen / 保留中の再投入",
        description=f"At most {MAX_REPLAYED} in one request; ``last`` is then there, to be given as ``after``.",
        responses=answers("Replay"),
    )
    async def replay_all(tenant_id: TenantId, wanted: Wanted, after: RowNumber = 0) -> Json:
        ids = await hub.quarantine.held_ids(tenant_id, wanted, after=after, limit=MAX_REPLAYED)
        result = _result(await replay(hub, tenant_id, ids))
        return Json({**result, "last": ids[-1]} if len(ids) == MAX_REPLAYED else result)

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


def _group(group: HeldGroup) -> dict[str, Any]:
    return {
        "deviceKey": group.device_key,
        "reason": group.reason,
        "count": group.count,
        "first": to_text(group.first),
        "last": to_text(group.last),
        "newestId": group.newest_id,
    }


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
        "size": len(entry.payload),
        "payloadBase64": base64.b64encode(entry.payload).decode(),
        "payloadText": text,
        "resolvedAt": to_text_or_none(entry.resolved_at),
    }

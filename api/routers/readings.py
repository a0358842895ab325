# SPDX-License-Identifier: Apache-2.0
"""``POST /api/v1/readings/{key}``: readings of devices without MQTT, with the device's own credential."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter, Request

from api.embedded.mosquitto_files import MAX_PACKET_BYTES
from api.http.problem_details import UnacceptableRequest
from api.http.responses import Json
from api.hub import Hub
from api.intake.direct import DirectReadings
from api.openapi.answers import shared
from api.openapi.plain import answers
from broker.times import to_text
from ingest.decode import Message

PATH: Final = "/api/v1/readings/"
_UNAUTHORIZED: Final = {
    "type": "about:blank",
    "title": "Unauthorized",
    "status": 401,
    "detail": "The device's key and password are required (HTTP Basic) / 機器のキーとパスワードが必要です",
}
_TOO_LARGE: Final = {
    "type": "about:blank",
    "title": "Content Too Large",
    "status": 413,
    "detail": f"At most {MAX_PACKET_BYTES} bytes are taken at once",
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "A message in the device's format",
        "content": {"*/*": {"schema": {"description": "Any bytes; what they mean is the device's format"}}},
    }
}


def readings_router(hub: Hub) -> APIRouter:
    """The route on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["devices"])
    readings = DirectReadings(hub)

    @router.post(
        "/readings/{key}",
        summary="Readings of a device without MQTT / MQTT を使わない機器の測定値",
        description="Answers after the commit: 200 stored, 202 kept in quarantine. Authorization is HTTP Basic with "
        "the device's key and password. / 保存が確定してから応答します。認証は機器のキーとパスワード（Basic）。",
        responses=answers("Receipt", statuses=(200, 202)) | {413: shared("ContentTooLarge")},
        openapi_extra=_BODY,
    )
    async def post_readings(key: str, request: Request) -> Json:
        device = await readings.device(key, request.headers.get("authorization", ""))
        if device is None:
            raise UnacceptableRequest(401, _UNAUTHORIZED, {"WWW-Authenticate": 'Basic realm="minamo devices"'})
        message = Message(f"minamo/v1/{key}/readings", await read_readings(request), datetime.now(UTC))
        fault = await readings.take(message, device)
        answer = {"status": "stored", "receivedAt": to_text(message.received_at)}
        if fault is None:
            return Json(answer)
        answer.update(status="quarantined", reason=fault.reason.value, detail=fault.detail)
        return Json(answer, status_code=202)

    return router


async def read_readings(request: Request) -> bytes:
    """The whole body, as far as a broker would take it; raises :class:`UnacceptableRequest`."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > MAX_PACKET_BYTES:
            raise UnacceptableRequest(413, _TOO_LARGE)
    return bytes(parts)

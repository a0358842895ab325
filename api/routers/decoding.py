# SPDX-License-Identifier: Apache-2.0
"""``POST /api/v1/devices/{id}/decode`` and ``/decode``: send a frame, see the decode. Nothing is stored."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from api.devices.registration import try_document
from api.http.requests import JsonObject, TenantId, parse_moment
from api.http.responses import Json
from api.hub import Hub
from api.intake.ingest_parts import make_decoder
from api.openapi.plain import NEEDED, answers, takes
from broker.devices.model import Device
from broker.devices.records import record_document
from broker.errors import BadRequestData
from broker.times import to_text
from ingest.decode import Explanation, Message

_UNNAMED = "try"
_PAYLOADS = ("payloadText", "payloadBase64", "payloadHex")


def decoding_router(hub: Hub) -> APIRouter:
    """The route on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["devices"])
    decoder = make_decoder(hub.settings)

    @router.post(
        "/devices/{device_id}/decode",
        summary="Send a frame, see the decode / フレームの試し読み",
        description="What a message would become. Nothing is stored. ``device`` holds members of the registration to "
        "try out instead of the present ones. / 保存せずに、メッセージがどう読まれるかを返します。",
        responses=answers("Decode", *NEEDED),
        openapi_extra=takes("DecodeInput"),
    )
    async def decode(tenant_id: TenantId, device_id: str, body: JsonObject) -> Json:
        return explained(body, await tried_device(hub, tenant_id, device_id, body.get("device")))

    @router.post(
        "/decode",
        summary="The same without a registered device / 登録前の試し読み",
        description="``device`` is the registration to try. / 登録せずに、機種や形式を試せます。",
        responses=answers("Decode", *NEEDED),
        openapi_extra=takes("DecodeInput"),
    )
    async def decode_unregistered(tenant_id: TenantId, body: JsonObject) -> Json:
        return explained(body, await tried_device(hub, tenant_id, None, body.get("device")))

    def explained(body: dict[str, Any], device: Device) -> Json:
        topic = _text(body, "topic") or f"minamo/v1/{device.key}/readings"
        received = _text(body, "receivedAt")
        received_at = parse_moment(received, "receivedAt") if received else datetime.now(UTC)
        return Json(explanation_document(decoder.explain(Message(topic, payload_of(body), received_at), device)))

    return router


async def tried_device(hub: Hub, tenant_id: int, device_id: str | None, changes: Any) -> Device:
    """The device with the members in ``changes`` in place of its own; without ``device_id``, a device of them alone.

    Raises :class:`BadRequestData`, :class:`ResourceNotFound`.
    """
    if changes is not None and not isinstance(changes, dict):
        raise BadRequestData(f"device is {changes!r}; it has to be an object with members of the registration")
    if device_id is None:
        unnamed = {"id": _UNNAMED, "entityId": f"urn:ngsi-ld:Device:{_UNNAMED}"}
        return (await try_document(hub, tenant_id, unnamed | (changes or {}) | {"id": _UNNAMED})).device
    record = (await hub.devices.listed(tenant_id, device_id)).record
    if changes is None:
        return record.device
    document = {**record_document(record), **changes, "id": device_id}
    return (await try_document(hub, tenant_id, document)).device


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequestData(f"{name} is {value!r}; it has to be a text")
    return value


def payload_of(body: dict[str, Any]) -> bytes:
    """The bytes of the frame; raises :class:`BadRequestData`."""
    given = [name for name in _PAYLOADS if body.get(name) is not None]
    if len(given) != 1:
        raise BadRequestData(f"exactly one of {', '.join(_PAYLOADS)} has to be given")
    text = _text(body, given[0]) or ""
    try:
        if given[0] == "payloadText":
            return text.encode()
        return base64.b64decode(text, validate=True) if given[0] == "payloadBase64" else bytes.fromhex(text)
    except (ValueError, binascii.Error) as exc:
        raise BadRequestData(f"{given[0]}: {exc}") from exc


def explanation_document(found: Explanation) -> dict[str, Any]:
    """What a message would become, as JSON."""
    return {
        "measurements": [
            {"observedAt": to_text(m.observed_at), "values": m.values, "units": dict(m.units), "state": dict(m.state)}
            for m in found.measurements
        ],
        "stored": [
            {
                "observedAt": to_text(observation.observed_at),
                "entityId": observation.device.entity_id,
                "field": mapping.field,
                "attribute": mapping.attribute,
                "value": value,
                "unitCode": mapping.unit_code,
            }
            for observation in found.observations
            for mapping, value in observation.values
        ],
        "missing": [{"field": name, "reason": reason} for name, reason in found.missing],
        "fault": {"reason": found.fault.reason.value, "detail": found.fault.detail} if found.fault else None,
    }

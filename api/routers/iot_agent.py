# SPDX-License-Identifier: Apache-2.0
"""``/iot/d`` and ``/iot/json``: where FIWARE's IoT Agents take measures by HTTP, for devices that move over unchanged.

The API key in the address is what such devices have for a credential. They are heard only where the registration's
``address`` has it: ``"<api key>/<device>"``.

There are no commands here: who asks for them (``getCmd=1``) is told that none is waiting, and what devices say of
commands and of their configuration is passed over, as by MQTT.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from api.http.problem_details import UnacceptableRequest
from api.hub import Hub
from api.intake.direct import DirectReadings
from api.openapi.plain import answers
from api.routers.readings import read_readings
from broker.devices.model import Device
from broker.errors import BadRequestData
from context_store.devices.directory import CachedDeviceDirectory
from ingest.decode import Message

_UNAUTHORIZED: Final = {
    "type": "about:blank",
    "title": "Unauthorized",
    "status": 401,
    "detail": "No device is registered with this API key and id (address) / この API キーの機器は登録されていません",
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {"content": {"*/*": {"schema": {"description": "Measures, as the IoT Agent takes them"}}}}
}
_SAID: Final = "Minamo-Quarantined"

Key = Annotated[str, Query(description="API key", min_length=1)]
DeviceName = Annotated[str, Query(description="The device's id", min_length=1)]
Measures = Annotated[str, Query(description="The measures")]
Commands = Annotated[str, Query(alias="getCmd", description="1: ask for commands, of which there are none")]
Protocol = Literal["d", "json"]
Matter = Annotated[Literal["commands", "configuration"], Path(alias="matter")]
Time = Annotated[str | None, Query(description="When it was measured, for measures without a time")]


def iot_agent_router(hub: Hub) -> APIRouter:
    """The routes on ``hub``."""
    router = APIRouter(prefix="/iot", tags=["devices"])
    readings = DirectReadings(hub)
    directory = CachedDeviceDirectory(hub.database)

    async def find(k: str, i: str) -> Device:
        await directory.refresh()
        device = directory.find(f"{k}/{i}")
        if device is None or device.format.address != f"{k}/{i}":
            raise UnacceptableRequest(401, _UNAUTHORIZED)
        return device

    async def take(protocol: str, k: str, i: str, payload: bytes, attribute: str | None = None) -> Response:
        """What an agent without commands answers; a header tells of what went to quarantine.

        An empty payload holds no measures: the device asks whether there are commands for it.
        """
        device = await find(k, i)
        topic = f"/{protocol}/{k}/{i}/attrs" + (f"/{attribute}" if attribute else "")
        fault = await readings.take(Message(topic, payload, datetime.now(UTC)), device) if payload.strip() else None
        return _no_commands(protocol, {_SAID: fault.reason.value} if fault is not None else None)

    @router.get("/d", summary="UltraLight 2.0 measures of a device", responses=answers(None))
    async def get_measures(
        k: Key, i: DeviceName, d: Measures = "", t: Time = None, commands: Commands = ""
    ) -> Response:
        return await take("ul", k, i, _timed_groups(_asked(d, commands), t))

    @router.get("/json", summary="JSON measures of a device", responses=answers(None))
    async def get_json(k: Key, i: DeviceName, d: Measures = "", t: Time = None, commands: Commands = "") -> Response:
        return await take("json", k, i, _timed_objects(_asked(d, commands), t))

    @router.post("/d", summary="UltraLight 2.0 measures of a device", responses=answers(None), openapi_extra=_BODY)
    async def post_measures(request: Request, k: Key, i: DeviceName, t: Time = None) -> Response:
        return await take("ul", k, i, _timed_groups(await read_readings(request), t))

    @router.post("/json", summary="JSON measures of a device", responses=answers(None), openapi_extra=_BODY)
    async def post_json(request: Request, k: Key, i: DeviceName, t: Time = None) -> Response:
        return await take("json", k, i, _timed_objects(await read_readings(request), t))

    @router.post(
        "/json/attrs/{attribute}", summary="One measure of a device", responses=answers(None), openapi_extra=_BODY
    )
    async def post_one(request: Request, attribute: str, k: Key, i: DeviceName) -> Response:
        return await take("json", k, i, await read_readings(request), attribute)

    @router.post("/{protocol}/{matter}", summary="Results of commands: passed over", responses=answers(None))
    async def pass_over(protocol: Protocol, _matter: Matter, k: Key, i: DeviceName) -> Response:
        await find(k, i)
        return _no_commands(protocol)

    return router


def _no_commands(protocol: str, headers: dict[str, str] | None = None) -> Response:
    """That no command is waiting: no text for UltraLight, an empty object for JSON."""
    if protocol == "json":
        return Response(b"{}", headers=headers, media_type="application/json")
    return Response(headers=headers)


def _asked(measures: str, commands: str) -> bytes:
    """The measures in an address; without them it has to be about commands."""
    if not measures and commands != "1":
        raise BadRequestData("query.d: the measures are missing (or getCmd=1)")
    return measures.encode()


def _timed_groups(payload: bytes, time: str | None) -> bytes:
    """UltraLight with ``time`` before each group that has none of its own."""
    if time is None or not payload.strip():
        return payload
    groups = payload.split(b"#")
    return b"#".join(group if len(group.split(b"|")) % 2 else time.encode() + b"|" + group for group in groups)


def _timed_objects(payload: bytes, time: str | None) -> bytes:
    """JSON with ``TimeInstant`` in each object that has none; what is no JSON stays as it is, and is told of later."""
    if time is None:
        return payload
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload
    objects = document if isinstance(document, list) else [document]
    if not all(isinstance(one, dict) for one in objects):
        return payload
    timed = [{"TimeInstant": time, **one} for one in objects]
    return orjson.dumps(timed if isinstance(document, list) else timed[0])

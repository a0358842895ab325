# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/silence``: devices that are late, silent or dead, and gateways that are silent as a whole."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter

from api.devices.supervision import Findings, expected_interval_s, look
from api.http.requests import TenantId
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import answers
from broker.devices.model import Device
from broker.devices.state import DeviceState
from broker.times import to_text, to_text_or_none
from context_store.devices.supervision import SupervisionStore

_AT_ONCE: Final = 2000


def silence_router(hub: Hub) -> APIRouter:
    """The route on ``hub``."""
    router = APIRouter(prefix="/api/v1", tags=["devices"])
    store = SupervisionStore(hub.database, hub.writer)

    @router.get(
        "/silence",
        summary="Devices that are late, silent or dead / 途絶しているセンサー",
        description="Devices that fell silent together with their gateway are named there, and not one by one. "
        "/ 中継機ごと途絶したセンサーは、中継機の項目にまとめて出します。",
        responses=answers("Silence"),
    )
    async def silence(tenant_id: TenantId) -> Json:
        now = datetime.now(UTC)
        devices = await _devices(hub, tenant_id)
        found = await look(store, tenant_id, devices, now, stale_factor=hub.settings.stale_factor)
        return Json(_document(found, now))

    return router


async def _devices(hub: Hub, tenant_id: int) -> list[Device]:
    """All devices of a tenant, some at a time."""
    found: list[Device] = []
    while page := await hub.devices.page(tenant_id, after=found[-1].device_id if found else "", limit=_AT_ONCE):
        found += [listed.record.device for listed in page]
        if len(page) < _AT_ONCE:
            break
    return found


def _document(found: Findings, now: datetime) -> dict[str, Any]:
    alone = sorted(
        (key for key, verdict in found.verdicts.items() if verdict.state is not DeviceState.OK and not verdict.group),
        key=lambda key: (not found.verdicts[key].is_flood_sign, found.verdicts[key].since),
    )
    return {
        "generatedAt": to_text(now),
        "counts": {state.value: count for state, count in found.counts().items()},
        "groups": [
            {
                "group": group.group,
                "since": to_text(group.since),
                "devices": [found.devices[key].device_id for key in group.members],
            }
            for group in found.groups.values()
        ],
        "devices": [_device(found, key) for key in alone],
    }


def _device(found: Findings, key: str) -> dict[str, Any]:
    device, verdict, known = found.devices[key], found.verdicts[key], found.heard[key]
    return {
        "deviceId": device.device_id,
        "name": device.name,
        "entityId": device.entity_id,
        "state": verdict.state.value,
        "since": to_text(verdict.since),
        "lastSeenAt": to_text_or_none(known.last_seen),
        "expectedIntervalSeconds": expected_interval_s(device, known.values),
        "floodSign": verdict.is_flood_sign,
    }

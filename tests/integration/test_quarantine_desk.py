# SPDX-License-Identifier: Apache-2.0
"""Quarantine for the person who mends: find, see the fault beside the bytes, try a registration, replay, expire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.hub import Hub
from api.workers.housekeeping import remove_expired
from broker.times import to_text
from context_store.database import ALL_TENANTS
from support.hub import hub_for

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

ENTITY = "urn:ngsi-ld:WaterObserved:gauge"
LEVEL = {"field": "l", "attribute": "waterLevel", "unitCode": "MTR", "minimum": -5, "maximum": 20}
DEVICE: dict[str, Any] = {"entityId": ENTITY, "entityType": "WaterObserved", "attributes": [LEVEL]}


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url, quarantine_held_days=10, quarantine_resolved_days=2) as opened:
        yield opened


async def send(client: httpx.AsyncClient, *bodies: bytes, device: str = "gauge", **members: Any) -> None:
    """Register the device and let it send."""
    answer = await client.put(f"/api/v1/devices/{device}", json={**DEVICE, **members, "newPassword": True})
    auth = (device, answer.json()["mqtt"]["password"])
    for body in bodies:
        assert (await client.post(f"/api/v1/readings/{device}", content=body, auth=auth)).status_code in (200, 202)


async def messages(client: httpx.AsyncClient, **wanted: Any) -> list[dict[str, Any]]:
    response = await client.get("/api/v1/quarantine", params=wanted)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["messages"]
    return found


async def test_messages_are_found_by_device_reason_text_and_time(client: httpx.AsyncClient) -> None:
    now = to_text(datetime.now(UTC))
    await send(client, b"not json", f'{{"time": "{now}", "l": 99}}'.encode())
    await send(client, b"neither", device="other")
    assert [m["reason"] for m in await messages(client, device="gauge")] == ["out_of_range", "undecodable"]
    assert len(await messages(client, reason="undecodable")) == 2
    assert [m["deviceKey"] for m in await messages(client, text="OTHER/read")] == ["other"]
    assert [m["reason"] for m in await messages(client, text="above the declared")] == ["out_of_range"]
    assert await messages(client, to=now) == []
    assert len(await messages(client, **{"from": now})) == 3
    groups = (await client.get("/api/v1/quarantine/summary")).json()["groups"]
    assert [(g["deviceKey"], g["reason"], g["count"]) for g in groups] == [
        ("gauge", "out_of_range", 1),
        ("gauge", "undecodable", 1),
        ("other", "undecodable", 1),
    ]


async def test_fault_stands_beside_the_bytes_and_a_mended_profile_is_tried_then_replayed(
    client: httpx.AsyncClient,
) -> None:
    await send(client, b"\x04\xd2", b"\x04\xd3")
    (second, first) = await messages(client)
    one = (await client.get(f"/api/v1/quarantine/{first['id']}")).json()
    assert (one["payloadHex"], one["payloadBase64"], one["payloadText"]) == ("04 d2", "BNI=", None)
    assert (one["deviceId"], one["size"], one["reason"]) == ("gauge", 2, "undecodable")

    path = f"/api/v1/quarantine/{first['id']}/decode"
    assert (await client.post(path, json={})).json()["fault"]["reason"] == "undecodable"
    mended = {"format": {"name": "bytes", "fields": {"l": "u16be(0) * 0.001"}}}
    tried = (await client.post(path, json={"device": mended})).json()
    assert (tried["fault"], [s["value"] for s in tried["stored"]]) == (None, [1.234])
    assert len(await messages(client)) == 2  # nothing was stored

    assert (await client.put("/api/v1/devices/gauge", json={**DEVICE, **mended})).status_code == 200
    answer = await client.post(f"/api/v1/quarantine/{first['id']}/replay")
    assert answer.json() == {"stored": 1, "stillHeld": 0}
    answer = await client.post("/api/v1/quarantine/replay", params={"device": "gauge", "reason": "undecodable"})
    assert answer.json() == {"stored": 1, "stillHeld": 0}
    assert await messages(client) == []
    assert [m["id"] for m in await messages(client, state="replayed")] == [second["id"], first["id"]]


async def test_replay_takes_what_the_filter_admits_and_nothing_else(client: httpx.AsyncClient) -> None:
    await send(client, b"1.5", device="gauge")
    await send(client, b"1.5", device="other", entityId="urn:ngsi-ld:WaterObserved:other")
    csv = {"format": {"name": "csv", "columns": ["l"]}}
    await client.put("/api/v1/devices/gauge", json={**DEVICE, **csv})
    await client.put("/api/v1/devices/other", json={**DEVICE, **csv, "entityId": "urn:ngsi-ld:WaterObserved:other"})
    answer = await client.post("/api/v1/quarantine/replay", params={"text": "other"})
    assert answer.json()["stored"] == 1
    assert [m["deviceKey"] for m in await messages(client)] == ["gauge"]


async def test_message_of_an_unknown_device_is_tried_with_a_registration(hub: Hub, client: httpx.AsyncClient) -> None:
    async with hub.database.transaction(ALL_TENANTS) as connection:
        await connection.execute(
            """insert into quarantine (tenant_id, received_at, topic, payload, device_key, reason, detail)
               values (1, now(), 'minamo/v1/new/readings', '{"time": "2026-11-21T00:00:00Z", "l": 1}', 'new',
                       'unknown_device', 'no device with the key new is registered')"""
        )
    (message,) = await messages(client)
    path = f"/api/v1/quarantine/{message['id']}/decode"
    assert (await client.post(path, json={})).json()["fault"]["reason"] == "unknown_device"
    tried = (await client.post(path, json={"device": DEVICE})).json()
    assert (tried["fault"], tried["stored"][0]["value"]) == (None, 1)


async def test_what_is_over_is_removed(hub: Hub, client: httpx.AsyncClient) -> None:
    await send(client, b"old", b"kept", b"resolved", b"resolved lately")
    lately, resolved, _kept, old = (m["id"] for m in await messages(client))
    for number in (resolved, lately):
        await client.delete(f"/api/v1/quarantine/{number}")
    now = datetime.now(UTC)
    async with hub.database.transaction(ALL_TENANTS) as connection:
        await connection.execute(
            "update quarantine set received_at = %s where quarantine_id = %s", (now - timedelta(days=11), old)
        )
        await connection.execute(
            "update quarantine set received_at = %s, resolved_at = %s where quarantine_id = %s",
            (now - timedelta(days=5), now - timedelta(days=3), resolved),
        )
    await remove_expired(hub, now)
    assert [m["payloadText"] for m in await messages(client, state="all")] == ["resolved lately", "kept"]


async def test_frame_is_tried_without_a_registered_device(client: httpx.AsyncClient) -> None:
    device = {**DEVICE, "format": {"name": "bytes", "fields": {"l": "u16be(0) * 0.001"}}}
    found = (await client.post("/api/v1/decode", json={"payloadHex": "04d2", "device": device})).json()
    assert (found["stored"][0]["value"], found["fault"]) == (1.234, None)
    model = {"model": "level-gauge-json"}
    frame = '{"time": "2026-11-21T00:00:00Z", "level": 1.5}'
    found = (await client.post("/api/v1/decode", json={"payloadText": frame, "device": model})).json()
    assert [entry["value"] for entry in found["stored"]] == [1.5]
    assert (await client.post("/api/v1/decode", json={"payloadText": "x"})).status_code == 400
    assert (await client.get("/api/v1/devices")).json()["devices"] == []

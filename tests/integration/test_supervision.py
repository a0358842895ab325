# SPDX-License-Identifier: Apache-2.0
"""Supervision over a real store: grades by mode, stations that look silent, one event for a gateway, flood signs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.hub import Hub
from api.workers.supervision import SupervisionWorker
from broker.devices.model import AttributeMapping, Device, state_device
from broker.devices.profile import parse_device_profile
from broker.devices.silence import RECEPTION
from broker.devices.state import DEVICE_STATE
from broker.intake.readings import Observation
from context_store.entities.changes import get_entities
from context_store.intake.commits import PostgresReadingStore
from support.hub import client_for, hub_for

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

LEVEL = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
NOW = datetime.now(UTC).replace(microsecond=0)
HIGH_WATER = {"expectedInterval": {"normal": 86_400, "active": 600, "startLevel": 2.0}}


def gauge(name: str, profile: dict[str, Any], gateway: str | None = None) -> Device:
    silence = {"silence": {**profile.get("silence", {}), "group": gateway}} if gateway else {}
    return Device(
        1,
        name,
        name,
        name,
        f"urn:ngsi-ld:WaterObserved:{name}",
        ("https://smartdatamodels.org/dataModel.Environment/WaterObserved",),
        (AttributeMapping("level", LEVEL, "MTR"),),
        profile=parse_device_profile({**profile, **silence}),
    )


class Watch:
    """A hub with devices, and what supervision makes of them."""

    def __init__(self, hub: Hub, client: httpx.AsyncClient) -> None:
        self.hub = hub
        self.client = client
        self.worker = SupervisionWorker(hub)
        self.readings = PostgresReadingStore(hub.database, hub.terms, hub.history)

    async def heard(self, minutes_ago: float, value: float, *devices: Device) -> None:
        at = NOW - timedelta(minutes=minutes_ago)
        await self.readings.commit([Observation(one, at, ((one.attributes[0], value),)) for one in devices], [])

    async def attribute(self, entity_id: str, name: str) -> dict[str, Any]:
        async with self.hub.database.transaction(1) as connection:
            stored = (await get_entities(connection, 1, [entity_id])).get(entity_id)
        found: dict[str, Any] = stored.entity.attributes.get(name, {}).get("@none", {}) if stored else {}
        return found

    async def state(self, device: Device) -> Any:
        return (await self.attribute(state_device(device).entity_id, DEVICE_STATE)).get("value")

    async def reception(self, device: Device) -> Any:
        return (await self.attribute(device.entity_id, RECEPTION)).get("value")


@pytest.fixture
async def watch(database_url: str) -> AsyncIterator[Watch]:
    async with hub_for(database_url) as hub, client_for(hub) as client:
        yield Watch(hub, client)


async def test_silence_depends_on_the_mode(watch: Watch) -> None:
    low, high = gauge("low", HIGH_WATER), gauge("high", HIGH_WATER)
    await watch.hub.devices.put(low, high)
    await watch.heard(20 * 60, 1.9, low)
    await watch.heard(20 * 60, 2.0, high)
    await watch.worker.step(NOW)
    assert [await watch.state(device) for device in (low, high)] == [None, "dead"]
    assert [await watch.reception(device) for device in (low, high)] == [None, "dead"]


async def test_what_has_not_changed_is_not_written_again(watch: Watch) -> None:
    device = gauge("one", {"expectedInterval": {"normal": 600}})
    await watch.hub.devices.put(device)
    await watch.heard(60, 1.0, device)
    assert [await watch.worker.step(NOW), await SupervisionWorker(watch.hub).step(NOW)] == [2, 0]


async def test_what_a_worker_remembers_changes_no_answer(watch: Watch) -> None:
    devices = [gauge(f"g{n}", HIGH_WATER, "tower") for n in range(4)]
    await watch.hub.devices.put(*devices)
    await watch.heard(0, 2.5, *devices)
    for minutes in (0, 20, 26, 40, 101):
        if minutes == 26:
            await watch.heard(-20, 2.5, devices[0])
        moment = NOW + timedelta(minutes=minutes)
        await watch.worker.step(moment)
        assert await SupervisionWorker(watch.hub).step(moment) == 0
    assert [await watch.state(device) for device in devices] == ["late", "silent", "silent", "silent"]


async def test_who_is_heard_again_is_well(watch: Watch) -> None:
    device = gauge("one", {"expectedInterval": {"normal": 600}})
    await watch.hub.devices.put(device)
    await watch.heard(60, 1.0, device)
    await watch.worker.step(NOW)
    await watch.heard(0, 1.0, device)
    await watch.worker.step(NOW)
    assert (await watch.state(device), await watch.reception(device)) == ("ok", "ok")


async def test_a_late_reading_is_no_sign_of_life_of_now(watch: Watch) -> None:
    device = gauge("one", {"expectedInterval": {"normal": 600}})
    await watch.hub.devices.put(device)
    await watch.heard(60, 1.0, device)
    await watch.heard(70, 1.0, device)
    await watch.worker.step(NOW)
    assert await watch.state(device) == "late"


async def test_a_silent_gateway_is_one_event(watch: Watch) -> None:
    devices = [gauge(f"g{n}", {"expectedInterval": {"normal": 600}}, "tower 1") for n in range(5)]
    await watch.hub.devices.put(*devices)
    await watch.heard(120, 1.0, *devices)
    await watch.worker.step(NOW)
    gateway = await watch.attribute("urn:ngsi-ld:Device:gateway:tower%201", DEVICE_STATE)
    found = (await watch.client.get("/api/v1/silence")).json()
    assert gateway["value"] == "silent"
    assert [(group["group"], len(group["devices"])) for group in found["groups"]] == [("tower 1", 5)]
    assert found["devices"] == []
    await watch.heard(0, 1.0, *devices)
    await watch.worker.step(NOW)
    gateway = await watch.attribute("urn:ngsi-ld:Device:gateway:tower%201", DEVICE_STATE)
    assert gateway["value"] == "ok"


async def test_silence_of_a_sensor_whose_radio_drowns_is_a_flood_sign(watch: Watch) -> None:
    device = gauge("road", {"expectedInterval": {"normal": 600}, "silence": {"means": "flooded"}})
    await watch.hub.devices.put(device)
    await watch.heard(110, 0.0, device)
    await watch.worker.step(NOW)
    stations = (await watch.client.get("/api/v1/stations")).json()["stations"]
    assert await watch.reception(device) == "floodedUnknown"
    assert (stations[0]["reception"], stations[0]["floodSign"]) == ("floodedUnknown", True)


async def test_who_was_never_heard_is_not_judged(watch: Watch) -> None:
    device = gauge("new", {"expectedInterval": {"normal": 600}})
    await watch.hub.devices.put(device)
    assert await watch.worker.step(NOW) == 0

# SPDX-License-Identifier: Apache-2.0
"""After an outage: an alert of what is published now comes before what the broker has queued, once, whatever dies.

What is queued cannot be stored until the test lets it: it holds a row that the first of it needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from api.hub import Hub
from broker.devices.model import AttributeMapping, Device
from broker.times import to_text
from context_store.database import ALL_TENANTS
from ingest.client import MqttAddress, MqttClient
from support.alarm_city import MODEL, City
from support.hub import client_for, hub_for
from support.mqtt_broker import Broker
from support.waiting import eventually
from support.work_process import work_process

pytestmark = [pytest.mark.parametrize("store_mode", ["native"], indirect=True), pytest.mark.kill]

LEVEL = MODEL + "waterLevel"
QUEUED = 400
_HOLD = "select from entity where id = %s for update"
_STORED = "select count(*) from attribute_instance where number_value = 0.2"
_STATE = """
    select s.state -> 'early', s.state ->> 'newestValue' from alert_state s join entity e using (entity_key)
     where e.id = %s
"""


def station(name: str) -> str:
    return f"urn:ngsi-ld:WaterObserved:{name}"


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[City]:
    """Two stations with a device each: calm an hour ago, and all rules know it."""
    async with hub_for(database_url) as hub, client_for(hub) as http:
        mapping = AttributeMapping("level", LEVEL, "MTR")
        for name in ("bridge", "weir"):
            await hub.devices.put(Device(1, name, name, name, station(name), (MODEL + "WaterObserved",), (mapping,)))
        city = City(hub, http)
        await city.put_rule()
        for name in ("bridge", "weir"):
            await city.measure(station(name), 0, 0.1)
        yield city


class Devices:
    """What devices publish."""

    def __init__(self, mosquitto: Broker) -> None:
        access = mosquitto.hub
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "devices")
        self._client.username_pw_set(access.username, access.password)
        self._client.connect(access.host, access.port)
        self._client.loop_start()

    def publish(self, name: str, level: float, at: datetime | None = None) -> None:
        """Give it to the broker."""
        document = {"time": to_text(at or datetime.now(UTC)), "level": level}
        self.last = self._client.publish(f"minamo/v1/{name}/readings", orjson.dumps(document), qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def devices(mosquitto: Broker) -> Any:
    found = Devices(mosquitto)
    yield found
    found.close()


def ingest(hub: Hub, mosquitto: Broker, **settings: str) -> Any:
    access = mosquitto.hub
    url = f"mqtt://{access.username}:{access.password}@{access.host}:{access.port}"
    return work_process(hub.database.url, "ingest", mqtt_url=url, mqtt_receive_maximum="100", **settings)


async def raised(city: City) -> list[tuple[str, str, float]]:
    async with city.hub.database.transaction(ALL_TENANTS) as connection:
        events = await city.hub.alerts.read_events(connection, 0, 0)
    return [(one.kind, one.document["entityId"].rsplit(":", 1)[1], one.document["value"]) for one in events]


async def stored(city: City) -> int:
    async with city.hub.database.transaction(ALL_TENANTS) as connection:
        row = await (await connection.execute(_STORED)).fetchone()
    return int(row[0]) if row else 0


async def outage(mosquitto: Broker, devices: Devices) -> None:
    """The broker knows the ingest, which is away, and has queued readings of both stations."""
    access = mosquitto.hub
    address = MqttAddress(access.host, access.port, access.username, access.password)
    known = MqttClient(address, client_id="minamo-ingest", receive_maximum=100, on_message=lambda _: None)
    being_known = asyncio.create_task(known.run())
    await known.subscribed.wait()
    being_known.cancel()
    await asyncio.gather(being_known, return_exceptions=True)
    begin = datetime.now(UTC) - timedelta(minutes=50)
    for number in range(QUEUED):
        devices.publish(("weir", "bridge")[number % 2], 0.2, begin + timedelta(seconds=number))
    await asyncio.to_thread(devices.last.wait_for_publish, 30)


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_what_is_published_now_is_told_while_what_was_queued_waits(
    city: City, mosquitto: Broker, devices: Devices, processes: str
) -> None:
    await outage(mosquitto, devices)
    before = await stored(city)

    async def is_told() -> bool:
        devices.publish("bridge", 1.5)
        return bool(await raised(city))

    async def is_through() -> bool:
        return await stored(city) == before + QUEUED

    database = city.hub.database
    async with AsyncExitStack() as queue:
        held = await queue.enter_async_context(database.transaction(ALL_TENANTS))
        for name in ("bridge", "weir"):
            await held.execute(_HOLD, (station(name),))
        async with work_process(database.url) as worker, ingest(city.hub, mosquitto, ingest_processes=processes):
            await eventually(is_told, 30)
            assert await stored(city) == before
            worker.kill()
            await queue.aclose()
            async with work_process(database.url, alert_states_write_s="0.2"):
                await eventually(is_through, 60)
                await eventually(lambda: is_read(city), 30)
    assert await raised(city) == [("raised", "bridge", 1.5)]


async def is_read(city: City) -> bool:
    """The alert rules have seen all there is, the fresh readings too."""
    async with city.hub.database.transaction(ALL_TENANTS) as connection:
        row = await (await connection.execute(_STATE, (station("bridge"),))).fetchone()
    return row is not None and row[0] is None and row[1] == "1.5"

# SPDX-License-Identifier: Apache-2.0
"""The second MQTT session and the short way to the alert rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import paho.mqtt.publish as mqtt
import pytest

from broker.devices.maintenance import MaintenanceWindow
from broker.devices.model import AttributeMapping, Device
from broker.intake.readings import Observation
from broker.quality import Checks
from context_store.events import ChangeEvent
from context_store.intake.early import CHANNEL, PostgresEarlyReadings, events_in
from context_store.listener import Listener
from ingest.client import MqttAddress, MqttClient
from ingest.decode import Message
from support.alarm_city import MODEL, City, at
from support.hub import client_for, hub_for
from support.mqtt_broker import Broker
from support.waiting import eventually

native = pytest.mark.parametrize("store_mode", ["native"], indirect=True)
BRIDGE = "urn:ngsi-ld:WaterObserved:bridge"
LEVEL = AttributeMapping("level", MODEL + "waterLevel", "MTR", checks=Checks(gross=(0.0, 5.0)))
DEVICE = Device(1, "bridge", "bridge", "bridge", BRIDGE, (MODEL + "WaterObserved",), (LEVEL,))


@pytest.fixture
async def told(database_url: str) -> AsyncIterator[tuple[PostgresEarlyReadings, list[ChangeEvent]]]:
    """A station that read 0.1 m, and what is told of it."""
    events: list[ChangeEvent] = []
    async with hub_for(database_url) as hub, client_for(hub) as http:
        await City(hub, http).post_level(BRIDGE, 0, 0.1)
        ready = asyncio.Event()
        listener = Listener(
            hub.database, {"minamo_x": ready.set}, {CHANNEL: lambda said: events.extend(events_in(said))}
        )
        listening = asyncio.create_task(listener.run())
        await ready.wait()
        yield PostgresEarlyReadings(hub.database), events
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def observed(minute: float, value: float, device: Device = DEVICE) -> Observation:
    return Observation(device, at(minute), ((LEVEL, value),), (), at(minute))


@native
async def test_good_readings_are_told_with_what_the_rules_need(
    told: tuple[PostgresEarlyReadings, list[ChangeEvent]],
) -> None:
    early, events = told
    await early.tell([observed(minute, 1.0) for minute in range(1, 101)])  # more than fits into one notification
    await eventually(lambda: len(events) == 100)
    first = events[0]
    assert (first.tenant_id, first.entity_id, first.entity_types) == (1, BRIDGE, [MODEL + "WaterObserved"])
    assert first.changes[0]["attribute"] == MODEL + "waterLevel"
    assert [first.changes[0]["after"][name] for name in ("value", "unitCode")] == [1.0, "MTR"]
    assert first.recorded_at == at(1)


@native
async def test_what_is_doubtful_old_or_of_no_station_is_not_told(
    told: tuple[PostgresEarlyReadings, list[ChangeEvent]],
) -> None:
    early, events = told
    unknown = replace(DEVICE, entity_id="urn:x:unknown")
    repaired = replace(DEVICE, maintenance=(MaintenanceWindow("m", at(0), None, "repair"),))
    await early.tell(
        [observed(-1, 2.0), observed(1, 9.0), observed(2, 1.0, unknown), observed(3, 1.0, repaired), observed(4, 1.5)]
    )
    await eventually(lambda: bool(events))
    assert [event.changes[0]["after"]["value"] for event in events] == [1.5]


async def test_a_passing_client_has_only_what_is_published_meanwhile(mosquitto: Broker) -> None:
    access = mosquitto.hub
    auth = {"username": access.username, "password": access.password}

    def publish(payload: str, *, retain: bool = False) -> None:
        topic = "minamo/v1/bridge/readings"
        mqtt.single(topic, payload, 1, retain, access.host, access.port, auth=auth)  # type: ignore[arg-type]

    async def attend(arrived: list[Message], *payloads: str) -> None:
        address = MqttAddress(access.host, access.port, access.username, access.password)
        client = MqttClient(address, client_id="early", receive_maximum=2, on_message=arrived.append, is_passing=True)
        task = asyncio.create_task(client.run())
        await client.subscribed.wait()
        for payload in payloads:
            await asyncio.to_thread(publish, payload)
        await eventually(lambda: len(arrived) == len(payloads))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await asyncio.to_thread(publish, "kept", retain=True)
    first: list[Message] = []
    await attend(first, "one", "two", "three", "four")  # more than may be unacknowledged
    await asyncio.to_thread(publish, "meanwhile")
    second: list[Message] = []
    await attend(second, "five")
    assert [message.payload for message in first + second] == [b"one", b"two", b"three", b"four", b"five"]

# SPDX-License-Identifier: Apache-2.0
"""The MQTT client against a real broker: what it holds is bounded, whatever the broker sends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ingest.client import MqttAddress, MqttClient
from ingest.decode import Message
from ingest.topics import TOPIC_FILTERS, filters_of_member
from support.mqtt_broker import Broker
from support.waiting import eventually

COUNT = 6000
RECEIVE_MAXIMUM = 20
ONE_READ = 64 * 1024 // 80  # packets of this size in one read of the socket: by so many it may be exceeded
PAYLOAD = b'{"time": "2026-11-21T16:40:00+09:00", "level": 1.23}'


@asynccontextmanager
async def connected(
    mosquitto: Broker, arrived: list[Message], client_id: str = "test", group: str | None = None
) -> AsyncIterator[MqttClient]:
    access = mosquitto.hub
    client = MqttClient(
        MqttAddress(access.host, access.port, access.username, access.password),
        client_id=client_id,
        receive_maximum=RECEIVE_MAXIMUM,
        on_message=arrived.append,
        topic_filters=filters_of_member(group, TOPIC_FILTERS),
    )
    task = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def publish(mosquitto: Broker, count: int) -> None:
    """Publish as one device and return when the broker has all."""
    access = mosquitto.hub
    device = mqtt.Client(CallbackAPIVersion.VERSION2, "device")
    device.username_pw_set(access.username, access.password)
    device.max_inflight_messages_set(100)
    device.connect(access.host, access.port)
    device.loop_start()
    for sent in [device.publish(f"minamo/v1/gauge-{number}/readings", PAYLOAD, qos=1) for number in range(count)]:
        sent.wait_for_publish(30)
    device.disconnect()
    device.loop_stop()


async def test_no_more_is_held_than_the_receive_maximum_and_one_read(mosquitto: Broker) -> None:
    arrived: list[Message] = []
    taken, most = 0, 0
    async with connected(mosquitto, arrived) as client:
        await asyncio.wait_for(client.subscribed.wait(), 10)
        await asyncio.to_thread(publish, mosquitto, COUNT)
        async with asyncio.timeout(60):
            while taken < COUNT:
                most = max(most, len(arrived) - taken)
                for message in arrived[taken : taken + RECEIVE_MAXIMUM]:
                    client.acknowledge(message)
                    taken += 1
                await asyncio.sleep(0.002)
    assert len({message.topic for message in arrived}) == len(arrived) == COUNT
    assert most <= RECEIVE_MAXIMUM + ONE_READ


async def test_nothing_acknowledged_comes_again_and_everything_else_does(mosquitto: Broker) -> None:
    first: list[Message] = []
    async with connected(mosquitto, first) as client:
        await asyncio.wait_for(client.subscribed.wait(), 10)
        await asyncio.to_thread(publish, mosquitto, 30)
        await eventually(lambda: len(first) >= RECEIVE_MAXIMUM)
        for message in first[:5]:
            client.acknowledge(message)
        await asyncio.sleep(0.2)
    second: list[Message] = []
    async with connected(mosquitto, second):
        await eventually(lambda: len(second) >= RECEIVE_MAXIMUM)
    topics = [message.topic for message in second]
    assert topics[:RECEIVE_MAXIMUM] == [f"minamo/v1/gauge-{number}/readings" for number in range(5, 25)]


async def test_members_of_a_group_get_each_message_once_and_those_of_a_member_that_was_away_later(
    mosquitto: Broker,
) -> None:
    one: list[Message] = []
    other: list[Message] = []
    async with connected(mosquitto, one, "one", "g") as first:
        await asyncio.wait_for(first.subscribed.wait(), 10)
        async with connected(mosquitto, other, "other", "g") as second:
            await asyncio.wait_for(second.subscribed.wait(), 10)
        await asyncio.to_thread(publish, mosquitto, 20)
        async with connected(mosquitto, other, "other", "g"):
            await eventually(lambda: len(one) + len(other) >= 20)
    topics = [message.topic for message in (*one, *other)]
    assert sorted(topics) == sorted(f"minamo/v1/gauge-{number}/readings" for number in range(20))
    assert one

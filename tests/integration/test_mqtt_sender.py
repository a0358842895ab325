# SPDX-License-Identifier: Apache-2.0
"""Deliveries by MQTT to a real broker: what arrives, what counts as delivered, what happens when the broker is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import paho.mqtt.client as mqtt
import pytest
import uvloop
from paho.mqtt.enums import CallbackAPIVersion

from adapters.channels.mqtt import MqttOptions, MqttSender
from adapters.channels.webhook import SendResult
from adapters.web.guard import Reach
from support.folders import free_port
from support.mqtt_broker import Broker
from support.waiting import eventually

TOPIC = "minamo/v1/gauge/receipts"
BODY = b'{"type":"Notification","data":[]}'
CONNACK = b"\x20\x03\x00\x00\x00"
PUBACK_OF_ANOTHER = b"\x40\x02\xff\xff"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
HEADERS = {"Content-Type": "application/json", "Minamo-Sequence": "7"}


class Listener:
    """A subscriber of :data:`TOPIC` that remembers the messages."""

    def __init__(self, broker: Broker) -> None:
        self.messages: list[mqtt.MQTTMessage] = []
        self.subscribed = False
        access = broker.hub
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "listener", protocol=mqtt.MQTTv5)
        self._client.username_pw_set(access.username, access.password)
        self._client.on_connect = lambda client, *_: client.subscribe(TOPIC, qos=2)
        self._client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        self._client.connect_async(access.host, access.port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    async def wait_for(self, count: int) -> list[mqtt.MQTTMessage]:
        await eventually(lambda: len(self.messages) >= count)
        return self.messages


@pytest.fixture
async def listener(mosquitto: Broker) -> AsyncIterator[Listener]:
    running = Listener(mosquitto)
    await eventually(lambda: running.subscribed)
    yield running
    running.close()


@pytest.fixture
async def sender() -> AsyncIterator[MqttSender]:
    async with MqttSender(timeout_s=5, reach=Reach(allow_loopback=True)) as sender:
        yield sender


def uri(broker: Broker, topic: str = TOPIC) -> str:
    return f"mqtt://{quote(broker.hub.username or '')}@{broker.hub.host}:{broker.hub.port}/{topic}"


def options(broker: Broker, **others: Any) -> MqttOptions:
    return MqttOptions(password=broker.hub.password, **others)


@pytest.mark.parametrize("version_5", [True, False])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_is_metadata_and_body(
    mosquitto: Broker, listener: Listener, sender: MqttSender, qos: int, version_5: bool
) -> None:
    result = await sender.send(uri(mosquitto), BODY, HEADERS, options(mosquitto, qos=qos, version_5=version_5))
    assert result.ok, result
    (message,) = await listener.wait_for(1)
    assert json.loads(message.payload) == {"metadata": HEADERS, "body": json.loads(BODY)}
    assert message.qos == qos


async def test_metadata_are_user_properties_too(mosquitto: Broker, listener: Listener, sender: MqttSender) -> None:
    await sender.send(uri(mosquitto), BODY, HEADERS, options(mosquitto))
    (message,) = await listener.wait_for(1)
    assert message.properties is not None
    assert dict(message.properties.UserProperty) == HEADERS
    assert message.properties.ContentType == "application/json"


async def test_many_at_once_share_a_connection(mosquitto: Broker, listener: Listener, sender: MqttSender) -> None:
    results = await asyncio.gather(
        *(sender.send(uri(mosquitto), BODY, HEADERS, options(mosquitto)) for _ in range(100))
    )
    assert all(result.ok for result in results)
    await listener.wait_for(100)
    assert len(sender._connections) == 1


async def test_wrong_password_is_a_failure_that_does_not_tell_it(mosquitto: Broker, sender: MqttSender) -> None:
    result = await sender.send(uri(mosquitto), BODY, HEADERS, MqttOptions(password="hunter2"))
    assert not result.ok
    assert "Not authorized" in (result.error or "")
    assert "hunter2" not in (result.error or "")


async def test_message_that_the_broker_refuses_is_a_failure(mosquitto: Broker, sender: MqttSender) -> None:
    result = await sender.send(uri(mosquitto, "elsewhere"), BODY, HEADERS, options(mosquitto))
    assert (result.ok, result.error) == (False, "MQTT: the broker refused the message: Not authorized")


async def test_broker_that_comes_back_is_connected_to_again(
    mosquitto: Broker, listener: Listener, sender: MqttSender
) -> None:
    assert (await sender.send(uri(mosquitto), BODY, HEADERS, options(mosquitto))).ok
    listener.subscribed = False
    mosquitto.kill()
    await eventually(lambda: listener.subscribed, timeout_s=20)

    async def delivered() -> bool:
        return (await sender.send(uri(mosquitto), BODY, HEADERS, options(mosquitto))).ok

    await eventually(delivered)
    await listener.wait_for(2)


async def test_broker_that_is_away_is_a_failure(sender: MqttSender) -> None:
    result = await sender.send(f"mqtt://127.0.0.1:{free_port()}/t", BODY, HEADERS)
    assert not result.ok


async def test_broker_that_says_nothing_is_given_up() -> None:
    left = asyncio.Event()

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with MqttSender(timeout_s=5, reach=Reach(allow_loopback=True)) as sender:
        result = await sender.send(f"mqtt://127.0.0.1:{port}/t", BODY, HEADERS, MqttOptions(timeout_s=0.3))
    assert (result.ok, result.error) == (False, "no acknowledgement within 0.3 s")
    await left.wait()
    server.close()


async def reset_at_the_first_message(listening: socket.socket) -> None:
    """A broker that acknowledges another message than it gets, and is gone before that can be read."""
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(listening)
    await loop.sock_recv(connection, 1000)
    await loop.sock_sendall(connection, CONNACK)
    await loop.sock_recv(connection, 1000)
    connection.send(PUBACK_OF_ANOTHER)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    connection.close()


async def send_and_be_reset() -> SendResult:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        broker = asyncio.create_task(reset_at_the_first_message(listening))
        async with MqttSender(timeout_s=30, reach=Reach(allow_loopback=True)) as sender:
            result = await sender.send(f"mqtt://127.0.0.1:{listening.getsockname()[1]}/{TOPIC}", BODY, HEADERS)
        await broker
    return result


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_reset_connection_is_a_failure_at_once(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        result = runner.run(send_and_be_reset())
    assert not result.ok
    assert result.error is not None
    assert "no acknowledgement" not in result.error


async def test_loopback_is_forbidden_unless_allowed(mosquitto: Broker) -> None:
    async with MqttSender(timeout_s=5, reach=Reach(allow_private=True)) as sender:
        result = await sender.send(uri(mosquitto), BODY, HEADERS, options(mosquitto))
    assert "the hub's own machine" in (result.error or "")

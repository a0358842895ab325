# SPDX-License-Identifier: Apache-2.0
"""The embedded broker: who may connect, what they may do, ports, and what outlives a restart."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from api.embedded import mqtt_probe
from api.embedded.mosquitto import EmbeddedMosquitto, MqttAccess
from api.embedded.mosquitto_files import MqttCredential
from api.embedded.passwords import hash_password
from api.embedded.state import DataFolder
from api.embedded.texts import PortInUse
from support.folders import free_port, temporary_folder
from support.mqtt_broker import Broker
from support.waiting import eventually


class Client:
    """A small MQTT 5 client for tests: remembers messages and the reason codes of acknowledgements."""

    def __init__(self, access: MqttAccess, client_id: str, *, keep_session: bool = False) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.published: list[int] = []
        self._subscribed = 0
        self._access = access
        self._keep_session = keep_session
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5)
        self._client.username_pw_set(access.username, access.password)
        self._client.on_message = lambda _c, _u, message: self.messages.append((message.topic, message.payload))
        self._client.on_publish = lambda _c, _u, _mid, reason, _p: self.published.append(reason.value)
        self._client.on_subscribe = lambda *_: setattr(self, "_subscribed", self._subscribed + 1)

    async def connect(self) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600 if self._keep_session else 0
        self._client.connect(
            self._access.host, self._access.port, clean_start=not self._keep_session, properties=properties
        )
        self._client.loop_start()
        await eventually(self._client.is_connected)

    async def subscribe(self, topic: str) -> None:
        before = self._subscribed
        self._client.subscribe(topic, qos=1)
        await eventually(lambda: self._subscribed > before)

    async def publish(self, topic: str, payload: bytes) -> int:
        """Publish with QoS 1; the reason code of the acknowledgement."""
        before = len(self.published)
        self._client.publish(topic, payload, qos=1)
        await eventually(lambda: len(self.published) > before)
        return self.published[-1]

    async def close(self) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected()


@asynccontextmanager
async def connected(access: MqttAccess, client_id: str = "", *, keep_session: bool = False) -> AsyncIterator[Client]:
    client = Client(access, client_id, keep_session=keep_session)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


async def accepted(access: MqttAccess) -> bool:
    return await mqtt_probe.accepts(access.host, access.port, access.username or "", access.password or "")


async def test_a_device_reaches_the_hub(mosquitto: Broker) -> None:
    async with connected(mosquitto.hub) as hub, connected(await mosquitto.device("gauge1")) as gauge:
        await hub.subscribe("minamo/v1/+/readings")
        assert await gauge.publish("minamo/v1/gauge1/readings", b"1.5") == 0
        await eventually(lambda: hub.messages == [("minamo/v1/gauge1/readings", b"1.5")])


async def test_a_shared_subscription_of_the_hub_works(mosquitto: Broker) -> None:
    async with connected(mosquitto.hub) as hub, connected(await mosquitto.device("gauge1")) as gauge:
        await hub.subscribe("$share/ingest/minamo/v1/+/readings")
        await gauge.publish("minamo/v1/gauge1/readings", b"1.5")
        await eventually(lambda: len(hub.messages) == 1)


@pytest.mark.parametrize("topic", ["minamo/v1/gauge2/readings", "minamo/v1/gauge1/commands", "other"])
async def test_a_device_may_publish_its_own_readings_only(mosquitto: Broker, topic: str) -> None:
    async with connected(mosquitto.hub) as hub, connected(await mosquitto.device("gauge1")) as gauge:
        await hub.subscribe("minamo/v1/#")
        assert await gauge.publish(topic, b"forged") == 0x87  # not authorised
        await gauge.publish("minamo/v1/gauge1/readings", b"own")
        await eventually(lambda: [payload for _, payload in hub.messages] == [b"own"])


async def test_a_device_does_not_hear_others(mosquitto: Broker) -> None:
    gauge1, gauge2 = await mosquitto.device("gauge1"), await mosquitto.device("gauge2")
    async with connected(mosquitto.hub) as hub, connected(gauge1) as curious, connected(gauge2) as other:
        await curious.subscribe("#")
        await other.publish("minamo/v1/gauge2/readings", b"private")
        await hub.publish("minamo/v1/gauge1/commands", b"for me")
        await eventually(lambda: bool(curious.messages))
        assert curious.messages == [("minamo/v1/gauge1/commands", b"for me")]


async def test_wrong_passwords_and_strangers_are_refused(mosquitto: Broker) -> None:
    gauge = await mosquitto.device("gauge1")
    assert await accepted(gauge)
    assert not await mqtt_probe.accepts(gauge.host, gauge.port, "gauge1", "wrong")
    assert not await mqtt_probe.accepts(gauge.host, gauge.port, "stranger", gauge.password or "")


async def test_a_device_that_is_removed_is_disconnected(mosquitto: Broker) -> None:
    async with connected(await mosquitto.device("gauge1")) as gauge:
        await mosquitto.server.sync_credentials([])
        await eventually(lambda: not gauge.is_connected)
    assert not await accepted(await mosquitto.device("gauge1"))


async def test_other_devices_stay_connected_when_one_is_added(mosquitto: Broker) -> None:
    async with connected(await mosquitto.device("gauge1")) as gauge:
        await mosquitto.device("gauge2")
        assert await gauge.publish("minamo/v1/gauge1/readings", b"1") in (0, 0x10)  # 0x10: nobody subscribed


async def test_the_same_devices_again_change_nothing(mosquitto: Broker) -> None:
    devices = [MqttCredential("gauge1", hash_password("x"))]
    assert await mosquitto.server.sync_credentials(devices)
    assert not await mosquitto.server.sync_credentials(devices)


async def test_ten_thousand_devices_are_taken(mosquitto: Broker) -> None:
    shared = hash_password("password")
    await mosquitto.server.sync_credentials(MqttCredential(f"gauge{n}", shared) for n in range(10_000))
    hub = mosquitto.hub
    await eventually(lambda: mqtt_probe.accepts(hub.host, hub.port, "gauge9999", "password"))


@pytest.mark.kill
async def test_devices_are_known_again_after_the_broker_was_killed(mosquitto: Broker) -> None:
    gauge = await mosquitto.device("gauge1")
    mosquitto.kill()
    await eventually(lambda: mosquitto.server.supervisor.restarts == 1)
    assert await accepted(gauge)


@pytest.mark.kill
async def test_devices_added_while_the_broker_starts_again_are_known(mosquitto: Broker) -> None:
    mosquitto.kill()
    await eventually(lambda: mosquitto.server.supervisor.pid is None)
    await mosquitto.server.sync_credentials([MqttCredential("gauge1", hash_password("password"))])
    await eventually(lambda: mosquitto.server.supervisor.restarts == 1)
    hub = mosquitto.hub
    await eventually(lambda: mqtt_probe.accepts(hub.host, hub.port, "gauge1", "password"))


async def test_messages_for_an_absent_hub_outlive_a_restart() -> None:
    with temporary_folder() as path:
        folder = DataFolder(path)
        folder.open()
        port = free_port()
        first = EmbeddedMosquitto(folder, port=port)
        await first.start()
        async with connected(first.access, "hub", keep_session=True) as hub:
            await hub.subscribe("minamo/v1/+/readings")
        await first.sync_credentials([MqttCredential("gauge1", hash_password("password"))])
        gauge = MqttAccess("127.0.0.1", port, "gauge1", "password")
        await eventually(lambda: accepted(gauge))
        async with connected(gauge) as device:
            await device.publish("minamo/v1/gauge1/readings", b"1.5")
        await first.stop()
        second = EmbeddedMosquitto(folder, port=port)
        await second.start()
        try:
            async with connected(second.access, "hub", keep_session=True) as hub:
                await eventually(lambda: hub.messages == [("minamo/v1/gauge1/readings", b"1.5")])
            assert await accepted(gauge)
        finally:
            await second.stop()


@pytest.mark.kill
async def test_what_was_saved_outlives_a_kill(mosquitto: Broker) -> None:
    async with connected(mosquitto.hub, "hub", keep_session=True) as hub:
        await hub.subscribe("minamo/v1/+/readings")
    async with connected(await mosquitto.device("gauge1")) as gauge:
        await gauge.publish("minamo/v1/gauge1/readings", b"1.5")
    saved = mosquitto.server._data / "mosquitto.db"
    before = saved.stat().st_mtime_ns if saved.exists() else 0
    mosquitto.server.save()
    await eventually(lambda: saved.exists() and saved.stat().st_mtime_ns > before)
    mosquitto.kill()
    await eventually(lambda: mosquitto.server.supervisor.restarts == 1)
    async with connected(mosquitto.hub, "hub", keep_session=True) as hub:
        await eventually(lambda: len(hub.messages) == 1)


async def test_a_port_that_is_taken_at_first_is_avoided_and_the_choice_remembered() -> None:
    with temporary_folder() as path, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        wanted = other.getsockname()[1]
        folder = DataFolder(path)
        folder.open()
        server = EmbeddedMosquitto(folder, port=wanted)
        await server.start()
        await server.stop()
        assert server.access.port > wanted
        other.close()
        again = EmbeddedMosquitto(folder, port=wanted)
        await again.start()
        await again.stop()
        assert again.access.port == server.access.port


async def test_a_remembered_port_that_is_taken_now_is_an_error_that_says_so() -> None:
    with temporary_folder() as path, socket.socket() as other:
        folder = DataFolder(path)
        folder.open()
        server = EmbeddedMosquitto(folder, port=free_port())
        await server.start()
        await server.stop()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", server.access.port))
        other.listen()
        with pytest.raises(PortInUse, match=r"MINAMO_MQTT_PORT"):
            await EmbeddedMosquitto(folder, port=server.access.port).start()

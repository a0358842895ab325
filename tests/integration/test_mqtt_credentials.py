# SPDX-License-Identifier: Apache-2.0
"""Who may connect to a real mosquitto and publish what: addresses, TLS, and a city's broker with generated files."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import orjson
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from api import roles
from api.devices.mqtt_files import Target, keep_files
from api.embedded import mqtt_probe
from api.embedded.mosquitto import EmbeddedMosquitto, MqttAccess
from api.embedded.mosquitto_files import HUB_USER, MqttCredential, TlsListener
from api.embedded.passwords import hash_password
from api.embedded.programs import find_mosquitto
from api.embedded.state import DataFolder
from api.embedded.users import server_user
from api.hub import Hub
from broker.times import to_text
from context_store.listener import Listener
from ingest.client import MqttAddress
from support.certificates import make_certificates
from support.folders import free_port, temporary_folder
from support.mqtt_broker import Broker
from support.waiting import eventually

once = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

LEVEL = {"field": "level", "attribute": "waterLevel", "unitCode": "MTR"}
DEVICE: dict[str, Any] = {"entityId": "urn:x:1", "entityType": "WaterObserved", "attributes": [LEVEL]}
START = datetime(2026, 11, 1, tzinfo=UTC)
REFUSED = 0x87  # not authorised


def client_of(access: MqttAccess, ca_file: Path | None = None) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.username_pw_set(access.username, access.password)
    if ca_file is not None:
        client.tls_set(ca_certs=str(ca_file))
    return client


async def publish(access: MqttAccess, topic: str, payload: bytes, ca_file: Path | None = None) -> int:
    """Publish with QoS 1; the reason code of the acknowledgement."""
    codes: list[int] = []
    client = client_of(access, ca_file)
    client.on_publish = lambda _c, _u, _mid, reason, _p: codes.append(reason.value)
    await asyncio.to_thread(client.connect, access.host, access.port)
    client.loop_start()
    try:
        await eventually(client.is_connected)
        client.publish(topic, payload, qos=1)
        await eventually(lambda: bool(codes))
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
    return codes[0]


class TestAddresses:
    async def test_device_publishes_under_its_address_and_nobody_else_does(self, mosquitto: Broker) -> None:
        own = MqttCredential("gauge", hash_password("a"), "key/weather7")
        other = MqttCredential("other", hash_password("b"))
        await mosquitto.server.sync_credentials([own, other])
        host, port = mosquitto.hub.host, mosquitto.hub.port
        await eventually(lambda: mqtt_probe.accepts(host, port, "other", "b"))
        topics = ["/ul/key/weather7/attrs", "/ul/another/weather7/attrs", "minamo/v1/gauge/readings"]
        found = [await publish(MqttAccess(host, port, "gauge", "a"), topic, b"l|1") != REFUSED for topic in topics]
        assert found == [True, False, True]
        found = [await publish(MqttAccess(host, port, "other", "b"), topic, b"l|1") != REFUSED for topic in topics]
        assert found == [False, False, False]

    async def test_address_that_was_taken_away_is_refused_at_once(self, mosquitto: Broker) -> None:
        with_address = MqttCredential("gauge", hash_password("a"), "key/weather7")
        await mosquitto.server.sync_credentials([with_address])
        access = MqttAccess(mosquitto.hub.host, mosquitto.hub.port, "gauge", "a")
        await eventually(lambda: mqtt_probe.accepts(access.host, access.port, "gauge", "a"))
        assert await mosquitto.server.sync_credentials([replace(with_address, address=None)])

        async def refused() -> bool:
            return await publish(access, "/ul/key/weather7/attrs", b"l|1") == REFUSED

        await eventually(refused)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@asynccontextmanager
async def broker_with_tls(certificates: Path) -> AsyncIterator[tuple[EmbeddedMosquitto, MqttAccess]]:
    """An embedded mosquitto with TLS, and the access of the device ``gauge`` by it."""
    with temporary_folder() as path:
        folder = DataFolder(path)
        folder.open()
        tls = TlsListener("127.0.0.1", free_port(), certificates / "server.pem", certificates / "server.key")
        server = EmbeddedMosquitto(folder, port=free_port(), tls=tls)
        await server.start()
        try:
            await server.sync_credentials([MqttCredential("gauge", hash_password("a"))])
            plain = server.access
            await eventually(lambda: mqtt_probe.accepts(plain.host, plain.port, "gauge", "a"))
            yield server, MqttAccess("localhost", tls.port, "gauge", "a", tls=True)
        finally:
            await server.stop()


class TestTls:
    async def test_device_connects_to_who_it_trusts(self, certificates: Path) -> None:
        async with broker_with_tls(certificates) as (_, access):
            ca_file = certificates / "ca.pem"
            assert await publish(access, "minamo/v1/gauge/readings", b"1", ca_file) != REFUSED
            assert await publish(access, "minamo/v1/other/readings", b"1", ca_file) == REFUSED
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection(access.host, access.port, ssl=True)

    async def test_renewed_certificate_is_taken_in_while_devices_stay(self, certificates: Path) -> None:
        async with broker_with_tls(certificates) as (server, access):
            first = await peer_certificate(access)
            make_certificates(certificates)
            assert await server.renew_certificate()
            assert not await server.renew_certificate()

            async def is_new() -> bool:
                return await peer_certificate(access) != first

            await eventually(is_new)
            assert server.supervisor.restarts == 0


async def peer_certificate(access: MqttAccess) -> str:
    return await asyncio.to_thread(ssl.get_server_certificate, (access.host, access.port))


@asynccontextmanager
async def mosquitto_of_the_city(folder: Path) -> AsyncIterator[MqttAccess]:
    """A mosquitto that somebody else runs, with the files in ``folder``; the access of the hub to it."""
    port = free_port()
    config = folder / "mosquitto.conf"
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous false", f"password_file {folder / 'passwords'}"]
    lines += [f"acl_file {folder / 'access'}", f"pid_file {folder / 'pid'}"]
    config.write_text("\n".join(lines) + "\n")
    user = server_user("mosquitto")
    user.own(folder, 0o755)
    process = await asyncio.create_subprocess_exec(
        str(find_mosquitto()), "-c", str(config), user=user.uid, group=user.gid, extra_groups=[]
    )
    try:
        await eventually(lambda: mqtt_probe.accepts("127.0.0.1", port, HUB_USER, "hub password"))
        yield MqttAccess("127.0.0.1", port, HUB_USER, "hub password")
    finally:
        process.terminate()
        await process.wait()


@once
async def test_broker_of_the_city_follows_the_registry(hub: Hub, client: httpx.AsyncClient) -> None:
    with temporary_folder() as folder:
        owner = server_user("mosquitto")
        target = Target(folder, owner.name)
        told: list[str] = []
        await keep_files(hub.database, target, "hub password", watch=False, progress=told.append)
        async with mosquitto_of_the_city(folder) as access:
            watched = replace(target, pid_file=folder / "pid")
            keeping = asyncio.create_task(
                keep_files(hub.database, watched, "hub password", watch=True, progress=told.append)
            )
            try:
                made = (await client.put("/api/v1/devices/gauge", json=DEVICE)).json()["mqtt"]["password"]
                await eventually(lambda: mqtt_probe.accepts(access.host, access.port, "gauge", made))
                device = replace(access, username="gauge", password=made)
                assert await publish(device, "minamo/v1/other/readings", b"1") == REFUSED
                rotated = (await client.put("/api/v1/devices/gauge/credential")).json()["mqtt"]["password"]
                await eventually(lambda: mqtt_probe.accepts(access.host, access.port, "gauge", rotated))
                assert not await mqtt_probe.accepts(access.host, access.port, "gauge", made)
                await client.delete("/api/v1/devices/gauge/credential")

                async def is_out() -> bool:
                    return not await mqtt_probe.accepts(access.host, access.port, "gauge", rotated)

                await eventually(is_out)
                assert (folder / "passwords").stat().st_mode & 0o777 == 0o600
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)


@once
async def test_change_of_a_device_is_told_to_running_ingest(
    hub: Hub, client: httpx.AsyncClient, mosquitto: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "_DIRECTORY_REFRESH_S", 3600.0)  # nobody looks by himself
    parts = roles.Parts()
    access = mosquitto.hub
    roles.add_ingest(parts, hub, MqttAddress(access.host, access.port, access.username, access.password))
    listener = Listener(hub.database, {channel: calls[0] for channel, calls in parts.wakers.items()})
    await client.put("/api/v1/devices/gauge", json=DEVICE)
    gauge = await mosquitto.device("gauge")
    tasks = [asyncio.create_task(work) for work in (*parts.tasks.values(), listener.run())]
    moments = count()

    async def stored(wanted: float) -> bool:
        moment = START + timedelta(seconds=next(moments))
        await publish(gauge, "minamo/v1/gauge/readings", orjson.dumps({"time": to_text(moment), "level": 100}))
        found = (await client.get("/ngsi-ld/v1/entities/urn:x:1?options=keyValues")).json()
        return wanted in [value for value in found.values() if isinstance(value, float)]

    try:
        await eventually(lambda: stored(100.0))
        await client.put("/api/v1/devices/gauge", json={**DEVICE, "attributes": [{**LEVEL, "factor": 0.01}]})
        await eventually(lambda: stored(1.0))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

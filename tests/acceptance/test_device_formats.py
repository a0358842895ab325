# SPDX-License-Identifier: Apache-2.0
"""Devices that speak other formats, over a real broker and by HTTP, unchanged as they are."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import paho.mqtt.publish as publish
import pytest

from adapters.formats.expression import MAX_LENGTH
from adapters.formats.uplink_names import uplink_of
from api.hub import Hub
from api.intake.ingest_parts import make_client, make_pipeline
from broker.times import to_text
from ingest.client import MqttAddress
from support.hub import client_for, hub_for
from support.mqtt_broker import Broker
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

UPLINKS = Path(__file__).parents[1] / "data" / "uplinks"
ENTITY = "urn:ngsi-ld:WaterObserved:gauge"
LEVEL = {"field": "l", "attribute": "waterLevel", "unitCode": "MTR", "minimum": -5, "maximum": 20}
DEVICE: dict[str, Any] = {"entityId": ENTITY, "entityType": "WaterObserved", "attributes": [LEVEL]}
SIMPLE = {"Link": '<urn:ngsi-ld:jsonldContext:minamo-v1>; rel="http://www.w3.org/ns/json-ld#context"'}
NOW = datetime.now(UTC).replace(microsecond=0)


@asynccontextmanager
async def ingesting(hub: Hub, mosquitto: Broker) -> AsyncIterator[None]:
    pipeline, _ = make_pipeline(hub)
    access = mosquitto.hub
    address = MqttAddress(access.host, access.port, access.username, access.password)
    mqtt = make_client(hub.settings, address, pipeline)
    tasks = [asyncio.create_task(mqtt.run()), asyncio.create_task(pipeline.run(mqtt))]
    try:
        await asyncio.wait_for(mqtt.subscribed.wait(), 10)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def register(client: httpx.AsyncClient, device_id: str = "gauge", **members: Any) -> str:
    response = await client.put(f"/api/v1/devices/{device_id}", json={**DEVICE, **members})
    assert response.status_code == 201, response.text
    password: str = response.json()["mqtt"]["password"]
    return password


async def send(mosquitto: Broker, topic: str, payload: bytes) -> None:
    """As the device ``gauge`` does, with MQTT 3.1.1."""
    access = await mosquitto.device("gauge")
    auth: Any = {"username": access.username, "password": access.password}
    await asyncio.to_thread(publish.single, topic, payload, qos=1, hostname=access.host, port=access.port, auth=auth)


async def entity(client: httpx.AsyncClient, entity_id: str = ENTITY) -> dict[str, Any]:
    response = await client.get(f"/ngsi-ld/v1/entities/{entity_id}", headers=SIMPLE)
    found: dict[str, Any] = response.json()
    return found if response.status_code == 200 else {}


async def level(client: httpx.AsyncClient, wanted: float) -> dict[str, Any]:
    """The level once it is ``wanted``."""

    async def there() -> bool:
        return (await entity(client)).get("waterLevel", {}).get("value") == pytest.approx(wanted)

    await eventually(there)
    found: dict[str, Any] = (await entity(client))["waterLevel"]
    return found


class TestOverMqtt:
    """Through mosquitto, with the access rules of the embedded one."""

    @pytest.fixture(autouse=True)
    async def _ingest(self, hub: Hub, mosquitto: Broker) -> AsyncIterator[None]:
        async with ingesting(hub, mosquitto):
            yield

    async def test_ultralight_device_moves_over_unchanged(self, client: httpx.AsyncClient, mosquitto: Broker) -> None:
        await register(client)
        await send(mosquitto, "/ul/4jggokgpepnvsb2uv4s40d59ov/gauge/attrs", f"{to_text(NOW)}|l|1.5".encode())
        assert (await level(client, 1.5))["observedAt"] == to_text(NOW)
        await send(mosquitto, "/4jggokgpepnvsb2uv4s40d59ov/gauge/attrs", b"l|1.75|x|ok#l|1.8")
        await level(client, 1.8)
        await send(mosquitto, "/4jggokgpepnvsb2uv4s40d59ov/gauge/attrs/l", b"2.5")
        await level(client, 2.5)

    async def test_iot_agent_json_device_moves_over_unchanged(
        self, client: httpx.AsyncClient, mosquitto: Broker
    ) -> None:
        await register(client)
        document = {"l": 1.25, "TimeInstant": to_text(NOW)}
        await send(mosquitto, "/json/4jggokgpepnvsb2uv4s40d59ov/gauge/attrs", orjson.dumps(document))
        assert (await level(client, 1.25))["observedAt"] == to_text(NOW)

    @pytest.mark.parametrize(
        ("topic", "payload"),
        [
            ("/ul/4jggokgpepnvsb2uv4s40d59ov/gauge/cmdexe", b"gauge@ping|ok"),
            ("/4jggokgpepnvsb2uv4s40d59ov/gauge/configuration/commands", b'{"type": "configuration", "fields": ["x"]}'),
        ],
    )
    async def test_what_a_fiware_device_says_of_commands_disturbs_nobody(
        self, client: httpx.AsyncClient, mosquitto: Broker, topic: str, payload: bytes
    ) -> None:
        await register(client)
        await send(mosquitto, topic, payload)
        await send(mosquitto, "/ul/4jggokgpepnvsb2uv4s40d59ov/gauge/attrs", b"l|1.5")
        await level(client, 1.5)
        assert (await client.get("/api/v1/quarantine")).json()["messages"] == []

    async def test_groups_of_measures_have_times_of_their_own(
        self, client: httpx.AsyncClient, mosquitto: Broker
    ) -> None:
        await register(client)
        earlier = to_text(NOW - timedelta(minutes=10))
        payload = f"{to_text(NOW)}|l|1.8|s|ok#{earlier}|l|1.7".encode()
        await send(mosquitto, "/4jggokgpepnvsb2uv4s40d59ov/gauge/attrs", payload)
        assert (await level(client, 1.8))["observedAt"] == to_text(NOW)
        measures = [{"l": 1.6, "TimeInstant": to_text(NOW - timedelta(minutes=20))}, {"l": 1.9}]
        await send(mosquitto, "/json/4jggokgpepnvsb2uv4s40d59ov/gauge/attrs", orjson.dumps(measures))
        await level(client, 1.9)

    async def test_uplink_of_the_things_stack_feeds_level_and_device(
        self, client: httpx.AsyncClient, mosquitto: Broker
    ) -> None:
        mapping = {**LEVEL, "field": "distance", "unit": "MMT", "measures": "distanceDown", "reference": 4.2}
        profile = {"name": "things-stack", "codec": "milesight/EM400-UDL"}
        await register(client, attributes=[mapping], format=profile)
        payload = (UPLINKS / "Milesight/EM400-UDL/ThingsStackCommunity/uplink/payload_1.json").read_bytes()
        await send(mosquitto, "v3/city@ttn/devices/gauge/up", payload)
        assert (await level(client, 4.2 - 2.116))["observedAt"] == "2023-05-19T05:33:35.641841Z"
        device = await entity(client, "urn:ngsi-ld:Device:gauge")
        assert (device["type"], device["batteryLevel"]["value"]) == ("Device", 0.92)
        assert (device["rssi"]["value"], device["snr"]["value"]) == (-35, 13.2)
        assert device["controlledAsset"]["object"] == ENTITY


class TestOverHttp:
    """``POST /api/v1/readings/{key}`` with the device's own credential."""

    async def test_reading_is_stored_when_it_is_answered(self, client: httpx.AsyncClient) -> None:
        password = await register(client)
        reading = {"time": to_text(NOW), "l": 1.5}
        response = await client.post("/api/v1/readings/gauge", json=reading, auth=("gauge", password))
        assert (response.status_code, response.json()["status"]) == (200, "stored")
        assert (await entity(client))["waterLevel"]["value"] == 1.5

    async def test_what_cannot_be_taken_is_kept_and_said(self, client: httpx.AsyncClient) -> None:
        password = await register(client, format={"name": "csv", "columns": ["l", "state"]})
        response = await client.post("/api/v1/readings/gauge", content=b"1.5", auth=("gauge", password))
        assert (response.status_code, response.json()["reason"]) == (202, "undecodable")
        (message,) = (await client.get("/api/v1/quarantine")).json()["messages"]
        assert (message["payloadText"], message["detail"]) == ("1.5", "line 1: there are 1 cells; the profile names 2")

    async def test_mended_profile_takes_what_was_held(self, client: httpx.AsyncClient) -> None:
        password = await register(client, format={"name": "csv", "columns": ["l", "state"]})
        await client.post("/api/v1/readings/gauge", content=b"1.5", auth=("gauge", password))
        mended = {**DEVICE, "format": {"name": "csv", "columns": ["l"]}}
        assert (await client.put("/api/v1/devices/gauge", json=mended)).status_code == 200
        assert (await client.post("/api/v1/quarantine/replay")).json() == {"stored": 1, "stillHeld": 0}
        assert (await entity(client))["waterLevel"]["value"] == 1.5

    async def test_only_the_device_itself_may_send(self, client: httpx.AsyncClient) -> None:
        password = await register(client)
        await register(client, "other")
        for path, auth in [
            ("gauge", None),
            ("gauge", ("gauge", "wrong")),
            ("other", ("gauge", password)),
            ("other", ("other", password)),
            ("nobody", ("nobody", "")),
        ]:
            response = await client.post(f"/api/v1/readings/{path}", json={"l": 1}, auth=auth)
            assert (response.status_code, response.headers["www-authenticate"][:5]) == (401, "Basic")

    async def test_too_many_bytes_are_refused(self, client: httpx.AsyncClient) -> None:
        password = await register(client)
        response = await client.post("/api/v1/readings/gauge", content=b"x" * 2_000_000, auth=("gauge", password))
        assert response.status_code == 413


async def test_device_needs_no_token_of_the_hub(database_url: str) -> None:
    token = hashlib.sha256(b"token").hexdigest()
    async with hub_for(database_url, api_tokens_sha256=(token,)) as hub, client_for(hub) as client:
        headers = {"Authorization": "Bearer token"}
        made = await client.put("/api/v1/devices/gauge", json=DEVICE, headers=headers)
        credential = ("gauge", made.json()["mqtt"]["password"])
        reading = {"time": to_text(NOW), "l": 1.5}
        sent = await client.post("/api/v1/readings/gauge", json=reading, auth=credential)
        elsewhere = await client.get("/api/v1/devices/gauge", auth=credential)
        assert (sent.status_code, elsewhere.status_code) == (200, 401)


class TestTryingOut:
    """``POST /api/v1/devices/{id}/decode``: send a frame, see the decode."""

    FRAME = base64.b64encode(bytes.fromhex("04d2ffff")).decode()

    async def decode(self, client: httpx.AsyncClient, **body: Any) -> Any:
        return (await client.post("/api/v1/devices/gauge/decode", json=body)).json()

    async def test_decode_is_shown_and_nothing_is_stored(self, client: httpx.AsyncClient) -> None:
        fields = {"l": "u16be(0) * 0.001", "battery": "u16be(2)"}
        sentinel = {"field": "battery", "attribute": "batteryLevel", "sentinels": [65535]}
        await register(client, attributes=[LEVEL, sentinel], format={"name": "bytes", "fields": fields})
        found = await self.decode(client, payloadBase64=self.FRAME, receivedAt=to_text(NOW))
        assert found["measurements"][0]["values"] == {"l": pytest.approx(1.234), "battery": 65535}
        (stored,) = [row for row in found["stored"] if row["entityId"] == ENTITY]
        assert (stored["field"], stored["value"], stored["unitCode"]) == ("l", pytest.approx(1.234), "MTR")
        assert found["missing"] == [{"field": "battery", "reason": "65535 is declared to mean that there is no value"}]
        assert found["fault"] is None
        assert await entity(client) == {}

    async def test_fault_is_shown(self, client: httpx.AsyncClient) -> None:
        await register(client, format={"name": "bytes", "fields": {"l": "u32be(1)"}})
        found = await self.decode(client, payloadHex="04 d2")
        assert found["stored"] == []
        detail = "l: 4 bytes at 1 are past the end; the payload has 2"
        assert found["fault"] == {"reason": "undecodable", "detail": detail}

    async def test_change_of_the_registration_is_tried_out_before_it_is_made(self, client: httpx.AsyncClient) -> None:
        await register(client)
        found = await self.decode(client, payloadText="l|3.5", device={"format": "ultralight"})
        assert [row["value"] for row in found["stored"]] == [3.5]
        assert "format" not in (await client.get("/api/v1/devices/gauge")).json()

    async def test_topic_may_be_tried_out(self, client: httpx.AsyncClient) -> None:
        await register(client)
        found = await self.decode(client, payloadText="3.5", topic="/key/gauge/attrs/l")
        assert [row["value"] for row in found["stored"]] == [3.5]

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ({}, "exactly one of payloadText, payloadBase64, payloadHex has to be given"),
            ({"payloadText": "1", "payloadHex": "01"}, "exactly one of"),
            ({"payloadHex": "xy"}, "payloadHex: "),
            ({"payloadText": "1", "device": []}, "device is []"),
            ({"payloadText": "1", "device": {"format": "xml"}}, "device.format.name is 'xml'"),
            ({"payloadText": "1", "receivedAt": "now"}, "receivedAt: "),
        ],
    )
    async def test_what_is_wrong_is_said(self, client: httpx.AsyncClient, body: dict[str, Any], says: str) -> None:
        await register(client)
        response = await client.post("/api/v1/devices/gauge/decode", json=body)
        assert response.status_code == 400
        assert says in response.json()["detail"]


async def test_address_is_of_one_device_only(client: httpx.AsyncClient) -> None:
    await register(client, format={"name": "ultralight", "address": "key/weather7"})
    other = {**DEVICE, "format": {"name": "ultralight", "address": "key/weather7"}}
    response = await client.put("/api/v1/devices/other", json=other)
    assert response.status_code == 409
    assert response.json()["detail"] == "The key or the address of a device is already that of another one"


async def test_expression_that_is_none_is_refused_at_registration(client: httpx.AsyncClient) -> None:
    profile = {"name": "bytes", "fields": {"l": "1" * (MAX_LENGTH + 1)}}
    response = await client.put("/api/v1/devices/gauge", json={**DEVICE, "format": profile})
    assert response.status_code == 400


class TestIotAgentOverHttp:
    """What devices post to port 7896 of an IoT Agent: ``/iot/d`` and ``/iot/json`` with API key and device id."""

    KEY = "4jggokgpepnvsb2uv4s40d59ov"

    @pytest.fixture(autouse=True)
    async def _registered(self, client: httpx.AsyncClient) -> None:
        await register(client, format={"name": "minamo-json", "address": f"{self.KEY}/motion001"})

    async def post(self, client: httpx.AsyncClient, path: str, body: str, **parameters: str) -> httpx.Response:
        asked = {"k": self.KEY, "i": "motion001", **parameters}
        return await client.post(f"/iot/{path}", content=body, params=asked, headers={"Content-Type": "text/plain"})

    async def test_measures_are_stored(self, client: httpx.AsyncClient) -> None:
        for path, body, value in [
            ("d", "l|1.5", 1.5),
            ("d", "l|1.6#l|1.7", 1.7),
            ("json", '{"l": 1.8}', 1.8),
            ("json/attrs/l", "1.9", 1.9),
        ]:
            response = await self.post(client, path, body)
            assert (response.status_code, response.content) == (200, b"" if path == "d" else b"{}")
            assert (await entity(client))["waterLevel"]["value"] == value
        for path, measures, value in [("d", "l|2.1", 2.1), ("json", '{"l": 2.2}', 2.2)]:
            asked = {"k": self.KEY, "i": "motion001", "d": measures}
            assert (await client.get(f"/iot/{path}", params=asked)).status_code == 200
            assert (await entity(client))["waterLevel"]["value"] == value

    async def test_no_command_is_ever_waiting(self, client: httpx.AsyncClient) -> None:
        asked = {"k": self.KEY, "i": "motion001", "getCmd": "1"}
        for path, nothing in [("d", b""), ("json", b"{}")]:
            assert (await client.get(f"/iot/{path}", params=asked)).content == nothing
            assert (await self.post(client, path, "", getCmd="1")).content == nothing
            assert (await client.get(f"/iot/{path}", params={**asked, "getCmd": ""})).status_code == 400

    async def test_results_of_commands_are_passed_over(self, client: httpx.AsyncClient) -> None:
        for path in ["d/commands", "json/commands", "json/configuration"]:
            assert (await self.post(client, path, '{"ping": "pong"}')).status_code == 200
            assert (await self.post(client, path, '{"ping": "pong"}', k="wrong")).status_code == 401
        assert (await client.get("/api/v1/quarantine")).json()["messages"] == []

    async def test_time_stands_in_the_address(self, client: httpx.AsyncClient) -> None:
        for path, body in [("d", "l|1.5"), ("json", '[{"l": 1.5}]')]:
            await self.post(client, path, body, t=to_text(NOW))
            assert (await entity(client))["waterLevel"]["observedAt"] == to_text(NOW)

    async def test_only_who_knows_the_key_is_heard(self, client: httpx.AsyncClient) -> None:
        await register(client, "other", entityId="urn:x:other")
        for given in [{"k": "wrong"}, {"i": "gauge"}, {"i": "other"}]:
            assert (await self.post(client, "d", "l|1", **given)).status_code == 401
        assert (await client.get("/api/v1/quarantine")).json()["messages"] == []

    async def test_what_cannot_be_read_is_kept(self, client: httpx.AsyncClient) -> None:
        response = await self.post(client, "d", "nonsense")
        assert (response.status_code, response.headers["minamo-quarantined"]) == (200, "undecodable")


class TestWebhooksOfNetworkServers:
    """One address takes the uplinks of a whole application; devices are known by their EUI or id."""

    @pytest.fixture
    async def inbox(self, client: httpx.AsyncClient) -> dict[str, str]:
        token = (await client.put("/api/v1/inboxes/lora", json={})).json()["token"]
        return {"Authorization": f"Bearer {token}"}

    async def post(
        self, client: httpx.AsyncClient, inbox: dict[str, str], body: bytes, event: str = "up"
    ) -> httpx.Response:
        return await client.post(f"/api/v1/notified/lora?event={event}", content=body, headers=inbox)

    @pytest.mark.parametrize(
        ("server", "path", "codec", "field"),
        [
            ("things-stack", "Milesight/EM500-UDL/ThingsStackCommunity", "milesight/EM500-UDL", "distance"),
            ("chirpstack", "Milesight/EM500-UDL/ChirpStack", "milesight/EM500-UDL", "distance"),
            ("loriot", "Milesight/EM500-UDL/LORIOT", "milesight/EM500-UDL", "distance"),
            ("thingpark", "Decentlab/DL-MBX/ThingPark", "decentlab/DL-MBX", "distance"),
        ],
    )
    async def test_uplink_is_the_message_of_the_device_it_names(
        self, client: httpx.AsyncClient, inbox: dict[str, str], server: str, path: str, codec: str, field: str
    ) -> None:
        body = min((UPLINKS / path / "uplink").glob("payload*.json")).read_bytes()
        uplink = uplink_of(orjson.loads(body))
        assert uplink is not None and uplink.server == server
        refused = await self.post(client, inbox, body)
        assert (refused.status_code, refused.json()["reason"]) == (202, "unknown_device")

        mapping = {"field": field, "attribute": "waterLevel", "unitCode": "MTR"}
        profile = {"name": server, "codec": codec, "address": uplink.names[-1]}
        await register(client, attributes=[mapping], format=profile, newPassword=True)
        assert (await client.post("/api/v1/quarantine/replay")).json() == {"stored": 1, "stillHeld": 0}
        assert (await self.post(client, inbox, body)).status_code == 204
        assert (await entity(client))["waterLevel"]["unitCode"] == "MTR"

    async def test_other_events_are_passed_over(self, client: httpx.AsyncClient, inbox: dict[str, str]) -> None:
        for body, event in [
            (b'{"deviceInfo": {"devEui": "24e1"}, "margin": 3}', "status"),
            (b'{"end_device_ids": {"device_id": "x"}, "join_accept": {}}', "up"),
            (b'{"cmd": "txd", "EUI": "24E1"}', "up"),
            (b'{"DevEUI_location": {"DevEUI": "24E1"}}', "up"),
        ]:
            assert (await self.post(client, inbox, body, event)).status_code == 204
        assert (await client.get("/api/v1/quarantine")).json()["messages"] == []

# SPDX-License-Identifier: Apache-2.0
"""The device registry by its API: models, many at once, credentials, maintenance, replacement, Device entities."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from api.hub import Hub
from broker.devices.maintenance import in_maintenance
from broker.times import to_text
from context_store.database import SESSION_OPTIONS
from context_store.devices.directory import CachedDeviceDirectory
from context_store.migrate import migrate
from support.hub import client_for, hub_for

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

ENTITY = "urn:ngsi-ld:WaterObserved:gauge"
LEVEL = {"field": "level", "attribute": "waterLevel", "unitCode": "MTR"}
DEVICE: dict[str, Any] = {"entityId": ENTITY, "entityType": "WaterObserved", "attributes": [LEVEL]}
DISTANCE: dict[str, Any] = {"entityId": ENTITY, "model": "ultrasonic-distance-json", "reference": 4.2}
NAMES = {"Link": '<urn:ngsi-ld:jsonldContext:minamo-v1>; rel="http://www.w3.org/ns/json-ld#context"'}
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)
OLD = """
    insert into device (tenant_id, device_id, key, name, entity_id, entity_types, attributes, expected_interval,
                        password_hash, created_at, modified_at)
    values (1, 'old', 'old', 'Old', 'urn:x:1', '{urn:T}', '[{"field": "level", "attribute": "urn:level"}]',
            interval '10 minutes', '$7$1$YQ==$YQ==', now(), now())
"""


async def put(client: httpx.AsyncClient, device_id: str = "gauge", **members: Any) -> dict[str, Any]:
    response = await client.put(f"/api/v1/devices/{device_id}", json={**DEVICE, **members})
    assert response.status_code in (200, 201), response.text
    found: dict[str, Any] = response.json()
    return found


async def get(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    response = await client.get(path, headers=NAMES)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def send(client: httpx.AsyncClient, key: str, password: str, moment: datetime, **values: Any) -> httpx.Response:
    body = {"time": to_text(moment), **values}
    return await client.post(f"/api/v1/readings/{key}", json=body, auth=(key, password))


async def level(client: httpx.AsyncClient) -> Any:
    return (await get(client, f"/ngsi-ld/v1/entities/{ENTITY}"))["waterLevel"]["value"]


class TestModels:
    async def test_device_of_a_built_in_model_needs_little(self, client: httpx.AsyncClient) -> None:
        response = await client.put("/api/v1/devices/gauge", json=DISTANCE)
        assert response.status_code == 201
        password = response.json()["mqtt"]["password"]
        assert (await send(client, "gauge", password, NOW, distance=1200)).status_code == 200
        assert await level(client) == pytest.approx(3.0)

    async def test_change_of_a_model_reaches_its_devices(self, client: httpx.AsyncClient) -> None:
        model = {"name": "Gauge", "entityType": "WaterObserved", "attributes": [{**LEVEL, "factor": 0.01}]}
        assert (await client.put("/api/v1/device-models/own", json=model)).status_code == 201
        await client.put("/api/v1/devices/gauge", json={"entityId": ENTITY, "model": "own"})
        model["attributes"] = [{**LEVEL, "factor": 0.001}]
        answer = await client.put("/api/v1/device-models/own", json=model)
        assert (answer.status_code, answer.json()["devices"]) == (200, 1)
        found = await get(client, "/api/v1/devices/gauge")
        assert found["effective"]["attributes"][0]["factor"] == 0.001
        assert "attributes" not in found

    async def test_change_that_a_device_cannot_follow_is_refused_whole(self, client: httpx.AsyncClient) -> None:
        model: dict[str, Any] = {"entityType": "WaterObserved", "attributes": [LEVEL]}
        await client.put("/api/v1/device-models/own", json=model)
        await client.put("/api/v1/devices/gauge", json={"entityId": ENTITY, "model": "own"})
        model["attributes"] = [{**LEVEL, "measures": "distanceDown"}]
        answer = await client.put("/api/v1/device-models/own", json=model)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("Device gauge cannot be with this model: device.attributes[0].ref")
        assert "measures" not in (await get(client, "/api/v1/device-models/own"))["attributes"][0]

    async def test_model_with_devices_stays(self, client: httpx.AsyncClient) -> None:
        model: dict[str, Any] = {"entityType": "WaterObserved", "attributes": [LEVEL]}
        await client.put("/api/v1/device-models/own", json=model)
        await client.put("/api/v1/devices/gauge", json={"entityId": ENTITY, "model": "own"})
        assert (await client.delete("/api/v1/device-models/own")).status_code == 409
        await client.delete("/api/v1/devices/gauge")
        assert (await client.delete("/api/v1/device-models/own")).status_code == 204
        assert (await client.get("/api/v1/device-models/own")).status_code == 404

    async def test_model_that_there_is_not_is_refused(self, client: httpx.AsyncClient) -> None:
        response = await client.put("/api/v1/devices/gauge", json={"entityId": ENTITY, "model": "nope"})
        assert (response.status_code, response.json()["detail"]) == (
            400,
            "device.model is 'nope'; there is no such model",
        )

    async def test_models_are_those_of_the_tenant(self, client: httpx.AsyncClient) -> None:
        model: dict[str, Any] = {"entityType": "WaterObserved", "attributes": [LEVEL]}
        await client.post("/ngsi-ld/v1/entities", json={"id": "urn:x:1", "type": "X"}, headers={"NGSILD-Tenant": "b"})
        await client.put("/api/v1/device-models/own", json=model)
        response = await client.get("/api/v1/device-models/own", headers={"NGSILD-Tenant": "b"})
        assert response.status_code == 404


class TestList:
    async def test_pages_follow_each_other(self, client: httpx.AsyncClient) -> None:
        for number in range(5):
            await put(client, f"g{number}")
        first = await get(client, "/api/v1/devices?limit=3")
        second = await get(client, f"/api/v1/devices?limit=3&after={first['next']}")
        ids = [device["id"] for device in (*first["devices"], *second["devices"])]
        assert (ids, second["next"]) == ([f"g{n}" for n in range(5)], None)

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("text=ABC-7", ["a"]),
            ("owner=%E6%B2%B3%E5%B7%9D%E8%AA%B2", ["a"]),
            ("model=ultrasonic-distance-json", ["b"]),
            ("entityId=urn:x:1", ["a"]),
            ("text=nothing", []),
        ],
    )
    async def test_devices_are_found(self, client: httpx.AsyncClient, query: str, found: list[str]) -> None:
        await put(client, "a", serialNumber="abc-77", owner="河川課", entityId="urn:x:1")
        await client.put("/api/v1/devices/b", json=DISTANCE)
        assert [device["id"] for device in (await get(client, f"/api/v1/devices?{query}"))["devices"]] == found


async def test_late_reading_is_read_with_the_reference_of_its_time(client: httpx.AsyncClient) -> None:
    earlier = [{"until": to_text(NOW - 10 * MINUTE), "reference": 4.2}]
    own = [{"field": "distance", "reference": 5.0, "earlierReferences": earlier}]
    response = await client.put("/api/v1/devices/gauge", json={**DISTANCE, "attributes": own})
    password = response.json()["mqtt"]["password"]
    for minutes in (0, 20):
        assert (await send(client, "gauge", password, NOW - minutes * MINUTE, distance=1000)).status_code == 200
    query = f"timerel=after&timeAt={to_text(NOW - 60 * MINUTE)}&options=temporalValues"
    found = await get(client, f"/ngsi-ld/v1/temporal/entities/{ENTITY}?{query}")
    levels = {moment: value for value, moment in found["waterLevel"]["values"]}
    assert levels == {to_text(NOW): pytest.approx(4.0), to_text(NOW - 20 * MINUTE): pytest.approx(3.2)}


class TestManyAtOnce:
    CSV = (
        "id,name,model,entityId,reference,longitude,latitude\r\n"
        "g1,巴川,ultrasonic-distance-json,urn:x:1,4.2,138.4,34.9\r\n"
        "g2,,ultrasonic-distance-json,urn:x:2,,,\r\n"
        "g3,,level-gauge-json,urn:x:3,,138.4,\r\n"
        "g4,,level-gauge-json,urn:x:4,,,\r\n"
    )

    async def post(self, client: httpx.AsyncClient, text: str, query: str = "") -> dict[str, Any]:
        response = await client.post(
            f"/api/v1/devices.csv{query}", content=text.encode(), headers={"Content-Type": "text/csv"}
        )
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def test_each_line_has_its_result(self, client: httpx.AsyncClient) -> None:
        found = await self.post(client, self.CSV)
        assert [(r["number"], r["id"], r["status"], r.get("detail")) for r in found["results"]] == [
            (2, "g1", "created", None),
            (3, "g2", "refused", "device.attributes[0].reference is missing; distanceDown is measured from it"),
            (4, None, "refused", "longitude and latitude belong together"),
            (5, "g4", "created", None),
        ]
        assert (found["created"], found["refused"]) == (2, 2)
        assert found["results"][0]["mqtt"]["topic"] == "minamo/v1/g1/readings"

    async def test_trial_changes_nothing_and_tells_no_password(self, client: httpx.AsyncClient) -> None:
        found = await self.post(client, self.CSV, "?dryRun=true")
        assert (found["created"], "mqtt" in found["results"][0]) == (2, False)
        assert (await get(client, "/api/v1/devices"))["devices"] == []

    async def test_export_can_be_taken_back(self, client: httpx.AsyncClient) -> None:
        await self.post(client, self.CSV)
        before = await get(client, "/api/v1/devices/g1")
        text = (await client.get("/api/v1/devices.csv")).content.decode("utf-8-sig")
        await client.delete("/api/v1/devices/g1")
        found = await self.post(client, text)
        assert [(r["id"], r["status"]) for r in found["results"]] == [("g1", "created"), ("g4", "changed")]
        after = await get(client, "/api/v1/devices/g1")
        told = ("createdAt", "modifiedAt", "credential")
        assert [{k: v for k, v in d.items() if k not in told} for d in (before, after)] == [
            {k: v for k, v in before.items() if k not in told}
        ] * 2

    async def test_one_whose_key_is_taken_keeps_no_other_back(self, client: httpx.AsyncClient) -> None:
        await put(client, "a", key="taken")
        devices = [{**DEVICE, "id": "b"}, {**DEVICE, "id": "c", "key": "taken"}, {**DEVICE, "id": "d"}, 5]
        found = (await client.post("/api/v1/devices", json={"devices": devices})).json()
        assert [r["status"] for r in found["results"]] == ["created", "refused", "created", "refused"]
        assert found["results"][1]["detail"] == "The key or the address of a device is already that of another one"


class TestCredential:
    async def test_new_password_ends_the_old_one(self, client: httpx.AsyncClient) -> None:
        old = (await put(client))["mqtt"]["password"]
        response = await client.put("/api/v1/devices/gauge/credential")
        new = response.json()["mqtt"]["password"]
        found = [(await send(client, "gauge", password, NOW, level=1)).status_code for password in (old, new)]
        assert (response.status_code, found) == (201, [401, 200])

    async def test_revoked_device_gets_no_password_by_a_change(self, client: httpx.AsyncClient) -> None:
        password = (await put(client))["mqtt"]["password"]
        assert (await client.delete("/api/v1/devices/gauge/credential")).status_code == 204
        assert (await send(client, "gauge", password, NOW, level=1)).status_code == 401
        changed = await put(client, notes="stolen")
        assert ("mqtt" in changed, changed["credential"]["state"]) == (False, "revoked")
        again = await put(client, newPassword=True)
        assert (await send(client, "gauge", again["mqtt"]["password"], NOW, level=1)).status_code == 200

    async def test_device_without_a_login_of_its_own_needs_none(self, client: httpx.AsyncClient) -> None:
        found = await put(client, newPassword=False)
        assert ("mqtt" in found, found["credential"]["state"]) == (False, "none")

    async def test_no_password_is_ever_shown_again(self, client: httpx.AsyncClient) -> None:
        password = (await put(client))["mqtt"]["password"]
        for path in ("devices", "devices/gauge", "devices.csv"):
            text = (await client.get(f"/api/v1/{path}")).text
            assert password not in text
            assert "$7$" not in text

    @pytest.mark.parametrize(
        ("device_id", "address"), [("weather7", "apikey/gauge"), ("weather7", "gauge"), ("weather7", "x/gauge")]
    )
    async def test_nobody_is_called_as_another_device_is(
        self, client: httpx.AsyncClient, device_id: str, address: str
    ) -> None:
        await put(client)
        other = {**DEVICE, "format": {"name": "ultralight", "address": address}}
        response = await client.put(f"/api/v1/devices/{device_id}", json=other)
        assert response.status_code == 409
        assert response.json()["detail"] == (
            "The address of the device weather7 ends with the key of another one, gauge"
        )


class TestMaintenance:
    async def test_window_is_announced_changed_and_taken_back(self, client: httpx.AsyncClient) -> None:
        await put(client)
        path = "/api/v1/devices/gauge/maintenance"
        window = (await client.post(path, json={"reason": "清掃", "from": "2026-12-01T09:00:00+09:00"})).json()
        assert (window["from"], window["until"]) == ("2026-12-01T00:00:00Z", None)
        changed = await client.patch(f"{path}/{window['id']}", json={"until": "2026-12-01T10:00:00+09:00"})
        assert changed.json() == {**window, "until": "2026-12-01T01:00:00Z"}
        assert (await get(client, path))["windows"] == [changed.json()]
        assert (await client.delete(f"{path}/{window['id']}")).status_code == 204
        assert (await client.delete(f"{path}/{window['id']}")).status_code == 404

    async def test_device_in_maintenance_shows_it(self, client: httpx.AsyncClient) -> None:
        await put(client)
        await client.post("/api/v1/devices/gauge/maintenance", json={"reason": "battery"})
        status = (await get(client, "/api/v1/devices/gauge"))["status"]
        assert (status["state"], status["maintenance"]["reason"]) == ("maintenance", "battery")

    async def test_other_processes_learn_of_it_with_the_device(self, hub: Hub, client: httpx.AsyncClient) -> None:
        await put(client)
        directory = CachedDeviceDirectory(hub.database)
        await directory.refresh()
        window = {"reason": "battery", "from": to_text(NOW), "until": to_text(NOW + MINUTE)}
        await client.post("/api/v1/devices/gauge/maintenance", json=window)
        await put(client, name="changed")
        assert await directory.refresh()
        device = directory.find("gauge")
        assert device is not None
        assert [bool(in_maintenance(device, NOW + n * MINUTE)) for n in (-1, 0, 1)] == [False, True, False]


class TestReplacement:
    async def replaced(self, client: httpx.AsyncClient, **members: Any) -> tuple[str, str]:
        """Passwords of the old and the new device; the new one serves from now on."""
        response = await client.put("/api/v1/devices/old", json={**DISTANCE, "serialNumber": "A-1", "owner": "河川課"})
        old = response.json()["mqtt"]["password"]
        assert (await send(client, "old", old, NOW - 10 * MINUTE, distance=2000)).status_code == 200
        body = {"id": "new", "serialNumber": "B-2", "at": to_text(NOW - 5 * MINUTE), **members}
        response = await client.post("/api/v1/devices/old/replacement", json=body)
        assert response.status_code == 201, response.text
        return old, response.json()["mqtt"]["password"]

    async def test_series_of_the_station_goes_on(self, client: httpx.AsyncClient) -> None:
        _, password = await self.replaced(client, reference=5.0)
        assert (await send(client, "new", password, NOW, distance=2000)).status_code == 200
        query = f"timerel=after&timeAt={to_text(NOW - 60 * MINUTE)}&options=temporalValues"
        found = await get(client, f"/ngsi-ld/v1/temporal/entities/{ENTITY}?{query}")
        assert sorted(value for value, _ in found["waterLevel"]["values"]) == pytest.approx([2.2, 3.0])

    async def test_new_reference_takes_the_place_of_that_of_the_old_mapping(self, client: httpx.AsyncClient) -> None:
        mapping = {
            "field": "mm",
            "attribute": "waterLevel",
            "unit": "MMT",
            "unitCode": "MTR",
            "measures": "distanceDown",
        }
        before = [{"until": to_text(NOW - 60 * MINUTE), "reference": 9.0}]
        old = {"entityId": ENTITY, "entityType": "WaterObserved"}
        attributes = [{**mapping, "reference": 4.2, "earlierReferences": before}]
        assert (await client.put("/api/v1/devices/old", json={**old, "attributes": attributes})).status_code == 201
        body = {"id": "new", "reference": 5.0, "at": to_text(NOW - MINUTE)}
        response = await client.post("/api/v1/devices/old/replacement", json=body)
        assert response.status_code == 201, response.text
        password = response.json()["mqtt"]["password"]
        assert (await send(client, "new", password, NOW, mm=2000)).status_code == 200
        found = await get(client, f"/ngsi-ld/v1/entities/{ENTITY}?options=keyValues")
        assert found["waterLevel"] == pytest.approx(3.0)

    async def test_new_device_is_as_the_old_one_was(self, client: httpx.AsyncClient) -> None:
        await self.replaced(client)
        old, new = [await get(client, f"/api/v1/devices/{device_id}") for device_id in ("old", "new")]
        assert (new["entityId"], new["owner"], new["reference"], new["serialNumber"]) == (ENTITY, "河川課", 4.2, "B-2")
        assert (old["status"]["state"], old["service"]["replacedBy"]) == ("retired", "new")
        assert (new["service"]["replaces"], old["service"]["until"]) == ("old", new["service"]["from"])

    async def test_old_device_cannot_send_any_more(self, client: httpx.AsyncClient) -> None:
        old, _ = await self.replaced(client)
        assert (await send(client, "old", old, NOW, distance=2000)).status_code == 401
        assert (await client.put("/api/v1/devices/old/credential")).status_code == 409

    async def test_what_the_new_one_measured_before_is_not_the_stations(self, client: httpx.AsyncClient) -> None:
        _, password = await self.replaced(client)
        response = await send(client, "new", password, NOW - 6 * MINUTE, distance=100)
        assert (response.status_code, response.json()["reason"]) == (202, "not_in_service")

    async def test_station_is_shown_once(self, client: httpx.AsyncClient) -> None:
        await self.replaced(client)
        stations = (await get(client, "/api/v1/stations"))["stations"]
        assert [station["deviceId"] for station in stations] == ["new"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({}, 400),
            ({"id": "gauge"}, 400),
            ({"id": "n", "entityId": "urn:x:2"}, 400),
            ({"id": "n", "at": "now"}, 400),
            ({"id": "other"}, 409),
        ],
    )
    async def test_what_is_no_replacement_is_refused(
        self, client: httpx.AsyncClient, body: dict[str, Any], status: int
    ) -> None:
        await put(client)
        await put(client, "other")
        assert (await client.post("/api/v1/devices/gauge/replacement", json=body)).status_code == status


class TestDeviceEntity:
    PATH = "/ngsi-ld/v1/entities/urn:ngsi-ld:Device:gauge"

    async def test_registered_device_is_an_entity(self, client: httpx.AsyncClient) -> None:
        await put(client, name="巴川", serialNumber="A-1", location=[138.4, 34.9])
        found = await get(client, self.PATH)
        assert (found["type"], found["serialNumber"]["value"]) == ("Device", "A-1")
        assert (found["controlledAsset"]["object"], found["controlledProperty"]["value"]) == (ENTITY, ["waterLevel"])
        assert found["location"]["value"]["coordinates"] == [138.4, 34.9]

    async def test_change_of_the_registration_changes_the_entity(self, client: httpx.AsyncClient) -> None:
        await put(client, serialNumber="A-1")
        await put(client, serialNumber="A-2")
        assert (await get(client, self.PATH))["serialNumber"]["value"] == "A-2"

    async def test_message_tells_that_the_device_is_there_and_how_it_is(self, client: httpx.AsyncClient) -> None:
        password = (await put(client))["mqtt"]["password"]
        await send(client, "gauge", password, NOW - MINUTE, level=1, batteryLevel=0.8)
        found = await get(client, self.PATH)
        seen = datetime.fromisoformat(found["dateLastValueReported"]["value"]["@value"])
        assert abs((seen - datetime.now(UTC)).total_seconds()) < 30
        assert (found["deviceState"]["value"], found["batteryLevel"]["value"]) == ("ok", 0.8)
        status = (await get(client, "/api/v1/devices/gauge"))["status"]
        assert (status["state"], status["batteryLevel"]) == ("ok", 0.8)
        assert datetime.fromisoformat(status["lastSeenAt"]) == seen

    async def test_when_it_was_last_seen_is_not_history(self, client: httpx.AsyncClient) -> None:
        password = (await put(client))["mqtt"]["password"]
        await send(client, "gauge", password, NOW, level=1)
        query = "timerel=after&timeAt=2020-01-01T00:00:00Z"
        found = await get(client, f"/ngsi-ld/v1/temporal/entities/urn:ngsi-ld:Device:gauge?{query}")
        assert ("deviceState" in found, "dateLastValueReported" in found) == (True, False)


class TestDirectory:
    async def test_it_takes_in_what_changed(self, hub: Hub, client: httpx.AsyncClient) -> None:
        directory = CachedDeviceDirectory(hub.database)
        await put(client, "a", format={"name": "ultralight", "address": "key/x"})
        await put(client, "b")
        await directory.refresh()
        kept = directory.find("b")
        await put(client, "a", format={"name": "ultralight", "address": "key/y"}, key="renamed")
        assert await directory.refresh()
        assert not await directory.refresh()
        assert [directory.find(name) is not None for name in ("a", "renamed", "key/x", "key/y")] == [
            False, True, False, True,
        ]  # fmt: skip
        assert directory.find("b") is kept

    async def test_it_forgets_what_was_removed(self, hub: Hub, client: httpx.AsyncClient) -> None:
        directory = CachedDeviceDirectory(hub.database)
        await put(client, "a")
        await directory.refresh()
        await client.delete("/api/v1/devices/a")
        await directory.refresh()
        assert directory.find("a") is None
        await put(client, "a")
        await directory.refresh()
        assert directory.find("a") is not None


async def test_device_that_was_there_before_keeps_its_registration(empty_database_url: str) -> None:
    await asyncio.to_thread(migrate, empty_database_url, "0022")
    with psycopg.connect(empty_database_url, options=SESSION_OPTIONS) as connection:
        connection.execute("select set_config('minamo.tenant', '0', false)")
        connection.execute(OLD)
        connection.commit()
    await asyncio.to_thread(migrate, empty_database_url)
    async with hub_for(empty_database_url) as hub, client_for(hub) as client:
        found = await get(client, "/api/v1/devices/old")
        assert (found["expectedInterval"], found["credential"]["state"]) == (600, "active")
        changed = await client.put("/api/v1/devices/old", json={**found, "owner": "河川課"})
        assert (changed.status_code, changed.json()["expectedInterval"]) == (200, 600)

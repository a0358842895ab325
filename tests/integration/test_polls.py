# SPDX-License-Identifier: Apache-2.0
"""Documents of cities, fetched over HTTP on a schedule, become readings of devices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from cryptography.fernet import Fernet

from api.hub import Hub
from api.workers.polls import PollWorker
from broker.times import parse_time
from context_store.database import ALL_TENANTS
from context_store.resealing import reseal
from support.hub import client_for, hub_for
from support.receiver import Received, Receiver

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

SHIZUOKA = (Path(__file__).parents[1] / "data/city_sensors/shizuoka_city_underpass.json").read_bytes()
SIMPLE = {"Link": '<urn:ngsi-ld:jsonldContext:minamo-v1>; rel="http://www.w3.org/ns/json-ld#context"'}
MODEL = {
    "name": "Underpass of a city",
    "entityType": "WaterObserved",
    "attributes": [
        {"field": "WaterLevel", "attribute": "waterLevel", "unit": "CMT", "unitCode": "MTR"},
        {"field": "AlertMode", "attribute": "alertMode"},
    ],
    "format": {"name": "json", "timeField": "UpdateDate", "timeZone": "Asia/Tokyo", "sentinels": [255, "nan"]},
}
FORMAT = {"records": "Data", "station": "ObserverPointCd"}


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url, poll_min_interval_s=1, poll_timeout_s=20, poll_max_bytes=10_000) as opened:
        yield opened


class City:
    """A city's server: a document with an ETag that it knows again."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.body = SHIZUOKA
        self.etag = '"1"'
        receiver.reply = self._reply

    def _reply(self, request: Received) -> tuple[int, bytes]:
        self.receiver.headers = {"ETag": self.etag}
        return (304, b"") if request.headers.get("if-none-match") == self.etag else (200, self.body)

    def change(self, old: str, new: str) -> None:
        self.body = self.body.decode().replace(old, new).encode()
        self.etag = f'"{len(self.receiver.received) + 1}"'


@pytest.fixture
def city(receiver: Receiver) -> City:
    return City(receiver)


async def put(client: httpx.AsyncClient, path: str, **members: Any) -> dict[str, Any]:
    response = await client.put(f"/api/v1/{path}", json=members)
    assert response.status_code in (200, 201), response.text
    found: dict[str, Any] = response.json()
    return found


async def underpasses(client: httpx.AsyncClient, *numbers: int) -> None:
    await put(client, "device-models/underpass", **MODEL)
    for number in numbers:
        members = {"model": "underpass", "newPassword": False, "format": {"address": f"shizuoka:{number}"}}
        await put(client, f"devices/u{number}", entityId=f"urn:ngsi-ld:WaterObserved:u{number}", **members)


async def run(client: httpx.AsyncClient, poll: str = "shizuoka") -> dict[str, Any]:
    response = await client.post(f"/api/v1/polls/{poll}/run")
    assert response.status_code == 200, response.text
    state: dict[str, Any] = response.json()["state"]
    return state


async def level(client: httpx.AsyncClient, number: int) -> dict[str, Any]:
    response = await client.get(f"/ngsi-ld/v1/entities/urn:ngsi-ld:WaterObserved:u{number}", headers=SIMPLE)
    found: dict[str, Any] = response.json().get("waterLevel", {})
    return found


async def test_document_becomes_readings_and_is_fetched_again_only_when_it_changes(
    client: httpx.AsyncClient, city: City
) -> None:
    await underpasses(client, 50, 51)
    shown = await put(
        client, "polls/shizuoka", url=f"{city.receiver.url}/a.json", format=FORMAT, headers={"X-Key": "s"}
    )
    assert shown["headers"] == {"X-Key": "***"}

    state = await run(client)
    assert (state["outcome"], state["records"], state["stored"]) == ("taken", 3, 2)
    assert await level(client, 51) | {"quality": None} == {
        "type": "Property",
        "value": -1.57,
        "unitCode": "MTR",
        "observedAt": "2026-09-21T00:45:00Z",
        "quality": None,
    }
    assert state["unregistered"] == [{"station": "52", "address": "shizuoka:52"}]
    assert city.receiver.received[0].headers["x-key"] == "s"

    assert (await run(client))["outcome"] == "unchanged"

    city.change("2026-09-21 09:45:00", "2026-09-21 24:00:00")
    state = await run(client)
    assert (state["stored"], (await level(client, 50))["observedAt"]) == (2, "2026-09-21T15:00:00Z")


async def test_station_that_is_registered_later_is_taken_although_nothing_changed(
    client: httpx.AsyncClient, city: City
) -> None:
    await underpasses(client, 50)
    await put(client, "polls/shizuoka", url=city.receiver.url, format=FORMAT)
    await run(client)
    await underpasses(client, 52)
    state = await run(client)
    assert (state["outcome"], state["unchanged"], state["stored"]) == ("taken", 1, 1)
    assert (await level(client, 52))["value"] == -0.3


async def test_unchanged_stations_of_a_changed_document_are_passed_over(client: httpx.AsyncClient, city: City) -> None:
    await underpasses(client, 50, 51, 52)
    await put(client, "polls/shizuoka", url=city.receiver.url, format=FORMAT)
    await run(client)
    city.change("-173", "-170")
    state = await run(client)
    assert (state["unchanged"], state["stored"]) == (2, 1)


async def test_fault_that_stays_is_quarantined_once(client: httpx.AsyncClient, city: City) -> None:
    await underpasses(client, 50)
    city.change("-173", '"broken"')
    await put(
        client,
        "device-models/underpass",
        **{**MODEL, "attributes": [{**MODEL["attributes"][0], "minimum": -5}]},  # type: ignore[index]
    )
    await put(client, "polls/shizuoka", url=city.receiver.url, format=FORMAT)
    assert (await run(client))["quarantined"] == 1
    city.etag = '"other"'
    assert (await run(client))["quarantined"] == 0
    (message,) = (await client.get("/api/v1/quarantine")).json()["messages"]
    assert (message["reason"], orjson.loads(message["payloadText"])["ObserverPointCd"]) == ("wrong_type", 50)


async def test_records_without_a_time_are_of_the_moment_they_are_read_at(client: httpx.AsyncClient, city: City) -> None:
    city.body = b'{"data": [{"road_cd": "a", "kansuisu": 1}]}'
    mapping = {"field": "kansuisu", "attribute": "floodLevel"}
    members = {"entityType": "WaterObserved", "attributes": [mapping], "newPassword": False}
    await put(client, "devices/a", entityId="urn:x:a", format={"name": "json", "address": "kakegawa:a"}, **members)
    await put(client, "polls/kakegawa", url=city.receiver.url, format={"records": "data", "station": "road_cd"})
    before = datetime.now(UTC)
    assert (await run(client, "kakegawa"))["stored"] == 1
    assert (await run(client, "kakegawa"))["stored"] == 1
    found = (await client.get("/ngsi-ld/v1/entities/urn:x:a", headers=SIMPLE)).json()
    (told,) = (value for value in found.values() if isinstance(value, dict) and value.get("value") == 1)
    assert parse_time(told["observedAt"]) >= before


async def test_failures_are_shown_and_tried_again_later_and_later(client: httpx.AsyncClient, city: City) -> None:
    await put(client, "polls/shizuoka", url=city.receiver.url, interval=600, format=FORMAT)
    city.receiver.reply = lambda _: (503, b"")
    assert (await run(client))["error"] == "the server answers with HTTP 503"
    await run(client)
    city.receiver.reply = lambda _: (200, b"<html>sorry</html>")
    poll = (await client.post("/api/v1/polls/shizuoka/run")).json()
    assert (poll["state"]["failures"], poll["state"]["excerpt"]) == (3, "<html>sorry</html>")
    assert "not JSON" in poll["state"]["error"]
    assert parse_time(poll["nextDueAt"]) - datetime.now(UTC) > timedelta(minutes=30)
    city.receiver.reply = lambda _: (200, b'{"Data": []}')
    poll = (await client.post("/api/v1/polls/shizuoka/run")).json()
    assert ("error" in poll["state"], poll["state"]["failures"]) == (False, 0)


@pytest.mark.parametrize(
    ("answer", "headers", "says"),
    [
        ((200, b"x" * 20_000), {}, "the document is larger than 10000 bytes"),
        ((302, b""), {"Location": "http://10.1.2.3/"}, "an address of a private network"),
        ((302, b""), {"Location": "/again"}, "there are more than 3 redirects"),
        ((302, b""), {"Location": "file:///etc/passwd"}, "is not an absolute http or https URL"),
    ],
)
async def test_what_must_not_be_fetched_is_not(
    client: httpx.AsyncClient, city: City, answer: tuple[int, bytes], headers: dict[str, str], says: str
) -> None:
    city.receiver.reply = lambda _: answer
    city.receiver.headers = headers
    await put(client, "polls/shizuoka", url=city.receiver.url, format=FORMAT)
    assert says in (await run(client))["error"]


async def test_a_server_that_does_not_end_is_left(database_url: str, city: City) -> None:
    city.receiver.delay_s = 2.5
    async with hub_for(database_url, poll_timeout_s=1) as hub, client_for(hub) as client:
        await put(client, "polls/shizuoka", url=city.receiver.url, format=FORMAT)
        assert (await run(client))["error"] == "no answer within 1 s"


async def test_secret_headers_do_not_follow_to_another_origin(
    client: httpx.AsyncClient, city: City, receiver: Receiver
) -> None:
    async with Receiver() as other:
        other.reply = lambda _: (200, b'{"Data": []}')
        receiver.reply = lambda _: (302, b"")
        receiver.headers = {"Location": other.url}
        await put(client, "polls/shizuoka", url=receiver.url, format=FORMAT, headers={"X-Key": "s"})
        assert (await run(client))["outcome"] == "taken"
        assert ("x-key" in receiver.received[0].headers, "x-key" in other.received[0].headers) == (True, False)


async def test_several_workers_fetch_what_is_due_once_and_nothing_that_is_paused(
    hub: Hub, client: httpx.AsyncClient, city: City
) -> None:
    city.receiver.delay_s = 0.2
    await put(client, "polls/shizuoka", url=city.receiver.url, format=FORMAT)
    await put(client, "polls/resting", url=f"{city.receiver.url}/resting", format=FORMAT)
    assert (await client.post("/api/v1/polls/resting/pause")).json()["nextDueAt"] is None
    workers = [PollWorker(hub), PollWorker(hub)]
    await asyncio.gather(*(worker.tick() for worker in workers))
    assert (await client.post("/api/v1/polls/shizuoka/run")).status_code == 409
    await asyncio.gather(*(worker.settle() for worker in workers))
    await asyncio.gather(*(worker.tick() for worker in workers))
    assert [request.path for request in city.receiver.received] == ["/"]
    poll = (await client.get("/api/v1/polls/shizuoka")).json()
    assert poll["state"]["outcome"] == "taken"


async def test_lease_of_a_worker_that_died_ends(hub: Hub, client: httpx.AsyncClient, city: City) -> None:
    await put(client, "polls/shizuoka", url=city.receiver.url, format=FORMAT)
    city.receiver.delay_s = 2.5
    worker = PollWorker(hub)
    await worker.tick()
    await worker.stop()
    city.receiver.delay_s = 0
    assert (await client.post("/api/v1/polls/shizuoka/run")).status_code == 409
    async with hub.database.transaction(ALL_TENANTS) as connection:
        await connection.execute("update poll set lease_until = now() - interval '1 s'")
    heir = PollWorker(hub)
    await heir.tick()
    await heir.settle()
    assert (await client.get("/api/v1/polls/shizuoka")).json()["state"]["outcome"] == "taken"


async def test_poll_of_one_tenant_feeds_no_device_of_another(client: httpx.AsyncClient, city: City) -> None:
    await underpasses(client, 50)
    client.headers["NGSILD-Tenant"] = "mitaka"
    response = await client.post("/ngsi-ld/v1/entities", json={"id": "urn:x:1", "type": "T"})
    assert response.status_code == 201
    members = {"model": "underpass", "newPassword": False, "format": {"address": "mitaka.shizuoka:51"}}
    await put(client, "device-models/underpass", **MODEL)
    await put(client, "devices/u51", entityId="urn:ngsi-ld:WaterObserved:u51", **members)
    await put(client, "polls/shizuoka", url=city.receiver.url, format=FORMAT)
    state = await run(client)
    assert (state["stored"], state["unregisteredCount"]) == (1, 2)
    assert (await client.get("/api/v1/polls")).json()["polls"][0]["id"] == "shizuoka"
    del client.headers["NGSILD-Tenant"]
    assert (await client.get("/api/v1/polls")).json() == {"polls": []}
    assert await level(client, 50) == {}


async def test_preview_shows_records_and_stores_nothing(client: httpx.AsyncClient, city: City) -> None:
    await underpasses(client, 50)
    response = await client.post("/api/v1/polls/shizuoka/preview", json={"url": city.receiver.url, "format": FORMAT})
    found = response.json()
    assert (found["records"], found["stations"], found["conditional"]) == (3, 3, True)
    assert [entry["device"] for entry in found["first"]] == ["u50", None, None]
    assert found["first"][2]["record"]["AlertMode"] == "通行止"
    assert await level(client, 50) == {}
    wrong = await client.post(
        "/api/v1/polls/shizuoka/preview", json={"url": city.receiver.url, "format": {"records": "x"}}
    )
    assert (wrong.status_code, "there is nothing at x" in wrong.json()["detail"]) == (400, True)


async def test_headers_are_sealed_in_the_database_and_sent_as_they_are(
    database_url: str, city: City, tmp_path: Path
) -> None:
    keys, new = tmp_path / "keys", Fernet.generate_key().decode()
    keys.write_text(Fernet.generate_key().decode())
    url = f"{city.receiver.url}/a.json"

    async def stored(hub: Hub) -> str:
        async with hub.database.transaction(ALL_TENANTS) as connection:
            row = await (await connection.execute("select headers::text from poll")).fetchone()
        return str(row[0]) if row else ""

    async with hub_for(database_url) as hub, client_for(hub) as client:
        await put(client, "polls/shizuoka", url=url, format=FORMAT, headers={"X-Key": "geheim"})
        assert "geheim" in await stored(hub)  # there is no key yet
    async with hub_for(database_url, secret_keys_file=keys) as hub, client_for(hub) as client:
        async with hub.database.transaction(ALL_TENANTS) as connection:
            assert (await reseal(connection, hub.sealer)).sealed == {"polls": 1}
        assert "geheim" not in await stored(hub)
        assert (await run(client))["outcome"] == "taken"
        assert city.receiver.received[-1].headers["x-key"] == "geheim"
    keys.write_text(new)
    async with hub_for(database_url, secret_keys_file=keys) as hub, client_for(hub) as client:
        state = await run(client)
        assert (state["outcome"], state["error"][:30]) == ("failed", "X-Key is sealed with a key tha")
        kept = await put(client, "polls/shizuoka", url=url, format=FORMAT, headers={"X-Key": "neu"})
        assert kept["headers"] == {"X-Key": "***"}
        assert "neu" not in await stored(hub)


async def test_preview_of_what_is_shown_sends_the_secrets_that_it_hides(client: httpx.AsyncClient, city: City) -> None:
    url = f"{city.receiver.url}/a.json"
    shown = await put(client, "polls/shizuoka", url=url, format=FORMAT, headers={"X-Key": "s"})
    response = await client.post("/api/v1/polls/shizuoka/preview", json=shown)
    assert (response.status_code, city.receiver.received[-1].headers["x-key"]) == (200, "s")


async def test_what_is_shown_can_be_given_back_and_keeps_its_secrets(client: httpx.AsyncClient, city: City) -> None:
    await put(client, "polls/shizuoka", url=city.receiver.url, format=FORMAT, headers={"X-Key": "s"})
    shown = (await client.get("/api/v1/polls/shizuoka")).json()
    await put(client, "polls/shizuoka", **{**shown, "interval": 60})
    await run(client)
    assert city.receiver.received[-1].headers["x-key"] == "s"
    refused = await client.put("/api/v1/polls/shizuoka", json={"url": city.receiver.url, "interval": 0.5})
    assert (refused.status_code, "poll_min_interval_s" in refused.json()["detail"]) == (400, True)


FOLDER = Path(__file__).parents[1] / "data/city_sensors"
LEVEL = {"attribute": "waterLevel", "unitCode": "MTR"}
JST = {"timeZone": "Asia/Tokyo"}
# file, how it falls into stations, station, how its device is registered, what becomes of it: value, time, quality
CITIES: list[tuple[str, dict[str, Any], str, dict[str, Any], Any, str | None, str | None]] = [
    (
        "saitama_latest.json",
        {"station": "place_no"},
        "15",
        {"attributes": [{"field": "wl", **LEVEL}], "format": {"timeField": "dt", **JST}},
        0.15,
        "2026-09-21T01:10:00Z",
        "good",
    ),
    (
        "saitama_latest.json",
        {"station": "place_no"},
        "16",
        {"attributes": [{"field": "wl", **LEVEL}], "format": {"timeField": "dt", "sentinels": ["nan"], **JST}},
        None,
        None,
        None,
    ),
    (
        "shizuoka_city_underpass.json",
        FORMAT,
        "52",
        {"attributes": [{"field": "WaterLevel", "unit": "CMT", **LEVEL}], "format": {"timeField": "UpdateDate", **JST}},
        -0.3,
        "2026-09-21T00:45:00Z",
        "good",
    ),
    (
        "kakegawa_road.json",
        {"records": "data", "station": "road_cd"},
        "1F73A70",
        {"attributes": [{"field": "kansuisu", "attribute": "waterLevel", "sentinels": [255]}], "format": {}},
        1,
        "now",
        "good",
    ),
    (
        "kakegawa_road.json",
        {"records": "data", "station": "road_cd"},
        "1F73A72",
        {"attributes": [{"field": "kansuisu", "attribute": "waterLevel", "sentinels": [255]}], "format": {}},
        None,
        None,
        None,
    ),
    (
        "kakogawa.geojson",
        {"records": "features", "station": "properties.os_place_name"},
        "架空水路",
        {"attributes": [{"field": "properties.os_status", "attribute": "waterLevel"}], "format": {}},
        1,
        "now",
        "good",
    ),
    (
        "chiba_sigfox.json",
        {"records": "sigfox_states", "station": "device_id"},
        "0A1B2D",
        {
            "attributes": [
                {"field": "raw_status1", "attribute": "waterLevel", "words": {"CLOSE": True, "OPEN": False}}
            ],
            "format": {},
        },
        True,
        "now",
        None,
    ),
]


async def test_every_shape_of_a_city_becomes_entities(client: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.reply = lambda request: (200, (FOLDER / request.path.removeprefix("/")).read_bytes())
    for number, (file, format, station, device, *_) in enumerate(CITIES):
        profile = {"name": "json", "address": f"city{number}:{station}", **device["format"]}
        registration = {"entityType": "WaterObserved", **device, "format": profile, "newPassword": False}
        await put(client, f"devices/u{number}", entityId=f"urn:ngsi-ld:WaterObserved:u{number}", **registration)
        await put(client, f"polls/city{number}", url=f"{receiver.url}/{file}", format=format)
        assert (await run(client, f"city{number}"))["stored"] == 1
    before = datetime.now(UTC) - timedelta(minutes=1)
    for number, (*_, value, time, quality) in enumerate(CITIES):
        found = await level(client, number)
        assert found.get("value") == value, number
        if time == "now":
            assert parse_time(found["observedAt"]) > before
        else:
            assert found.get("observedAt") == time, number
        assert quality is None or found["quality"]["value"] == quality, number
    assert (await client.get("/api/v1/quarantine")).json()["messages"] == []


async def test_fault_of_the_hub_itself_is_shown_and_the_lease_given_back(
    hub: Hub, client: httpx.AsyncClient, city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("api.intake.polling.read_records", broken)
    await put(client, "polls/shizuoka", url=city.receiver.url, format=FORMAT)
    assert (await run(client))["error"] == "RuntimeError: a mistake of ours"
    assert (await run(client))["failures"] == 2

# SPDX-License-Identifier: Apache-2.0
"""Notifications of an existing Orion or Orion-LD, in the form in which they send them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from broker.times import to_text
from support.hub import client_for, hub_for

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

ENTITY = "urn:ngsi-ld:WaterObserved:tomoe-01"
SIMPLE = {"Link": '<urn:ngsi-ld:jsonldContext:minamo-v1>; rel="http://www.w3.org/ns/json-ld#context"'}
NOW = datetime.now(UTC).replace(microsecond=0)
T0, T1, T2 = (to_text(NOW - timedelta(minutes=minutes)) for minutes in (20, 10, 0))
# As Orion 3 sends them: its version of a sensor that an IoT Agent feeds.
ORION = {"User-Agent": "orion/3.12.0 libcurl/7.88.1", "Ngsiv2-AttrsFormat": "normalized", "Fiware-Service": "openiot"}


async def add_inbox(client: httpx.AsyncClient, **members: Any) -> dict[str, str]:
    """The headers by which the inbox takes notifications."""
    response = await client.put("/api/v1/inboxes/orion", json=members)
    assert response.status_code == 201, response.text
    assert response.json()["url"].endswith("/api/v1/notified/orion")
    return {"Authorization": f"Bearer {response.json()['token']}", "Content-Type": "application/json"}


def v2(level: Any, time: str = T1, **attributes: Any) -> dict[str, Any]:
    metadata = {"TimeInstant": {"type": "DateTime", "value": time}, "unitCode": {"type": "Text", "value": "MTR"}}
    return {
        "id": ENTITY,
        "type": "WaterObserved",
        "waterLevel": {"type": "Number", "value": level, "metadata": metadata},
        "location": {"type": "geo:point", "value": "35.0, 138.47", "metadata": {}},
        **attributes,
    }


async def notify(client: httpx.AsyncClient, headers: dict[str, str], *entities: Any, **envelope: Any) -> httpx.Response:
    body = {"subscriptionId": "5f4e1a", "data": list(entities), **envelope}
    return await client.post("/api/v1/notified/orion", content=orjson.dumps(body), headers={**ORION, **headers})


async def entity(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/ngsi-ld/v1/entities/{ENTITY}", headers=SIMPLE)).json()
    return found


async def history(client: httpx.AsyncClient) -> list[tuple[float, str]]:
    path = f"/ngsi-ld/v1/temporal/entities/{ENTITY}?attrs=waterLevel&timerel=after&timeAt=2020-01-01T00:00:00Z"
    found = (await client.get(path, headers=SIMPLE)).json()["waterLevel"]
    instances = found if isinstance(found, list) else [found]
    return sorted((item["value"], item["observedAt"]) for item in instances)


async def test_notification_of_orion_is_stored_when_it_is_answered(client: httpx.AsyncClient) -> None:
    headers = await add_inbox(client)
    response = await notify(client, headers, v2(1.25, refDevice={"type": "Text", "value": "D1", "metadata": {}}))
    assert (response.status_code, response.content) == (204, b"")
    found = await entity(client)
    assert found["type"] == "WaterObserved"
    assert (found["waterLevel"]["value"], found["waterLevel"]["observedAt"]) == (1.25, T1)
    assert (found["waterLevel"]["unitCode"], found["waterLevel"]["quality"]["value"]) == ("MTR", "good")
    assert found["location"]["value"] == {"type": "Point", "coordinates": [138.47, 35.0]}
    assert found["refDevice"]["object"] == "urn:ngsi-ld:Device:D1"


async def test_late_and_repeated_notifications_never_become_current(client: httpx.AsyncClient) -> None:
    headers = await add_inbox(client)
    depth = {"type": "Number", "value": 5, "metadata": {"TimeInstant": {"value": T1}, "accuracy": {"value": 0.1}}}
    older = {**depth, "value": 4, "metadata": {**depth["metadata"], "TimeInstant": {"value": T0}}}  # type: ignore[dict-item]
    for level, time, more in ((1.2, T1, depth), (1.1, T0, older), (1.2, T1, depth)):
        assert (await notify(client, headers, v2(level, time, depth=more))).status_code == 204
    found = await entity(client)
    assert (found["waterLevel"]["value"], found["depth"]["value"], found["depth"]["accuracy"]["value"]) == (1.2, 5, 0.1)
    assert await history(client) == [(1.1, T0), (1.2, T1)]


async def test_what_has_not_changed_is_not_written_again(client: httpx.AsyncClient) -> None:
    headers = await add_inbox(client)
    await notify(client, headers, v2(1.2))
    options = "?options=sysAttrs"
    before = (await client.get(f"/ngsi-ld/v1/entities/{ENTITY}{options}", headers=SIMPLE)).json()
    await notify(client, headers, v2(1.2))
    assert (await client.get(f"/ngsi-ld/v1/entities/{ENTITY}{options}", headers=SIMPLE)).json() == before


async def test_spike_is_doubted_as_that_of_a_device_is(client: httpx.AsyncClient) -> None:
    headers = await add_inbox(client)
    for level, time in ((1.2, T1), (9.9, T2)):
        await notify(client, headers, v2(level, time))
    assert (await entity(client))["waterLevel"]["quality"]["value"] == "suspect"


async def test_registered_device_of_the_entity_judges_with_its_own_profile(client: httpx.AsyncClient) -> None:
    headers = await add_inbox(client)
    mapping = {"field": "level", "attribute": "waterLevel", "unitCode": "CMT", "maximum": 900}
    device = {
        "entityId": ENTITY,
        "entityType": "WaterObserved",
        "attributes": [mapping],
        "profile": {"quality": {"level": {"valid": [0, 100]}}},
        "newPassword": False,
    }
    assert (await client.put("/api/v1/devices/tomoe", json=device)).status_code == 201
    assert (await notify(client, headers, v2(1.25))).status_code == 204
    found = (await entity(client))["waterLevel"]
    assert (found["value"], found["unitCode"], found["quality"]["value"]) == (125, "CMT", "suspect")
    (station,) = (await client.get("/api/v1/stations")).json()["stations"]
    assert (station["entityId"], station["value"]) == (ENTITY, 125)
    assert (await notify(client, headers, v2(10, T2))).json()["reason"] == "out_of_range"


async def test_notification_of_an_ngsi_ld_broker(client: httpx.AsyncClient) -> None:
    headers = await add_inbox(client)
    told = {
        "id": "urn:ngsi-ld:Notification:1",
        "type": "Notification",
        "subscriptionId": "urn:ngsi-ld:Subscription:1",
        "notifiedAt": T2,
        "data": [
            {
                "id": ENTITY,
                "type": "WaterObserved",
                "waterLevel": {"type": "Property", "value": 0.8, "observedAt": T1, "unitCode": "MTR"},
                "name": {"type": "Property", "value": "巴川"},
            }
        ],
    }
    response = await client.post("/api/v1/notified/orion", content=orjson.dumps(told), headers={**headers, **SIMPLE})
    assert response.status_code == 204, response.text
    found = await entity(client)
    assert (found["waterLevel"]["value"], found["waterLevel"]["observedAt"], found["name"]["value"]) == (
        0.8,
        T1,
        "巴川",
    )
    told |= {
        "@context": "urn:ngsi-ld:jsonldContext:minamo-v1",
        "data": [{"id": ENTITY, "type": "WaterObserved", "waterLevel": 0.9}],
    }
    response = await client.post(
        "/api/v1/notified/orion", content=orjson.dumps(told), headers={**headers, "Content-Type": "application/ld+json"}
    )
    found = (await entity(client))["waterLevel"]
    assert (response.status_code, found["value"], found["observedAt"]) == (204, 0.9, T2)


async def test_what_is_wrong_is_kept_with_its_reason_and_the_rest_is_taken(client: httpx.AsyncClient) -> None:
    headers = await add_inbox(client)
    future = to_text(NOW + timedelta(days=365))
    bad = {**v2(1.5, rain={"type": "Number", "value": "a lot", "metadata": {}}), "id": "bad"}
    response = await notify(client, headers, v2(1.2), bad, {**v2(3, future), "id": "ahead"})
    assert response.status_code == 202
    assert response.json() == {
        "status": "quarantined",
        "taken": 1,
        "reason": "undecodable",
        "detail": "bad: rain: 'a lot' is not a number (and 1 more)",
    }
    (message,) = (await client.get("/api/v1/quarantine")).json()["messages"]
    assert (message["topic"], message["deviceKey"]) == ("notified/orion", "inbox:orion")
    assert [one["id"] for one in orjson.loads(message["payloadText"])["data"]] == ["bad", "ahead"]
    found = (await client.get("/ngsi-ld/v1/entities?type=WaterObserved", headers=SIMPLE)).json()
    levels = {one["id"].rpartition(":")[2]: one.get("waterLevel", {}).get("value") for one in found}
    assert levels == {"tomoe-01": 1.2, "bad": 1.5, "ahead": None}
    (inbox,) = (await client.get("/api/v1/inboxes")).json()["inboxes"]
    assert "is not a number" in inbox["lastFault"]


@pytest.mark.parametrize("body", [b"not json", b'{"contextResponses": []}', b"[1]", b'"\\u0000"'])
async def test_no_body_is_lost(client: httpx.AsyncClient, body: bytes) -> None:
    headers = await add_inbox(client)
    response = await client.post("/api/v1/notified/orion", content=body, headers=headers)
    assert (response.status_code, response.json()["reason"]) == (202, "undecodable")
    (message,) = (await client.get("/api/v1/quarantine")).json()["messages"]
    assert message["payloadText"].encode() == body


async def test_mended_inbox_takes_what_was_held(client: httpx.AsyncClient) -> None:
    headers = await add_inbox(client)
    entity_ = {"id": ENTITY, "type": "WaterObserved", "waterLevel": 1.5, "dateObserved": "2026-11-20 16:40:00"}
    assert (await notify(client, {**headers, "Ngsiv2-AttrsFormat": "keyValues"}, entity_)).status_code == 202
    assert (await client.post("/api/v1/quarantine/replay")).json() == {"stored": 0, "stillHeld": 1}
    assert (await client.put("/api/v1/inboxes/orion", json={"timeZone": "Asia/Tokyo"})).status_code == 200
    assert (await client.post("/api/v1/quarantine/replay")).json() == {"stored": 1, "stillHeld": 0}
    assert (1.5, "2026-11-20T07:40:00Z") in await history(client)


async def test_only_who_has_the_token_is_heard(client: httpx.AsyncClient) -> None:
    headers = await add_inbox(client)
    token = headers["Authorization"].removeprefix("Bearer ")
    answers = []
    for given in ("", "Bearer wrong", f"Basic {token}", headers["Authorization"]):
        answers.append((await notify(client, {"Authorization": given}, v2(1))).status_code)
    assert answers == [401, 401, 401, 204]
    renewed = (await client.put("/api/v1/inboxes/orion/token")).json()["token"]
    assert (await notify(client, headers, v2(1))).status_code == 401
    basic = httpx.BasicAuth("orion", renewed)
    body = orjson.dumps({"subscriptionId": "1", "data": [v2(1)]})
    assert (await client.post("/api/v1/notified/orion", content=body, auth=basic)).status_code == 204
    assert (await client.delete("/api/v1/inboxes/orion")).status_code == 204
    assert (await client.post("/api/v1/notified/orion", content=body, auth=basic)).status_code == 401


async def test_hub_with_tokens_lets_another_broker_in_with_the_inboxs_alone(database_url: str) -> None:
    async with hub_for(database_url, api_tokens_sha256=["ab" * 32]) as hub, client_for(hub) as client:
        assert (await client.get("/api/v1/inboxes")).status_code == 401
        assert (await notify(client, {"Authorization": "Bearer x"}, v2(1))).status_code == 401


async def test_inbox_writes_into_its_own_tenant(client: httpx.AsyncClient) -> None:
    client.headers["NGSILD-Tenant"] = "mitaka"
    await client.post("/ngsi-ld/v1/entities", json={"id": "urn:x:1", "type": "T"})
    response = await client.put("/api/v1/inboxes/orion", json={})
    assert response.json()["url"].endswith("/notified/mitaka.orion")
    del client.headers["NGSILD-Tenant"]
    headers = {"Authorization": f"Bearer {response.json()['token']}"}
    body = orjson.dumps({"subscriptionId": "1", "data": [v2(1)]})
    assert (await client.post("/api/v1/notified/mitaka.orion", content=body, headers=headers)).status_code == 204
    assert (await client.get(f"/ngsi-ld/v1/entities/{ENTITY}")).status_code == 404
    tenant = {"NGSILD-Tenant": "mitaka"}
    assert (await client.get(f"/ngsi-ld/v1/entities/{ENTITY}", headers=tenant)).status_code == 200

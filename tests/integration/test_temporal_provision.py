# SPDX-License-Identifier: Apache-2.0
"""Writing temporal evolutions over HTTP (clauses 5.6.11 to 5.6.16), with native partitions and with TimescaleDB."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

RIVER = "urn:ngsi-ld:River:abe"
EVOLUTIONS = "/ngsi-ld/v1/temporal/entities"
ONE = f"{EVOLUTIONS}/{RIVER}"
RANGE = "timerel=after&timeAt=2026-01-01T00:00:00Z"


def level(value: Any, minute: int, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": f"2026-06-30T12:{minute:02}:00Z", **members}


def evolution(*levels: dict[str, Any], identifier: str = RIVER, **members: Any) -> dict[str, Any]:
    return {"id": identifier, "type": "River", "waterLevel": list(levels), **members}


async def store(client: httpx.AsyncClient, *levels: dict[str, Any], **members: Any) -> None:
    answer = await client.post(EVOLUTIONS, json=evolution(*levels, **members))
    assert answer.status_code in (201, 204), answer.text


async def levels(client: httpx.AsyncClient, query: str = "") -> list[Any]:
    body = (await client.get(f"{ONE}?{query}")).json()
    return [item["value"] for item in body["waterLevel"]]


async def test_an_evolution_is_created_once_and_added_to_afterwards(client: httpx.AsyncClient) -> None:
    first = await client.post(EVOLUTIONS, json=evolution(level(1, 0)))
    second = await client.post(EVOLUTIONS, json=evolution(level(2, 10), level(1, 0), type=["River", "Canal"]))
    assert (first.status_code, first.headers["location"], second.status_code) == (201, ONE, 204)
    body = (await client.get(ONE)).json()
    assert [item["value"] for item in body["waterLevel"]] == [1, 2]
    assert body["type"] == ["River", "Canal"]


async def test_history_alone_makes_no_entity_of_the_current_state(client: httpx.AsyncClient) -> None:
    await store(client, level(1, 0))
    assert (await client.get(f"/ngsi-ld/v1/entities/{RIVER}")).status_code == 404


async def test_what_was_known_before_an_entity_is_created_belongs_to_it(client: httpx.AsyncClient) -> None:
    await store(client, level(1, 0))
    body = {"id": RIVER, "type": "River", "waterLevel": level(2, 10)}
    assert (await client.post("/ngsi-ld/v1/entities", json=body)).status_code == 201
    assert await levels(client) == [1, 2]
    assert await levels(client, "lastN=1") == [2]


async def test_the_history_of_a_deleted_entity_stays_reachable(client: httpx.AsyncClient) -> None:
    body = {"id": RIVER, "type": "River", "waterLevel": level(2, 10)}
    await client.post("/ngsi-ld/v1/entities", json=body)
    await client.delete(f"/ngsi-ld/v1/entities/{RIVER}")
    found = (await client.get(f"{ONE}?options=sysAttrs")).json()
    assert [item["value"] for item in found["waterLevel"]] == [2, "urn:ngsi-ld:null"]
    assert found["deletedAt"] >= found["waterLevel"][1]["deletedAt"]
    queried = (await client.get(f"{EVOLUTIONS}?type=River&{RANGE}")).json()
    assert [entity["id"] for entity in queried] == [RIVER]


async def test_the_last_value_told_for_a_moment_is_believed(client: httpx.AsyncClient) -> None:
    for value in (7, 3, 5):
        await store(client, level(value, 0))
    assert await levels(client) == [5]
    await store(client, level(4, 0), level(7, 0))
    assert await levels(client) == [7]


async def test_an_attribute_may_have_ended_in_the_past(client: httpx.AsyncClient) -> None:
    await store(client, level(1, 0), level("urn:ngsi-ld:null", 10))
    (_, ended) = (await client.get(f"{ONE}?{RANGE}")).json()["waterLevel"]
    assert (ended["value"], ended["observedAt"]) == ("urn:ngsi-ld:null", "2026-06-30T12:10:00Z")
    assert "deletedAt" in ended


async def test_attributes_are_added_to_what_is_known_only(client: httpx.AsyncClient) -> None:
    fragment = {"waterLevel": level(2, 10)}
    assert (await client.post(f"{ONE}/attrs", json=fragment)).status_code == 404
    await store(client, level(1, 0))
    assert (await client.post(f"{ONE}/attrs", json=fragment)).status_code == 204
    assert await levels(client) == [1, 2]


@pytest.mark.parametrize(
    ("query", "left"),
    [("", ["radar"]), ("datasetId=urn:x:radar", ["default"]), ("deleteAll=true", [])],
    ids=["the default instances", "those of a dataset", "all"],
)
async def test_an_attribute_is_deleted_by_dataset(client: httpx.AsyncClient, query: str, left: list[str]) -> None:
    await store(client, level("default", 0), level("radar", 0, datasetId="urn:x:radar"))
    assert (await client.delete(f"{ONE}/attrs/waterLevel?{query}")).status_code == 204
    body = (await client.get(ONE)).json()
    assert [item["value"] for item in body.get("waterLevel", [])] == left
    assert (await client.delete(f"{ONE}/attrs/waterLevel?{query}")).status_code == 404


async def test_one_instance_is_replaced_and_keeps_its_name_and_creation(client: httpx.AsyncClient) -> None:
    await store(client, level(1, 0), level(2, 10))
    old = (await client.get(f"{ONE}?options=sysAttrs")).json()["waterLevel"][0]
    answer = await client.patch(f"{ONE}/attrs/waterLevel/{old['instanceId']}", json=level(1.5, 5))
    assert answer.status_code == 204
    new = (await client.get(f"{ONE}?options=sysAttrs")).json()["waterLevel"][0]
    assert (new["value"], new["observedAt"]) == (1.5, "2026-06-30T12:05:00Z")
    assert (new["instanceId"], new["createdAt"]) == (old["instanceId"], old["createdAt"])
    assert new["modifiedAt"] > old["modifiedAt"]


async def test_one_instance_is_deleted(client: httpx.AsyncClient) -> None:
    await store(client, level(1, 0), level(2, 10))
    first = (await client.get(ONE)).json()["waterLevel"]
    identifier = (await client.get(f"{ONE}?options=sysAttrs")).json()["waterLevel"][0]["instanceId"]
    assert len(first) == 2
    assert (await client.delete(f"{ONE}/attrs/flow/{identifier}")).status_code == 404
    assert (await client.delete(f"{ONE}/attrs/waterLevel/{identifier}")).status_code == 204
    assert (await client.delete(f"{ONE}/attrs/waterLevel/{identifier}")).status_code == 404
    assert await levels(client) == [2]


async def test_the_evolution_of_an_entity_that_stays_begins_anew(client: httpx.AsyncClient) -> None:
    entity = {"id": RIVER, "type": "River", "waterLevel": level(1, 0)}
    await client.post("/ngsi-ld/v1/entities", json=entity)
    assert (await client.delete(ONE)).status_code == 204
    assert (await client.get(ONE)).json() == {"id": RIVER, "type": "River"}
    await client.patch(f"/ngsi-ld/v1/entities/{RIVER}/attrs", json={"waterLevel": level(2, 0)})
    assert await levels(client) == [2]


async def test_an_evolution_is_deleted_whole(client: httpx.AsyncClient) -> None:
    await store(client, level(1, 0), scope="/Japan")
    assert (await client.delete(ONE)).status_code == 204
    assert (await client.get(ONE)).status_code == 404
    assert (await client.delete(ONE)).status_code == 404


async def test_another_tenant_neither_sees_nor_deletes_it(client: httpx.AsyncClient) -> None:
    await store(client, level(1, 0))
    other = {"NGSILD-Tenant": "kamakura"}
    await client.post(EVOLUTIONS, json=evolution(level(9, 0), identifier="urn:x:other"), headers=other)
    assert (await client.delete(ONE, headers=other)).status_code == 404
    assert await levels(client) == [1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=waterLevel%3E5", ["urn:x:high"]),
        ("q=waterLevel%3C5", ["urn:x:high", "urn:x:low"]),
        ("georel=near;maxDistance==1000&geometry=Point&coordinates=%5B138,34%5D", ["urn:x:low"]),
        ("scopeQ=/Japan/%23", ["urn:x:high"]),
    ],
)
async def test_conditions_hold_for_instances_within_the_range(
    client: httpx.AsyncClient, query: str, found: list[str]
) -> None:
    here, there = ({"type": "Point", "coordinates": [138, north]} for north in (34, 35))
    moved = [level(there, 0) | {"type": "GeoProperty"}, level(here, 50) | {"type": "GeoProperty"}]
    await store(client, level(9, 0), level(1, 10), level(99, 50), identifier="urn:x:high", scope="/Japan/Shizuoka")
    at_home = level(here, 0) | {"type": "GeoProperty"}
    await store(client, level(2, 0), level(99, 50), identifier="urn:x:low", location=at_home)
    await store(client, level(99, 50), identifier="urn:x:late", location=moved)
    between = "timerel=between&timeAt=2026-06-30T12:00:00Z&endTimeAt=2026-06-30T12:30:00Z"
    answer = await client.get(f"{EVOLUTIONS}?type=River&{between}&{query}&count=true")
    assert [entity["id"] for entity in answer.json()] == found
    assert answer.headers["NGSILD-Results-Count"] == str(len(found))


async def test_scopes_evolve_too(client: httpx.AsyncClient) -> None:
    await client.post("/ngsi-ld/v1/entities", json={"id": RIVER, "type": "River", "scope": "/Old"})
    await client.patch(f"/ngsi-ld/v1/entities/{RIVER}", json={"scope": ["/New", "/Newer"]})
    await client.delete(f"/ngsi-ld/v1/entities/{RIVER}/attrs/scope")
    scopes = (await client.get(f"{ONE}?options=sysAttrs")).json()["scope"]
    assert [item["value"] for item in scopes] == ["/Old", ["/New", "/Newer"], []]
    assert scopes[0]["observedAt"] == scopes[0]["modifiedAt"]
    assert "deletedAt" in scopes[2]


async def test_scopes_hold_from_when_they_were_observed_until_they_are_replaced(client: httpx.AsyncClient) -> None:
    scopes = [{"type": "Property", "value": name, "observedAt": f"2026-06-30T12:{minute}:00Z"}
              for name, minute in (("/Old", 10), ("/New", 40))]  # fmt: skip
    await store(client, level(1, 20), scope=scopes)
    between = f"{EVOLUTIONS}?type=River&timerel=between&timeAt=2026-06-30T12:15:00Z&endTimeAt=2026-06-30T12:30:00Z"
    (held,) = (await client.get(f"{between}&scopeQ=/Old")).json()
    assert [item["value"] for item in held["scope"]] == ["/Old"]
    assert (await client.get(f"{between}&scopeQ=/New")).json() == []
    found = (await client.get(ONE)).json()["scope"]
    assert [(item["value"], item["observedAt"][14:16]) for item in found] == [("/Old", "10"), ("/New", "40")]


async def test_evolutions_are_ordered_by_id_only(client: httpx.AsyncClient) -> None:
    for identifier in ("urn:x:1", "urn:x:2"):
        await store(client, level(1, 0), identifier=identifier)
    found = (await client.get(f"{EVOLUTIONS}?type=River&{RANGE}&orderBy=id;desc")).json()
    assert [entity["id"] for entity in found] == ["urn:x:2", "urn:x:1"]
    refused = await client.get(f"{EVOLUTIONS}?type=River&{RANGE}&orderBy=id,waterLevel")
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (400, "BadRequestData")

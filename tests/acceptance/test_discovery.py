# SPDX-License-Identifier: Apache-2.0
"""Discovery of types and attributes, and who the hub is, over HTTP (clauses 5.7.5 to 5.7.10, 5.15.1)."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from schemas.terms import DEFAULT_VOCABULARY, ERROR_TYPE, JSON_LD
from support.hub import client_for, hub_for

API = "/ngsi-ld/v1"

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


@pytest.fixture
async def city(client: httpx.AsyncClient) -> httpx.AsyncClient:
    level: list[dict[str, Any]] = [
        {"type": "Property", "value": 1},
        {"type": "Property", "value": 2, "datasetId": "urn:ngsi-ld:Dataset:radar"},
    ]
    here = {"type": "Point", "coordinates": [138.4, 34.9]}
    for body in (
        {"id": "urn:ngsi-ld:River:abe", "type": "River", "level": level, "location": here},
        {
            "id": "urn:ngsi-ld:River:oi",
            "type": ["River", "Border"],
            "level": {"type": "Relationship", "object": "urn:x:y"},
        },
        {"id": "urn:ngsi-ld:Bay:suruga", "type": "Bay"},
        {"id": "urn:ngsi-ld:Pool:gone", "type": "Pool", "depth": 1, "expiresAt": "2020-01-01T00:00:00Z"},
    ):
        assert (await client.post(API + "/entities", json=body)).status_code == 201
    return client


async def test_types_are_those_that_entities_have(city: httpx.AsyncClient) -> None:
    response = await city.get(API + "/types", params={"count": "true"})
    body = response.json()
    assert (body["type"], body["typeList"]) == ("EntityTypeList", ["Bay", "Border", "River"])
    assert response.headers["NGSILD-Results-Count"] == "3"
    assert body["id"] == (await city.get(API + "/types")).json()["id"]


async def test_types_in_detail_name_their_attributes(city: httpx.AsyncClient) -> None:
    body = (await city.get(API + "/types", params={"details": "true"})).json()
    assert {item["typeName"]: item["attributeNames"] for item in body} == {
        "Bay": [],
        "Border": ["level"],
        "River": ["level", "location"],
    }
    assert body[0]["id"] == DEFAULT_VOCABULARY + "Bay"


async def test_one_type_counts_its_entities_and_tells_the_kinds(city: httpx.AsyncClient) -> None:
    body = (await city.get(API + "/types/River")).json()
    assert (body["type"], body["entityCount"]) == ("EntityTypeInfo", 2)
    kinds = {item["attributeName"]: item["attributeTypes"] for item in body["attributeDetails"]}
    assert kinds == {"level": ["Property", "Relationship"], "location": ["GeoProperty"]}


async def test_attributes_are_those_that_entities_have(city: httpx.AsyncClient) -> None:
    response = await city.get(API + "/attributes", headers={"Accept": JSON_LD})
    body = response.json()
    assert (body["type"], body["attributeList"]) == ("AttributeList", ["level", "location"])
    assert "@context" in body


async def test_attributes_in_detail_name_their_types(city: httpx.AsyncClient) -> None:
    body = (await city.get(API + "/attributes", params={"details": "true"})).json()
    assert {item["attributeName"]: item["typeNames"] for item in body} == {
        "level": ["Border", "River"],
        "location": ["River"],
    }


async def test_one_attribute_counts_its_instances(city: httpx.AsyncClient) -> None:
    body = (await city.get(API + "/attributes/level")).json()
    assert (body["attributeCount"], body["attributeTypes"]) == (3, ["Property", "Relationship"])
    assert body["typeNames"] == ["Border", "River"]


@pytest.mark.parametrize("path", ["/types/Pool", "/types/Lake", "/attributes/depth", "/attributes/scope"])
async def test_what_no_live_entity_has_is_not_found(city: httpx.AsyncClient, path: str) -> None:
    response = await city.get(API + path)
    assert (response.status_code, response.json()["type"]) == (404, ERROR_TYPE + "ResourceNotFound")


async def test_an_alias_tells_tenants_apart_and_stays(client: httpx.AsyncClient) -> None:
    async def identity(tenant: str) -> dict[str, Any]:
        headers = {"NGSILD-Tenant": tenant} if tenant else {}
        body: dict[str, Any] = (await client.get(API + "/info/sourceIdentity", headers=headers)).json()
        return body

    bodies = [await identity(tenant) for tenant in ("", "a", "b/c")]
    aliases = [body["contextSourceAlias"] for body in bodies]
    assert len(set(aliases)) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9._%-]+", alias) for alias in aliases)
    assert (await identity("a"))["contextSourceAlias"] == aliases[1]
    assert re.fullmatch(r"PT\d+S", bodies[0]["contextSourceUptime"])


async def test_an_alias_can_be_set(database_url: str) -> None:
    async with hub_for(database_url, context_source_alias="shizuoka") as hub, client_for(hub) as client:
        body = (await client.get(API + "/info/sourceIdentity")).json()
    assert (body["type"], body["contextSourceAlias"]) == ("ContextSourceIdentity", "shizuoka")

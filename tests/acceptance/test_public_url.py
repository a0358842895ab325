# SPDX-License-Identifier: Apache-2.0
"""Behind a proxy that serves the hub under another address: what the hub writes leads back through the proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from support.hub import client_for, hub_for

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

PUBLIC = "https://data.city.example/hub"
ENTITIES = "/ngsi-ld/v1/entities"


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with hub_for(database_url, public_url=PUBLIC + "/") as hub, client_for(hub) as opened:
        yield opened


async def test_location_is_at_the_public_address(client: httpx.AsyncClient) -> None:
    made = await client.post(ENTITIES, json={"id": "urn:x:1", "type": "T"})
    assert made.headers["location"] == f"{PUBLIC}{ENTITIES}/urn:x:1"


async def test_pages_are_at_the_public_address(client: httpx.AsyncClient) -> None:
    for number in (1, 2):
        await client.post(ENTITIES, json={"id": f"urn:x:{number}", "type": "T"})
    found = await client.get(ENTITIES, params={"type": "T", "limit": "1"})
    assert f'<{PUBLIC}{ENTITIES}?limit=1&offset=1&type=T>;rel="next"' in found.headers["link"]


async def test_hosted_contexts_are_at_the_public_address_and_understood_by_it(client: httpx.AsyncClient) -> None:
    context = {"@context": {"level": "https://x.test/level"}}
    made = await client.post("/ngsi-ld/v1/jsonldContexts", json=context)
    url = made.headers["location"]
    assert url in (await client.get("/ngsi-ld/v1/jsonldContexts", params={"kind": "Hosted"})).json()
    link = {"Link": f'<{url}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}
    await client.post(ENTITIES, json={"id": "urn:x:1", "type": "T", "level": 1}, headers=link)
    entity = (await client.get(f"{ENTITIES}/urn:x:1")).json()
    assert "https://x.test/level" in entity


async def test_the_address_of_an_inline_context_is_public(client: httpx.AsyncClient) -> None:
    query = {"@context": {"level": "https://x.test/level"}, "type": "Query", "entities": [{"type": "T"}]}
    found = await client.post(
        "/ngsi-ld/v1/entityOperations/query", json=query, headers={"Content-Type": "application/ld+json"}
    )
    assert found.headers["link"].startswith(f"<{PUBLIC}/ngsi-ld/v1/jsonldContexts/")


async def test_an_entity_map_is_at_the_public_address_and_understood_by_it(client: httpx.AsyncClient) -> None:
    await client.post(ENTITIES, json={"id": "urn:x:1", "type": "T"})
    query = {"type": "T", "entityMap": "true"}
    name = "NGSILD-EntityMap"
    where = (await client.get(ENTITIES, params=query)).headers[name]
    again = await client.get(ENTITIES, params={"type": "T"}, headers={name: where})
    assert where.startswith(f"{PUBLIC}/ngsi-ld/v1/entityMaps/")
    assert (again.status_code, again.headers[name]) == (200, where)

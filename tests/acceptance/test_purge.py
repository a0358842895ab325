# SPDX-License-Identifier: Apache-2.0
"""Purging entities over HTTP (clause 5.6.21)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from schemas.terms import ERROR_TYPE
from support.hub import client_for, hub_for

ENTITIES = "/ngsi-ld/v1/entities"

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with hub_for(database_url) as hub, client_for(hub) as opened:
        for name, kind, level in (("abe", "River", 1), ("oi", "River", 3), ("suruga", "Bay", 3)):
            body = {"id": f"urn:ngsi-ld:{name}", "type": kind, "scope": "/Japan", "level": level, "name": name}
            assert (await opened.post(ENTITIES, json=body)).status_code == 201
        yield opened


async def purge(client: httpx.AsyncClient, **parameters: str) -> httpx.Response:
    return await client.delete(ENTITIES, params=parameters)


async def left(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get(ENTITIES, params={"local": "true", "options": "keyValues"})
    return {entity["id"].rpartition(":")[2]: entity for entity in response.json()}


@pytest.mark.parametrize(
    ("parameters", "remaining"),
    [
        ({"type": "River"}, {"suruga"}),
        ({"type": "River", "id": "urn:ngsi-ld:abe"}, {"oi", "suruga"}),
        ({"q": "level>2"}, {"abe"}),
        ({"local": "true"}, set()),
        ({"attrs": "nothing"}, {"abe", "oi", "suruga"}),
    ],
)
async def test_what_matches_is_deleted(
    client: httpx.AsyncClient, parameters: dict[str, str], remaining: set[str]
) -> None:
    response = await purge(client, **parameters)
    assert (response.status_code, response.content) == (204, b"")
    assert (await left(client)).keys() == remaining


async def test_dropped_attributes_are_deleted_and_the_entities_stay(client: httpx.AsyncClient) -> None:
    assert (await purge(client, type="River", drop="level,scope")).status_code == 204
    entities = await left(client)
    assert entities["abe"].keys() == {"id", "type", "name"}
    assert entities["suruga"].keys() == {"id", "type", "scope", "name", "level"}


async def test_all_but_the_kept_attributes_are_deleted(client: httpx.AsyncClient) -> None:
    assert (await purge(client, type="River", keep="level")).status_code == 204
    assert (await left(client))["oi"].keys() == {"id", "type", "scope", "level"}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"id": "urn:ngsi-ld:abe"},
        {"idPattern": ".*"},
        {"attrs": "createdAt"},
        {"type": "River", "keep": "name", "drop": "level"},
        {"type": "River", "drop": "type"},
        {"type": "River", "attrs": "owner{name}"},
        {"type": "River", "q": 'owner{name}=="x"'},
    ],
)
async def test_what_is_too_wide_or_contradicts_itself_deletes_nothing(
    client: httpx.AsyncClient, parameters: dict[str, str]
) -> None:
    response = await purge(client, **parameters)
    assert (response.status_code, response.json()["type"]) == (400, ERROR_TYPE + "BadRequestData")
    assert len(await left(client)) == 3

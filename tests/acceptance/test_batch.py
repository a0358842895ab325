# SPDX-License-Identifier: Apache-2.0
"""Batch operations over HTTP: each entity as if it had come alone, in the order of the array (clause 5.5.11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.hub import Hub
from schemas.terms import CORE_CONTEXT, ERROR_TYPE, JSON_LD
from support.hub import hub_for

OPERATIONS = "/ngsi-ld/v1/entityOperations/"
ENTITIES = "/ngsi-ld/v1/entities/"
A, B, C = (f"urn:ngsi-ld:River:{name}" for name in ("abe", "oi", "tenryu"))

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url, batch_max_entities=100) as opened:
        yield opened


def river(identifier: str, level: Any = 1.5, **members: Any) -> dict[str, Any]:
    return {"id": identifier, "type": "River", "waterLevel": {"type": "Property", "value": level}, **members}


async def batch(client: httpx.AsyncClient, operation: str, *entries: Any, options: str = "") -> httpx.Response:
    query = {"options": options} if options else {}
    return await client.post(OPERATIONS + operation, json=list(entries), params=query)


async def level_of(client: httpx.AsyncClient, identifier: str) -> Any:
    response = await client.get(ENTITIES + identifier)
    return response.json()["waterLevel"]["value"] if response.status_code == 200 else None


def failed(response: httpx.Response) -> list[tuple[str, str]]:
    assert response.status_code == 207, response.text
    return [(entry["entityId"], entry["error"]["type"].removeprefix(ERROR_TYPE)) for entry in response.json()["errors"]]


async def test_a_batch_creates_all_and_says_which(client: httpx.AsyncClient) -> None:
    response = await batch(client, "create", river(A), river(B))
    assert (response.status_code, response.json()) == (201, [A, B])
    assert await level_of(client, B) == 1.5


async def test_one_that_exists_does_not_keep_the_others_from_being_created(client: httpx.AsyncClient) -> None:
    await batch(client, "create", river(A))
    response = await batch(client, "create", river(A, 9), river(B))
    assert failed(response) == [(A, "AlreadyExists")]
    assert response.json()["success"] == [B]
    assert (await level_of(client, A), await level_of(client, B)) == (1.5, 1.5)


async def test_the_first_of_two_with_one_id_is_created(client: httpx.AsyncClient) -> None:
    response = await batch(client, "create", river(A, 1), river(A, 2))
    assert failed(response) == [(A, "AlreadyExists")]
    assert await level_of(client, A) == 1


async def test_a_faulty_entity_is_reported_alone(client: httpx.AsyncClient) -> None:
    response = await batch(client, "create", {"id": A}, river(B))
    assert (failed(response), response.json()["success"]) == ([(A, "BadRequestData")], [B])


async def test_a_value_that_the_database_refuses_fails_alone(client: httpx.AsyncClient) -> None:
    response = await batch(client, "create", river(A), river(B, "a\u0000b"), river(C))
    assert (failed(response), response.json()["success"]) == ([(B, "BadRequestData")], [A, C])
    assert await level_of(client, C) == 1.5


@pytest.mark.parametrize("body", [[], {}, [river(A), None], [river(A), "x"]])
@pytest.mark.parametrize("operation", ["create", "upsert", "update", "merge"])
async def test_what_is_no_array_of_entities_is_refused_whole(
    client: httpx.AsyncClient, operation: str, body: Any
) -> None:
    response = await client.post(OPERATIONS + operation, json=body)
    assert (response.status_code, response.json()["type"]) == (400, ERROR_TYPE + "BadRequestData")
    assert await level_of(client, A) is None


async def test_a_batch_beyond_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    response = await batch(client, "create", *(river(f"{A}:{number}") for number in range(101)))
    assert response.status_code == 413
    assert "at most 100" in response.json()["detail"]


async def test_upsert_creates_or_replaces(client: httpx.AsyncClient) -> None:
    await batch(client, "create", river(A, name={"type": "Property", "value": "安倍川"}))
    response = await batch(client, "upsert", river(A, 2), river(B, 3))
    assert (response.status_code, response.json()) == (201, [B])
    assert (await client.get(ENTITIES + A)).json() == river(A, 2)


async def test_upsert_with_update_keeps_what_is_not_mentioned(client: httpx.AsyncClient) -> None:
    await batch(client, "create", river(A, name={"type": "Property", "value": "安倍川"}))
    response = await batch(client, "upsert", river(A, 2), options="update")
    assert response.status_code == 204
    assert (await client.get(ENTITIES + A)).json() == river(A, 2, name={"type": "Property", "value": "安倍川"})


async def test_the_last_of_several_with_one_id_wins_and_each_is_an_event(hub: Hub, client: httpx.AsyncClient) -> None:
    response = await batch(client, "upsert", river(A, 1), river(A, 2), river(A, 3))
    assert (response.status_code, response.json()) == (201, [A])
    assert await level_of(client, A) == 3
    async with hub.database.transaction(1) as connection:
        events = await (await connection.execute("select operation from change_event order by event_id")).fetchall()
        values = await (await connection.execute("select number_value from attribute_instance order by 1")).fetchall()
    assert [row[0] for row in events] == ["created", "updated", "updated"]
    assert [row[0] for row in values] == [1, 2, 3]


async def test_update_appends_and_without_overwriting_reports_what_stayed(client: httpx.AsyncClient) -> None:
    await batch(client, "create", river(A), river(B))
    assert (await batch(client, "update", river(A, 2))).status_code == 204
    fragment = {
        "id": B,
        "waterLevel": {"type": "Property", "value": 7},
        "name": {"type": "Property", "value": "大井川"},
    }
    response = await batch(client, "update", fragment, river(C), options="noOverwrite")
    assert failed(response) == [(B, "AlreadyExists"), (C, "ResourceNotFound")]
    entity = (await client.get(ENTITIES + B)).json()
    assert (entity["waterLevel"]["value"], entity["name"]["value"]) == (1.5, "大井川")
    assert await level_of(client, A) == 2


async def test_merge_removes_with_a_null(client: httpx.AsyncClient) -> None:
    await batch(client, "create", river(A, name={"type": "Property", "value": "安倍川"}))
    assert (await batch(client, "merge", {"id": A, "name": "urn:ngsi-ld:null"})).status_code == 204
    assert (await client.get(ENTITIES + A)).json() == river(A)


async def test_delete_reports_what_was_not_there(client: httpx.AsyncClient) -> None:
    await batch(client, "create", river(A), river(B))
    assert (await batch(client, "delete", A)).status_code == 204
    response = await batch(client, "delete", A, B, B, "no uri")
    assert sorted(failed(response)) == sorted(
        [("no uri", "BadRequestData"), (A, "ResourceNotFound"), (B, "ResourceNotFound")]
    )
    assert response.json()["success"] == [B]
    assert await level_of(client, B) is None


async def test_each_entity_of_a_json_ld_batch_has_its_own_context(client: httpx.AsyncClient) -> None:
    own = {"@context": [{"waterLevel": "https://example.org/level"}, CORE_CONTEXT]}
    headers = {"Content-Type": JSON_LD}
    response = await client.post(OPERATIONS + "create", json=[river(A, **own), river(B)], headers=headers)
    assert failed(response) == [(B, "BadRequestData")]
    assert "https://example.org/level" in (await client.get(ENTITIES + A)).json()


async def test_batches_of_the_same_entities_at_the_same_time_agree(client: httpx.AsyncClient) -> None:
    names = [f"urn:ngsi-ld:River:{number}" for number in range(20)]
    responses = await asyncio.gather(
        *(
            batch(client, "upsert", *(river(name, turn) for name in names[:: 1 if turn % 2 else -1]))
            for turn in range(6)
        )
    )
    assert {response.status_code for response in responses} <= {201, 204}
    assert len({await level_of(client, name) for name in names}) == 1

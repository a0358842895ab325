# SPDX-License-Identifier: Apache-2.0
"""Queries of temporal evolutions over HTTP: scopes over time, entity maps, order, the newest in an aggregate."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

EVOLUTIONS = "/ngsi-ld/v1/temporal/entities"
RANGE = {"timerel": "after", "timeAt": "2026-06-01T00:00:00Z"}
SAME_ROUTE = "/ngsi-ld/v1/temporal/entityOperations/query"


def at(minute: int) -> str:
    return f"2026-06-30T12:{minute:02}:00Z"


def level(value: Any, minute: int = 0, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": at(minute), **members}


async def tell(client: httpx.AsyncClient, name: str, *levels: dict[str, Any], **members: Any) -> None:
    body = {"id": f"urn:ngsi-ld:River:{name}", "type": "River", "waterLevel": list(levels), **members}
    answer = await client.post(EVOLUTIONS, json=body)
    assert answer.status_code in (201, 204), answer.text


def scope(value: str, minute: int) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": at(minute)}


def names(answer: httpx.Response) -> list[str]:
    return [entity["id"].rpartition(":")[2] for entity in answer.json()]


class TestScopes:
    """Clause 4.18: a scope is valid from the time it was set until it is removed; annex C.5.16."""

    async def ask(self, client: httpx.AsyncClient, scope_q: str, **query: str) -> Any:
        answer = await client.get(EVOLUTIONS, params={"type": "River", "scopeQ": scope_q, **RANGE, **query})
        return answer.json()

    @pytest.mark.parametrize(("scope_q", "expected"), [("/A", [1, 2]), ("/B", [3, 4]), ("/A,/B", [1, 2, 3, 4])])
    async def test_instances_are_those_while_the_scope_held(
        self, client: httpx.AsyncClient, scope_q: str, expected: list[int]
    ) -> None:
        series = [level(number, 10 * number) for number in (1, 2, 3, 4)]
        await tell(client, "abe", *series, scope=[scope("/A", 5), scope("/B", 30)])
        (found,) = await self.ask(client, scope_q)
        assert [item["value"] for item in found["waterLevel"]] == expected

    async def test_so_are_those_that_are_aggregated(self, client: httpx.AsyncClient) -> None:
        await tell(client, "abe", level(1, 10), level(2, 40), scope=[scope("/A", 5), scope("/B", 30)])
        (found,) = await self.ask(client, "/A", options="aggregatedValues", aggrMethods="sum")
        assert found["waterLevel"]["sum"][0][0] == 1

    async def test_a_scope_that_nobody_dated_holds_for_all_times(self, client: httpx.AsyncClient) -> None:
        await tell(client, "abe", level(1, 10), scope="/A")
        (found,) = await self.ask(client, "/A")
        assert [item["value"] for item in found["waterLevel"]] == [1]


class TestEntityMaps:
    """Clauses 5.7.3.4, 5.7.4.4 and 5.5.14."""

    async def test_a_map_fixes_which_entities_are_found(self, client: httpx.AsyncClient) -> None:
        await tell(client, "abe", level(1))
        first = await client.get(EVOLUTIONS, params={"type": "River", "entityMap": "true", **RANGE})
        await tell(client, "oi", level(1))
        reference = {"NGSILD-EntityMap": first.headers["NGSILD-EntityMap"]}
        again = await client.get(EVOLUTIONS, params={"type": "River", **RANGE}, headers=reference)
        assert (first.status_code, again.status_code, names(again)) == (201, 200, ["abe"])
        assert again.headers["NGSILD-EntityMap"] == first.headers["NGSILD-EntityMap"]

    async def test_pages_of_a_map_go_on(self, client: httpx.AsyncClient) -> None:
        for name in ("abe", "oi", "tenryu"):
            await tell(client, name, level(1))
        asked = {"type": "River", "limit": "2", "count": "true", **RANGE}
        first = await client.get(EVOLUTIONS, params={**asked, "entityMap": "true"})
        reference = {"NGSILD-EntityMap": first.headers["NGSILD-EntityMap"]}
        second = await client.get(EVOLUTIONS, params={**asked, "offset": "2"}, headers=reference)
        assert (names(first), names(second)) == (["abe", "oi"], ["tenryu"])
        assert second.headers["NGSILD-Results-Count"] == "3"

    async def test_an_unknown_map_is_made_anew(self, client: httpx.AsyncClient) -> None:
        await tell(client, "abe", level(1))
        reference = {"NGSILD-EntityMap": "urn:ngsi-ld:EntityMap:none"}
        answer = await client.get(EVOLUTIONS, params={"type": "River", **RANGE}, headers=reference)
        assert (answer.status_code, names(answer)) == (201, ["abe"])
        assert "none" not in answer.headers["NGSILD-EntityMap"]

    async def test_a_map_of_nothing_finds_nothing(self, client: httpx.AsyncClient) -> None:
        answer = await client.get(EVOLUTIONS, params={"type": "River", "entityMap": "true", **RANGE})
        assert (answer.status_code, answer.json()) == (201, [])

    async def test_a_retrieval_makes_a_map_of_one(self, client: httpx.AsyncClient) -> None:
        await tell(client, "abe", level(1))
        answer = await client.get(f"{EVOLUTIONS}/urn:ngsi-ld:River:abe", params={"entityMap": "true"})
        found = (await client.get(answer.headers["NGSILD-EntityMap"])).json()
        assert (answer.status_code, list(found["entityMap"])) == (200, ["urn:ngsi-ld:River:abe"])


async def test_a_query_by_post_is_ordered_by_id(client: httpx.AsyncClient) -> None:
    for name in ("abe", "oi"):
        await tell(client, name, level(1))
    body: dict[str, Any] = {"type": "Query", "entities": [{"type": "River"}], "temporalQ": RANGE}
    answer = await client.post(SAME_ROUTE, json={**body, "ordering": {"orderBy": ["id;desc"]}})
    refused = await client.post(SAME_ROUTE, json={**body, "ordering": {"orderBy": ["waterLevel"]}})
    assert (names(answer), refused.status_code) == (["oi", "abe"], 400)


@pytest.mark.parametrize("member", [{"join": "inline"}, {"joinLevel": 2}, {"containedBy": ["urn:x:y"]}])
async def test_evolutions_follow_no_relationships(client: httpx.AsyncClient, member: dict[str, Any]) -> None:
    body = {"type": "Query", "entities": [{"type": "River"}], "temporalQ": RANGE, **member}
    assert (await client.post(SAME_ROUTE, json=body)).status_code in (400, 422)


async def test_an_aggregate_of_the_newest_is_of_them_alone(client: httpx.AsyncClient) -> None:
    await tell(client, "abe", *(level(number, number) for number in range(1, 6)))
    asked = {"type": "River", "options": "aggregatedValues", "aggrMethods": "sum,totalCount", "lastN": "2", **RANGE}
    (found,) = (await client.get(EVOLUTIONS, params=asked)).json()
    assert [found["waterLevel"][method][0][0] for method in ("sum", "totalCount")] == [9, 2]


async def test_the_newest_of_an_aggregate_are_of_all_lives_of_an_entity(client: httpx.AsyncClient) -> None:
    await tell(client, "abe", level(1, 10), level(2, 30))
    entity = {"id": "urn:ngsi-ld:River:abe", "type": "River", "waterLevel": level(4, 20)}
    assert (await client.post("/ngsi-ld/v1/entities", json=entity)).status_code == 201
    asked = {"type": "River", "options": "aggregatedValues", "aggrMethods": "sum", "lastN": "2", **RANGE}
    (found,) = (await client.get(EVOLUTIONS, params=asked)).json()
    assert found["waterLevel"]["sum"][0][0] == 6


async def test_what_has_expired_is_in_no_answer(client: httpx.AsyncClient) -> None:
    await tell(client, "abe", level(1, 0, expiresAt=at(0)), level(2, 10, expiresAt="2100-01-01T00:00:00Z"))
    asked = {"type": "River", **RANGE}
    found = [names(await client.get(EVOLUTIONS, params={**asked, "q": f"waterLevel=={value}"})) for value in (1, 2)]
    one = (await client.get(f"{EVOLUTIONS}/urn:ngsi-ld:River:abe")).json()
    assert (found, [item["value"] for item in one["waterLevel"]]) == ([[], ["abe"]], [2])

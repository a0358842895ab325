# SPDX-License-Identifier: Apache-2.0
"""Entity maps, linked entities and ordered answers over HTTP (clauses 4.5.23, 4.23, 5.5.9.3 and 5.14)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from api.hub import Hub
from context_store.entities.maps import EntityMapStore
from schemas.terms import ERROR_TYPE, GEO_JSON

ENTITIES = "/ngsi-ld/v1/entities"
MAPS = "/ngsi-ld/v1/entityMaps"
TEMPORAL_MAPS = "/ngsi-ld/v1/temporal/entityMaps"
QUERY = "/ngsi-ld/v1/entityOperations/query"
HEADER = "NGSILD-EntityMap"

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


async def create(client: httpx.AsyncClient, name: str, level: float, **members: Any) -> None:
    body = {"id": f"urn:x:{name}", "type": "River", "level": {"type": "Property", "value": level}, **members}
    assert (await client.post(ENTITIES, json=body)).status_code == 201


@pytest.fixture
async def rivers(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Five rivers, 0 to 4, the higher the number the lower the level."""
    for number in range(5):
        await create(client, str(number), 10 - number)
    return client


def ids(response: httpx.Response) -> str:
    assert response.status_code in (200, 201), response.text
    return "".join(entity["id"].removeprefix("urn:x:") for entity in response.json())


def assert_problem(response: httpx.Response, status: int, name: str) -> None:
    assert (response.status_code, response.json()["type"]) == (status, ERROR_TYPE + name), response.text


class TestMaps:
    async def test_a_map_fixes_the_entities_of_later_pages(self, rivers: httpx.AsyncClient) -> None:
        first = await rivers.get(ENTITIES, params={"type": "River", "entityMap": "true", "limit": 2})
        assert (first.status_code, ids(first)) == (201, "01")
        header = {HEADER: first.headers[HEADER]}
        await create(rivers, "00", 1)
        await rivers.delete(f"{ENTITIES}/urn:x:3")
        second = await rivers.get(ENTITIES, params={"type": "River", "limit": 2, "offset": 2}, headers=header)
        assert (second.status_code, ids(second)) == (200, "24")
        assert second.headers[HEADER] == first.headers[HEADER]
        assert 'rel="next"' not in second.headers["Link"]

    async def test_the_order_of_a_map_is_that_of_its_query(self, rivers: httpx.AsyncClient) -> None:
        asked = {"type": "River", "orderBy": "level", "limit": "2"}
        first = await rivers.get(ENTITIES, params={**asked, "entityMap": "true"})
        header = {HEADER: first.headers[HEADER]}
        await rivers.patch(f"{ENTITIES}/urn:x:4", json={"level": {"type": "Property", "value": 99}})
        assert ids(await rivers.get(ENTITIES, params=asked, headers=header)) == "43"

    async def test_what_no_longer_matches_leaves_the_map(self, rivers: httpx.AsyncClient) -> None:
        asked = {"type": "River", "q": "level>6"}
        made = await rivers.get(MAPS, params=asked)
        assert made.status_code == 201
        await rivers.patch(f"{ENTITIES}/urn:x:1", json={"level": {"type": "Property", "value": 1}})
        header = {HEADER: made.headers[HEADER]}
        assert ids(await rivers.get(ENTITIES, params=asked, headers=header)) == "023"
        assert list((await rivers.get(made.headers[HEADER])).json()["entityMap"]) == ["urn:x:0", "urn:x:2", "urn:x:3"]

    async def test_another_query_finds_fewer_and_removes_nothing(self, rivers: httpx.AsyncClient) -> None:
        made = await rivers.get(MAPS, params={"type": "River"})
        header = {HEADER: made.headers[HEADER]}
        found = await rivers.get(ENTITIES, params={"q": "level>8", "count": "true"}, headers=header)
        assert (ids(found), found.headers["NGSILD-Results-Count"]) == ("01", "2")
        assert len((await rivers.get(made.headers[HEADER])).json()["entityMap"]) == 5

    async def test_a_query_by_post(self, rivers: httpx.AsyncClient) -> None:
        query = {"type": "Query", "entities": [{"type": "River"}], "entityMap": True, "entityMapLifetime": "PT5M"}
        made = await rivers.post(QUERY, json=query)
        assert (made.status_code, ids(made)) == (201, "01234")
        entity_map = (await rivers.get(made.headers[HEADER])).json()
        lifetime = datetime.fromisoformat(entity_map["expiresAt"]) - datetime.now(UTC)
        assert timedelta(minutes=4) < lifetime <= timedelta(minutes=5)
        assert entity_map["id"] == unquote(made.headers[HEADER].rpartition("/")[2])
        assert (await rivers.post(MAPS, json=query)).json()["entityMap"] == entity_map["entityMap"]

    async def test_a_reference_that_leads_nowhere_makes_a_new_map(self, rivers: httpx.AsyncClient) -> None:
        response = await rivers.get(ENTITIES, params={"type": "River"}, headers={HEADER: "urn:x:gone"})
        assert response.status_code == 201
        assert "gone" not in response.headers[HEADER]

    async def test_a_retrieval_has_a_map_too(self, rivers: httpx.AsyncClient) -> None:
        response = await rivers.get(f"{ENTITIES}/urn:x:0", params={"entityMap": "true"})
        assert response.status_code == 200
        assert list((await rivers.get(response.headers[HEADER])).json()["entityMap"]) == ["urn:x:0"]

    async def test_maps_of_evolutions(self, rivers: httpx.AsyncClient) -> None:
        times = {"timerel": "before", "timeAt": "2999-01-01T00:00:00Z", "timeproperty": "createdAt"}
        made = await rivers.get(TEMPORAL_MAPS, params={"type": "River", **times})
        assert (made.status_code, len(made.json()["entityMap"])) == (201, 5)
        query = {
            "type": "Query",
            "entities": [{"type": "River"}],
            "temporalQ": {**times, "timeAt": "2000-01-01T00:00:00Z"},
        }
        assert (await rivers.post(TEMPORAL_MAPS, json=query)).json()["entityMap"] == {}
        assert_problem(await rivers.get(TEMPORAL_MAPS, params={"type": "River"}), 400, "BadRequestData")

    async def test_a_map_lives_and_dies(self, hub: Hub, rivers: httpx.AsyncClient) -> None:
        where = (await rivers.get(MAPS, params={"type": "River"})).headers[HEADER]
        patched = await rivers.patch(where, json={"expiresAt": "2000-01-01T00:00:00Z", "entityMap": {"urn:x:9": []}})
        assert (patched.status_code, patched.content) == (204, b"")
        for response in (await rivers.get(where), await rivers.delete(where), await rivers.patch(where, json={})):
            assert_problem(response, 404, "ResourceNotFound")
        assert await EntityMapStore(hub.database).remove_expired(datetime.now(UTC)) == 1
        other = (await rivers.get(MAPS, params={"type": "River"})).headers[HEADER]
        assert (await rivers.delete(other)).status_code == 204
        assert (await rivers.get(other)).status_code == 404

    async def test_bad_requests(self, rivers: httpx.AsyncClient) -> None:
        for response in (
            await rivers.get(MAPS, params={"id": "urn:x:1"}),
            await rivers.get(MAPS, params={"type": "River", "entityMapLifetime": "1hour"}),
            await rivers.get(f"{MAPS}/not a uri"),
            await rivers.get(ENTITIES, params={"type": "River", "entityMap": "yes"}),
        ):
            assert_problem(response, 400, "BadRequestData")

    async def test_a_map_is_of_its_tenant(self, rivers: httpx.AsyncClient) -> None:
        tenant = {"NGSILD-Tenant": "elsewhere"}
        body = {"id": "urn:x:1", "type": "River"}
        assert (await rivers.post(ENTITIES, json=body, headers=tenant)).status_code == 201
        where = (await rivers.get(MAPS, params={"type": "River"})).headers[HEADER]
        assert (await rivers.get(where, headers=tenant)).status_code == 404
        response = await rivers.get(ENTITIES, params={"type": "River"}, headers={**tenant, HEADER: where})
        assert (response.status_code, ids(response)) == (201, "1")


class TestOrder:
    async def test_pages_in_the_order_asked_for(self, rivers: httpx.AsyncClient) -> None:
        asked = {"type": "River", "orderBy": "level", "limit": "2"}
        pages = [ids(await rivers.get(ENTITIES, params={**asked, "offset": str(offset)})) for offset in (0, 2, 4)]
        assert pages == ["43", "21", "0"]

    async def test_by_post(self, rivers: httpx.AsyncClient) -> None:
        query = {"type": "Query", "entities": [{"type": "River"}], "ordering": {"orderBy": ["type", "id;desc"]}}
        assert ids(await rivers.post(QUERY, json=query)) == "43210"

    @pytest.mark.parametrize(
        "ordering",
        [
            {"orderBy": []},
            {"orderBy": "id"},
            {"orderBy": ["id"], "geometry": 5},
            {"orderBy": ["id"], "collation": "not a tag"},
            {"orderBy": ["location;dist-asc"]},
            {"orderBy": ["location;dist-asc"], "coordinates": "8,40"},
            {"collation": "de"},
            {"by": ["id"]},
        ],
    )
    async def test_malformed_orders_are_bad_data(self, client: httpx.AsyncClient, ordering: dict[str, Any]) -> None:
        query = {"type": "Query", "entities": [{"type": "River"}], "ordering": ordering}
        assert_problem(await client.post(QUERY, json=query), 400, "BadRequestData")


class TestLinked:
    @pytest.fixture
    async def linked(self, client: httpx.AsyncClient) -> httpx.AsyncClient:
        """River a flows into b, b into the sea."""
        for name, into in (("a", "b"), ("b", "sea"), ("sea", "")):
            link = {"flowsInto": {"type": "Relationship", "object": f"urn:x:{into}"}} if into else {}
            await create(client, name, 1, **link)
        return client

    async def test_inline(self, linked: httpx.AsyncClient) -> None:
        asked = {"join": "inline", "joinLevel": "2", "options": "keyValues", "pick": "flowsInto{level,flowsInto{id}}"}
        response = await linked.get(f"{ENTITIES}/urn:x:a", params=asked)
        assert response.json() == {"flowsInto": {"level": 1, "flowsInto": {"id": "urn:x:sea"}}}

    async def test_flat(self, linked: httpx.AsyncClient) -> None:
        asked = {"type": "Query", "entities": [{"type": "River", "id": "urn:x:a"}], "join": "flat", "joinLevel": 5}
        assert ids(await linked.post(QUERY, json=asked)) == "absea"
        contained = {**asked, "containedBy": ["urn:x:b"]}
        assert ids(await linked.post(QUERY, json=contained)) == "a"

    async def test_flat_retrieval_is_a_collection(self, linked: httpx.AsyncClient) -> None:
        assert ids(await linked.get(f"{ENTITIES}/urn:x:a", params={"join": "flat"})) == "ab"
        features = await linked.get(f"{ENTITIES}/urn:x:a", params={"join": "flat"}, headers={"Accept": GEO_JSON})
        assert [feature["id"] for feature in features.json()["features"]] == ["urn:x:a", "urn:x:b"]

    async def test_q_looks_as_far_as_the_join(self, linked: httpx.AsyncClient) -> None:
        asked = {"type": "River", "q": "flowsInto{flowsInto{level}}==1"}
        assert_problem(await linked.get(ENTITIES, params={**asked, "join": "flat"}), 400, "BadRequestData")
        response = await linked.get(ENTITIES, params={**asked, "join": "inline", "joinLevel": "2"})
        assert ids(response) == "a"

    @pytest.mark.parametrize(
        "asked",
        [
            {"join": "all"},
            {"join": "inline", "joinLevel": "0"},
            {"join": "inline", "pick": "a{b{c}}"},
            {"omit": "a{b}"},
            {"join": "flat", "containedBy": "b"},
        ],
    )
    async def test_bad_requests(self, linked: httpx.AsyncClient, asked: dict[str, str]) -> None:
        assert_problem(await linked.get(ENTITIES, params={"type": "River", **asked}), 400, "BadRequestData")


class TestAboutValuesAndSources:
    """Clause 5.2.23: what expandValues, jsonKeys, splitEntities and csf do to a query."""

    @pytest.fixture
    async def office(self, client: httpx.AsyncClient) -> httpx.AsyncClient:
        use = {"type": "VocabProperty", "vocab": "office"}
        await client.post(ENTITIES, json={"id": "urn:b:1", "type": "Building", "use": use})
        return client

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ({"q": "use==office"}, ""),
            ({"q": "use==office", "expandValues": "use"}, "urn:b:1"),
            ({"q": "use==office", "expandValues": "use", "jsonKeys": "use"}, ""),
            ({"q": "use==office", "expandValues": "use", "jsonKeys": "other"}, "urn:b:1"),
        ],
    )
    async def test_values_of_json_keys_are_no_terms(
        self, office: httpx.AsyncClient, asked: dict[str, str], found: str
    ) -> None:
        answered = await office.get(ENTITIES, params={"type": "Building", **asked})
        assert ",".join(entity["id"] for entity in answered.json()) == found

    async def test_by_post(self, office: httpx.AsyncClient) -> None:
        query = {"type": "Query", "entities": [{"type": "Building"}], "q": "use==office", "expandValues": ["use"]}
        path = "/ngsi-ld/v1/entityOperations/query"
        assert len((await office.post(path, json=query)).json()) == 1
        assert (await office.post(path, json={**query, "jsonKeys": ["use"]})).json() == []

    @pytest.mark.parametrize("asked", [{"splitEntities": "true"}, {"splitEntities": "false"}, {"csf": "endpoint==1"}])
    async def test_without_context_sources_their_parameters_change_nothing(
        self, office: httpx.AsyncClient, asked: dict[str, str]
    ) -> None:
        assert len((await office.get(ENTITIES, params={"type": "Building", **asked})).json()) == 1

    @pytest.mark.parametrize("asked", [{"splitEntities": "perhaps"}, {"csf": "("}])
    async def test_they_are_checked(self, office: httpx.AsyncClient, asked: dict[str, str]) -> None:
        answered = await office.get(ENTITIES, params={"type": "Building", **asked})
        assert answered.status_code == 400
        assert next(iter(asked)) in answered.json()["detail"]

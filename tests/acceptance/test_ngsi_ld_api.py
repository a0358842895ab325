# SPDX-License-Identifier: Apache-2.0
"""The NGSI-LD API as an app developer meets it: whole requests against the whole application and a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from schemas.contexts import MINAMO_CONTEXT
from schemas.terms import CORE_CONTEXT, ERROR_TYPE, GEO_JSON, JSON, JSON_LD, MERGE_PATCH
from support.hub import client_for, hub_for

ENTITIES = "/ngsi-ld/v1/entities"
TEMPORAL = "/ngsi-ld/v1/temporal/entities"
ABE = "urn:ngsi-ld:River:abe"
LINK = f'<{MINAMO_CONTEXT}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
NAMES = "https://uri.etsi.org/ngsi-ld/default-context/"

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with hub_for(database_url, temporal_max_instances=100) as hub, client_for(hub) as opened:
        yield opened


def river(identifier: str = ABE, **members: Any) -> dict[str, Any]:
    return {
        "id": identifier,
        "type": "River",
        "name": {"type": "Property", "value": "安倍川"},
        "waterLevel": {"type": "Property", "value": 1.5, "observedAt": "2026-06-30T23:30:00Z", "unitCode": "MTR"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [138.4, 34.9]}},
        **members,
    }


async def create(client: httpx.AsyncClient, *bodies: dict[str, Any]) -> None:
    for body in bodies or (river(),):
        assert (await client.post(ENTITIES, json=body)).status_code == 201


def assert_problem(response: httpx.Response, status: int, name: str) -> None:
    assert (response.status_code, response.json()["type"]) == (status, ERROR_TYPE + name), response.text
    assert response.json()["detail"]


class TestCreateAndRetrieve:
    async def test_a_created_entity_is_where_the_answer_says(self, client: httpx.AsyncClient) -> None:
        created = await client.post(ENTITIES, json=river())
        assert (created.status_code, created.content) == (201, b"")
        response = await client.get(created.headers["Location"])
        assert response.json() == river()
        assert response.headers["Content-Type"] == JSON

    async def test_an_id_that_is_a_url_works_in_a_path(self, client: httpx.AsyncClient) -> None:
        created = await client.post(ENTITIES, json=river("https://rivers.test/安倍?x=1#top"))
        response = await client.get(created.headers["Location"])
        assert response.json()["id"] == "https://rivers.test/安倍?x=1#top"

    async def test_the_same_id_twice_is_a_conflict(self, client: httpx.AsyncClient) -> None:
        await create(client)
        assert_problem(await client.post(ENTITIES, json=river()), 409, "AlreadyExists")

    async def test_an_unknown_entity_is_not_found(self, client: httpx.AsyncClient) -> None:
        assert_problem(await client.get(f"{ENTITIES}/{ABE}"), 404, "ResourceNotFound")

    async def test_an_id_that_is_no_uri_is_bad_data(self, client: httpx.AsyncClient) -> None:
        assert_problem(await client.get(f"{ENTITIES}/abe"), 400, "BadRequestData")

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({"format": "simplified"}, {"id": ABE, "type": "River", "name": "安倍川", "waterLevel": 1.5,
                                        "location": {"type": "Point", "coordinates": [138.4, 34.9]}}),
            ({"options": "keyValues", "pick": "id,waterLevel"}, {"id": ABE, "waterLevel": 1.5}),
            ({"format": "simplified", "attrs": "name"}, {"id": ABE, "type": "River", "name": "安倍川"}),
            ({"format": "simplified", "omit": "location|type"}, {"id": ABE, "name": "安倍川", "waterLevel": 1.5}),
            ({"format": "concise", "pick": "name"}, {"name": "安倍川"}),
        ],
    )  # fmt: skip
    async def test_representations_and_projections(
        self, client: httpx.AsyncClient, parameters: dict[str, str], expected: dict[str, Any]
    ) -> None:
        await create(client)
        body = (await client.get(f"{ENTITIES}/{ABE}", params=parameters)).json()
        assert body == expected

    async def test_times_of_the_system_on_request(self, client: httpx.AsyncClient) -> None:
        await create(client)
        body = (await client.get(f"{ENTITIES}/{ABE}", params={"options": "sysAttrs"})).json()
        assert body["createdAt"] == body["modifiedAt"] == body["name"]["createdAt"]

    async def test_an_entity_without_the_wanted_attributes_is_not_found(self, client: httpx.AsyncClient) -> None:
        await create(client)
        response = await client.get(f"{ENTITIES}/{ABE}", params={"attrs": "flow"})
        assert_problem(response, 404, "ResourceNotFound")

    async def test_geojson(self, client: httpx.AsyncClient) -> None:
        await create(client)
        response = await client.get(f"{ENTITIES}/{ABE}?format=simplified", headers={"Accept": GEO_JSON})
        body = response.json()
        assert response.headers["Content-Type"] == GEO_JSON
        assert (body["type"], body["geometry"]) == ("Feature", {"type": "Point", "coordinates": [138.4, 34.9]})
        assert body["properties"]["waterLevel"] == 1.5


class TestContexts:
    async def test_names_mean_what_the_context_of_the_request_says(self, client: httpx.AsyncClient) -> None:
        await client.post(ENTITIES, json=river(), headers={"Link": LINK})
        plain = (await client.get(f"{ENTITIES}/{ABE}")).json()
        assert "waterLevel" not in plain
        linked = await client.get(f"{ENTITIES}/{ABE}", headers={"Link": LINK})
        assert linked.json()["waterLevel"]["value"] == 1.5
        assert linked.headers["Link"] == LINK

    async def test_json_ld_carries_its_context(self, client: httpx.AsyncClient) -> None:
        body = {**river(), "@context": [{"name": "https://x.test/name"}, CORE_CONTEXT]}
        created = await client.post(ENTITIES, json=body, headers={"Content-Type": JSON_LD})
        assert created.status_code == 201
        response = await client.get(f"{ENTITIES}/{ABE}", headers={"Accept": JSON_LD})
        assert response.json()["https://x.test/name"]["value"] == "安倍川"
        assert response.json()["@context"] == CORE_CONTEXT

    async def test_both_ways_at_once_are_refused(self, client: httpx.AsyncClient) -> None:
        body = {**river(), "@context": CORE_CONTEXT}
        response = await client.post(ENTITIES, json=body, headers={"Content-Type": JSON_LD, "Link": LINK})
        assert_problem(response, 400, "BadRequestData")

    async def test_a_context_that_cannot_be_had(self, client: httpx.AsyncClient) -> None:
        link = LINK.replace(MINAMO_CONTEXT, "http://10.255.0.1/context.jsonld")
        response = await client.post(ENTITIES, json=river(), headers={"Link": link})
        assert_problem(response, 504, "LdContextNotAvailable")


class TestWrite:
    async def test_merge_changes_what_it_names_and_keeps_the_rest(self, client: httpx.AsyncClient) -> None:
        await create(client)
        patch = {"waterLevel": {"value": 2.5, "observedAt": "2026-06-30T23:40:00Z"}, "name": "urn:ngsi-ld:null"}
        response = await client.patch(f"{ENTITIES}/{ABE}", json=patch, headers={"Content-Type": MERGE_PATCH})
        assert (response.status_code, response.content) == (204, b"")
        body = (await client.get(f"{ENTITIES}/{ABE}")).json()
        assert body["waterLevel"] == {**river()["waterLevel"], "value": 2.5, "observedAt": "2026-06-30T23:40:00Z"}
        assert "name" not in body
        assert "location" in body

    async def test_merge_takes_simplified_values(self, client: httpx.AsyncClient) -> None:
        await create(client)
        parameters = {"options": "keyValues", "observedAt": "2026-07-01T00:00:00Z"}
        assert (await client.patch(f"{ENTITIES}/{ABE}", params=parameters, json={"waterLevel": 3})).status_code == 204
        level = (await client.get(f"{ENTITIES}/{ABE}")).json()["waterLevel"]
        assert (level["value"], level["observedAt"]) == (3, "2026-07-01T00:00:00Z")

    async def test_replace_leaves_nothing_of_the_old_entity(self, client: httpx.AsyncClient) -> None:
        await create(client)
        assert (await client.put(f"{ENTITIES}/{ABE}", json={"type": "Lake", "depth": 4})).status_code == 204
        body = (await client.get(f"{ENTITIES}/{ABE}", params={"format": "simplified"})).json()
        assert body == {"id": ABE, "type": "Lake", "depth": 4}

    async def test_delete(self, client: httpx.AsyncClient) -> None:
        await create(client)
        assert (await client.delete(f"{ENTITIES}/{ABE}")).status_code == 204
        assert_problem(await client.delete(f"{ENTITIES}/{ABE}"), 404, "ResourceNotFound")

    async def test_append_tells_what_it_did_not_overwrite(self, client: httpx.AsyncClient) -> None:
        await create(client)
        response = await client.post(
            f"{ENTITIES}/{ABE}/attrs", params={"options": "noOverwrite"}, json={"name": "藁科川", "flow": 8}
        )
        assert response.status_code == 207
        assert response.json()["updated"] == [NAMES + "flow"]
        assert [entry["attributeName"] for entry in response.json()["notUpdated"]] == [NAMES + "name"]
        body = (await client.get(f"{ENTITIES}/{ABE}", params={"format": "simplified"})).json()
        assert (body["name"], body["flow"]) == ("安倍川", 8)

    async def test_update_of_attributes(self, client: httpx.AsyncClient) -> None:
        await create(client)
        assert (await client.patch(f"{ENTITIES}/{ABE}/attrs", json={"name": "藁科川"})).status_code == 204
        assert (await client.get(f"{ENTITIES}/{ABE}?format=simplified")).json()["name"] == "藁科川"

    async def test_partial_update_of_an_attribute(self, client: httpx.AsyncClient) -> None:
        await create(client)
        assert (await client.patch(f"{ENTITIES}/{ABE}/attrs/waterLevel", json={"value": 2})).status_code == 204
        level = (await client.get(f"{ENTITIES}/{ABE}")).json()["waterLevel"]
        assert level == {**river()["waterLevel"], "value": 2}

    async def test_an_attribute_can_be_named_by_its_iri(self, client: httpx.AsyncClient) -> None:
        await create(client)
        path = f"{ENTITIES}/{ABE}/attrs/{quote(NAMES + 'waterLevel', safe='')}"
        assert (await client.put(path, json={"type": "Property", "value": 9})).status_code == 204
        level = (await client.get(f"{ENTITIES}/{ABE}")).json()["waterLevel"]
        assert level == {"type": "Property", "value": 9}

    async def test_one_dataset_or_all_instances_are_deleted(self, client: httpx.AsyncClient) -> None:
        several = [{"type": "Property", "value": n, "datasetId": f"urn:x:{n}"} for n in range(3)]
        await create(client, river(waterLevel=several))
        path = f"{ENTITIES}/{ABE}/attrs/waterLevel"
        assert (await client.delete(path, params={"datasetId": "urn:x:1"})).status_code == 204
        left = (await client.get(f"{ENTITIES}/{ABE}")).json()["waterLevel"]
        assert [item["value"] for item in left] == [0, 2]
        assert_problem(await client.delete(path), 404, "ResourceNotFound")  # there is no default instance
        assert (await client.delete(path, params={"deleteAll": "true"})).status_code == 204
        assert "waterLevel" not in (await client.get(f"{ENTITIES}/{ABE}")).json()


class TestQuery:
    @pytest.fixture
    async def rivers(self, client: httpx.AsyncClient) -> None:
        await create(
            client,
            *(
                river(f"urn:x:{number}", waterLevel=number, scope=f"/Japan/S{number}",
                      location={"type": "Point", "coordinates": [138 + number, 35]})
                for number in range(5)
            ),
            {"id": "urn:x:lake", "type": "Lake", "depth": 4},
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({"type": "Lake"}, ["lake"]),
            ({"type": "Lake|River", "q": "depth"}, ["lake"]),
            ({"type": "River", "q": "waterLevel>=3"}, ["3", "4"]),
            ({"q": 'name=="安倍川";waterLevel<1'}, ["0"]),
            ({"type": "River", "id": "urn:x:1,urn:x:2"}, ["1", "2"]),
            ({"type": "*", "idPattern": "^urn:x:[34]$"}, ["3", "4"]),
            ({"attrs": "depth"}, ["lake"]),
            ({"type": "River", "scopeQ": "/Japan/S2"}, ["2"]),
            ({"georel": "near;maxDistance==1000", "geometry": "Point", "coordinates": "[140,35]"}, ["2"]),
            ({"local": "true", "limit": "2"}, ["0", "1"]),
        ],
    )
    async def test_filters(
        self, client: httpx.AsyncClient, rivers: None, parameters: dict[str, str], expected: list[str]
    ) -> None:
        response = await client.get(ENTITIES, params=parameters)
        assert [entity["id"].removeprefix("urn:x:") for entity in response.json()] == expected, response.text

    async def test_pages_link_to_each_other(self, client: httpx.AsyncClient, rivers: None) -> None:
        response = await client.get(ENTITIES, params={"type": "River", "limit": "2", "offset": "2", "count": "true"})
        assert response.headers["NGSILD-Results-Count"] == "5"
        links = response.headers["Link"]
        assert f'<{ENTITIES}?count=true&limit=2&offset=0&type=River>;rel="prev";type="{JSON}"' in links
        following = f"{ENTITIES}?count=true&limit=2&offset=4&type=River"
        assert f'<{following}>;rel="next";type="{JSON}"' in links
        last = await client.get(following)
        assert [entity["id"] for entity in last.json()] == ["urn:x:4"]
        assert 'rel="next"' not in last.headers["Link"]

    async def test_only_the_count(self, client: httpx.AsyncClient, rivers: None) -> None:
        response = await client.get(ENTITIES, params={"type": "River", "limit": "0", "count": "true"})
        assert (response.json(), response.headers["NGSILD-Results-Count"]) == ([], "5")

    async def test_a_query_by_post(self, client: httpx.AsyncClient, rivers: None) -> None:
        query = {"type": "Query", "entities": [{"type": "River", "idPattern": "[0-3]$"}], "q": "waterLevel>1"}
        response = await client.post("/ngsi-ld/v1/entityOperations/query?format=simplified", json=query)
        assert [entity["waterLevel"] for entity in response.json()] == [2, 3]

    async def test_a_feature_collection(self, client: httpx.AsyncClient, rivers: None) -> None:
        response = await client.get(ENTITIES, params={"type": "River"}, headers={"Accept": GEO_JSON})
        assert response.json()["type"] == "FeatureCollection"
        assert len(response.json()["features"]) == 5

    @pytest.mark.parametrize(
        ("parameters", "name"),
        [
            ({}, "BadRequestData"),
            ({"id": "urn:x:1"}, "BadRequestData"),
            ({"type": "River", "colour": "blue"}, "InvalidRequest"),
            ({"type": "River", "options": "blue"}, "InvalidRequest"),
            ({"type": "River", "limit": "0"}, "BadRequestData"),
            ({"type": "River", "limit": "-1"}, "BadRequestData"),
            ({"type": "River", "q": "a=="}, "BadRequestData"),
            ({"type": "River", "georel": "near;maxDistance==1"}, "BadRequestData"),
            ({"type": "River", "pick": "a", "omit": "b"}, "BadRequestData"),
            ({"type": "River", "geometryProperty": "location"}, "BadRequestData"),
        ],
    )
    async def test_what_cannot_be_asked(self, client: httpx.AsyncClient, parameters: dict[str, str], name: str) -> None:
        assert_problem(await client.get(ENTITIES, params=parameters), 400, name)


class TestTenants:
    async def test_a_new_tenant_comes_into_being_with_its_first_entity(self, client: httpx.AsyncClient) -> None:
        tenant = {"NGSILD-Tenant": "kamakura"}
        assert_problem(await client.get(f"{ENTITIES}/{ABE}", headers=tenant), 404, "NonexistentTenant")
        created = await client.post(ENTITIES, json=river(), headers=tenant)
        assert (created.status_code, created.headers["NGSILD-Tenant"]) == (201, "kamakura")
        assert (await client.get(f"{ENTITIES}/{ABE}", headers=tenant)).status_code == 200
        assert (await client.get(f"{ENTITIES}/{ABE}")).status_code == 404


class TestPreconditions:
    async def test_a_media_type_that_is_not_available(self, client: httpx.AsyncClient) -> None:
        response = await client.get(f"{TEMPORAL}/{ABE}", headers={"Accept": GEO_JSON})
        assert response.status_code == 406
        assert response.json()["availableRepresentations"] == [JSON, JSON_LD]

    async def test_a_body_of_another_media_type(self, client: httpx.AsyncClient) -> None:
        response = await client.post(ENTITIES, content=b"<a/>", headers={"Content-Type": "text/xml"})
        assert (response.status_code, response.content) == (415, b"")

    async def test_a_body_without_length(self, client: httpx.AsyncClient) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield b"{}"

        response = await client.post(ENTITIES, content=parts(), headers={"Content-Type": JSON})
        assert (response.status_code, response.content) == (411, b"")

    async def test_a_method_that_is_not_there(self, client: httpx.AsyncClient) -> None:
        response = await client.put(ENTITIES, json={})
        assert (response.status_code, response.headers["Allow"]) == (405, "DELETE, GET, HEAD, POST")

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    async def test_an_entity_id_that_is_not_present(self, client: httpx.AsyncClient, method: str) -> None:
        response = await client.request(method, ENTITIES + "/", json={})
        assert (response.status_code, response.json()["type"]) == (400, ERROR_TYPE + "BadRequestData")

    async def test_a_path_with_a_slash_at_its_end(self, client: httpx.AsyncClient) -> None:
        assert (await client.post(ENTITIES + "/", json=river())).status_code == 201


class TestOutage:
    async def test_without_database_the_client_may_try_again(self, database_url: str) -> None:
        async with hub_for(database_url) as hub, client_for(hub) as client:
            await hub.database.close()
            response = await client.get(f"{ENTITIES}/{ABE}")
        assert (response.status_code, "Retry-After" in response.headers) == (503, True)


class TestTemporal:
    @pytest.fixture
    async def series(self, client: httpx.AsyncClient) -> None:
        """Water levels 1.5, 1, 2, 3 in steps of ten minutes from 23:30, across the end of a month."""
        await create(client)
        times = ("2026-06-30T23:40:00Z", "2026-06-30T23:50:00Z", "2026-07-01T00:00:00Z")
        for number, time in enumerate(times, start=1):
            body = {"value": number, "observedAt": time}
            assert (await client.patch(f"{ENTITIES}/{ABE}/attrs/waterLevel", json=body)).status_code == 204

    async def test_the_evolution_of_an_entity(self, client: httpx.AsyncClient, series: None) -> None:
        body = (await client.get(f"{TEMPORAL}/{ABE}")).json()
        assert (body["id"], body["type"]) == (ABE, "River")
        assert [item["value"] for item in body["waterLevel"]] == [1.5, 1, 2, 3]
        assert body["waterLevel"][0]["unitCode"] == "MTR"
        assert len({item["instanceId"] for item in body["waterLevel"]}) == 4

    async def test_a_range(self, client: httpx.AsyncClient, series: None) -> None:
        parameters = {"timerel": "between", "timeAt": "2026-06-30T23:40:00Z", "endTimeAt": "2026-07-01T00:00:00Z"}
        body = (await client.get(f"{TEMPORAL}/{ABE}", params=parameters)).json()
        assert [item["value"] for item in body["waterLevel"]] == [1, 2]
        assert "name" not in body

    async def test_the_newest_as_values(self, client: httpx.AsyncClient, series: None) -> None:
        parameters = {"lastN": "2", "format": "temporalValues", "attrs": "waterLevel"}
        body = (await client.get(f"{TEMPORAL}/{ABE}", params=parameters)).json()
        assert body["waterLevel"] == {
            "type": "Property",
            "values": [[3, "2026-07-01T00:00:00Z"], [2, "2026-06-30T23:50:00Z"]],
        }

    async def test_a_query_of_evolutions(self, client: httpx.AsyncClient, series: None) -> None:
        parameters = {"type": "River", "timerel": "after", "timeAt": "2026-06-30T23:50:00Z", "count": "true"}
        response = await client.get(TEMPORAL, params=parameters)
        assert [[item["value"] for item in entity["waterLevel"]] for entity in response.json()] == [[2, 3]]
        assert response.headers["NGSILD-Results-Count"] == "1"

    async def test_a_query_of_evolutions_by_post(self, client: httpx.AsyncClient, series: None) -> None:
        moment = {"timerel": "after", "timeAt": "2026-06-30T23:40:00Z", "lastN": 1}
        query = {"type": "Query", "entities": [{"type": "River"}], "attrs": ["waterLevel"], "temporalQ": moment}
        response = await client.post("/ngsi-ld/v1/temporal/entityOperations/query", json=query)
        assert [[item["value"] for item in entity["waterLevel"]] for entity in response.json()] == [[3]]

    async def test_a_long_answer_is_partial_and_says_what_it_covers(self, client: httpx.AsyncClient) -> None:
        await create(client)
        for number in range(120):
            body = {"value": number, "observedAt": f"2026-07-01T{number // 60:02}:{number % 60:02}:00Z"}
            await client.patch(f"{ENTITIES}/{ABE}/attrs/waterLevel", json=body)
        parameters = {"timerel": "after", "timeAt": "2026-07-01T00:00:00Z"}
        response = await client.get(f"{TEMPORAL}/{ABE}", params=parameters)
        assert response.status_code == 206
        assert response.headers["Content-Range"] == "date-time 2026-07-01T00:00:00Z-2026-07-01T01:39:00Z/*"
        assert len(response.json()["waterLevel"]) == 100

    @pytest.mark.parametrize(
        "parameters",
        [
            {"timerel": "after"},
            {"timeAt": "2026-07-01T00:00:00Z"},
            {"timerel": "between", "timeAt": "2026-07-01T00:00:00Z"},
            {"timerel": "since", "timeAt": "2026-07-01T00:00:00Z"},
            {"timerel": "after", "timeAt": "yesterday"},
            {"lastN": "0"},
            {"timeproperty": "birthday"},
        ],
    )
    async def test_what_is_no_temporal_query(self, client: httpx.AsyncClient, parameters: dict[str, str]) -> None:
        assert_problem(await client.get(f"{TEMPORAL}/{ABE}", params=parameters), 400, "BadRequestData")

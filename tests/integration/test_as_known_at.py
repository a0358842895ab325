# SPDX-License-Identifier: Apache-2.0
"""What did we believe at 14:05? The hub's own parameters asKnownAt and corrections, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from broker.times import to_text

RIVER = "urn:ngsi-ld:River:abe"
ENTITIES = "/ngsi-ld/v1/entities"
EVOLUTIONS = "/ngsi-ld/v1/temporal/entities"
ONE = f"{EVOLUTIONS}/{RIVER}"
RANGE = {"timerel": "after", "timeAt": "2026-01-01T00:00:00Z"}
SUPERSEDED = "urn:minamo:superseded"


def level(value: Any, minute: int = 0, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": f"2026-06-30T12:{minute:02}:00Z", **members}


async def tell(client: httpx.AsyncClient, *levels: dict[str, Any], **members: Any) -> str:
    """Tell of levels; the time afterwards."""
    told = {"waterLevel": list(levels)} if levels else {}
    body = {"id": RIVER, "type": "River", **told, **members}
    answer = await client.post(EVOLUTIONS, json=body)
    assert answer.status_code in (201, 204), answer.text
    return now()


def now() -> str:
    return to_text(datetime.now(UTC))


async def levels(client: httpx.AsyncClient, **query: str) -> list[Any]:
    answer = await client.get(ONE, params=query)
    assert answer.status_code in (200, 404), answer.text
    return [item["value"] for item in answer.json().get("waterLevel", [])]


async def test_what_was_believed_before_a_correction_can_be_asked_for(client: httpx.AsyncClient) -> None:
    before = now()
    first = await tell(client, level(1.0), level(2.0, 10))
    second = await tell(client, level(1.5))
    answers = [await levels(client, asKnownAt=time) for time in (before, first, second)]
    assert answers == [[], [1.0, 2.0], [1.5, 2.0]]
    assert (await client.get(ONE, params={"asKnownAt": before})).status_code == 404


async def test_an_instance_that_was_deleted_since_is_there_as_it_was(client: httpx.AsyncClient) -> None:
    first = await tell(client, level(1.0), level(2.0, 10))
    instance = (await client.get(ONE)).json()["waterLevel"][0]["instanceId"]
    assert (await client.delete(f"{ONE}/attrs/waterLevel/{instance}")).status_code == 204
    assert (await levels(client), await levels(client, asKnownAt=first)) == ([2.0], [1.0, 2.0])


async def test_an_entity_that_was_deleted_since_is_there_as_it_was(client: httpx.AsyncClient) -> None:
    await client.post(ENTITIES, json={"id": RIVER, "type": "River", "waterLevel": level(1.0)})
    alive = now()
    await client.delete(f"{ENTITIES}/{RIVER}")
    body = (await client.get(ONE, params={"asKnownAt": alive, "options": "sysAttrs"})).json()
    assert ([item["value"] for item in body["waterLevel"]], "deletedAt" in body) == ([1.0], False)
    queried = await client.get(EVOLUTIONS, params={"type": "River", "asKnownAt": alive, **RANGE})
    assert [entity["id"] for entity in queried.json()] == [RIVER]


async def test_what_was_erased_is_known_at_no_time(client: httpx.AsyncClient) -> None:
    first = await tell(client, level(1.0))
    await client.delete(ONE)
    assert (await client.get(ONE, params={"asKnownAt": first})).status_code == 404


async def test_values_and_aggregates_are_those_of_the_time_asked_for(client: httpx.AsyncClient) -> None:
    first = await tell(client, level(1.0), level(2.0, 10))
    await tell(client, level(4.0))
    values = await client.get(ONE, params={"asKnownAt": first, "options": "temporalValues"})
    assert [value for value, _ in values.json()["waterLevel"]["values"]] == [1.0, 2.0]
    asked = {"options": "aggregatedValues", "aggrMethods": "sum,distinctCount", **RANGE}
    sums = [
        (await client.get(ONE, params={**asked, **known})).json()["waterLevel"]["sum"][0][0]
        for known in ({"asKnownAt": first}, {})
    ]
    assert sums == [3.0, 6.0]


@pytest.mark.parametrize(("q", "found"), [("waterLevel==1", True), ("waterLevel==4", False)])
async def test_queries_look_at_what_was_believed(client: httpx.AsyncClient, q: str, found: bool) -> None:
    first = await tell(client, level(1.0))
    await tell(client, level(4.0))
    asked = {"type": "River", "q": q, **RANGE}
    then = (await client.get(EVOLUTIONS, params={**asked, "asKnownAt": first, "count": "true"})).headers
    today = (await client.get(EVOLUTIONS, params={**asked, "count": "true"})).headers
    counts = (then["NGSILD-Results-Count"], today["NGSILD-Results-Count"])
    assert counts == (("1", "0") if found else ("0", "1"))


async def test_a_query_by_post_takes_it_as_a_url_parameter(client: httpx.AsyncClient) -> None:
    first = await tell(client, level(1.0))
    await tell(client, level(4.0))
    body = {"type": "Query", "entities": [{"type": "River"}], "temporalQ": RANGE}
    answer = await client.post(
        "/ngsi-ld/v1/temporal/entityOperations/query", json=body, params={"asKnownAt": first, "corrections": "true"}
    )
    assert [item["value"] for item in answer.json()[0]["waterLevel"]] == [1.0]


async def test_scopes_are_those_that_were_known(client: httpx.AsyncClient) -> None:
    first = await tell(client, level(1.0), scope={"type": "Property", "value": "/A", "observedAt": RANGE["timeAt"]})
    await tell(client, scope={"type": "Property", "value": "/B", "observedAt": RANGE["timeAt"]})
    asked = {"type": "River", "scopeQ": "/A", **RANGE}
    then = (await client.get(EVOLUTIONS, params={**asked, "asKnownAt": first})).json()
    assert [item["value"] for item in then[0]["scope"]] == ["/A"]
    assert (await client.get(EVOLUTIONS, params=asked)).json() == []


class TestCorrections:
    """What is believed no longer is listed apart from what is, as the value of a JsonProperty of the hub's own."""

    async def chain(self, client: httpx.AsyncClient, **query: str) -> Any:
        body = (await client.get(ONE, params={"corrections": "true", **query})).json()
        if SUPERSEDED not in body:
            return None
        (member,) = body[SUPERSEDED]
        assert member.keys() == {"type", "json"} and member["type"] == "JsonProperty"
        return member["json"]

    async def test_the_chain_tells_when_each_value_was_believed(self, client: httpx.AsyncClient) -> None:
        for value in (1.0, 1.5, 1.2):
            await tell(client, level(value))
        chain = (await self.chain(client))["waterLevel"]
        assert [item["value"] for item in chain] == [1.0, 1.5]
        assert chain[0]["recordedAt"] < chain[0]["supersededAt"] == chain[1]["recordedAt"]
        assert await levels(client, corrections="true") == [1.2]

    async def test_a_deleted_instance_is_in_it(self, client: httpx.AsyncClient) -> None:
        await tell(client, level(1.0))
        await client.delete(f"{ONE}/attrs/waterLevel")
        assert [item["value"] for item in (await self.chain(client, attrs="waterLevel"))["waterLevel"]] == [1.0]

    async def test_nothing_is_told_where_nothing_was_corrected(self, client: httpx.AsyncClient) -> None:
        await tell(client, level(1.0))
        assert await self.chain(client) is None

    async def test_it_is_of_the_time_and_the_knowledge_asked_for(self, client: httpx.AsyncClient) -> None:
        await tell(client, level(1.0), level(7.0, 30))
        second = await tell(client, level(1.5), level(7.5, 30))
        await tell(client, level(1.2))
        chain = await self.chain(client, timerel="before", timeAt="2026-06-30T12:10:00Z", asKnownAt=second)
        assert [item["value"] for item in chain["waterLevel"]] == [1.0]
        newest = await self.chain(client, lastN="1")
        assert [item["value"] for item in newest["waterLevel"]] == [7.0]

    async def test_a_replaced_instance_is_listed_under_its_own_name(self, client: httpx.AsyncClient) -> None:
        await tell(client, level(1.0))
        instance = (await client.get(ONE)).json()["waterLevel"][0]["instanceId"]
        await client.patch(f"{ONE}/attrs/waterLevel/{instance}", json=level(1.5, 5))
        assert [item["instanceId"] for item in (await self.chain(client))["waterLevel"]] == [instance]

    @pytest.mark.parametrize("options", ["temporalValues", "aggregatedValues"])
    async def test_it_goes_with_instances_only(self, client: httpx.AsyncClient, options: str) -> None:
        await tell(client, level(1.0))
        asked = {"corrections": "true", "options": options, "aggrMethods": "max"}
        assert (await client.get(ONE, params=asked)).status_code == 400

# SPDX-License-Identifier: Apache-2.0
"""Registrations, and reads and changes beside them: a hub over HTTP, whose source is another tenant of it.

Each test has two tenants of its own in one database. A source that misbehaves is a small HTTP server.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.web.context_source import SourceUnreachable
from api.hub import Hub
from broker.registrations.requests import SourceRequest
from broker.times import to_text
from support.hub import hub_for
from support.receiver import Receiver
from support.served import served
from support.waiting import eventually

CAR, OTHER = "urn:ngsi-ld:Car:1", "urn:ngsi-ld:Car:2"
NUMBERS = itertools.count(1)
WARNING = "NGSILD-Warning"


@dataclass
class World:
    """A hub, its address, a client of it in the tenant ``here``; its source is the tenant ``source``."""

    hub: Hub
    url: str
    client: httpx.AsyncClient
    here: str
    source: str

    @property
    def there(self) -> dict[str, str]:
        """Headers of a request to the source itself."""
        return {"NGSILD-Tenant": self.source}

    async def create(self, entity_id: str, *, there: bool = False, kind: str = "Car", **attributes: Any) -> None:
        """An entity, here or at the source."""
        headers = self.there if there else {}
        body = {"id": entity_id, "type": kind, **attributes}
        response = await self.client.post("/entities?local=true", json=body, headers=headers)
        assert response.status_code == 201, response.text

    async def register(self, status: int = 201, headers: dict[str, str] | None = None, **members: Any) -> str:
        """A registration of the source (all cars), with other members in place of its own; gives its path."""
        response = await self.client.post("/csourceRegistrations", json=self.registration(**members), headers=headers)
        assert response.status_code == status, response.text
        return response.headers.get("location", "").removeprefix("/ngsi-ld/v1")

    def registration(self, **members: Any) -> dict[str, Any]:
        whole = {
            "type": "ContextSourceRegistration",
            "endpoint": self.url,
            "tenant": self.source,
            "information": [{"entities": [{"type": "Car"}]}],
            **members,
        }
        return {name: value for name, value in whole.items() if value is not None}

    async def get(self, path: str, status: int = 200, headers: dict[str, str] | None = None) -> Any:
        """The body of an answer."""
        response = await self.client.get(path, headers=headers)
        assert response.status_code == status, response.text
        return response.json()


@pytest.fixture
async def world(shared_url: str) -> AsyncIterator[World]:
    here = f"here_{next(NUMBERS)}"
    async with (
        hub_for(shared_url, csource_max_bytes=20_000) as hub,
        served(hub) as address,
        httpx.AsyncClient(
            base_url=f"http://{address}/ngsi-ld/v1", timeout=20, headers={"NGSILD-Tenant": here}
        ) as client,
    ):
        for tenant in (here, f"{here}_source"):
            await hub.tenants.find_or_create(tenant)
        yield World(hub, f"http://{address}", client, here, f"{here}_source")


def number(value: Any, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **members}


class TestRegistry:
    async def test_a_registration_lives_from_post_to_delete(self, world: World) -> None:
        path = await world.register(id="urn:r:1", registrationName="Rivers")
        assert path == "/csourceRegistrations/urn:r:1"
        assert await world.get(path) == {"id": "urn:r:1", **world.registration(registrationName="Rivers")}
        changed = await world.client.patch(path, json={"registrationName": "Lakes", "tenant": "urn:ngsi-ld:null"})
        assert changed.status_code == 204
        shown = await world.get(f"{path}?options=sysAttrs")
        assert (shown["registrationName"], "tenant" in shown, "createdAt" in shown) == ("Lakes", False, True)
        assert (await world.client.delete(path)).status_code == 204
        await world.get(path, 404)
        assert (await world.client.delete(path)).status_code == 404

    async def test_an_id_is_registered_once(self, world: World) -> None:
        await world.register(id="urn:r:1")
        await world.register(409, id="urn:r:1")

    async def test_faults_are_refused(self, world: World) -> None:
        await world.register(400, information=[])
        await world.register(400, endpoint="ftp://source")
        await world.register(400, expiresAt="2020-01-01T00:00:00Z")
        assert (
            await world.client.patch("/csourceRegistrations/urn:r:9", json={"endpoint": "http://x"})
        ).status_code == 404
        assert (await world.client.get("/csourceRegistrations/no-uri")).status_code == 400
        assert (await world.client.get("/csourceRegistrations")).status_code == 400
        refused = await world.client.get("/csourceRegistrations?type=Car", headers={"Accept": "application/xml"})
        assert refused.status_code == 406

    async def test_a_query_finds_matching_registrations_and_parts_of_them(self, world: World) -> None:
        await world.register(
            id="urn:r:1", information=[{"entities": [{"type": "Car"}]}, {"entities": [{"type": "Bus"}]}]
        )
        await world.register(id="urn:r:2", information=[{"entities": [{"type": "Ship"}]}], grade=2)
        found = await world.get("/csourceRegistrations?type=Bus")
        assert [(item["id"], item["information"]) for item in found] == [("urn:r:1", [{"entities": [{"type": "Bus"}]}])]
        assert await world.get("/csourceRegistrations?type=Bus&id=urn:ngsi-ld:x&csf=grade==2") == []
        by_property = await world.get("/csourceRegistrations?type=*&csf=grade==2")
        assert [item["id"] for item in by_property] == ["urn:r:2"]

    async def test_pages_are_in_the_order_of_creation(self, world: World) -> None:
        for name in ("urn:r:2", "urn:r:1", "urn:r:3"):
            await world.register(id=name)
        response = await world.client.get("/csourceRegistrations?type=Car&limit=1&offset=1&count=true")
        assert [item["id"] for item in response.json()] == ["urn:r:1"]
        assert response.headers["NGSILD-Results-Count"] == "3"
        assert 'rel="prev"' in response.headers["link"]
        assert 'rel="next"' in response.headers["link"]

    async def test_tenants_do_not_see_each_others_registrations(self, world: World) -> None:
        path = await world.register(headers=world.there)
        await world.get(path, 404)
        assert await world.get("/csourceRegistrations?type=Car") == []
        assert len(await world.get("/csourceRegistrations?type=Car", headers=world.there)) == 1

    async def test_what_has_expired_is_gone_and_its_id_free(self, world: World) -> None:
        soon = datetime.now(UTC) + timedelta(seconds=1)
        path = await world.register(id="urn:r:1", expiresAt=to_text(soon))
        await world.create(CAR, there=True)
        await world.get(f"/entities/{CAR}")

        async def is_gone() -> bool:
            return (await world.client.get(path)).status_code == 404

        await eventually(is_gone)
        assert await world.get("/csourceRegistrations?type=Car") == []
        await world.get(f"/entities/{CAR}", 404)
        await world.register(id="urn:r:1")

    async def test_an_exclusive_registration_stands_alone(self, world: World) -> None:
        speed = [{"entities": [{"type": "Car", "id": CAR}], "propertyNames": ["speed"]}]
        await world.register(mode="exclusive", information=speed)
        await world.register(409, mode="exclusive", information=speed)
        await world.register(409, mode="redirect")
        await world.register(mode="auxiliary")

    async def test_what_the_hub_holds_cannot_be_registered_as_held_elsewhere(self, world: World) -> None:
        await world.create(CAR, speed=number(1))
        speed = [{"entities": [{"type": "Car", "id": CAR}], "propertyNames": ["speed"]}]
        await world.register(409, mode="redirect")
        await world.register(409, mode="exclusive", information=speed)
        await world.register(mode="exclusive", information=[{**speed[0], "propertyNames": ["brandName"]}])


class TestReading:
    async def test_an_entity_of_a_source_is_found(self, world: World) -> None:
        await world.register()
        await world.create(CAR, there=True, speed=number(5))
        assert (await world.get(f"/entities/{CAR}"))["speed"]["value"] == 5
        assert [item["id"] for item in await world.get("/entities?type=Car")] == [CAR]
        query = {"type": "Query", "entities": [{"type": "Car", "id": CAR}]}
        posted = await world.client.post("/entityOperations/query", json=query)
        assert [item["id"] for item in posted.json()] == [CAR]

    async def test_locally_no_source_is_asked(self, world: World) -> None:
        await world.register()
        await world.create(CAR, there=True)
        await world.get(f"/entities/{CAR}?local=true", 404)
        assert await world.get("/entities?type=Car&local=true") == []

    async def test_an_entity_in_two_places_is_one(self, world: World) -> None:
        await world.register()
        old, new = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
        await world.create(CAR, speed=number(1, observedAt=old), here=number(1, observedAt=new))
        await world.create(CAR, there=True, speed=number(2, observedAt=new), there_=number(2))
        (found,) = await world.get("/entities?type=Car")
        assert (found["speed"]["value"], found["here"]["value"], found["there_"]["value"]) == (2, 1, 2)
        assert "modifiedAt" not in found["speed"]

    async def test_an_auxiliary_source_only_adds(self, world: World) -> None:
        await world.register(mode="auxiliary")
        await world.create(CAR, speed=number(1, observedAt="2026-01-01T00:00:00Z"))
        await world.create(CAR, there=True, speed=number(2, observedAt="2026-01-02T00:00:00Z"), colour=number("red"))
        found = await world.get(f"/entities/{CAR}")
        assert (found["speed"]["value"], found["colour"]["value"]) == (1, "red")

    async def test_exclusive_attributes_are_those_of_the_source(self, world: World) -> None:
        information = [{"entities": [{"type": "Car", "id": CAR}], "propertyNames": ["speed"]}]
        await world.register(mode="exclusive", information=information)
        await world.create(CAR, speed=number(1), colour=number("red"))  # local=true
        await world.create(CAR, there=True, speed=number(2), colour=number("blue"))
        for found in (await world.get(f"/entities/{CAR}"), (await world.get("/entities?type=Car"))[0]):
            assert (found["speed"]["value"], found["colour"]["value"]) == (2, "red")

    async def test_filters_see_whole_entities_where_attributes_are_registered(self, world: World) -> None:
        await world.register(information=[{"entities": [{"type": "Car"}], "propertyNames": ["speed"]}])
        for name, speed in ((CAR, 10), (OTHER, 90)):
            await world.create(name, colour=number("red"))
            await world.create(name, there=True, speed=number(speed))
        found = await world.get('/entities?type=Car&q=speed>50;colour=="red"&count=true')
        assert [item["id"] for item in found] == [OTHER]

    async def test_filters_are_passed_on_to_sources_with_whole_entities(self, world: World, receiver: Receiver) -> None:
        await world.register(endpoint=receiver.url)
        await world.get("/entities?type=Car&q=speed>50&scopeQ=/A")
        assert "q=speed%3E50" in receiver.received[0].path
        await world.get("/entities?type=Car&q=speed>50&scopeQ=/A&splitEntities=true")
        assert "q=" not in receiver.received[1].path

    async def test_pages_go_over_all_places(self, world: World) -> None:
        await world.register()
        for index in range(4):
            await world.create(f"urn:ngsi-ld:Car:{index}", there=index % 2 == 0)
        await world.create("urn:ngsi-ld:Car:1", there=True)
        response = await world.client.get("/entities?type=Car&limit=2&offset=1&count=true")
        assert [item["id"][-1] for item in response.json()] == ["1", "2"]
        assert response.headers["NGSILD-Results-Count"] == "4"
        assert 'rel="next"' in response.headers["link"]

    async def test_linked_entities_are_got_from_sources(self, world: World) -> None:
        await world.register(information=[{"entities": [{"type": "City"}]}])
        await world.create(CAR, isIn={"type": "Relationship", "object": "urn:ngsi-ld:City:1"})
        await world.create("urn:ngsi-ld:City:1", kind="City", there=True, size=number(3))
        found = await world.get(f"/entities/{CAR}?join=inline")
        assert found["isIn"]["entity"]["size"]["value"] == 3

    async def test_a_filter_of_sources_leaves_the_others_out(self, world: World) -> None:
        await world.register(sourceType="sensor")
        await world.create(CAR, there=True)
        assert len(await world.get('/entities?type=Car&csf=sourceType=="sensor"')) == 1
        assert await world.get('/entities?type=Car&csf=sourceType=="archive"') == []

    async def test_a_source_is_only_asked_for_what_it_offers(self, world: World) -> None:
        await world.register(operations=["updateOps"])
        await world.create(CAR, there=True)
        await world.get(f"/entities/{CAR}", 404)

    async def test_what_cannot_be_done_over_sources_is_refused(self, world: World) -> None:
        await world.register()
        await world.get("/entities?type=Car&orderBy=speed", 400)
        await world.get("/entities?type=Car&orderBy=speed&local=true")
        await world.get("/entities?type=Car&entityMap=true", 422)

    async def test_discovery_tells_that_no_source_was_asked(self, world: World) -> None:
        await world.register()
        for path in ("types", "types?details=true", "attributes", "attributes?details=true"):
            response = await world.client.get(f"/{path}")
            assert response.headers[WARNING].startswith("199"), path
        assert WARNING not in (await world.client.get("/types?local=true")).headers

    async def test_requests_are_counted(self, world: World) -> None:
        path = await world.register()
        await world.get("/entities?type=Car")
        await world.hub.registrations.write_counts()
        shown = await world.get(path)
        assert (shown["timesSent"], shown["timesFailed"], shown["status"]) == (1, 0, "ok")


class TestTrouble:
    @pytest.mark.parametrize(
        ("status", "body", "code"),
        [
            (403, b"", "299"),
            (200, b"no json", "111"),
            (200, json.dumps([{"id": "urn:x", "type": "Car", "a": "x" * 30_000}]).encode(), "111"),
            (200, json.dumps({"id": "urn:x"}).encode(), "111"),
        ],
    )
    async def test_a_source_that_fails_is_told_of(
        self, world: World, receiver: Receiver, status: int, body: bytes, code: str
    ) -> None:
        receiver.reply = lambda _: (status, body)
        await world.register(endpoint=receiver.url)
        await world.create(CAR)
        response = await world.client.get("/entities?type=Car")
        assert [item["id"] for item in response.json()] == [CAR]
        assert response.headers[WARNING].startswith(code)
        missing = await world.client.get(f"/entities/{OTHER}")
        assert (missing.status_code, missing.headers[WARNING][:3]) == (404, code)

    async def test_a_source_that_has_nothing_is_not_told_of(self, world: World, receiver: Receiver) -> None:
        receiver.status = 404
        await world.register(endpoint=receiver.url)
        missing = await world.client.get(f"/entities/{OTHER}")
        assert missing.status_code == 404
        assert WARNING not in missing.headers

    async def test_a_slow_source_is_not_waited_for(self, world: World, receiver: Receiver) -> None:
        receiver.delay_s = 2
        await world.register(endpoint=receiver.url, management={"timeout": 100})
        response = await asyncio.wait_for(world.client.get("/entities?type=Car"), 1.5)
        assert response.headers[WARNING].startswith("199")

    async def test_a_source_that_failed_is_left_alone_for_its_cooldown(self, world: World, receiver: Receiver) -> None:
        receiver.status = 500
        await world.register(endpoint=receiver.url, management={"cooldown": 60_000})
        codes = [(await world.client.get("/entities?type=Car")).headers[WARNING][:3] for _ in range(2)]
        assert codes == ["299", "199"]
        assert len(receiver.received) == 1

    async def test_a_loop_ends(self, world: World) -> None:
        await world.register()
        await world.register(headers=world.there, tenant=world.here)
        await world.create(CAR)
        response = await world.client.get("/entities?type=Car")
        assert [item["id"] for item in response.json()] == [CAR]
        assert response.headers[WARNING].startswith("199")

    async def test_a_source_that_the_request_came_through_is_not_asked(self, world: World, receiver: Receiver) -> None:
        await world.register(endpoint=receiver.url, contextSourceAlias="far")
        await world.get("/entities?type=Car", headers={"Via": "1.1 far"})
        assert receiver.received == []

    async def test_addresses_of_the_own_machine_are_guarded(self, shared_url: str, receiver: Receiver) -> None:
        settings = {"http_host": "0.0.0.0", "api_tokens_sha256": ("0" * 64,)}  # noqa: S104 - not listened on
        async with hub_for(shared_url, **settings) as hub:
            assert not hub.settings.loopback_endpoints_allowed
            with pytest.raises(SourceUnreachable, match="own machine"):
                await hub.source_client.ask(SourceRequest("GET", receiver.url, {}))
        assert receiver.received == []

    async def test_other_processes_hear_of_a_registration_within_a_second(self, world: World, shared_url: str) -> None:
        async with hub_for(shared_url) as other:
            following = asyncio.create_task(other.registrations.run())
            await eventually(lambda: other.registrations.is_loaded)
            await world.register()
            tenant_id = await other.tenants.find(world.here)
            await eventually(lambda: len(other.registrations.of(tenant_id)) == 1, timeout_s=2)
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


class TestChanges:
    async def both(self, world: World, path: str = f"/entities/{CAR}?options=simplified") -> list[Any]:
        """What is here and what is at the source; None for nothing."""
        answers = [await world.client.get(f"{path}&local=true", headers=headers) for headers in ({}, world.there)]
        return [response.json() if response.status_code == 200 else None for response in answers]

    async def test_a_change_is_made_in_both_places(self, world: World) -> None:
        await world.register(operations=["redirectionOps"])
        created = await world.client.post("/entities", json={"id": CAR, "type": "Car", "speed": 1, "grade": 1})
        assert (created.status_code, created.headers["location"]) == (201, f"/ngsi-ld/v1/entities/{CAR}")
        expected = {"id": CAR, "type": "Car", "speed": 1, "grade": 1}
        assert await self.both(world) == [expected, expected]
        for method, path, body in (
            ("PATCH", f"/entities/{CAR}", {"speed": 2}),
            ("POST", f"/entities/{CAR}/attrs", {"colour": "red"}),
            ("PATCH", f"/entities/{CAR}/attrs", {"speed": 3}),
            ("PATCH", f"/entities/{CAR}/attrs/speed", {"value": 4}),
            ("PUT", f"/entities/{CAR}/attrs/colour", {"type": "Property", "value": "blue"}),
            ("DELETE", f"/entities/{CAR}/attrs/grade", None),
        ):
            changed = await world.client.request(method, path, json=body)
            assert changed.status_code == 204, (method, path, changed.text)
        expected = {"id": CAR, "type": "Car", "speed": 4, "colour": "blue"}
        assert await self.both(world) == [expected, expected]
        assert (await world.client.put(f"/entities/{CAR}", json={"type": "Car", "speed": 5})).status_code == 204
        assert await self.both(world) == [{"id": CAR, "type": "Car", "speed": 5}] * 2
        assert (await world.client.delete(f"/entities/{CAR}")).status_code == 204
        assert await self.both(world) == [None, None]

    async def test_locally_it_is_made_here_alone(self, world: World) -> None:
        await world.create(CAR, there=True, speed=number(1))
        await world.create(CAR, speed=number(1))
        await world.register(operations=["redirectionOps"])
        assert (await world.client.patch(f"/entities/{CAR}?local=true", json={"speed": 2})).status_code == 204
        assert [item["speed"] for item in await self.both(world)] == [2, 1]

    async def test_what_is_redirected_is_made_there_alone(self, world: World) -> None:
        await world.register(mode="redirect", operations=["redirectionOps"])
        assert (await world.client.post("/entities", json={"id": CAR, "type": "Car", "speed": 1})).status_code == 201
        assert await self.both(world) == [None, {"id": CAR, "type": "Car", "speed": 1}]
        again = await world.client.post("/entities", json={"id": CAR, "type": "Car"})
        assert (again.status_code, again.json()["title"]) == (409, "The referred element already exists.")
        assert (await world.client.delete(f"/entities/{CAR}")).status_code == 204
        assert await self.both(world) == [None, None]

    async def test_a_change_is_taken_apart_by_attributes(self, world: World) -> None:
        await world.create(CAR, colour=number("red"))
        await world.create(CAR, there=True, speed=number(1))
        information = [{"entities": [{"type": "Car", "id": CAR}], "propertyNames": ["speed"]}]
        await world.register(mode="exclusive", information=information, operations=["redirectionOps"])
        changed = await world.client.patch(f"/entities/{CAR}", json={"speed": 2, "colour": "blue"})
        assert changed.status_code == 204
        assert await self.both(world) == [
            {"id": CAR, "type": "Car", "colour": "blue"},
            {"id": CAR, "type": "Car", "speed": 2},
        ]

    async def test_names_are_those_of_the_source(self, world: World, receiver: Receiver) -> None:
        receiver.status = 204
        await world.register(endpoint=receiver.url, mode="redirect", operations=["redirectionOps"])
        inline = {"@context": {"Car": "https://uri.etsi.org/ngsi-ld/default-context/Car", "v": "urn:x:v"}}
        body = {"id": CAR, "type": "Car", "v": {"type": "Property", "value": 1}, **inline}
        created = await world.client.post("/entities", json=body, headers={"Content-Type": "application/ld+json"})
        assert created.status_code == 201, created.text
        sent = receiver.received[0]
        assert sent.json == {"id": CAR, "type": "Car", "urn:x:v": {"type": "Property", "value": 1}}
        assert sent.headers["content-type"] == "application/json"

    async def test_parts_that_were_not_made_are_told_of(self, world: World, receiver: Receiver) -> None:
        receiver.status = 404
        await world.create(CAR, speed=number(1))
        path = await world.register(id="urn:r:1", endpoint=receiver.url, operations=["redirectionOps"])
        assert path
        partly = await world.client.patch(f"/entities/{CAR}", json={"speed": 2})
        assert partly.status_code == 207
        assert partly.json()["success"] == [CAR]
        (error,) = partly.json()["errors"]
        assert (error["entityId"], error["registrationId"], error["error"]["status"]) == (CAR, "urn:r:1", 404)
        assert (await self.both(world))[0]["speed"] == 2

    @pytest.mark.parametrize(("status", "told"), [(404, 404), (409, 409), (403, 502), (500, 502)])
    async def test_what_only_a_source_makes_fails_with_it(
        self, world: World, receiver: Receiver, status: int, told: int
    ) -> None:
        receiver.status = status
        await world.register(endpoint=receiver.url, mode="redirect", operations=["redirectionOps"])
        assert (await world.client.delete(f"/entities/{CAR}")).status_code == told

    async def test_a_source_that_does_not_answer_is_a_timeout(self, world: World, receiver: Receiver) -> None:
        await receiver.close()
        await world.register(endpoint=receiver.url, mode="redirect", operations=["redirectionOps"])
        assert (await world.client.delete(f"/entities/{CAR}")).status_code == 504

    async def test_a_loop_of_redirections_is_told(self, world: World) -> None:
        alias = (await world.get("/info/sourceIdentity"))["contextSourceAlias"]
        await world.register(mode="redirect", operations=["redirectionOps"])
        looped = await world.client.delete(f"/entities/{CAR}", headers={"Via": f"1.1 {alias}"})
        assert looped.status_code == 508

    async def test_what_is_held_elsewhere_is_not_written_here(self, world: World) -> None:
        await world.register(mode="redirect", operations=["retrieveOps"])
        refused = await world.client.post("/entities", json={"id": CAR, "type": "Car"})
        assert refused.status_code == 409
        other = await world.client.post("/entities", json={"id": "urn:ngsi-ld:Bus:1", "type": "Bus"})
        assert other.status_code == 201

    async def test_a_source_that_does_not_take_changes_gets_none(self, world: World, receiver: Receiver) -> None:
        for mode in ("inclusive", "auxiliary"):
            await world.register(endpoint=receiver.url, mode=mode, operations=["retrieveOps"])
        assert (await world.client.post("/entities", json={"id": CAR, "type": "Car"})).status_code == 201
        assert receiver.received == []

    async def test_a_change_of_another_type_is_not_for_the_source(self, world: World, receiver: Receiver) -> None:
        bus = "urn:ngsi-ld:Bus:1"
        await world.create(bus, kind="Bus", speed=number(1))
        await world.register(endpoint=receiver.url, operations=["redirectionOps", "deleteBatch"])
        assert (await world.client.patch(f"/entities/{bus}", json={"speed": 2})).status_code == 204
        assert (await world.client.post("/entityOperations/delete", json=[bus])).status_code == 204
        assert receiver.received == []

    async def test_a_batch_is_made_in_both_places(self, world: World) -> None:
        operations = ["createBatch", "upsertBatch", "updateBatch", "mergeBatch", "deleteBatch"]
        await world.register(operations=operations)
        for name, body, status in (
            ("create", [{"id": CAR, "type": "Car", "speed": 1}, {"id": "urn:ngsi-ld:Bus:1", "type": "Bus"}], 201),
            ("update", [{"id": CAR, "type": "Car", "colour": "red"}], 204),
            ("merge", [{"id": CAR, "speed": 2}], 204),
        ):
            response = await world.client.post(f"/entityOperations/{name}", json=body)
            assert response.status_code == status, (name, response.text)
        assert await self.both(world) == [{"id": CAR, "type": "Car", "speed": 2, "colour": "red"}] * 2
        replaced = await world.client.post("/entityOperations/upsert", json=[{"id": CAR, "type": "Car", "speed": 3}])
        assert replaced.status_code == 204
        assert await self.both(world) == [{"id": CAR, "type": "Car", "speed": 3}] * 2
        assert (await world.client.post("/entityOperations/delete", json=[CAR])).status_code == 204
        assert await self.both(world) == [None, None]

    async def test_entities_of_a_batch_that_a_source_did_not_take_are_told(self, world: World) -> None:
        await world.create(CAR, there=True)
        path = await world.register(id=f"urn:r:{world.here}", operations=["createBatch"])
        assert path
        batch = [{"id": CAR, "type": "Car"}, {"id": OTHER, "type": "Car"}]
        created = await world.client.post("/entityOperations/create", json=batch)
        assert created.status_code == 207
        assert created.json()["success"] == [OTHER]
        (error,) = created.json()["errors"]
        assert (error["entityId"], error["registrationId"]) == (CAR, f"urn:r:{world.here}")
        assert error["error"]["status"] == 409

    async def test_a_batch_is_not_for_a_source_that_holds_the_entity_and_takes_none(self, world: World) -> None:
        information = [{"entities": [{"type": "Car", "id": CAR}]}]
        await world.register(mode="redirect", operations=["redirectionOps"], information=information)
        batch = [{"id": CAR, "type": "Car"}, {"id": OTHER, "type": "Car"}]
        created = await world.client.post("/entityOperations/create", json=batch)
        assert created.json()["success"] == [OTHER]
        assert [error["error"]["status"] for error in created.json()["errors"]] == [409]

    async def test_purges_are_not_passed_on(self, world: World) -> None:
        await world.register(operations=["redirectionOps"])
        assert (await world.client.delete("/entities?type=Car")).status_code == 422
        assert (await world.client.delete("/entities?type=Bus")).status_code == 204
        assert (await world.client.delete("/entities?type=Car&local=true")).status_code == 204

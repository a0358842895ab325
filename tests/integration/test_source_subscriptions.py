# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to registrations of context sources (clause 5.11), over HTTP; what is sent is read from the outbox."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from api.hub import Hub
from api.ngsild.source_notifications import SourceNotifier
from api.workers.source_subscriptions import notify_of_registrations
from broker.times import to_text
from context_store.registrations.rows import RegistrationStore
from support.hub import hub_for
from support.served import served

NUMBERS = itertools.count(1)
CARS = [{"entities": [{"type": "Car"}]}]
NULL = "urn:ngsi-ld:null"


@dataclass
class World:
    """A hub, and a client of it in a tenant of its own."""

    hub: Hub
    client: httpx.AsyncClient
    tenant: str

    async def send(self, method: str, path: str, body: Any = None, status: int = 204) -> httpx.Response:
        response = await self.client.request(method, path, json=body)
        assert response.status_code == status, response.text
        return response

    async def register(self, **members: Any) -> str:
        """A source of cars; gives its id."""
        body = {
            "type": "ContextSourceRegistration",
            "endpoint": "http://127.0.0.1:9",
            "information": CARS,
            **members,
        }
        response = await self.send("POST", "/csourceRegistrations", body, 201)
        return response.headers["location"].rpartition("/")[2]

    async def subscribe(self, **members: Any) -> str:
        """To sources of cars; gives the path."""
        body = {
            "type": "Subscription",
            "entities": [{"type": "Car"}],
            "notification": {"endpoint": {"uri": "http://127.0.0.1:9/notify"}},
            **members,
        }
        response = await self.send("POST", "/csourceSubscriptions", body, 201)
        return response.headers["location"].removeprefix("/ngsi-ld/v1")

    async def notifications(self) -> list[dict[str, Any]]:
        """All that was put into the outbox, in order."""
        tenant_id = await self.hub.tenants.find_or_create(self.tenant)
        async with self.hub.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute("select body from delivery order by delivery_id")).fetchall()
        return [orjson.loads(bytes(row[0])) for row in rows]

    async def told(self) -> list[tuple[str, list[str]]]:
        """The reason of each notification, and the registrations in it."""
        return [(body["triggerReason"], [item["id"] for item in body["data"]]) for body in await self.notifications()]


@pytest.fixture
async def world(shared_url: str) -> AsyncIterator[World]:
    tenant = f"sources_{next(NUMBERS)}"
    async with (
        hub_for(shared_url) as hub,
        served(hub) as address,
        httpx.AsyncClient(
            base_url=f"http://{address}/ngsi-ld/v1", timeout=20, headers={"NGSILD-Tenant": tenant}
        ) as client,
    ):
        await hub.tenants.find_or_create(tenant)
        yield World(hub, client, tenant)


async def test_what_matches_already_is_told_at_once(world: World) -> None:
    car = await world.register()
    await world.register(information=[{"entities": [{"type": "Tram"}]}])
    await world.subscribe()
    assert await world.told() == [("newlyMatching", [car])]


async def test_nothing_is_sent_when_nothing_matches(world: World) -> None:
    await world.subscribe()
    assert await world.told() == []


async def test_a_registration_is_told_from_its_beginning_to_its_end(world: World) -> None:
    await world.subscribe()
    car = await world.register()
    path = f"/csourceRegistrations/{car}"
    await world.send("PATCH", path, {"registrationName": "Cars"})
    await world.send("PATCH", path, {"information": [{"entities": [{"type": "Tram"}]}]})
    await world.send("PATCH", path, {"information": CARS})
    await world.send("DELETE", path)
    reasons = ["newlyMatching", "updated", "noLongerMatching", "newlyMatching", "noLongerMatching"]
    assert await world.told() == [(reason, [car]) for reason in reasons]


async def test_a_notification_has_the_information_that_matches(world: World) -> None:
    path = await world.subscribe()
    car = await world.register(information=[*CARS, {"entities": [{"type": "Tram"}]}], registrationName="Traffic")
    [body] = await world.notifications()
    assert body["type"] == "ContextSourceNotification"
    assert body["subscriptionId"] == path.rpartition("/")[2]
    assert body["id"].startswith("urn:")
    assert body["notifiedAt"].endswith("Z")
    [told] = body["data"]
    assert (told["id"], told["registrationName"]) == (car, "Traffic")
    assert told["information"] == CARS


@pytest.mark.parametrize(
    ("asked", "source"),
    [
        ({"watchedAttributes": ["speed"]}, {"information": [{"propertyNames": ["speed", "brand"]}]}),
        ({"csf": 'owner=="city"'}, {"owner": {"type": "Property", "value": "city"}}),
        (
            {"geoQ": {"georel": "near;maxDistance==2000", "geometry": "Point", "coordinates": [138.4, 35.0]}},
            {"location": {"type": "Point", "coordinates": [138.401, 35.0]}},
        ),
        (
            {"temporalQ": {"timerel": "after", "timeAt": "2026-01-01T00:00:00Z"}},
            {"observationInterval": {"startAt": "2025-01-01T00:00:00Z"}},
        ),
    ],
    ids=["attributes", "csf", "place", "history"],
)
async def test_filters_are_those_of_a_query_of_registrations(
    world: World, asked: dict[str, Any], source: dict[str, Any]
) -> None:
    await world.subscribe(**asked)
    await world.register(information=[{"entities": [{"type": "Car"}], "propertyNames": ["brand"]}])
    fitting = await world.register(**source)
    assert await world.told() == [("newlyMatching", [fitting])]


async def test_one_that_is_paused_is_told_all_when_it_is_active_again(world: World) -> None:
    path = await world.subscribe(isActive=False)
    first, second = await world.register(), await world.register()
    assert await world.told() == []
    await world.send("PATCH", path, {"isActive": True})
    assert await world.told() == [("newlyMatching", [first, second])]


async def test_asking_for_something_else_tells_the_difference(world: World) -> None:
    car, tram = await world.register(), await world.register(information=[{"entities": [{"type": "Tram"}]}])
    path = await world.subscribe()
    await world.send("PATCH", path, {"entities": [{"type": "Tram"}]})
    assert (await world.told())[1:] == [("newlyMatching", [tram]), ("noLongerMatching", [car])]


async def test_one_with_an_interval_is_told_all_each_time_and_of_no_change(world: World) -> None:
    car = await world.register()
    path = await world.subscribe(timeInterval=60)
    other = await world.register()
    tenant_id = await world.hub.tenants.find_or_create(world.tenant)
    async with world.hub.database.transaction(tenant_id) as connection:
        await connection.execute("update subscription set next_due = now() - interval '1 second'")
    await notify_of_registrations(world.hub, SourceNotifier(world.hub), datetime.now(UTC))
    assert await world.told() == [("newlyMatching", [car]), ("updated", [car, other])]
    await world.send("DELETE", path)


async def test_a_registration_that_expires_is_told_too(world: World) -> None:
    await world.subscribe()
    car = await world.register(expiresAt=to_text(datetime.now(UTC) + timedelta(minutes=1)))
    tenant_id = await world.hub.tenants.find_or_create(world.tenant)
    async with world.hub.database.transaction(tenant_id) as connection:
        await connection.execute("update csource_registration set expires_at = now() - interval '1 second'")
    await RegistrationStore(world.hub.database, SourceNotifier(world.hub).registration_changed).collect()
    assert (await world.told())[1:] == [("noLongerMatching", [car])]


async def test_it_is_shown_as_it_was_given(world: World) -> None:
    path = await world.subscribe(temporalQ={"timerel": "before", "timeAt": "2026-01-01T00:00:00Z"}, csf="owner")
    shown = (await world.send("GET", path, status=200)).json()
    assert shown["temporalQ"] == {"timerel": "before", "timeAt": "2026-01-01T00:00:00Z"}
    assert (shown["csf"], shown["status"]) == ("owner", "active")
    assert "notificationTrigger" not in shown


async def test_counters_tell_of_notifications(world: World) -> None:
    path = await world.subscribe()
    await world.register()
    shown = (await world.send("GET", path, status=200)).json()
    assert shown["notification"]["timesSent"] == 1


async def test_it_is_none_of_the_subscriptions_to_entities(world: World) -> None:
    path = await world.subscribe()
    assert (await world.send("GET", "/subscriptions", status=200)).json() == []
    assert [item["id"] for item in (await world.send("GET", "/csourceSubscriptions", status=200)).json()] == [
        path.rpartition("/")[2]
    ]
    await world.send("DELETE", path.replace("csourceSubscriptions", "subscriptions"), status=404)


@pytest.mark.parametrize(
    "members",
    [
        {"temporalQ": {"timerel": "between", "timeAt": "2026-01-01T00:00:00Z"}},
        {"csf": "owner=="},
        {"notification": {"endpoint": {"uri": "http://127.0.0.1:9", "accept": "application/geo+json"}}},
    ],
)
async def test_what_cannot_be_served_is_refused(world: World, members: dict[str, Any]) -> None:
    body = {
        "type": "Subscription",
        "entities": [{"type": "Car"}],
        "notification": {"endpoint": {"uri": "http://127.0.0.1:9/notify"}},
        **members,
    }
    await world.send("POST", "/csourceSubscriptions", body, 400)

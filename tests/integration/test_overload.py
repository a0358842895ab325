# SPDX-License-Identifier: Apache-2.0
"""Writes are refused before memory or disk suffers: what is bulk first, what helps or is an alert never."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from api.app import create_app, make_guard
from api.http.overload import LoadGuard
from api.hub import Hub
from context_store.database import ALL_TENANTS
from support.hub import hub_for
from support.notifications import delivering, notify, subscribe
from support.receiver import Receiver
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

ENTITY = {"id": "urn:ngsi-ld:Gauge:1", "type": "Gauge", "level": {"type": "Property", "value": 1}}
ENTITIES = "/ngsi-ld/v1/entities"
BATCH = "/ngsi-ld/v1/entityOperations/upsert"


@dataclass
class Site:
    """A hub that is overloaded by ten deliveries that wait."""

    hub: Hub
    guard: LoadGuard
    client: httpx.AsyncClient

    async def fill(self, count: int, uri: str = "http://127.0.0.1:9/") -> str:
        subscription = await subscribe(self.client, uri)
        await notify(self.hub, subscription, count)
        await self.guard.measure()
        return subscription

    async def status(self, method: str, path: str, body: object = None) -> int:
        return (await self.client.request(method, path, json=body)).status_code


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    async with hub_for(database_url, overload_pending=10) as hub:
        guard = make_guard(hub)
        transport = httpx.ASGITransport(create_app(hub, guard=guard))
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            yield Site(hub, guard, client)


async def test_nothing_is_refused_below_the_limits(site: Site) -> None:
    await site.fill(7)
    assert await site.status("POST", BATCH, [ENTITY]) == 201


async def test_batches_are_refused_first(site: Site) -> None:
    await site.fill(8)
    assert await site.status("POST", BATCH, [ENTITY]) == 429
    assert await site.status("POST", ENTITIES, ENTITY) == 201


async def test_refusal_says_why_and_when_to_come_back(site: Site) -> None:
    await site.fill(10)
    answer = await site.client.post(ENTITIES, json=ENTITY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
    assert "wait to be delivered" in answer.json()["detail"]
    assert 'minamo_writes_refused_total{limit="pending"}' in (await site.client.get("/metrics")).text


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"{ENTITIES}?type=Gauge", None, 200),
        ("POST", "/ngsi-ld/v1/entityOperations/query", {"type": "Query", "entities": [{"type": "Gauge"}]}, 200),
        ("POST", "/ngsi-ld/v1/entityOperations/delete", ["urn:ngsi-ld:Gauge:1"], 404),
        ("PATCH", f"{ENTITIES}/urn:ngsi-ld:Alert:1/attrs", {"level": {"type": "Property", "value": 2}}, 404),
        ("POST", "/api/v1/dead-letters/replay", None, 200),
    ],
)
async def test_questions_what_helps_and_alerts_are_never_refused(
    site: Site, method: str, path: str, body: object, status: int
) -> None:
    await site.fill(20)
    answer = await site.status(method, path, body)
    assert answer != 429
    assert answer in {status, 207, 400, 404}


async def test_writes_go_on_when_the_backlog_is_gone(site: Site, receiver: Receiver) -> None:
    await site.fill(12, receiver.url)
    assert await site.status("POST", ENTITIES, ENTITY) == 429
    async with delivering(site.hub):
        await receiver.wait_for(12)
        await eventually(lambda: _is_measured_free(site))
    assert await site.status("POST", ENTITIES, ENTITY) == 201


async def _is_measured_free(site: Site) -> bool:
    await site.guard.measure()
    return site.guard.reason(bulk=True) is None


async def test_changes_that_wait_count_too(database_url: str) -> None:
    async with hub_for(database_url, overload_event_lag=2) as hub:
        guard = make_guard(hub)
        await guard.measure()
        assert guard.reason(bulk=False) is None
        async with hub.database.transaction(ALL_TENANTS) as connection:
            await connection.execute(
                """insert into change_event (tenant_id, entity_key, entity_id, entity_types, operation, changes)
                   select 1, 1, 'urn:x:1', '{urn:x:T}', 'updated', '[]' from generate_series(1, 3)"""
            )
        await guard.measure()
        assert guard.reason(bulk=False) == "events"


async def test_disk_that_is_almost_full_counts_where_the_database_is(database_url: str, tmp_path: object) -> None:
    async with hub_for(database_url, data_dir=tmp_path, overload_free_disk_mb=2**40) as hub:
        guard = make_guard(hub)
        await guard.measure()
        assert guard.reason(bulk=False) == "disk"

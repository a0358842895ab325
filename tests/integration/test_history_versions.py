# SPDX-License-Identifier: Apache-2.0
"""Answers about history are kept, and never given when anything was written since, by whatever way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from api.hub import Hub
from broker.devices.model import AttributeMapping, Device
from broker.intake.readings import Observation
from broker.quality.flags import Reason
from broker.times import to_text
from context_store.database import ALL_TENANTS
from context_store.history.rollups import Rollups
from context_store.history.versions import HistoryVersions
from context_store.intake.commits import PostgresReadingStore

API = "/ngsi-ld/v1"
RIVER = "urn:ngsi-ld:River:abe"
LEVEL = "https://uri.etsi.org/ngsi-ld/default-context/waterLevel"
NOON = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
EVOLUTION = f"{API}/temporal/entities/{RIVER}"
HOURS = (
    f"{EVOLUTION}?timerel=after&timeAt=2020-01-01T00:00:00Z&format=aggregatedValues&aggrMethods=sum,totalCount"
    "&aggrPeriodDuration=PT1H"
)
MAPPING = AttributeMapping("level", LEVEL)
DEVICE = Device(1, "gauge", "gauge", "gauge", RIVER, ("urn:x:River",), (MAPPING,))


def level(value: Any, minute: float, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": to_text(NOON + timedelta(minutes=minute)), **members}


Write = Callable[[Hub, httpx.AsyncClient], Awaitable[Any]]


def reading(value: float | None, minute: int) -> Write:
    async def write(hub: Hub, _: httpx.AsyncClient) -> None:
        told = () if value is None else ((MAPPING, value),)
        missing = ((MAPPING, Reason.SENTINEL),) if value is None else ()
        observation = Observation(DEVICE, NOON + timedelta(minutes=minute), told, missing)
        await PostgresReadingStore(hub.database, hub.terms, hub.history).commit([observation], [])

    return write


async def _instance(client: httpx.AsyncClient) -> str:
    instances = (await client.get(EVOLUTION)).json()["waterLevel"]
    return f"{EVOLUTION}/attrs/waterLevel/{instances[0]['instanceId']}"


async def _insert_as_anybody(hub: Hub, _: httpx.AsyncClient) -> None:
    """As a writer to come may do it, who knows nothing of versions."""
    async with hub.database.transaction(1) as connection:
        await connection.execute(
            """insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, value_hash, kind,
                                               recorded_at, number_value)
               select entity_key, 1, (select term_id from term where name = %s), %s, 1, 1, now(), 3 from entity""",
            (LEVEL, NOON + timedelta(minutes=40)),
        )


CSV = "entityId,attribute,observedAt,value\n" + f"{RIVER},waterLevel,{to_text(NOON + timedelta(minutes=33))},4\n"
WRITES: dict[str, Write] = {
    "a new reading": reading(2.0, 10),
    "a late reading": reading(1.5, 5),
    "a late reading of what is rolled": reading(1.25, -3000),
    "a correction of an earlier reading": reading(1.75, 5),
    "a moment without a value": reading(None, 7),
    "the temporal API adds": lambda _, client: client.post(f"{EVOLUTION}/attrs", json={"waterLevel": [level(9, 20)]}),
    "the temporal API replaces": lambda _, client: _then(
        _instance(client), lambda at: client.patch(at, json={"waterLevel": [level(8, 21)]})
    ),
    "the temporal API removes one": lambda _, client: _then(_instance(client), client.delete),
    "quality is decided": lambda _, client: client.post(
        f"/api/v1/entities/{RIVER}/quality/waterLevel",
        json={"from": to_text(NOON), "to": to_text(NOON + timedelta(hours=1)), "quality": "suspect", "reason": "ice"},
    ),
    "a file is imported": lambda _, client: client.post(
        "/api/v1/import", content=CSV.encode(), headers={"Content-Type": "text/csv"}
    ),
    "somebody inserts": _insert_as_anybody,
    "the temporal API removes an attribute": lambda _, client: client.delete(f"{EVOLUTION}/attrs/waterLevel"),
    "the temporal API removes all": lambda _, client: client.delete(EVOLUTION),
}


async def _then(first: Awaitable[str], second: Callable[[str], Awaitable[Any]]) -> Any:
    return await second(await first)


async def test_every_way_of_writing_changes_the_version(hub: Hub, client: httpx.AsyncClient) -> None:
    await reading(1.0, 0)(hub, client)
    await Rollups(hub.database).run(datetime.now(UTC))
    versions = HistoryVersions(hub.database)
    unchanged = []
    for name, write in WRITES.items():
        before = await versions.of(1, RIVER)
        answer = await write(hub, client)
        assert not isinstance(answer, httpx.Response) or answer.is_success, (name, answer.text)
        if await versions.of(1, RIVER) == before:
            unchanged.append(name)
    assert unchanged == []


async def test_what_was_answered_is_answered_again_until_a_late_reading_comes(
    hub: Hub, client: httpx.AsyncClient
) -> None:
    await reading(1.0, 0)(hub, client)
    first = await client.get(HOURS)
    again = await client.get(HOURS)
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    known = {"If-None-Match": first.headers["etag"]}
    assert (await client.get(HOURS, headers=known)).status_code == 304
    await reading(2.0, -1)(hub, client)
    changed = await client.get(HOURS, headers=known)
    assert changed.status_code == 200
    assert [count for count, _, _ in changed.json()["waterLevel"]["totalCount"]] == [1, 1]


async def test_what_expires_by_itself_is_not_kept(hub: Hub, client: httpx.AsyncClient) -> None:
    await reading(1.0, 0)(hub, client)
    soon = to_text(datetime.now(UTC) + timedelta(days=1))
    added = await client.post(f"{EVOLUTION}/attrs", json={"waterLevel": [level(2, 1, expiresAt=soon)]})
    assert added.status_code == 204
    assert "etag" not in (await client.get(HOURS)).headers
    assert "etag" not in (await client.get(EVOLUTION)).headers


async def test_tenants_do_not_share_answers(hub: Hub, client: httpx.AsyncClient) -> None:
    for tenant, value in (("a", 1), ("b", 2)):
        body = {"id": RIVER, "type": "River", "waterLevel": [level(value, 0)]}
        await client.post(f"{API}/temporal/entities", json=body, headers={"NGSILD-Tenant": tenant})
    for _ in range(2):
        for tenant, value in (("a", 1), ("b", 2)):
            found = await client.get(HOURS, headers={"NGSILD-Tenant": tenant})
            assert found.json()["waterLevel"]["sum"][0][0] == value


async def test_nothing_is_marked_for_readings_in_time(hub: Hub, client: httpx.AsyncClient) -> None:
    await reading(1.0, 0)(hub, client)
    statement = "select xmin::text from entity_identity"
    async with hub.database.transaction(ALL_TENANTS) as connection:
        before = await (await connection.execute(statement)).fetchall()
    await reading(2.0, 10)(hub, client)
    async with hub.database.transaction(ALL_TENANTS) as connection:
        assert await (await connection.execute(statement)).fetchall() == before

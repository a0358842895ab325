# SPDX-License-Identifier: Apache-2.0
"""Whatever changes an entity writes its history, in the same transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.hub import Hub
from broker.contexts.jsonld import core_terms
from broker.devices.model import AttributeMapping, Device
from broker.expansion import expand_entity
from broker.intake.readings import Observation
from broker.operations import create_entity
from broker.times import to_text
from context_store.database import ALL_TENANTS
from context_store.entities.expiry import ExpiryStore
from context_store.history.partitions import HYPERTABLE
from context_store.intake.commits import PostgresReadingStore
from support.cluster import StoreMode

API = "/ngsi-ld/v1"
RIVER = "urn:ngsi-ld:River:abe"
ONE = f"{API}/entities/{RIVER}"
LEVEL = "https://uri.etsi.org/ngsi-ld/default-context/waterLevel"
TYPE = "https://uri.etsi.org/ngsi-ld/default-context/River"

# Changes of the last transaction, as subscribers are told, that it did not write into history.
_WITHOUT_HISTORY = """
    select e.operation, c ->> 'attribute' from change_event e, json_array_elements(e.changes) c
     where e.transaction_id = (select max(transaction_id::text::bigint)::text::xid8 from change_event)
       and not exists (select from {table} i join term t on t.term_id = i.attribute_id
                        where i.entity_key = e.entity_key and t.name = c ->> 'attribute'
                          and i.removed = (c ->> 'after' is null)
                          and i.xmin::text::bigint = e.transaction_id::text::bigint % 4294967296)
"""
VERSIONS = "select entity_key, i.xmin::text, e.xmin::text from entity_identity i left join entity e using (entity_key)"
_EVENTS = "select operation from change_event order by event_id"
# Values of the current state that are not what is believed.
_UNLIKE_CURRENT = """
    select a.key, d.key from entity e, jsonb_each(e.document) a, jsonb_each(a.value) d
     where not exists (select from attribute_instance i join term t on t.term_id = i.attribute_id
                        where i.entity_key = e.entity_key and t.name = a.key and i.superseded_at is null
                          and not i.removed
                          and coalesce(i.json_value, to_jsonb(i.number_value), to_jsonb(i.text_value))
                              = d.value -> 'value')
"""


def level(value: float, minute: int | None = None, **members: Any) -> dict[str, Any]:
    observed = {} if minute is None else {"observedAt": f"2026-06-30T12:{minute:02}:00Z"}
    return {"type": "Property", "value": value, **observed, **members}


def river(**attributes: Any) -> dict[str, Any]:
    return {"id": RIVER, "type": "River", **attributes}


async def rows(hub: Hub, statement: str) -> list[tuple[Any, ...]]:
    async with hub.database.transaction(ALL_TENANTS) as connection:
        return await (await connection.execute(statement)).fetchall()  # type: ignore[arg-type]


Path = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
DELETED: dict[str, Any] = {"waterLevel": "urn:ngsi-ld:null"}
PATHS: dict[str, Path] = {
    "create": lambda client: client.post(f"{API}/entities", json=river(waterLevel=level(1)) | {"id": RIVER + "2"}),
    "append": lambda client: client.post(f"{ONE}/attrs", json={"flow": level(2)}),
    "update": lambda client: client.patch(f"{ONE}/attrs", json={"waterLevel": level(2, 10)}),
    "partial update": lambda client: client.patch(f"{ONE}/attrs/waterLevel", json={"value": 3}),
    "replace an attribute": lambda client: client.put(f"{ONE}/attrs/waterLevel", json=level(3)),
    "merge": lambda client: client.patch(ONE, json={"waterLevel": level(4, 0), "name": level(5)}),
    "merge with a removal": lambda client: client.patch(ONE, json=DELETED),
    "replace": lambda client: client.put(ONE, json=river(flow=level(7))),
    "delete an attribute": lambda client: client.delete(f"{ONE}/attrs/waterLevel"),
    "delete": lambda client: client.delete(ONE),
    "batch create": lambda client: client.post(
        f"{API}/entityOperations/create", json=[river(flow=level(1)) | {"id": RIVER + "2"}]
    ),
    "batch upsert": lambda client: client.post(f"{API}/entityOperations/upsert", json=[river(flow=level(1))]),
    "batch update": lambda client: client.post(f"{API}/entityOperations/update", json=[river(waterLevel=level(1, 5))]),
    "batch merge": lambda client: client.post(f"{API}/entityOperations/merge", json=[river(waterLevel=level(2, 0))]),
    "batch delete": lambda client: client.post(f"{API}/entityOperations/delete", json=[RIVER]),
    "purge": lambda client: client.delete(f"{API}/entities", params={"type": "River"}),
    "purge of attributes": lambda client: client.delete(
        f"{API}/entities", params={"type": "River", "drop": "waterLevel"}
    ),
}


async def check(hub: Hub, mode: StoreMode, events: int) -> None:
    """There are so many events, all of them with their history, which agrees with the current state."""
    assert len(await rows(hub, _EVENTS)) == events
    table = "attribute_instance" if mode == "native" else HYPERTABLE
    assert await rows(hub, _WITHOUT_HISTORY.format(table=table)) == []
    assert await rows(hub, _UNLIKE_CURRENT) == []


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
async def test_operations_of_the_api(hub: Hub, client: httpx.AsyncClient, store_mode: StoreMode, path: Path) -> None:
    assert (await client.post(f"{API}/entities", json=river(waterLevel=level(1, 0)))).status_code == 201
    before = await rows(hub, VERSIONS)
    answer = await path(client)
    assert answer.is_success, answer.text
    await check(hub, store_mode, events=2)
    assert await rows(hub, VERSIONS) != before


async def test_readings(hub: Hub, store_mode: StoreMode) -> None:
    device = Device(1, "gauge", "gauge", "gauge", RIVER, (TYPE,), (AttributeMapping("level", LEVEL),))
    store = PostgresReadingStore(hub.database, hub.terms, hub.history)
    moment = datetime(2026, 6, 30, 12, tzinfo=UTC)
    for value in (1.0, 1.5):
        await store.commit([Observation(device, moment, ((device.attributes[0], value),))], [])
    await check(hub, store_mode, events=3)


async def test_expiry(hub: Hub, client: httpx.AsyncClient, store_mode: StoreMode) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    body = river(waterLevel=level(1, 0)) | {"expiresAt": to_text(soon)}
    assert (await client.post(f"{API}/entities", json=body)).status_code == 201
    assert await ExpiryStore(hub.database, hub.writer, clock=lambda: soon).collect(10) == 1
    await check(hub, store_mode, events=2)


async def test_entities_that_workers_write(hub: Hub, store_mode: StoreMode) -> None:
    """Alert entities and those of new devices: the writer that they share."""
    now = datetime.now(UTC)
    entity = expand_entity(river(waterLevel=level(1, 0)), core_terms())
    async with hub.database.transaction(1) as connection:
        await hub.writer.write(connection, 1, None, create_entity(None, entity, now), source="alerts", now=now)
    await check(hub, store_mode, events=1)

# SPDX-License-Identifier: Apache-2.0
"""The pipeline over a real broker and database: acknowledged only when durable, whatever the database does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.devices.registration import register
from api.hub import Hub
from api.intake.ingest_parts import make_client, make_pipeline
from api.replay.device import SimulatedDevice
from broker.errors import StoreUnavailable
from broker.intake.readings import CommitSummary, Observation, Quarantined, UnstorableBatch
from broker.times import to_text
from context_store.database import ALL_TENANTS
from context_store.devices.registry import CachedDeviceDirectory
from context_store.intake.quarantine import QuarantineFilter
from ingest.client import MqttAddress
from ingest.pipeline import Pipeline
from support.hub import hub_for
from support.mqtt_broker import Broker
from support.waiting import eventually

T0 = datetime(2026, 11, 1, tzinfo=UTC)
DEVICE = {
    "id": "gauge",
    "entityId": "urn:ngsi-ld:WaterObserved:gauge",
    "entityType": "WaterObserved",
    "attributes": [{"field": "level", "attribute": "waterLevel", "unitCode": "MTR", "minimum": -5, "maximum": 20}],
}


class FlakyStore:
    """The real store, away or refusing for as long as the test wants."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.away = False
        self.refuses_above: float | None = None
        self.calls = 0

    async def commit(self, observations: list[Observation], quarantined: list[Quarantined]) -> CommitSummary:
        """As the real one, unless told otherwise."""
        self.calls += 1
        if self.away:
            raise StoreUnavailable("away for the test")
        levels = [o.values[0][1] for o in observations if isinstance(o.values[0][1], float)]
        if self.refuses_above is not None and any(level > self.refuses_above for level in levels):
            raise UnstorableBatch("refused for the test")
        return await self._store.commit(observations, quarantined)


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    """A hub with one registered device."""
    async with hub_for(database_url) as opened:
        yield opened


@asynccontextmanager
async def running(hub: Hub, mosquitto: Broker) -> AsyncIterator[FlakyStore]:
    """Ingest on ``mosquitto``, with a store that can be made to fail."""
    pipeline, _ = make_pipeline(hub)
    store = FlakyStore(pipeline._store)
    pipeline._store = store
    access = mosquitto.hub
    client = make_client(
        hub.settings, MqttAddress(access.host, access.port, access.username, access.password), pipeline
    )
    tasks = [asyncio.create_task(client.run()), asyncio.create_task(pipeline.run(client))]
    await asyncio.wait_for(client.subscribed.wait(), 10)
    try:
        yield store
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def connect(hub: Hub, mosquitto: Broker) -> SimulatedDevice:
    await register(hub, 1, DEVICE)
    access = await mosquitto.device("gauge")
    assert access.username is not None
    assert access.password is not None
    return SimulatedDevice(access.host, access.port, access.username, access.password)


async def count(hub: Hub, table: str) -> int:
    statement = {
        "attribute_instance": """select count(*) from attribute_instance join term on term_id = attribute_id
                                  where name like '%%waterLevel'""",
        "quarantine": "select count(*) from quarantine",
    }[table]
    async with hub.database.transaction(ALL_TENANTS) as connection:
        row = await (await connection.execute(statement)).fetchone()
    assert row is not None
    return int(row[0])


def reading(number: int) -> dict[str, Any]:
    return {"time": to_text(T0 + timedelta(minutes=number)), "level": number / 100}


async def test_a_receipt_comes_only_after_the_reading_is_durable(hub: Hub, mosquitto: Broker) -> None:
    device = await connect(hub, mosquitto)
    async with running(hub, mosquitto) as store:
        store.away = True
        await asyncio.to_thread(device.publish, reading(1))
        await eventually(lambda: store.calls > 1)
        assert await asyncio.to_thread(device.flush, 0.5) == 1
        store.away = False
        assert await asyncio.to_thread(device.flush, 10) == 0
        assert await count(hub, "attribute_instance") == 1
    device.close()


async def test_readings_taken_while_the_database_is_away_are_stored_once_when_it_is_back(
    hub: Hub, mosquitto: Broker
) -> None:
    device = await connect(hub, mosquitto)
    async with running(hub, mosquitto) as store:
        store.away = True
        await asyncio.to_thread(lambda: [device.publish(reading(n)) for n in range(150)])
        await eventually(lambda: store.calls > 2)
        store.away = False
        assert await asyncio.to_thread(device.flush, 20) == 0
        assert await count(hub, "attribute_instance") == 150
    device.close()


async def test_what_was_not_acknowledged_comes_again_to_the_next_process(hub: Hub, mosquitto: Broker) -> None:
    device = await connect(hub, mosquitto)
    async with running(hub, mosquitto) as store:
        store.away = True
        await asyncio.to_thread(lambda: [device.publish(reading(n)) for n in range(50)])
        await eventually(lambda: store.calls > 1)
    async with running(hub, mosquitto):
        await eventually(lambda: _has(hub, 50), 15)
    device.close()


async def _has(hub: Hub, rows: int) -> bool:
    return await count(hub, "attribute_instance") == rows


async def test_a_reading_the_database_refuses_is_set_aside_and_its_neighbours_are_stored(
    hub: Hub, mosquitto: Broker
) -> None:
    device = await connect(hub, mosquitto)
    async with running(hub, mosquitto) as store:
        store.refuses_above = 5.0
        await asyncio.to_thread(device.publish, reading(1))
        await asyncio.to_thread(device.publish, {**reading(2), "level": 9.0})
        await asyncio.to_thread(device.publish, reading(3))
        assert await asyncio.to_thread(device.flush, 10) == 0
        assert await count(hub, "attribute_instance") == 2
        entries = await hub.quarantine.page(1, QuarantineFilter())
        assert [(entry.reason, entry.device_key) for entry in entries] == [("refused_by_store", "gauge")]
    assert [answer["status"] for answer in device.quarantined] == ["quarantined"]
    device.close()


async def test_a_device_registered_a_moment_ago_is_known_at_its_first_message(hub: Hub, mosquitto: Broker) -> None:
    async with running(hub, mosquitto):
        device = await connect(hub, mosquitto)
        await asyncio.to_thread(device.publish, reading(1))
        assert await asyncio.to_thread(device.flush, 10) == 0
        assert await count(hub, "attribute_instance") == 1
        assert await count(hub, "quarantine") == 0
    device.close()


async def test_no_device_is_called_unknown_while_the_registry_cannot_be_read(
    hub: Hub, mosquitto: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await connect(hub, mosquitto)
    read = CachedDeviceDirectory.refresh
    away = True

    async def refresh(directory: CachedDeviceDirectory) -> bool:
        if away:
            raise StoreUnavailable("away for the test")
        return await read(directory)

    monkeypatch.setattr(CachedDeviceDirectory, "refresh", refresh)
    async with running(hub, mosquitto):
        await asyncio.to_thread(device.publish, reading(1))
        assert await asyncio.to_thread(device.flush, 1) == 1
        away = False
        assert await asyncio.to_thread(device.flush, 10) == 0
        assert device.quarantined == []
    device.close()


def test_pipeline_says_how_many_messages_wait() -> None:
    assert Pipeline(None, None, None).waiting == 0  # type: ignore[arg-type]

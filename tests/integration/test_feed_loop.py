# SPDX-License-Identifier: Apache-2.0
"""A change event that cannot be processed holds nobody up for long, and is not hidden."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from psycopg import AsyncConnection

from api.health import PartDown
from api.hub import Hub
from api.workers import feed as feed_module
from api.workers.feed import FeedLoop
from context_store.database import ALL_TENANTS
from context_store.events import ChangeEvent, ChangeFeed
from support.hub import hub_for

INSERT = """insert into change_event (tenant_id, entity_key, entity_id, entity_types, operation, changes)
            values (1, 1, %s, '{}', 'updated', '[]')"""


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    """A hub with ten change events."""
    async with hub_for(database_url) as opened:
        async with opened.database.transaction(ALL_TENANTS) as connection:
            for number in range(10):
                await connection.execute(INSERT, (f"urn:x:{number}",))
        yield opened


@pytest.mark.parametrize("store_mode", ["native"], indirect=True)
async def test_event_that_always_fails_is_passed_over_and_all_others_are_processed_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "_PAUSE_AFTER_ERROR_S", 0.02)
    done: list[str] = []

    async def process(_: AsyncConnection, events: list[ChangeEvent]) -> None:
        ids = [event.entity_id for event in events]
        if "urn:x:4" in ids:
            raise KeyError("a fault of ours")
        done.extend(ids)

    loop = FeedLoop("alerts", ChangeFeed(hub.database, "alerts"), process, poll_s=0.05)
    complaints = set()
    task = asyncio.create_task(loop.run())
    try:
        async with asyncio.timeout(20):
            while len(done) < 9:
                try:
                    await loop.check()
                except PartDown as exc:
                    complaints.add(str(exc))
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert done == [f"urn:x:{number}" for number in range(10) if number != 4]
    assert complaints == {"KeyError: 'a fault of ours'"}


@pytest.mark.parametrize("store_mode", ["native"], indirect=True)
async def test_worker_that_is_ended_while_its_connection_breaks_ends(hub: Hub) -> None:
    """Otherwise the cancellation would become a database that is away, which workers wait for."""
    with pytest.raises(asyncio.CancelledError):
        async with hub.database.transaction(ALL_TENANTS) as connection:
            await connection.close()
            raise asyncio.CancelledError

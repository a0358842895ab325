# SPDX-License-Identifier: Apache-2.0
"""States of alert rules in memory: what decides nothing is written later, and is known again by whoever counts on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import pytest
from psycopg import AsyncConnection

from api.alerting.rules import make_evaluator
from api.workers.feed import FeedLoop
from broker.alerts import RuleState
from context_store.alerts.standing import StateKey
from context_store.database import ALL_TENANTS
from context_store.events import ChangeEvent, ChangeFeed
from support.alarm_city import City, at
from support.hub import client_for, hub_for

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

BRIDGE = "urn:ngsi-ld:WaterObserved:bridge"
RISE = {"when": {"rise": {"atLeast": 0.5, "over": 3600}}, "stage": "caution"}


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[City]:
    async with hub_for(database_url, alert_states_write_s=600) as hub, client_for(hub) as http:
        one = City(hub, http)
        await one.put_rule(levels=[RISE], noData={"after": 86_400})
        yield one


class Worker:
    """One that stays, as a running hub has it. ``fails``: its next transaction fails at its end."""

    def __init__(self, city: City) -> None:
        self.fails = False
        self._evaluator = make_evaluator(city.hub)
        self.loop = FeedLoop("alerts", ChangeFeed(city.hub.database, "alerts"), self._process, poll_s=1)

    async def work(self) -> None:
        while await self.loop.step():
            pass
        await self.loop.check()

    async def _process(self, connection: AsyncConnection, events: list[ChangeEvent]) -> None:
        await self._evaluator.process(connection, events)
        if self.fails:
            self.fails = False
            raise RuntimeError("on purpose")


async def written(city: City) -> list[datetime]:
    """The newest sample of each state, as the table has it."""
    async with city.hub.database.transaction(ALL_TENANTS) as connection:
        return [row[0] for row in await (await connection.execute("select observed_at from alert_state")).fetchall()]


async def known(city: City) -> RuleState:
    """The state of the only rule and station, by one who has just begun."""
    async with city.hub.database.transaction(ALL_TENANTS) as connection:
        row = await (await connection.execute("select tenant_id, rule_id, entity_key from alert_state")).fetchone()
        assert row is not None
        return (await make_evaluator(city.hub).standing(connection, [StateKey(*row)]))[StateKey(*row)]


async def test_readings_that_decide_nothing_are_not_written_and_known_to_the_next_worker(city: City) -> None:
    worker = Worker(city)
    for minute in range(4):
        await city.post_level(BRIDGE, minute, 0.1)
        await worker.work()
    assert await written(city) == [at(0)]
    state = await known(city)
    assert state.newest == at(3) and [len(points) for points in state.memory.values()] == [4]


async def test_what_decides_is_written_at_once_with_all_that_led_to_it(city: City) -> None:
    worker = Worker(city)
    for minute, level in ((0, 0.0), (10, 1.0), (20, 2.0), (30, 3.0), (40, 3.0)):
        await city.post_level(BRIDGE, minute, level)
        await worker.work()
    assert await city.steps() == ["raised"]
    assert await written(city) == [at(30)]  # half of the window is full, and the rise is known
    assert (await known(city)).newest == at(40)


async def test_a_transaction_that_fails_counts_nothing(city: City) -> None:
    worker = Worker(city)
    await city.post_level(BRIDGE, 0, 0.1)
    await worker.work()
    await city.post_level(BRIDGE, 1, 0.1)
    worker.fails = True
    with pytest.raises(RuntimeError):
        await worker.loop.step()
    assert (await known(city)).newest == at(0)
    await worker.work()
    assert [len(points) for points in (await known(city)).memory.values()] == [2]


async def test_two_workers_in_turn_know_what_the_other_has_counted(city: City) -> None:
    workers = Worker(city), Worker(city)
    for minute in range(6):
        await city.post_level(BRIDGE, minute * 10, minute * 0.2)
        await workers[minute % 2].work()
    assert await city.steps() == ["raised"]
    assert [len(points) for points in (await known(city)).memory.values()] == [6]


async def test_states_are_written_when_their_time_has_come(database_url: str) -> None:
    async with hub_for(database_url, alert_states_write_s=0) as hub, client_for(hub) as http:
        city = City(hub, http)
        await city.put_rule()
        worker = Worker(city)
        for minute in range(2):
            await city.post_level(BRIDGE, minute, 0.1)
            await worker.work()
        assert await written(city) == [at(1)]


async def test_a_rule_that_is_deleted_is_not_written_any_more(city: City) -> None:
    worker = Worker(city)
    for minute in range(2):
        await city.post_level(BRIDGE, minute, 0.1)
        await worker.work()
    assert (await city.http.delete("/api/v1/alert-rules/tomoe")).status_code == 204
    await city.post_level(BRIDGE, 2, 0.1)
    await worker.work()
    assert await written(city) == []


async def test_a_consumer_stays_with_the_one_that_reads(city: City) -> None:
    one = ChangeFeed(city.hub.database, "alerts", holder="one")
    other = ChangeFeed(city.hub.database, "alerts", holder="other")
    await city.post_level(BRIDGE, 0, 0.1)
    async with one.batch() as (_, events):
        assert len(events) == 1
    await city.post_level(BRIDGE, 1, 0.1)
    async with other.batch() as (_, events):
        assert events == []
    async with one.batch() as (connection, events):
        assert len(events) == 1
    async with city.hub.database.transaction(ALL_TENANTS) as connection:  # the one is gone
        await connection.execute("update change_consumer set updated_at = now() - interval '2 s' where name = 'alerts'")
    await city.post_level(BRIDGE, 2, 0.1)
    async with other.batch() as (_, events):
        assert len(events) == 1

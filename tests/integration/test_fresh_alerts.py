# SPDX-License-Identifier: Apache-2.0
"""Fresh readings overtake what the alert rules have still to look at, and nothing is decided otherwise or twice."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from api.alerting.rules import make_evaluator
from api.workers.ahead import AheadOfTurn
from api.workers.feed import FeedLoop
from broker.times import to_text
from context_store.database import ALL_TENANTS
from context_store.events import ChangeFeed
from context_store.events_ahead import LookAhead
from support.alarm_city import City, at
from support.hub import client_for, hub_for

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

BRIDGE = "urn:ngsi-ld:WaterObserved:bridge"
WEIR = "urn:ngsi-ld:WaterObserved:weir"
NOW = 119.5  # minutes; the backlog is of two hours ago


class Worker:
    """A worker that reads two events at once, and looks ahead at what was measured within twenty minutes."""

    def __init__(self, city: City, *, looks: bool = True) -> None:
        feed = ChangeFeed(city.hub.database, "alerts", limit=2)
        evaluator = make_evaluator(city.hub)
        reader = LookAhead(feed, fresh=timedelta(minutes=20))
        ahead = AheadOfTurn(feed, reader, evaluator) if looks else None
        self.loop = FeedLoop("alerts", feed, evaluator.process, poll_s=1, ahead=ahead)

    async def finish(self) -> None:
        while await self.loop.step():
            pass
        await self.loop.check()


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[City]:
    async with hub_for(database_url) as hub, client_for(hub) as http:
        one = City(hub, http)
        await one.put_rule()
        yield one


async def backlog(city: City, station: str = WEIR) -> None:
    """Old readings that nobody has looked at."""
    for minute in range(8):
        await city.post_level(station, minute, 0.1 + minute / 100)


async def told(city: City) -> list[tuple[str, str, float]]:
    """Kind, station and value of each alert event, in the order in which they were told."""
    async with city.hub.database.transaction(ALL_TENANTS) as connection:
        events = await city.hub.alerts.read_events(connection, 0, 0)
    return [(e.kind, e.document["entityId"].rsplit(":", 1)[1], e.document["value"]) for e in events]


async def test_a_fresh_crossing_is_told_while_older_readings_of_others_wait(city: City) -> None:
    await backlog(city)
    await city.post_level(BRIDGE, NOW, 1.5)
    worker = Worker(city)
    assert await worker.loop.step() == 2  # of nine
    assert await told(city) == [("raised", "bridge", 1.5)]
    await worker.finish()
    assert await told(city) == [("raised", "bridge", 1.5)]


async def test_what_came_since_the_last_look_is_seen_by_the_next(city: City) -> None:
    await backlog(city)
    worker = Worker(city)
    await worker.loop.step()
    for turn, level in enumerate((1.5, 0.5, 1.6)):
        await city.post_level(BRIDGE, NOW + turn / 10, level)
        await worker.loop.step()
        assert (await told(city))[-1] == ("cleared" if level < 1 else "raised", "bridge", level)
    await worker.finish()
    assert await city.steps() == ["raised", "cleared", "raised"]


async def test_without_a_backlog_nothing_is_looked_at_before_its_turn(city: City) -> None:
    worker = Worker(city)
    await worker.finish()
    await city.post_level(BRIDGE, NOW, 1.5)
    await worker.finish()
    assert await told(city) == [("raised", "bridge", 1.5)]


async def test_a_worker_that_dies_after_it_looked_ahead_leaves_nothing_to_be_told_twice(city: City) -> None:
    await backlog(city)
    await city.post_level(BRIDGE, NOW, 1.5)
    await city.post_level(BRIDGE, NOW + 0.1, 1.6)
    await Worker(city).loop.step()
    await city.post_level(BRIDGE, NOW + 0.2, 0.5)
    await Worker(city).finish()
    assert await told(city) == [("raised", "bridge", 1.5), ("cleared", "bridge", 0.5)]


async def test_what_was_counted_ahead_is_counted_again_when_states_are_read_anew(city: City) -> None:
    """Another worker in between: the readings that decided nothing, and were not written, are not left out."""
    await city.put_rule(confirmation={"count": 3})
    await backlog(city)
    worker = Worker(city)
    await worker.loop.step()
    for turn in range(2):
        await city.post_level(BRIDGE, NOW + turn / 10, 1.5)
        await worker.loop.step()
    await Worker(city, looks=False).loop.step()
    await city.post_level(BRIDGE, NOW + 0.3, 1.5)
    await worker.finish()
    assert await city.steps() == ["raised"]


async def episodes(city: City) -> list[tuple[str, datetime, datetime | None]]:
    """Station, beginning and end of each alert; each was told once."""
    async with city.hub.database.transaction(ALL_TENANTS) as connection:
        alerts = await city.hub.alerts.list_alerts(connection, 1)
        events = await city.hub.alerts.read_events(connection, 0, 0)
    assert len(events) == len({(event.alert_id, event.kind) for event in events})
    return sorted((one.entity_id.rsplit(":", 1)[1], one.raised_at, one.cleared_at) for one in alerts)


async def test_a_fresh_crossing_is_told_while_older_readings_of_the_same_station_wait(city: City) -> None:
    await backlog(city, BRIDGE)
    await city.post_level(BRIDGE, NOW, 1.5)
    worker = Worker(city)
    assert await worker.loop.step() == 2
    assert await told(city) == [("raised", "bridge", 1.5)]
    await worker.finish()
    assert await told(city) == [("raised", "bridge", 1.5)]
    assert await city.steps() == ["raised"]


async def test_older_readings_move_its_beginning_back_and_clear_nothing(city: City) -> None:
    for minute, level in ((0, 1.4), (1, 0.1), (2, 1.1), (3, 1.2), (4, 1.2)):
        await city.post_level(BRIDGE, minute, level)
    await city.post_level(BRIDGE, NOW, 1.5)
    worker = Worker(city)
    await worker.loop.step()
    assert [await city.steps(), (await city.alarm())["status"]] == [["raised"], "open"]
    await worker.finish()
    assert await episodes(city) == [("bridge", at(0), at(1)), ("bridge", at(2), None)]
    assert await city.steps() == ["raised"]
    assert (await city.alarm())["openedAt"] == to_text(at(2))
    await city.post_level(BRIDGE, NOW + 0.1, 0.1)
    await worker.finish()
    assert await city.steps() == ["raised", "cleared"]


async def test_a_worker_that_dies_after_an_early_raise_leaves_it_and_tells_it_once(city: City) -> None:
    await backlog(city, BRIDGE)
    await city.post_level(BRIDGE, NOW, 1.5)
    await Worker(city).loop.step()
    await Worker(city).loop.step()
    await Worker(city, looks=False).finish()
    assert await told(city) == [("raised", "bridge", 1.5)]


async def test_a_rule_that_is_deleted_withdraws_what_was_raised_early(city: City) -> None:
    await backlog(city, BRIDGE)
    await city.post_level(BRIDGE, NOW, 1.5)
    await Worker(city).loop.step()
    assert (await city.http.delete("/api/v1/alert-rules/tomoe")).status_code == 204
    await Worker(city).finish()
    assert await city.steps() == ["raised", "withdrawn"]


@pytest.mark.parametrize("seed", range(3))
async def test_any_mixture_ends_with_the_alerts_of_the_order(city: City, seed: int) -> None:
    await city.put_rule(flapping=None)
    chance = random.Random(seed)
    minutes = {BRIDGE: 0.0, WEIR: 0.0}
    worker = Worker(city)
    expected: list[tuple[str, datetime, datetime | None]] = []
    begun: dict[str, datetime] = {}
    for _ in range(40):
        station = chance.choice([BRIDGE, WEIR])
        minutes[station] = max(minutes[station] + 0.01, NOW - 0.4 if chance.random() < 0.3 else 0.0)
        level = chance.choice([0.5, 0.8, 1.2, 1.4])
        await city.post_level(station, minutes[station], level)
        if station not in begun and level > 1:
            begun[station] = at(minutes[station])
        elif station in begun and level < 1:
            expected.append((station.rsplit(":", 1)[1], begun.pop(station), at(minutes[station])))
        if chance.random() < 0.4:
            await worker.loop.step()
        if chance.random() < 0.1:
            worker = Worker(city)
    await worker.finish()
    expected += [(station.rsplit(":", 1)[1], since, None) for station, since in begun.items()]
    assert await episodes(city) == sorted(expected, key=lambda one: one[:2])

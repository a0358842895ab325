# SPDX-License-Identifier: Apache-2.0
"""The machine's clock is put an hour forward or back: timers of alarms go on, fire once, and not for that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from api.alerting.rules import make_evaluator
from api.workers.feed import FeedLoop
from broker.times import to_text
from context_store.database import ALL_TENANTS
from context_store.events import ChangeFeed
from support.alarm_city import START, City, at
from support.hub import client_for, hub_for
from support.settable_clock import Machine

pytestmark = [
    pytest.mark.parametrize("store_mode", ["native"], indirect=True),
    pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "back"]),
]

BRIDGE = "urn:ngsi-ld:WaterObserved:bridge"


@dataclass
class SettableCity(City):
    """One worker that goes on, on a machine whose clock can be set."""

    machine: Machine = field(default_factory=lambda: Machine(START))

    def __post_init__(self) -> None:
        self.evaluator = make_evaluator(self.hub, self.machine.clock)

    async def work(self) -> None:
        loop = FeedLoop("alerts", ChangeFeed(self.hub.database, "alerts"), self.evaluator.process, poll_s=1)
        while await loop.step():
            pass
        await loop.check()

    async def until(self, minute: float) -> None:
        """The worker looks at the time every half minute until then, as it runs."""
        while (passed := self.machine.after(0)) < timedelta(minutes=minute):
            self.machine.after(min(30.0, (timedelta(minutes=minute) - passed).total_seconds()))
            await self.look(self.machine.clock.now())

    async def look(self, now: datetime) -> None:
        async with self.hub.database.transaction(ALL_TENANTS) as connection:
            await self.evaluator.time_passes(connection, now)


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[SettableCity]:
    async with hub_for(database_url) as hub, client_for(hub) as client:
        yield SettableCity(hub, client)


async def test_escalation_comes_when_it_would_have_come(city: SettableCity, step: timedelta) -> None:
    await city.put_rule()  # after 10 and after 30 minutes
    await city.measure(BRIDGE, 0, 1.5)
    await city.until(4)
    city.machine.offset = step
    await city.until(9.5)
    assert await city.steps() == ["raised"]
    await city.until(10)
    assert await city.steps() == ["raised", "unacknowledged"]
    city.machine.offset = timedelta()
    await city.until(29.5)
    assert await city.steps() == ["raised", "unacknowledged"]
    await city.until(60)
    assert await city.steps() == ["raised", "unacknowledged", "unacknowledged"]


async def test_silence_is_judged_when_it_would_have_been(city: SettableCity, step: timedelta) -> None:
    await city.put_rule(noData={"after": 600}, escalateAfter=[])
    await city.measure(BRIDGE, 0, 0.5)
    await city.until(2)
    city.machine.offset = step
    await city.until(5)
    await city.measure(BRIDGE, 5, 0.5)
    await city.until(11)
    assert await city.steps() == []
    city.machine.offset = timedelta()
    await city.until(16)
    alarm = await city.alarm()
    assert (await city.steps(), alarm["stage"], alarm["openedAt"]) == (["raised"], "no_data", to_text(at(15)))


async def test_confirmation_goes_by_the_times_of_the_readings(city: SettableCity, step: timedelta) -> None:
    await city.put_rule(confirmation={"seconds": 600}, escalateAfter=[])
    await city.measure(BRIDGE, 0, 1.5)
    city.machine.offset = step
    await city.until(5)
    await city.measure(BRIDGE, 5, 1.5)
    assert await city.steps() == []
    await city.measure(BRIDGE, 10, 1.5)
    assert (await city.steps(), (await city.alarm())["openedAt"]) == (["raised"], to_text(at(10)))


async def test_step_that_is_believed_repeats_nothing_and_loses_nothing(city: SettableCity, step: timedelta) -> None:
    await city.put_rule()
    await city.measure(BRIDGE, 0, 1.5)
    city.machine.offset = step
    for _ in range(4 * 60):  # two hours, in which it is believed after ten minutes
        city.machine.after(30)
        await city.look(city.machine.clock.now())
    assert await city.steps() == ["raised", "unacknowledged", "unacknowledged"]
    await city.measure(BRIDGE, 119, 0.5)  # an hour ahead of a clock that was put back
    assert (await city.steps())[-1] == "cleared"

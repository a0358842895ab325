# SPDX-License-Identifier: Apache-2.0
"""Lanes of the pipeline: side by side, each device in one of them, acknowledged in the order in which messages came."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson

from adapters.formats import minamo_json
from broker.devices.model import AttributeMapping, Device
from broker.intake.readings import CommitSummary, Observation, Quarantined
from broker.times import to_text
from ingest.decode import Decoder, Limits, Message
from ingest.pipeline import Pipeline

NOW = datetime.now(UTC)
GAUGES = [f"gauge{number}" for number in range(20)]


class Directory:
    """A registry that knows every gauge."""

    def find(self, key: str) -> Device | None:
        """The device with this key."""
        mapping = AttributeMapping("level", "https://example.org/level")
        return Device(1, key, key, key, f"urn:ngsi-ld:River:{key}", ("https://example.org/River",), (mapping,))

    async def refresh(self) -> bool:
        """Nothing new."""
        return False


class Store:
    """Takes in what it is given once ``gate`` lets it; remembers the devices of each commit."""

    def __init__(self) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self.done: list[str] = []
        self.values: defaultdict[str, list[Any]] = defaultdict(list)

    async def commit(self, observations: list[Observation], quarantined: list[Quarantined]) -> CommitSummary:
        """Wait for the gate of the first device, if it has one."""
        keys = [observation.device.key for observation in observations]
        if gate := self.gates.get(keys[0]):
            await gate.wait()
        self.done += keys
        for observation in observations:
            self.values[observation.device.key].append(observation.values[0][1])
        return CommitSummary(len(keys), len(keys), 0, 0, 0, len(quarantined))


class Broker:
    """Notes what is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []

    def acknowledge(self, message: Message) -> None:
        """The message is stored."""
        self.acknowledged.append(message.mid)

    def respond(self, message: Message, payload: bytes) -> None:
        """Nobody asked."""


def reading(mid: int, gauge: str) -> Message:
    payload = {"time": to_text(NOW), "level": mid}
    return Message(f"minamo/v1/{gauge}/readings", orjson.dumps(payload), NOW, mid, 1)


@asynccontextmanager
async def running(store: Store, broker: Broker, lanes: int = 2, longest_rest_s: float = 0) -> AsyncIterator[Pipeline]:
    decoder = Decoder(minamo_json.decode, Limits())
    pipeline = Pipeline(decoder, Directory(), store, lanes=lanes, batch_max=3, longest_rest_s=longest_rest_s)
    task = asyncio.create_task(pipeline.run(broker))
    try:
        yield pipeline
    finally:
        task.cancel()
        await asyncio.wait([task])


async def turns(count: int = 20) -> None:
    """So many turns of the loop: time enough for what does not wait."""
    for _ in range(count):
        await asyncio.sleep(0)


def one_of_each_lane() -> tuple[str, str]:
    """Two gauges in different lanes."""
    lane = {gauge: hash(gauge) % 2 for gauge in GAUGES}
    return next(g for g in GAUGES if lane[g] == 0), next(g for g in GAUGES if lane[g] == 1)


async def test_a_commit_that_takes_long_holds_up_its_own_lane_only() -> None:
    slow, quick = one_of_each_lane()
    store, broker = Store(), Broker()
    gate = store.gates[slow] = asyncio.Event()
    async with running(store, broker) as pipeline:
        pipeline.put(reading(1, slow))
        await turns()
        pipeline.put(reading(2, quick))
        pipeline.put(reading(3, slow))
        await turns()
        assert store.done == [quick]
        gate.set()
        await turns()
        assert store.done == [quick, slow, slow]


async def test_a_lane_that_rests_begins_again_when_enough_messages_wait() -> None:
    gauge, _ = one_of_each_lane()
    store, broker = Store(), Broker()
    gate = store.gates[gauge] = asyncio.Event()
    async with running(store, broker, longest_rest_s=60) as pipeline:
        pipeline.put(reading(1, gauge))
        await turns()
        await asyncio.sleep(0.5)  # what the commit takes, and then as long the rest
        gate.set()
        pipeline.put(reading(2, gauge))
        await turns()
        assert store.done == [gauge]
        pipeline.put(reading(3, gauge))
        pipeline.put(reading(4, gauge))
        await turns()
        assert store.done == [gauge] * 4


async def test_messages_are_acknowledged_in_the_order_in_which_they_came() -> None:
    slow, quick = one_of_each_lane()
    store, broker = Store(), Broker()
    gate = store.gates[slow] = asyncio.Event()
    async with running(store, broker) as pipeline:
        pipeline.put(reading(1, slow))
        pipeline.put(reading(2, quick))
        await turns()
        assert (store.done, broker.acknowledged) == ([quick], [])
        gate.set()
        await turns()
        assert broker.acknowledged == [1, 2]


async def test_readings_of_one_device_are_committed_in_their_order_however_many_lanes_there_are() -> None:
    store, broker = Store(), Broker()
    async with running(store, broker, lanes=5) as pipeline:
        for mid in range(100):
            pipeline.put(reading(mid, GAUGES[mid % 20]))
        await turns(200)
    assert store.values == {gauge: list(range(place, 100, 20)) for place, gauge in enumerate(GAUGES)}
    assert broker.acknowledged == list(range(100))

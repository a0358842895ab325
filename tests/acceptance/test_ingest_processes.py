# SPDX-License-Identifier: Apache-2.0
"""Several ingest processes at full load, one of which dies, whose network is cut, or whose broker is restarted or dies:
every reading is stored once, and the readings of no device change places: each becomes the current one in its turn and
has its event."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import orjson
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from api.hub import Hub
from broker.devices.model import AttributeMapping, Device
from broker.times import to_text
from context_store.database import ALL_TENANTS
from support.cut_proxy import cut_proxy
from support.hub import hub_for
from support.mqtt_broker import Broker
from support.waiting import eventually
from support.work_process import WorkProcess, work_process

pytestmark = [pytest.mark.parametrize("store_mode", ["native"], indirect=True), pytest.mark.kill]

DEVICES = 16
STEP = 1000  # readings between two mishaps
BACKLOG = 2000  # how far the load is ahead at most, so that what is left at the end is not much
UNACKNOWLEDGED = 500
BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20)
LEVEL = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
EVENTS = """
    select entity_id, changes -> 0 -> 'after' ->> 'observedAt' from change_event
     where operation = 'updated' and changes -> 0 ->> 'attribute' = %s order by event_id
"""
STORED = "select count(*) from attribute_instance join term on term_id = attribute_id where name = %s"


def station(number: int) -> str:
    return f"urn:ngsi-ld:WaterObserved:gauge-{number}"


class Load:
    """Devices that publish in turn, as fast as the broker takes it, up to a number, until they are told to stop."""

    def __init__(self, mosquitto: Broker) -> None:
        access = mosquitto.hub
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "load")
        self._client.username_pw_set(access.username, access.password)
        self._client.max_inflight_messages_set(UNACKNOWLEDGED)
        self._client.on_publish = self._on_publish
        self._client.connect(access.host, access.port)
        self._most = threading.Condition()
        self._allowed = 0
        self._enough = self._vanished = False
        self._thread = threading.Thread(target=self._publish_all, daemon=True)
        self._taken = 0  # by the broker
        self.sent = 0

    def __enter__(self) -> Load:
        self._client.loop_start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._client.disconnect()
        self._client.loop_stop()

    def allow(self, number: int) -> None:
        """Publish up to this many in all."""
        with self._most:
            self._allowed = number
            self._most.notify()

    def stop(self) -> int:
        """How many were sent in all; the broker has them."""
        with self._most:
            self._enough = True
            self._most.notify()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.sent

    def vanish(self) -> None:
        """Forget what the broker has not taken yet, and never come back."""
        self._client.disconnect()
        with self._most:
            self._enough = self._vanished = True
            self._most.notify()

    def _publish_all(self) -> None:
        while self._goes_on():
            for _ in range(UNACKNOWLEDGED):
                self._publish()
            with self._most:  # paho sends again, in its order, what was under way when a connection was lost
                assert self._most.wait_for(lambda: self._vanished or self._taken >= self.sent, 60)

    def _on_publish(self, *_: object) -> None:
        with self._most:
            self._taken += 1
            self._most.notify()

    def _goes_on(self) -> bool:
        with self._most:
            self._most.wait_for(lambda: self._enough or self.sent < self._allowed)
            return not self._enough

    def _publish(self) -> None:
        turn, device = divmod(self.sent, DEVICES)
        self.sent += 1
        document = {"time": to_text(BEGIN + timedelta(seconds=turn)), "level": 1 + turn % 7 / 100}
        self._client.publish(f"minamo/v1/gauge-{device}/readings", orjson.dumps(document), qos=1)


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url) as opened:
        mapping = AttributeMapping("level", LEVEL, "MTR")
        keys = {f"gauge-{number}": station(number) for number in range(DEVICES)}
        await opened.devices.put(
            *(Device(1, key, key, key, entity, ("urn:W",), (mapping,)) for key, entity in keys.items())
        )
        yield opened


@asynccontextmanager
async def ingest(hub: Hub, mosquitto: Broker, port: int | None = None) -> AsyncIterator[WorkProcess]:
    """One process that receives and two that write."""
    access = mosquitto.hub
    url = f"mqtt://{access.username}:{access.password}@{access.host}:{port or access.port}"
    async with work_process(hub.database.url, "ingest", mqtt_url=url, ingest_processes="2") as process:
        yield process


async def stored(hub: Hub) -> int:
    async with hub.database.transaction(ALL_TENANTS) as connection:
        row = await (await connection.execute(STORED, (LEVEL,))).fetchone()
    return int(row[0]) if row else 0


async def some_more(hub: Hub, load: Load) -> None:
    """Wait until another STEP readings are stored; more are waiting then."""
    aim = await stored(hub) + STEP
    load.allow(aim + BACKLOG)

    async def is_reached() -> bool:
        return await stored(hub) >= aim

    await eventually(is_reached, 60)


async def check(hub: Hub, sent: int) -> None:
    """All of ``sent`` is stored once, and each reading was the current one of its station in its turn."""

    async def all_are_there() -> bool:
        return await stored(hub) >= sent

    with contextlib.suppress(TimeoutError):
        await eventually(all_are_there, 60)
    assert await stored(hub) == sent
    async with hub.database.transaction(ALL_TENANTS) as connection:
        rows = await (await connection.execute(EVENTS, (LEVEL,))).fetchall()
    times = defaultdict(list)
    for entity_id, observed_at in rows:
        times[entity_id].append(observed_at)
    assert {entity_id: len(found) for entity_id, found in times.items()} == {
        station(number): len(range(number, sent, DEVICES)) for number in range(DEVICES)
    }
    assert all(earlier < later for found in times.values() for earlier, later in pairwise(found))


async def test_a_writer_that_is_killed_loses_doubles_and_reorders_nothing(hub: Hub, mosquitto: Broker) -> None:
    async with ingest(hub, mosquitto) as process:
        with Load(mosquitto) as load:
            for _ in range(2):
                await some_more(hub, load)
                os.kill(process.children()[0], signal.SIGKILL)  # the oldest: one, and then the other
            await some_more(hub, load)
            sent = await asyncio.to_thread(load.stop)
        await check(hub, sent)


async def test_a_receiver_that_is_killed_loses_doubles_and_reorders_nothing(hub: Hub, mosquitto: Broker) -> None:
    with Load(mosquitto) as load:
        async with ingest(hub, mosquitto) as process:
            await some_more(hub, load)
            process.kill()
        async with ingest(hub, mosquitto):
            await some_more(hub, load)
            sent = await asyncio.to_thread(load.stop)
            await check(hub, sent)


async def test_a_network_that_is_cut_loses_doubles_and_reorders_nothing(hub: Hub, mosquitto: Broker) -> None:
    async with cut_proxy(mosquitto.hub.host, mosquitto.hub.port) as proxy, ingest(hub, mosquitto, proxy.port):
        with Load(mosquitto) as load:
            for _ in range(3):
                await some_more(hub, load)
                await eventually(lambda: proxy.is_used)  # what it had received may have been enough
                proxy.cut()
            await some_more(hub, load)
            sent = await asyncio.to_thread(load.stop)
        await check(hub, sent)
        assert proxy.cuts == 3


async def test_a_broker_that_is_restarted_loses_doubles_and_reorders_nothing(hub: Hub, mosquitto: Broker) -> None:
    async with ingest(hub, mosquitto):
        with Load(mosquitto) as load:
            for _ in range(2):
                await some_more(hub, load)
                await mosquitto.restart()
            await some_more(hub, load)
            sent = await asyncio.to_thread(load.stop)
        await check(hub, sent)


async def test_devices_that_send_again_what_a_killed_broker_lost_have_it_stored_once_and_in_order(
    hub: Hub, mosquitto: Broker
) -> None:
    async with ingest(hub, mosquitto):
        with Load(mosquitto) as load:
            await some_more(hub, load)
            mosquitto.kill()
            load.vanish()
            await eventually(lambda: mosquitto.restarts > 0, 30)
        with Load(mosquitto) as again:  # from the first reading on
            await some_more(hub, again)
            sent = await asyncio.to_thread(again.stop)
        await check(hub, sent)

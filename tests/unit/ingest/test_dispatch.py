# SPDX-License-Identifier: Apache-2.0
"""Readings are shared among writers by device, and what a dead writer had not said to be stored comes to the next."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from ingest import frames
from ingest.decode import Message
from ingest.dispatch import Dispatcher
from support.waiting import eventually

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Writer:
    """The other end of a stream, in the hands of the test."""

    pid = 0

    def __init__(self) -> None:
        self.stream, self._other = socket.socketpair()
        self.stream.setblocking(False)
        self._other.setblocking(False)
        self._unread = b""

    async def messages(self, count: int) -> list[Message]:
        """The next messages it is sent."""
        found: list[Message] = []
        async with asyncio.timeout(5):
            while len(found) < count:
                received = await asyncio.get_running_loop().sock_recv(self._other, 65_536)
                some, self._unread = frames.messages_in(self._unread + received)
                found += some
        return found

    def say(self, news: bytes) -> None:
        """Tell the receiver."""
        self._other.send(news)

    def die(self) -> None:
        """End, as a process does that is killed."""
        self._other.close()

    async def end(self) -> None:
        """Be ended."""
        self.stream.close()
        self._other.close()


class Broker:
    """What the dispatcher tells the MQTT client."""

    def __init__(self) -> None:
        self.acknowledged: list[bytes] = []
        self.answers: list[tuple[bytes, bytes]] = []

    def acknowledge(self, message: Message) -> None:
        """Remember it."""
        self.acknowledged.append(message.payload)

    def respond(self, message: Message, payload: bytes) -> None:
        """Remember it."""
        self.answers.append((message.payload, payload))


class Running:
    """A dispatcher with two writers; ``started`` are all there have been, by number."""

    def __init__(self) -> None:
        self.started: dict[int, list[Writer]] = {0: [], 1: []}
        self.broker = Broker()
        self.dispatcher = Dispatcher(2, self._start)

    async def _start(self, number: int) -> Writer:
        self.started[number].append(Writer())
        return self.started[number][-1]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    found = Running()
    task = asyncio.create_task(found.dispatcher.run(found.broker))
    await eventually(lambda: all(found.started.values()))
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def message(device: str, number: int, topic: str = "minamo/v1/{}/readings") -> Message:
    return Message(topic.format(device), str(number).encode(), NOW)


# crc32 puts "a" into the second share and "d" into the first.
FIRST, SECOND = "d", "a"


async def test_all_topics_of_a_device_go_to_one_writer_in_their_order(running: Running) -> None:
    topics = ("minamo/v1/{}/readings", "/key/{}/attrs", "/key/{}/attrs/level", "v3/app/devices/{}/up")
    for number, topic in enumerate(topics):
        running.dispatcher.put(message(FIRST, number, topic))
        running.dispatcher.put(message(SECOND, number, topic))
    for writer in (running.started[0][0], running.started[1][0]):
        assert [found.payload for found in await writer.messages(4)] == [b"0", b"1", b"2", b"3"]


async def test_acknowledgements_keep_the_order_of_arrival(running: Running) -> None:
    for number, device in enumerate([FIRST, SECOND, FIRST]):
        running.dispatcher.put(message(device, number))
    early, late = running.started[1][0], running.started[0][0]
    early.say(frames.stored(found.mid for found in await early.messages(1)))
    await eventually(lambda: running.dispatcher.waiting == 2)
    assert running.broker.acknowledged == []
    late.say(frames.stored(found.mid for found in await late.messages(2)))
    await eventually(lambda: running.dispatcher.waiting == 0)
    assert running.broker.acknowledged == [b"0", b"1", b"2"]


async def test_the_next_writer_gets_what_is_open_in_its_order_and_then_what_is_new(running: Running) -> None:
    for number in range(4):
        running.dispatcher.put(message(FIRST, number))
    (first,) = running.started[0]
    stored, *_ = await first.messages(4)
    first.say(frames.stored([stored.mid]))
    await eventually(lambda: running.dispatcher.waiting == 3)
    first.die()
    await eventually(lambda: len(running.started[0]) == 2)
    running.dispatcher.put(message(FIRST, 4))
    found = await running.started[0][1].messages(4)
    assert [each.payload for each in found] == [b"1", b"2", b"3", b"4"]


async def test_answers_reach_the_device_that_asked(running: Running) -> None:
    running.dispatcher.put(message(SECOND, 0))
    (asked,) = await running.started[1][0].messages(1)
    running.started[1][0].say(frames.answer(asked.mid, b"stored"))
    await eventually(lambda: bool(running.broker.answers))
    assert running.broker.answers == [(b"0", b"stored")]


async def test_writers_are_missing_until_they_say_that_they_are_ready(running: Running) -> None:
    assert running.dispatcher.missing == [0, 1]
    running.started[1][0].say(frames.news(frames.READY))
    await eventually(lambda: running.dispatcher.missing == [0])

# SPDX-License-Identifier: Apache-2.0
"""The pipeline from message to committed reading: decode, batch, commit, and only then acknowledge.

While one batch is being committed the next one is decoded and gathers; by default there is no timer, so a single
reading does not wait and a flood of them shares each commit. There are lanes, each with batches and commits of its own:
while the database works for one, this process works for the other. A lane may rest after a commit, as long as that
took: under load commits are fewer and larger then. All messages of a device go through one lane, so its readings keep
their order. Memory is bounded: the broker sends no more than ``receive_maximum`` messages that are not acknowledged
yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeVar

import orjson
import structlog

from broker.devices.model import Device
from broker.errors import StoreUnavailable
from broker.intake.readings import (
    CommitSummary,
    Observation,
    Quarantined,
    ReadingStore,
    Reason,
    UnstorableBatch,
)
from broker.times import to_text
from ingest.decode import Decoder, Message
from ingest.device_state import DeviceStateKeeper
from ingest.topics import device_name

log = structlog.get_logger(__name__)

T = TypeVar("T")

_RETRY_FIRST_S: Final = 0.1
_RETRY_MAX_S: Final = 5.0
_DECODED_AT_ONCE: Final = 40  # messages, a fraction of a millisecond: the commit under way has to go on
_WORTH_A_COMMIT: Final = 100  # messages that end a rest; a commit costs as much as some fifty more of them in it


class DeviceDirectory(Protocol):
    """The registered devices as this process knows them."""

    def find(self, key: str) -> Device | None:
        """The device with this key."""
        ...

    async def refresh(self) -> bool:
        """Take in what changed since; returns whether anything did."""
        ...


class Acknowledger(Protocol):
    """What the pipeline needs of the MQTT client."""

    def acknowledge(self, message: Message) -> None:
        """The message is stored."""
        ...

    def respond(self, message: Message, payload: bytes) -> None:
        """Answer to the message's response topic, if it has one."""
        ...


@dataclass(slots=True)
class _Batch:
    """Messages and what was found in them."""

    messages: list[Message] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)


class _Lane:
    """A batch that gathers, and what its decoder and its committer tell each other."""

    def __init__(self) -> None:
        self.next = _Batch()
        self.decoded = asyncio.Event()
        self.worth = asyncio.Event()
        self.full = asyncio.Event()
        self.taken = asyncio.Event()

    def take(self) -> _Batch:
        """The batch; another one begins."""
        batch, self.next = self.next, _Batch()
        self.decoded.clear()
        self.worth.clear()
        self.full.clear()
        self.taken.set()
        return batch


class InOrder:
    """Acknowledges messages in the order in which they came (MQTT 5, 4.6), whichever is stored first."""

    def __init__(self) -> None:
        self._open: deque[Message] = deque()
        self._stored: set[int] = set()

    def begin(self, message: Message) -> None:
        """It came."""
        self._open.append(message)

    def stored(self, messages: Iterable[Message], acknowledger: Acknowledger) -> None:
        """They are stored; acknowledge what nothing older holds back."""
        stored, waiting = self._stored, self._open
        stored.update(map(id, messages))
        while waiting and id(waiting[0]) in stored:
            message = waiting.popleft()
            stored.discard(id(message))
            acknowledger.acknowledge(message)


class Pipeline:
    """Takes messages in with :meth:`put` and brings them into the store, in ``lanes`` commits at a time."""

    def __init__(
        self,
        decoder: Decoder,
        directory: DeviceDirectory,
        store: ReadingStore,
        *,
        lanes: int = 2,
        batch_max: int = 1000,
        batch_max_wait_s: float = 0.0,
        longest_rest_s: float = 0.0,
        on_commit: Callable[[CommitSummary, float], None] | None = None,
        device_state: DeviceStateKeeper | None = None,
    ) -> None:
        self._decoder = decoder
        self._directory = directory
        self._store = store
        self._batch_max = batch_max
        self._batch_max_wait_s = batch_max_wait_s
        self._longest_rest_s = longest_rest_s
        self._worth = min(_WORTH_A_COMMIT, batch_max)
        self._on_commit = on_commit
        self._device_state = device_state
        self._waiting: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._lanes = [_Lane() for _ in range(lanes)]
        self._in_order = InOrder()
        self.store_available = True

    def put(self, message: Message) -> None:
        """Take one message in."""
        self._waiting.append(message)
        self._in_order.begin(message)
        if len(self._waiting) == 1:
            self._arrived.set()

    @property
    def waiting(self) -> int:
        """Messages taken in and not yet being committed."""
        return len(self._waiting) + sum(len(lane.next.messages) for lane in self._lanes)

    async def run(self, acknowledger: Acknowledger) -> None:
        """Work until cancelled. A batch that was begun is finished by the broker's redelivery after a restart."""
        tasks = [asyncio.create_task(self._decode_all(), name="ingest decode")]
        tasks += [
            asyncio.create_task(self._commit_all(lane, acknowledger), name=f"ingest commit {number}")
            for number, lane in enumerate(self._lanes)
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _decode_all(self) -> None:
        """Decode what arrives into the next batches while all of them have room."""
        while True:
            await self._arrived.wait()
            fullest = max(self._lanes, key=lambda lane: len(lane.next.messages))
            room = self._batch_max - len(fullest.next.messages)
            if room <= 0:
                fullest.taken.clear()
                await fullest.taken.wait()
                continue
            messages = self._take(min(room, _DECODED_AT_ONCE))
            await self._decode(messages)
            await asyncio.sleep(0)  # the loop's other work: the database's answer, the next packets

    async def _commit_all(self, lane: _Lane, acknowledger: Acknowledger) -> None:
        while True:
            await lane.decoded.wait()
            if self._batch_max_wait_s:
                await _wait_at_most(lane.full, self._batch_max_wait_s)
            began = time.monotonic()
            await self._process(lane.take(), acknowledger)
            if self._longest_rest_s:
                await _wait_at_most(lane.worth, min(time.monotonic() - began, self._longest_rest_s))

    def _take(self, most: int) -> list[Message]:
        waiting = self._waiting
        messages = [waiting.popleft() for _ in range(min(len(waiting), most))]
        if not waiting:
            self._arrived.clear()
        return messages

    async def _decode(self, messages: list[Message]) -> None:
        """Decode ``messages`` into the next batches of their lanes.

        When one comes from an unknown device, look for new ones before it is called unknown. While the registry cannot
        be read nobody is: the message waits, as it would for its commit.
        """
        lanes, find, decode, keeper = self._lanes, self._directory.find, self._decoder.decode, self._device_state
        wants = keeper.wants if keeper is not None else None
        has_looked = False
        for message in messages:
            found, fault = decode(message, find, wants)
            if fault is not None and fault.reason is Reason.UNKNOWN_DEVICE and not has_looked:
                has_looked = True
                await self._insist(self._directory.refresh)
                found, fault = decode(message, find, wants)
            lane = lanes[hash(device_name(message.topic)) % len(lanes)]
            batch = lane.next
            batch.observations += found if keeper is None else keeper.kept(found, message.received_at)
            if fault is not None:
                batch.quarantined.append(fault)
            batch.messages.append(message)
            lane.decoded.set()
            if len(batch.messages) >= self._worth:
                lane.worth.set()
                if len(batch.messages) >= self._batch_max:
                    lane.full.set()

    async def _process(self, batch: _Batch, acknowledger: Acknowledger) -> None:
        messages, quarantined = batch.messages, batch.quarantined
        try:
            await self._commit(batch.observations, quarantined, messages[0].received_at)
        except UnstorableBatch as exc:
            quarantined = await self._one_by_one(messages, exc)
        self._in_order.stored(messages, acknowledger)
        self._receipts(messages, quarantined, acknowledger)

    async def _commit(self, observations: list[Observation], quarantined: list[Quarantined], since: datetime) -> None:
        """Commit, however long the database is away."""
        summary = await self._insist(lambda: self._store.commit(observations, quarantined))
        if self._on_commit is not None:
            self._on_commit(summary, (datetime.now(since.tzinfo) - since).total_seconds())

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work`` again and again until the database is there for it."""
        delay = _RETRY_FIRST_S
        while True:
            try:
                answer = await work()
            except StoreUnavailable as exc:
                if self.store_available:
                    log.warning("ingest.store_unavailable", error=str(exc), waiting=self.waiting)
                self.store_available = False
                await asyncio.sleep(delay)
                delay = min(delay * 2, _RETRY_MAX_S)
                continue
            if not self.store_available:
                log.info("ingest.store_back")
            self.store_available = True
            return answer

    async def _one_by_one(self, messages: list[Message], error: UnstorableBatch) -> list[Quarantined]:
        """The database refuses something in the batch: find it, keep the rest, set it aside; returns what was."""
        log.warning("ingest.batch_refused", messages=len(messages), error=str(error))
        set_aside = []
        for message in messages:
            observations, fault = self._decoder.decode(message, self._directory.find)
            try:
                await self._commit(observations, [fault] if fault else [], message.received_at)
            except UnstorableBatch as exc:
                fault = refused(message, observations, exc)
                await self._commit([], [fault], message.received_at)
            if fault is not None:
                set_aside.append(fault)
        return set_aside

    def _receipts(self, messages: list[Message], quarantined: list[Quarantined], acknowledger: Acknowledger) -> None:
        """Answer those who asked to be told when their message is durable (MQTT 5 response topic)."""
        asked = [message for message in messages if "responseTopic" in message.properties]
        if not asked:
            return
        faults = {id(fault.payload): fault for fault in quarantined}
        for message in asked:
            fault = faults.get(id(message.payload))
            answer = {"status": "stored", "receivedAt": to_text(message.received_at)}
            if fault is not None:
                answer.update(status="quarantined", reason=fault.reason.value, detail=fault.detail)
            acknowledger.respond(message, orjson.dumps(answer))


async def _wait_at_most(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def refused(message: Message, observations: list[Observation], error: UnstorableBatch) -> Quarantined:
    """``message`` set aside because the database refuses its content."""
    device = observations[0].device if observations else None
    return Quarantined(
        received_at=message.received_at,
        topic=message.topic,
        payload=message.payload,
        reason=Reason.REFUSED_BY_STORE,
        detail=str(error),
        device_key=device.key if device else None,
        tenant_id=device.tenant_id if device else None,
        properties=dict(message.properties),
    )

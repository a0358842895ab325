# SPDX-License-Identifier: Apache-2.0
"""What is published now, seen before what the broker has queued: a second session, open only while there is a backlog.

A session is a queue: what is new stands behind all that was kept while ingest was away. The second one begins empty,
so it has only what is published from now on. Its messages are not stored and not acknowledged: the first session brings
them again in their turn. They are told to the alert rules, which may raise from them (docs/decisions/0039). Whatever is
lost here is only not early.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, Protocol

import structlog

from broker.errors import StoreUnavailable
from broker.intake.readings import Observation
from ingest.client import MqttClient
from ingest.decode import Decoder, Message
from ingest.pipeline import DeviceDirectory

log = structlog.get_logger(__name__)

_LOOK_EVERY_S: Final = 0.1
_CALM_S: Final = 2.0  # no backlog for so long: the second session ends
_AT_ONCE: Final = 200  # messages


class EarlyStore(Protocol):
    """Tells observations to the alert rules, without storing them."""

    def begin(self) -> None:
        """Forget what is known of entities: another backlog begins."""
        ...

    async def tell(self, observations: Sequence[Observation]) -> None:
        """Judge ``observations`` and tell those that are good."""
        ...


class EarlyReadings:
    """Messages of the second session on their way to ``store``; at most ``most`` wait, the newest. ``on_drop`` is
    called for each that was given up for a newer one. Only what was measured within ``fresh`` is told."""

    def __init__(
        self,
        decoder: Decoder,
        directory: DeviceDirectory,
        store: EarlyStore,
        *,
        fresh: timedelta,
        most: int = 4000,
        on_drop: Callable[[], None] | None = None,
    ) -> None:
        self._decoder = decoder
        self._directory = directory
        self._store = store
        self._fresh = fresh
        self._on_drop = on_drop
        self._waiting: deque[Message] = deque(maxlen=most)
        self._arrived = asyncio.Event()

    def put(self, message: Message) -> None:
        """Take one message in."""
        if len(self._waiting) == self._waiting.maxlen and self._on_drop is not None:
            self._on_drop()
        self._waiting.append(message)
        self._arrived.set()

    async def run(self) -> None:
        """Tell what comes in until cancelled."""
        self._store.begin()
        self._waiting.clear()
        await self._directory.refresh()
        while True:
            await self._arrived.wait()
            messages = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
            if not self._waiting:
                self._arrived.clear()
            try:
                await self._store.tell(self._observations(messages))
            except StoreUnavailable as exc:
                log.warning("ingest.early_not_told", messages=len(messages), error=str(exc))
                await asyncio.sleep(1)

    def _observations(self, messages: Sequence[Message]) -> list[Observation]:
        """The fresh ones in ``messages``; what is wrong with them is found in their turn."""
        found: list[Observation] = []
        for message in messages:
            observations, _ = self._decoder.decode(message, self._directory.find, lambda *_: False)
            since = message.received_at - self._fresh
            found += [one._replace(received_at=message.received_at) for one in observations if one.observed_at >= since]
        return found


class EarlySession:
    """Opens the second session (``make_client``) when there may be a backlog, which :meth:`resume` tells; and ends it
    when there has been none for a while. Being busy is no backlog: a load that is fresh would only come twice."""

    def __init__(self, readings: EarlyReadings, make_client: Callable[[], MqttClient]) -> None:
        self._readings = readings
        self._make_client = make_client
        self._resumed = asyncio.Event()
        self.is_open = False

    def resume(self) -> None:
        """The broker has kept a session for us, or the database was away."""
        self._resumed.set()

    async def run(self, is_behind: Callable[[], bool]) -> None:
        """Work until cancelled; ``is_behind``: much has come by the first session that is not stored."""
        while True:
            await self._resumed.wait()
            await self._be_open(is_behind)

    async def _be_open(self, is_behind: Callable[[], bool]) -> None:
        log.info("ingest.early_session_opened")
        tasks = [asyncio.create_task(work) for work in (self._make_client().run(), self._readings.run())]
        self.is_open = True
        try:
            await self._calm(tasks, is_behind)
        finally:
            self.is_open = False
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):  # nothing is lost by it
                log.error("ingest.early_session_failed", error=f"{type(error).__name__}: {error}")
        log.info("ingest.early_session_ended")

    async def _calm(self, tasks: Sequence[asyncio.Task[None]], is_behind: Callable[[], bool]) -> None:
        """Until there is no backlog any more, or a task has ended."""
        calm_since = time.monotonic()
        while time.monotonic() - calm_since < _CALM_S:
            done, _ = await asyncio.wait(tasks, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            if done:
                await asyncio.sleep(_CALM_S)
                return
            if is_behind() or self._resumed.is_set():
                self._resumed.clear()
                calm_since = time.monotonic()

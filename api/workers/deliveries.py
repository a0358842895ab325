# SPDX-License-Identifier: Apache-2.0
"""Making deliveries: many at once, few to each destination, so that a slow or dead receiver delays nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from adapters.webhook import SendResult
from broker.errors import StoreUnavailable
from context_store.deliveries import ClaimedDelivery, ClaimedStream, DeliveryStore, StreamOutcome

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """What makes one attempt."""

    async def send(self, url: str, body: bytes, headers: dict[str, str]) -> SendResult:
        """Never raises for what the receiver does."""
        ...


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter, up to an age after which a delivery is a dead letter."""

    first_s: float = 1.0
    longest_s: float = 300.0
    max_age: timedelta = timedelta(hours=72)

    def next_attempt(self, attempts: int, created_at: datetime, now: datetime, jitter: float) -> datetime | None:
        """When to try again after ``attempts`` failures; None when it is too old. ``jitter`` is within 0 to 1."""
        if now - created_at >= self.max_age:
            return None
        pause = min(self.first_s * 2 ** min(attempts - 1, 30), self.longest_s)
        return now + timedelta(seconds=pause * (0.5 + jitter / 2))


class DeliveryWorker:
    """Claims due deliveries and makes them until cancelled."""

    def __init__(
        self,
        store: DeliveryStore,
        sender: Sender,
        *,
        policy: RetryPolicy,
        concurrency: int = 32,
        per_destination: int = 4,
        poll_s: float = 0.25,
        run_s: float = 2.0,
        on_attempt: Callable[[ClaimedStream, ClaimedDelivery, SendResult], None] | None = None,
    ) -> None:
        self._store = store
        self._sender = sender
        self._policy = policy
        self._concurrency = concurrency
        self._per_destination = per_destination
        self._poll_s = poll_s
        self._run_s = run_s
        self._on_attempt = on_attempt
        self._in_flight: set[asyncio.Task[None]] = set()
        self._by_destination: Counter[str] = Counter()
        self._outcomes: list[StreamOutcome] = []
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be something to deliver."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled. What is in flight then is tried again by another worker; what is done is settled."""
        try:
            while True:
                self._wake.clear()
                if not await self._turn():
                    await self._rest()
        finally:
            for task in self._in_flight:
                task.cancel()
            await asyncio.gather(*self._in_flight, return_exceptions=True)
            with contextlib.suppress(StoreUnavailable):
                await self._settle()

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), self._poll_s)
        except TimeoutError:
            return

    async def _turn(self) -> bool:
        """Settle what has ended and claim what is due; returns whether there was anything to do."""
        try:
            settled = await self._settle()
            claimed = await self._claim()
        except StoreUnavailable as exc:
            log.warning("deliveries.store_unavailable", error=str(exc))
            await asyncio.sleep(1.0)
            return False
        for stream in claimed:
            self._by_destination[stream.destination] += 1
            task = asyncio.create_task(self._work(stream))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
        return bool(settled or claimed)

    async def _settle(self) -> bool:
        outcomes, self._outcomes = self._outcomes, []
        try:
            await self._store.settle(outcomes)
        except StoreUnavailable:
            self._outcomes = outcomes + self._outcomes
            raise
        return bool(outcomes)

    async def _claim(self) -> list[ClaimedStream]:
        free = self._concurrency - len(self._in_flight)
        if free <= 0:
            return []
        return await self._store.claim(free, self._per_destination, self._by_destination)

    async def _work(self, stream: ClaimedStream) -> None:
        """Make the deliveries of ``stream`` in their order, until one fails or the time of the lease runs short."""
        delivered: list[int] = []
        outcome = StreamOutcome(stream.stream_key, stream.subscription_key, delivered)
        give_back_at = time.monotonic() + self._run_s
        try:
            for delivery in stream.deliveries:
                result = await self._sender.send(stream.destination, delivery.body, delivery.headers)
                if self._on_attempt is not None:
                    self._on_attempt(stream, delivery, result)
                if not result.ok:
                    outcome = self._failed(stream, delivery, result, delivered)
                    break
                delivered.append(delivery.delivery_id)
                if time.monotonic() > give_back_at:
                    break
        finally:
            self._outcomes.append(outcome)
            self._by_destination[stream.destination] -= 1
            if not self._by_destination[stream.destination]:
                del self._by_destination[stream.destination]
            self.wake()

    def _failed(
        self, stream: ClaimedStream, delivery: ClaimedDelivery, result: SendResult, delivered: list[int]
    ) -> StreamOutcome:
        now = datetime.now(UTC)
        jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
        retry_at = None
        if not result.gone:
            retry_at = self._policy.next_attempt(delivery.attempts + 1, delivery.created_at, now, jitter)
        log.warning(
            "delivery.failed",
            destination=stream.destination,
            attempts=delivery.attempts + 1,
            error=result.error,
            retry_at=retry_at.isoformat() if retry_at else None,
        )
        return StreamOutcome(
            stream.stream_key, stream.subscription_key, delivered, delivery.delivery_id, result.error, retry_at
        )

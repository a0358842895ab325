# SPDX-License-Identifier: Apache-2.0
"""Making deliveries: many at once, few to each destination, so that a slow or dead receiver delays nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import psycopg
import structlog

from adapters.webhook import SendResult
from api.workers.waiting import wait_at_most
from broker.errors import StoreUnavailable
from context_store.deliveries import ClaimedDelivery, ClaimedStream, DeliveryStore, StreamOutcome

log = structlog.get_logger(__name__)

ID_HEADER: Final = "Minamo-Delivery-Id"  # the same in every attempt, so that a receiver can drop repeats
_PAUSE_AFTER_ERROR_S: Final = 1.0


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


class Shares:
    """Who may have how many deliveries under way.

    A destination that did not answer is *suspect* until it does: it gets one attempt at a time, and all suspects
    together at most half of what there is. However many receivers are down, the others keep the other half.
    """

    def __init__(self, concurrency: int, per_destination: int) -> None:
        self.per_destination = per_destination
        self._for_suspects = max(1, concurrency // 2)
        self._in_flight: Counter[str] = Counter()
        self._suspects: set[str] = set()

    def begin(self, destination: str) -> None:
        """An attempt begins."""
        self._in_flight[destination] += 1

    def end(self, destination: str) -> None:
        """An attempt is over, however it ended."""
        self._in_flight[destination] -= 1
        if not self._in_flight[destination]:
            del self._in_flight[destination]

    def judge(self, destination: str, result: SendResult) -> None:
        """The receiver answered, even if with a refusal, or it did not (a 5xx counts as no answer)."""
        if result.status is not None and result.status < 500:
            self._suspects.discard(destination)
        else:
            self._suspects.add(destination)

    def taken(self) -> Mapping[str, int]:
        """By destination, how much of its share (``per_destination``) is taken."""
        busy = sum(count for destination, count in self._in_flight.items() if destination in self._suspects)
        spare = 1 if busy < self._for_suspects else 0
        counts = dict(self._in_flight)
        for destination in self._suspects:
            free = spare if destination not in counts else 0
            counts[destination] = self.per_destination - free
        return counts


class DeliveryWorker:
    """Claims due streams and makes their deliveries until cancelled.

    ``concurrency`` streams are worked on at once, ``per_destination`` of them for one destination; after ``run_s``
    seconds a stream is given back, so that its lease never runs out while it is worked on.
    """

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
        self._poll_s = poll_s
        self._run_s = run_s
        self._on_attempt = on_attempt
        self._in_flight: dict[asyncio.Task[None], ClaimedStream] = {}
        self._shares = Shares(concurrency, per_destination)
        self._outcomes: list[StreamOutcome] = []
        self._claiming: asyncio.Future[list[ClaimedStream]] | None = None
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be something to deliver."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; what is in flight then is given back to whoever works next."""
        try:
            while True:
                self._wake.clear()
                if not await self._turn():
                    await self._rest()
        finally:
            await self._stop()

    async def _stop(self) -> None:
        """End what is under way and give back all that was claimed, instead of letting the leases run out."""
        claimed = list(self._in_flight.values())
        tasks = list(self._in_flight)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(StoreUnavailable, psycopg.Error):  # then the leases do run out
            if self._claiming is not None:
                claimed += await self._claiming
            told = {outcome.stream_key for outcome in self._outcomes}
            self._outcomes += [_nothing_done(stream) for stream in claimed if stream.stream_key not in told]
            await self._settle()

    async def _rest(self) -> None:
        await wait_at_most(self._wake, self._poll_s)

    async def _turn(self) -> bool:
        """Settle what has ended and claim what is due; returns whether there was anything to do."""
        try:
            settled = await self._settle()
            claimed = await self._claim()
        except StoreUnavailable as exc:
            log.warning("deliveries.store_unavailable", error=str(exc))
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            return False
        except psycopg.Error:
            log.exception("deliveries.failed")
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            return False
        for stream in claimed:
            self._shares.begin(stream.destination)
            task = asyncio.create_task(self._work(stream))
            self._in_flight[task] = stream
            task.add_done_callback(self._in_flight.pop)
        return bool(settled or claimed)

    async def _settle(self) -> bool:
        outcomes, self._outcomes = self._outcomes, []
        try:
            await self._store.settle(outcomes)
        except BaseException:
            self._outcomes = outcomes + self._outcomes
            raise
        return bool(outcomes)

    async def _claim(self) -> list[ClaimedStream]:
        free = self._concurrency - len(self._in_flight)
        if free <= 0:
            return []
        claiming = asyncio.ensure_future(self._store.claim(free, self._shares.per_destination, self._shares.taken()))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:  # it may be committed all the same
            self._claiming = claiming
            raise

    async def _work(self, stream: ClaimedStream) -> None:
        """Make the deliveries of ``stream`` in their order, until one fails or its time is over."""
        delivered: list[int] = []
        outcome = StreamOutcome(stream.stream_key, stream.lease, stream.subscription_key, delivered)
        give_back_at = time.monotonic() + self._run_s
        try:
            for delivery in stream.deliveries:
                result = await self._attempt(stream, delivery)
                if not result.ok:
                    outcome = self._failed(stream, delivery, result, delivered)
                    break
                delivered.append(delivery.delivery_id)
                if time.monotonic() > give_back_at:
                    break
        finally:
            self._outcomes.append(outcome)
            self._shares.end(stream.destination)
            self.wake()

    async def _attempt(self, stream: ClaimedStream, delivery: ClaimedDelivery) -> SendResult:
        headers = {**delivery.headers, ID_HEADER: str(delivery.delivery_id)}
        result = await self._sender.send(stream.destination, delivery.body, headers)
        self._shares.judge(stream.destination, result)
        if self._on_attempt is not None:
            self._on_attempt(stream, delivery, result)
        return result

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
        reason = (result.error or "").replace("\0", "")
        return StreamOutcome(
            stream.stream_key,
            stream.lease,
            stream.subscription_key,
            delivered,
            delivery.delivery_id,
            reason,
            retry_at,
        )


def _nothing_done(stream: ClaimedStream) -> StreamOutcome:
    return StreamOutcome(stream.stream_key, stream.lease, stream.subscription_key, [])

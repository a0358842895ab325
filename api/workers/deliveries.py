# SPDX-License-Identifier: Apache-2.0
"""Making deliveries: many at once, few to each receiver, so that a slow or dead one delays nobody else.

Each lane (alerts, what is usual, bulk) has a worker of its own: whatever the others wait for, alerts find a place.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import psycopg
import structlog

from adapters.channels.sending import ID_HEADER, REPEAT_HEADER
from adapters.channels.webhook import SendResult
from api.workers.shares import RetryPolicy, Shares, is_answer
from api.workers.waiting import wait_at_most
from broker.errors import Conflict, StoreUnavailable
from broker.sealed import Stored
from broker.subscriptions import Sending
from context_store.deliveries.outbox import Priority
from context_store.deliveries.queue import ClaimedDelivery, ClaimedStream, DeliveryStore, StreamOutcome
from context_store.sealing import Sealer

log = structlog.get_logger(__name__)

_TO_PEOPLE: Final = "contact"  # the kind of deliveries of which nobody wants two
_LAST_ATTEMPT_S: Final = 5.0  # that a message to a person which is under way has to end, when the worker stops
_PAUSE_AFTER_ERROR_S: Final = 1.0
_LONGEST_PAUSE_OF_BULK_S: Final = 0.5
# From one look into the queue to the next, so that under load each settles and claims more.
_PACE_S: Final = 0.01
_TAKEN_AT_MOST: Final = 3  # times the streams worked on at once that are claimed
_LONGEST_WISH: Final = timedelta(minutes=15)  # of a receiver that wants to be left alone: alerts do not wait longer
_CLOCK_EVERY_S: Final = 30.0
_CLOCK_MARGIN_S: Final = 60.0
_LONGEST_ATTEMPT_S: Final = 330.0  # longer than any sender waits: what hangs all the same holds a place no longer


class Sender(Protocol):
    """What makes one attempt."""

    async def send(self, destination: str, body: bytes, headers: dict[str, str], sending: Sending) -> SendResult:
        """Never raises for what the receiver does."""
        ...


class Opening:
    """Opens what is sealed in the headers of a delivery and in how it is sent; what cannot be opened is not sent."""

    def __init__(self, sender: Sender, sealer: Sealer) -> None:
        self._sender = sender
        self._sealer = sealer

    async def send(self, destination: str, body: bytes, headers: dict[str, Stored], sending: Sending) -> SendResult:
        """An attempt, which has failed where a key is missing."""
        try:
            opened, plainly = self._sealer.open(headers), self._sealer.open_sending(sending)
        except Conflict as failure:
            return SendResult(False, None, failure.detail)
        return await self._sender.send(destination, body, opened, plainly)


@dataclass(slots=True)
class _Places:
    """The places for one receiver, and how many streams have one or wait for one."""

    free: asyncio.Semaphore
    users: int = 0


class DeliveryWorker:
    """Claims due streams of a ``lane`` and makes their deliveries until cancelled.

    ``concurrency`` streams are worked on at once, ``per_destination`` of them for one receiver; those claimed ahead
    wait for their turn. After ``run_s`` seconds a stream is given back, so that its lease never runs out while it is
    worked on. An attempt that takes longer than ``attempt_s`` has failed, whatever the sender thinks.
    """

    def __init__(
        self,
        store: DeliveryStore,
        sender: Sender,
        sealer: Sealer | None = None,
        *,
        policy: RetryPolicy,
        lane: Priority = Priority.NORMAL,
        concurrency: int = 32,
        per_destination: int = 4,
        poll_s: float = 0.25,
        run_s: float = 2.0,
        longest_pause_s: float = 30.0,
        attempt_s: float = _LONGEST_ATTEMPT_S,
        on_attempt: Callable[[ClaimedStream, ClaimedDelivery, SendResult], None] | None = None,
    ) -> None:
        self._store = store
        self._sender = Opening(sender, sealer or Sealer())
        self._policy = policy
        self._lane = lane
        self._concurrency = concurrency
        self._poll_s = poll_s
        self._run_s = run_s
        self._attempt_s = attempt_s
        self._on_attempt = on_attempt
        self._in_flight: dict[asyncio.Task[None], ClaimedStream] = {}
        self._shares = Shares(concurrency, per_destination, longest_pause_s=longest_pause_s)
        self._places: dict[str, _Places] = {}
        self._waiting = 0  # streams claimed ahead
        self._outcomes: list[StreamOutcome] = []
        self._returned: set[str] = set()  # receivers that answer again
        self._overdue: dict[str, str] = {}  # receivers that let a delivery grow too old, and what was wrong
        self._gone: dict[int, str] = {}  # subscriptions whose receiver will never take anything again
        self._after = ""  # whose turn it was last
        self._claiming: asyncio.Future[list[ClaimedStream]] | None = None
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._clock_checked_at = time.monotonic()

    def wake(self) -> None:
        """There may be something to deliver."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; what is in flight then is given back to whoever works next."""
        try:
            while True:
                self._wake.clear()
                began = time.monotonic()
                if not await self._turn():
                    await self._rest()
                elif self._lane is Priority.BULK:  # works half of the time at most: the other half is the others'
                    await asyncio.sleep(min(time.monotonic() - began, _LONGEST_PAUSE_OF_BULK_S))
                await asyncio.sleep(max(0.0, began + _PACE_S - time.monotonic()))
        finally:
            await self._stop()

    async def _stop(self) -> None:
        """End what is under way and give back all that was claimed, instead of letting the leases run out."""
        claimed = list(self._in_flight.values())
        tasks = list(self._in_flight)
        self._is_stopping = True
        if under_way := [task for task, stream in self._in_flight.items() if stream.kind == _TO_PEOPLE]:
            await asyncio.wait(under_way, timeout=_LAST_ATTEMPT_S)
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
            await self._tend()
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
            self._shares.begin(stream.receiver)
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

    async def _tend(self) -> None:
        """Let go on what waited for receivers that are back or for a clock that was put back, give up what has waited
        too long for others, and end the subscriptions of those that are gone.
        """
        if self._lane is Priority.ALERT and time.monotonic() - self._clock_checked_at >= _CLOCK_EVERY_S:
            longest_s = max(self._policy.longest_s, _LONGEST_WISH.total_seconds()) + _CLOCK_MARGIN_S
            if count := await self._store.bring_forward(self._lane, longest_s):
                log.warning("deliveries.clock_put_back", streams=count)
            self._clock_checked_at = time.monotonic()
        while self._returned:
            receiver = next(iter(self._returned))
            await self._store.resume(self._lane, receiver)
            self._returned.discard(receiver)
        while self._overdue:
            receiver, error = next(iter(self._overdue.items()))
            count = await self._store.expire(self._lane, receiver, datetime.now(UTC) - self._policy.max_age, error)
            log.warning("deliveries.expired", receiver=receiver, count=count, error=error)
            del self._overdue[receiver]
        while self._gone:
            key, reason = next(iter(self._gone.items()))
            if await self._store.end_subscription(key, reason):
                log.warning("subscription.ended", subscription_key=key, reason=reason)
            del self._gone[key]

    async def _claim(self) -> list[ClaimedStream]:
        held = len(self._in_flight)
        free = min(self._concurrency - (held - self._waiting), _TAKEN_AT_MOST * self._concurrency - held)
        if free <= 0:
            return []
        share, taken = self._shares.per_destination, self._shares.taken()
        claiming = asyncio.ensure_future(
            self._store.claim(free, share, taken, lane=self._lane, after=self._after),
        )
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:  # it may be committed all the same
            self._claiming = claiming
            raise
        self._after = claimed[-1].receiver if len(claimed) == free else ""
        return claimed

    async def _work(self, stream: ClaimedStream) -> None:
        """Make the deliveries of ``stream`` in their order, until one fails or its time is over."""
        outcome = _nothing_done(stream)
        give_back_at = time.monotonic() + self._run_s
        try:
            async with self._place(stream.receiver) as has_waited:
                if not has_waited or (time.monotonic() < give_back_at and not self._shares.is_suspect(stream.receiver)):
                    outcome = await self._deliver(stream, outcome, time.monotonic() + self._run_s)
        finally:
            self._outcomes.append(outcome)
            self._shares.end(stream.receiver)
            self.wake()

    @contextlib.asynccontextmanager
    async def _place(self, receiver: str) -> AsyncIterator[bool]:
        """One of the places for a receiver; tells whether it had to be waited for."""
        places = self._places.get(receiver)
        if places is None:
            places = self._places[receiver] = _Places(asyncio.Semaphore(self._shares.per_destination))
        has_to_wait = places.free.locked()
        places.users += 1
        self._waiting += has_to_wait
        try:
            await places.free.acquire()
        except BaseException:
            self._leave(receiver, places)
            raise
        finally:
            self._waiting -= has_to_wait
        try:
            yield has_to_wait
        finally:
            places.free.release()
            self._leave(receiver, places)

    def _leave(self, receiver: str, places: _Places) -> None:
        places.users -= 1
        if not places.users:
            del self._places[receiver]

    async def _deliver(self, stream: ClaimedStream, outcome: StreamOutcome, give_back_at: float) -> StreamOutcome:
        for delivery in stream.deliveries:
            if self._is_stopping:
                break
            began = time.monotonic()
            result = await self._attempt(stream, delivery)
            if not result.ok:
                return self._failed(stream, delivery, result, outcome.delivered, time.monotonic() - began)
            outcome.delivered.append(delivery.delivery_id)
            if time.monotonic() > give_back_at:
                break
        return outcome

    async def _attempt(self, stream: ClaimedStream, delivery: ClaimedDelivery) -> SendResult:
        headers = {**delivery.headers, ID_HEADER: str(delivery.delivery_id)}
        if stream.kind == _TO_PEOPLE and (stream.is_abandoned or delivery.attempts):
            headers[REPEAT_HEADER] = "possible"
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._attempt_s):
                result = await self._sender.send(stream.destination, delivery.body, headers, stream.sending)
        except TimeoutError:
            result = SendResult(False, None, f"no end of the attempt within {self._attempt_s:g} s")
        if self._shares.judge(stream.receiver, result, time.monotonic() - began):
            self._returned.add(stream.receiver)
        if self._on_attempt is not None:
            self._on_attempt(stream, delivery, result)
        return result

    def _failed(
        self,
        stream: ClaimedStream,
        delivery: ClaimedDelivery,
        result: SendResult,
        delivered: list[int],
        seconds: float,
    ) -> StreamOutcome:
        now = datetime.now(UTC)
        jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
        retry_at = None
        if not result.gone and not result.final:
            retry_at = self._policy.next_attempt(delivery.attempts + 1, delivery.queued_at, now, jitter)
            if retry_at is not None and stream.sending.cooldown_ms is not None:
                retry_at = max(retry_at, now + timedelta(milliseconds=stream.sending.cooldown_ms))
            if retry_at is not None and result.retry_after_s is not None:
                retry_at = max(retry_at, now + min(timedelta(seconds=result.retry_after_s), _LONGEST_WISH))
        log.warning(
            "delivery.failed",
            destination=stream.destination,
            attempts=delivery.attempts + 1,
            error=result.error,
            retry_at=retry_at.isoformat() if retry_at else None,
        )
        reason = (result.error or "").replace("\0", "")
        if retry_at is None and not result.final and not is_answer(result):
            self._overdue[stream.receiver] = reason
        if result.gone and stream.subscription_key is not None:
            self._gone[stream.subscription_key] = f"Ended, because the receiver is gone: {reason}"
        return StreamOutcome(
            stream.stream_key,
            stream.lease,
            stream.subscription_key,
            delivered,
            delivery.delivery_id,
            reason,
            retry_at,
            status=result.status,
            seconds=seconds,
            no_answer=not is_answer(result),
        )


def _nothing_done(stream: ClaimedStream) -> StreamOutcome:
    return StreamOutcome(stream.stream_key, stream.lease, stream.subscription_key, [])


class DeliveryLanes:
    """The workers of all lanes as one: nobody waits for places that another lane has taken."""

    def __init__(self, workers: Sequence[DeliveryWorker]) -> None:
        self._workers = list(workers)

    def wake(self) -> None:
        """There may be something to deliver."""
        for worker in self._workers:
            worker.wake()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for worker in self._workers:
                tasks.create_task(worker.run())

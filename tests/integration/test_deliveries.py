# SPDX-License-Identifier: Apache-2.0
"""Deliveries from the outbox to real HTTP receivers, which are slow, refuse, or are away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from adapters.channels.sending import Senders
from adapters.channels.webhook import SendResult
from adapters.web.guard import Reach
from api.workers.deliveries import DeliveryLanes, DeliveryWorker
from api.workers.shares import RetryPolicy
from context_store.database import ALL_TENANTS, Database
from context_store.deliveries.outbox import NewDelivery, Priority, insert_deliveries
from context_store.deliveries.queue import ClaimedStream, DeliveryStore, StreamOutcome
from support.receiver import Receiver
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

QUICK = RetryPolicy(first_s=0.05, longest_s=0.2)
numbers = count(1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, max_size=12)
    await database.open()
    yield database
    await database.close()


def delivery(url: str, order_key: str = "a", *, priority: Priority = Priority.NORMAL, **more: Any) -> NewDelivery:
    sequence = next(numbers)
    return NewDelivery(1, "notification", priority, order_key, url, sequence, b"%d" % sequence, {}, **more)


async def put(database: Database, *deliveries: NewDelivery) -> list[bytes]:
    async with database.transaction(ALL_TENANTS) as connection:
        await insert_deliveries(connection, deliveries)
    return [item.body for item in deliveries]


@asynccontextmanager
async def working(database: Database, *, lease_s: float = 60.0, **options: Any) -> AsyncIterator[DeliveryLanes]:
    """A worker that runs for the block; ``options`` are the worker's, or the sender's ``timeout_s``."""
    timeout_s = options.pop("timeout_s", 5.0)
    async with Senders(timeout_s=timeout_s, reach=Reach(allow_loopback=True)) as sender:
        store = DeliveryStore(database, lease_s=lease_s)
        options = {"policy": QUICK, "poll_s": 0.02, "longest_pause_s": 0.2, **options}
        worker = DeliveryLanes([DeliveryWorker(store, sender, lane=lane, **options) for lane in Priority])
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def states(database: Database) -> dict[bytes, tuple[str, int, str | None]]:
    """By body: state, failed attempts, last error."""
    async with database.transaction(ALL_TENANTS) as connection:
        rows = await (await connection.execute("select body, state, attempts, last_error from delivery")).fetchall()
    return {body: (state, attempts, error) for body, state, attempts, error in rows}


async def test_deliveries_of_one_stream_arrive_in_order(database: Database, receiver: Receiver) -> None:
    bodies = await put(database, *(delivery(receiver.url) for _ in range(50)))
    async with working(database):
        await receiver.wait_for(50)
    assert [request.body for request in receiver.accepted] == bodies


async def test_order_holds_while_deliveries_are_added_and_refused(database: Database, receiver: Receiver) -> None:
    refusals = iter([503, 200, 500, 502] * 10)
    receiver.status = lambda _request: next(refusals, 200)
    bodies = []
    async with working(database):
        for _ in range(20):
            bodies += await put(database, delivery(receiver.url), delivery(receiver.url))
            await asyncio.sleep(0.01)
        await receiver.wait_for(40)
    assert [request.body for request in receiver.accepted] == bodies


async def test_streams_do_not_wait_for_each_other(database: Database, receiver: Receiver) -> None:
    stuck, fine = delivery(receiver.url, "stuck"), delivery(receiver.url, "fine")
    receiver.status = lambda request: 400 if request.body == stuck.body else 200
    await put(database, stuck, fine)
    async with working(database):
        await receiver.wait_for(1)
    assert receiver.accepted[0].body == fine.body


async def test_delivery_has_headers_and_the_same_id_in_every_attempt(database: Database, receiver: Receiver) -> None:
    answers = iter([500, 200])
    receiver.status = lambda _request: next(answers)
    made = NewDelivery(1, "notification", Priority.NORMAL, "a", receiver.url, 7, b"{}", {"X-Key": "value"})
    await put(database, made)
    async with working(database):
        await receiver.wait_for(1)
    first, second = receiver.received
    assert first.headers["x-key"] == "value"
    assert first.headers["minamo-delivery-id"] == second.headers["minamo-delivery-id"] != ""


async def test_receiver_that_fails_for_a_while_gets_it_after_backoff(database: Database, receiver: Receiver) -> None:
    answers = iter([500, 503, 200])
    receiver.status = lambda _request: next(answers)
    bodies = await put(database, delivery(receiver.url))
    async with working(database, policy=RetryPolicy(first_s=0.2, longest_s=1.0)):
        await eventually(lambda: _is(database, bodies[0], "delivered"))
    pauses = [b.at - a.at for a, b in zip(receiver.received, receiver.received[1:], strict=False)]
    assert pauses[0] >= timedelta(seconds=0.1)  # half of the first pause is jitter
    assert pauses[1] >= timedelta(seconds=0.2)
    assert (await states(database))[bodies[0]][1] == 2


async def test_any_2xx_is_success(database: Database, receiver: Receiver) -> None:
    receiver.status = 204
    bodies = await put(database, delivery(receiver.url))
    async with working(database):
        await eventually(lambda: _is(database, bodies[0], "delivered"))


async def test_gone_is_a_dead_letter_with_its_reason(database: Database, receiver: Receiver) -> None:
    gone, next_one = delivery(receiver.url), delivery(receiver.url)
    receiver.status = lambda request: 410 if request.body == gone.body else 200
    await put(database, gone, next_one)
    async with working(database):
        await eventually(lambda: _is(database, next_one.body, "delivered"))
    found = await states(database)
    assert found[gone.body][:2] == ("dead", 1)
    assert "410" in (found[gone.body][2] or "")


async def test_too_old_is_a_dead_letter(database: Database, receiver: Receiver) -> None:
    receiver.status = 500
    async with working(database, policy=RetryPolicy(first_s=0.02, longest_s=0.1, max_age=timedelta(seconds=2))):
        bodies = await put(database, delivery(receiver.url))
        await eventually(lambda: _is(database, bodies[0], "dead"))
    assert len(receiver.received) > 1


async def _is(database: Database, body: bytes, state: str) -> bool:
    return (await states(database))[body][0] == state


async def test_redirect_is_not_followed(database: Database, receiver: Receiver) -> None:
    receiver.status = 302
    bodies = await put(database, delivery(receiver.url))
    async with working(database):
        await eventually(lambda: _has_error(database, bodies[0]))
    assert "302" in ((await states(database))[bodies[0]][2] or "")


async def test_receivers_that_are_down_delay_nobody_else(database: Database, receiver: Receiver) -> None:
    async with Receiver() as hanging, Receiver() as other_hanging:
        hanging.delay_s = other_hanging.delay_s = 2
        dead = [delivery(url, f"{url}:{n}") for url in (hanging.url, other_hanging.url) for n in range(100)]
        await put(database, *dead)
        async with working(database, concurrency=8, per_destination=4, timeout_s=0.5):
            await asyncio.sleep(0.6)  # the worker has learned that they do not answer
            await put(database, *(delivery(receiver.url, f"fine:{n}") for n in range(50)))
            await receiver.wait_for(50, timeout_s=3.0)


async def test_slow_subscriber_beside_fast_ones(database: Database, receiver: Receiver) -> None:
    async with Receiver() as slow:
        slow.delay_s = 0.5
        await put(database, *(delivery(slow.url, f"slow:{n}") for n in range(40)))
        async with working(database, concurrency=16, per_destination=4):
            for n in range(20):
                await put(database, delivery(receiver.url, f"fast:{n}"))
                await receiver.wait_for(n + 1, timeout_s=0.45)
            assert slow.most_under_way == 4


async def test_alerts_overtake(database: Database, receiver: Receiver) -> None:
    await put(database, *(delivery(receiver.url, f"bulk:{n}", priority=Priority.BULK) for n in range(100)))
    urgent = await put(database, delivery(receiver.url, "alert", priority=Priority.ALERT))
    async with working(database, concurrency=4):
        await receiver.wait_for(20)
    assert urgent[0] in [request.body for request in receiver.accepted[:10]]


async def test_alerts_have_places_of_their_own_while_slow_receivers_take_all_others(
    database: Database, receiver: Receiver
) -> None:
    async with Receiver() as slow:
        slow.delay_s = 5
        await put(database, *(delivery(slow.url, f"slow:{n}") for n in range(8)))
        async with working(database, concurrency=4, per_destination=4):
            await eventually(lambda: slow.under_way == 4)
            await put(database, delivery(receiver.url, "alert", priority=Priority.ALERT))
            await receiver.wait_for(1, timeout_s=2.0)


async def test_share_is_that_of_a_host_whatever_the_paths(database: Database, receiver: Receiver) -> None:
    receiver.delay_s = 0.05
    await put(database, *(delivery(f"{receiver.url}/{n}", f"path {n}") for n in range(40)))
    async with working(database, concurrency=16, per_destination=3):
        await receiver.wait_for(40)
    assert receiver.most_under_way == 3


async def test_quick_receiver_has_no_more_at_once_than_its_share(database: Database, receiver: Receiver) -> None:
    await put(database, *(delivery(receiver.url, f"stream {n}") for n in range(100)))
    async with working(database, concurrency=16, per_destination=2):
        await receiver.wait_for(100)
    assert receiver.most_under_way <= 2


async def test_what_was_taken_ahead_is_given_back_when_the_receiver_slows_down(
    database: Database, receiver: Receiver
) -> None:
    def slow_down(_: object) -> int:
        receiver.delay_s = 0.15
        return 200

    receiver.status = slow_down
    await put(database, *(delivery(receiver.url, f"stream {n}") for n in range(20)))
    async with working(database, concurrency=16, per_destination=1, run_s=0.1):
        await receiver.wait_for(20)
    assert len(receiver.received) == 20


async def test_every_receiver_has_its_turn(database: Database, receiver: Receiver) -> None:
    async with Receiver() as first, Receiver() as second:
        urls = [receiver.url, first.url, second.url]
        await put(database, *(delivery(url, f"{url} {n}") for url in urls for n in range(30)))
        async with working(database, concurrency=2, per_destination=2):
            for one in (receiver, first, second):
                await one.wait_for(30)


async def test_what_waited_for_a_receiver_goes_on_as_soon_as_it_answers(database: Database, receiver: Receiver) -> None:
    receiver.status = 503
    await put(database, *(delivery(receiver.url, f"stream {n}") for n in range(3)))
    async with working(database, policy=RetryPolicy(first_s=60), concurrency=4, per_destination=4):
        await receiver.wait_for_requests(3)
        receiver.status = 200
        await put(database, delivery(receiver.url, "new"))
        await receiver.wait_for(4, timeout_s=5.0)


async def test_receiver_that_is_away_is_not_asked_for_each_delivery(database: Database, receiver: Receiver) -> None:
    receiver.status = 503
    await put(database, *(delivery(receiver.url, f"stream {n}") for n in range(200)))
    async with working(database, longest_pause_s=30):
        await receiver.wait_for_requests(4)
        await asyncio.sleep(0.4)
    assert len(receiver.received) < 10


async def test_what_is_too_old_for_a_receiver_that_is_away_is_dead_all_at_once(
    database: Database, receiver: Receiver
) -> None:
    receiver.status = 503
    await put(database, *(delivery(receiver.url, f"stream {n % 20}") for n in range(200)))
    async with working(database, policy=RetryPolicy(first_s=0.05, max_age=timedelta(seconds=0.3))):
        await eventually(lambda: _all(database, "dead"))
    async with database.transaction(ALL_TENANTS) as connection:
        cursor = await connection.execute("select sum(pending), count(due_at), count(oldest_at) from delivery_stream")
        assert await cursor.fetchone() == (0, 0, 0)


async def _all(database: Database, state: str) -> bool:
    return {found for found, _, _ in (await states(database)).values()} == {state}


async def test_streams_know_how_much_waits(database: Database, receiver: Receiver) -> None:
    answers = iter([200, 503, 200, 404, 200] * 200)
    receiver.status = lambda _request: next(answers, 200)
    waiting = """select count(*) from delivery_stream s where pending <> (select count(*) from delivery d
                  where d.stream_key = s.stream_key and d.state = 'pending')
                  or (pending > 0) <> (oldest_at is not null)"""
    async with working(database), working(database):
        for turn in range(30):
            await put(database, *(delivery(receiver.url, f"stream {n}") for n in range(turn % 7 + 1)))
            async with database.transaction(ALL_TENANTS) as connection:
                assert await (await connection.execute(waiting)).fetchone() == (0,)
        await eventually(lambda: _all(database, "delivered"))


async def test_failures_are_remembered_with_the_answers(database: Database, receiver: Receiver) -> None:
    answers = iter([500, 404, 200])
    receiver.status = lambda _request: next(answers)
    await put(database, delivery(receiver.url))
    async with working(database):
        await eventually(lambda: _all(database, "delivered"))
    async with database.transaction(ALL_TENANTS) as connection:
        rows = await (await connection.execute("select failures, attempts from delivery")).fetchall()
    (failures, attempts) = rows[0]
    assert [failure["status"] for failure in failures] == [500, 404]
    assert attempts == 2


async def test_only_the_last_ten_failures_are_kept(database: Database, receiver: Receiver) -> None:
    answers = iter(range(500, 512))
    receiver.status = lambda _request: next(answers, 200)
    await put(database, delivery(receiver.url))
    async with working(database, policy=RetryPolicy(first_s=0.01, longest_s=0.02), longest_pause_s=0.02):
        await eventually(lambda: _all(database, "delivered"))
    async with database.transaction(ALL_TENANTS) as connection:
        rows = await (await connection.execute("select failures from delivery")).fetchall()
    assert [failure["status"] for failure in rows[0][0]] == list(range(502, 512))


async def test_purge_removes_all_that_is_old_and_keeps_dead_letters(database: Database) -> None:
    await put(database, *(delivery("http://127.0.0.1:9/", f"stream {n}") for n in range(25)))
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute("update delivery set state = 'delivered', finished_at = now()")
        await connection.execute(
            "update delivery set state = 'dead' where sequence = (select min(sequence) from delivery)"
        )
        await connection.execute("update delivery_stream set due_at = null, pending = 0")
    assert await DeliveryStore(database).purge(datetime.now(UTC) + timedelta(seconds=5), limit=10) == 24
    assert [state for state, _, _ in (await states(database)).values()] == ["dead"]


async def test_sender_that_hangs_holds_its_place_no_longer_than_an_attempt_may_take(database: Database) -> None:
    bodies = await put(database, delivery("http://127.0.0.1:9/"))
    worker = DeliveryWorker(DeliveryStore(database), _Dying(), policy=RetryPolicy(first_s=60), attempt_s=0.1)
    task = asyncio.create_task(worker.run())
    await eventually(lambda: _has_error(database, bodies[0]))
    task.cancel()
    await asyncio.wait([task])


class _Dying:
    """A sender whose worker dies in the middle of an attempt."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def send(self, *_: object) -> SendResult:
        self.begun.set()
        await asyncio.sleep(60)
        raise AssertionError


async def test_delivery_of_a_worker_that_died_is_made_by_another(database: Database, receiver: Receiver) -> None:
    bodies = await put(database, delivery(receiver.url))
    store = DeliveryStore(database, lease_s=0.5)
    assert len(await store.claim(10, 10, {})) == 1  # by a worker that is never heard of again
    async with working(database):
        await asyncio.sleep(0.2)
        assert receiver.received == []
        await eventually(lambda: _is(database, bodies[0], "delivered"))


async def test_worker_that_is_stopped_gives_back_what_it_had(database: Database, receiver: Receiver) -> None:
    await put(database, delivery(receiver.url))
    sender = _Dying()
    stopped = asyncio.create_task(DeliveryWorker(DeliveryStore(database), sender, policy=QUICK).run())
    await sender.begun.wait()
    stopped.cancel()
    with suppress(asyncio.CancelledError):
        await stopped
    async with working(database):
        await receiver.wait_for(1, timeout_s=2.0)


async def test_worker_stopped_at_any_moment_leaves_nothing_claimed(database: Database, receiver: Receiver) -> None:
    chance = random.Random(1)
    async with Senders(timeout_s=5, reach=Reach(allow_loopback=True)) as sender:
        for _ in range(40):
            await put(database, *(delivery(receiver.url, f"stream {n}") for n in range(4)))
            worker = asyncio.create_task(DeliveryWorker(DeliveryStore(database), sender, policy=QUICK).run())
            await asyncio.sleep(chance.random() * 0.03)
            worker.cancel()
            await asyncio.wait([worker], timeout=5)
            assert worker.cancelled()
            async with database.transaction(ALL_TENANTS) as connection:
                cursor = await connection.execute(
                    "select count(*) from delivery_stream where claimed_until is not null"
                )
                assert await cursor.fetchone() == (0,)
    async with working(database):
        await eventually(lambda: len({request.body for request in receiver.accepted}) == 160)


async def test_late_failure_does_not_disturb_the_worker_that_took_over(database: Database) -> None:
    await put(database, delivery("http://127.0.0.1:9/"))
    slow, next_one = DeliveryStore(database, lease_s=0.01), DeliveryStore(database)
    (late,) = await slow.claim(1, 1, {})
    await asyncio.sleep(0.05)
    (taken,) = await next_one.claim(1, 1, {})
    await slow.settle([_failed(late)])
    assert await next_one.claim(1, 1, {}) == []
    await next_one.settle([_delivered(taken)])
    await slow.settle([_failed(late)])
    assert [state for state, _, _ in (await states(database)).values()] == ["delivered"]


def _failed(stream: ClaimedStream) -> StreamOutcome:
    return StreamOutcome(stream.stream_key, stream.lease, None, [], stream.deliveries[0].delivery_id, "late", None)


def _delivered(stream: ClaimedStream) -> StreamOutcome:
    return StreamOutcome(stream.stream_key, stream.lease, None, [item.delivery_id for item in stream.deliveries])


async def test_two_workers_deliver_each_once_and_in_order(database: Database, receiver: Receiver) -> None:
    receiver.delay_s = 0.002
    expected: dict[str, list[bytes]] = {}
    async with working(database), working(database):
        for turn in range(20):
            batch = [delivery(receiver.url, f"stream {n}") for n in range(turn % 7 + 1)]
            for item, body in zip(batch, await put(database, *batch), strict=True):
                expected.setdefault(item.order_key, []).append(body)
            await asyncio.sleep(0.005)
        total = sum(map(len, expected.values()))
        await receiver.wait_for(total)
        await asyncio.sleep(0.2)
    assert len(receiver.received) == total
    arrived = [request.body for request in receiver.received]
    for bodies in expected.values():
        assert [body for body in arrived if body in bodies] == bodies


async def test_writers_and_workers_never_wait_in_a_circle(database: Database, receiver: Receiver) -> None:
    async def write(seed: int) -> None:
        for turn in range(30):
            keys = [f"stream {(seed * 7 + turn * 3 + n) % 10}" for n in range(5)]
            await put(database, *(delivery(receiver.url, key) for key in (keys if seed % 2 else reversed(keys))))

    await put(database, *(delivery(receiver.url, f"stream {n}") for n in range(10)))
    async with working(database), working(database):
        await asyncio.gather(*(write(seed) for seed in range(4)))
        await receiver.wait_for(10 + 4 * 30 * 5, timeout_s=30)


async def test_private_destinations_are_refused(database: Database) -> None:
    bodies = await put(database, delivery("http://10.0.0.1/"))
    async with working(database):
        await eventually(lambda: _has_error(database, bodies[0]))
    assert "private" in ((await states(database))[bodies[0]][2] or "")


async def _has_error(database: Database, body: bytes) -> bool:
    return (await states(database))[body][2] is not None


async def test_endless_answer_does_not_fill_the_memory(database: Database) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            while sent < 200_000_000:
                writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    bodies = await put(database, delivery(url))
    async with server, working(database, policy=RetryPolicy(first_s=60)):
        await eventually(lambda: _has_error(database, bodies[0]))
    assert sent < 20_000_000


def judged(ok: bool, status: int | None = None) -> SendResult:
    return SendResult(ok, status)


@pytest.mark.parametrize(("waits_s", "lets_go"), [(3600, 1), (600, 0)], ids=["an hour", "as retries do"])
async def test_alert_does_not_wait_for_a_clock_that_was_put_back(
    database: Database, receiver: Receiver, waits_s: int, lets_go: int
) -> None:
    await put(database, delivery(receiver.url, priority=Priority.ALERT))
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute("update delivery_stream set due_at = now() + make_interval(secs => %s)", (waits_s,))
    store = DeliveryStore(database)
    assert await store.bring_forward(Priority.ALERT, 960) == lets_go
    assert len(await store.claim(10, 10, {}, lane=Priority.ALERT)) == lets_go


async def test_stream_of_a_worker_that_died_before_the_clock_was_put_back_is_free_after_a_lease(
    database: Database, receiver: Receiver
) -> None:
    await put(database, delivery(receiver.url, priority=Priority.ALERT))
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute("update delivery_stream set claimed_until = now() + interval '1 hour'")
    store = DeliveryStore(database, lease_s=0.01)
    assert await store.bring_forward(Priority.ALERT, 960) == 1
    await eventually(lambda: _is_claimed(store))


async def _is_claimed(store: DeliveryStore) -> bool:
    return bool(await store.claim(10, 10, {}, lane=Priority.ALERT))

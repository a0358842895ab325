# SPDX-License-Identifier: Apache-2.0
"""Gathering of requests: what comes while the work runs is done together, each item for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from context_store.entities.gathering import Gathering
from support.waiting import eventually

TENANT = 1


class Work:
    """Doubles numbers when it is let; keeps what it was given."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[int]]] = []
        self.gate = asyncio.Semaphore(0)

    async def __call__(self, tenant_id: int, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append((tenant_id, list(items)))
        await self.gate.acquire()
        if 13 in items:
            raise LookupError("13")
        return [ValueError(str(item)) if item < 0 else 2 * item for item in items]


async def started(gathering: Gathering[int, int], *items: int, tenant_id: int = TENANT) -> list[asyncio.Task[int]]:
    tasks = [asyncio.ensure_future(gathering.ask(tenant_id, item)) for item in items]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_one_alone_starts_at_once_and_the_next_wait_for_each_other() -> None:
    work = Work()
    gathering = Gathering(work, most=10)
    first = await started(gathering, 1)
    rest = await started(gathering, 2, 3)
    assert work.batches == [(TENANT, [1])]
    work.gate.release()
    work.gate.release()
    assert await asyncio.gather(*first, *rest) == [2, 4, 6]
    assert work.batches == [(TENANT, [1]), (TENANT, [2, 3])]


async def test_a_batch_has_at_most_so_many() -> None:
    work = Work()
    gathering = Gathering(work, most=2)
    tasks = await started(gathering, 1)
    tasks += await started(gathering, 2, 3, 4)
    for _ in range(3):
        work.gate.release()
    await asyncio.gather(*tasks)
    assert [items for _, items in work.batches] == [[1], [2, 3], [4]]


async def test_lanes_run_side_by_side_and_what_waits_goes_to_the_first_that_is_free() -> None:
    work = Work()
    gathering = Gathering(work, most=10, lanes=2)
    tasks = await started(gathering, 1) + await started(gathering, 2) + await started(gathering, 3, 4)
    assert [items for _, items in work.batches] == [[1], [2]]
    for _ in range(3):
        work.gate.release()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert [items for _, items in work.batches] == [[1], [2], [3, 4]]


async def test_a_batch_beside_another_begins_when_it_is_worth_it() -> None:
    work = Work()
    gathering = Gathering(work, most=10, lanes=2, worth=2)
    tasks = await started(gathering, 1) + await started(gathering, 2)
    assert [items for _, items in work.batches] == [[1]]
    tasks += await started(gathering, 3)
    assert [items for _, items in work.batches] == [[1], [2, 3]]
    work.gate.release()
    work.gate.release()
    assert await asyncio.gather(*tasks) == [2, 4, 6]


async def test_nobody_waits_long_for_a_batch_that_takes_long() -> None:
    """Also those who came while both lanes were at work."""
    begun, gates = [], {1: asyncio.Event(), 2: asyncio.Event(), 3: asyncio.Event()}

    async def work(_tenant_id: int, items: Sequence[int]) -> list[int | Exception]:
        begun.append(list(items))
        await gates[items[0]].wait()
        return [2 * item for item in items]

    gathering = Gathering(work, most=10, lanes=2, worth=5)
    [stuck], [second] = await started(gathering, 1), await started(gathering, 2)
    await eventually(lambda: begun == [[1], [2]])
    [third] = await started(gathering, 3)
    gates[2].set()
    gates[3].set()
    assert await asyncio.gather(second, third) == [4, 6]
    gates[1].set()
    assert await stuck == 2


async def test_tenants_do_not_wait_for_each_other() -> None:
    work = Work()
    gathering = Gathering(work, most=10)
    tasks = await started(gathering, 1) + await started(gathering, 2, tenant_id=2)
    assert work.batches == [(1, [1]), (2, [2])]
    work.gate.release()
    work.gate.release()
    await asyncio.gather(*tasks)


async def test_an_error_among_the_results_is_raised_to_its_asker_alone() -> None:
    work = Work()
    work.gate.release()
    work.gate.release()
    gathering = Gathering(work, most=10)
    first = await started(gathering, 1)
    good, bad = await started(gathering, 4, -1)
    await asyncio.gather(*first)
    assert await good == 8
    with pytest.raises(ValueError, match="-1"):
        await bad


async def test_an_error_of_the_work_is_raised_to_all_and_the_next_batch_goes_on() -> None:
    work = Work()
    gathering = Gathering(work, most=10)
    failing = await started(gathering, 13)
    later = await started(gathering, 5)
    work.gate.release()
    work.gate.release()
    with pytest.raises(LookupError):
        await failing[0]
    assert await later[0] == 10


async def test_who_was_cancelled_while_waiting_is_left_out() -> None:
    work = Work()
    gathering = Gathering(work, most=10)
    first = await started(gathering, 1)
    cancelled, kept = await started(gathering, 2, 3)
    cancelled.cancel()
    work.gate.release()
    work.gate.release()
    assert await asyncio.gather(*first, kept) == [2, 6]
    assert work.batches[1] == (TENANT, [3])


async def test_batches_side_by_side_share_what_is_asked_for() -> None:
    work = Work()
    gathering = Gathering(work, most=10, lanes=2, worth=2, share=2)
    tasks = await started(gathering, *range(8))
    work.gate.release()
    work.gate.release()
    await asyncio.gather(*tasks)
    assert [items for _, items in work.batches] == [[0, 1, 2, 3], [4, 5, 6, 7]]


async def test_a_batch_takes_less_when_another_has_its_share() -> None:
    work = Work()
    gathering = Gathering(work, most=10, lanes=2, worth=2, share=2)
    tasks = await started(gathering, 1, 2)
    tasks += await started(gathering, *range(3, 9))
    for _ in range(4):
        work.gate.release()
    await asyncio.gather(*tasks)
    assert [items for _, items in work.batches][:2] == [[1, 2], [3, 4, 5, 6]]


async def test_a_share_has_a_least_size() -> None:
    work = Work()
    gathering = Gathering(work, most=10, lanes=2, worth=2, share=4)
    tasks = await started(gathering, *range(6))
    work.gate.release()
    work.gate.release()
    await asyncio.gather(*tasks)
    assert [items for _, items in work.batches] == [[0, 1, 2, 3], [4, 5]]


async def test_without_shares_a_batch_takes_all_that_waits() -> None:
    work = Work()
    gathering = Gathering(work, most=10, lanes=2, worth=2)
    tasks = await started(gathering, *range(8))
    work.gate.release()
    await asyncio.gather(*tasks)
    assert [items for _, items in work.batches] == [[0, 1, 2, 3, 4, 5, 6, 7]]

# SPDX-License-Identifier: Apache-2.0
"""Requests that arrive while the database is busy are done together, in one statement or one transaction.

There is no timer: a request that finds nobody at work starts at once, so a single client pays nothing. Those that come
while it runs form the next batch. Under load this turns one statement (or commit) a request into one for dozens.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from context_store.audiences.callers import STAFF, Caller, current_caller

PATIENCE_S: Final = 0.01
"""How long an item waits for a batch before it, though another could begin beside that."""

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[int, Sequence[Item]], Awaitable[Sequence[Result | Exception]]]
"""Does items of a tenant; an exception among the results is raised to who asked for that item, one that it raises to
all."""

Group = tuple[int, Caller | None]
"""A tenant, and for whom (None: staff) it is asked: what different callers may see is never read together."""


class Gathering(Generic[Item, Result]):
    """Gathers items of each tenant for ``work``, at most ``most`` at once.

    ``lanes`` batches of a tenant run side by side: while the database works for one, this process works for the other.
    One beside another begins only for ``worth`` items, or when somebody has waited for :data:`PATIENCE_S`: each batch
    costs as much as several items in it.

    Where the database is at work for as long as this process, a batch had better take its share of what is asked for,
    but ``share`` at least, and leave the rest to the other lanes. Where it took all, they would have nothing, and since
    clients that are answered together ask again together, it would stay so. Without ``share`` batches are as large as
    can be.
    """

    def __init__(
        self, work: Work[Item, Result], *, most: int, lanes: int = 1, worth: int = 1, share: int | None = None
    ) -> None:
        self._work = work
        self._most = most
        self._lanes = lanes
        self._worth = worth
        self._least_share = most if share is None else share
        self._impatient: set[Group] = set()
        self._waiting: defaultdict[Group, list[tuple[Item, asyncio.Future[Result]]]] = defaultdict(list)
        self._running: Counter[Group] = Counter()  # batches
        self._busy: Counter[Group] = Counter()  # items in them
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, tenant_id: int, item: Item) -> Result:
        """The result for ``item``. When the caller is cancelled, the item may have been done all the same."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        caller = current_caller()
        group = tenant_id, None if caller is STAFF else caller
        self._waiting[group].append((item, future))
        if not self._running[group]:
            self._start(group)
        else:
            self._go_beside(group)
        return await future

    def _go_beside(self, group: Group) -> None:
        """Begin another batch for those that wait, now or when they have waited for long, if there is a lane for it."""
        if self._running[group] < self._lanes:
            if self._is_worth_it(group):
                self._start(group)
            else:
                self._be_patient(group)

    def _is_worth_it(self, group: Group) -> bool:
        return len(self._waiting[group]) >= self._worth

    def _start(self, group: Group) -> None:
        self._running[group] += 1
        task = asyncio.create_task(self._run(group))  # which inherits for whom
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _be_patient(self, group: Group) -> None:
        if group not in self._impatient:
            self._impatient.add(group)
            asyncio.get_running_loop().call_later(PATIENCE_S, self._lose_patience, group)

    def _lose_patience(self, group: Group) -> None:
        """A batch takes long: what came since it began waits for it no longer."""
        self._impatient.discard(group)
        if group in self._waiting and self._waiting[group] and self._running[group] < self._lanes:
            self._start(group)

    async def _run(self, group: Group) -> None:
        """Do what waits, until nothing does."""
        try:
            await asyncio.sleep(0)  # who has sent by now is in the first batch already
            while waiting := self._waiting[group]:
                count = self._share(group)
                asked, self._waiting[group] = waiting[:count], waiting[count:]
                self._busy[group] += len(asked)
                if waiting[count:]:
                    self._go_beside(group)
                try:
                    await self._do(group[0], [entry for entry in asked if not entry[1].cancelled()])
                finally:
                    self._busy[group] -= len(asked)
                if self._running[group] > 1 and not self._is_worth_it(group):
                    self._be_patient(group)
                    break  # another lane is at work, and goes on with what waits
        finally:
            self._running[group] -= 1
            if not self._running[group]:  # nothing waits any more, or the process ends
                del self._running[group], self._busy[group]
                for _, future in self._waiting.pop(group):
                    future.cancel()

    def _share(self, group: Group) -> int:
        """How many of those that wait the next batch takes."""
        asked_for = len(self._waiting[group]) + self._busy[group]
        return min(self._most, max(self._least_share, -(-asked_for // self._lanes)))

    async def _do(self, tenant_id: int, asked: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        if not asked:
            return
        results: Sequence[Result | BaseException]
        try:
            results = await self._work(tenant_id, [item for item, _ in asked])
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            results = [error] * len(asked)
        except asyncio.CancelledError:
            for _, future in asked:
                future.cancel()
            raise
        for (_, future), result in zip(asked, results, strict=True):
            _settle(future, result)


def _settle(future: asyncio.Future[Result], result: Result | BaseException) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)

# SPDX-License-Identifier: Apache-2.0
"""Where alert rules stand, in memory: a reading that decides nothing costs no statement.

Whatever decides (levels, suspect samples held back, silence) is written in the transaction that counts the reading.
What changes with each reading, the newest sample and the windows of conditions, is written some seconds later, once for
all readings until then. A worker that begins reads the table and counts again, without deciding, what was read of the
events since (docs/decisions/0038-states-in-memory.md).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile
from typing import Final

from psycopg import AsyncConnection

from api.workers.rule_directory import RuleDirectory, Work
from broker.alerts import RuleState, decides_otherwise, due_at, recount
from context_store.alerts.counting import Mark, hold_rules, mark_counted, mark_of, mark_written
from context_store.alerts.standing import AlertStore, StateKey
from context_store.events import read_counted

_LOOK_EVERY_S: Final = 1.0
_AGAIN_AT_ONCE: Final = 2000  # events


@dataclass(slots=True)
class _Kept:
    """A state and when silence has to be judged next, now and as the table has it.

    ``ahead_since`` and ``ahead_from``: since when (monotonic) and which event the state is ahead of the table.
    """

    state: RuleState
    due: datetime | None
    written_due: datetime | None
    ahead_since: float | None = None
    ahead_from: int = 0


class StateKeeper:
    """States of the rules in ``directory``, as the table and the events since have them.

    They are written ``write_after_s`` after the table fell behind. At most ``most`` are kept, and those that are ahead
    of the table. Whatever a transaction changes counts only when it is committed: the next one finds that out.
    """

    def __init__(
        self, store: AlertStore, directory: RuleDirectory, *, write_after_s: float = 10.0, most: int = 50_000
    ) -> None:
        self._store = store
        self._directory = directory
        self._write_after_s = write_after_s
        self._look_every_s = min(_LOOK_EVERY_S, write_after_s)
        self._most = most
        self._kept: dict[StateKey, _Kept] = {}
        self._ahead: dict[StateKey, None] = {}
        self._counted_in: str | None = ""  # no transaction
        self._version = -1
        self._written_until = 0
        self._read_until = 0
        self._looked_at = 0.0
        self.begun = 0
        """How often the states were read anew: what was counted ahead of its turn may be forgotten then."""

    async def load(self, connection: AsyncConnection, keys: Collection[StateKey]) -> dict[StateKey, RuleState] | None:
        """Where rules stand; a new state where there is none. Rules are held until the transaction ends.

        Those of rules that were deleted are left out. None: a rule has changed since the directory was read.
        """
        held = await hold_rules(connection, {key[:2] for key in keys})
        mark = await mark_of(connection)
        if mark.version != self._directory.version:
            return None
        if not self._is_ours(mark):
            await self._begin(connection, mark)
        existing = [key for key in keys if key[:2] in held]
        await self._fetch(connection, existing)
        return {key: self._kept[key].state for key in existing}

    async def save(
        self,
        connection: AsyncConnection,
        states: Mapping[StateKey, RuleState],
        due: Mapping[StateKey, datetime | None],
        events: Mapping[StateKey, int] | None = None,
        decided: Collection[StateKey] = (),
    ) -> None:
        """Keep ``states`` that :meth:`load` gave and that have changed; write those that must not be lost.

        ``due``: when silence has to be judged next. ``events``: the first event that was counted into each; without
        them all are written. ``decided``: something was, even if all is again as it was before.
        """
        if not states:
            return
        self._counted_in = await mark_counted(connection)
        urgent = []
        for key, state in states.items():
            kept, moment = self._kept[key], due[key]
            event = events[key] if events is not None else 0
            is_late = event <= self._written_until  # it would not be looked at again
            is_told = key in decided or decides_otherwise(kept.state, state)
            if is_late or is_told or _is_sooner(moment, kept.written_due):
                urgent.append(key)
            else:
                self._fall_behind(key, event, time.monotonic())
            kept.state, kept.due = state, moment
        await self._write(connection, urgent)

    async def write_some(self, connection: AsyncConnection, read_until: int = 0) -> None:
        """Write what has been ahead of the table for long; ``read_until`` is the last event that was read."""
        self._read_until = max(self._read_until, read_until)
        now = time.monotonic()
        if now - self._looked_at < self._look_every_s or not self._is_ours(await mark_of(connection)):
            return
        self._looked_at = now
        before = now - self._write_after_s
        late = list(takewhile(lambda key: (self._kept[key].ahead_since or 0.0) <= before, self._ahead))
        existing = await hold_rules(connection, {key[:2] for key in late})
        for key in late:
            if key[:2] not in existing:
                self.forget(key)
        await self._write(connection, [key for key in late if key[:2] in existing])
        await self._move_on(connection)
        self._make_room()

    def forget(self, key: StateKey) -> None:
        """There is nothing to be known any more."""
        self._kept.pop(key, None)
        self._ahead.pop(key, None)

    def distrust(self) -> None:
        """What was changed may have been undone: read anew the next time."""
        self._version = -1

    def _is_ours(self, mark: Mark) -> bool:
        """Whether what is kept is what was committed, and nobody else has counted since."""
        return (mark.counted_in, mark.version) == (self._counted_in, self._version)

    def _fall_behind(self, key: StateKey, event: int, since: float) -> None:
        kept = self._kept[key]
        if kept.ahead_since is None:
            kept.ahead_since, kept.ahead_from = since, event
            self._ahead[key] = None

    async def _write(self, connection: AsyncConnection, keys: list[StateKey]) -> None:
        states = {key: self._kept[key].state for key in keys}
        await self._store.save_states(connection, states, {key: self._kept[key].due for key in keys})
        for key in keys:
            kept = self._kept[key]
            kept.written_due, kept.ahead_since = kept.due, None
            self._ahead.pop(key, None)

    async def _move_on(self, connection: AsyncConnection) -> None:
        """Say how far the table is now. What was counted ahead of its turn will be read again in any case."""
        until = min((self._kept[key].ahead_from - 1 for key in self._ahead), default=self._read_until)
        until = min(until, self._read_until)
        if until > self._written_until:
            self._counted_in = await mark_counted(connection)
            await mark_written(connection, until)
            self._written_until = until

    def _make_room(self) -> None:
        spare = len(self._kept) - self._most
        if spare > 0:
            for key in list(islice((key for key in self._kept if key not in self._ahead), spare)):
                del self._kept[key]

    async def _fetch(self, connection: AsyncConnection, keys: Collection[StateKey]) -> None:
        """Have ``keys`` in memory."""
        missing = [key for key in keys if key not in self._kept]
        found = await self._store.read_states(connection, missing) if missing else {}
        for key in missing:
            state, due = found.get(key) or (RuleState(), None)
            self._kept[key] = _Kept(state, due, due)

    async def _begin(self, connection: AsyncConnection, mark: Mark) -> None:
        """Read anew: the table may be behind by what was read of the events above ``written_until``."""
        self.begun += 1
        self.distrust()
        self._kept.clear()
        self._ahead.clear()
        self._written_until = self._read_until = mark.written_until
        while events := await read_counted(connection, "alerts", self._read_until, _AGAIN_AT_ONCE):
            await self._count_again(connection, await self._directory.work_of(connection, events, None))
            self._read_until = events[-1].event_id
        self._counted_in, self._version = mark.counted_in, mark.version

    async def _count_again(self, connection: AsyncConnection, work: list[Work]) -> None:
        held = await hold_rules(connection, {item.key[:2] for item in work})
        work = [item for item in work if item.key[:2] in held]
        await self._fetch(connection, dict.fromkeys(item.key for item in work))
        for item in work:
            kept = self._kept[item.key]
            state = recount(item.rule, kept.state, item.sample, item.series)
            if state is not kept.state:
                kept.state, kept.due = state, due_at(item.rule, state)
                self._fall_behind(item.key, item.event_id, 0.0)  # to be written soon


def _is_sooner(moment: datetime | None, written: datetime | None) -> bool:
    """Whether silence would be judged too late by what is written."""
    return moment is not None and (written is None or moment < written)

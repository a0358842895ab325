# SPDX-License-Identifier: Apache-2.0
"""The newest end of the change events, for a consumer that is behind and does not want to let what is new wait.

What is found is not read: it comes again when its turn comes. Whoever counts an event before that has to know that
nothing older of the same entity waits (``in_turn``). So for each entity of which something waits that was not given
out, the last such event is remembered until it is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row, tuple_row

from broker.times import to_text
from context_store.events import EVENT, ChangeEvent, ChangeFeed, Position, fetch_events, plan_once

# What can be seen now, and neither was read nor seen by the look before. A look sees what was committed since the last
# one by its snapshot, as a reader does; so nothing is missed that commits late.
_UNSEEN: Final[LiteralString] = """
    transaction_id >= %(since)s::xid8 and transaction_id < %(until)s::xid8
       and not pg_visible_in_snapshot(transaction_id, %(done)s::pg_snapshot)
       and pg_visible_in_snapshot(transaction_id, %(now)s::pg_snapshot)
       and (%(window)s::pg_snapshot is null or event_id > %(after)s or event_id = any(%(late)s)
            or not pg_visible_in_snapshot(transaction_id, %(window)s::pg_snapshot))
"""
# Of which entities there is something, how much, and which is the last.
_WAITING: Final[LiteralString] = f"""
    select entity_key, count(*), max(event_id) from change_event where {_UNSEEN} group by entity_key
"""
# Of these the newest that were measured lately, or have no time of their own and are new. Times are UTC and sort as
# texts: a fraction comes before the Z, which makes a difference of less than a second. A backlog is passed over by its
# text, without reading its JSON: what says the minutes in another form than events of the hub do waits for its turn.
_FRESH: Final[LiteralString] = f"""
    select {EVENT} from change_event
     where {_UNSEEN} and recorded_at >= %(fresh)s
       and (changes::text like any(%(minutes)s) or changes::text not like '%%"observedAt"%%')
       and not exists (select from json_array_elements(changes) as c
                        where (c -> 'after' ->> 'observedAt') collate "C" < %(fresh_text)s)
       and exists (select from json_array_elements(changes) as c where c ->> 'attribute' = any(%(attributes)s))
     order by event_id desc limit %(limit)s
"""
_MINUTE: Final = timedelta(minutes=1)
_NOTHING: Final = "3:3:"  # the snapshot that shows no transaction


@dataclass(frozen=True, slots=True)
class Ahead:
    """Fresh ``events`` in their order. Of the entities ``in_turn`` nothing older waits that was not given out before.
    ``is_first``: nothing was given out before.
    """

    events: list[ChangeEvent]
    in_turn: frozenset[int]
    is_first: bool = False


class LookAhead:
    """Looks at what is new behind the events that ``feed`` has still to read: at most ``limit`` at a time, measured
    within ``fresh``. Each is given out once, until :meth:`begin_anew`."""

    def __init__(self, feed: ChangeFeed, *, fresh: timedelta, limit: int = 10_000) -> None:
        self._feed = feed
        self._fresh = fresh
        self._limit = limit
        self._looked: str | None = None
        self._waiting: dict[int, int] = {}
        self._has_given = False

    @asynccontextmanager
    async def look(
        self, attributes: Callable[[AsyncConnection], Awaitable[list[str]]]
    ) -> AsyncIterator[tuple[AsyncConnection, Ahead]]:
        """What is new since the last look and has one of ``attributes``, and the transaction for its effects. When the
        block raises, the next look begins anew."""
        async with self._feed.held() as (connection, position):
            if position is None or not position.at_home:
                yield connection, Ahead([], frozenset())
                return
            looked, self._looked = self._looked, None
            if looked is None:
                self.begin_anew()
            parameters = self._range(position, looked)
            waiting = {key: (count, last) for key, count, last in await _rows(connection, parameters)}
            events = []
            if waiting:
                events = await _fresh(connection, {**parameters, "attributes": await attributes(connection)})
            given = Counter(event.entity_key for event in events)
            in_turn = frozenset(
                key for key, count in given.items() if count == waiting[key][0] and key not in self._waiting
            )
            yield connection, Ahead(events, in_turn, is_first=not self._has_given)
        self._looked = position.now
        self._has_given = self._has_given or bool(events)
        self._waiting.update((key, last) for key, (_, last) in waiting.items() if key not in in_turn)

    def read(self, events: Iterable[ChangeEvent]) -> None:
        """Their turn has come, and their effects are committed."""
        if self._waiting:
            for event in events:
                if self._waiting.get(event.entity_key) == event.event_id:
                    del self._waiting[event.entity_key]

    def begin_anew(self) -> None:
        """Give out again what was given out and is not read."""
        self._looked = None
        self._has_given = False
        self._waiting.clear()

    def _range(self, position: Position, looked: str | None) -> dict[str, Any]:
        done = looked or position.done or _NOTHING
        now = datetime.now(UTC)
        fresh = now - self._fresh
        return {
            "done": done,
            "now": position.now,
            "since": done.split(":")[0],
            "until": position.now.split(":")[1],
            "window": None if looked else position.window,
            "after": position.after,
            "late": position.late,
            "fresh": fresh,
            "fresh_text": to_text(fresh),
            "minutes": _minutes(fresh, now),
            "limit": self._limit,
        }


def _minutes(start: datetime, end: datetime) -> list[str]:
    """Patterns of what was measured in the minutes from ``start`` to the one after ``end``."""
    minutes = int((end - start) / _MINUTE) + 3
    return [f'%"observedAt":"{start + number * _MINUTE:%Y-%m-%dT%H:%M}:%' for number in range(minutes)]


async def _rows(connection: AsyncConnection, parameters: dict[str, Any]) -> list[tuple[int, int, int]]:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await plan_once(connection, cursor, _WAITING, parameters)
        return await cursor.fetchall()


async def _fresh(connection: AsyncConnection, parameters: dict[str, Any]) -> list[ChangeEvent]:
    async with connection.cursor(row_factory=class_row(ChangeEvent)) as cursor:
        await plan_once(connection, cursor, _FRESH, parameters)
        events = await fetch_events(cursor)
    events.reverse()
    return events

# SPDX-License-Identifier: Apache-2.0
"""Where alert rules stand, the alerts they raised and the stream of raises and clears that staff follow.

The caller owns the transaction and its tenant (``minamo.tenant``; all tenants for the evaluating worker).

Why a reader of ``alert_event`` may simply ask for numbers above the last one it saw: whoever writes events first takes
one advisory lock and keeps it until its transaction has ended. PostgreSQL makes a transaction visible before it
releases its locks, and the numbers are drawn under the lock, so events become visible in the order of their numbers:
none can appear below a number that somebody has read. Alerts are rare, so one lock for all tenants costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString, NamedTuple

import orjson
from psycopg import AsyncConnection
from psycopg.rows import class_row, tuple_row

from broker.alerts import AlertDecision, RuleState, parse_state, state_document
from context_store.arrays import PackedArray, bigints, cursor_for_arrays, documents, integers, texts, timestamps

CHANNEL: Final = "minamo_alerts"

# The lock under which alert events are numbered, until the end of the transaction ("alrt" in ASCII).
LOCK_EVENTS: Final[LiteralString] = "select pg_advisory_xact_lock(x'616c7274'::bigint)"

# Where rules stand for entities, and when silence is judged.
_READ_STATES: Final[LiteralString] = """
    select s.tenant_id, s.rule_id, s.entity_key, s.state, s.due_at
      from unnest(%(tenants)b::int[], %(rules)b::text[], %(entities)b::bigint[]) as k (tenant_id, rule_id, entity_key)
      join alert_state s using (tenant_id, rule_id, entity_key)
"""

# Write where rules stand.
_SAVE_STATES: Final[LiteralString] = """
    insert into alert_state (tenant_id, rule_id, entity_key, state, observed_at, due_at)
    select s.tenant_id, s.rule_id, s.entity_key, s.state::jsonb, s.observed_at, s.due_at
      from unnest(%(tenants)b::int[], %(rules)b::text[], %(entities)b::bigint[], %(states)b::text[],
                  %(times)b::timestamptz[], %(due)b::timestamptz[])
           as s (tenant_id, rule_id, entity_key, state, observed_at, due_at)
    on conflict (tenant_id, rule_id, entity_key) do update
       set state = excluded.state, observed_at = excluded.observed_at, due_at = excluded.due_at
"""

# New alerts. One that exists was withdrawn and is raised again by a rule of the same id at the same time: reopen it.
_RAISE: Final[LiteralString] = """
    insert into alert (tenant_id, alert_id, rule_id, entity_key, entity_id, stage, threshold, raised_at,
                       raised_value, peak_value, recorded_at)
    select a.*, %(now)s
      from unnest(%(tenants)s::int[], %(alerts)s::text[], %(rules)s::text[], %(entity_keys)s::bigint[],
                  %(entity_ids)s::text[], %(stages)s::text[], %(thresholds)s::float8[], %(times)s::timestamptz[],
                  %(values)s::float8[], %(peaks)s::float8[]) as a
    on conflict (tenant_id, alert_id) do update
       set cleared_at = null, cleared_value = null, peak_value = greatest(alert.peak_value, excluded.peak_value)
"""

# Close alerts.
_CLEAR: Final[LiteralString] = """
    update alert a
       set cleared_at = c.cleared_at, cleared_value = c.value, peak_value = greatest(a.peak_value, c.peak)
      from unnest(%(tenants)s::int[], %(alerts)s::text[], %(times)s::timestamptz[], %(values)s::float8[],
                  %(peaks)s::float8[]) as c (tenant_id, alert_id, cleared_at, value, peak)
     where a.tenant_id = c.tenant_id and a.alert_id = c.alert_id
"""

# Raise the peaks of open alerts.
_PEAKS: Final[LiteralString] = """
    update alert a set peak_value = p.peak
      from unnest(%(tenants)s::int[], %(alerts)s::text[], %(peaks)s::float8[]) as p (tenant_id, alert_id, peak)
     where a.tenant_id = p.tenant_id and a.alert_id = p.alert_id and a.cleared_at is null and a.peak_value < p.peak
"""

# Alerts that began earlier than the reading that was told.
_DATE: Final[LiteralString] = """
    update alert a set raised_at = d.raised_at, raised_value = d.value
      from unnest(%(tenants)s::int[], %(alerts)s::text[], %(times)s::timestamptz[], %(values)s::float8[])
           as d (tenant_id, alert_id, raised_at, value)
     where a.tenant_id = d.tenant_id and a.alert_id = d.alert_id
"""

# Events in the order of the arrays, and when each one's alert was first recorded.
_INSERT_EVENTS: Final[LiteralString] = """
    with written as (
        insert into alert_event (tenant_id, alert_id, kind, document, recorded_at)
        select e.tenant_id, e.alert_id, e.kind, e.document::jsonb, %(now)s
          from unnest(%(tenants)s::int[], %(alerts)s::text[], %(kinds)s::text[], %(documents)s::text[])
               with ordinality as e (tenant_id, alert_id, kind, document, position)
         order by e.position
        returning alert_event_id, tenant_id, alert_id
    )
    select w.alert_event_id, coalesce(a.recorded_at, %(now)s)
      from written w left join alert a using (tenant_id, alert_id) order by w.alert_event_id
"""

# Wake those who follow the stream.
NOTIFY: Final[LiteralString] = "select pg_notify('minamo_alerts', '')"

# Events above a number, in order; tenant 0 reads those of all tenants it may see.
_READ_EVENTS: Final[LiteralString] = """
    select alert_event_id, tenant_id, alert_id, kind, document, recorded_at from alert_event
     where (tenant_id = %(tenant_id)s or %(tenant_id)s = 0) and alert_event_id > %(after)s
     order by alert_event_id limit %(limit)s
"""

# The number from which on events are new.
_LAST_EVENT: Final[LiteralString] = """
    select coalesce(max(alert_event_id), 0) from alert_event where tenant_id = %(tenant_id)s or %(tenant_id)s = 0
"""

# A page of alerts, newest first, each with the document of its last event.
_ALERTS_BEGIN: Final[LiteralString] = """
    select a.alert_id, a.rule_id, a.entity_key, a.entity_id, a.stage, a.threshold, a.raised_at, a.raised_value,
           a.peak_value, a.cleared_at, a.cleared_value, a.recorded_at, e.document
      from alert a
      left join lateral (
           select document from alert_event
            where tenant_id = a.tenant_id and alert_id = a.alert_id order by alert_event_id desc limit 1) e on true
     where a.tenant_id = %(tenant_id)s
       and (%(rule_id)s::text is null or a.rule_id = %(rule_id)s)
       and (%(entity_id)s::text is null or a.entity_id = %(entity_id)s)
"""
_ALERTS_END: Final[LiteralString] = " order by a.raised_at desc, a.alert_id desc limit %(limit)s"
_ALERTS_AFTER: Final[LiteralString] = " and (a.raised_at, a.alert_id) < (%(raised_at)s, %(alert_id)s)"
_ALERTS_OPEN: Final[LiteralString] = " and a.cleared_at is null"


class StateKey(NamedTuple):
    """Which rule for which entity."""

    tenant_id: int
    rule_id: str
    entity_key: int


class AlertKey(NamedTuple):
    """Which alert."""

    tenant_id: int
    alert_id: str


@dataclass(frozen=True, slots=True)
class AlertOutcome:
    """A decision to record: for which rule and entity, and its message (``broker.alerts.alert_message``)."""

    key: StateKey
    entity_id: str
    decision: AlertDecision
    message: Mapping[str, Any]

    @property
    def alert_id(self) -> str:
        """The id of the alert that is raised or cleared."""
        return str(self.message["id"])


class RecordedEvent(NamedTuple):
    """The number of an event in the stream, and when its alert was first recorded (``issued_at`` of its entity)."""

    alert_event_id: int
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert as the table has it. ``document`` is the message of its last event; ``peak_value`` may be newer."""

    alert_id: str
    rule_id: str
    entity_key: int
    entity_id: str
    stage: str
    threshold: float | None
    raised_at: datetime
    raised_value: float
    peak_value: float
    cleared_at: datetime | None
    cleared_value: float | None
    recorded_at: datetime
    document: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One raise or clear in the stream; ``document`` is its message."""

    alert_event_id: int
    tenant_id: int
    alert_id: str
    kind: str
    document: dict[str, Any]
    recorded_at: datetime


class AlertStore:
    """States, alerts and events in PostgreSQL. Holds nothing itself; every method works in ``connection``."""

    async def read_states(
        self, connection: AsyncConnection, keys: Collection[StateKey]
    ) -> dict[StateKey, tuple[RuleState, datetime | None]]:
        """Where rules stand as the table has it, and when silence has to be judged next; those that are there.

        Nothing is locked: the caller holds the rules, and nobody else counts.
        """
        cursor = cursor_for_arrays(connection)
        cursor.row_factory = tuple_row
        await cursor.execute(_READ_STATES, _key_columns(keys))
        return {StateKey(*row[:3]): (parse_state(row[3]), row[4]) for row in await cursor.fetchall()}

    async def save_states(
        self,
        connection: AsyncConnection,
        states: Mapping[StateKey, RuleState],
        due: Mapping[StateKey, datetime | None] | None = None,
    ) -> None:
        """Write where rules stand, for keys whose rules are held. States without a sample are not kept.

        ``due``: when silence has to be judged next.
        """
        rows = [(key, states[key], moment) for key in sorted(states) if (moment := _newest(states[key])) is not None]
        if not rows:
            return
        parameters = {
            **_key_columns([key for key, _, _ in rows]),
            "states": documents([orjson.dumps(state_document(state)) for _, state, _ in rows]),
            "times": timestamps([moment for _, _, moment in rows]),
            "due": timestamps([(due or {}).get(key) for key, _, _ in rows]),
        }
        await cursor_for_arrays(connection).execute(_SAVE_STATES, parameters)

    async def record(
        self, connection: AsyncConnection, outcomes: Sequence[AlertOutcome], now: datetime
    ) -> list[RecordedEvent]:
        """Record raises and clears and write their events in this order; one answer for each of ``outcomes``.

        Takes the lock that keeps the stream in order, so call it late in the transaction, after the rules are held.
        """
        if not outcomes:
            return []
        await connection.execute(LOCK_EVENTS)
        raised = [outcome for outcome in outcomes if outcome.decision.kind == "raised"]
        cleared = [outcome for outcome in outcomes if outcome.decision.kind == "cleared"]
        if raised:
            await connection.execute(_RAISE, {**_columns(raised), "now": now})
        if cleared:
            await connection.execute(_CLEAR, _columns(cleared))
        rows = await _fetch(connection, _INSERT_EVENTS, {**_columns(outcomes), "now": now})
        await connection.execute(NOTIFY)
        return [RecordedEvent(*row) for row in rows]

    async def date(self, connection: AsyncConnection, began: Mapping[AlertKey, tuple[datetime, float]]) -> None:
        """Write when alerts began, and with which value, when that was before the reading that was told."""
        parameters = {
            "tenants": [key.tenant_id for key in began],
            "alerts": [key.alert_id for key in began],
            "times": [at for at, _ in began.values()],
            "values": [value for _, value in began.values()],
        }
        await connection.execute(_DATE, parameters)

    async def update_peaks(self, connection: AsyncConnection, peaks: Mapping[AlertKey, float]) -> None:
        """Write higher peaks of open alerts (``broker.alerts.new_peaks``), after :meth:`record`."""
        if not peaks:
            return
        keys = sorted(peaks)
        parameters = {
            "tenants": [key.tenant_id for key in keys],
            "alerts": [key.alert_id for key in keys],
            "peaks": [peaks[key] for key in keys],
        }
        await connection.execute(_PEAKS, parameters)

    async def list_alerts(
        self,
        connection: AsyncConnection,
        tenant_id: int,
        *,
        open_only: bool = False,
        rule_id: str | None = None,
        entity_id: str | None = None,
        after: AlertRecord | None = None,
        limit: int = 100,
    ) -> list[AlertRecord]:
        """Alerts, newest raise first; ``after`` is the last one of the previous page."""
        parameters: dict[str, Any] = {
            "tenant_id": tenant_id,
            "rule_id": rule_id,
            "entity_id": entity_id,
            "raised_at": after and after.raised_at,
            "alert_id": after and after.alert_id,
            "limit": limit,
        }
        async with connection.cursor(row_factory=class_row(AlertRecord)) as cursor:
            await cursor.execute(_list_statement(open_only, after is not None), parameters)
            return await cursor.fetchall()

    async def read_events(
        self, connection: AsyncConnection, tenant_id: int, after: int, *, limit: int = 500
    ) -> list[AlertEvent]:
        """Events numbered above ``after``, in order; never skips one (see the module). Tenant 0: all tenants."""
        async with connection.cursor(row_factory=class_row(AlertEvent)) as cursor:
            await cursor.execute(_READ_EVENTS, {"tenant_id": tenant_id, "after": after, "limit": limit})
            return await cursor.fetchall()

    async def last_event_id(self, connection: AsyncConnection, tenant_id: int) -> int:
        """The number of the newest event, 0 when there is none: where to begin to follow what is new."""
        rows = await _fetch(connection, _LAST_EVENT, {"tenant_id": tenant_id})
        return int(rows[0][0])


def _key_columns(keys: Collection[StateKey]) -> dict[str, PackedArray]:
    return {
        "tenants": integers([key.tenant_id for key in keys]),
        "rules": texts([key.rule_id for key in keys]),
        "entities": bigints([key.entity_key for key in keys]),
    }


def _list_statement(open_only: bool, is_next_page: bool) -> LiteralString:
    """The listing with its fixed conditions; each combination is one prepared statement."""
    statement = _ALERTS_BEGIN
    if open_only:
        statement += _ALERTS_OPEN
    if is_next_page:
        statement += _ALERTS_AFTER
    return statement + _ALERTS_END


def _newest(state: RuleState) -> datetime | None:
    """The newest sample that ``state`` knows, of whatever series."""
    if state.newest is None and state.early:
        return min(mark.at for mark in state.early.values())
    if state.newest is not None or not state.memory:
        return state.newest
    return datetime.fromtimestamp(max(points[-1][0] for points in state.memory.values()), UTC)


def _columns(outcomes: Sequence[AlertOutcome]) -> dict[str, list[Any]]:
    """``outcomes`` as arrays, one for each column."""
    decisions = [outcome.decision for outcome in outcomes]
    return {
        "tenants": [outcome.key.tenant_id for outcome in outcomes],
        "alerts": [outcome.alert_id for outcome in outcomes],
        "rules": [outcome.key.rule_id for outcome in outcomes],
        "entity_keys": [outcome.key.entity_key for outcome in outcomes],
        "entity_ids": [outcome.entity_id for outcome in outcomes],
        "stages": [decision.stage for decision in decisions],
        "kinds": [decision.kind for decision in decisions],
        "thresholds": [decision.threshold for decision in decisions],
        "times": [decision.observed_at for decision in decisions],
        "values": [decision.value for decision in decisions],
        "peaks": [decision.peak_value for decision in decisions],
        "documents": [orjson.dumps(dict(outcome.message)).decode() for outcome in outcomes],
    }


async def _fetch(
    connection: AsyncConnection, statement: LiteralString, parameters: Mapping[str, Any] | Sequence[Any]
) -> list[tuple[Any, ...]]:
    """All rows as tuples, whatever row factory the connection has."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchall()

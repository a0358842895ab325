# SPDX-License-Identifier: Apache-2.0
"""Evaluating alert rules on change events: states, alerts, their entities, the event stream and webhooks, at once.

All effects of a batch are in the transaction that moves the feed on: an alert is decided exactly once, whatever dies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import structlog
from psycopg import AsyncConnection

from adapters.cap.messages import CapProfile, profile_document
from api.metrics import ALERT_DECISIONS, ALERT_LATENCY, ALERTS_AHEAD
from api.workers.alarms import SOURCE, AlarmKeeper, Turn, with_attributes
from api.workers.alert_states import StateKeeper
from api.workers.clock import SteadyClock
from api.workers.gateways import behind_gateways
from api.workers.rule_directory import RuleDirectory, Work
from broker.alerts import (
    AlertDecision,
    AlertRule,
    Place,
    RuleState,
    alert_entity,
    alert_id,
    alert_message,
    due_at,
    evaluate_in_turn,
    new_peaks,
    overdue,
    passed_over,
    place_of,
    reach_early,
)
from broker.alerts.drills import exercise_place
from broker.alerts.gateways import LOOK_AGAIN, standing_for
from broker.subscriptions import Sending
from context_store.alerts.alarm_timers import due_states, forget
from context_store.alerts.alarms import AlarmStore
from context_store.alerts.drills import drill_recipients
from context_store.alerts.reissues import reissue
from context_store.alerts.rules import AlertRuleStore
from context_store.alerts.standing import AlertKey, AlertOutcome, AlertStore, RecordedEvent, StateKey
from context_store.deliveries.outbox import NewDelivery, Priority, insert_deliveries
from context_store.entities.changes import EntityWriter, creation, get_entities, lock_entities
from context_store.events import ChangeEvent
from context_store.events_ahead import Ahead

log = structlog.get_logger(__name__)

_SILENT_AT_ONCE: Final = 500
_REISSUE_EVERY: Final = timedelta(minutes=1)


Decided = Iterator[tuple[RuleState, list[AlertDecision]]]
"""States that follow on each other, and what was decided on the way to each."""


@dataclass(frozen=True, slots=True)
class _Decided:
    """A level that is raised or cleared, with what it is about; ``since`` as in :class:`Turn`."""

    key: StateKey
    entity_id: str
    rule: AlertRule
    decision: AlertDecision
    since: datetime


class StatesForgotten(Exception):
    """The states of rules were read anew, without what was counted ahead of its turn."""


class AlertEvaluator:
    """What the alerts worker does with a batch of change events, and when time passes."""

    def __init__(
        self,
        store: AlertStore,
        rules: AlertRuleStore,
        writer: EntityWriter,
        cap: CapProfile,
        webhooks: Sequence[str] = (),
        webhook_sending: Sending | None = None,
        alarms: AlarmStore | None = None,
        clock: SteadyClock | None = None,
        *,
        write_after_s: float = 10.0,
        most_states: int = 50_000,
    ) -> None:
        self._store = store
        self._directory = RuleDirectory(rules)
        self._states = StateKeeper(store, self._directory, write_after_s=write_after_s, most=most_states)
        self._writer = writer
        self._alarms = AlarmKeeper(alarms or AlarmStore(), writer, cap_status=cap.status)
        self._cap = profile_document(cap)
        self._webhooks = tuple(webhooks)
        self._webhook_sending = webhook_sending
        self._clock = clock or SteadyClock(timedelta())
        self._ahead_of = 0  # the ``begun`` of the states when something was counted ahead of its turn
        self._reissued_at = datetime.min.replace(tzinfo=UTC)

    async def process(self, connection: AsyncConnection, events: list[ChangeEvent]) -> None:
        """Evaluate the rules on ``events`` and write what follows into the caller's transaction."""
        await self._count(connection, *await self._work(connection, events), _in_turn)
        await self._states.write_some(connection, max((event.event_id for event in events), default=0))

    async def look_ahead(self, connection: AsyncConnection, ahead: Ahead) -> None:
        """Evaluate fresh events before their turn, as far as that decides the same as in their turn.

        Rules that look at one series only, at entities of which nothing older waits, count them in: their state has the
        newest sample, so that the same event decides nothing when its turn comes. Of all others the levels that need
        nothing but the newest value may be raised (:mod:`broker.alerts.early`). Raises :class:`StatesForgotten`.
        """
        work, before = await self._work(connection, ahead.events)
        if not ahead.is_first and self._states.begun != self._ahead_of:
            raise StatesForgotten("what was counted ahead of its turn is not known any more")
        self._ahead_of = self._states.begun

        def decide(item: Work, state: RuleState) -> Decided:
            if item.key.entity_key in ahead.in_turn and item.rule.has_own_series_only:
                return _in_turn(item, state)
            return _early(item, state)

        ALERTS_AHEAD.inc(await self._count(connection, work, before, decide))

    async def watched(self, connection: AsyncConnection) -> list[str]:
        """The attributes that some rule looks at."""
        await self._directory.refresh(connection)
        return self._directory.attributes

    async def reach_early(self, connection: AsyncConnection, readings: list[ChangeEvent]) -> None:
        """Raise what fresh ``readings`` reach that are not stored yet and will come in their turn."""
        ALERTS_AHEAD.inc(await self._count(connection, *await self._work(connection, readings), _early))

    async def _count(
        self,
        connection: AsyncConnection,
        work: Sequence[Work],
        before: Mapping[StateKey, RuleState],
        decide: Callable[[Work, RuleState], Decided],
    ) -> int:
        """Take ``work`` in as ``decide`` says and write what follows; how many samples decided something."""
        now = self._clock.now()
        states, first = dict(before), dict[StateKey, int]()
        turns: list[Turn] = []
        for item in work:
            if item.key not in states:  # the rule was deleted meanwhile
                continue
            first.setdefault(item.key, item.event_id)
            for state, decisions in decide(item, states[item.key]):
                states[item.key] = state
                if decisions:
                    turns.append(_turn(item, state, decisions))
        rules = {item.key: item.rule for item in work}
        states = {key: state for key, state in states.items() if state is not before[key]}
        if turns:
            await self.publish(connection, turns, now)
        await self._store.update_peaks(connection, _peaks(work, before, states))
        due = {key: due_at(rules[key], states[key]) for key in states}
        await self._states.save(connection, states, due, first, {turn.key for turn in turns})
        return len(turns)

    async def standing(self, connection: AsyncConnection, keys: Collection[StateKey]) -> dict[StateKey, RuleState]:
        """Where rules stand for entities, whoever counts; the rules are held until the transaction ends."""
        while True:
            await self._directory.refresh(connection)
            if (states := await self._states.load(connection, keys)) is not None:
                return states

    async def _work(
        self, connection: AsyncConnection, events: list[ChangeEvent]
    ) -> tuple[list[Work], dict[StateKey, RuleState]]:
        """What is to be counted by the rules as they are, and where they stand."""
        latest = self._clock.latest()
        while True:
            await self._directory.refresh(connection)
            work = await self._directory.work_of(connection, events, latest)
            states = await self._states.load(connection, dict.fromkeys(item.key for item in work))
            if states is not None:
                return work, states

    async def time_passes(self, connection: AsyncConnection, now: datetime, *, judge_silence: bool = True) -> None:
        """What is due by now: silence (when everything that has arrived was looked at), escalations, shelves."""
        await self._directory.refresh(connection)
        try:
            if judge_silence:
                await self._judge_silence(connection, now)
            await self._states.write_some(connection)
            await self._alarms.time_passes(connection, now)
            await self._reissue(connection, now)
        except BaseException:  # it is undone, maybe without the rest of the transaction
            self._states.distrust()
            raise

    async def _reissue(self, connection: AsyncConnection, now: datetime) -> None:
        if abs(now - self._reissued_at) >= _REISSUE_EVERY:  # a clock may jump back
            self._reissued_at = now
            if count := await reissue(connection, now):
                log.info("alert.reissued", count=count)

    async def _judge_silence(self, connection: AsyncConnection, now: datetime) -> None:
        due = await due_states(connection, now, _SILENT_AT_ONCE)
        if not due:
            return
        rules: dict[StateKey, AlertRule] = {}
        for key, entity_id in due.items():
            rule = self._directory.rule(key, entity_id) if entity_id is not None else None
            if rule is None:
                await forget(connection, key)
                self._states.forget(key)
            else:
                rules[key] = rule
        states = await self._states.load(connection, rules)
        if states is None:  # a rule has just been changed: the next time
            return
        waiting, standing = await behind_gateways(connection, rules, states, due, now)
        turns = []
        for key, state in states.items():
            if key in waiting:
                continue
            states[key], decisions = overdue(rules[key], state, now)
            if key in standing:
                decisions = [standing_for(one, standing[key]) for one in decisions]
            entity_id = due[key] or ""
            # One turn each: they are of different times.
            turns += [Turn(key, entity_id, rules[key], (one,), states[key].raised, now) for one in decisions]
        if turns:
            await self.publish(connection, turns, now)
        later = {key: now + LOOK_AGAIN if key in waiting else due_at(rules[key], states[key]) for key in states}
        await self._states.save(connection, states, later)

    async def publish(self, connection: AsyncConnection, turns: Sequence[Turn], now: datetime) -> None:
        """Write what ``turns`` mean for everybody: records, stream, alert entities, webhooks and alarms."""
        exercises = await drill_recipients(connection, {turn.key.tenant_id for turn in turns})
        places = await _places(connection, turns, exercises)
        held = await self._alarms.hold(connection, turns)
        decided = [
            _Decided(turn.key, turn.entity_id, turn.rule, decision, turn.since)
            for turn in turns
            for decision in turn.decisions
            if decision.is_crossing
        ]
        outcomes = [
            _outcome(
                item,
                places[item.key.tenant_id, item.entity_id],
                {**self._cap, "status": "Exercise"} if item.key.tenant_id in exercises else self._cap,
            )
            for item in decided
        ]
        recorded = await self._store.record(connection, outcomes, now)
        if began := _began(turns):
            await self._store.date(connection, began)
        # Some twenty statements for each decision, most of which nobody waits for: in one go.
        async with connection.pipeline():
            for item, event in zip(decided, recorded, strict=True):
                place = places[item.key.tenant_id, item.entity_id]
                await self._write_entity(connection, item, place, event, now)
            await insert_deliveries(connection, self._deliveries(outcomes, recorded, exercises))
            await self._alarms.follow(connection, held, turns, places, now, exercises)
        for item in decided:
            ALERT_DECISIONS.labels(item.decision.kind, item.decision.stage).inc()
            ALERT_LATENCY.observe((now - item.since).total_seconds())
            log.info(
                "alert." + item.decision.kind,
                entity=item.entity_id,
                stage=item.decision.stage,
                value=item.decision.value,
                observed_at=item.decision.observed_at.isoformat(),
            )

    async def _write_entity(
        self, connection: AsyncConnection, item: _Decided, place: Place, event: RecordedEvent, now: datetime
    ) -> None:
        tenant_id = item.key.tenant_id
        entity = alert_entity(item.decision, item.rule, place, issued_at=event.issued_at, now=now)
        stored = (await lock_entities(connection, tenant_id, [entity.id])).get(entity.id)
        change = creation(entity) if stored is None else with_attributes(stored, entity.attributes, now)
        key = None if stored is None else stored.key
        await self._writer.write(connection, tenant_id, key, change, source=SOURCE, now=now)

    def _deliveries(
        self,
        outcomes: list[AlertOutcome],
        recorded: list[RecordedEvent],
        exercises: Mapping[int, Sequence[str]],
    ) -> list[NewDelivery]:
        """To the webhooks of the settings; out of a drill to those that were chosen for it, and to no others."""
        return [
            NewDelivery(
                tenant_id=outcome.key.tenant_id,
                kind="alert",
                priority=Priority.ALERT,
                order_key=f"alert:{outcome.key.entity_key}:{url}",
                destination=url,
                sequence=event.alert_event_id,
                body=orjson.dumps({**outcome.message, "sequence": event.alert_event_id}),
                headers={"Content-Type": "application/json", "Minamo-Sequence": str(event.alert_event_id)},
                sending=self._webhook_sending,
            )
            for outcome, event in zip(outcomes, recorded, strict=True)
            for url in exercises.get(outcome.key.tenant_id, self._webhooks)
        ]


def _in_turn(item: Work, state: RuleState) -> Decided:
    """The sample's turn has come."""
    for sample in passed_over(item.rule, state, item.sample, item.series):
        state, decisions = evaluate_in_turn(item.rule, state, sample)
        yield state, decisions
    yield evaluate_in_turn(item.rule, state, item.sample, item.series)


def _early(item: Work, state: RuleState) -> Decided:
    """The sample is fresh, and older ones wait."""
    if item.rule.own in item.series:
        yield reach_early(item.rule, state, item.sample)


def _turn(item: Work, state: RuleState, decisions: Sequence[AlertDecision]) -> Turn:
    return Turn(item.key, item.entity_id, item.rule, tuple(decisions), state.raised, item.since)


async def _places(
    connection: AsyncConnection, turns: Sequence[Turn], exercises: Collection[int]
) -> dict[tuple[int, str], Place]:
    """Name and position of each station decided about; of a station deleted meanwhile only the id."""
    wanted: dict[int, set[str]] = {}
    for turn in turns:
        wanted.setdefault(turn.key.tenant_id, set()).add(turn.entity_id)
    places = {}
    for tenant_id, ids in wanted.items():
        found = await get_entities(connection, tenant_id, ids)
        for entity_id in ids:
            stored = found.get(entity_id)
            place = place_of(stored.entity) if stored else Place(entity_id, entity_id, entity_id)
            places[tenant_id, entity_id] = exercise_place(place) if tenant_id in exercises else place
    return places


def _began(turns: Sequence[Turn]) -> dict[AlertKey, tuple[datetime, float]]:
    """Alerts that began before the reading that was told."""
    return {
        AlertKey(turn.key.tenant_id, alert_id(turn.entity_id, turn.rule.id, one.stage, one.raised_at)): (
            one.observed_at,
            one.value,
        )
        for turn in turns
        for one in turn.decisions
        if one.kind == "dated"
    }


def _outcome(item: _Decided, place: Place, cap: Mapping[str, Any]) -> AlertOutcome:
    """Silence and forecasts are no messages to the public: what they mean is for staff to find out."""
    decision = item.decision
    message = alert_message(decision, item.rule, place)
    if not decision.by_silence and not item.rule.looks_ahead(decision.stage):
        message["cap"] = cap
    return AlertOutcome(key=item.key, entity_id=place.entity_id, decision=decision, message=message)


def _peaks(
    work: Sequence[Work], before: Mapping[StateKey, RuleState], after: Mapping[StateKey, RuleState]
) -> dict[AlertKey, float]:
    peaks = {}
    for item in {item.key: item for item in work}.values():
        if item.key in after:
            for stage, (raised_at, peak) in new_peaks(before[item.key], after[item.key]).items():
                alert = alert_id(item.entity_id, item.rule.id, stage, raised_at)
                peaks[AlertKey(item.key.tenant_id, alert)] = peak
    return peaks

# SPDX-License-Identifier: Apache-2.0
"""Alert rules, states, alerts and the event stream on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from broker.alerts import (
    AlertRule,
    EntitySelector,
    Level,
    Place,
    RuleState,
    Sample,
    alert_message,
    evaluate,
    new_peaks,
    withdraw,
)
from broker.alerts import alert_id as id_of
from broker.errors import BadRequestData, ResourceNotFound
from context_store.alerts.rules import AlertRuleStore
from context_store.alerts.standing import AlertKey, AlertOutcome, AlertStore, RecordedEvent, StateKey
from context_store.database import ALL_TENANTS, Database
from support.rule_states import load_states

TENANT = 1
START = datetime(2026, 6, 1, tzinfo=UTC)
NOW = START + timedelta(days=1)
STATION = "urn:ngsi-ld:WaterObserved:tomoe"
PLACE = Place(STATION, "巴橋", "Tomoe Bridge")
KEY = StateKey(TENANT, "tomoe", 7)

RULES = AlertRuleStore()
ALERTS = AlertStore()


def make_rule(rule_id: str = "tomoe", *thresholds: float) -> AlertRule:
    return AlertRule(
        id=rule_id,
        entities=EntitySelector(ids=(STATION,)),
        attribute="https://example.org/level",
        levels=tuple(
            Level(stage, threshold)
            for stage, threshold in zip(("caution", "danger"), thresholds or (1.0, 2.0), strict=False)
        ),
        name_ja="巴川",
        name_en="Tomoe",
    )


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, max_size=12)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def rule(database: Database) -> AlertRule:
    """A rule that exists: caution at 1 m, danger at 2 m."""
    rule = make_rule()
    async with database.transaction(TENANT) as connection:
        await RULES.put_rule(connection, TENANT, rule, NOW)
    return rule


async def count(database: Database, rule: AlertRule, *values: float, begin: int = 0) -> list[RecordedEvent]:
    """Evaluate one value every ten minutes from minute ``begin`` on, in one transaction, as the worker does."""
    async with database.transaction(ALL_TENANTS) as connection:
        before = state = (await load_states(ALERTS, connection, [KEY]))[KEY]
        outcomes = []
        for index, value in enumerate(values):
            sample = Sample(START + timedelta(minutes=begin + 10 * index), value)
            state, decisions = evaluate(rule, state, sample)
            outcomes += [AlertOutcome(KEY, STATION, d, alert_message(d, rule, PLACE)) for d in decisions]
        recorded = await ALERTS.record(connection, outcomes, NOW)
        peaks = {
            AlertKey(TENANT, id_of(STATION, rule.id, stage, raised_at)): peak
            for stage, (raised_at, peak) in new_peaks(before, state).items()
        }
        await ALERTS.update_peaks(connection, peaks)
        await ALERTS.save_states(connection, {KEY: state})
    return recorded


class TestRules:
    async def test_a_rule_is_read_as_it_was_put(self, database: Database, rule: AlertRule) -> None:
        async with database.transaction(TENANT) as connection:
            assert await RULES.get_rule(connection, TENANT, "tomoe") == rule
            assert await RULES.list_rules(connection, TENANT) == [rule]

    async def test_putting_it_again_replaces_it(self, database: Database, rule: AlertRule) -> None:
        changed = make_rule("tomoe", 1.5)
        async with database.transaction(TENANT) as connection:
            assert await RULES.put_rule(connection, TENANT, changed, NOW) is False
            assert await RULES.list_rules(connection, TENANT) == [changed]

    async def test_another_attribute_needs_another_rule(self, database: Database, rule: AlertRule) -> None:
        other = AlertRule("tomoe", rule.entities, "https://example.org/flow", rule.levels, "流量", "flow")
        with pytest.raises(BadRequestData, match=r"^attribute: "):
            async with database.transaction(TENANT) as connection:
                await RULES.put_rule(connection, TENANT, other, NOW)

    async def test_a_missing_rule_is_not_found(self, database: Database) -> None:
        async with database.transaction(TENANT) as connection:
            with pytest.raises(ResourceNotFound, match="Alert rule nil does not exist"):
                await RULES.get_rule(connection, TENANT, "nil")
            with pytest.raises(ResourceNotFound, match="Alert rule nil does not exist"):
                await RULES.delete_rule(connection, TENANT, "nil")

    async def test_every_change_moves_the_version(self, database: Database, rule: AlertRule) -> None:
        versions = []
        async with database.transaction(ALL_TENANTS) as connection:
            versions.append((await RULES.load_rules(connection)).version)
            await RULES.put_rule(connection, TENANT, rule, NOW)
            loaded = await RULES.load_rules(connection)
            versions.append(loaded.version)
            await RULES.delete_rule(connection, TENANT, rule.id)
            versions.append((await RULES.load_rules(connection)).version)
        assert versions == [versions[0], versions[0] + 1, versions[0] + 2]
        assert loaded.rules == [(TENANT, rule)]

    async def test_a_change_wakes_every_process_once_committed(self, database: Database) -> None:
        listener = await database.listen_connection()
        async with listener:
            await listener.execute("listen minamo_cache")
            async with database.transaction(TENANT) as connection:
                await RULES.put_rule(connection, TENANT, make_rule(), NOW)
            heard = [notice.payload async for notice in listener.notifies(timeout=10, stop_after=1)]
        assert heard == ["alert_rules"]


class TestStates:
    async def test_a_state_not_yet_there_is_new(self, database: Database, rule: AlertRule) -> None:
        async with database.transaction(ALL_TENANTS) as connection:
            assert await load_states(ALERTS, connection, [KEY]) == {KEY: RuleState()}

    async def test_states_are_read_as_they_were_saved(self, database: Database, rule: AlertRule) -> None:
        other = StateKey(TENANT, "tomoe", 8)
        states = {
            KEY: evaluate(rule, RuleState(), Sample(START, 2.5))[0],
            other: evaluate(rule, RuleState(), Sample(START, 0.1))[0],
        }
        for _ in range(2):
            async with database.transaction(ALL_TENANTS) as connection:
                await ALERTS.save_states(connection, states)
        async with database.transaction(ALL_TENANTS) as connection:
            assert await load_states(ALERTS, connection, [other, KEY]) == states

    async def test_a_deleted_rule_has_no_state(self, database: Database, rule: AlertRule) -> None:
        await count(database, rule, 0.5)
        async with database.transaction(ALL_TENANTS) as connection:
            await RULES.delete_rule(connection, TENANT, rule.id)
            assert await load_states(ALERTS, connection, [KEY]) == {}

    async def test_a_rule_cannot_vanish_during_an_evaluation(self, database: Database, rule: AlertRule) -> None:
        async def delete() -> None:
            async with database.transaction(TENANT) as connection:
                await RULES.delete_rule(connection, TENANT, rule.id)

        async with database.transaction(ALL_TENANTS) as connection:
            await load_states(ALERTS, connection, [KEY])
            deletion = asyncio.create_task(delete())
            await asyncio.sleep(0.1)
            assert not deletion.done()
            await ALERTS.save_states(connection, {KEY: RuleState(START, 0.5)})
        await deletion

    async def test_nothing_asked_nothing_done(self, database: Database) -> None:
        async with database.transaction(ALL_TENANTS) as connection:
            assert await load_states(ALERTS, connection, []) == {}
            assert await ALERTS.record(connection, [], NOW) == []
            await ALERTS.save_states(connection, {KEY: RuleState()})
            await ALERTS.update_peaks(connection, {})


class TestAlerts:
    async def test_a_flood_leaves_closed_alerts_with_their_peak(self, database: Database, rule: AlertRule) -> None:
        await count(database, rule, 0.5, 1.2, 2.2, 2.6, 1.5, 0.8, 0.7, 0.7, 0.7)
        async with database.transaction(TENANT) as connection:
            alerts = await ALERTS.list_alerts(connection, TENANT)
        assert [(a.stage, a.raised_value, a.peak_value, a.cleared_value) for a in alerts] == [
            ("danger", 2.2, 2.6, 0.7),
            ("caution", 1.2, 2.6, 0.7),
        ]
        assert [(a.raised_at, a.cleared_at, a.recorded_at) for a in alerts] == [
            (START + timedelta(minutes=20), START + timedelta(minutes=70), NOW),
            (START + timedelta(minutes=10), START + timedelta(minutes=80), NOW),
        ]

    async def test_open_alerts_show_the_newest_peak_and_their_message(
        self, database: Database, rule: AlertRule
    ) -> None:
        await count(database, rule, 1.2, 1.4)
        await count(database, rule, 1.7, 1.6, begin=60)
        async with database.transaction(TENANT) as connection:
            (alert,) = await ALERTS.list_alerts(connection, TENANT, open_only=True)
        assert (alert.raised_value, alert.peak_value, alert.cleared_at) == (1.2, 1.7, None)
        assert alert.document is not None
        assert alert.document["headlineJa"] == "巴橋：氾濫注意水位（1.00 m）に到達"

    async def test_closed_alerts_are_not_listed_as_open(self, database: Database, rule: AlertRule) -> None:
        await count(database, rule, 2.2, 1.5, 1.5, 1.5, 1.5)
        async with database.transaction(TENANT) as connection:
            still_open = await ALERTS.list_alerts(connection, TENANT, open_only=True)
        assert [alert.stage for alert in still_open] == ["caution"]

    async def test_pages_follow_each_other(self, database: Database, rule: AlertRule) -> None:
        await count(database, rule, *([1.2, 2.2] + [0.1] * 4) * 3)
        async with database.transaction(TENANT) as connection:
            everything = await ALERTS.list_alerts(connection, TENANT)
            first = await ALERTS.list_alerts(connection, TENANT, limit=4)
            second = await ALERTS.list_alerts(connection, TENANT, limit=4, after=first[-1])
        assert (len(first), first + second) == (4, everything)

    async def test_alerts_of_one_rule_or_entity(self, database: Database, rule: AlertRule) -> None:
        await count(database, rule, 1.2)
        async with database.transaction(TENANT) as connection:
            assert len(await ALERTS.list_alerts(connection, TENANT, rule_id="tomoe", entity_id=STATION)) == 1
            assert await ALERTS.list_alerts(connection, TENANT, rule_id="other") == []
            assert await ALERTS.list_alerts(connection, TENANT, entity_id="urn:x:other") == []

    async def test_a_clear_is_recorded_with_the_time_of_its_raise(self, database: Database, rule: AlertRule) -> None:
        raised = await count(database, rule, 1.2)
        async with database.transaction(ALL_TENANTS) as connection:
            _, decisions = withdraw((await load_states(ALERTS, connection, [KEY]))[KEY], NOW)
            outcomes = [AlertOutcome(KEY, STATION, d, alert_message(d, rule, PLACE)) for d in decisions]
            later = NOW + timedelta(hours=1)
            (cleared,) = await ALERTS.record(connection, outcomes, later)
        assert (cleared.issued_at, cleared.alert_event_id) == (NOW, raised[0].alert_event_id + 1)

    async def test_the_same_raise_after_a_withdrawal_opens_the_alert_again(
        self, database: Database, rule: AlertRule
    ) -> None:
        await count(database, rule, 1.2)
        async with database.transaction(ALL_TENANTS) as connection:
            _, decisions = withdraw((await load_states(ALERTS, connection, [KEY]))[KEY], NOW)
            outcomes = [AlertOutcome(KEY, STATION, d, alert_message(d, rule, PLACE)) for d in decisions]
            await ALERTS.record(connection, outcomes, NOW)
            await RULES.delete_rule(connection, TENANT, rule.id)
            await RULES.put_rule(connection, TENANT, rule, NOW)
        await count(database, rule, 1.2)
        async with database.transaction(TENANT) as connection:
            assert len(await ALERTS.list_alerts(connection, TENANT, open_only=True)) == 1


class TestEvents:
    async def test_events_come_in_the_order_of_the_decisions(self, database: Database, rule: AlertRule) -> None:
        recorded = await count(database, rule, 2.2, 0.5, 0.5, 0.5, 0.5)
        async with database.transaction(TENANT) as connection:
            events = await ALERTS.read_events(connection, TENANT, 0)
            last = await ALERTS.last_event_id(connection, TENANT)
        assert [(event.kind, event.document["stage"]) for event in events] == [
            ("raised", "caution"),
            ("raised", "danger"),
            ("cleared", "danger"),
            ("cleared", "caution"),
        ]
        assert [event.alert_event_id for event in events] == [event.alert_event_id for event in recorded]
        assert last == events[-1].alert_event_id

    async def test_reading_goes_on_after_the_last_one_seen(self, database: Database, rule: AlertRule) -> None:
        await count(database, rule, 2.2)
        async with database.transaction(TENANT) as connection:
            (first,) = await ALERTS.read_events(connection, TENANT, 0, limit=1)
            (second,) = await ALERTS.read_events(connection, TENANT, first.alert_event_id)
            assert await ALERTS.read_events(connection, TENANT, second.alert_event_id) == []

    async def test_followers_are_woken_once_committed(self, database: Database, rule: AlertRule) -> None:
        listener = await database.listen_connection()
        async with listener:
            await listener.execute("listen minamo_alerts")
            await count(database, rule, 2.2)
            heard = [notice.channel async for notice in listener.notifies(timeout=10, stop_after=1)]
        assert heard == ["minamo_alerts"]

    async def test_a_follower_misses_no_event_of_many_writers(self, database: Database) -> None:
        """Writers that commit late, in an order unlike that of their begin: each number is read exactly once."""
        chance = random.Random(2)

        async def write(name: str) -> None:
            rule = make_rule(name)
            key = StateKey(TENANT, name, 1)
            for minute in range(5):
                _, decisions = evaluate(rule, RuleState(), Sample(START + timedelta(minutes=minute), 2.5))
                outcomes = [AlertOutcome(key, STATION, d, alert_message(d, rule, PLACE)) for d in decisions]
                async with database.transaction(ALL_TENANTS) as connection:
                    await connection.execute("select pg_sleep(%s)", (chance.random() / 100,))
                    await ALERTS.record(connection, outcomes, NOW)
                    await connection.execute("select pg_sleep(%s)", (chance.random() / 50,))

        async def follow(written: asyncio.Event) -> list[int]:
            seen: list[int] = []
            while True:
                is_last_look = written.is_set()
                async with database.transaction(TENANT) as connection:
                    events = await ALERTS.read_events(connection, TENANT, seen[-1] if seen else 0, limit=3)
                seen += [event.alert_event_id for event in events]
                if is_last_look and not events:
                    return seen

        written = asyncio.Event()
        follower = asyncio.create_task(follow(written))
        async with asyncio.timeout(60):
            await asyncio.gather(*(write(f"writer-{number}") for number in range(8)))
            written.set()
            seen = await follower
        async with database.transaction(TENANT) as connection:
            events = await ALERTS.read_events(connection, TENANT, 0)
        assert seen == [event.alert_event_id for event in events]
        assert len(seen) == 8 * 5 * 2

# SPDX-License-Identifier: Apache-2.0
"""Which rules a change of an attribute concerns, found without looking at the others; kept until a rule changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import AsyncConnection

from broker.alerts import AlertRule, Sample, Series, any_sample_of, own_sample
from context_store.alerts.alarm_timers import entity_keys, entity_scopes
from context_store.alerts.rules import AlertRuleStore
from context_store.alerts.standing import StateKey
from context_store.caches import version_of
from context_store.events import ChangeEvent

FUTURE_TOLERANCE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Work:
    """A sample to be counted into a rule for an entity. ``since``: when it was committed, by the event ``event_id``."""

    key: StateKey
    entity_id: str
    rule: AlertRule
    sample: Sample
    series: frozenset[Series]
    since: datetime
    event_id: int = 0


@dataclass(frozen=True, slots=True)
class _Target:
    """A rule that looks at another entity's values for ``entity_id``."""

    rule: AlertRule
    entity_id: str


class RuleDirectory:
    """All rules, by what they look at, as of ``version`` of the table."""

    def __init__(self, rules: AlertRuleStore) -> None:
        self._store = rules
        self.version = -1
        self._rules: dict[tuple[int, str], AlertRule] = {}
        self._own: dict[tuple[int, str, str], list[AlertRule]] = {}
        self._foreign: dict[tuple[int, str, str, str], list[_Target]] = {}

    async def refresh(self, connection: AsyncConnection) -> None:
        """Load the rules anew when they have changed."""
        if await version_of(connection, "alert_rules") == self.version:
            return
        loaded = await self._store.load_rules(connection)
        self._rules = {(tenant_id, rule.id): rule for tenant_id, rule in loaded.rules}
        own: dict[tuple[int, str, str], list[AlertRule]] = defaultdict(list)
        foreign: dict[tuple[int, str, str, str], list[_Target]] = defaultdict(list)
        for tenant_id, rule in loaded.rules:
            for attribute, dataset in sorted({(s.attribute, s.dataset) for s in rule.series() if s.entity is None}):
                own[tenant_id, attribute, dataset].append(rule)
            for target in _targets(rule):
                for series in sorted(s for s in target.rule.series() if s.entity is not None):
                    foreign[tenant_id, series.attribute, series.dataset, series.entity or ""].append(target)
        self._own, self._foreign, self.version = dict(own), dict(foreign), loaded.version

    @property
    def attributes(self) -> list[str]:
        """The attributes that some rule looks at."""
        return sorted({where[1] for where in self._own} | {where[1] for where in self._foreign})

    def rule(self, key: StateKey, entity_id: str) -> AlertRule | None:
        """The rule of ``key`` as it is for the entity."""
        rule = self._rules.get((key.tenant_id, key.rule_id))
        return None if rule is None else rule.for_entity(entity_id)

    async def work_of(
        self, connection: AsyncConnection, events: Iterable[ChangeEvent], now: datetime | None
    ) -> list[Work]:
        """What is to be counted, in the order of the events.

        What was measured long after ``now`` (None: after the event was committed) is not.
        """
        found: list[Work] = []
        foreign: list[tuple[int, _Target, ChangeEvent, dict[str, Any]]] = []
        scoped: set[int] = set()
        for event in events:
            for change in event.changes:
                if change.get("after") is None:
                    continue
                where = (event.tenant_id, change["attribute"], change["dataset"])
                types = tuple(event.entity_types)
                rules = [rule for rule in self._own.get(where, ()) if rule.entities.matches(event.entity_id, types)]
                found += _own_work(rules, event, change, now)
                if any(rule.entities.scope is not None for rule in rules):
                    scoped.add(event.entity_key)
                for target in self._foreign.get((*where, event.entity_id), ()):
                    if target.entity_id != event.entity_id:  # its own values are counted already
                        foreign.append((len(found), target, event, change))
        if scoped:
            found = await _in_scope(connection, found, scoped)
        return found if not foreign else await self._with_foreign(connection, found, foreign, now)

    async def _with_foreign(
        self,
        connection: AsyncConnection,
        found: list[Work],
        foreign: list[tuple[int, _Target, ChangeEvent, dict[str, Any]]],
        now: datetime | None,
    ) -> list[Work]:
        """``found`` with what other entities' values mean for the targets, each at its place."""
        wanted: dict[int, set[str]] = defaultdict(set)
        for _, target, event, _ in foreign:
            wanted[event.tenant_id].add(target.entity_id)
        keys = {tenant_id: await entity_keys(connection, tenant_id, sorted(ids)) for tenant_id, ids in wanted.items()}
        placed: list[tuple[int, int, Work]] = [(place, 1, work) for place, work in enumerate(found)]
        for place, target, event, change in foreign:
            sample = any_sample_of(change["after"], (now or event.recorded_at) + FUTURE_TOLERANCE)
            entity_key = keys[event.tenant_id].get(target.entity_id)
            if sample is None or entity_key is None:
                continue
            series = frozenset({Series(change["attribute"], change["dataset"], event.entity_id)})
            key = StateKey(event.tenant_id, target.rule.id, entity_key)
            work = Work(key, target.entity_id, target.rule, sample, series, event.recorded_at, event.event_id)
            placed.append((place, 0, work))
        return [work for _, _, work in sorted(placed, key=lambda item: item[:2])]


def _own_work(
    rules: Sequence[AlertRule], event: ChangeEvent, change: dict[str, Any], now: datetime | None
) -> list[Work]:
    """What a change of the entity that ``rules`` watch means for them; its value is looked at once."""
    latest = (now or event.recorded_at) + FUTURE_TOLERANCE
    measured = any_sample_of(change["after"], latest) if rules else None
    if measured is None:
        return []
    plain = Series(change["attribute"], change["dataset"])
    series = frozenset({plain, plain._replace(entity=event.entity_id)})
    found = []
    for rule in rules:
        effective = rule.for_entity(event.entity_id)
        sample = own_sample(effective, measured) if plain == effective.own else measured
        if sample is not None:
            key = StateKey(event.tenant_id, rule.id, event.entity_key)
            found.append(Work(key, event.entity_id, effective, sample, series, event.recorded_at, event.event_id))
    return found


def _targets(rule: AlertRule) -> list[_Target]:
    """For which entities a rule may look at others: those it names, or has an override for."""
    named = dict.fromkeys((*rule.entities.ids, *rule.overrides))
    return [_Target(rule.for_entity(entity_id), entity_id) for entity_id in named]


async def _in_scope(connection: AsyncConnection, found: list[Work], scoped: set[int]) -> list[Work]:
    """Without what a rule for a scope does not watch."""
    scopes = await entity_scopes(connection, sorted(scoped))

    def is_watched(work: Work) -> bool:
        selector = work.rule.entities
        if selector.type is None or selector.scope is None:
            return True
        return selector.matches(work.entity_id, (selector.type,), scopes.get(work.key.entity_key, ()))

    return [work for work in found if is_watched(work)]

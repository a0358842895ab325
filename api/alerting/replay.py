# SPDX-License-Identifier: Apache-2.0
"""``What would have fired?`` Rules on the stored history, station after station; nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from api.hub import Hub
from broker.alerts import AlertRule, Sample, Series, place_of
from broker.alerts.conditions import terms_of
from broker.alerts.forecasts import FORECAST
from broker.alerts.replay import Replay, replay_document
from broker.alerts.states import in_unit
from broker.errors import TooComplexQuery
from broker.times import to_text
from context_store.alerts.replay_readings import entities_of_type, recorded_samples
from context_store.entities.changes import get_entities
from context_store.forecasts.runs import AskedRuns, recorded_curves
from context_store.history.terms import NO_TERM
from schemas.terms import NO_DATASET

_CURVE_POINTS: Final = 120
_BREATH: Final = 2000  # readings, after which others have their turn
_MOST_STATIONS: Final = 2000


@dataclass(frozen=True, slots=True)
class ReplayQuestion:
    """Which rules from when until before when, and at which stations (none: all that the rules watch)."""

    rules: Sequence[AlertRule]
    start: datetime
    end: datetime
    entity_ids: tuple[str, ...] = ()


async def replay_rules(hub: Hub, tenant_id: int, question: ReplayQuestion) -> dict[str, Any]:
    """The timeline as JSON. Raises :class:`TooComplexQuery` for more readings than the settings allow."""
    left = hub.settings.rules_replay_max_readings
    stations = []
    async with hub.database.transaction(tenant_id) as connection:
        for rule in question.rules:
            for entity_id in await _watched(connection, tenant_id, rule, question.entity_ids):
                effective = rule.for_entity(entity_id)
                merged = await _samples(hub, connection, tenant_id, effective, entity_id, question, left)
                left -= len(merged)
                document = await _replayed(effective, entity_id, merged, question)
                stored = (await get_entities(connection, tenant_id, [entity_id])).get(entity_id)
                if stored is not None:
                    place = place_of(stored.entity)
                    document["stationName"] = {"ja": place.name_ja, "en": place.name_en}
                stations.append(document)
    return {"from": to_text(question.start), "to": to_text(question.end), "stations": stations}


async def _watched(connection: AsyncConnection, tenant_id: int, rule: AlertRule, wanted: Sequence[str]) -> list[str]:
    if rule.entities.type is None:
        found = list(rule.entities.ids)
    else:
        listed = await entities_of_type(connection, tenant_id, rule.entities.type, _MOST_STATIONS + 1)
        if len(listed) > _MOST_STATIONS:
            raise TooComplexQuery(f"Rule {rule.id} watches more than {_MOST_STATIONS} stations: name some of them")
        found = [i for i, scopes in listed if rule.entities.matches(i, (rule.entities.type,), scopes)]
    return [entity_id for entity_id in found if not wanted or entity_id in wanted]


async def _samples(
    hub: Hub,
    connection: AsyncConnection,
    tenant_id: int,
    rule: AlertRule,
    entity_id: str,
    question: ReplayQuestion,
    limit: int,
) -> list[tuple[Sample, frozenset[Series]]]:
    """Everything the rule looks at, in the order of time; what is another entity's comes first at one moment."""
    found: list[tuple[Sample, frozenset[Series]]] = []
    # One look at each series, under all names that the rule has for it.
    names: dict[tuple[str, str, str], set[Series]] = {}
    for series in sorted(rule.series(), key=lambda s: (s.entity is None, s.attribute, s.dataset)):
        names.setdefault((series.entity or entity_id, series.attribute, series.dataset), set()).add(series)
    for (owner, attribute, dataset), series_names in names.items():
        if attribute == FORECAST:
            found += await _curves(connection, tenant_id, rule, owner, series_names, question, limit + 1 - len(found))
            continue
        terms = {NO_DATASET: NO_TERM} | await hub.terms.lookup([attribute, dataset])
        if attribute not in terms or dataset not in terms:
            continue
        span = (question.start, question.end)
        numbers = (terms[attribute], terms[dataset])
        read = await recorded_samples(connection, tenant_id, owner, numbers, span, limit + 1 - len(found))
        found += [(_converted(rule, sample, series_names), frozenset(series_names)) for sample in read]
        if len(found) > limit:
            raise TooComplexQuery(
                f"There are more than {hub.settings.rules_replay_max_readings} readings: ask for a shorter time or "
                "fewer stations"
            )
    return sorted(found, key=lambda item: item[0].observed_at)


async def _curves(
    connection: AsyncConnection,
    tenant_id: int,
    rule: AlertRule,
    owner: str,
    names: set[Series],
    question: ReplayQuestion,
    limit: int,
) -> list[tuple[Sample, frozenset[Series]]]:
    """What a model said of the entity ``owner``, run after run."""
    asked = [term for condition in rule.conditions() for term in terms_of(condition) if term.series in names]
    if not asked:
        return []
    runs = AskedRuns(asked[0].model, owner, asked[0].about, question.start, question.end, limit)
    read = await recorded_curves(connection, tenant_id, runs)
    return [(Sample(curve.issued_at, curve), frozenset(names)) for curve in read]


def _converted(rule: AlertRule, sample: Sample, names: set[Series]) -> Sample:
    """The sample in the rule's unit where it is of the rule's own values."""
    if rule.own not in names:
        return sample
    value = in_unit(float(sample.value), sample.unit, rule.unit_code)  # type: ignore[arg-type]
    return Sample(sample.observed_at, value, suspect=sample.suspect)


async def _replayed(
    rule: AlertRule, entity_id: str, samples: list[tuple[Sample, frozenset[Series]]], question: ReplayQuestion
) -> dict[str, Any]:
    replay = Replay(rule, entity_id)
    for number, (sample, names) in enumerate(samples):
        if number % _BREATH == _BREATH - 1:
            await asyncio.sleep(0)
        replay.count(sample, names)
    replay.finish(question.end)
    levels = [{"stage": level.stage, "threshold": level.threshold} for level in rule.levels]
    return {**replay_document(replay), "levels": levels, "curve": _curve(rule, samples, question)}


def _curve(
    rule: AlertRule, samples: Sequence[tuple[Sample, frozenset[Series]]], question: ReplayQuestion
) -> list[float | None]:
    """The highest value in each of 120 equal parts of the time; None where there is none."""
    width = (question.end - question.start) / _CURVE_POINTS
    curve: list[float | None] = [None] * _CURVE_POINTS
    for sample, names in samples:
        if rule.own in names and isinstance(sample.value, float):
            place = min(int((sample.observed_at - question.start) / width), _CURVE_POINTS - 1)
            before = curve[place]
            curve[place] = sample.value if before is None else max(before, sample.value)
    return curve

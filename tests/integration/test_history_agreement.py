# SPDX-License-Identifier: Apache-2.0
"""Random histories, random questions: native partitions and TimescaleDB both answer what plain Python says.

The examples are the same in every run and in both modes, so what agrees with the oracle agrees with the other mode.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.hub import Hub
from broker.contexts.jsonld import core_terms
from broker.devices.model import AttributeMapping, Device
from broker.errors import ResourceNotFound
from broker.expansion import EntityFragment, expand_entity
from broker.history.aggregation import Aggregation, AggregationMethod, parse_period
from broker.history.temporal import HistoricInstance, TemporalQuery
from broker.history.temporal_input import GivenInstance, TemporalFragment
from broker.intake.readings import Observation
from broker.operations import append_attributes, delete_attribute, delete_entity
from broker.times import to_text
from context_store.entities.store import EntityStore
from context_store.history.evolution import EvolutionStore
from context_store.history.temporal import TemporalEntity, TemporalStore
from context_store.intake.commits import PostgresReadingStore
from support.history_oracle import Oracle, Row, add_months, aggregated
from support.hub import hub_for

TENANT = 1
LEVEL = "https://uri.etsi.org/ngsi-ld/default-context/waterLevel"
MAPPING = AttributeMapping("level", LEVEL)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
STEP = timedelta(hours=60)  # 30 of them are two months and a half, over several partitions and chunks
BEGIN = datetime(2026, 6, 1, tzinfo=UTC)

steps = st.integers(0, 30)
values = st.sampled_from([0.0, 1.0, 1.5, -2.0])
WRITES = st.one_of(
    st.tuples(st.just("read"), st.sampled_from(["a", "b"]), st.lists(st.tuples(steps, values), min_size=1, max_size=3)),
    st.tuples(st.just("write"), st.one_of(st.none(), steps), values),
    st.tuples(
        st.just("tell"), st.lists(st.tuples(steps, st.one_of(values, st.none())), min_size=1, max_size=3), st.none()
    ),
    st.tuples(st.just("remove_attribute"), st.none(), st.none()),
    st.tuples(st.just("remove_entity"), st.none(), st.none()),
    st.tuples(st.just("remove_instance"), st.integers(0, 99), st.none()),
    st.tuples(st.just("replace_instance"), st.integers(0, 99), st.tuples(steps, values)),
)
QUESTIONS = st.tuples(
    st.one_of(st.none(), steps),  # start
    st.one_of(st.none(), steps),  # length
    st.one_of(st.none(), st.integers(0, 20)),  # as known after so many seconds
    st.one_of(st.none(), st.integers(1, 4)),  # lastN
    st.one_of(st.none(), st.sampled_from(["PT0S", "PT150H", "P1M", "P2W"])),  # periods
)


def at(step: int) -> datetime:
    return NOON + step * STEP


class Story:
    """One entity, its history in the store and in the oracle."""

    def __init__(self, hub: Hub, entity_id: str) -> None:
        self.entity_id = entity_id
        self.oracle = Oracle()
        self.now = BEGIN
        clock = self._clock
        self._entities = EntityStore(hub.database, hub.terms, hub.history, clock=clock)
        self._evolution = EvolutionStore(hub.database, hub.terms, hub.history, clock=clock)
        self._readings = PostgresReadingStore(hub.database, hub.terms, hub.history, clock)
        self._temporal = TemporalStore(hub.database, hub.terms, max_instances=1000)

    def _clock(self) -> datetime:
        return self.now

    async def do(self, what: str, first: Any, second: Any) -> None:
        self.now += timedelta(seconds=1)
        await getattr(self, what)(first, second)

    async def read(self, source: str, readings: list[tuple[int, float]]) -> None:
        device = Device(TENANT, source, source, source, self.entity_id, ("urn:x:River",), (MAPPING,))
        observations = [Observation(device, at(step), ((MAPPING, value),)) for step, value in readings]
        await self._readings.commit(observations, [])
        self.oracle.read(source, [(at(step), value) for step, value in readings], self.now)

    async def write(self, step: int | None, value: float) -> None:
        body = {"id": self.entity_id, "type": "River", "waterLevel": _level(None if step is None else at(step), value)}
        entity = expand_entity(body, core_terms())
        if self.oracle.alive:
            given = EntityFragment(entity.attributes)
            await self._entities.change(
                TENANT, self.entity_id, lambda stored, now: append_attributes(stored, given, now)
            )
        else:
            await self._entities.create(TENANT, entity)
        self.oracle.write(None if step is None else at(step), value, self.now)

    async def tell(self, instances: list[tuple[int, float | None]], _: None) -> None:
        given = [GivenInstance(LEVEL, "@none", _level(at(step), value), value is None) for step, value in instances]
        await self._evolution.upsert(TENANT, self.entity_id, TemporalFragment(tuple(given), types=("urn:x:River",)))
        self.oracle.tell([(at(step), value) for step, value in instances], self.now)

    async def remove_attribute(self, _: None, __: None) -> None:
        if self.oracle.current is not None:
            await self._entities.change(
                TENANT, self.entity_id, lambda stored, now: delete_attribute(stored, LEVEL, now)
            )
            self.oracle.remove_attribute(self.now)

    async def remove_entity(self, _: None, __: None) -> None:
        if self.oracle.alive:
            await self._entities.change(TENANT, self.entity_id, lambda stored, _: delete_entity(stored))
            self.oracle.remove_entity(self.now)

    async def remove_instance(self, number: int, _: None) -> None:
        if found := await self._pick(number):
            key, row = found
            await self._evolution.delete_instance(TENANT, self.entity_id, LEVEL, key)
            self.oracle.remove_instance(row, self.now)

    async def replace_instance(self, number: int, by: tuple[int, float]) -> None:
        if found := await self._pick(number):
            key, row = found
            given = GivenInstance(LEVEL, "@none", _level(at(by[0]), by[1]))
            await self._evolution.replace_instance(TENANT, self.entity_id, given, key)
            self.oracle.replace_instance(row, at(by[0]), by[1], self.now)

    async def _pick(self, number: int) -> tuple[int, Row] | None:
        """A believed instance in both."""
        rows = self.oracle.believed(None, None)
        if not rows:
            return None
        found = (await self._ask(TemporalQuery())).instances
        item = found[number % len(rows)]
        return item.key, rows[number % len(rows)]

    async def _ask(self, query: TemporalQuery) -> TemporalEntity:
        page = await self._temporal.retrieve(TENANT, self.entity_id, query, {LEVEL})
        return page.entities[0]

    async def check(self, asked: tuple[int | None, int | None, int | None, int | None, str | None]) -> None:
        """The store says what the oracle says."""
        first, length, known_s, last, duration = asked
        start = None if first is None else at(first)
        end = None if start is None or length is None else start + length * STEP
        known = None if known_s is None else BEGIN + timedelta(seconds=known_s)
        query = TemporalQuery(start, end, start is not None, last_n=last, as_known_at=known)
        expected = self.oracle.believed(start, end, known, last)
        if duration is None or start is None or (end is None and duration == "PT0S"):
            found = (await self._ask(query)).instances
            assert sorted(map(_told, found)) == sorted(map(_expected, expected)), asked
            return
        # What ended has no value: only values count among the newest.
        with_values = [row for row in self.oracle.believed(start, end, known) if row.value is not None]
        expected = with_values if last is None else with_values[-last:]
        methods = tuple(AggregationMethod)
        aggregation = Aggregation(methods, parse_period(duration))
        series = (await self._ask(_aggregating(query, aggregation))).aggregated
        computed = aggregated(expected, [str(method) for method in methods], start, _borders(start, end, duration))
        for position in range(len(methods)):
            told = [period for item in series for period in orjson.loads(item.written(position))]
            assert [(begins, ends) for _, begins, ends in told] == [
                (to_text(begins), to_text(ends)) for begins, ends, _ in computed
            ]
            values = [results[position] for _, _, results in computed]
            assert [value for value, _, _ in told] == pytest.approx(values), asked


def _level(place: datetime | None, value: float | None) -> dict[str, Any]:
    given = {"type": "Property", "value": "urn:ngsi-ld:null" if value is None else value}
    return given if place is None else {**given, "observedAt": to_text(place)}


def _told(item: HistoricInstance) -> tuple[datetime, bool, float]:
    return item.place, item.removed, item.instance.get("value", 0.0)


def _expected(row: Row) -> tuple[datetime, bool, float]:
    return row.place, row.value is None, row.value or 0.0


def _aggregating(query: TemporalQuery, aggregation: Aggregation) -> TemporalQuery:
    return TemporalQuery(
        query.start,
        query.end,
        query.restricted,
        last_n=query.last_n,
        as_known_at=query.as_known_at,
        aggregation=aggregation,
    )


def _borders(start: datetime, end: datetime | None, duration: str) -> Callable[[int], datetime]:
    if duration == "PT0S":
        return lambda number: start if number == 0 else end or start
    if duration == "P1M":
        return lambda number: add_months(start, number)
    length = {"PT150H": timedelta(hours=150), "P2W": timedelta(weeks=2)}[duration]
    return lambda number: start + number * length


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url) as opened:
        await opened.changes.ensure([BEGIN])
        yield opened


_numbers = count()


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    writes=st.lists(WRITES, min_size=1, max_size=14),
    questions=st.lists(QUESTIONS, min_size=1, max_size=6),
)
async def test_both_ways_of_storing_history_answer_what_plain_python_says(
    hub: Hub, writes: list[Any], questions: list[Any]
) -> None:
    story = Story(hub, f"urn:ngsi-ld:River:{next(_numbers)}")
    for write in writes:
        await story.do(*write)
    if not story.oracle.lives:
        with pytest.raises(ResourceNotFound):
            await story.check((None, None, None, None, None))
        return
    await story.check((None, None, None, None, None))
    for known_s in range(1, len(writes) + 1, 3):
        await _check_known(story, (None, None, known_s, None, None))
    for asked in questions:
        await _check_known(story, asked)


async def _check_known(story: Story, asked: Any) -> None:
    """Before anything was known of the entity there is no such entity."""
    try:
        await story.check(asked)
    except ResourceNotFound:
        assert asked[2] is not None
        known = BEGIN + timedelta(seconds=asked[2])
        assert all(row.recorded > known for row in story.oracle.rows)

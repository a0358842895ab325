# SPDX-License-Identifier: Apache-2.0
"""Periods kept with all methods: what is computed when, and when it holds no longer."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from api.ngsild.kept_answers import MAX_AGE_S
from api.ngsild.kept_periods import KeptPeriods, Methods, Question
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData
from broker.history.aggregation import (
    AggregatedSeries,
    Aggregation,
    AggregationMethod,
    column_of,
    parse_period,
    times_of,
)
from broker.history.temporal import TemporalQuery
from context_store.history.temporal import TemporalEntity, TemporalPage

AVG, MAX, MIN = AggregationMethod.AVG, AggregationMethod.MAX, AggregationMethod.MIN
ALL = (AVG, MAX, MIN)
HOURS = TemporalQuery(aggregation=Aggregation((), parse_period("PT1H")))
QUESTION: Question = (1, "urn:x:river", None, HOURS)


class Store:
    """Computes periods whose values are the names of the methods, and notes for which it was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[Methods] = []
        self.refused: AggregationMethod | None = None
        self.is_lasting = True

    def clock(self) -> float:
        return self.now

    async def compute(self, methods: Methods) -> TemporalPage:
        self.asked.append(methods)
        await asyncio.sleep(0)
        if self.refused in methods:
            raise BadRequestData("too large")
        columns = tuple([column_of([str(method)]) for method in methods])
        series = AggregatedSeries("urn:x:level", "@none", "Property", times_of(["begin"], ["end"]), columns)
        entity = ExpandedEntity("urn:x:river", ("urn:x:River",))
        return TemporalPage((TemporalEntity(entity, aggregated=(series,), is_lasting=self.is_lasting),))


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def kept(store: Store) -> KeptPeriods:
    return KeptPeriods(1_000_000, store.clock)


async def values(
    kept: KeptPeriods, store: Store, *methods: AggregationMethod, version: str = "1", question: Question = QUESTION
) -> list[str]:
    page = await kept.ask(question, version, methods, ALL, store.compute)
    (series,) = page.entities[0].aggregated
    return [orjson.loads(series.written(position))[0][0] for position in range(len(series.columns))]


async def test_the_second_method_has_all_computed(kept: KeptPeriods, store: Store) -> None:
    assert await values(kept, store, AVG) == ["avg"]
    assert await values(kept, store, MAX) == ["max"]
    assert await values(kept, store, MIN, AVG) == ["min", "avg"]
    assert store.asked == [(AVG,), ALL]


async def test_who_asks_at_the_same_time_waits(kept: KeptPeriods, store: Store) -> None:
    found = await asyncio.gather(*(values(kept, store, method) for method in ALL))
    assert (found, store.asked) == ([["avg"], ["max"], ["min"]], [(AVG,), ALL])


async def test_another_version_is_computed_anew(kept: KeptPeriods, store: Store) -> None:
    await values(kept, store, AVG)
    await values(kept, store, AVG, version="2")
    assert store.asked == [(AVG,), (AVG,)]


async def test_what_several_methods_are_asked_of_is_computed_at_once_after_a_change(
    kept: KeptPeriods, store: Store
) -> None:
    await values(kept, store, AVG)
    await values(kept, store, MAX)
    assert await values(kept, store, AVG, version="2") == ["avg"]
    assert await values(kept, store, MAX, version="2") == ["max"]
    assert store.asked == [(AVG,), ALL, ALL]


async def test_what_several_methods_are_asked_of_is_computed_at_once_of_the_next_entity(
    kept: KeptPeriods, store: Store
) -> None:
    await values(kept, store, AVG)
    await values(kept, store, MAX)
    await values(kept, store, AVG, question=(1, "urn:x:lake", None, HOURS))
    assert store.asked == [(AVG,), ALL, ALL]


@pytest.mark.parametrize(
    "question",
    [
        (2, "urn:x:river", None, HOURS),
        (1, "urn:x:river", frozenset(["urn:x:level"]), HOURS),
        (1, "urn:x:river", None, TemporalQuery(aggregation=Aggregation((), parse_period("P1D")))),
    ],
    ids=["tenant", "attributes", "period"],
)
async def test_methods_of_other_questions_do_not_count(kept: KeptPeriods, store: Store, question: Question) -> None:
    await values(kept, store, AVG)
    await values(kept, store, MAX, question=question)
    assert store.asked == [(AVG,), (MAX,)]


async def test_a_method_that_was_asked_once_is_forgotten(kept: KeptPeriods, store: Store) -> None:
    await values(kept, store, AVG)
    await values(kept, store, MAX)
    store.now = MAX_AGE_S * 0.9
    await values(kept, store, AVG, version="2")
    store.now = MAX_AGE_S * 1.1
    await values(kept, store, AVG, version="3")
    assert store.asked[2:] == [ALL, (AVG,)]


async def test_nothing_is_kept_for_long(kept: KeptPeriods, store: Store) -> None:
    await values(kept, store, AVG)
    await values(kept, store, MAX)
    store.now = MAX_AGE_S + 1
    await values(kept, store, MAX)
    assert store.asked[2:] == [(MAX,)]


async def test_what_other_methods_refuse_is_no_error_of_this_one(kept: KeptPeriods, store: Store) -> None:
    store.refused = MIN
    await values(kept, store, AVG)
    assert await values(kept, store, MAX) == ["max"]


async def test_what_expires_is_not_kept(kept: KeptPeriods, store: Store) -> None:
    store.is_lasting = False
    await values(kept, store, AVG)
    await values(kept, store, MAX)
    await values(kept, store, MIN)
    assert store.asked == [(AVG,), ALL, (MIN,)]


async def test_a_method_that_costs_more_is_computed_by_itself(kept: KeptPeriods, store: Store) -> None:
    distinct = AggregationMethod.DISTINCT_COUNT
    await values(kept, store, AVG)
    assert await values(kept, store, distinct) == ["distinctCount"]
    assert store.asked == [(AVG,), (distinct,)]


async def test_a_question_that_takes_too_much_is_computed_by_itself(store: Store) -> None:
    kept = KeptPeriods(100, store.clock)
    await values(kept, store, AVG)
    await values(kept, store, MAX)
    await values(kept, store, MAX)
    assert store.asked == [(AVG,), ALL, (MAX,)]


async def test_what_was_asked_long_ago_makes_room(store: Store) -> None:
    kept = KeptPeriods(5_000, store.clock)
    await values(kept, store, AVG)
    await values(kept, store, MAX)
    for number in range(10):
        await values(kept, store, MAX, question=(1, f"urn:x:lake:{number}", None, HOURS))
    await values(kept, store, MAX, question=(1, "urn:x:lake:9", None, HOURS))
    await values(kept, store, MAX)
    assert store.asked == [(AVG,), *[ALL] * 12]

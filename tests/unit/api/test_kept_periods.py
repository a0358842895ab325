# SPDX-License-Identifier: Apache-2.0
"""Periods kept with all methods: what is computed when, and when it holds no longer."""

from __future__ import annotations

import asyncio

import pytest

from api.ngsild.kept_answers import MAX_AGE_S
from api.ngsild.kept_periods import KeptPeriods, Methods, Question
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData
from broker.history.aggregation import AggregatedPeriod, AggregationMethod
from broker.history.temporal import TemporalQuery
from context_store.history.temporal import TemporalEntity, TemporalPage

AVG, MAX, MIN = AggregationMethod.AVG, AggregationMethod.MAX, AggregationMethod.MIN
ALL = (AVG, MAX, MIN)
QUESTION: Question = (1, "urn:x:river", None, TemporalQuery())


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
        period = AggregatedPeriod("urn:x:level", "@none", "Property", "begin", "end", tuple(map(str, methods)))
        entity = ExpandedEntity("urn:x:river", ("urn:x:River",))
        return TemporalPage((TemporalEntity(entity, periods=(period,), is_lasting=self.is_lasting),))


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def kept(store: Store) -> KeptPeriods:
    return KeptPeriods(1_000_000, store.clock)


async def values(kept: KeptPeriods, store: Store, *methods: AggregationMethod, version: str = "1") -> list[str]:
    page = await kept.ask(QUESTION, version, methods, ALL, store.compute)
    return list(page.entities[0].periods[0].values)


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
    await values(kept, store, MAX)
    await values(kept, store, MAX, version="2")
    assert store.asked[2:] == [(MAX,)]


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
    assert store.asked == [(AVG,), ALL, ALL]


async def test_a_method_that_costs_more_is_computed_by_itself(kept: KeptPeriods, store: Store) -> None:
    distinct = AggregationMethod.DISTINCT_COUNT
    await values(kept, store, AVG)
    assert await values(kept, store, distinct) == ["distinctCount"]
    assert store.asked == [(AVG,), (distinct,)]


async def test_a_question_that_takes_too_much_is_not_kept(store: Store) -> None:
    kept = KeptPeriods(1000, store.clock)
    await values(kept, store, AVG)
    await values(kept, store, MAX)
    await values(kept, store, MAX)
    assert store.asked == [(AVG,), ALL, ALL]

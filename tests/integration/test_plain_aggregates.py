# SPDX-License-Identifier: Apache-2.0
"""Plain numbers are aggregated in a way of their own; the answers are those of the statement that can do everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.hub import Hub
from broker.history.aggregation import Aggregation, AggregationMethod, parse_period
from broker.history.temporal import TemporalQuery
from broker.history.temporal_input import GivenInstance, TemporalFragment
from broker.times import to_text
from context_store.history import aggregates
from context_store.history.evolution import EvolutionStore
from context_store.history.temporal import TemporalStore

TENANT = 1
LEVEL = "https://uri.etsi.org/ngsi-ld/default-context/waterLevel"
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
STEP = timedelta(milliseconds=700)
_numbers = count()

levels = st.one_of(
    st.integers(-(10**6), 10**6).map(lambda thousandths: thousandths / 1000),
    st.sampled_from([0.1, 0.2, 0.30000000000000004, 1 / 3, -0.0, 1e-7, 999999.999999, 123456789.123456, 1e12, 1e100]),
    st.integers(-100, 100),
)
others = st.sampled_from([True, "high", 2**60])


@settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    plain=st.lists(levels, min_size=1, max_size=30),
    mixed=st.lists(st.one_of(levels, others), max_size=4),
    methods=st.lists(st.sampled_from(AggregationMethod), min_size=1, max_size=8, unique=True),
    duration=st.sampled_from(["PT0S", "PT1S", "PT0.3S", "P1D", "P1DT1S"]),
)
async def test_both_ways_of_aggregating_give_the_same_digits(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, plain: list[Any], mixed: list[Any], methods: Any, duration: str
) -> None:
    river = f"urn:ngsi-ld:River:{next(_numbers)}"
    told = [_instance(value, place, "@none") for place, value in enumerate(plain)]
    told += [_instance(value, place, "urn:x:other") for place, value in enumerate(mixed)]
    await EvolutionStore(hub.database, hub.terms, hub.history).upsert(
        TENANT, river, TemporalFragment(tuple(told), types=("urn:x:River",))
    )
    end = START + 20 * STEP if duration == "PT0S" else None
    query = TemporalQuery(START, end, True, aggregation=Aggregation(tuple(methods), parse_period(duration)))
    store = TemporalStore(hub.database, hub.terms, max_instances=1000)
    quickly = (await store.retrieve(TENANT, river, query)).entities[0].aggregated
    with monkeypatch.context() as patched:
        patched.setattr(aggregates, "can_tell", lambda _: False)
        slowly = (await store.retrieve(TENANT, river, query)).entities[0].aggregated
    assert repr(quickly) == repr(slowly)


def _instance(value: Any, place: int, dataset: str) -> GivenInstance:
    at = to_text(START + place * STEP)
    return GivenInstance(LEVEL, dataset, {"type": "Property", "value": value, "observedAt": at}, removed=False)

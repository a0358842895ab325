# SPDX-License-Identifier: Apache-2.0
"""Plain numbers are aggregated in a way of their own; the answers are those of the statement that can do everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, LiteralString

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
from context_store.history.plain_aggregates import REST, UNITS
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
    st.floats(-20_000, 20_000).filter(lambda value: value == 0 or abs(value) > 1e-100),
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


@pytest.mark.parametrize("below", ["1e-3", "1", "10", "100", "1e3", "1e4", "1e6", "1e10"])
async def test_units_and_the_rest_are_the_numbers(hub: Hub, below: LiteralString) -> None:
    """Whatever their digits, and next to where units end."""
    numbers: LiteralString = f"""
        select setseed(0.5), 0::float8 as number union all
        select null, (random() - 0.5) * 2 * {below} from generate_series(1, 20000) union all
        select null, round((random() * {below})::numeric, 1 + n % 7)::float8 from generate_series(1, 5000) n union all
        select null, {below}::float8 - n * {below}::float8 * 2::float8 ^ -53 from generate_series(0, 200) n union all
        select null, ({below}::numeric * (n + 0.5) / 1e15)::float8 from generate_series(1, 5000) n
    """
    statement = f"""
        select count(*), count(*) filter (where (i.units * 1e-14) is not null),
               count(*) filter (where coalesce(i.units * 1e-14, i.rest) is distinct from i.number::numeric
                                   or (i.units is null) = (i.rest is null))
          from (select i.*, {REST} as rest from (
                select i.number, {UNITS} as units from (select number, number as number_value from ({numbers}) n) i
                offset 0) i offset 0) i
    """
    async with hub.database.transaction(TENANT) as connection:
        found = await (await connection.execute(statement)).fetchone()
    assert found is not None
    count, in_units, wrong = found
    assert (count, wrong) == (30_202, 0)
    if below in ("10", "100", "1e3", "1e4"):
        assert in_units > 0.7 * count, "most numbers are to be added quickly"

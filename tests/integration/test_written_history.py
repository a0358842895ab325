# SPDX-License-Identifier: Apache-2.0
"""Plain numbers come as text that the database writes; the answers are those that rows give."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.hub import Hub
from broker.contexts.jsonld import core_terms
from broker.history.temporal import TemporalQuery, TimeProperty, WrittenForm, represent_temporal
from broker.history.temporal_input import GivenInstance, TemporalFragment
from broker.representations import NORMALIZED
from broker.times import to_text
from context_store.history.evolution import EvolutionStore
from context_store.history.temporal import TemporalEntity, TemporalStore
from support.hub import hub_for

TENANT = 1
NAMES = "https://uri.etsi.org/ngsi-ld/default-context/"
START = datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC)  # the readings cross the border of a partition
STEP = timedelta(milliseconds=700)
_numbers = count()

levels = st.one_of(
    st.integers(-(10**6), 10**6).map(lambda thousandths: thousandths / 1000),
    st.sampled_from([0.1, 1 / 3, -0.0, 1e-7, 1e-300, 999999.999999, 1e14, 1e15, 2**53, 1e100, 5]),
)
others = st.one_of(levels, st.sampled_from([True, "high", {"a": 1}]))
members = st.sampled_from([{}, {"unitCode": "MTR"}, {"unitCode": '+00" \\ '}, {"expiresAt": "2099-01-01T00:00:00Z"}])
subs = st.sampled_from([{}, {}, {"attrs": {NAMES + "code": {"@none": {"type": "Property", "value": 7}}}}])
datasets = st.sampled_from(["@none", "urn:x:a", 'urn:x:"b" +00'])
places = st.integers(0, 12)


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    async with hub_for(database_url) as opened:
        yield opened


def _instances(name: str, values: Any, rest: Any) -> Any:
    def made(parts: tuple[Any, dict[str, Any], dict[str, Any], str, int, bool]) -> GivenInstance:
        value, beside, attrs, dataset, place, observed = parts
        at = {"observedAt": to_text(START + place * STEP)} if observed else {}
        instance = {"type": "Property", "value": value, **at, **beside, **attrs}
        return GivenInstance(NAMES + name, dataset, instance, removed=False)

    seen = st.sampled_from([True] * 9 + [False]) if rest else st.just(True)
    return st.tuples(
        values, members if rest else st.just({"unitCode": "MTR"}), subs if rest else st.just({}), datasets, places, seen
    ).map(made)


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    plain=st.lists(_instances("waterLevel", levels, None), min_size=1, max_size=25),
    mixed=st.lists(_instances("flow", others, True), max_size=8),
    last_n=st.sampled_from([None, None, 1, 3]),
    most=st.sampled_from([5, 1000]),
    restricted=st.booleans(),
    form=st.sampled_from(WrittenForm),
)
async def test_text_and_rows_give_the_same_answer(
    hub: Hub, plain: Any, mixed: Any, last_n: int | None, most: int, restricted: bool, form: WrittenForm
) -> None:
    river = f"urn:ngsi-ld:River:{next(_numbers)}"
    fragment = TemporalFragment((*plain, *mixed), types=("urn:x:River",))
    await EvolutionStore(hub.database, hub.terms, hub.history).upsert(TENANT, river, fragment)
    start = START + 2 * STEP if restricted else None
    query = TemporalQuery(start, None, restricted, last_n=last_n)
    store = TemporalStore(hub.database, hub.terms, max_instances=most)
    rows = await store.retrieve(TENANT, river, query)
    for _ in range(2):  # the second time the store knows what it was in vain to try
        text = await store.retrieve(TENANT, river, query, form=form)
        assert _answer(text.entities[0], form) == _answer(rows.entities[0], form)
        assert (text.cut, text.entities[0].is_lasting) == (rows.cut, rows.entities[0].is_lasting)


async def test_plain_numbers_come_as_text(hub: Hub) -> None:
    told = [
        GivenInstance(
            NAMES + "waterLevel",
            "@none",
            {"type": "Property", "value": place / 4, "observedAt": to_text(START + place * STEP), "unitCode": "MTR"},
            removed=False,
        )
        for place in range(3)
    ]
    fragment = TemporalFragment(tuple(told), types=("urn:x:River",))
    await EvolutionStore(hub.database, hub.terms, hub.history).upsert(TENANT, "urn:x:plain", fragment)
    store = TemporalStore(hub.database, hub.terms, max_instances=1000)
    page = await store.retrieve(TENANT, "urn:x:plain", TemporalQuery(), form=WrittenForm.VALUES)
    assert page.entities[0].instances == ()
    assert page.entities[0].written[0].text == (
        '[0,"2026-01-31T23:59:58Z"],[0.25,"2026-01-31T23:59:58.7Z"],[0.5,"2026-01-31T23:59:59.4Z"]'
    )


def _answer(found: TemporalEntity, form: WrittenForm) -> bytes:
    """The answer as JSON with its members in one order."""
    answer = represent_temporal(
        found.entity,
        found.instances,
        core_terms(),
        NORMALIZED,
        values_of=TimeProperty.OBSERVED_AT if form is WrittenForm.VALUES else None,
        cut_off=found.cut_off,
        written=found.written,
    )
    return orjson.dumps(orjson.loads(orjson.dumps(answer)), option=orjson.OPT_SORT_KEYS)

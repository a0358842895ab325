# SPDX-License-Identifier: Apache-2.0
"""Reading history, with native partitions and with TimescaleDB: clauses 4.11, 5.7.3, 5.7.4 and 6.3.10."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.hub import Hub
from broker.contexts.jsonld import core_terms
from broker.errors import ResourceNotFound
from broker.expansion import EntityFragment, expand_entity
from broker.history.temporal import HistoricInstance, TemporalQuery, TimeProperty
from broker.operations import delete_attribute, update_attributes
from broker.query import EntityQuery, parse_types
from broker.times import to_text
from context_store.entities.store import EntityStore
from context_store.history.instances import Series, history_statement
from context_store.history.temporal import TemporalPage, TemporalStore

TENANT = 1
RIVER = "urn:ngsi-ld:River:abe"
NAMES = "https://uri.etsi.org/ngsi-ld/default-context/"
LEVEL, FLOW = NAMES + "waterLevel", NAMES + "flow"
START = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)  # the readings cross the border of a partition
STEP = timedelta(minutes=10)


@pytest.fixture
def entities(hub: Hub) -> EntityStore:
    return EntityStore(hub.database, hub.terms, hub.history)


@pytest.fixture
def temporal(hub: Hub) -> TemporalStore:
    return TemporalStore(hub.database, hub.terms, max_instances=1000)


def observed(number: int, value: float, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": to_text(START + number * STEP), **members}


def fragment(**attributes: Any) -> EntityFragment:
    return EntityFragment(expand_entity({"id": RIVER, "type": "River", **attributes}, core_terms()).attributes)


async def write_series(entities: EntityStore, *, readings: int = 6, identifier: str = RIVER) -> None:
    """An entity with a name, ``readings`` levels 0, 1, 2 ... in steps of ten minutes, and as many flows."""
    body = {"id": identifier, "type": "River", "name": "安倍川", "waterLevel": observed(0, 0), "flow": observed(0, 0)}
    await entities.create(TENANT, expand_entity(body, core_terms()))
    for number in range(1, readings):
        given = fragment(waterLevel=observed(number, number), flow=observed(number, number * 10))
        await entities.change(
            TENANT,
            identifier,
            lambda stored, now, given=given: update_attributes(stored, given, now),  # type: ignore[misc]
        )


def values(page: TemporalPage, attribute: str = LEVEL) -> list[Any]:
    return [item.instance["value"] for item in instances(page) if item.attribute == attribute]


def instances(page: TemporalPage) -> tuple[HistoricInstance, ...]:
    return page.entities[0].instances


async def test_all_of_an_entity_comes_in_the_order_of_time(entities: EntityStore, temporal: TemporalStore) -> None:
    await write_series(entities)
    page = await temporal.retrieve(TENANT, RIVER, TemporalQuery())
    assert values(page) == [0, 1, 2, 3, 4, 5]
    assert values(page, FLOW) == [0, 10, 20, 30, 40, 50]
    assert values(page, NAMES + "name") == ["安倍川"]
    assert page.cut is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (TemporalQuery(end=START + 2 * STEP, restricted=True), [0, 1]),
        (TemporalQuery(start=START + 4 * STEP, restricted=True), [4, 5]),
        (TemporalQuery(start=START + STEP, end=START + 3 * STEP, restricted=True), [1, 2]),
        (TemporalQuery(last_n=2), [5, 4]),
        (TemporalQuery(end=START + 4 * STEP, restricted=True, last_n=2), [3, 2]),
    ],
    ids=["before", "after", "between", "lastN", "lastN before"],
)
async def test_a_range_is_closed_at_its_start_and_open_at_its_end(
    entities: EntityStore, temporal: TemporalStore, query: TemporalQuery, expected: list[int]
) -> None:
    await write_series(entities)
    assert values(await temporal.retrieve(TENANT, RIVER, query, {LEVEL})) == expected


async def test_a_range_leaves_out_what_was_never_observed(entities: EntityStore, temporal: TemporalStore) -> None:
    await write_series(entities)
    page = await temporal.retrieve(TENANT, RIVER, TemporalQuery(start=START, restricted=True))
    assert values(page, NAMES + "name") == []


async def test_the_time_of_writing_can_be_the_axis(entities: EntityStore, temporal: TemporalStore) -> None:
    before = datetime.now(UTC)
    await write_series(entities)
    query = TemporalQuery(start=before, restricted=True, time_property=TimeProperty.MODIFIED_AT)
    assert values(await temporal.retrieve(TENANT, RIVER, query), NAMES + "name") == ["安倍川"]
    earlier = TemporalQuery(end=before, restricted=True, time_property=TimeProperty.CREATED_AT)
    assert instances(await temporal.retrieve(TENANT, RIVER, earlier)) == ()


async def test_a_deleted_attribute_ends_with_a_tombstone(entities: EntityStore, temporal: TemporalStore) -> None:
    await write_series(entities, readings=2)
    await entities.change(TENANT, RIVER, lambda stored, now: delete_attribute(stored, LEVEL, now))
    query = TemporalQuery(time_property=TimeProperty.DELETED_AT)
    (removed,) = instances(await temporal.retrieve(TENANT, RIVER, query))
    assert (removed.attribute, removed.removed) == (LEVEL, True)


async def test_members_and_datasets_are_kept(entities: EntityStore, temporal: TemporalStore) -> None:
    level = [
        observed(0, 1.5, unitCode="MTR", accuracy=0.01),
        observed(0, 1.6, datasetId="urn:x:radar"),
    ]
    await entities.create(TENANT, expand_entity({"id": RIVER, "type": "River", "waterLevel": level}, core_terms()))
    found = {item.dataset: item for item in instances(await temporal.retrieve(TENANT, RIVER, TemporalQuery()))}
    assert set(found) == {"@none", "urn:x:radar"}
    assert found["@none"].instance["unitCode"] == "MTR"
    assert found["@none"].instance["attrs"][NAMES + "accuracy"]["@none"]["value"] == 0.01


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "Property", "value": {"a": [1, None]}}, {"a": [1, None]}),
        ({"type": "Property", "value": True}, True),
        ({"type": "Property", "value": "text"}, "text"),
        ({"type": "Property", "value": 2**60}, 2**60),
        ({"type": "Relationship", "object": ["urn:x:1", "urn:x:2"]}, ["urn:x:1", "urn:x:2"]),
        ({"type": "GeoProperty", "value": {"type": "Point", "coordinates": [138.4, 34.9]}},
         {"type": "Point", "coordinates": [138.4, 34.9]}),
        ({"type": "LanguageProperty", "languageMap": {"ja": "川"}}, {"ja": "川"}),
    ],
)  # fmt: skip
async def test_every_kind_of_value_comes_back(
    entities: EntityStore, temporal: TemporalStore, given: dict[str, Any], expected: Any
) -> None:
    await entities.create(TENANT, expand_entity({"id": RIVER, "type": "River", "thing": given}, core_terms()))
    (item,) = instances(await temporal.retrieve(TENANT, RIVER, TemporalQuery()))
    member = next(name for name in ("value", "object", "languageMap") if name in given)
    assert item.instance[member] == expected


async def test_too_much_is_cut_by_time_over_all_attributes(hub: Hub, entities: EntityStore) -> None:
    await write_series(entities)
    small = TemporalStore(hub.database, hub.terms, max_instances=5)
    query = TemporalQuery(start=START, restricted=True)
    page = await small.retrieve(TENANT, RIVER, query)
    assert (values(page), values(page, FLOW)) == ([0, 1], [0, 10])
    assert page.cut is not None
    assert page.cut.content_range() == "date-time 2026-06-30T23:30:00Z-2026-06-30T23:40:00Z/*"


async def test_too_much_of_the_newest_is_cut_at_its_old_end(hub: Hub, entities: EntityStore) -> None:
    await write_series(entities)
    small = TemporalStore(hub.database, hub.terms, max_instances=5)
    query = TemporalQuery(start=START, restricted=True, last_n=4)
    page = await small.retrieve(TENANT, RIVER, query)
    assert (values(page), values(page, FLOW)) == ([5, 4], [50, 40])
    assert page.cut is not None
    assert page.cut.content_range() == "date-time 2026-07-01T00:20:00Z-2026-07-01T00:10:00Z/4"


async def test_the_rest_begins_where_the_page_ended(hub: Hub, entities: EntityStore) -> None:
    await write_series(entities)
    small = TemporalStore(hub.database, hub.terms, max_instances=4)
    seen: set[int] = set()
    query = TemporalQuery(start=START, restricted=True)
    for _ in range(6):
        page = await small.retrieve(TENANT, RIVER, query)
        seen.update(values(page))
        if page.cut is None:
            break
        query = TemporalQuery(start=page.cut.end, restricted=True)
    assert seen == {0, 1, 2, 3, 4, 5}


async def test_an_unknown_entity_has_no_history(temporal: TemporalStore) -> None:
    with pytest.raises(ResourceNotFound):
        await temporal.retrieve(TENANT, RIVER, TemporalQuery())


async def test_a_query_finds_entities_that_evolved_in_the_range(entities: EntityStore, temporal: TemporalStore) -> None:
    await write_series(entities, identifier="urn:x:1")
    await write_series(entities, identifier="urn:x:2", readings=2)
    rivers = EntityQuery(types=parse_types("River", core_terms().expand_term))
    late = TemporalQuery(start=START + 3 * STEP, restricted=True)
    page = await temporal.query(TENANT, rivers, late, limit=10, count=True)
    assert [item.entity.id for item in page.entities] == ["urn:x:1"]
    assert page.total == 1


async def test_a_query_takes_the_newest_of_each_entity(entities: EntityStore, temporal: TemporalStore) -> None:
    await write_series(entities, identifier="urn:x:1")
    await write_series(entities, identifier="urn:x:2", readings=2)
    query = TemporalQuery(start=START, restricted=True, last_n=1)
    page = await temporal.query(TENANT, EntityQuery(), query, {LEVEL}, limit=10)
    assert [[item.instance["value"] for item in found.instances] for found in page.entities] == [[5], [1]]


async def test_another_tenant_sees_no_history(hub: Hub, entities: EntityStore, temporal: TemporalStore) -> None:
    await write_series(entities)
    other = await hub.tenants.find_or_create("kamakura")
    with pytest.raises(ResourceNotFound):
        await temporal.retrieve(other, RIVER, TemporalQuery())


async def test_the_newest_of_a_long_history_are_read_without_sorting_it(
    hub: Hub, entities: EntityStore, temporal: TemporalStore
) -> None:
    """lastN costs what it returns: the plan ends in a limit over the primary key, with no sort of the history."""
    await write_series(entities, readings=1)
    await hub.history.ensure([START, START + timedelta(days=14)])
    async with hub.database.transaction(TENANT) as connection:
        await connection.execute(
            "insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, value_hash, kind,"
            " recorded_at, number_value) select i.entity_key, i.tenant_id, i.attribute_id,"
            " i.observed_at + n * interval '1 minute', n, 1, now(), n"
            " from attribute_instance i, generate_series(1, 20000) n where i.has_observed_at"
        )
        await connection.execute("analyze attribute_instance")
        row = await (await connection.execute("select entity_key from entity")).fetchone()
    assert row is not None
    query = TemporalQuery(start=START, restricted=True, last_n=3)
    level = (await hub.terms.resolve([LEVEL]))[LEVEL]
    statement, values_given = history_statement(TENANT, [Series(row[0], level, row[0])], query, 1000)
    async with hub.database.transaction(TENANT) as connection:
        plan = await (await connection.execute("explain " + statement, values_given)).fetchall()
    lines = [line for (line,) in plan]
    assert not any("->  Sort " in line for line in lines), "\n".join(lines)
    assert values(await temporal.retrieve(TENANT, RIVER, query, {LEVEL})) == [20000, 19999, 19998]

# SPDX-License-Identifier: Apache-2.0
"""The order of entities (clause 4.23), sorted by PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.hub import Hub
from broker.contexts.jsonld import core_terms
from broker.errors import TooComplexQuery
from broker.expansion import expand_entity
from broker.query import EntityQuery, parse_ordering, parse_types
from context_store.entities.store import EntityStore
from context_store.queries import ordering as ordering_module
from context_store.tenants import DEFAULT_TENANT

TERMS = core_terms()
THINGS = EntityQuery(types=parse_types("Thing", TERMS.expand_term))

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


class Things:
    """Entities by short names, and the order that a query gives them."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.store = EntityStore(hub.database, hub.terms, hub.history)

    async def add(self, name: str, /, **attributes: Any) -> None:
        tenant = await self.hub.tenants.find(DEFAULT_TENANT)
        await self.store.create(tenant, expand_entity({"id": f"urn:x:{name}", "type": "Thing", **attributes}, TERMS))

    async def order(self, order_by: str, *, limit: int = 100, offset: int = 0, **more: Any) -> str:
        """The names in their order, joined by spaces."""
        ordering = parse_ordering(order_by, TERMS.expand_term, **more)
        tenant = await self.hub.tenants.find(DEFAULT_TENANT)
        page = await self.store.query(tenant, THINGS, ordering=ordering, limit=limit, offset=offset)
        return " ".join(entity.id.removeprefix("urn:x:") for entity in page.entities)


@pytest.fixture
def things(hub: Hub) -> Things:
    return Things(hub)


def prop(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **more}


def point(longitude: float, latitude: float) -> dict[str, Any]:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [longitude, latitude]}}


async def test_data_types_come_in_the_order_of_the_clause(things: Things) -> None:
    values = {
        "10-moment": "2026-11-21T07:47:43Z",
        "9-day": "2026-11-21",
        "8-time": "07:47:43Z",
        "7-true": True,
        "6-array": [1],
        "5-object": {"a": 1},
        "4-text": "b",
        "3-text": "a",
        "2-number": 10,
        "1-number": 9.5,
    }
    await things.add("0-absent")
    for name, value in values.items():
        await things.add(name, probe=prop(value))
    kinds = "1-number 2-number 3-text 4-text 5-object 6-array 7-true 8-time 9-day 10-moment"
    assert await things.order("probe") == f"{kinds} 0-absent"
    assert await things.order("probe;desc") == " ".join(reversed(kinds.split())) + " 0-absent"


async def test_texts_are_sorted_by_the_root_collation_and_by_others(things: Things) -> None:
    for name, text in {"1": "Zebra", "2": "ähre", "3": "azur", "4": "Ahorn"}.items():
        await things.add(name, name=prop(text))
    assert await things.order("name") == "4 2 3 1"
    assert await things.order("name", collation="sv") == "4 3 1 2"


async def test_what_a_collation_holds_equal_leaves_the_next_key_to_decide(things: Things) -> None:
    for name, text, age in (("1", "A", 2), ("2", "a", 1), ("3", "á", 3)):
        await things.add(name, name=prop(text), age=prop(age))
    assert await things.order("name,age;desc", collation="und-u-ks-level1") == "3 1 2"


async def test_a_collation_is_made_once_by_any_number_of_requests(things: Things) -> None:
    await things.add("1", name=prop("a"))
    both = [Things(things.hub) for _ in range(4)]
    assert await asyncio.gather(*(each.order("name", collation="fi-u-co-trad") for each in both)) == ["1"] * 4


async def test_the_number_of_collations_is_bounded(things: Things, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering_module, "MAX_COLLATIONS", 1)
    await things.order("name", collation="de")
    await Things(things.hub).order("name", collation="de")
    with pytest.raises(TooComplexQuery):
        await things.order("name", collation="fr")


async def test_times_are_compared_as_times(things: Things) -> None:
    await things.add("late", level=prop(1, observedAt="2026-11-21T07:47:43.5Z"))
    await things.add("soon", level=prop(2, observedAt="2026-11-21T07:47:43Z"))
    assert await things.order("level.observedAt") == "soon late"
    assert await things.order("createdAt;desc") == "soon late"


async def test_paths_lead_to_sub_attributes_and_into_values(things: Things) -> None:
    await things.add("1", address=prop({"city": {"name": "Zurich"}}, rank=prop(1)))
    await things.add("2", address=prop({"city": {"name": "Berlin"}}, rank=prop(2)))
    assert await things.order("address[city.name]") == "2 1"
    assert await things.order("address.rank;desc") == "2 1"


async def test_the_default_instance_counts(things: Things) -> None:
    await things.add("1", level=[prop(3), prop(0, datasetId="urn:d:1")])
    await things.add("2", level=prop(2))
    assert await things.order("level") == "2 1"


async def test_relationships_are_sorted_by_their_target(things: Things) -> None:
    await things.add("1", at={"type": "Relationship", "object": "urn:x:b"})
    await things.add("2", at={"type": "Relationship", "object": "urn:x:a"})
    assert await things.order("at") == "2 1"


async def test_distance_and_what_has_none(things: Things) -> None:
    await things.add("text", location=point(0, 0), here=prop("a"))
    await things.add("far", here=point(10, 45))
    await things.add("near", here=point(8.01, 40.01))
    await things.add("absent")
    from_here: dict[str, Any] = {"coordinates": [8, 40]}
    assert await things.order("here;dist-asc", **from_here) == "near far text absent"
    assert await things.order("here;dist-desc", **from_here) == "far near text absent"
    line: dict[str, Any] = {"coordinates": [[9, 44], [11, 46]], "geometry": "LineString"}
    assert (await things.order("here;dist-asc", **line)).startswith("far near")


async def test_pages_do_not_overlap(things: Things) -> None:
    for number in range(7):
        await things.add(str(number), level=prop(number % 2))
    pages = [await things.order("level;desc", limit=3, offset=offset) for offset in (0, 3, 6)]
    assert " ".join(pages) == "1 3 5 0 2 4 6"


@pytest.mark.parametrize("key", ["id;desc", "type,id;desc", "scope,id;desc"])
async def test_members_of_the_entity(things: Things, key: str) -> None:
    await things.add("1", scope="/a")
    await things.add("2", scope="/a")
    assert await things.order(key) == "2 1"

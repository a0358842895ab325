# SPDX-License-Identifier: Apache-2.0
"""The index finds what the evaluation of every subscription would find, and little more."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contexts.jsonld import core_terms
from broker.entities import AttributeChange, ExpandedEntity
from broker.subscriptions import (
    EntityEvent,
    Indexed,
    SubscriptionIndex,
    expand_subscription,
    indexed,
    read_subscription,
)
from schemas.terms import DEFAULT_VOCABULARY, LOCATION

LEVEL = DEFAULT_VOCABULARY + "level"


def entry(key: int, **members: Any) -> Indexed:
    body: dict[str, Any] = {"type": "Subscription", "notification": {"endpoint": {"uri": "http://example.org/"}}}
    body |= {"entities": [{"type": "River"}]} | members
    subscription = read_subscription(expand_subscription(body, core_terms()), f"urn:ngsi-ld:Subscription:{key}")
    return indexed(key, 1, subscription, None)


def near(longitude: float, latitude: float, metres: float) -> dict[str, Any]:
    return {"georel": f"near;maxDistance=={metres:g}", "geometry": "Point", "coordinates": [longitude, latitude]}


def area(west: float, south: float, size: float, relation: str = "within") -> dict[str, Any]:
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"georel": relation, "geometry": "Polygon", "coordinates": [ring]}


def entity(
    number: int = 1, level: Any = 2.5, scopes: tuple[str, ...] = (), point: tuple[float, float] | None = None
) -> ExpandedEntity:
    attributes: dict[str, Any] = {LEVEL: {"@none": {"type": "Property", "value": level}}}
    if point is not None:
        geometry = {"type": "Point", "coordinates": list(point)}
        attributes[LOCATION] = {"@none": {"type": "GeoProperty", "value": geometry}}
    return ExpandedEntity(f"urn:ngsi-ld:River:{number}", (DEFAULT_VOCABULARY + "River",), attributes, scopes)


def update_of(state: ExpandedEntity) -> EntityEvent:
    change = AttributeChange(LEVEL, "@none", {"type": "Property", "value": 99}, state.attributes[LEVEL]["@none"])
    return EntityEvent(1, state.id, state.types, "updated", (change,))


def found(index: SubscriptionIndex, state: ExpandedEntity) -> list[int]:
    concern = index.look_up(update_of(state))
    return [] if concern is None else sorted(item.key for item in concern.candidates(state))


NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, 2.5, True, "2", "a"])
PLACES = st.sampled_from([-180.0, -0.5, 0.0, 0.25, 1.0, 179.9, 180.0])
SCOPES = st.lists(st.sampled_from(["/A", "/A/B", "/A/B/C", "B", "/B/A"]), max_size=2, unique=True).map(tuple)
Q = st.sampled_from(
    ["level==1", "level==1,2", 'level=="2"', "level>1", "level>=2.5", "level<0", "level<=-1;level==-1", "level!=1",
     "level==1|level>2", "level", "level==0..2", "(level>0;level<2)|level==3", "!level", "level==true", "flow>1",
     "level>=1;level<=1", "level>0;level<2.5", "level>2;level<1", "level<=2;(level>=0|flow==1);level>-1"]
)  # fmt: skip
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "q": Q,
        "scopeQ": st.sampled_from(["/A", "/A/B", "/A/#", "/#", "/+/B", "/A|/B/#", "/A;/B/A"]),
        "geoQ": st.builds(near, PLACES, PLACES.filter(lambda y: abs(y) < 90), st.sampled_from([1, 1000, 40_000, 2e7]))
        | st.builds(
            area,
            st.sampled_from([-1.0, 0.0, 0.25]),
            st.sampled_from([-1.0, 0.0]),
            st.sampled_from([0.5, 1.0]),
            st.sampled_from(["within", "intersects", "disjoint"]),
        ),
        "entities": st.sampled_from(
            [
                [{"type": "River", "idPattern": pattern}]
                for pattern in (
                    "^urn:ngsi-ld:River:1$",
                    "^urn:ngsi-ld:River:1",
                    "River:1?$",
                    "^urn:ngsi-ld:River:2?",
                    "1|2",
                )
            ]
            + [[{"type": "*", "id": "urn:ngsi-ld:River:1"}, {"type": "River", "idPattern": "^urn.*2$"}]]
            + [[{"type": "Canal|River"}], [{"type": "*"}]]
        ),
        "watchedAttributes": st.just(["level", "flow"]),
    },
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(MEMBERS, min_size=1, max_size=8),
    st.lists(
        st.builds(
            entity,
            st.integers(1, 2),
            NUMBERS | st.lists(NUMBERS, max_size=2),
            SCOPES,
            st.none() | st.tuples(PLACES, PLACES.filter(lambda y: abs(y) < 90)),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sets(st.integers(0, 7)),
)
def test_index_finds_all_that_match(
    subscriptions: list[dict[str, Any]], states: list[ExpandedEntity], removed: set[int]
) -> None:
    entries = [entry(key, **members) for key, members in enumerate(subscriptions)]
    index = SubscriptionIndex(entries)
    for key in removed:
        index.remove(key)
    for state in states:
        matching = {item.key for item in entries if item.key not in removed and item.matches(state)}
        assert matching <= set(found(index, state)) <= {item.key for item in entries} - removed


@pytest.mark.parametrize(
    ("members", "matching"),
    [
        ({"q": "level==%d"}, entity(level=77)),
        ({"q": "level>%d"}, entity(level=1.5)),
        ({"q": "level>=%d;level<%d.5"}, entity(level=77)),
        ({"scopeQ": "/City/D%d"}, entity(scopes=("/City/D1",))),
        ({"entities": [{"type": "River", "idPattern": "^urn:ngsi-ld:River:%d$"}]}, entity(7)),
        ({"entities": [{"type": "River", "idPattern": "^urn:ngsi-ld:River:%d-"}]}, entity(7)),
        ({"geoQ": near(0, 0, 5)}, entity(point=(0.000_01, 0))),
    ],
    ids=["value", "threshold", "range", "scope", "id", "id prefix", "place"],
)
def test_few_of_many_are_candidates(members: dict[str, Any], matching: ExpandedEntity) -> None:
    """Of 300 subscriptions that differ in what they ask for, an entity meets few, whichever it is."""
    index = SubscriptionIndex(entry(number, **_numbered(members, number)) for number in range(300))
    assert len(found(index, matching)) <= 4


def _numbered(members: Any, number: int) -> Any:
    if isinstance(members, dict):
        if "georel" in members:
            return near(number / 1000, number / 1000, 5)
        return {name: _numbered(member, number) for name, member in members.items()}
    if isinstance(members, list):
        return [_numbered(member, number) for member in members]
    return members.replace("%d", str(number)) if isinstance(members, str) else members


def test_thousands_of_subscriptions_cost_next_to_nothing_when_none_is_concerned() -> None:
    """Looking up costs the same in an index of 100 and of 5,000, give or take."""
    few, many = (SubscriptionIndex(entry(n, q=f"level=={n + 10}") for n in range(size)) for size in (100, 5_000))
    state = entity()

    def seconds(index: SubscriptionIndex) -> float:
        began = time.process_time()
        for _ in range(1000):
            assert found(index, state) == []
        return time.process_time() - began

    assert seconds(many) < 5 * min(seconds(few) for _ in range(3))


def test_entry_of_the_same_number_is_replaced() -> None:
    index = SubscriptionIndex([entry(1, q="level==1")])
    index.add(entry(1, q="level==2.5"))
    assert (found(index, entity(level=1)), found(index, entity(level=2.5)), len(index)) == ([], [1], 1)


def test_places_that_nobody_is_in_any_more_go() -> None:
    index = SubscriptionIndex()
    for number in range(3000):
        index.add(entry(number, entities=[{"type": "River", "id": f"urn:ngsi-ld:River:{number}"}]))
        index.remove(number)
    assert len(index._tenants[1].by_id if 1 in index._tenants else {}) <= 1001

# SPDX-License-Identifier: Apache-2.0
"""Which registrations a request concerns and with which part of it: one table (clause 5.12), then conflicts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from broker.contexts.jsonld import core_terms
from broker.entities import ExpandedEntity
from broker.history.temporal import temporal_query
from broker.query import EntityQuery, EntitySelector, parse_geo, parse_q, parse_scopes, parse_types
from broker.registrations.document import expand_registration
from broker.registrations.matching import (
    Share,
    SourceFilter,
    Wanted,
    conflicting,
    matching_information,
    shares_of,
    wanted_by,
    within,
    without,
)
from broker.registrations.model import Registration, read_registration

TERMS = core_terms()
CAR, BUS, SPEED, NAME = (TERMS.expand_term(name) for name in ("Car", "Bus", "speed", "brandName"))
ID, OTHER = "urn:ngsi-ld:Car:1", "urn:ngsi-ld:Car:2"


def types(text: str) -> Any:
    return parse_types(text, TERMS.expand_term)


def registered(*information: dict[str, Any], registration_id: str = "urn:r:1", **members: Any) -> Registration:
    body = {"type": "ContextSourceRegistration", "endpoint": "http://source", "information": list(information)}
    return read_registration(expand_registration(body | members, TERMS), registration_id)


def cars(**members: Any) -> dict[str, Any]:
    return {"entities": [{"type": "Car", **members}]}


def share(text: str | None, *ids: str, pattern: str | None = None, attributes: tuple[str, ...] = ()) -> Share:
    return Share(EntitySelector(ids, pattern, None if text is None else types(text)), frozenset(attributes))


def wanted(text: str | None = None, *ids: str, pattern: str | None = None, attributes: tuple[str, ...] = ()) -> Wanted:
    selector = EntitySelector(ids, pattern, None if text is None else types(text))
    return Wanted((selector,), frozenset(attributes))


TABLE: list[tuple[str, Registration, Wanted, list[Share]]] = [
    ("a type that is registered", registered(cars()), wanted("Car"), [share("Car")]),
    ("another type", registered(cars()), wanted("Bus"), []),
    ("no other types are asked for", registered(cars()), wanted("Car|Bus"), [share("Car")]),
    ("every type of an EntityInfo counts", registered(cars(type=["Car", "Bus"])), wanted("Bus"), [share("Bus")]),
    ("both types at once", registered(cars(type=["Car", "Bus"])), wanted("Car;Bus"), [share("Car;Bus")]),
    ("both types, of which one is registered", registered(cars()), wanted("Car;Bus"), []),
    ("an id without a type", registered(cars()), wanted(None, ID), [share("Car", ID)]),
    ("the id that is registered", registered(cars(id=ID)), wanted("Car", ID, OTHER), [share("Car", ID)]),
    ("another id", registered(cars(id=ID)), wanted("Car", OTHER), []),
    ("all of a type: the registered id", registered(cars(id=ID)), wanted("Car"), [share("Car", ID)]),
    ("a pattern over a registered id", registered(cars(id=ID)), wanted("Car", pattern="Car"), [share("Car", ID)]),
    ("a pattern that misses it", registered(cars(id=ID)), wanted("Car", pattern="Bus"), []),
    ("ids of a registered pattern", registered(cars(idPattern="1$")), wanted("Car", ID, OTHER), [share("Car", ID)]),
    ("no id of that pattern", registered(cars(idPattern="1$")), wanted("Car", OTHER), []),
    ("all: the registered pattern", registered(cars(idPattern="1$")), wanted("Car"), [share("Car", pattern="1$")]),
    ("two patterns", registered(cars(idPattern="1$")), wanted("Car", pattern="^u"), [share("Car", pattern="^u")]),
    (
        "registered attributes only",
        registered(cars() | {"propertyNames": ["speed"]}),
        wanted("Car"),
        [share("Car", attributes=(SPEED,))],
    ),
    (
        "an attribute of them",
        registered(cars() | {"propertyNames": ["speed"], "relationshipNames": ["brandName"]}),
        wanted("Car", attributes=(SPEED,)),
        [share("Car", attributes=(SPEED,))],
    ),
    ("none of them", registered(cars() | {"propertyNames": ["speed"]}), wanted("Car", attributes=(NAME,)), []),
    ("some of a whole", registered(cars()), wanted("Car", attributes=(NAME,)), [share("Car", attributes=(NAME,))]),
    (
        "attributes of any entity",
        registered({"propertyNames": ["speed"]}),
        wanted("Bus"),
        [share("Bus", attributes=(SPEED,))],
    ),
    ("any part that matches", registered(cars(), cars(type="Bus")), wanted("Bus"), [share("Bus")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("registration", "request_", "shares"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_a_source_is_asked_for_what_it_registered_and_no_more(
    registration: Registration, request_: Wanted, shares: list[Share]
) -> None:
    assert list(shares_of(registration, request_)) == shares


def test_datasets_without_a_common_one_do_not_match() -> None:
    source = registered(cars(), datasetId=["urn:d:1"])
    assert shares_of(source, Wanted(datasets=frozenset({"urn:d:2"}))) == ()
    assert shares_of(source, Wanted(datasets=frozenset({"urn:d:1"})))


def test_attributes_of_a_query_are_named_by_it() -> None:
    query = EntityQuery(types=types("Car"), q=parse_q("speed>1;createdAt>2020-01-01T00:00:00Z", TERMS.expand_term))
    assert wanted_by(query).named == {SPEED}


def test_only_matching_elements_of_the_information_are_found() -> None:
    assert list(matching_information(registered(cars(), cars(type="Bus")), wanted("Bus"))) == [1]


def entity(name: str, kind: str, *attributes: str) -> ExpandedEntity:
    return ExpandedEntity(name, (kind,), {iri: {"@none": {"type": "Property", "value": 1}} for iri in attributes})


def test_what_a_source_gives_beyond_its_share_is_left_out() -> None:
    shares = [share("Car", attributes=(SPEED,))]
    assert within(entity(ID, BUS, SPEED), shares) is None
    given = within(entity(ID, CAR, SPEED, NAME), shares)
    assert given is not None
    assert set(given.attributes) == {SPEED}


def test_what_is_held_elsewhere_is_not_held_here() -> None:
    kept = without(entity(ID, CAR, SPEED, NAME), [share("Car", ID, attributes=(SPEED,))])
    assert kept is not None
    assert set(kept.attributes) == {NAME}
    assert without(entity(ID, CAR, SPEED), [share("Car")]) is None
    assert without(entity(ID, BUS, SPEED), [share("Car")]) is not None


SPEED_OF_ONE = cars(id=ID) | {"propertyNames": ["speed"]}


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        (("exclusive", SPEED_OF_ONE), ("exclusive", SPEED_OF_ONE), True),
        (("exclusive", SPEED_OF_ONE), ("redirect", cars()), True),
        (("redirect", cars()), ("exclusive", SPEED_OF_ONE), True),
        (("exclusive", SPEED_OF_ONE), ("exclusive", cars(id=ID) | {"propertyNames": ["brandName"]}), False),
        (("exclusive", SPEED_OF_ONE), ("exclusive", cars(id=OTHER) | {"propertyNames": ["speed"]}), False),
        (("exclusive", SPEED_OF_ONE), ("redirect", cars(type="Bus")), False),
        (("redirect", cars()), ("redirect", cars()), False),
        (("exclusive", SPEED_OF_ONE), ("inclusive", SPEED_OF_ONE), False),
        (("inclusive", cars()), ("exclusive", SPEED_OF_ONE), False),
        (("auxiliary", cars()), ("exclusive", SPEED_OF_ONE), False),
    ],
)  # fmt: skip
def test_nothing_proxied_is_beside_an_exclusive_registration(
    first: tuple[str, dict[str, Any]], second: tuple[str, dict[str, Any]], meet: bool
) -> None:
    there = registered(first[1], mode=first[0])
    new = registered(second[1], registration_id="urn:r:2", mode=second[0])
    assert (conflicting(new, [there]) is there) is meet


def test_a_registration_does_not_conflict_with_what_it_was() -> None:
    assert conflicting(registered(SPEED_OF_ONE, mode="exclusive"), [registered(SPEED_OF_ONE, mode="exclusive")]) is None


POINT = {"type": "Point", "coordinates": [8.68, 49.41]}


def test_sources_are_filtered_by_their_properties() -> None:
    csf = SourceFilter(csf=parse_q('sourceType=="sensor"', TERMS.expand_term))
    assert csf.admits(registered(cars(), sourceType={"type": "Property", "value": "sensor"}))
    assert not csf.admits(registered(cars(), sourceType="archive"))
    assert not csf.admits(registered(cars()))


def test_sources_are_filtered_by_members_of_the_registration() -> None:
    endpoint = SourceFilter(csf=parse_q('endpoint=="http://source"', TERMS.expand_term))
    assert endpoint.admits(registered(cars()))


def test_sources_are_filtered_by_scope() -> None:
    madrid = SourceFilter(scope=parse_scopes("/Madrid/#"))
    assert madrid.admits(registered(cars(), scope="/Madrid/Centro"))
    assert not madrid.admits(registered(cars(), scope=["/Berlin"]))
    assert not madrid.admits(registered(cars()))


@pytest.mark.parametrize(
    ("georel", "geometry", "coordinates", "found"),
    [
        ("near;maxDistance==2000", "Point", [8.68, 49.42], True),
        ("near;maxDistance==2000", "Point", [9.68, 49.42], False),
        ("within", "Polygon", [[[8, 49], [9, 49], [9, 50], [8, 50], [8, 49]]], True),
        ("within", "Polygon", [[[1, 49], [2, 49], [2, 50], [1, 50], [1, 49]]], False),
    ],
)
def test_sources_are_filtered_by_place(georel: str, geometry: str, coordinates: list[Any], found: bool) -> None:
    place = SourceFilter(geo=parse_geo(georel, geometry, coordinates, None, expand=TERMS.expand_term))
    assert place.admits(registered(cars(), location=POINT)) is found
    assert not place.admits(registered(cars()))


def test_an_area_may_hold_places_within_a_smaller_one() -> None:
    area = {"type": "Polygon", "coordinates": [[[8, 49], [9, 49], [9, 50], [8, 50], [8, 49]]]}
    inner = [[[8.4, 49.4], [8.6, 49.4], [8.6, 49.6], [8.4, 49.6], [8.4, 49.4]]]
    place = SourceFilter(geo=parse_geo("within", "Polygon", inner, None, expand=TERMS.expand_term))
    assert place.admits(registered(cars(), location=area))


def during(timerel: str, start: int, end: int | None = None, prop: str | None = None) -> SourceFilter:
    moments = [None if year is None else datetime(year, 1, 1, tzinfo=UTC) for year in (start, end)]
    query = temporal_query(timerel=timerel, time_at=moments[0], end_time_at=moments[1], time_property=prop, last_n=None)
    return SourceFilter(temporal=query)


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        (SourceFilter(), False),
        (during("before", 2021), True),
        (during("after", 2021), True),
        (during("before", 2019), False),
        (during("before", 2025), True),
        (during("after", 2019), True),
        (during("after", 2025), False),
        (during("between", 2018, 2021), True),
        (during("between", 2018, 2019), False),
        (during("before", 2021, prop="modifiedAt"), False),
    ],
)
def test_sources_of_history_are_found_by_their_interval(filter_: SourceFilter, found: bool) -> None:
    interval = {"startAt": "2020-06-01T00:00:00Z", "endAt": "2022-06-01T00:00:00Z"}
    assert filter_.admits(registered(cars(), observationInterval=interval)) is found
    assert during("before", 2021).admits(registered(cars())) is False

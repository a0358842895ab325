# SPDX-License-Identifier: Apache-2.0
"""Geoqueries (clause 4.10): parameters, distances, boxes."""

from __future__ import annotations

from typing import Any

import pytest
from shapely.geometry import Point

from broker.entities import ExpandedEntity
from broker.errors import BadRequestData
from broker.query import indexed_geometry, parse_geo
from broker.query.geodesy import boxes_within, distance_m, point_distance_m
from broker.query.tree import GeoQuery, GeoRelation
from schemas.terms import LOCATION


def expand(name: str) -> str:
    return "ex:" + name


def parse(georel: str, geometry: str, coordinates: str | list[Any], of: str | None = None) -> GeoQuery:
    return parse_geo(georel, geometry, coordinates, of, expand=expand)


def test_near_has_a_distance_in_metres() -> None:
    point = '{"type": "Point", "coordinates": [8.0, 40.0]}'
    assert parse("near;maxDistance==2000", "Point", "[8,40]") == GeoQuery(GeoRelation.NEAR_MAX, point, LOCATION, 2000.0)


def test_the_property_is_expanded_and_height_is_dropped() -> None:
    point = '{"type": "Point", "coordinates": [8.0, 40.0]}'
    assert parse("equals", "Point", [8, 40, 3.5], "place") == GeoQuery(GeoRelation.EQUALS, point, "ex:place")


@pytest.mark.parametrize(
    ("georel", "detail"),
    [
        (
            "touches",
            "georel is not valid: near, within, contains, overlaps, intersects, equals or disjoint is expected\n"
            "    touches\n    ^",
        ),
        (
            "near",
            "georel is not valid: near is followed by ;maxDistance== or ;minDistance== and a number of metres\n"
            "    near\n        ^",
        ),
        (
            "near;maxDistance==0",
            "georel is not valid: the distance is a number of metres greater than 0\n"
            "    near;maxDistance==0\n                      ^",
        ),
    ],
)
def test_a_malformed_relation_says_where(georel: str, detail: str) -> None:
    with pytest.raises(BadRequestData) as raised:
        parse(georel, "Point", "[8,40]")
    assert raised.value.detail == detail


@pytest.mark.parametrize("distance", ["-100", "inf", "1e400", "5;minDistance==1", "", "1 0", "٣"])
def test_a_distance_is_a_positive_json_number(distance: str) -> None:
    with pytest.raises(BadRequestData, match="the distance is a number of metres greater than 0"):
        parse(f"near;maxDistance=={distance}", "Point", "[8,40]")


@pytest.mark.parametrize(
    ("geometry", "coordinates"),
    [
        ("GeometryCollection", "[]"),
        ("Point", "[8]"),
        ("Point", "[8,95]"),
        ("Point", "[8,NaN]"),
        ("Point", '["8","40"]'),
        ("Point", "8,40"),
        ("Point", "[true,1]"),
        ("LineString", "[[8,40]]"),
        ("Polygon", "[[[0,0],[1,0],[0,1]]]"),
        ("Polygon", "[[[0,0],[1,0],[1,1],[0,1]]]"),
        ("Polygon", "[]"),
        ("MultiPoint", "[[[0,0]]]"),
    ],
)
def test_malformed_references_are_refused(geometry: str, coordinates: str) -> None:
    with pytest.raises(BadRequestData):
        parse("within", geometry, coordinates)


# Reference distances of WGS 84, as PostGIS measures them.
@pytest.mark.parametrize(
    ("one", "other", "metres"),
    [
        ((0, 0), (0, 90), 10_001_965.73),
        ((0, 0), (90, 0), 10_018_754.17),
        ((0, 0), (1, 0), 111_319.49),
        ((0, 0), (0, 1), 110_574.39),
        ((0, 85), (1, 85), 9_734.40),
        ((179.99, 0), (-179.99, 0), 2_226.39),
    ],
)
def test_distances_of_points(one: tuple[float, float], other: tuple[float, float], metres: float) -> None:
    assert point_distance_m(*one, *other) == pytest.approx(metres, rel=1e-5)


def test_a_point_is_no_distance_from_itself() -> None:
    assert distance_m(Point(138, 34), Point(138, 34)) == 0


def test_boxes_come_apart_at_the_antimeridian() -> None:
    east, west = boxes_within((179.99, 0, 179.99, 0), 5000)
    assert (east[2], west[0]) == (180, -180)


def test_boxes_go_all_around_the_pole() -> None:
    ((west, _, east, north),) = boxes_within((10, 89.99, 10, 89.99), 5000)
    assert (west, east, north) == (-180, 180, 90)


def located(*coordinates: list[float]) -> ExpandedEntity:
    instances = {
        f"urn:d:{number}": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": position}}
        for number, position in enumerate(coordinates)
    }
    return ExpandedEntity("urn:x:1", ("ex:T",), {LOCATION: instances} if instances else {})


def test_one_location_is_indexed_as_it_is() -> None:
    assert indexed_geometry(located([1, 2])) == {"type": "Point", "coordinates": [1, 2]}


def test_several_locations_are_indexed_together() -> None:
    geometry = indexed_geometry(located([1, 2], [3, 4]))
    assert geometry is not None
    assert geometry["type"] == "GeometryCollection"


def test_no_location_is_not_indexed() -> None:
    assert indexed_geometry(located()) is None

# SPDX-License-Identifier: Apache-2.0
"""Does the geometry of an entity stand in the relation that a geoquery asks for? (clause 4.10)"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape

from broker.entities import AttributeKind, ExpandedEntity
from broker.query.geo import repaired
from broker.query.geodesy import Box, boxes_within, distance_m
from broker.query.tree import GeoQuery, GeoRelation
from schemas.terms import LOCATION

# The test of each relation, asked of the reference, which is prepared: (reference, target) -> bool.
_TESTS: Final[dict[GeoRelation, Callable[[shapely.Geometry, shapely.Geometry], Any]]] = {
    GeoRelation.WITHIN: shapely.contains,
    GeoRelation.CONTAINS: shapely.within,
    GeoRelation.OVERLAPS: shapely.overlaps,
    GeoRelation.INTERSECTS: shapely.intersects,
    GeoRelation.EQUALS: shapely.equals,
    GeoRelation.DISJOINT: shapely.disjoint,
}


def geometries(entity: ExpandedEntity, geoproperty: str) -> Iterator[dict[str, Any]]:
    """The GeoJSON geometries of all instances of a GeoProperty (IRI)."""
    for instance in entity.attributes.get(geoproperty, {}).values():
        if instance.get("type") == AttributeKind.GEO_PROPERTY:
            yield instance["value"]


def indexed_geometry(entity: ExpandedEntity) -> dict[str, Any] | None:
    """What the geometry column of an entity holds: its ``location``, or None.

    When ``location`` has several instances it is a GeometryCollection of them all, so that the index finds each
    (clause 5.7.2.4: it is sufficient if any instance meets the restriction). A location itself is never a
    GeometryCollection (clause 4.7.1).
    """
    found = list(geometries(entity, LOCATION))
    if len(found) > 1:
        return {"type": "GeometryCollection", "geometries": found}
    return found[0] if found else None


def compile_geo(query: GeoQuery) -> Callable[[ExpandedEntity], bool]:
    """A test of an entity: does any instance of the GeoProperty stand in the relation?

    An instance that is no readable geometry matches nothing.
    """
    geoproperty = query.geoproperty
    test = _geometry_test(query)

    def matches(entity: ExpandedEntity) -> bool:
        for geojson in geometries(entity, geoproperty):
            target = _target(geojson)
            if target is not None and test(target):
                return True
        return False

    return matches


def _target(geojson: Any) -> shapely.Geometry | None:
    """The geometry, repaired; None when it is empty or cannot be read."""
    try:
        if geojson["type"] == "Point":
            longitude, latitude = geojson["coordinates"][:2]
            return shapely.Point(longitude, latitude)
        geometry = repaired(shape(geojson))
    except (ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None
    return None if geometry.is_empty else geometry


def _geometry_test(query: GeoQuery) -> Callable[[shapely.Geometry], bool]:
    reference = shape(json.loads(query.geometry))
    shapely.prepare(reference)
    if query.distance_m is not None:
        return _near_test(query.relation, reference, query.distance_m)
    test = _TESTS[query.relation]
    return lambda target: bool(test(reference, target))


def _near_test(
    relation: GeoRelation, reference: shapely.Geometry, limit_m: float
) -> Callable[[shapely.Geometry], bool]:
    """``near``: within the buffer of ``limit_m`` metres around the reference, or disjoint with it."""
    boxes = boxes_within(reference.bounds, limit_m)

    def near(target: shapely.Geometry) -> bool:
        return _touches(target.bounds, boxes) and distance_m(target, reference) <= limit_m

    if relation is GeoRelation.NEAR_MAX:
        return near
    return lambda target: not near(target)


def _touches(bounds: Box, boxes: tuple[Box, ...]) -> bool:
    west, south, east, north = bounds
    return any(west <= box[2] and box[0] <= east and south <= box[3] and box[1] <= north for box in boxes)

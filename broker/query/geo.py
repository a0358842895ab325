# SPDX-License-Identifier: Apache-2.0
"""Geoqueries (clause 4.10): the four parameters, text to :class:`GeoQuery`.

``georel=near;maxDistance==2000&geometry=Point&coordinates=[138.38,34.97]&geoproperty=observationSpace``.
Coordinates are WGS 84, longitude first (RFC 7946); a third ordinate is accepted and dropped.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import shapely
from shapely.geometry import mapping, shape

from broker.errors import BadRequestData, TooComplexQuery
from broker.query.tokens import Limits, pointed, require_storable
from broker.query.tree import Expand, GeoQuery, GeoRelation
from schemas.terms import LOCATION

MAX_COORDINATES: Final = 100_000  # characters of the coordinates parameter
_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# How deep positions lie within the coordinates of each geometry type (RFC 7946, section 3.1).
_DEPTH: Final = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
_LEAST_POSITIONS: Final = {"LineString": 2, "MultiLineString": 2, "Polygon": 4, "MultiPolygon": 4}


def parse_geo(
    georel: str,
    geometry: str,
    coordinates: str | list[Any],
    geoproperty: str | None = None,
    *,
    expand: Expand,
    limits: Limits | None = None,
) -> GeoQuery:
    """Read a geoquery; ``coordinates`` may be JSON text or JSON already read; ``geoproperty`` is a name, not an IRI.

    A reference polygon whose edges cross itself is repaired, as targets are. Raises ``BadRequestData`` for a
    malformed query, ``TooComplexQuery`` for coordinates beyond ``MAX_COORDINATES`` or ``limits.length`` of georel.
    """
    limits = limits or Limits()
    if len(georel) > limits.length:
        raise TooComplexQuery(f"georel is longer than {limits.length} characters")
    relation, distance_m = _georel(georel)
    reference = parse_reference(geometry, coordinates)
    target = LOCATION if geoproperty is None else expand(geoproperty)
    require_storable(target, "geoproperty")
    return GeoQuery(relation, reference, target, distance_m)


def _georel(text: str) -> tuple[GeoRelation, float | None]:
    """``georel = nearRel / withinRel / containsRel / overlapsRel / intersectsRel / equalsRel / disjointRel``."""
    name, separator, modifier = text.partition(";")
    if name == "near":
        return _near(text, modifier)
    plain = {relation.value: relation for relation in GeoRelation if ";" not in relation}
    if name not in plain or separator:
        expected = "near, within, contains, overlaps, intersects, equals or disjoint"
        position = len(name) if name in plain else 0
        raise BadRequestData(pointed(f"georel is not valid: {expected} is expected", text, position))
    return plain[name], None


def _near(text: str, modifier: str) -> tuple[GeoRelation, float]:
    """``nearRel = "near" ";" ("maxDistance" / "minDistance") "==" PositiveNumber`` (metres, not 0)."""
    name, equal, number = modifier.partition("==")
    relation = {"maxDistance": GeoRelation.NEAR_MAX, "minDistance": GeoRelation.NEAR_MIN}.get(name)
    if relation is None or not equal:
        problem = "near is followed by ;maxDistance== or ;minDistance== and a number of metres"
        raise BadRequestData(pointed(f"georel is not valid: {problem}", text, len("near")))
    distance_m = float(number) if _NUMBER.fullmatch(number) else 0.0
    if not 0 < distance_m < math.inf:
        problem = "the distance is a number of metres greater than 0"
        raise BadRequestData(pointed(f"georel is not valid: {problem}", text, len(text) - len(number)))
    return relation, distance_m


def parse_reference(geometry: str, coordinates: str | list[Any]) -> str:
    """A reference geometry as canonical GeoJSON text; raises ``BadRequestData`` and ``TooComplexQuery``."""
    if geometry not in _DEPTH:
        raise BadRequestData(f"geometry is {geometry!r}; one of {', '.join(_DEPTH)} is expected")
    if isinstance(coordinates, str):
        coordinates = _read_json(coordinates)
    checked = _checked(coordinates, _DEPTH[geometry], _LEAST_POSITIONS.get(geometry, 1))
    if geometry.endswith("Polygon"):
        for ring in checked if geometry == "Polygon" else [ring for polygon in checked for ring in polygon]:
            if ring[0] != ring[-1]:
                raise BadRequestData("coordinates are not valid: a ring ends where it starts")
    return json.dumps(mapping(repaired(shape({"type": geometry, "coordinates": checked}))))


def _read_json(text: str) -> Any:
    if len(text) > MAX_COORDINATES:
        raise TooComplexQuery(f"coordinates are longer than {MAX_COORDINATES} characters")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRequestData(pointed("coordinates are not valid JSON", text, error.pos)) from error
    except RecursionError as error:
        raise BadRequestData("coordinates are nested too deep") from error


def _checked(value: Any, depth: int, least: int) -> list[Any]:
    """Coordinates whose positions lie ``depth`` lists deep, at least ``least`` of them in the innermost list."""
    if not isinstance(value, list):
        raise BadRequestData("coordinates are not valid: a list is expected")
    if depth == 0:
        return _position(value)
    if len(value) < (least if depth == 1 else 1):
        raise BadRequestData(f"coordinates are not valid: {least} or more positions are expected")
    return [_checked(item, depth - 1, least) for item in value]


def _position(value: list[Any]) -> list[Any]:
    """Longitude and latitude in degrees; what follows them is dropped."""
    if len(value) < 2 or any(isinstance(item, bool) or not isinstance(item, int | float) for item in value):
        raise BadRequestData("coordinates are not valid: a position is [longitude, latitude]")
    longitude, latitude = value[:2]
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise BadRequestData(
            f"coordinates are not valid: [{longitude}, {latitude}] is outside longitude -180..180, latitude -90..90"
        )
    return [longitude, latitude]


def repaired(geometry: shapely.Geometry) -> shapely.Geometry:
    """The geometry in two dimensions, and valid: crossing edges are resolved, collapsed parts dropped."""
    flat = shapely.force_2d(geometry)
    if shapely.is_valid(flat):
        return flat
    return shapely.make_valid(flat, method="structure", keep_collapsed=False)

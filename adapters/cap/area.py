# SPDX-License-Identifier: Apache-2.0
"""Where a CAP message is about: GeoJSON (longitude, latitude) as CAP polygons and circles (latitude, longitude).

A gauge has a position and no area of danger, so a Point becomes a circle round it. A Polygon keeps its outer ring: CAP
has no holes. Everything else becomes the circle round all of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

_EARTH_KM: Final = 6371.0088
_LEAST_KM: Final = 0.001


def shapes(location: Mapping[str, Any] | None, radius_km: float) -> list[tuple[str, str]]:
    """``(element, text)`` for each shape of a GeoJSON geometry; nothing when there is no geometry.

    ``radius_km`` is how far a circle reaches beyond what it is drawn round.
    """
    kind = (location or {}).get("type")
    if location is None or kind is None:
        return []
    if kind == "Polygon":
        return [("polygon", _ring(location["coordinates"][0]))]
    if kind == "MultiPolygon":
        return [("polygon", _ring(polygon[0])) for polygon in location["coordinates"]]
    if kind == "GeometryCollection":
        return [shape for geometry in location["geometries"] for shape in shapes(geometry, radius_km)]
    return [("circle", _circle(list(_positions(location["coordinates"])), radius_km))]


def _ring(ring: list[list[float]]) -> str:
    return " ".join(_pair(position[1], position[0]) for position in ring)


def _circle(positions: list[tuple[float, float]], radius_km: float) -> str:
    """The circle round ``(longitude, latitude)`` positions, about the middle of the box that holds them."""
    longitudes, latitudes = zip(*positions, strict=True)
    middle = ((min(longitudes) + max(longitudes)) / 2, (min(latitudes) + max(latitudes)) / 2)
    farthest_km = max(_distance_km(middle, position) for position in positions)
    return f"{_pair(middle[1], middle[0])} {_number(max(farthest_km + radius_km, _LEAST_KM), 3)}"


def _positions(coordinates: list[Any]) -> Iterator[tuple[float, float]]:
    if isinstance(coordinates[0], list):
        for part in coordinates:
            yield from _positions(part)
    else:
        yield coordinates[0], coordinates[1]


def _distance_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Along the great circle (haversine)."""
    (lon1, lat1), (lon2, lat2) = (tuple(map(math.radians, position)) for position in (one, other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(math.sqrt(min(1.0, half)))


def _pair(latitude: float, longitude: float) -> str:
    return f"{_number(latitude)},{_number(longitude)}"


def _number(value: float, decimals: int = 6) -> str:
    """Never in exponents, and at most six decimals (a tenth of a metre)."""
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text

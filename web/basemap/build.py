# SPDX-License-Identifier: Apache-2.0
"""Makes the bundled base map from the TopoJSON files of the npm package ``world-atlas`` (Natural Earth, public domain).

Run once by a developer when the outlines change; see README.md beside this file. Standard library only.

The map has to be small (it is part of every first visit) and still show a coast an officer recognises, so the outlines
are simplified by Visvalingam's effective area with a threshold that depends on the place: fine inside ``DETAIL_BOXES``
(Japan first), coarse elsewhere. Longitude and latitude are degrees, WGS84.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Point = tuple[float, float]
Line = list[Point]

# West, south, east, north: where the coast keeps its detail. Japan, and the surroundings of the demonstration gauges.
DETAIL_BOXES = (
    (122.5, 23.5, 149.0, 46.2),
    (-11.0, 49.5, 2.5, 61.0),
    (-78.5, 36.5, -73.5, 41.5),
)
FINE_AREA = 3e-5  # square degrees a vertex must matter, about 0.3 km2 in Japan
COARSE_AREA = 1e-2  # about 120 km2 at the equator
FINE_ISLAND = 1.5e-4  # about 1.5 km2
COARSE_ISLAND = 3e-2
BORDER_AREA = 1.5e-2


def is_detailed(point: Point) -> bool:
    """Whether the point lies in one of the boxes that keep their detail."""
    lon, lat = point
    return any(west <= lon <= east and south <= lat <= north for west, south, east, north in DETAIL_BOXES)


def decode_arcs(topology: dict[str, Any]) -> list[Line]:
    """Turns the delta-encoded, quantised arcs of a TopoJSON topology into degrees."""
    (scale_x, scale_y), (move_x, move_y) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs: list[Line] = []
    for arc in topology["arcs"]:
        x = y = 0
        line: Line = []
        for step_x, step_y in arc:
            x, y = x + step_x, y + step_y
            line.append((x * scale_x + move_x, y * scale_y + move_y))
        arcs.append(line)
    return arcs


def ring_of(indices: Iterable[int], arcs: list[Line]) -> Line:
    """Joins arcs to one ring; a negative index ``~i`` is arc ``i`` walked backwards."""
    ring: Line = []
    for index in indices:
        arc = arcs[index] if index >= 0 else arcs[~index][::-1]
        ring.extend(arc[1:] if ring else arc)
    return ring


def signed_area(ring: Line) -> float:
    """Shoelace area in square degrees."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in itertools.pairwise(ring)) / 2


def triangle_area(a: Point, b: Point, c: Point) -> float:
    """Area of a triangle in square degrees, longitude shrunk to the latitude so that the north is not favoured."""
    shrink = math.cos(math.radians(b[1]))
    return abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])) * shrink / 2


def simplify(line: Line, fine: float, coarse: float) -> Line:
    """Visvalingam-Whyatt: drops the vertex with the smallest triangle until each left one matters where it lies."""
    size = len(line)
    before, after = list(range(-1, size - 1)), list(range(1, size + 1))
    area = [math.inf] * size
    heap: list[tuple[float, int]] = []

    def weigh(i: int) -> None:
        limit = fine if is_detailed(line[i]) else coarse
        area[i] = triangle_area(line[before[i]], line[i], line[after[i]]) / limit
        heapq.heappush(heap, (area[i], i))

    for i in range(1, size - 1):
        weigh(i)
    kept = [True] * size
    while heap and heap[0][0] < 1:
        weight, i = heapq.heappop(heap)
        if not kept[i] or weight != area[i]:
            continue
        kept[i] = False
        after[before[i]], before[after[i]] = after[i], before[i]
        for neighbour in (before[i], after[i]):
            if 0 < neighbour < size - 1:
                weigh(neighbour)
    return [point for i, point in enumerate(line) if kept[i]]


def rounded(line: Line) -> list[list[float]]:
    """Coordinates as short as their detail allows: 3 decimals (100 m) in the boxes, 2 (1 km) elsewhere."""
    out: list[list[float]] = []
    for point in line:
        digits = 3 if is_detailed(point) else 2
        pair = [round(point[0], digits), round(point[1], digits)]
        if not out or out[-1] != pair:
            out.append(pair)
    return out


def land_polygons(topology: dict[str, Any]) -> Iterator[list[list[list[float]]]]:
    """Polygons of the land, outer ring first; islands and lakes too small to be seen are left out."""
    arcs = decode_arcs(topology)
    for geometry in topology["objects"]["land"]["geometries"]:
        for polygon in geometry["arcs"]:
            rings = []
            for indices in polygon:
                ring = ring_of(indices, arcs)
                least = FINE_ISLAND if is_detailed(ring[0]) else COARSE_ISLAND
                short = rounded(simplify(ring, FINE_AREA, COARSE_AREA)) if abs(signed_area(ring)) >= least else []
                if len(short) >= 4:
                    rings.append(short)
                elif not rings:
                    break
            if rings:
                yield rings


def border_lines(topology: dict[str, Any]) -> Iterator[list[list[float]]]:
    """Borders on land: the arcs that two countries share."""
    arcs = decode_arcs(topology)
    uses = [0] * len(arcs)
    for country in topology["objects"]["countries"]["geometries"]:
        if not country.get("arcs"):
            continue
        polygons = [country["arcs"]] if country["type"] == "Polygon" else country["arcs"]
        for index in {i if i >= 0 else ~i for polygon in polygons for ring in polygon for i in ring}:
            uses[index] += 1
    for arc, count in zip(arcs, uses, strict=True):
        if count > 1:
            line = rounded(simplify(arc, FINE_AREA, BORDER_AREA))
            if len(line) >= 2:
                yield line


def write(path: Path, kind: str, coordinates: list[Any]) -> None:
    """Writes one Feature with one geometry, without blanks, and says how large it became."""
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": kind, "coordinates": coordinates}}
    path.write_text(json.dumps(feature, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(coordinates)} parts, {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Reads ``land-10m.json`` and ``countries-50m.json`` and writes ``land.geojson`` and ``borders.geojson``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("world_atlas", type=Path, help="folder of the unpacked world-atlas package")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    land = json.loads((options.world_atlas / "land-10m.json").read_text(encoding="utf-8"))
    countries = json.loads((options.world_atlas / "countries-50m.json").read_text(encoding="utf-8"))
    write(options.out / "land.geojson", "MultiPolygon", list(land_polygons(land)))
    write(options.out / "borders.geojson", "MultiLineString", list(border_lines(countries)))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""How good the hub's own forecast is on the floods that come with the project: ``python -m bench.baseline_forecast``.

Errors by lead time beside persistence, over times within three hours of water at or above a level (the lowest stage
where there is one, else a quarter of the way from the median to the highest). Prints the table of docs/forecasts.md.
"""

from __future__ import annotations

import gzip
from bisect import bisect_left
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from api.replay.hydrographs import read_series
from broker.forecasts.baseline import LEADS, MEMORY, Points, extrapolation
from broker.forecasts.verification import Errors

_ROOT: Final = Path(__file__).parents[1]
_NEAR_S: Final = timedelta(hours=3).total_seconds()
_RECORDS: Final[tuple[tuple[str, str, float | None], ...]] = (
    ("Dead Run 2018-06 (5 min)", "tests/data/hydrographs/dead_run_2018-06_5min.csv.gz", 0.6),
    ("Dead Run 2019-05 (5 min)", "api/demo/hydrographs/dead_run.csv", 0.6),
    ("Plumtree Run 2017 (15 min)", "tests/data/hydrographs/plumtree_run_2017_15min.csv.gz", None),
    ("Todmorden 2025 (15 min)", "api/demo/hydrographs/todmorden_callis_bridge.csv", None),
    ("Hebden Bridge 2025 (15 min)", "api/demo/hydrographs/hebden_bridge.csv", None),
    ("Mytholmroyd 2025 (15 min)", "api/demo/hydrographs/mytholmroyd.csv", None),
)


def _points(path: Path) -> Points:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [(sample.time.timestamp(), sample.value) for sample in read_series(text.splitlines())]


def _level(points: Points) -> float:
    ordered = sorted(value for _, value in points)
    median = ordered[len(ordered) // 2]
    return median + (ordered[-1] - median) / 4


def errors(points: Points, level: float) -> list[tuple[timedelta, Errors, Errors]]:
    """By lead time: errors of the forecast and of persistence."""
    known = dict(points)
    high = [at for at, value in points if value >= level]
    found = [(lead, Errors(), Errors()) for lead in LEADS]
    first = 0
    for number, (at, value) in enumerate(points):
        place = bisect_left(high, at - _NEAR_S)
        if place == len(high) or high[place] > at + _NEAR_S:
            continue
        while points[first][0] < at - MEMORY.total_seconds():
            first += 1
        said = extrapolation(points[first : number + 1])
        for (lead, own, stays), forecast in zip(found, said or (), strict=False):
            came = known.get(at + lead.total_seconds())
            if came is not None:
                own.add(forecast - came)
                stays.add(value - came)
    return found


def _rows() -> Iterator[str]:
    leads = [f"{lead.total_seconds() / 60:.0f} min" for lead in LEADS]
    yield f"| record | n | {' | '.join(leads)} |"
    yield f"|---|---|{'---|' * len(leads)}"
    for name, path, level in _RECORDS:
        points = _points(_ROOT / path)
        found = errors(points, _level(points) if level is None else level)
        yield f"| {name} | {max(own.count for _, own, _ in found)} | {' | '.join(_cell(*one[1:]) for one in found)} |"


def _cell(own: Errors, stays: Errors) -> str:
    """Mean absolute error and root of the mean square, in centimetres: the forecast / persistence."""
    if not own.count:
        return "–"
    one, other = own.document(), stays.document()
    return f"{one['mae'] * 100:.1f}/{other['mae'] * 100:.1f} ({one['rmse'] * 100:.1f}/{other['rmse'] * 100:.1f})"


if __name__ == "__main__":
    print("\n".join(_rows()))

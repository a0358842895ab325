# SPDX-License-Identifier: Apache-2.0
"""Recorded series and how their times become times of today."""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from typing import Any, Final

import orjson

from broker.times import parse_time

_COLUMNS: Final = ("time", "value")


@dataclass(frozen=True, slots=True)
class Sample:
    """One recorded value at its recorded time (aware UTC)."""

    time: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Station:
    """A simulated device: its registration, its rule if it has one, and its recorded series.

    ``start`` is where in the record the live part begins, ``step`` the recorded interval.
    """

    device: dict[str, Any]
    field: str
    samples: Sequence[Sample]
    start: datetime
    step: timedelta
    rule: dict[str, Any] | None = None

    @property
    def device_id(self) -> str:
        """The id the device is registered under."""
        return str(self.device["id"])


def read_series(lines: Iterable[str]) -> list[Sample]:
    """Samples from CSV with the columns ``time`` and ``value``; rows without a value are gaps and left out."""
    reader = csv.DictReader(lines)
    if reader.fieldnames is None or not set(_COLUMNS) <= set(reader.fieldnames):
        raise ValueError(f"the columns {' and '.join(_COLUMNS)} are needed; there are {reader.fieldnames}")
    return [Sample(parse_time(row["time"]), float(row["value"])) for row in reader if row["value"]]


def demo_stations() -> list[Station]:
    """The stations of the demonstration with their real series."""
    root = resources.files("api") / "demo"
    document = orjson.loads(root.joinpath("stations.json").read_bytes())
    return [
        Station(
            device=entry["device"],
            field=entry["field"],
            samples=read_series(root.joinpath("hydrographs", entry["file"]).read_text().splitlines()),
            start=parse_time(entry["start"]),
            step=timedelta(seconds=entry["stepSeconds"]),
            rule=entry.get("rule"),
        )
        for entry in document["stations"]
    ]


@dataclass(frozen=True, slots=True)
class Planned:
    """A sample to publish ``after`` so long from the start of the replay."""

    after: timedelta
    station: int
    sample: Sample


def plan(stations: Sequence[Station], speed: float) -> Iterator[Planned]:
    """The live parts of all series in the order in which they are to be published, ``speed`` times as fast."""

    def one(number: int, station: Station) -> Iterator[tuple[timedelta, int, Sample]]:
        for sample in station.samples:
            if sample.time >= station.start:
                yield (sample.time - station.start) / speed, number, sample

    series = [one(number, station) for number, station in enumerate(stations)]
    for after, number, sample in heapq.merge(*series, key=lambda entry: entry[:2]):
        yield Planned(after, number, sample)


def backfill(station: Station, span: timedelta, now: datetime) -> list[Sample]:
    """What was recorded in the ``span`` before the live part, moved so that the live part would begin ``now``."""
    shift = now - station.start
    return [
        Sample(sample.time + shift, sample.value)
        for sample in station.samples
        if station.start - span <= sample.time < station.start
    ]

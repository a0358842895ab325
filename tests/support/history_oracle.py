# SPDX-License-Identifier: Apache-2.0
"""The rules of history in plain Python: what is believed of one attribute of one entity, and was at any time.

No cleverness: a list of rows, each with the seconds in which it was recorded and superseded, and questions that look at
all of them. Times of measurement are numbers of steps; ``None`` is a value without observedAt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

API = "api"


@dataclass(slots=True, eq=False)
class Row:
    """One instance ever told of. ``place`` is its time; it was not observed when nobody said so."""

    life: int
    place: datetime
    observed: bool
    source: str
    value: float | None  # None: a tombstone
    recorded: datetime
    superseded: datetime | None = None

    def is_believed(self, known: datetime | None) -> bool:
        """Whether it was believed at ``known`` (None: is believed now)."""
        if known is None:
            return self.superseded is None
        return self.recorded <= known and (self.superseded is None or self.superseded > known)


@dataclass(slots=True)
class Current:
    """The value in the current state."""

    place: datetime | None
    value: float


@dataclass(slots=True)
class Oracle:
    """The story of one attribute. Each method is one write at the time ``now``."""

    rows: list[Row] = field(default_factory=list)
    lives: int = 0
    alive: bool = False
    current: Current | None = None

    def read(self, source: str, readings: Iterable[tuple[datetime, float]], now: datetime) -> None:
        """Readings of a device, in one batch."""
        if not self.alive:
            self._begin()
        for place, value in readings:
            current = self.current
            if current is not None and current.place == place and current.value == value:
                continue
            there = [row for row in self._at(place) if row.source == source]
            if any(row.value == value for row in there):
                continue
            for row in there:
                row.superseded = row.superseded or now
            self.rows.append(Row(self.lives, place, True, source, value, now))
            if current is None or current.place is None or place >= current.place:
                self.current = Current(place, value)

    def write(self, place: datetime | None, value: float, now: datetime) -> None:
        """A write of the entity API."""
        if not self.alive:
            self._begin()
        self._tell(self.lives, place, value, now)
        self.current = Current(place, value)

    def tell(self, instances: Iterable[tuple[datetime, float | None]], now: datetime) -> None:
        """Instances by the temporal API, for the newest life; None tells that the attribute ended."""
        if not self.lives:
            self.lives = 1
        for place, value in instances:
            self._tell(self.lives, place, value, now)

    def remove_attribute(self, now: datetime) -> None:
        """The attribute is deleted from the current state, if it is there."""
        if self.current is not None:
            self.rows.append(Row(self.lives, now, False, API, None, now))
            self.current = None

    def remove_entity(self, now: datetime) -> None:
        """The entity is deleted from the current state, if it is there."""
        self.remove_attribute(now)
        self.alive = False

    def remove_instance(self, row: Row, now: datetime) -> None:
        """A believed instance is deleted by the temporal API."""
        row.superseded = now

    def replace_instance(self, row: Row, place: datetime, value: float, now: datetime) -> None:
        """A believed instance is replaced by the temporal API."""
        row.superseded = now
        for other in self._at(place, row.life):
            other.superseded = other.superseded or now
        self.rows.append(Row(row.life, place, True, row.source, value, now))

    def believed(
        self, start: datetime | None, end: datetime | None, known: datetime | None = None, last: int | None = None
    ) -> list[Row]:
        """The instances observed from ``start`` until before ``end`` (all, observed or not, when there is no start)."""
        found = [
            row
            for row in self.rows
            if row.is_believed(known)
            and (start is None or (row.observed and row.place >= start))
            and (end is None or row.place < end)
        ]
        found.sort(key=lambda row: (row.place, row.recorded))
        return found if last is None else found[-last:]

    def _begin(self) -> None:
        self.lives += 1
        self.alive = True
        self.current = None

    def _at(self, place: datetime, life: int | None = None) -> list[Row]:
        life = self.lives if life is None else life
        return [row for row in self.rows if row.life == life and row.observed and row.place == place]

    def _tell(self, life: int, place: datetime | None, value: float | None, now: datetime) -> None:
        there = [] if place is None else [row for row in self._at(place, life) if row.superseded is None]
        same = next((row for row in there if row.value == value), None)
        for row in there:
            if row is not same:
                row.superseded = now
        if same is None:
            self.rows.append(Row(life, place or now, place is not None, API, value, now))


METHODS: dict[str, Callable[[list[float]], Any]] = {
    "totalCount": len,
    "distinctCount": lambda values: len(set(values)),
    "sum": math.fsum,
    "avg": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
    "sumsq": lambda values: math.fsum(value * value for value in values),
    "stddev": lambda values: math.sqrt(
        math.fsum((value - math.fsum(values) / len(values)) ** 2 for value in values) / len(values)
    ),
}


def add_months(start: datetime, months: int) -> datetime:
    """``start`` some months later; the last day of a shorter month stands in for one that it does not have."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    for day in range(start.day, 27, -1) if start.day > 28 else [start.day]:
        try:
            return start.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return start.replace(year=year, month=month + 1, day=28)


def aggregated(
    rows: Iterable[Row], methods: Iterable[str], start: datetime, border: Callable[[int], datetime]
) -> list[tuple[datetime, datetime, list[Any]]]:
    """(begins, ends, results) of the periods that have instances; ``border(n)`` is where the period n begins."""
    periods: dict[int, list[float]] = {}
    for row in rows:
        if row.value is not None:
            number = 0
            while border(number + 1) <= row.place:
                number += 1
            periods.setdefault(number, []).append(row.value)
    return [
        (border(number), border(number + 1), [METHODS[method](values) for method in methods])
        for number, values in sorted(periods.items())
    ]

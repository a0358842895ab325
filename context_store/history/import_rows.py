# SPDX-License-Identifier: Apache-2.0
"""Rows of a part of a history file as an import needs them: as columns of numbers, and the newest of each attribute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from broker.entities import VALUE_MEMBER, Instance
from broker.history.imports import Numbers, Other, Part, Series
from broker.times import to_text
from context_store.history.instance_copy import NumberColumns
from context_store.history.writing import QUALITY_NUMBER

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Placed = tuple[int, int, int, int]  # numbers of entity, attribute, dataset, source
NOWHERE: Final[Placed] = (0, 0, 0, 0)  # of an entity that is not there
AttributeSlot = tuple[str, str, str]  # entity id, attribute, dataset


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest row of an attribute in a part."""

    at: datetime
    instance: Instance
    observed: bool


def is_newer(row: Newest, present: Instance | None) -> bool:
    """Whether a row takes the place of the present instance."""
    if present is None:
        return True
    observed = present.get("observedAt")
    if not row.observed:
        return False
    if observed is None:
        return True
    at = datetime.fromisoformat(observed)
    return row.at > at or (row.at == at and _said(row.instance) != _said(present))


def _said(instance: Instance) -> Instance:
    return {name: value for name, value in instance.items() if name not in ("createdAt", "modifiedAt")}


def newest_numbers(series: Sequence[Series], numbers: Numbers) -> dict[AttributeSlot, Newest]:
    """The newest row of each attribute; of equal times the last of the file."""
    newest: dict[AttributeSlot, Newest] = {}
    if not len(numbers):
        return newest
    numbers_of, times = np.asarray(numbers.series), np.asarray(numbers.times_us)
    order = np.lexsort((times, numbers_of))
    ends = np.flatnonzero(np.append(numbers_of[order][1:] != numbers_of[order][:-1], True))
    for n in sorted(order[ends].tolist()):
        if numbers.believed is not None and numbers.believed[n].superseded_at is not None:
            continue
        of, at = series[numbers_of[n]], moment(times[n])
        value = float(numbers.values[n])
        instance: Instance = {
            "type": of.kind,
            "value": int(value) if value.is_integer() else value,
            "observedAt": to_text(at),
        }
        if of.unit_code is not None:
            instance["unitCode"] = of.unit_code
        _take(newest, of, Newest(at, instance, True))
    return newest


def keep_newest(newest: dict[AttributeSlot, Newest], series: Series, other: Other) -> None:
    believed = other.believed is None or other.believed.superseded_at is None
    if other.instance is not None and believed and VALUE_MEMBER[series.kind] in other.instance:
        _take(newest, series, Newest(other.at, other.instance, other.observed))


def _take(newest: dict[AttributeSlot, Newest], series: Series, row: Newest) -> None:
    slot = (series.entity_id, series.attribute, series.dataset)
    if slot not in newest or (newest[slot].observed, newest[slot].at) <= (row.observed, row.at):
        newest[slot] = row


def number_columns(series: Sequence[Series], places: Sequence[Placed], numbers: Numbers) -> NumberColumns:
    """The rows with numbers for names."""
    of = np.asarray(numbers.series)
    table = np.array(places, dtype=np.int64)
    kinds = [(s.unit_code, QUALITY_NUMBER[s.quality] if s.quality else None) for s in series]
    shapes = list(dict.fromkeys(kinds))
    recorded = superseded = None
    if numbers.believed is not None:
        recorded = np.array([_us(told.recorded_at) for told in numbers.believed])
        superseded = np.array([_us(told.superseded_at) if told.superseded_at else 0 for told in numbers.believed])
    return NumberColumns(
        entity=table[of, 0],
        attribute=table[of, 1],
        dataset=table[of, 2],
        source=table[of, 3],
        times_us=np.asarray(numbers.times_us),
        values=np.asarray(numbers.values, dtype=np.float64),
        shape=np.array([shapes.index(kind) for kind in kinds])[of],
        shapes=shapes,
        place=np.arange(len(of)),
        recorded_us=recorded,
        superseded_us=superseded,
    )


def months_of(part: Part) -> set[datetime]:
    """A moment in each month that rows are of."""
    numbers = part.numbers
    found_in = {other.at for other in part.others}
    if len(numbers):
        found = np.unique(np.asarray(numbers.times_us).astype("datetime64[us]").astype("datetime64[M]"))
        found_in |= {month.astype("datetime64[us]").item().replace(tzinfo=UTC) for month in found}
    return found_in


def moment(us: Any) -> datetime:
    return _EPOCH + timedelta(microseconds=int(us))


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)

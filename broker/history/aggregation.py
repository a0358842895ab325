# SPDX-License-Identifier: Apache-2.0
"""Aggregated temporal representations (clause 4.5.19): methods, periods, and how the results are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from broker.contexts.jsonld import TermMap
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData, InvalidRequest
from broker.representations import Representation, represent
from schemas.terms import NO_DATASET

_DURATION: Final = re.compile(
    r"P(?=\d|T\d)(?:(?P<weeks>\d{1,6})W|(?:(?P<years>\d{1,4})Y)?(?:(?P<months>\d{1,6})M)?(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,8})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,10})(?:[.,](?P<fraction>\d{1,6}))?S)?)?)",
    re.ASCII,
)
_LONGEST_DAYS: Final = 366_000  # about 1,000 years: the end of a period has to be a date


class AggregationMethod(StrEnum):
    """The methods of clause 4.5.19.1. ``stddev`` is that of the whole population: one value deviates by 0."""

    AVG = "avg"
    DISTINCT_COUNT = "distinctCount"
    MAX = "max"
    MIN = "min"
    STDDEV = "stddev"
    SUM = "sum"
    SUMSQ = "sumsq"
    TOTAL_COUNT = "totalCount"


_METHODS: Final = frozenset(str(method) for method in AggregationMethod)


@dataclass(frozen=True, slots=True)
class Period:
    """A duration in the calendar of UTC: months are as long as they are, days have 24 hours."""

    months: int = 0
    days: int = 0
    microseconds: int = 0

    @property
    def is_whole_range(self) -> bool:
        """A duration of zero spans the whole range of the query."""
        return not (self.months or self.days or self.microseconds)

    @property
    def seconds(self) -> float:
        """Its mean length."""
        return self.months * 30.436875 * 86_400 + self.days * 86_400 + self.microseconds / 1e6


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What to compute, of each period."""

    methods: tuple[AggregationMethod, ...]
    period: Period = Period()


class AggregatedPeriod(NamedTuple):
    """One attribute (of one kind and dataset) in one period; a value is None where its kind has no such method."""

    attribute: str
    dataset: str
    kind: str
    start: str
    end: str
    """Times as they are written in JSON: in UTC, with Z."""
    values: tuple[Any, ...]
    """In the order of the methods."""


def parse_period(text: str) -> Period:
    """An ISO 8601 duration in the format of clause 4.5.19.1; raises :class:`BadRequestData`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise BadRequestData(f"aggrPeriodDuration is {text!r}; an ISO 8601 duration such as PT1H or P1M is expected")
    number = {name: int(digits or 0) for name, digits in found.groupdict().items() if name != "fraction"}
    seconds = number["hours"] * 3600 + number["minutes"] * 60 + number["seconds"]
    period = Period(
        months=number["years"] * 12 + number["months"],
        days=number["weeks"] * 7 + number["days"],
        microseconds=seconds * 1_000_000 + int((found["fraction"] or "").ljust(6, "0")),
    )
    if period.seconds > _LONGEST_DAYS * 86_400:
        raise BadRequestData(f"aggrPeriodDuration is {text!r}, which is longer than 1,000 years")
    return period


def aggregation_of(methods: Sequence[str], duration: str | None) -> Aggregation:
    """What a request asks for; without a duration, the period is the whole range. Raises :class:`BadRequestData`."""
    if not methods:
        raise BadRequestData("aggregatedValues needs aggrMethods")
    for name in methods:
        if name not in _METHODS:
            raise BadRequestData(f"aggrMethods has {name!r}; one of {', '.join(AggregationMethod)} is expected")
    wanted = tuple(dict.fromkeys(AggregationMethod(name) for name in methods))
    return Aggregation(wanted, Period() if duration is None else parse_period(duration))


def represent_aggregated(
    entity: ExpandedEntity,
    periods: Iterable[AggregatedPeriod],
    aggregation: Aggregation,
    terms: TermMap,
    options: Representation,
) -> dict[str, Any]:
    """The aggregated temporal representation; of ``entity`` only what is no attribute is taken.

    Methods that do not apply to an attribute are left out. Raises :class:`InvalidRequest` when the request names that
    attribute (clauses 5.7.3.4 and 5.7.4.4).
    """
    series: dict[str, dict[tuple[str, str], list[AggregatedPeriod]]] = {}
    for period in periods:
        series.setdefault(period.attribute, {}).setdefault((period.kind, period.dataset), []).append(period)
    named = options.attrs or options.pick or frozenset()
    result = represent(ExpandedEntity(entity.id, entity.types, {}), terms, options)
    for attribute, groups in series.items():
        name = terms.compact_iri(attribute)
        if not options.writes(attribute) or (options.attrs is not None and attribute not in options.attrs):
            continue
        written = [
            _series(kind, dataset, group, aggregation, name if attribute in named else None)
            for (kind, dataset), group in groups.items()
        ]
        written = [item for item in written if any(method in item for method in aggregation.methods)]
        if written:
            result[name] = written[0] if len(written) == 1 else written
    return result


def _series(
    kind: str, dataset: str, periods: Sequence[AggregatedPeriod], aggregation: Aggregation, named: str | None
) -> dict[str, Any]:
    """One attribute of one kind and dataset; ``named`` is its name when the request names it."""
    result: dict[str, Any] = {"type": kind}
    for position, method in enumerate(aggregation.methods):
        values = [
            (found[position], start, end) for _, _, _, start, end, found in periods if found[position] is not None
        ]
        if values:
            result[method.value] = values
        elif named is not None:
            raise InvalidRequest(f"The values of {named} cannot be aggregated by {method}")
    if dataset != NO_DATASET:
        result["datasetId"] = dataset
    return result

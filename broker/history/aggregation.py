# SPDX-License-Identifier: Apache-2.0
"""Aggregated temporal representations (clause 4.5.19): methods, periods, and how the results are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import product
from typing import Any, Final

import orjson

from broker.contexts.jsonld import TermMap
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData, InvalidRequest
from broker.representations import Representation, represent
from broker.times import time_zone
from schemas.terms import NO_DATASET

_DURATION: Final = re.compile(
    r"P(?=\d|T\d)(?:(?P<weeks>\d{1,6})W|(?:(?P<years>\d{1,4})Y)?(?:(?P<months>\d{1,6})M)?(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,8})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,10})(?:[.,](?P<fraction>\d{1,6}))?S)?)?)",
    re.ASCII,
)
_LONGEST_DAYS: Final = 366_000  # about 1,000 years: the end of a period has to be a date
_ZONE: Final = re.compile(r"[A-Za-z]+(?:/[A-Za-z0-9_+-]+)*", re.ASCII)
UTC_ZONE: Final = "UTC"


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
    """A duration in the calendar of a time zone (IANA): months are as long as they are there, and so are days."""

    months: int = 0
    days: int = 0
    microseconds: int = 0
    zone: str = UTC_ZONE
    """UTC where it is all the same: of days and less, in zones without summer time."""

    @property
    def is_whole_range(self) -> bool:
        """A duration of zero spans the whole range of the query."""
        return not (self.months or self.days or self.microseconds)

    @property
    def is_of_calendar(self) -> bool:
        """Whether periods differ in length."""
        return self.months > 0 or self.zone != UTC_ZONE

    @property
    def keeps_time_of_day(self) -> bool:
        """Whether all begin at the same time of day (UTC) when it is of days or months."""
        return has_one_offset(self.zone)

    @property
    def seconds(self) -> float:
        """Its mean length."""
        return self.months * 30.436875 * 86_400 + self.days * 86_400 + self.microseconds / 1e6


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What to compute, of each period."""

    methods: tuple[AggregationMethod, ...]
    period: Period = Period()


@dataclass(frozen=True, slots=True)
class AggregatedSeries:
    """One attribute (of one kind and dataset) in the periods that have something of it, in the order of time.

    It is kept as the JSON texts that answers are made of, separated by line breaks: a tenth of what objects take.
    """

    attribute: str
    dataset: str
    kind: str
    times: bytes
    """Of each period ``"begin","end"``: in UTC, with Z."""
    columns: tuple[bytes, ...]
    """Of each method its results; null where the kind has no such method."""

    @property
    def size(self) -> int:
        """Its bytes, about."""
        return len(self.times) + sum(map(len, self.columns))

    def written(self, position: int) -> bytes:
        """The results of one method with their periods as a JSON array; empty when there are none."""
        results, times = self.columns[position].split(_BREAK), self.times.split(_BREAK)
        told = zip(results, times, strict=True)
        pairs = [b"%b,%b" % pair for pair in told if pair[0] != _NULL]
        return b"[[" + b"],[".join(pairs) + b"]]" if pairs else b""


_BREAK: Final = b"\n"  # JSON has none that is not escaped
_NULL: Final = b"null"
_NUMBERS: Final = frozenset((int, float))


def column_of(results: Sequence[Any]) -> bytes:
    """Results of one method as :class:`AggregatedSeries` has them."""
    if _NUMBERS.issuperset(map(type, results)):
        return orjson.dumps(results)[1:-1].replace(b",", _BREAK)
    return _BREAK.join(map(orjson.dumps, results))


def times_of(starts: Sequence[str], ends: Sequence[str]) -> bytes:
    """Begins and ends of periods as :class:`AggregatedSeries` has them."""
    return "\n".join([f'"{start}","{end}"' for start, end in zip(starts, ends, strict=True)]).encode()


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


@lru_cache(maxsize=256)
def has_one_offset(zone: str) -> bool:
    """Whether the clocks of ``zone`` (IANA) were never changed since 1970."""
    known = time_zone(zone)
    moments = (datetime(year, month, 1, tzinfo=known) for year, month in product(range(1970, 2050), (1, 4, 7, 10)))
    return len({moment.utcoffset() for moment in moments}) == 1


def _in_zone(period: Period, zone: str) -> Period:
    """Raises :class:`BadRequestData` when there is no such zone."""
    try:
        if _ZONE.fullmatch(zone) is None:
            raise ValueError(zone)
        is_same = has_one_offset(zone) and not period.months
    except ValueError as exc:
        raise BadRequestData(f"aggrTimeZone is {zone!r}; a time zone such as Asia/Tokyo is expected") from exc
    is_of_days = period.days > 0 or period.months > 0
    return period if is_same or not is_of_days else replace(period, zone=zone)


def aggregation_of(methods: Sequence[str], duration: str | None, zone: str | None = None) -> Aggregation:
    """What a request asks for; without a duration, the period is the whole range. ``zone`` has the calendar of days and
    months (UTC). Raises :class:`BadRequestData`.
    """
    if not methods:
        raise BadRequestData("aggregatedValues needs aggrMethods")
    for name in methods:
        if name not in _METHODS:
            raise BadRequestData(f"aggrMethods has {name!r}; one of {', '.join(AggregationMethod)} is expected")
    wanted = tuple(dict.fromkeys(AggregationMethod(name) for name in methods))
    return Aggregation(wanted, _in_zone(Period() if duration is None else parse_period(duration), zone or UTC_ZONE))


def represent_aggregated(
    entity: ExpandedEntity,
    series: Iterable[AggregatedSeries],
    aggregation: Aggregation,
    terms: TermMap,
    options: Representation,
) -> dict[str, Any]:
    """The aggregated temporal representation; of ``entity`` only what is no attribute is taken.

    Methods that do not apply to an attribute are left out. Raises :class:`InvalidRequest` when the request names that
    attribute (clauses 5.7.3.4 and 5.7.4.4).
    """
    by_attribute: dict[str, list[AggregatedSeries]] = {}
    for item in series:
        by_attribute.setdefault(item.attribute, []).append(item)
    named = options.attrs or options.pick or frozenset()
    result = represent(ExpandedEntity(entity.id, entity.types, {}), terms, options)
    for attribute, several in by_attribute.items():
        name = terms.compact_iri(attribute)
        if not options.writes(attribute) or (options.attrs is not None and attribute not in options.attrs):
            continue
        written = [_series(item, aggregation, name if attribute in named else None) for item in several]
        written = [item for item in written if any(method in item for method in aggregation.methods)]
        if written:
            result[name] = written[0] if len(written) == 1 else written
    return result


def _series(series: AggregatedSeries, aggregation: Aggregation, named: str | None) -> dict[str, Any]:
    """One attribute of one kind and dataset; ``named`` is its name when the request names it."""
    result: dict[str, Any] = {"type": series.kind}
    for position, method in enumerate(aggregation.methods):
        if text := series.written(position):
            result[method.value] = orjson.Fragment(text)
        elif named is not None:
            raise InvalidRequest(f"The values of {named} cannot be aggregated by {method}")
    if series.dataset != NO_DATASET:
        result["datasetId"] = series.dataset
    return result

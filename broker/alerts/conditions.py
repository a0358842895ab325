# SPDX-License-Identifier: Apache-2.0
"""Conditions of a level beside its own threshold: rate of rise, time to a threshold, rain, other sensors, AND, OR, NOT.

A condition is a tree in JSON::

    {"all": [{"level": {"atLeast": 2.0}},
             {"any": [{"forecast": {"atLeast": 3.1, "within": 10800, "model": "tomoe-rri"}},   # the highest of 3 hours
                      {"rise": {"atLeast": 0.6, "over": 1800}},                        # 0.6 m/h over half an hour
                      {"reaches": {"threshold": 3.1, "within": 3600, "over": 1800}},   # in an hour, at this rate
                      {"sum": {"atLeast": 30, "over": 3600, "attribute": IRI, "entity": URI}},
                      {"some": {"count": 2, "of": [...]}},
                      {"not": {...}}]}]}

Truth has three values: what is not known (no reading, or one too old) decides nothing, neither a raise nor a clear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from broker.alerts.documents import (
    array_of,
    boolean_of,
    count_of,
    iri_of,
    matching,
    not_negative,
    number_of,
    object_of,
    only,
    seconds_of,
    span_of,
    unit_of,
    wrong,
)
from broker.alerts.forecasts import FORECAST, MODEL, forecast_dataset, highest_ahead, reached_at
from broker.alerts.windows import (
    Points,
    amount,
    counted,
    remember_amount,
    remember_count,
    remember_level,
    slope_per_hour,
)
from broker.times import to_text
from schemas.terms import NO_DATASET

DEFAULT_MAX_AGE: Final = timedelta(hours=1)
LONGEST_WINDOW: Final = timedelta(days=3)
MOST_TERMS: Final = 32
MOST_DEPTH: Final = 8
_DECIMALS: Final = 9
_INSTANT_S: Final = 1e-6  # what is measured now is never too old

Kind = Literal["level", "rise", "reaches", "sum", "forecast"]
Memory = Mapping[str, Points]
"""What is remembered of each term (:attr:`Term.key`)."""

_COMMON: Final = frozenset({"attribute", "datasetId", "entity", "unitCode", "maxAge"})
_MEMBERS: Final[dict[Kind, frozenset[str]]] = {
    "level": _COMMON | {"atLeast", "hysteresis"},
    "rise": _COMMON | {"atLeast", "hysteresis", "over"},
    "reaches": _COMMON | {"threshold", "within", "over"},
    "sum": _COMMON | {"atLeast", "hysteresis", "over", "counter"},
    "forecast": frozenset({"attribute", "entity", "unitCode", "atLeast", "hysteresis", "within", "model"}),
}


class Series(NamedTuple):
    """Which values: an attribute (IRI) and dataset of ``entity``, or of the one the rule is evaluated for (None)."""

    attribute: str
    dataset: str = NO_DATASET
    entity: str | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison. ``limit``: a level, a rise an hour, a sum; for ``reaches`` the level that would be reached.

    True from ``limit`` on, false below ``limit - hysteresis``. ``over``: the window that is looked at. ``max_age``: an
    older newest value says nothing.
    """

    kind: Kind
    series: Series
    limit: float
    over: timedelta = timedelta()
    within: timedelta = timedelta()
    hysteresis: float = 0.0
    max_age: timedelta = DEFAULT_MAX_AGE
    counter: bool = False
    unit_code: str | None = None
    about: str = ""
    """Of a forecast: the attribute (IRI) that is forecast; ``series`` is then what the entity says of it."""
    model: str = ""

    @property
    def key(self) -> str:
        """What it remembers is kept under this; terms that remember the same share it."""
        if self.kind == "forecast":
            return f"forecast||{self.unit_code or ''}|{self.series.dataset}|{self.series.entity or ''}"
        how = "count" if self.counter else "sum" if self.kind == "sum" else "level"
        where = f"{self.series.attribute}|{self.series.dataset}|{self.series.entity or ''}"
        return f"{how}|{self.over.total_seconds():g}|{self.unit_code or ''}|{where}"


@dataclass(frozen=True, slots=True)
class Combined:
    """At least ``count`` of ``parts``; ``all`` and ``any`` are the two ends of it."""

    how: Literal["all", "any", "some"]
    parts: tuple[Condition, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    part: Condition


Condition = Term | Combined | Not


def terms_of(condition: Condition) -> Iterator[Term]:
    """The comparisons in ``condition``, in their order."""
    if isinstance(condition, Term):
        yield condition
    else:
        for part in condition.parts if isinstance(condition, Combined) else (condition.part,):
            yield from terms_of(part)


def remember(term: Term, points: Points, at: float, value: float) -> Points:
    """What ``term`` remembers after ``value`` was measured at ``at``; a late value changes nothing."""
    if points and at <= points[-1][0]:
        return points
    over_s = term.over.total_seconds()
    if over_s == 0:
        return ((at, value),)
    if term.counter:
        return remember_count(points, at, value, over_s)
    return (remember_amount if term.kind == "sum" else remember_level)(points, at, value, over_s)


def measure(term: Term, memory: Memory, at: float) -> float | None:
    """What ``term`` compares at ``at``; None when it is not known. For ``reaches``: seconds until then."""
    points = memory.get(term.key, ())
    if term.kind == "forecast":
        return highest_ahead(points, at, term.within.total_seconds())
    if not points or at - points[-1][0] >= max(term.max_age.total_seconds(), _INSTANT_S):
        return None
    if term.kind == "level":
        return points[-1][1]
    over_s = term.over.total_seconds()
    if term.counter:
        before = [point for point in points if point[0] <= at - over_s][-1:]
        return counted(before + [point for point in points if point[0] > at - over_s])
    if term.kind == "sum":
        return amount([point for point in points if point[0] > at - over_s])
    slope = slope_per_hour([point for point in points if point[0] >= at - over_s], over_s)
    return slope if term.kind == "rise" else _seconds_until(term.limit, points[-1][1], slope)


def truth(condition: Condition, memory: Memory, at: float, *, loose: bool = False) -> bool | None:
    """Whether ``condition`` holds at ``at``; ``loose``: with hysteresis taken off the limits, as it holds on."""
    if isinstance(condition, Term):
        return _compare(condition, measure(condition, memory, at), loose=loose)
    if isinstance(condition, Not):
        inner = truth(condition.part, memory, at, loose=not loose)
        return None if inner is None else not inner
    found = [truth(part, memory, at, loose=loose) for part in condition.parts]
    if found.count(True) >= condition.count:
        return True
    return None if found.count(True) + found.count(None) >= condition.count else False


def measures(condition: Condition, memory: Memory, at: float) -> list[dict[str, Any]]:
    """What was compared with what, for people and programs."""
    return [_shown(term, measure(term, memory, at), memory, at) for term in terms_of(condition)]


def parse_condition(value: object, path: str, own: Series, hysteresis: float) -> Condition:
    """Read a condition; ``own`` is the series of the rule, ``hysteresis`` the one of its levels.

    Raises :class:`~broker.errors.BadRequestData`.
    """
    condition = _parse(value, path, own, hysteresis, MOST_DEPTH)
    if sum(1 for _ in terms_of(condition)) > MOST_TERMS:
        raise wrong(path, f"more than {MOST_TERMS} comparisons")
    return condition


def condition_document(condition: Condition, own: Series) -> dict[str, Any]:
    """Write ``condition`` as :func:`parse_condition` reads it."""
    if isinstance(condition, Term):
        return {condition.kind: _term_document(condition, own)}
    if isinstance(condition, Not):
        return {"not": condition_document(condition.part, own)}
    parts = [condition_document(part, own) for part in condition.parts]
    return {"some": {"count": condition.count, "of": parts}} if condition.how == "some" else {condition.how: parts}


def _compare(term: Term, found: float | None, *, loose: bool) -> bool | None:
    if found is None:
        return None
    if term.kind == "reaches":
        return found <= term.within.total_seconds()
    return found >= round(term.limit - (term.hysteresis if loose else 0), _DECIMALS)


def _seconds_until(limit: float, level: float, slope: float | None) -> float | None:
    if level >= limit:
        return 0.0
    if slope is None:
        return None
    return (limit - level) / slope * 3600 if slope > 0 else float("inf")


def _parse(value: object, path: str, own: Series, hysteresis: float, depth: int) -> Condition:
    node = object_of(value, path)
    if len(node) != 1 or depth == 0:
        expected = "level, rise, reaches, sum, forecast, all, any, some or not"
        raise wrong(path, f"exactly one of {expected} is expected" if depth else "nested too deep")
    name, inside = next(iter(node.items()))
    where = f"{path}.{name}"
    if name in _MEMBERS:
        return _parse_term(name, inside, where, own, hysteresis)
    if name == "not":
        return Not(_parse(inside, where, own, hysteresis, depth - 1))
    if name == "some":
        some = object_of(inside, where)
        only(some, frozenset({"count", "of"}), f"{where}.")
        parts = _parts(some.get("of"), f"{where}.of", own, hysteresis, depth)
        count = count_of(some.get("count"), f"{where}.count")
        if count > len(parts):
            raise wrong(f"{where}.count", f"{count} of {len(parts)}")
        return Combined("some", parts, count)
    if name in ("all", "any"):
        parts = _parts(inside, where, own, hysteresis, depth)
        return Combined("all", parts, len(parts)) if name == "all" else Combined("any", parts, 1)
    raise wrong(where, "unknown condition; known are level, rise, reaches, sum, forecast, all, any, some, not")


def _parts(value: object, path: str, own: Series, hysteresis: float, depth: int) -> tuple[Condition, ...]:
    items = array_of(value, path)
    return tuple(_parse(item, f"{path}[{n}]", own, hysteresis, depth - 1) for n, item in enumerate(items))


def _parse_forecast(term: Mapping[str, Any], path: str, own: Series, hysteresis: float) -> Term:
    model = matching(term.get("model"), f"{path}.model", re.compile(MODEL), "the name of a model")
    plain = _series({name: term[name] for name in ("attribute", "entity") if name in term}, path, own)
    return Term(
        kind="forecast",
        series=Series(FORECAST, forecast_dataset(model, plain.attribute), plain.entity),
        limit=number_of(term.get("atLeast"), f"{path}.atLeast"),
        within=span_of(term.get("within"), f"{path}.within", LONGEST_WINDOW),
        hysteresis=not_negative(term.get("hysteresis", hysteresis), f"{path}.hysteresis"),
        unit_code=None if term.get("unitCode") is None else unit_of(term["unitCode"], f"{path}.unitCode"),
        about=plain.attribute,
        model=model,
    )


def _parse_term(kind: Kind, value: object, path: str, own: Series, hysteresis: float) -> Term:
    term = object_of(value, path)
    only(term, _MEMBERS[kind], f"{path}.")
    if kind == "forecast":
        return _parse_forecast(term, path, own, hysteresis)
    default = hysteresis if kind == "level" else 0.0
    limit = "threshold" if kind == "reaches" else "atLeast"
    return Term(
        kind=kind,
        series=_series(term, path, own),
        limit=number_of(term.get(limit), f"{path}.{limit}"),
        over=timedelta() if kind == "level" else span_of(term.get("over"), f"{path}.over", LONGEST_WINDOW),
        within=span_of(term.get("within"), f"{path}.within", LONGEST_WINDOW) if kind == "reaches" else timedelta(),
        hysteresis=not_negative(term.get("hysteresis", default), f"{path}.hysteresis"),
        max_age=seconds_of(term.get("maxAge", DEFAULT_MAX_AGE.total_seconds()), f"{path}.maxAge"),
        counter=boolean_of(term.get("counter", False), f"{path}.counter"),
        unit_code=None if term.get("unitCode") is None else unit_of(term["unitCode"], f"{path}.unitCode"),
    )


def _series(term: Mapping[str, Any], path: str, own: Series) -> Series:
    attribute, dataset, entity = (term.get(name) for name in ("attribute", "datasetId", "entity"))
    inherited = own.dataset if attribute is None else NO_DATASET
    return Series(
        own.attribute if attribute is None else iri_of(attribute, f"{path}.attribute"),
        inherited if dataset is None else iri_of(dataset, f"{path}.datasetId"),
        None if entity is None else iri_of(entity, f"{path}.entity"),
    )


def _forecast_document(term: Term, own: Series) -> dict[str, Any]:
    document: dict[str, Any] = {
        "atLeast": term.limit,
        "within": term.within.total_seconds(),
        "model": term.model,
        "hysteresis": term.hysteresis,
    }
    given = {
        "attribute": term.about if term.about != own.attribute else None,
        "unitCode": term.unit_code,
        "entity": term.series.entity,
    }
    return document | {name: value for name, value in given.items() if value is not None}


def _term_document(term: Term, own: Series) -> dict[str, Any]:
    if term.kind == "forecast":
        return _forecast_document(term, own)
    document: dict[str, Any] = {"threshold" if term.kind == "reaches" else "atLeast": term.limit}
    if term.kind != "level":
        document["over"] = term.over.total_seconds()
    if term.kind == "reaches":
        document["within"] = term.within.total_seconds()
    else:
        document["hysteresis"] = term.hysteresis
    if term.counter:
        document["counter"] = True
    if term.unit_code is not None:
        document["unitCode"] = term.unit_code
    if term.max_age != DEFAULT_MAX_AGE:
        document["maxAge"] = term.max_age.total_seconds()
    series = term.series
    if series.attribute != own.attribute or series.dataset != own.dataset:
        document["attribute"] = series.attribute
        if series.dataset != NO_DATASET:
            document["datasetId"] = series.dataset
    if series.entity is not None:
        document["entity"] = series.entity
    return document


def _shown(term: Term, found: float | None, memory: Memory, at: float) -> dict[str, Any]:
    attribute = term.about or term.series.attribute
    document: dict[str, Any] = {"kind": term.kind, "attribute": attribute, "limit": term.limit}
    if term.kind == "forecast":
        document |= _shown_forecast(term, memory.get(term.key, ()), at)
    if term.series.entity is not None:
        document["entityId"] = term.series.entity
    if term.over:
        document["overSeconds"] = term.over.total_seconds()
    if term.within:
        document["withinSeconds"] = term.within.total_seconds()
    # Never infinite: JSON has no such number.
    document["value"] = None if found is None or found == float("inf") else found
    return document


def _shown_forecast(term: Term, points: Points, at: float) -> dict[str, Any]:
    """Of which run, and how long from now until the limit is reached."""
    reached = reached_at(points, at, term.within.total_seconds(), term.limit)
    return {
        "model": term.model,
        "issuedAt": to_text(datetime.fromtimestamp(points[0][0], UTC)) if points else None,
        "reachedAt": None if reached is None else to_text(datetime.fromtimestamp(reached, UTC)),
        "leadSeconds": None if reached is None else reached - at,
    }

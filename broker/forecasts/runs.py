# SPDX-License-Identifier: Apache-2.0
"""A run of a forecast model: series of stations and polygons of inundation, for times to come.

::

    {"model": "tomoe-rri", "version": "2.1", "issuedAt": TIME, "expiresAt": TIME?, "audience": {"briefed": 3600},
     "series": [{"entityId": URI, "attribute": NAME, "unitCode": "MTR", "validAt": [TIME, ...], "values": [1.2, ...],
                 "quantiles": {"0.1": [...], "0.9": [...]}, "members": [[...], [...]]}],
     "layers": [{"validAt": TIME, "depthFrom": 0.5, "depthTo": 1.0, "geometry": GeoJSON}]}

``audience`` is one of ``staff`` (the default), ``briefed``, ``public``, or how far ahead (seconds) each may look.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from broker.alerts.documents import (
    array_of,
    iri_of,
    matching,
    moment_of,
    not_negative,
    number_of,
    object_of,
    only,
    seconds_of,
    unit_of,
    wrong,
)
from broker.alerts.forecasts import MODEL
from broker.audiences import Audience, parse_audience
from broker.validation import check_geometry

_MODEL: Final = re.compile(MODEL)
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_QUANTILE: Final = re.compile(r"0\.\d{1,4}")
_NAME: Final = re.compile(r"[^\s@<>\"{}|\\^`]+")
_RUN: Final = frozenset({"model", "version", "issuedAt", "expiresAt", "audience", "series", "layers"})
_SERIES: Final = frozenset({"entityId", "attribute", "unitCode", "validAt", "values", "quantiles", "members"})
_LAYER: Final = frozenset({"validAt", "depthFrom", "depthTo", "geometry"})


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How much one run may have; each of its ``series`` so many ``times`` and ``lines`` (quantiles and members)."""

    series: int = 2000
    times: int = 1000
    lines: int = 200
    layers: int = 500
    ahead: timedelta = timedelta(days=16)


USUAL_LIMITS: Final = RunLimits()

Leads = Mapping[Audience, timedelta]
"""How far ahead audiences below staff may look; those that are not in it see nothing."""


@dataclass(frozen=True, slots=True)
class ForecastSeries:
    """One attribute (IRI) of one entity. ``lines``: "" is the forecast itself, ``q0.9`` a quantile, ``m3`` a member."""

    entity_id: str
    attribute: str
    unit_code: str | None
    valid_at: tuple[datetime, ...]
    lines: Mapping[str, tuple[float, ...]]

    @property
    def values(self) -> tuple[float, ...]:
        """The forecast itself."""
        return self.lines[""]


@dataclass(frozen=True, slots=True)
class ForecastLayer:
    """Where water stands from ``depth_from`` up to below ``depth_to`` metres (None: and more) at ``valid_at``."""

    valid_at: datetime
    depth_from: float
    depth_to: float | None
    geometry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ForecastRun:
    """What a model said at ``issued_at``; from ``expires_at`` on it says nothing about the present any more."""

    model: str
    version: str
    issued_at: datetime
    expires_at: datetime
    leads: Leads
    series: tuple[ForecastSeries, ...] = ()
    layers: tuple[ForecastLayer, ...] = ()

    @property
    def run_id(self) -> str:
        """The same run has the same name, however often it is sent."""
        return f"{self.model}:{self.issued_at:%Y%m%dT%H%M%SZ}:{self.version}"

    def seen_until(self, audience: Audience) -> datetime | None:
        """The last time that an audience below staff sees; None: nothing."""
        lead = self.leads.get(audience)
        return None if lead is None else self.issued_at + lead


def parse_run(
    document: object, expand: Callable[[str], str], usual_life: timedelta, limits: RunLimits = USUAL_LIMITS
) -> ForecastRun:
    """Read a run; ``usual_life``: when it expires unless it says so itself. Raises :class:`BadRequestData`."""
    root = object_of(document, "run")
    only(root, _RUN, "")
    issued_at = moment_of(root.get("issuedAt"), "issuedAt")
    expires_at = moment_of(root["expiresAt"], "expiresAt") if "expiresAt" in root else issued_at + usual_life
    if expires_at <= issued_at:
        raise wrong("expiresAt", "it is not after issuedAt")
    series = _items(root, "series", limits.series)
    layers = _items(root, "layers", limits.layers)
    if not series and not layers:
        raise wrong("series", "a run has series, layers or both")
    found = tuple(_series(one, f"series[{n}]", issued_at, expand, limits) for n, one in enumerate(series))
    if len({(one.entity_id, one.attribute) for one in found}) < len(found):
        raise wrong("series", "two are of the same attribute of the same entity")
    return ForecastRun(
        model=matching(root.get("model"), "model", _MODEL, "1 to 100 letters, digits, '.', '_' or '-'"),
        version=matching(root.get("version", "1"), "version", _VERSION, "1 to 50 letters, digits, '.', '_' or '-'"),
        issued_at=issued_at,
        expires_at=expires_at,
        leads=_leads(root.get("audience", Audience.STAFF.word), limits),
        series=found,
        layers=tuple(_layer(one, f"layers[{n}]", issued_at, limits) for n, one in enumerate(layers)),
    )


def _items(root: Mapping[str, Any], name: str, most: int) -> list[Any]:
    items = root.get(name, [])
    if not isinstance(items, list) or len(items) > most:
        raise wrong(name, f"an array of at most {most} is expected")
    return items


def _leads(value: object, limits: RunLimits) -> Leads:
    if isinstance(value, str):
        audience = parse_audience(value)
        return {one: limits.ahead for one in Audience if audience <= one < Audience.STAFF}
    leads = object_of(value, "audience")
    only(leads, frozenset({"briefed", "public"}), "audience.")
    found = {parse_audience(name): seconds_of(lead, f"audience.{name}") for name, lead in leads.items()}
    if found.get(Audience.PUBLIC, timedelta()) > found.get(Audience.BRIEFED, limits.ahead):
        raise wrong("audience.public", "the public would look further ahead than the briefed")
    if Audience.PUBLIC in found:
        found.setdefault(Audience.BRIEFED, found[Audience.PUBLIC])
    return found


def _series(
    value: object, path: str, issued_at: datetime, expand: Callable[[str], str], limits: RunLimits
) -> ForecastSeries:
    series = object_of(value, path)
    only(series, _SERIES, f"{path}.")
    times = array_of(series.get("validAt"), f"{path}.validAt")
    if len(times) > limits.times:
        raise wrong(f"{path}.validAt", f"more than {limits.times} times")
    valid_at = tuple(_valid(time, f"{path}.validAt[{n}]", issued_at, limits) for n, time in enumerate(times))
    if any(later <= earlier for earlier, later in pairwise(valid_at)):
        raise wrong(f"{path}.validAt", "the times do not ascend")
    lines = {"": _values(series.get("values"), f"{path}.values", len(valid_at))}
    for name, line in object_of(series.get("quantiles", {}), f"{path}.quantiles").items():
        where = f"{path}.quantiles.{name}"
        matching(name, where, _QUANTILE, "a quantile such as 0.9")
        lines[f"q{name}"] = _values(line, where, len(valid_at))
    for number, line in enumerate(_items(series, "members", limits.lines)):
        lines[f"m{number}"] = _values(line, f"{path}.members[{number}]", len(valid_at))
    if len(lines) > limits.lines:
        raise wrong(path, f"more than {limits.lines} quantiles and members")
    name = matching(series.get("attribute"), f"{path}.attribute", _NAME, "the name of an attribute")
    unit = series.get("unitCode")
    return ForecastSeries(
        entity_id=iri_of(series.get("entityId"), f"{path}.entityId"),
        attribute=expand(name),
        unit_code=None if unit is None else unit_of(unit, f"{path}.unitCode"),
        valid_at=valid_at,
        lines=lines,
    )


def _layer(value: object, path: str, issued_at: datetime, limits: RunLimits) -> ForecastLayer:
    layer = object_of(value, path)
    only(layer, _LAYER, f"{path}.")
    depth_from = not_negative(layer.get("depthFrom"), f"{path}.depthFrom")
    depth_to = None if layer.get("depthTo") is None else number_of(layer["depthTo"], f"{path}.depthTo")
    if depth_to is not None and depth_to <= depth_from:
        raise wrong(f"{path}.depthTo", "it is not above depthFrom")
    geometry = check_geometry(layer.get("geometry"), f"{path}.geometry")
    if geometry["type"] not in ("Polygon", "MultiPolygon"):
        raise wrong(f"{path}.geometry", "a Polygon or a MultiPolygon is expected")
    return ForecastLayer(
        _valid(layer.get("validAt"), f"{path}.validAt", issued_at, limits), depth_from, depth_to, geometry
    )


def _valid(value: object, path: str, issued_at: datetime, limits: RunLimits) -> datetime:
    moment = moment_of(value, path)
    if not issued_at <= moment <= issued_at + limits.ahead:
        raise wrong(path, f"it is not within {limits.ahead.days} days after issuedAt")
    return moment


def _values(value: object, path: str, count: int) -> tuple[float, ...]:
    items = array_of(value, path)
    if len(items) != count:
        raise wrong(path, f"{len(items)} values for {count} times")
    return tuple(number_of(item, f"{path}[{n}]") for n, item in enumerate(items))


def cut(times: Iterable[datetime], until: datetime) -> int:
    """How many of ``times``, which ascend, are not after ``until``."""
    return sum(1 for moment in times if moment <= until)

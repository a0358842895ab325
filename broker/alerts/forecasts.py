# SPDX-License-Identifier: Apache-2.0
"""What a model says of a level in times to come, as a condition of a rule looks at it.

The newest run stands at the entity of the station as a JsonProperty ``forecast`` whose datasetId names model and
attribute. A condition remembers the whole curve: as time passes, what lies ahead is looked at anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from broker.alerts.windows import Points
from broker.entities import AttributeKind, Instance
from broker.times import parse_time
from schemas.terms import DEFAULT_VOCABULARY

FORECAST: Final = DEFAULT_VOCABULARY + "forecast"
MODEL: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""Names of models."""
_PREFIX: Final = "urn:minamo:forecast:"


@dataclass(frozen=True, slots=True)
class Curve:
    """The values (seconds, level) of one run, which expires at a time (seconds)."""

    issued_at: datetime
    expires_at: float
    points: Sequence[tuple[float, float]]
    unit_code: str | None


def forecast_dataset(model: str, attribute: str) -> str:
    """The datasetId of what ``model`` says of ``attribute`` (IRI)."""
    return f"{_PREFIX}{model}:{attribute.rsplit('/', 1)[-1].rsplit('#', 1)[-1]}"


def curve_of(instance: Instance) -> Curve | None:
    """The curve that an instance of ``forecast`` carries, or None."""
    document = instance.get("json")
    if instance.get("type") != AttributeKind.JSON_PROPERTY or not isinstance(document, dict):
        return None
    try:
        times = [parse_time(text).timestamp() for text in document["validAt"]]
        values = [float(value) for value in document["values"]]
        issued_at, expires_at = parse_time(document["issuedAt"]), parse_time(document["expiresAt"])
    except (KeyError, TypeError, ValueError):  # somebody else's
        return None
    return Curve(issued_at, expires_at.timestamp(), list(zip(times, values, strict=False)), document.get("unitCode"))


def remember_curve(points: Points, curve: Curve, factor: float) -> Points:
    """What a condition remembers: (issued, expires), then the values. A run from before the known one is late."""
    issued = curve.issued_at.timestamp()
    if points and issued <= points[0][0]:
        return points
    return ((issued, curve.expires_at), *((at, round(value * factor, 9)) for at, value in curve.points))


def highest_ahead(points: Points, at: float, within_s: float) -> float | None:
    """The highest value later than ``at`` and not later than ``within_s`` after it; None: not known, or expired."""
    if not points or at >= points[0][1]:
        return None
    return max((value for valid_at, value in points[1:] if at < valid_at <= at + within_s), default=None)


def reached_at(points: Points, at: float, within_s: float, limit: float) -> float | None:
    """When ``limit`` is reached first, in the same span."""
    ahead = (valid_at for valid_at, value in points[1:] if at < valid_at <= at + within_s and value >= limit)
    return next(ahead, None)

# SPDX-License-Identifier: Apache-2.0
"""Reading rule documents: every refusal begins with the path of what is wrong (``levels[1].threshold: ...``)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from broker.errors import BadRequestData
from broker.times import parse_time

_IRI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")
_UNIT_CODE: Final = re.compile(r"[A-Z0-9]{2,3}")  # UN/CEFACT Recommendation 20


def object_of(value: object, path: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, Mapping):
        raise wrong(path, f"an object is expected, not {shown(value)}")
    return value


def only(value: Mapping[str, Any], members: frozenset[str], prefix: str) -> None:
    """Refuse members that nobody knows: a misspelt one must not silently become the default."""
    for name in value:
        if name not in members:
            raise wrong(f"{prefix}{name}", f"unknown member; known are {', '.join(sorted(members))}")


def array_of(value: object, path: str) -> list[Any]:
    """A JSON array that is not empty."""
    if not isinstance(value, list) or not value:
        raise wrong(path, f"an array of at least one item is expected, not {shown(value)}")
    return value


def matching(value: object, path: str, pattern: re.Pattern[str], expected: str) -> str:
    """A text that matches ``pattern``; ``expected`` says so in words."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise wrong(path, f"{expected} is expected, not {shown(value)}")
    return value


def iri_of(value: object, path: str) -> str:
    """An absolute IRI."""
    return matching(value, path, _IRI, "an absolute IRI")


def unit_of(value: object, path: str) -> str:
    """A unit code of UN/CEFACT."""
    return matching(value, path, _UNIT_CODE, "a unit code")


def number_of(value: object, path: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong(path, f"a number is expected, not {shown(value)}")
    return float(value)


def not_negative(value: object, path: str) -> float:
    """A number of at least 0."""
    number = number_of(value, path)
    if number < 0:
        raise wrong(path, f"{number:g} is below 0")
    return number


def count_of(value: object, path: str) -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise wrong(path, f"{value!r} is not a whole number of at least 1")
    return value


def seconds_of(value: object, path: str) -> timedelta:
    """A duration given in seconds."""
    try:
        return timedelta(seconds=not_negative(value, path))
    except OverflowError:
        raise wrong(path, f"{shown(value)} seconds are too long") from None


def span_of(value: object, path: str, longest: timedelta) -> timedelta:
    """A duration of more than nothing and at most ``longest``, given in seconds."""
    span = seconds_of(value, path)
    if not timedelta() < span <= longest:
        raise wrong(path, f"{span.total_seconds():g} is not above 0 and at most {longest.total_seconds():g}")
    return span


def boolean_of(value: object, path: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong(path, f"true or false is expected, not {shown(value)}")
    return value


def moment_of(value: object, path: str) -> datetime:
    """A time of ISO 8601 with an offset."""
    try:
        return parse_time(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, AttributeError):
        raise wrong(path, f"a time such as 2026-06-01T00:00:00+09:00 is expected, not {shown(value)}") from None


def names_of(value: object, path: str = "name") -> tuple[str, str]:
    """The Japanese and the English name; one stands in for the other."""
    names = object_of(value, path)
    only(names, frozenset({"ja", "en"}), f"{path}.")
    for language, name in names.items():
        if not isinstance(name, str) or not name.strip():
            raise wrong(f"{path}.{language}", f"{name!r} is not a name")
    if not names:
        raise wrong(path, "a name in ja or en is expected")
    return names.get("ja") or names["en"], names.get("en") or names["ja"]


def shown(value: object) -> str:
    """``value`` as an error message shows it: nothing, or at most 60 characters of it."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def wrong(path: str, message: str) -> BadRequestData:
    """The error that ``path`` is wrong."""
    return BadRequestData(f"{path}: {message}")

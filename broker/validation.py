# SPDX-License-Identifier: Apache-2.0
"""Checks of single values in NGSI-LD requests: URIs, times, geometries, scopes, language maps (4.5 to 4.8, 4.18).

Every check takes the path of the value in the request (``waterLevel.observedAt``) and raises
:class:`~broker.errors.BadRequestData` with it, so that a message says where the fault is.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any, Final

from broker.contexts.jsonld import is_iri, is_name
from broker.errors import BadRequestData
from broker.times import parse_time, to_text
from schemas.terms import NO_DATASET, NULL

GEOMETRY_DEPTH: Final[dict[str, int]] = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
"""GeoJSON geometries allowed by clause 4.7.1 and how deep their lists of positions are nested."""

# ``2026-11-21T07:47:43Z``, or with a fraction of up to six digits that does not end in zero.
_CANONICAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z", re.ASCII)
_LANGUAGE_TAG: Final = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")  # the shape of RFC 5646, not its registry


def fault(path: str, message: str) -> BadRequestData:
    """The error for what is wrong at ``path``."""
    return BadRequestData(f"{path}: {message}" if path else message)


def shown(value: Any) -> str:
    """``value`` as short JSON text for a message."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def check_uri(value: Any, path: str) -> str:
    """``value`` if it is an absolute URI; IRIs with other letters than ASCII are accepted too."""
    if not isinstance(value, str) or not is_iri(value) or value == NULL:
        raise fault(path, f"{shown(value)} is not a URI")
    return value


def check_dataset(value: Any, path: str) -> str:
    """A ``datasetId``: a URI or ``@none`` (clause 4.5.5); it cannot be removed with an NGSI-LD Null."""
    if value == NO_DATASET:
        return NO_DATASET
    if value == NULL:
        raise fault(path, "a datasetId cannot be removed")
    return check_uri(value, path)


def canonical_time(value: Any, path: str) -> str:
    """A DateTime of clause 4.6.3 (UTC, trailing ``Z``) in the hub's canonical form."""
    if not isinstance(value, str) or not value.endswith("Z"):
        raise fault(path, f"{shown(value)} is not a UTC date and time such as 2026-11-21T07:47:43Z")
    try:
        if _CANONICAL.fullmatch(value):
            datetime.fromisoformat(value)
            return value  # the common case
        return to_text(parse_time(value))
    except ValueError:
        raise fault(path, f"{shown(value)} is not a UTC date and time such as 2026-11-21T07:47:43Z") from None


def check_time(value: Any, path: str) -> datetime:
    """A DateTime of clause 4.6.3 as an aware ``datetime`` in UTC."""
    return datetime.fromisoformat(canonical_time(value, path)).astimezone(UTC)


def is_geometry(value: Any) -> bool:
    """Whether ``value`` looks like a supported GeoJSON geometry (clause 4.7.3), without looking at its coordinates."""
    return isinstance(value, dict) and value.get("type") in GEOMETRY_DEPTH and "coordinates" in value


def check_geometry(value: Any, path: str) -> dict[str, Any]:
    """A GeoJSON geometry in WGS 84 (longitude, latitude, optional altitude), also when encoded as a string (4.7.2)."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise fault(path, f"{shown(value)} is not a GeoJSON geometry") from None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise fault(path, f"{shown(value)} is not a GeoJSON geometry")
    depth = GEOMETRY_DEPTH.get(value["type"])
    if depth is None:
        raise fault(path, f"geometry type {shown(value['type'])} is not one of {', '.join(GEOMETRY_DEPTH)}")
    _check_positions(value.get("coordinates"), depth, value["type"], f"{path}.coordinates")
    return value


def _check_positions(value: Any, depth: int, geometry: str, path: str) -> None:
    if depth == 0:
        _check_position(value, path)
        return
    if not isinstance(value, list) or not value:
        raise fault(path, f"{shown(value)} is not a list of coordinates of a {geometry}")
    for index, part in enumerate(value):
        _check_positions(part, depth - 1, geometry, f"{path}[{index}]")
    if depth == 1 and geometry.endswith("LineString") and len(value) < 2:
        raise fault(path, "a line has at least two positions")
    if depth == 1 and geometry.endswith("Polygon") and (len(value) < 4 or value[0] != value[-1]):
        raise fault(path, "a ring has at least four positions, and the last is equal to the first")


def _check_position(value: Any, path: str) -> None:
    if (
        not isinstance(value, list)
        or not 2 <= len(value) <= 4
        or not all(type(number) in (int, float) and math.isfinite(number) for number in value)
    ):
        raise fault(path, f"{shown(value)} is not a position [longitude, latitude]")
    if not -180 <= value[0] <= 180 or not -90 <= value[1] <= 90:
        raise fault(path, f"{shown(value)} is outside of longitude -180 to 180, latitude -90 to 90")


def check_scopes(value: Any, path: str = "scope") -> tuple[str, ...]:
    """One scope or a list of scopes (clause 4.18) in their order, without repetition."""
    scopes = value if isinstance(value, list) else [value]
    for scope in scopes:
        levels = scope.removeprefix("/").split("/") if isinstance(scope, str) else [""]
        if not all(level and is_name(level) for level in levels):
            raise fault(path, f"{shown(scope)} is not a scope such as /Japan/Shizuoka")
    return tuple(dict.fromkeys(scopes))


def check_language_map(value: Any, path: str) -> dict[str, Any]:
    """A language map (clause 4.6.5): language tag or ``@none`` to a text or a list of texts."""
    if not isinstance(value, dict) or not value:
        raise fault(path, f"{shown(value)} is not a language map")
    for tag, text in value.items():
        if tag != "@none" and not _LANGUAGE_TAG.fullmatch(tag):
            raise fault(path, f"{shown(tag)} is not a language tag")
        texts = text if isinstance(text, list) else [text]
        if not texts or not all(isinstance(item, str) for item in texts):
            raise fault(f"{path}.{tag}", f"{shown(text)} is not a text or a list of texts")
    return value


def contains_null(value: Any) -> bool:
    """Whether an NGSI-LD Null is anywhere in ``value``."""
    if isinstance(value, str):
        return value == NULL
    if isinstance(value, dict):
        return any(contains_null(item) for item in value.values())
    return isinstance(value, list) and any(contains_null(item) for item in value)

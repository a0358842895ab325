# SPDX-License-Identifier: Apache-2.0
"""The entity ordering language (clause 4.23 of ETSI GS CIM 009 V1.9.1): ``name,age;desc`` · ``location;dist-asc``.

Strings are compared by a collation: a BCP 47 tag with the keys of Unicode collation (RFC 6067), ``und`` being ICU's
root. Tags are read strictly, since databases take any text for a locale and silently sort by the root then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from broker.errors import BadRequestData
from broker.query.geo import parse_reference
from broker.query.q import parse_path
from broker.query.tokens import Limits, Scanner
from broker.query.tree import AttributePath, Expand

ROOT_COLLATION: Final = "und"
IDENTITY_MEMBERS: Final = ("id", "type", "scope")

_IDENTITY: Final = re.compile(rf"(?:{'|'.join(IDENTITY_MEMBERS)})(?![^;,])")
_DIRECTION: Final = re.compile(r"(dist-)?(asc|desc)(?![^,])")
_MAX_TAG_LENGTH: Final = 60  # the longest name of a collation in PostgreSQL is 63 bytes
_TAG: Final = re.compile(
    r"(?P<language>[a-z]{2,3})(-[a-z]{4})?(-([a-z]{2}|[0-9]{3}))?(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"
    r"(-u(?P<keys>(-[a-z][a-z](-[a-z0-9]{3,8})*)+))?"
)
_TRUTH: Final = "|-true|-false|-yes|-no"
_KEYS: Final = {
    "co": r"(-[a-z]{3,8})+",
    "ka": "-noignore|-shifted",
    "kb": _TRUTH,
    "kc": _TRUTH,
    "kf": "-upper|-lower|-false",
    "kk": _TRUTH,
    "kn": _TRUTH,
    "kr": r"(-[a-z]{3,8})+",
    "ks": "-level1|-level2|-level3|-level4|-identic",
    "kv": "-space|-punct|-symbol|-currency",
}


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One key to sort by. ``path`` without names is one of the entity's times, ``id``, ``type`` or ``scope``."""

    path: AttributePath
    descending: bool = False
    by_distance: bool = False


@dataclass(frozen=True, slots=True)
class Ordering:
    """Keys in their order, the collation of strings, and GeoJSON text that distances are measured from."""

    terms: tuple[OrderTerm, ...]
    collation: str = ROOT_COLLATION
    reference: str | None = None


def parse_ordering(
    order_by: str | Iterable[str],
    expand: Expand,
    *,
    collation: str | None = None,
    geometry: str | None = None,
    coordinates: str | list[Any] | None = None,
) -> Ordering:
    """Read ``orderBy`` (text, or a list of terms) and what goes with it.

    Raises ``BadRequestData``, also when an order by distance has no ``coordinates``, and ``TooComplexQuery``.
    """
    text = order_by if isinstance(order_by, str) else ",".join(order_by)
    terms = _terms(Scanner(text, "orderBy", Limits()), expand)
    reference = None
    if coordinates is not None:
        reference = parse_reference(geometry or "Point", coordinates)
    elif any(term.by_distance for term in terms):
        raise BadRequestData("An order by distance needs orderFrom, the coordinates to measure from")
    return Ordering(terms, parse_collation(collation) if collation else ROOT_COLLATION, reference)


def _terms(scanner: Scanner, expand: Expand) -> tuple[OrderTerm, ...]:
    """``OrderingTerm = AttrName [%x3B directionOp] *(%x2C OrderingTerm)``."""
    terms = [_term(scanner, expand)]
    while scanner.take_symbol(","):
        terms.append(_term(scanner, expand))
    if not scanner.at_end():
        scanner.fail("',' or the end is expected here")
    return tuple(terms)


def _term(scanner: Scanner, expand: Expand) -> OrderTerm:
    scanner.count_term()
    member = scanner.take(_IDENTITY)
    path = parse_path(scanner, expand) if member is None else AttributePath((), member)
    if not scanner.take_symbol(";"):
        return OrderTerm(path)
    direction = scanner.take(_DIRECTION)
    if direction is None:
        scanner.fail("asc, desc, dist-asc or dist-desc is expected here")
    return OrderTerm(path, direction.endswith("desc"), direction.startswith("dist-"))


def parse_collation(text: str) -> str:
    """The canonical tag of a collation: ``de-u-co-phonebk``; ``und-x-icu``, as PostgreSQL says, is ``und``.

    Raises ``BadRequestData`` for what is no tag and for keys that are not of collation.
    """
    tag = text.lower().removesuffix("-x-icu")
    found = _TAG.fullmatch(tag)
    if found is None or len(tag) > _MAX_TAG_LENGTH or not _are_known(found["keys"] or ""):
        raise BadRequestData(f"collation is {text!r}; a tag such as de-u-co-phonebk is expected (RFC 6067)")
    return tag


def _are_known(keys: str) -> bool:
    pairs = re.findall(r"-([a-z][a-z])((?:-[a-z0-9]{3,8})*)", keys)
    names = [name for name, _ in pairs]
    return len(set(names)) == len(names) and all(
        name in _KEYS and re.fullmatch(_KEYS[name], value) is not None for name, value in pairs
    )

# SPDX-License-Identifier: Apache-2.0
"""What an entity needs at least to match a query, as keys to look up: how an index finds few of many subscriptions.

:func:`required_keys` says of a query "whatever matches has one of these keys", :class:`EntityKeys` which keys an entity
has. A key that is too wide costs an evaluation in vain; one that is too narrow would lose notifications, so what cannot
be told for certain has no key. A test compares both ways for drawn queries and entities.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from math import ceil, floor, log2
from typing import Any, Final, TypeAlias

from shapely.geometry import shape

from broker.entities import ExpandedEntity
from broker.query.comparison import typed, values_of
from broker.query.geodesy import Box, boxes_within
from broker.query.geometry import geometries
from broker.query.match import targets_of
from broker.query.tree import (
    And,
    AttributePath,
    EntityQuery,
    EntitySelector,
    Formula,
    GeoQuery,
    GeoRelation,
    Operator,
    Or,
    ScopePattern,
    Term,
    Value,
    ValueKind,
)

Key: TypeAlias = tuple[Any, ...]
"""("=", attribute, value) · ("/", scope) · ("/#", scope) · ("@", geoproperty, level, x, y) · ("^", length, prefix) ·
(">", attribute, number): it has a value that is not less · ("<", attribute, number): one that is not greater ·
("..", attribute, level, x): it has a value in this part of the line of numbers"""

_WIDTHS: Final = ("=", "/", "@", "..", "/#", "^", ">", "<")  # by how much they tell, the most first
_RANGES: Final = {
    Operator.GREATER: ">",
    Operator.GREATER_EQUAL: ">",
    Operator.LESS: "<",
    Operator.LESS_EQUAL: "<",
}
_SCALARS: Final = (str, int, float)
_EXACT: Final = frozenset({ValueKind.NUMBER, ValueKind.TEXT, ValueKind.URI})  # kinds that are equal as they are stored
_FAR: Final = frozenset({GeoRelation.DISJOINT, GeoRelation.NEAR_MIN})  # hold for what is elsewhere
_MAX_CELLS: Final = 64  # of one geometry; beyond that it is looked for everywhere
_FINEST: Final = -14  # 2**-14 degrees are about 7 m
_LITERAL: Final = re.compile(r"\^([A-Za-z0-9:_/@-]+)")
_QUANTIFIERS: Final = tuple("*+?{")


def required_keys(query: EntityQuery, selector: EntitySelector | None) -> frozenset[Key] | None:
    """Keys of which an entity that matches ``query`` by ``selector`` has one at least; None when nobody can tell."""
    found = [
        _keys_of_term(query.q) if query.q is not None else None,
        _keys_of_scope(query.scope) if query.scope is not None else None,
        _keys_of_geo(query.geo) if query.geo is not None else None,
        _keys_of_pattern(selector.id_pattern) if selector and not selector.ids and selector.id_pattern else None,
    ]
    return min((keys for keys in found if keys is not None), key=_width, default=None)


def _width(keys: frozenset[Key]) -> tuple[int, int]:
    """How many entities are likely to have one of ``keys``: to be compared."""
    return max((_WIDTHS.index(key[0]) for key in keys), default=0), len(keys)


def exact_id(pattern: str) -> str | None:
    """The one id that an ``idPattern`` such as ``^urn:x:1$`` matches; None when it is none of these."""
    literal = _LITERAL.match(pattern)
    return literal[1] if literal is not None and pattern[literal.end() :] == "$" else None


def _keys_of_term(tree: Formula[Term]) -> frozenset[Key] | None:
    if isinstance(tree, And | Or):
        parts = [_keys_of_term(operand) for operand in tree.operands]
        return _combined(tree, [*parts, *_between(parts)] if isinstance(tree, And) else parts)
    path = tree.path
    if not isinstance(path, AttributePath) or len(path.names) != 1 or path.member is not None or path.trailing:
        return None
    if tree.operator in _RANGES and isinstance(tree.operand, Value) and tree.operand.kind is ValueKind.NUMBER:
        return frozenset({(_RANGES[tree.operator], path.names[0], tree.operand.content)})
    if tree.operator is not Operator.EQUAL or tree.operand is None:
        return None
    values: tuple[Value, ...] = values_of(tree.operand)
    if not values or any(value.kind not in _EXACT for value in values):
        return None
    return frozenset(("=", path.names[0], value.content) for value in values)


def _between(parts: list[frozenset[Key] | None]) -> Iterator[frozenset[Key]]:
    """Of a lower and an upper bound of one attribute, given together: what lies between them.

    An attribute with several values may meet each bound with another one: its keys are those of all between the least
    and the greatest.
    """
    bounds = {
        key[:2]: key[2] for keys in parts if keys is not None and len(keys) == 1 for key in keys if key[0] in "<>"
    }
    for (sign, attribute), low in bounds.items():
        high = bounds.get(("<", attribute))
        if sign == ">" and high is not None and low <= high:
            level = _level((low, 0.0, high, 0.0))
            yield frozenset(("..", attribute, level, x) for x, _ in _cells((low, 0.0, high, 0.0), level))


def _keys_of_scope(tree: Formula[ScopePattern]) -> frozenset[Key] | None:
    if isinstance(tree, And | Or):
        return _combined(tree, [_keys_of_scope(operand) for operand in tree.operands])
    if not tree.levels or "+" in tree.levels:
        return None
    return frozenset({("/#" if tree.subtree else "/", "/".join(tree.levels))})


def _combined(tree: And[Any] | Or[Any], parts: list[frozenset[Key] | None]) -> frozenset[Key] | None:
    """Of all that hold together the fewest keys; of alternatives all, unless one of them has none."""
    known = [keys for keys in parts if keys is not None]
    if isinstance(tree, And):
        return min(known, key=_width, default=None)
    return frozenset().union(*known) if len(known) == len(parts) else None


def _keys_of_geo(query: GeoQuery) -> frozenset[Key] | None:
    if query.relation in _FAR:
        return None
    bounds: Box = shape(json.loads(query.geometry)).bounds
    keys: set[Key] = set()
    for box in boxes_within(bounds, query.distance_m or 0.0):
        level = _level(box)
        cells = list(_cells(box, level))
        if len(cells) > _MAX_CELLS:
            return None
        keys.update(("@", query.geoproperty, level, x, y) for x, y in cells)
    return frozenset(keys)


def _level(box: Box) -> int:
    """The size of cells (2**level degrees) of which a box needs few."""
    west, south, east, north = box
    size = max(east - west, north - south)
    return max(_FINEST, ceil(log2(size))) if size > 0 else _FINEST


def _cells(box: Box, level: int) -> Iterator[tuple[int, int]]:
    west, south, east, north = (floor(edge / 2.0**level) for edge in box)
    if (east - west + 1) * (north - south + 1) > _MAX_CELLS:
        west, south, east, north = 0, 0, _MAX_CELLS, _MAX_CELLS  # too many: the caller counts them
    for x in range(west, east + 1):
        for y in range(south, north + 1):
            yield x, y


def _keys_of_pattern(pattern: str) -> frozenset[Key] | None:
    """The text that an ``idPattern`` begins with; alternatives and what is quantified are left alone."""
    literal = _LITERAL.match(pattern)
    if literal is None or "|" in pattern:
        return None
    prefix = literal[1]
    if pattern.startswith(_QUANTIFIERS, literal.end()):
        prefix = prefix[:-1]
    return frozenset({("^", len(prefix), prefix)}) if prefix else None


class Wanted:
    """Which kinds of keys an index has, so that an entity is not asked for others. Counts, so that kinds can go."""

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}

    def add(self, keys: Iterable[Key]) -> None:
        """These keys are in the index now."""
        for kind in {_kind(key) for key in keys}:
            self._counts[kind] = self._counts.get(kind, 0) + 1

    def remove(self, keys: Iterable[Key]) -> None:
        """These keys, which were added together, are no longer."""
        for kind in {_kind(key) for key in keys}:
            self._counts[kind] -= 1
            if not self._counts[kind]:
                del self._counts[kind]

    def keys_of(self, entity: ExpandedEntity) -> Iterator[Key]:
        """Those keys of ``entity`` that may be in the index.

        Of numbers the greatest for ``>`` and the least for ``<``; a geometry that is everywhere ends in None.
        """
        for kind in self._counts:
            if kind[0] == "=":
                yield from _value_keys(entity, kind[1])
            elif kind[0] == "@":
                yield from _geo_keys(entity, kind[1], kind[2])
            elif kind[0] == "..":
                yield from _line_keys(entity, kind[1], kind[2])
            elif kind[0] in _RANGES.values():
                yield from _range_keys(entity, kind)
            elif kind[0] == "^":
                yield ("^", kind[1], entity.id[: kind[1]])
            else:
                yield from _scope_keys(entity, kind[0])


def _kind(key: Key) -> Key:
    """What keys are of the same sort, without the part that an entity fills in."""
    return key[:1] if key[0] in ("/", "/#") else key[:3] if key[0] in ("@", "..") else key[:2]


def _value_keys(entity: ExpandedEntity, attribute: str) -> Iterator[Key]:
    return (("=", attribute, content) for content in _scalars(entity, attribute))


def _range_keys(entity: ExpandedEntity, kind: Key) -> Iterator[Key]:
    numbers = [content for content in _scalars(entity, kind[1]) if isinstance(content, int | float)]
    if numbers:
        yield (*kind, max(numbers) if kind[0] == ">" else min(numbers))


def _line_keys(entity: ExpandedEntity, attribute: str, level: int) -> Iterator[Key]:
    numbers = [content for content in _scalars(entity, attribute) if isinstance(content, int | float)]
    if not numbers:
        return
    cells = list(_cells((min(numbers), 0.0, max(numbers), 0.0), level))
    if len(cells) > _MAX_CELLS:
        yield ("..", attribute, level, None)
    else:
        yield from (("..", attribute, level, x) for x, _ in cells)


def _scalars(entity: ExpandedEntity, attribute: str) -> Iterator[str | int | float]:
    for instance in entity.attributes.get(attribute, {}).values():
        for target in targets_of(instance, ()) or ():
            for item in target if isinstance(target, list) else (target,):
                content = typed(item)
                if isinstance(content, _SCALARS):
                    yield content


def _scope_keys(entity: ExpandedEntity, kind: str) -> Iterator[Key]:
    for scope in entity.scopes:
        path = scope.removeprefix("/")
        if kind == "/":
            yield ("/", path)
            continue
        levels = path.split("/")
        for length in range(1, len(levels) + 1):
            yield ("/#", "/".join(levels[:length]))


def _geo_keys(entity: ExpandedEntity, geoproperty: str, level: int) -> Iterator[Key]:
    for geometry in geometries(entity, geoproperty):
        box = _bounds(geometry)
        cells = list(_cells(box, level)) if box is not None else []
        if box is None or len(cells) > _MAX_CELLS:
            yield ("@", geoproperty, level, None)
        else:
            yield from (("@", geoproperty, level, x, y) for x, y in cells)


def _bounds(geometry: Any) -> Box | None:
    """The box of a GeoJSON geometry; None when it cannot be told (then every query is asked)."""
    try:
        if geometry["type"] == "Point":
            longitude, latitude = geometry["coordinates"][:2]
            return (longitude, latitude, longitude, latitude)
        bounds: Box = shape(geometry).bounds
    except Exception:  # noqa: BLE001 - whatever is stored
        return None
    return bounds if len(bounds) == 4 and all(edge == edge for edge in bounds) else None

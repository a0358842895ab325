# SPDX-License-Identifier: Apache-2.0
"""Statements of queries, built once for all queries that differ in names and values only.

Building a statement and compiling it takes longer than running it, and a client that asks again asks with another
number or another type. So a query is taken apart into its *shape*, which has marks in place of names and values, and
what the marks stand for. The statement is built of the shape, and remembered; its parameters are then filled in.

What else a statement can depend on (patterns, geometries, times, which have several texts) stays in the shape. A test
proves for random queries that a filled template is the statement that is built directly.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from broker.query.tree import (
    And,
    AttributePath,
    EntityQuery,
    EntitySelector,
    Formula,
    LinkedPath,
    Operand,
    Or,
    Range,
    Term,
    TypeName,
    TypeTree,
    Value,
    ValueKind,
    ValueList,
)

# Marks cannot be guessed, so that nothing in a request is taken for one.
_TOKEN: Final = secrets.token_hex(8)
_NUMBER: Final = 10**9 + secrets.randbelow(10**9)
_SLOT_DIGITS: Final = 5
_MOST_SLOTS: Final = 10**_SLOT_DIGITS
_MARK: Final = re.compile(rf"(?:~{_TOKEN}|{_NUMBER})(\d{{{_SLOT_DIGITS}}})")
_SLOTTED: Final = frozenset({ValueKind.TEXT, ValueKind.URI})

_Part = str | int
"""A text, or the number of a slot."""


@dataclass(frozen=True, slots=True)
class Slots:
    """What the marks of a shape stand for: each as it is, and as it stands within a JSON text."""

    plain: list[str]
    within_json: list[str]


class _Shaper:
    """Puts marks in place of names and values; the same name has the same mark wherever it stands."""

    def __init__(self) -> None:
        self.slots = Slots([], [])
        self._names: dict[str, str] = {}

    def _slot(self, plain: str, within_json: str) -> str:
        self.slots.plain.append(plain)
        self.slots.within_json.append(within_json)
        return f"{len(self.slots.plain) - 1:0{_SLOT_DIGITS}}"

    def _text(self, text: str) -> str:
        return f"~{_TOKEN}{self._slot(text, json.dumps(text, ensure_ascii=False)[1:-1])}"

    def name(self, name: str) -> str:
        """The mark of an IRI."""
        if name not in self._names:
            self._names[name] = self._text(name)
        return self._names[name]

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The marks of several."""
        return tuple(map(self.name, names))

    def value(self, value: Value) -> Value:
        """The mark of a literal, if there can be one."""
        if value.kind is ValueKind.NUMBER:
            text = json.dumps(value.content)
            return Value(ValueKind.NUMBER, int(f"{_NUMBER}{self._slot(text, text)}"))
        return Value(value.kind, self._text(str(value.content))) if value.kind in _SLOTTED else value

    def operand(self, operand: Operand | None) -> Operand | None:
        """The same with marks for all values in it."""
        if isinstance(operand, Value):
            return self.value(operand)
        if isinstance(operand, ValueList):
            return ValueList(tuple(map(self.value, operand.values)))
        return Range(self.value(operand.low), self.value(operand.high)) if isinstance(operand, Range) else operand

    def path(self, path: AttributePath | LinkedPath) -> AttributePath | LinkedPath:
        """The same with marks for its names."""
        if isinstance(path, AttributePath):
            return replace(path, names=self.names(path.names))
        return LinkedPath(self.name(path.relationship), self.names(path.types), self.path(path.target))

    def term(self, term: Term) -> Term:
        """The same with marks for names and values."""
        return Term(self.path(term.path), term.operator, self.operand(term.operand))

    def types(self, tree: TypeTree | None) -> TypeTree | None:
        """The same with marks for the types."""
        return None if tree is None else _mapped(tree, lambda name: TypeName(self.name(name.iri)))

    def selector(self, selector: EntitySelector) -> EntitySelector:
        """The same with marks for ids and types."""
        return EntitySelector(self.names(selector.ids), selector.id_pattern, self.types(selector.types))

    def query(self, query: EntityQuery) -> EntityQuery:
        """The shape of ``query``."""
        return replace(
            query,
            ids=self.names(query.ids),
            types=self.types(query.types),
            attributes=self.names(query.attributes),
            q=None if query.q is None else _mapped(query.q, self.term),
            selectors=tuple(map(self.selector, query.selectors)),
        )


def _mapped(tree: Formula[Any], leaf: Callable[[Any], Any]) -> Formula[Any]:
    if isinstance(tree, And | Or):
        return type(tree)(tuple(_mapped(operand, leaf) for operand in tree.operands))
    return leaf(tree)


def shape_of(query: EntityQuery) -> tuple[EntityQuery, Slots]:
    """The shape of a query, and what its marks stand for; a query with too much in it is its own shape."""
    shaper = _Shaper()
    shape = shaper.query(query)
    return (shape, shaper.slots) if len(shaper.slots.plain) < _MOST_SLOTS else (query, Slots([], []))


class Template:
    """The statement of a shape: its text with ``$1``, ``$2`` ..., and what fills them."""

    __slots__ = ("_fillings", "text")

    def __init__(self, text: bytes, values: Mapping[str, Any]) -> None:
        """``text`` has ``%(name)s`` placeholders for ``values``."""
        self.text, names = numbered(text)
        self._fillings = [(name, _parts(values[name]) if name in values else None) for name in names]

    def filled(self, slots: Slots, changing: Mapping[str, Any]) -> list[Any]:
        """The parameters in the order of the text; ``changing`` (tenant, time, page) come before those of the shape."""
        return [
            changing[name] if name in changing else filling if filling is None else filling.made(slots)
            for name, filling in self._fillings
        ]


_PLACEHOLDER: Final = re.compile(rb"%\((\w+)\)s|%%")


def numbered(text: bytes) -> tuple[bytes, list[str]]:
    """``text`` with ``$1`` for ``%(name)s``, as PostgreSQL has it, and the names in the order of the numbers."""
    names: dict[str, int] = {}

    def placed(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            return b"%"
        return b"$%d" % names.setdefault(found[1].decode(), len(names) + 1)

    return _PLACEHOLDER.sub(placed, text), list(names)


@dataclass(frozen=True, slots=True)
class _Filling:
    """How a parameter is made: of the parts of a text, of several texts, or as it is (``constant``)."""

    constant: Any = None
    texts: tuple[tuple[_Part, ...], ...] | None = None
    is_list: bool = False

    def made(self, slots: Slots) -> Any:
        """The parameter."""
        if self.texts is None:
            return self.constant
        made = [_joined(parts, slots) for parts in self.texts]
        return made if self.is_list else made[0]


def _parts(value: Any) -> _Filling:
    if isinstance(value, str):
        return _Filling(texts=(_split(value),))
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return _Filling(texts=tuple(map(_split, value)), is_list=True)
    return _Filling(constant=value)


def _split(text: str) -> tuple[_Part, ...]:
    pieces = _MARK.split(text)
    return tuple(int(piece) if place % 2 else piece for place, piece in enumerate(pieces) if piece)


def _joined(parts: tuple[_Part, ...], slots: Slots) -> str:
    if len(parts) == 1 and isinstance(parts[0], int):
        return slots.plain[parts[0]]
    return "".join(slots.within_json[part] if isinstance(part, int) else part for part in parts)

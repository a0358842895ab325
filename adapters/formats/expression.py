# SPDX-License-Identifier: Apache-2.0
"""Payload expressions: what a field is, told in terms of the bytes, as ``u16be(0) * 0.001 - 0.3``.

::

    expression = comparison
    comparison = bits [("==" | "!=" | "<" | "<=" | ">" | ">=") bits]
    bits       = sum {("&" | "|" | "^" | "<<" | ">>") sum}
    sum        = product {("+" | "-") product}
    product    = unary {("*" | "/" | "%") unary}
    unary      = "-" unary | atom
    atom       = number | name | name "(" [expression {"," expression}] ")" | "(" expression ")"

Bytes are counted from 0, a negative place from the end. ``u8 i8 u16be u16le i16be i16le u24be u24le u32be u32le i32be
i32le f32be f32le (place)`` read them; ``bit(place, n)`` is true or false; ``if(condition, one, other)``, ``min``,
``max``, ``abs``, ``round(value, digits)``; ``len`` and ``port`` are the number of bytes and the LoRaWAN port, ``true``,
``false`` and ``null`` what they say. null in a calculation gives null: no value. There is no way to anything else: no
assignment, no loop, no attribute, no text.
"""

from __future__ import annotations

import math
import operator
import re
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

MAX_LENGTH: Final = 500  # characters
_MAX_DEPTH: Final = 40
_TOKEN: Final = re.compile(
    r"\s*(?:(0x[0-9a-fA-F]{1,16}|\d{1,18}(?:\.\d{0,18})?)|([A-Za-z_]\w*)|(<<|>>|[=!<>]=|[-+*/%&|^()<>,]))", re.ASCII
)

Value = float | int | bool | None


class Uplink(NamedTuple):
    """What an expression sees."""

    payload: bytes
    port: int | None = None


Node = Callable[[Uplink], Value]


class ExpressionError(ValueError):
    """The expression is no expression, or the bytes are not what it needs; the text says which."""


@lru_cache(maxsize=10_000)
def compiled(text: str) -> Node:
    """The function that ``text`` describes; raises :class:`ExpressionError` with a caret under the fault."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(text)} characters; at most {MAX_LENGTH} are taken")
    return _Parser(text).whole()


def evaluate(text: str, uplink: Uplink) -> Value:
    """The value of the expression for ``uplink``; raises :class:`ExpressionError`."""
    try:
        value = compiled(text)(uplink)
    except (ArithmeticError, ValueError, TypeError) as exc:
        raise exc if isinstance(exc, ExpressionError) else ExpressionError(f"{text}: {exc}") from exc
    if isinstance(value, float) and not math.isfinite(value):
        return None  # a float32 that is no number
    return value


_READS: Final = {
    "u8": ">B",
    "i8": ">b",
    "u16be": ">H",
    "u16le": "<H",
    "i16be": ">h",
    "i16le": "<h",
    "u32be": ">I",
    "u32le": "<I",
    "i32be": ">i",
    "i32le": "<i",
    "f32be": ">f",
    "f32le": "<f",
}


def _place(uplink: Uplink, place: Value, size: int) -> int:
    payload = uplink.payload
    if not isinstance(place, int) or isinstance(place, bool):
        raise ExpressionError(f"{place!r} is no place of a byte")
    start = place if place >= 0 else len(payload) + place
    if start < 0 or start + size > len(payload):
        raise ExpressionError(f"{size} bytes at {place} are past the end; the payload has {len(payload)}")
    return start


def _reader(code: str) -> Callable[[Uplink, Value], Value]:
    form = struct.Struct(code)
    return lambda uplink, place: form.unpack_from(uplink.payload, _place(uplink, place, form.size))[0]


def _reader_24(order: str) -> Callable[[Uplink, Value], Value]:
    def read(uplink: Uplink, place: Value) -> Value:
        start = _place(uplink, place, 3)
        return int.from_bytes(uplink.payload[start : start + 3], "big" if order == "be" else "little")

    return read


def _bit(uplink: Uplink, place: Value, number: Value) -> Value:
    if not isinstance(number, int) or not 0 <= number <= 7:
        raise ExpressionError(f"{number!r} is no bit of a byte; they are 0 to 7")
    return bool(uplink.payload[_place(uplink, place, 1)] >> number & 1)


def _known(function: Callable[..., Value]) -> Callable[..., Value]:
    """``function`` of values, with null as soon as one of them is null."""
    return lambda _uplink, *values: None if None in values else function(*values)


def _shift(function: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def shift(value: int, by: int) -> int:
        if not 0 <= by <= 31:
            raise ExpressionError(f"a shift by {by} is not possible; 0 to 31 are")
        return function(value & 0xFFFFFFFF, by)

    return shift


# name -> (function of the uplink and the arguments, how few and how many arguments)
_FUNCTIONS: Final[dict[str, tuple[Callable[..., Value], int, int]]] = {
    **{name: (_reader(code), 1, 1) for name, code in _READS.items()},
    "u24be": (_reader_24("be"), 1, 1),
    "u24le": (_reader_24("le"), 1, 1),
    "bit": (_bit, 2, 2),
    "min": (_known(min), 1, 8),
    "max": (_known(max), 1, 8),
    "abs": (_known(abs), 1, 1),
    "round": (_known(lambda value, digits=0: round(value, max(0, min(15, int(digits))))), 1, 2),
}
_NAMES: Final[dict[str, Node]] = {
    "len": lambda uplink: len(uplink.payload),
    "port": lambda uplink: uplink.port,
    "true": lambda _: True,
    "false": lambda _: False,
    "null": lambda _: None,
}
_COMPARISONS: Final[dict[str, Callable[..., Value]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LEVELS: Final[tuple[dict[str, Callable[..., Value]], ...]] = (
    {
        "&": operator.and_,
        "|": operator.or_,
        "^": operator.xor,
        "<<": _shift(operator.lshift),
        ">>": _shift(operator.rshift),
    },
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv, "%": operator.mod},
)


def _binary(function: Callable[..., Value], one: Node, other: Node) -> Node:
    def node(uplink: Uplink) -> Value:
        left, right = one(uplink), other(uplink)
        return None if left is None or right is None else function(left, right)

    return node


def _equality(one: Node, other: Node, wanted: bool) -> Node:
    """Equality knows null: ``port == null`` is an answer."""
    return lambda uplink: (one(uplink) == other(uplink)) is wanted


def _choice(condition: Node, one: Node, other: Node) -> Node:
    return lambda uplink: one(uplink) if condition(uplink) else other(uplink)


class _Parser:
    """Recursive descent, one method for each rule of the grammar above."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._fault(place + len(text[place:]) - len(text[place:].lstrip()), "this is not understood")
            kind = ("number", "name", "sign")[(found.lastindex or 1) - 1]
            self._tokens.append((kind, found.group(found.lastindex or 1), found.start(found.lastindex or 1)))
            place = found.end()
        self._tokens.append(("end", "", len(text)))
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._expression()
        kind, text, place = self._tokens[self._at]
        if kind != "end":
            raise self._fault(place, f"{text} is not expected here")
        return node

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._fault(self._tokens[self._at][2], "this is nested too deeply")
        one = self._level(0)
        sign = self._sign(*_COMPARISONS)
        if sign is not None:
            other = self._level(0)
            one = (
                _equality(one, other, sign == "==") if sign in ("==", "!=") else _binary(_COMPARISONS[sign], one, other)
            )
        self._depth -= 1
        return one

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        node = self._level(level + 1)
        while (sign := self._sign(*_LEVELS[level])) is not None:
            node = _binary(_LEVELS[level][sign], node, self._level(level + 1))
        return node

    def _unary(self) -> Node:
        negative = False
        while self._sign("-"):
            negative = not negative
        node = self._atom()
        return _binary(operator.sub, lambda _: 0, node) if negative else node

    def _atom(self) -> Node:
        kind, text, place = self._tokens[self._at]
        self._at += 1
        if kind == "number":
            number = int(text, 16) if text[:2] == "0x" else float(text) if "." in text else int(text)
            return lambda _: number
        if kind == "name":
            return self._name(text, place)
        if text == "(":
            node = self._expression()
            self._expect(")")
            return node
        raise self._fault(place, "a number, a name or ( is expected here")

    def _name(self, name: str, place: int) -> Node:
        if self._sign("(") is None:
            if name in _NAMES:
                return _NAMES[name]
            raise self._fault(place, f"{name} is not known")
        arguments = self._arguments()
        if name == "if":
            if len(arguments) != 3:
                raise self._fault(place, "if takes 3 arguments")
            return _choice(*arguments)
        if name not in _FUNCTIONS:
            raise self._fault(place, f"{name} is not known")
        function, fewest, most = _FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            raise self._fault(place, f"{name} takes {fewest if fewest == most else f'{fewest} to {most}'} arguments")
        return lambda uplink: function(uplink, *[argument(uplink) for argument in arguments])

    def _arguments(self) -> list[Node]:
        if self._sign(")"):
            return []
        arguments = [self._expression()]
        while self._sign(","):
            arguments.append(self._expression())
        self._expect(")")
        return arguments

    def _sign(self, *signs: str) -> str | None:
        kind, text, _ = self._tokens[self._at]
        if kind != "sign" or text not in signs:
            return None
        self._at += 1
        return text

    def _expect(self, sign: str) -> None:
        if self._sign(sign) is None:
            raise self._fault(self._tokens[self._at][2], f"{sign} is expected here")

    def _fault(self, place: int, what: str) -> ExpressionError:
        return ExpressionError(f"{what}\n{self._text}\n{' ' * place}^")

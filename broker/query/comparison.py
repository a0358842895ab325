# SPDX-License-Identifier: Apache-2.0
"""Does a target value stand in the relation that a term of ``q`` asks for? (clause 4.9)

A target value is JSON as stored. Values of different data types are unequal and neither greater nor less. What the
time members and times within values hold is compared as time, by a sort key (:func:`temporal_key`), so that
``…:43Z`` and ``…:43.0Z`` are equal. PostgreSQL reads the same expressions and makes the same keys.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from broker.query.patterns import compile_pattern
from broker.query.tree import Operand, Operator, Pattern, Range, Value, ValueKind, ValueList

Test = Callable[[Any], bool]

# Strings that are of each temporal data type (clause 4.6.3), in syntax that Python and PostgreSQL share.
_TIME_OF_DAY: Final = "([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,6})?Z"
_DAY: Final = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
TEMPORAL_SHAPES: Final[dict[ValueKind, str]] = {
    ValueKind.DATE_TIME: f"^{_DAY}T{_TIME_OF_DAY}$",
    ValueKind.DATE: f"^{_DAY}$",
    ValueKind.TIME: f"^{_TIME_OF_DAY}$",
}
_SHAPES: Final = {kind: re.compile(shape[1:-1]) for kind, shape in TEMPORAL_SHAPES.items()}
_FRACTION_DIGITS: Final = 6
_ORDER: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.GREATER: operator.gt,
    Operator.GREATER_EQUAL: operator.ge,
    Operator.LESS: operator.lt,
    Operator.LESS_EQUAL: operator.le,
}


def temporal_key(text: str) -> str:
    """The sort key of a date, time or date and time: without ``Z`` and without zeros at the end of the fraction."""
    whole, point, fraction = text.removesuffix("Z").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if point and fraction else whole


def equal_texts(value: Value) -> tuple[str, ...]:
    """The JSON strings that are equal to ``value``; several for a time, whose fraction may end in zeros."""
    key = str(value.content)
    if value.kind is ValueKind.DATE or value.kind in (ValueKind.TEXT, ValueKind.URI):
        return (key,)
    whole, _, fraction = key.partition(".")
    longer = [f"{whole}.{fraction:0<{digits}}Z" for digits in range(max(len(fraction), 1), _FRACTION_DIGITS + 1)]
    return (key + "Z", *(text for text in longer if text != key + "Z"))


def values_of(operand: Operand) -> tuple[Value, ...]:
    """The single values of a value or a list."""
    if isinstance(operand, ValueList):
        return operand.values
    return (operand,) if isinstance(operand, Value) else ()


def typed(item: Any) -> Any:
    """The value of a JSON-LD typed value (``{"@type": "DateTime", "@value": ...}``), or the item itself."""
    return item["@value"] if isinstance(item, dict) and "@value" in item else item


def equality_test(operand: Operand) -> Test:
    """A test of a target value for ``==``: it is one of the values, includes one, or lies in the range."""
    if isinstance(operand, Range):
        above, below = order_test(Operator.GREATER_EQUAL, operand.low), order_test(Operator.LESS_EQUAL, operand.high)
        return lambda target: above(target) and below(target)
    is_one = _member_test(values_of(operand))

    def equal(target: Any) -> bool:
        if isinstance(target, list):
            return any(is_one(typed(item)) for item in target)
        return is_one(typed(target))

    return equal


def _member_test(values: Iterable[Value]) -> Test:
    """Whether a scalar is one of the values; ``1``, ``true`` and ``"1"`` are three different ones."""
    texts: set[str] = set()
    numbers: set[float] = set()
    booleans: set[bool] = set()
    for value in values:
        if value.kind is ValueKind.NUMBER:
            numbers.add(float(value.content) if isinstance(value.content, float) else int(value.content))
        elif value.kind is ValueKind.BOOLEAN:
            booleans.add(bool(value.content))
        else:
            texts.update(equal_texts(value))

    def is_one(item: Any) -> bool:
        if isinstance(item, str):
            return item in texts
        if isinstance(item, bool):
            return item in booleans
        return isinstance(item, int | float) and item in numbers

    return is_one


def order_test(symbol: Operator, value: Value) -> Test:
    """A test of a target value for ``> >= < <=``; arrays and other data types never match."""
    compare, limit = _ORDER[symbol], value.content
    if value.kind is ValueKind.NUMBER:
        return lambda target: _is_number(item := typed(target)) and compare(item, limit)
    if value.kind is ValueKind.TEXT:
        return lambda target: isinstance(item := typed(target), str) and compare(item, limit)
    shape = _SHAPES[value.kind]

    def in_order(target: Any) -> bool:
        item = typed(target)
        if not isinstance(item, str) or not shape.fullmatch(item):
            return False
        return compare(temporal_key(item), limit)

    return in_order


def _is_number(item: Any) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool)


def pattern_test(pattern: Pattern) -> Test:
    """A test of a string for ``~=``; other data types never match."""
    search = compile_pattern(pattern.text).search
    return lambda target: isinstance(item := typed(target), str) and search(item)


def is_text(target: Any) -> bool:
    """Whether a target value is a string, as patterns need it."""
    return isinstance(typed(target), str)

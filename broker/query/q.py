# SPDX-License-Identifier: Apache-2.0
"""The query language ``q`` (clause 4.9 of ETSI GS CIM 009 V1.9.1), text to tree.

``speed>50;brandName!="Mercedes"`` · ``temperature==10..20`` · ``address[city]=="Berlin"`` ·
``sensor{Device:humidity}==40``. Where the grammar leaves room, or common use goes beyond it:

- A URI may stand without quotation marks, up to the next ``; | ( ) ,``; otherwise quote it.
- A bare word is a string (Example 12 writes ``gender==Male``); ``true`` and ``false`` are Booleans.
- A pattern may stand in quotation marks; then only ``\\"`` is an escape and everything else is taken as it is.
  Without them it ends before ``;``, ``|`` or ``)`` outside its own parentheses and brackets.
- A quoted time compared with ``observedAt`` and its like is read as a time.
- ``!name`` (the entity has no such element) is an extension.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final

from broker.query.formula import parse_formula
from broker.query.patterns import PatternError, compile_pattern
from broker.query.tokens import Limits, Scanner, require_storable
from broker.query.tree import (
    ORDERING,
    AttributePath,
    Expand,
    LinkedPath,
    Operand,
    Operator,
    Pattern,
    QueryTree,
    Range,
    Term,
    Value,
    ValueKind,
    ValueList,
)
from broker.times import parse_time, to_text

TIME_MEMBERS: Final = frozenset({"observedAt", "createdAt", "modifiedAt", "deletedAt", "expiresAt"})
SYSTEM_MEMBERS: Final = TIME_MEMBERS | {"unitCode", "datasetId", "valueType", "objectType"}
ENTITY_MEMBERS: Final = frozenset({"createdAt", "modifiedAt", "expiresAt"})

_NAME: Final = re.compile(r"[^\W\d_]\w*(?::[^\W\d_]\w*)?")  # clause 4.6.2, with a prefix
_SHORT_NAME: Final = re.compile(r"[^\W\d_]\w*")
_MEMBER: Final = re.compile(r"[^\W\d][\w:@-]*|@\w+")  # JSON member or language tag; never a number
_OPERATOR: Final = re.compile(r"==|!=|>=|<=|~=|!~=|>|<")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_DATE_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})"
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9T])")
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,6})?Z")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w:-])")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s;|(),<>\"\\^`{}]+")
_WORD: Final = re.compile(r"[^\W\d_][\w-]*")
_MAX_EXACT_INTEGER: Final = 2**53  # beyond it JSON numbers are not interoperable (RFC 8259, section 6)


@dataclass(frozen=True, slots=True)
class _Names:
    """How names become IRIs, and the attributes whose values are terms to expand as well (``expandValues``)."""

    expand: Expand
    expand_values: frozenset[str]


def parse_q(
    text: str, expand: Expand, *, expand_values: Iterable[str] = (), limits: Limits | None = None, name: str = "q"
) -> QueryTree:
    """Read ``q``; ``expand_values`` are the names (not IRIs) of the attributes whose values are expanded too.

    ``name`` is what errors call the text: other parameters are in this language too.
    Raises ``BadRequestData``, its detail showing the text with a caret under the spot, and ``TooComplexQuery``
    beyond ``limits``.
    """
    names = _Names(expand, frozenset(expand(name) for name in expand_values))
    return parse_formula(Scanner(text, name, limits or Limits()), lambda scanner: _term(scanner, names), "|")


def parse_path(scanner: Scanner, expand: Expand) -> AttributePath:
    """Read a path that stays within the entity, where the scanner stands; other languages use it too."""
    start = scanner.position
    path = _attribute(scanner, _Names(expand, frozenset()))
    if isinstance(path, LinkedPath):
        scanner.fail("a path that stays within the entity is expected here", start)
    return path


def _term(scanner: Scanner, names: _Names) -> Term:
    """``QueryTerm = Attribute [(Operator / patternOp / notPatternOp) value] / "!" Attribute``."""
    if scanner.take_symbol("!"):
        return Term(_attribute(scanner, names), Operator.ABSENT)
    path = _attribute(scanner, names)
    symbol = scanner.take(_OPERATOR)
    if symbol is None:
        return Term(path, Operator.EXISTS)
    operator = Operator(symbol)
    if operator in (Operator.PATTERN, Operator.NOT_PATTERN):
        return Term(path, operator, _pattern(scanner))
    operand = _single_value(scanner) if operator in ORDERING else _equality_value(scanner)
    return Term(path, operator, _fitted(operand, _last(path), names))


def _attribute(scanner: Scanner, names: _Names) -> AttributePath | LinkedPath:
    """``Attribute = AttrName %x7B LinkedEntityPath %x7D / ValuePath``."""
    start = scanner.position
    name = scanner.take(_NAME)
    if name is None:
        scanner.fail("an attribute name is expected here")
    if scanner.sees("{"):
        return _linked(scanner, name, names)
    return _value_path(scanner, name, start, names)


def _linked(scanner: Scanner, name: str, names: _Names) -> LinkedPath:
    """``AttrName %x7B *1(EntityType *(%x2C EntityType) %x3A) LinkedEntityPath %x7D``."""
    scanner.expect("{")
    scanner.enter()
    types = _linked_types(scanner)
    target = _attribute(scanner, names)
    scanner.expect("}")
    scanner.leave()
    return LinkedPath(names.expand(name), tuple(names.expand(name) for name in types), target)


def _linked_types(scanner: Scanner) -> list[str]:
    """``*1(EntityType *(%x2C EntityType) %x3A)``; nothing is read when no colon ends the list."""
    start = scanner.position
    types = []
    while (name := scanner.take(_SHORT_NAME)) is not None:
        types.append(name)
        if scanner.take_symbol(":"):
            return types
        if not scanner.take_symbol(","):
            break
    scanner.position = start
    return []


def _value_path(scanner: Scanner, name: str, start: int, names: _Names) -> AttributePath:
    """``ValuePath = DottedPath *1(%x5B DottedPath %x5D)``, ``DottedPath = AttrName *(%x2E AttrName)``."""
    parts = [name]
    while not scanner.sees("..") and scanner.take_symbol("."):
        part = scanner.take(_NAME)
        if part is None:
            scanner.fail("an attribute name is expected here")
        parts.append(part)
    member = _system_member(parts)
    if member is not None:
        parts.pop()
    trailing = _trailing_path(scanner) if scanner.sees("[") else ()
    if trailing and member is not None:
        scanner.fail(f"{member} has no members to look into", start)
    return AttributePath(tuple(names.expand(part) for part in parts), member, trailing)


def _system_member(parts: list[str]) -> str | None:
    """The last name when it is a system member of what stands before it (clauses 4.8, 4.5.2 and 4.5.3)."""
    known = ENTITY_MEMBERS if len(parts) == 1 else SYSTEM_MEMBERS
    return parts[-1] if parts[-1] in known else None


def _trailing_path(scanner: Scanner) -> tuple[str, ...]:
    """``%x5B DottedPath %x5D``: JSON member names, a language tag, or ``*`` for any language."""
    scanner.expect("[")
    if scanner.take_symbol("*"):
        scanner.expect("]")
        return ("*",)
    members = []
    while True:
        member = scanner.take(_MEMBER)
        if member is None:
            scanner.fail("the name of a JSON member or a language is expected here")
        members.append(member)
        if not scanner.take_symbol("."):
            break
    scanner.expect("]")
    return tuple(members)


def _single_value(scanner: Scanner) -> Value:
    """``ComparableValue = Number / quotedStr / dateTime / date / time``: what can be greater or less."""
    start = scanner.position
    value = _value(scanner)
    if value.kind is ValueKind.BOOLEAN:
        scanner.fail("a Boolean is neither greater nor less than another", start)
    if value.kind is ValueKind.URI:
        scanner.fail("a URI is neither greater nor less than another", start)
    if scanner.sees("..") or scanner.sees(","):
        scanner.fail("a range or a list can only follow '==' or '!='")
    return value


def _equality_value(scanner: Scanner) -> Operand:
    """``CompEqualityValue = OtherValue / ValueList / Range / URI``, or a single ``ComparableValue``."""
    start = scanner.position
    first = _value(scanner)
    if scanner.take_symbol(".."):
        high = _value(scanner)
        if first.kind is not high.kind or first.kind in (ValueKind.BOOLEAN, ValueKind.URI):
            scanner.fail("a range goes from a number, string, date or time to another of its kind", start)
        return Range(first, high)
    values = [first]
    while scanner.take_symbol(","):
        scanner.count_term()
        values.append(_value(scanner))
    return first if len(values) == 1 else ValueList(tuple(values))


def _value(scanner: Scanner) -> Value:
    """``Value = Number / quotedStr / dateTime / date / time / false / true / URI``."""
    start = scanner.position
    if scanner.sees('"'):
        return Value(ValueKind.TEXT, _string(scanner))
    if (text := scanner.take(_DATE_TIME)) is not None:
        return _moment(scanner, text, start)
    if (text := scanner.take(_DATE)) is not None:
        return _date(scanner, text, start)
    if (text := scanner.take(_TIME)) is not None:
        return _time(scanner, text, start)
    if (text := scanner.take(_NUMBER)) is not None:
        return _number(scanner, text, start)
    if (text := scanner.take(_URI)) is not None:
        return Value(ValueKind.URI, text)
    text = scanner.take(_WORD)
    if text is None:
        scanner.fail("a number, a string in quotation marks, a date, a time, a Boolean or a URI is expected here")
    if text in ("true", "false"):
        return Value(ValueKind.BOOLEAN, text == "true")
    return Value(ValueKind.TEXT, text)


def _string(scanner: Scanner) -> str:
    """``quotedStr = String`` (section 7 of RFC 8259)."""
    start = scanner.position
    quoted = scanner.take(_STRING)
    if quoted is None:
        scanner.fail("the closing quotation mark is missing", start)
    if "\\" not in quoted:
        return quoted[1:-1]
    try:
        text = json.loads(quoted, strict=False)
    except json.JSONDecodeError as error:
        scanner.fail("the string is not a JSON string", start + min(error.pos, len(quoted) - 1))
    require_storable(text, "q")
    return str(text)


def _number(scanner: Scanner, text: str, start: int) -> Value:
    """``Number`` (section 6 of RFC 8259); whole numbers stay exact up to 2 to the power of 53."""
    if text.lstrip("-").isdecimal() and len(text) <= 16 and abs(int(text)) <= _MAX_EXACT_INTEGER:
        return Value(ValueKind.NUMBER, int(text))
    number = float(text)
    if not math.isfinite(number):
        scanner.fail("the number is too large", start)
    return Value(ValueKind.NUMBER, number)


def _moment(scanner: Scanner, text: str, start: int) -> Value:
    """``dateTime`` (clause 4.6.3); an offset other than ``Z`` is accepted and converted."""
    try:
        return Value(ValueKind.DATE_TIME, _moment_key(text))
    except (ValueError, OverflowError):
        scanner.fail("the date and time do not exist", start)


def _moment_key(text: str) -> str:
    return to_text(parse_time(text)).removesuffix("Z")


def moment_key(moment: datetime) -> str:
    """The sort key that a ``dateTime`` value holds, of an aware ``moment``."""
    return to_text(moment).removesuffix("Z")


def moment_of(value: Value) -> datetime:
    """The aware UTC time of a ``dateTime`` value."""
    return datetime.fromisoformat(str(value.content)).replace(tzinfo=UTC)


def _date(scanner: Scanner, text: str, start: int) -> Value:
    """``date`` (clause 4.6.3)."""
    try:
        return Value(ValueKind.DATE, date.fromisoformat(text).isoformat())
    except ValueError:
        scanner.fail("the date does not exist", start)


def _time(scanner: Scanner, text: str, start: int) -> Value:
    """``time`` (clause 4.6.3), always UTC."""
    whole, _, fraction = text.removesuffix("Z").replace(",", ".").partition(".")
    fraction = fraction.rstrip("0")
    try:
        time.fromisoformat(whole)
    except ValueError:
        scanner.fail("the time does not exist", start)
    return Value(ValueKind.TIME, f"{whole}.{fraction}" if fraction else whole)


def _pattern(scanner: Scanner) -> Pattern:
    """``RegExp``, in quotation marks or bare."""
    start = scanner.position
    if scanner.sees('"'):
        quoted = scanner.take(_STRING)
        if quoted is None:
            scanner.fail("the closing quotation mark is missing", start)
        text, offset = quoted[1:-1].replace('\\"', '"'), start + 1
    else:
        text, offset = _bare_pattern(scanner), start
    if not text:
        scanner.fail("a pattern is expected here", start)
    try:
        compile_pattern(text)
    except PatternError as error:
        scanner.fail(error.problem, offset + error.position)
    return Pattern(text)


def _bare_pattern(scanner: Scanner) -> str:
    """Everything up to ``;``, ``|`` or ``)`` that is outside the pattern's own parentheses and brackets."""
    text, start = scanner.text, scanner.position
    position, depth, bracket = start, 0, False
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif bracket:
            bracket = character != "]"
        elif depth == 0 and character in ";|)":
            break
        else:
            depth += {"(": 1, ")": -1}.get(character, 0)
            bracket = character == "["
        position += 1
    scanner.position = min(position, len(text))
    return text[start : scanner.position]


def _last(path: AttributePath | LinkedPath) -> AttributePath:
    """The part of a path that names the target element."""
    return _last(path.target) if isinstance(path, LinkedPath) else path


def _fitted(operand: Operand, path: AttributePath, names: _Names) -> Operand:
    """The operand as the target element needs it: expanded terms, or quoted times as times."""
    if path.member in TIME_MEMBERS:
        return _each(operand, _as_moment)
    if path.names and path.names[-1] in names.expand_values and not path.trailing and path.member is None:
        return _each(operand, lambda value: _expanded(value, names.expand))
    return operand


def _each(operand: Operand, change: Callable[[Value], Value]) -> Operand:
    if isinstance(operand, Value):
        return change(operand)
    if isinstance(operand, ValueList):
        return ValueList(tuple(change(value) for value in operand.values))
    if isinstance(operand, Range):
        return Range(change(operand.low), change(operand.high))
    return operand


def _as_moment(value: Value) -> Value:
    if value.kind is ValueKind.TEXT and _DATE_TIME.fullmatch(str(value.content)):
        try:
            return Value(ValueKind.DATE_TIME, _moment_key(str(value.content)))
        except (ValueError, OverflowError):
            return value
    return value


def _expanded(value: Value, expand: Expand) -> Value:
    if value.kind in (ValueKind.TEXT, ValueKind.URI):
        return Value(ValueKind.URI, expand(str(value.content)))
    return value

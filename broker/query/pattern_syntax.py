# SPDX-License-Identifier: Apache-2.0
"""Reading a regular expression: its tree, and the same expression as PostgreSQL reads it.

The dialect is described in :mod:`broker.query.patterns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

from broker.errors import TooComplexQuery

MAX_REPEAT: Final = 255  # PostgreSQL's own limit
MAX_NESTING: Final = 32  # parentheses within each other

START: Final = "start of the text"  # stand before and after the characters; ^ and $ are positions that take them
END: Final = "end of the text"

Ranges = tuple[tuple[int, int], ...]  # code points, both ends included
_DIGIT: Final[Ranges] = ((48, 57),)
_UPPER: Final[Ranges] = ((65, 90),)
_LOWER: Final[Ranges] = ((97, 122),)
_SPACE: Final[Ranges] = ((9, 13), (32, 32))
_POSIX_CLASSES: Final[dict[str, Ranges]] = {
    "alpha": _UPPER + _LOWER,
    "digit": _DIGIT,
    "alnum": _DIGIT + _UPPER + _LOWER,
    "upper": _UPPER,
    "lower": _LOWER,
    "space": _SPACE,
    "blank": ((9, 9), (32, 32)),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "xdigit": (*_DIGIT, (65, 70), (97, 102)),
}
_WORD: Final = _DIGIT + _UPPER + ((95, 95),) + _LOWER
_ESCAPED_CLASSES: Final[dict[str, Ranges]] = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_ESCAPED_CHARACTERS: Final = {"n": "\n", "t": "\t", "r": "\r"}


class PatternError(ValueError):
    """The pattern is malformed at ``position`` (characters from its start)."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.position = position


@dataclass(frozen=True, slots=True)
class Symbol:
    """One position: ``START``, ``END``, or a character within ``ranges`` (outside them when ``negated``)."""

    mark: str = ""
    ranges: Ranges = ()
    negated: bool = False

    def takes(self, item: str) -> bool:
        if self.mark or len(item) > 1:
            return item == self.mark
        point = ord(item)
        return any(low <= point <= high for low, high in self.ranges) != self.negated


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    node: Node
    low: int
    high: int | None  # None: without end


Node = Symbol | Sequence | Choice | Repeat


def _quoted(character: str) -> str:
    """A character that stands for itself in PostgreSQL, inside and outside brackets."""
    return character if character.isalnum() or not character.isascii() else "\\" + character


class _Reader:
    """Recursive descent over a pattern; ``posix`` collects the same pattern as PostgreSQL reads it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.posix: list[str] = []
        self._nesting = 0

    def whole(self) -> Node:
        """``Pattern = Choice``, and nothing behind it."""
        node = self._choice()
        if self.position < len(self.text):
            self._fail("')' has no '(' before it")
        return node

    def _peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def _next(self, missing: str) -> str:
        character = self._peek()
        if not character:
            self._fail(missing)
        self.position += 1
        return character

    def _fail(self, problem: str, position: int | None = None) -> NoReturn:
        raise PatternError(problem, self.position if position is None else position)

    def _choice(self) -> Node:
        """``Choice = Branch *("|" Branch)``."""
        branches = [self._branch()]
        while self._peek() == "|":
            self.position += 1
            self.posix.append("|")
            branches.append(self._branch())
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _branch(self) -> Node:
        """``Branch = *(Atom [Quantifier])``."""
        parts = []
        while self._peek() not in ("", "|", ")"):
            atom = self._atom()
            parts.append(self._quantified(atom))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _atom(self) -> Node:
        """``Atom = "(" Choice ")" / "[" Bracket "]" / "." / "^" / "$" / "\\" escape / character``."""
        start = self.position
        character = self._next("a character is expected")
        if character == "(":
            return self._group()
        if character == "[":
            return self._bracket(start)
        if character == "\\":
            return self._escape()
        if character in "*+?{":
            self._fail(f"{character!r} has nothing to repeat", start)
        if character in ".^$":
            self.posix.append(character)
            return {".": Symbol(negated=True), "^": Symbol(START), "$": Symbol(END)}[character]
        self.posix.append(_quoted(character))
        return _character(character)

    def _group(self) -> Node:
        """``"(" Choice ")"``; the opening parenthesis has been read."""
        opening = self.position - 1
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise TooComplexQuery(f"the pattern nests more than {MAX_NESTING} parentheses")
        if self._peek() == "?":
            self._fail("'(?' is not part of the dialect")
        self.posix.append("(")
        node = self._choice()
        if self._peek() != ")":
            self._fail("'(' is not closed", opening)
        self.position += 1
        self.posix.append(")")
        self._nesting -= 1
        return node

    def _escape(self) -> Symbol:
        """What follows a backslash outside brackets."""
        start = self.position - 1
        ranges, negated, posix = self._escaped(start)
        self.posix.append(posix)
        return Symbol(ranges=ranges, negated=negated)

    def _escaped(self, start: int) -> tuple[Ranges, bool, str]:
        """Ranges, whether they are negated, and PostgreSQL's text of what follows a backslash."""
        character = self._next("a character is expected after '\\'")
        if character.lower() in _ESCAPED_CLASSES:
            ranges = _ESCAPED_CLASSES[character.lower()]
            return ranges, character.isupper(), "\\" + character
        if character.isalnum() and character not in _ESCAPED_CHARACTERS:
            self._fail(f"'\\{character}' is not part of the dialect", start)
        literal = _ESCAPED_CHARACTERS.get(character, character)
        return ((ord(literal), ord(literal)),), False, _quoted(literal)

    def _bracket(self, opening: int) -> Symbol:
        """``"[" ["^"] 1*(class / range / character) "]"``; a ``]`` in the first place stands for itself."""
        negated = self._peek() == "^"
        self.position += negated
        ranges: list[tuple[int, int]] = []
        posix = "[^" if negated else "["
        first = True
        while first or self._peek() != "]":
            if not self._peek():
                self._fail("'[' is not closed", opening)
            item, text = self._bracket_item()
            ranges += item
            posix += text
            first = False
        self.position += 1
        self.posix.append(posix + "]")
        return Symbol(ranges=tuple(ranges), negated=negated)

    def _bracket_item(self) -> tuple[Ranges, str]:
        """One class, range or character within brackets."""
        start = self.position
        if self.text.startswith("[:", start):
            return self._posix_class(start)
        if self.text.startswith(("[.", "[="), start):
            self._fail("collating elements are not part of the dialect")
        low, text = self._bracket_end(start)
        if self._peek() != "-" or self.text[self.position + 1 : self.position + 2] in ("]", ""):
            return low, text
        self.position += 1
        high, high_text = self._bracket_end(self.position)
        if len(low) > 1 or len(high) > 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1]:
            self._fail("a range goes from one character to another", start)
        if low[0][0] > high[0][0]:
            self._fail("the range ends before it starts", start)
        return ((low[0][0], high[0][0]),), f"{text}-{high_text}"

    def _bracket_end(self, start: int) -> tuple[Ranges, str]:
        """A character or an escape within brackets."""
        character = self._next("'[' is not closed")
        if character != "\\":
            return ((ord(character), ord(character)),), _quoted(character)
        ranges, negated, text = self._escaped(start)
        if negated:
            self._fail("a negated class cannot stand within brackets", start)
        return ranges, text

    def _posix_class(self, start: int) -> tuple[Ranges, str]:
        """``[:alpha:]`` and its like."""
        end = self.text.find(":]", start)
        name = self.text[start + 2 : end] if end > 0 else ""
        if name not in _POSIX_CLASSES:
            self._fail("the character class is not known", start)
        self.position = end + 2
        return _POSIX_CLASSES[name], f"[:{name}:]"

    def _quantified(self, atom: Node) -> Node:
        """``Quantifier = ("*" / "+" / "?" / "{" m [","[n]] "}") ["?"]``; lazy or not, the same texts match."""
        start = self.position
        found = self._quantifier()
        if found is None:
            return atom
        if isinstance(atom, Symbol) and atom.mark:
            self._fail("an anchor cannot be repeated", start)
        low, high, posix = found
        self.posix.append(posix)
        if self._peek() == "?":
            self.position += 1
        if self._peek() in ("*", "+", "?", "{"):
            self._fail(f"{self._peek()!r} has nothing to repeat")
        return Repeat(atom, low, high)

    def _quantifier(self) -> tuple[int, int | None, str] | None:
        """Lowest and highest count, and the text for PostgreSQL; None when there is no quantifier."""
        start = self.position
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self._peek())
        if simple is not None:
            self.position += 1
            return (*simple, self.text[start])
        if self._peek() != "{":
            return None
        end = self.text.find("}", start)
        low_text, comma, high_text = self.text[start + 1 : max(end, start + 1)].partition(",")
        if not _is_count(low_text) or (high_text and not _is_count(high_text)):
            self._fail("'{' is not followed by counts, as in '{2,5}'", start)
        low = int(low_text)
        high = int(high_text) if high_text else (None if comma else low)
        if high is not None and high < low:
            self._fail("the highest count is below the lowest", start)
        self.position = end + 1
        return low, high, self.text[start : end + 1]


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= MAX_REPEAT


def _character(character: str) -> Symbol:
    return Symbol(ranges=((ord(character), ord(character)),))


def parse_pattern(text: str) -> tuple[Node, str]:
    """The tree of a pattern, and its text for PostgreSQL. Raises :class:`PatternError`."""
    reader = _Reader(text)
    node = reader.whole()
    return node, "".join(reader.posix)

# SPDX-License-Identifier: Apache-2.0
"""Reading a query text from left to right: what comes next, and where it goes wrong.

The scanner knows no grammar. Which token may come next depends on the rule (``10..20`` is a range after ``==`` and no
name anywhere), so a rule asks for what it wants. An error shows the text and a caret under the spot.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import NoReturn

from broker.errors import BadRequestData, TooComplexQuery

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what no text column or jsonb string can hold


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a query may be; beyond it is ``TooComplexQuery``."""

    length: int = 8192  # characters
    depth: int = 16  # parentheses and braces within each other
    terms: int = 128  # conditions, types or scopes


def pointed(message: str, text: str, position: int) -> str:
    """``message``, the text and a caret under ``position``; full-width characters take two columns."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    before = shown[:position]
    columns = sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in before)
    return f"{message}\n    {shown}\n    {' ' * columns}^"


def require_storable(text: str, parameter: str) -> None:
    """Raise ``BadRequestData`` for U+0000 and lone surrogates, which the database refuses."""
    found = _UNSTORABLE.search(text)
    if found:
        message = f"{parameter} contains the character U+{ord(found[0]):04X}, which no value can contain"
        raise BadRequestData(pointed(message, text, found.start()))


class Scanner:
    """A position in a text. ``parameter`` names the text in messages; ``limits`` are checked on the way."""

    __slots__ = ("_depth", "_limits", "_terms", "parameter", "position", "text")

    def __init__(self, text: str, parameter: str, limits: Limits) -> None:
        if len(text) > limits.length:
            raise TooComplexQuery(
                f"{parameter} is {len(text)} characters long; the limit is {limits.length} characters"
            )
        require_storable(text, parameter)
        self.text = text
        self.parameter = parameter
        self.position = 0
        self._limits = limits
        self._depth = 0
        self._terms = 0

    def take(self, token: re.Pattern[str]) -> str | None:
        """Read ``token`` here and go on behind it; None and no move when something else is here."""
        found = token.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        return found[0]

    def take_symbol(self, symbol: str) -> bool:
        """Read exactly ``symbol`` here; False and no move when something else is here."""
        if not self.text.startswith(symbol, self.position):
            return False
        self.position += len(symbol)
        return True

    def sees(self, symbol: str) -> bool:
        """Whether ``symbol`` is here."""
        return self.text.startswith(symbol, self.position)

    def at_end(self) -> bool:
        """Whether the whole text has been read."""
        return self.position == len(self.text)

    def expect(self, symbol: str) -> None:
        """Read ``symbol`` or raise ``BadRequestData``."""
        if not self.take_symbol(symbol):
            self.fail(f"{symbol!r} is missing")

    def fail(self, problem: str, position: int | None = None) -> NoReturn:
        """Raise ``BadRequestData`` pointing at ``position``, or at where the scanner stands."""
        spot = self.position if position is None else position
        raise BadRequestData(pointed(f"{self.parameter} is not valid: {problem}", self.text, spot))

    def enter(self) -> None:
        """One parenthesis or brace deeper."""
        self._depth += 1
        if self._depth > self._limits.depth:
            raise TooComplexQuery(f"{self.parameter} is nested more than {self._limits.depth} levels deep")

    def leave(self) -> None:
        """Out of the innermost parenthesis or brace."""
        self._depth -= 1

    def count_term(self) -> None:
        """One more condition, type or scope."""
        self._terms += 1
        if self._terms > self._limits.terms:
            raise TooComplexQuery(f"{self.parameter} has more than {self._limits.terms} terms")

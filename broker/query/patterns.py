# SPDX-License-Identifier: Apache-2.0
"""Regular expressions of ``~=``, ``!~=`` and ``idPattern``: one dialect, matched here and in PostgreSQL alike.

The dialect is the extended regular expression of IEEE 1003.2, searched for anywhere in the text unless anchored:
``.`` (any character, line breaks too) ``* + ? {m,n}`` (n up to 255) ``| ( ) ^ $``, bracket expressions with ranges and
classes (``[[:alpha:]]``), and the usual ``\\d \\w \\s \\D \\W \\S``. Classes are the ASCII ones; Japanese text is
matched by itself, by ranges and by ``.``. There are no back references and no look-around.

Patterns come from outside and run for every change of every entity, so they are matched by an automaton (Glushkov's
construction, determinised while it reads) whose time grows with the length of the text only. Python's ``re`` can take
exponential time for patterns such as ``(a+)+$``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from typing import Final

from broker.errors import TooComplexQuery
from broker.query.pattern_syntax import (
    END,
    START,
    Choice,
    Node,
    PatternError,
    Repeat,
    Sequence,
    Symbol,
    parse_pattern,
)

__all__ = ["CompiledPattern", "PatternError", "compile_pattern"]

MAX_PATTERN_LENGTH: Final = 512  # characters
MAX_POSITIONS: Final = 2000  # characters of the pattern after {m,n} is written out
MAX_CACHED_STEPS: Final = 4096  # transitions kept for one pattern


@dataclass(slots=True)
class _Fragment:
    """Part of the automaton: can it be empty, and the sets (bits) of its first and last positions."""

    nullable: bool
    first: int
    last: int


class _Builder:
    """Glushkov's construction: position i takes a symbol, ``follow[i]`` is the set that may come after it."""

    def __init__(self) -> None:
        self.symbols: list[Symbol] = []
        self.follow: list[int] = []
        self._built = 0  # counts nodes, because repeated empty groups multiply without making positions

    def build(self, node: Node) -> _Fragment:
        self._built += 1
        if self._built > 4 * MAX_POSITIONS:
            raise TooComplexQuery(f"the pattern repeats to more than {MAX_POSITIONS} characters")
        if isinstance(node, Symbol):
            return self._position(node)
        if isinstance(node, Sequence):
            return self._joined([self.build(part) for part in node.parts])
        if isinstance(node, Choice):
            return _either([self.build(branch) for branch in node.branches])
        return self._repeated(node)

    def _position(self, symbol: Symbol) -> _Fragment:
        if len(self.symbols) == MAX_POSITIONS:
            raise TooComplexQuery(f"the pattern repeats to more than {MAX_POSITIONS} characters")
        bit = 1 << len(self.symbols)
        self.symbols.append(symbol)
        self.follow.append(0)
        return _Fragment(nullable=False, first=bit, last=bit)

    def _link(self, last: int, first: int) -> None:
        while last:
            position = last.bit_length() - 1
            self.follow[position] |= first
            last ^= 1 << position

    def _joined(self, fragments: list[_Fragment]) -> _Fragment:
        whole = _Fragment(nullable=True, first=0, last=0)
        for fragment in fragments:
            self._link(whole.last, fragment.first)
            if whole.nullable:
                whole.first |= fragment.first
            whole.last = fragment.last | (whole.last if fragment.nullable else 0)
            whole.nullable = whole.nullable and fragment.nullable
        return whole

    def _repeated(self, node: Repeat) -> _Fragment:
        fragments = [self.build(node.node) for _ in range(node.low)]
        if node.high is None:
            loop = fragments[-1] if fragments else self.build(node.node)
            self._link(loop.last, loop.first)
            if not fragments:
                fragments = [_Fragment(nullable=True, first=loop.first, last=loop.last)]
        else:
            optional = [self.build(node.node) for _ in range(node.high - node.low)]
            fragments += [_Fragment(nullable=True, first=part.first, last=part.last) for part in optional]
        return self._joined(fragments)


def _either(fragments: list[_Fragment]) -> _Fragment:
    whole = _Fragment(nullable=False, first=0, last=0)
    for fragment in fragments:
        whole.nullable = whole.nullable or fragment.nullable
        whole.first |= fragment.first
        whole.last |= fragment.last
    return whole


@dataclass(slots=True, eq=False)
class CompiledPattern:
    """A pattern ready to search with; ``posix`` is the same pattern for PostgreSQL's ``~`` under collation C.

    Whatever text matches begins with ``prefix``, which is empty when the pattern does not say how texts begin.
    """

    posix: str
    prefix: str
    _symbols: list[Symbol]
    _follow: list[int]
    _whole: _Fragment
    _steps: dict[tuple[int, str], int] = field(default_factory=dict)

    def search(self, text: str) -> bool:
        """Whether the pattern matches somewhere in ``text``; the time is linear in its length."""
        if self._whole.nullable:
            return True
        state = self._anchored(0, (START,) if text else (START, END))
        steps = self._steps
        for character in text:
            if state < 0:
                return True
            known = steps.get((state, character))
            state = self._step(state, character) if known is None else known
        return state < 0 or self._anchored(state, (END,)) < 0

    def _anchored(self, state: int, marks: tuple[str, ...]) -> int:
        """The positions reached from ``state`` over any number of anchors that hold here; -1 as in :meth:`_step`.

        Anchors take no character, so that ``^^`` is ``^``, and ``$^`` matches the empty text.
        """
        while True:
            reached = state
            for mark in marks:
                step = self._step(reached, mark)
                if step < 0:
                    return -1
                reached |= step
            if reached == state:
                return state
            state = reached

    def _step(self, state: int, item: str) -> int:
        """The positions that take ``item`` after those in ``state``; -1 once the pattern has matched."""
        candidates = self._whole.first
        rest = state
        while rest:
            position = rest.bit_length() - 1
            candidates |= self._follow[position]
            rest ^= 1 << position
        reached = 0
        while candidates:
            position = candidates.bit_length() - 1
            candidates ^= 1 << position
            if self._symbols[position].takes(item):
                reached |= 1 << position
        result = -1 if reached & self._whole.last else reached
        if len(self._steps) >= MAX_CACHED_STEPS:
            self._steps.clear()
        self._steps[state, item] = result
        return result


@lru_cache(maxsize=512)
def _compiled(text: str) -> CompiledPattern:
    node, posix = parse_pattern(text)
    builder = _Builder()
    whole = builder.build(node)
    return CompiledPattern(posix, _prefix(node), builder.symbols, builder.follow, whole)


def _prefix(node: Node) -> str:
    """The characters that ``^`` and single characters behind it fix: ``urn:x:`` of ``^urn:x:[0-9]+``."""
    parts = node.parts if isinstance(node, Sequence) else (node,)
    if not parts or not isinstance(parts[0], Symbol) or parts[0].mark != START:
        return ""
    characters = (_only_character(part) for part in parts[1:])
    return "".join(takewhile(bool, characters))


def _only_character(node: Node) -> str:
    """The one character that ``node`` takes, empty when it may take others or none."""
    if not isinstance(node, Symbol) or node.mark or node.negated or len(node.ranges) != 1:
        return ""
    low, high = node.ranges[0]
    return chr(low) if low == high else ""


def compile_pattern(text: str) -> CompiledPattern:
    """Read a pattern; equal texts share one automaton.

    Raises :class:`PatternError` for a malformed pattern, ``TooComplexQuery`` for one that is too large.
    """
    if len(text) > MAX_PATTERN_LENGTH:
        raise TooComplexQuery(
            f"the pattern is {len(text)} characters long; the limit is {MAX_PATTERN_LENGTH} characters"
        )
    return _compiled(text)

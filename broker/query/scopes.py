# SPDX-License-Identifier: Apache-2.0
"""Scope queries (clause 4.19): ``/Madrid/Gardens/#`` · ``/Madrid/+/ParqueNorte`` · ``(/A;/B)|/C`` · ``/#``.

A scope matches with or without its leading slash (clause 4.18 allows both). Beyond the grammar a level may contain
``-`` and ``.``, parentheses may be nested, and ``;`` may stand without them.
"""

from __future__ import annotations

import re
from typing import Final

from broker.query.formula import parse_formula
from broker.query.tokens import Limits, Scanner
from broker.query.tree import ScopePattern, ScopeTree

_LEVEL: Final = re.compile(r"[^\W\d_][\w.-]*|\+")


def parse_scopes(text: str, *, limits: Limits | None = None) -> ScopeTree:
    """Read a ``scopeQ``.

    Raises ``BadRequestData`` when it is malformed, ``TooComplexQuery`` beyond ``limits``.
    """
    return parse_formula(Scanner(text, "scopeQ", limits or Limits()), _scope, "|,")


def _scope(scanner: Scanner) -> ScopePattern:
    """``OrScopeQ = ScopeQ *1(%x2F %x23)``, ``ScopeQ = [%x2F] ScopeQLevel *(%x2F ScopeQLevel)``, or ``/#`` alone."""
    if scanner.take_symbol("/#"):
        return ScopePattern((), subtree=True)
    scanner.take_symbol("/")
    levels = [_level(scanner)]
    while scanner.take_symbol("/"):
        if scanner.take_symbol("#"):
            return ScopePattern(tuple(levels), subtree=True)
        levels.append(_level(scanner))
    return ScopePattern(tuple(levels))


def _level(scanner: Scanner) -> str:
    """``ScopeQLevel = unicodeLetter *ScopeQLevelChar / %x2B``."""
    level = scanner.take(_LEVEL)
    if level is None:
        scanner.fail("a scope level is expected here")
    return level


def scope_expression(pattern: ScopePattern) -> str:
    """The pattern as a regular expression for a whole scope, the same for Python and for PostgreSQL."""
    if not pattern.levels:
        return "^.+$"
    levels = "/".join("[^/]+" if level == "+" else re.escape(level) for level in pattern.levels)
    return f"^/?{levels}{'(/.*)?' if pattern.subtree else ''}$"

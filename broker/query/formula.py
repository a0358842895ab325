# SPDX-License-Identifier: Apache-2.0
"""The part that the three languages share: terms joined by AND and OR, AND binding tighter, with parentheses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from broker.query.tokens import Scanner
from broker.query.tree import And, Formula, Or

Leaf = TypeVar("Leaf")


def parse_formula(scanner: Scanner, parse_leaf: Callable[[Scanner], Leaf], or_symbols: str) -> Formula[Leaf]:
    """Read the whole text as a formula; ``or_symbols`` are the characters that stand for OR.

    Raises ``BadRequestData`` when something is left over.
    """
    tree = _alternatives(scanner, parse_leaf, or_symbols)
    if not scanner.at_end():
        operators = ", ".join(repr(symbol) for symbol in ";" + or_symbols)
        scanner.fail(f"{operators} or the end is expected here")
    return tree


def _alternatives(scanner: Scanner, parse_leaf: Callable[[Scanner], Leaf], or_symbols: str) -> Formula[Leaf]:
    """``Alternatives = Conjunction *(orOp Conjunction)``."""
    operands = [_conjunction(scanner, parse_leaf, or_symbols)]
    while any(scanner.take_symbol(symbol) for symbol in or_symbols):
        operands.append(_conjunction(scanner, parse_leaf, or_symbols))
    return operands[0] if len(operands) == 1 else Or(tuple(operands))


def _conjunction(scanner: Scanner, parse_leaf: Callable[[Scanner], Leaf], or_symbols: str) -> Formula[Leaf]:
    """``Conjunction = Factor *(%x3B Factor)``."""
    operands = [_factor(scanner, parse_leaf, or_symbols)]
    while scanner.take_symbol(";"):
        operands.append(_factor(scanner, parse_leaf, or_symbols))
    return operands[0] if len(operands) == 1 else And(tuple(operands))


def _factor(scanner: Scanner, parse_leaf: Callable[[Scanner], Leaf], or_symbols: str) -> Formula[Leaf]:
    """``Factor = Leaf / %x28 Alternatives %x29``."""
    if not scanner.take_symbol("("):
        scanner.count_term()
        return parse_leaf(scanner)
    scanner.enter()
    tree = _alternatives(scanner, parse_leaf, or_symbols)
    scanner.expect(")")
    scanner.leave()
    return tree

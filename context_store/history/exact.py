# SPDX-License-Identifier: Apache-2.0
"""Results out of exact sums, written in one way for every statement, so that all give the same digits.

How many decimals a division of ``numeric`` has depends on how its operands are written. Zeros with many decimals are
added, more than the operands have for whichever way they were summed.
"""

from __future__ import annotations

from typing import LiteralString


def mean(total: LiteralString, numbers: LiteralString) -> LiteralString:
    """The average; null of no numbers."""
    return "((" + total + " + 0e-20) / nullif(" + numbers + ", 0))::float8"


def deviation(numbers: LiteralString, total: LiteralString, squares: LiteralString) -> LiteralString:
    """The standard deviation of the whole population; null of no numbers."""
    variance = "greatest(" + numbers + " * " + squares + " - " + total + " * " + total + ", 0) + 0e-30"
    return "sqrt((" + variance + ") / nullif(" + numbers + "::numeric * " + numbers + ", 0))::float8"

# SPDX-License-Identifier: Apache-2.0
"""Type selection (clause 4.17): ``Building,House`` · ``(Home;Vehicle)|Motorhome``.

Beyond the grammar, parentheses may be nested and ``;`` may stand without them (AND binds tighter than OR), as in
``q``. A URI that contains ``, ; | ( )`` cannot be written here; the clause recommends short names for that reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from broker.query.formula import parse_formula
from broker.query.tokens import Limits, Scanner
from broker.query.tree import And, Expand, Or, TypeName, TypeTree

_NAME: Final = re.compile(r"[^\W\d_]\w*(?::[^\W\d_]\w*)?(?![^,;|()])")  # clause 4.6.2
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s,;|()<>\"\\^`{}]+")


def parse_types(text: str, expand: Expand, *, limits: Limits | None = None) -> TypeTree | None:
    """Read a type selection; the result is None for ``*``, which selects every type (Table 6.4.3.2-1).

    Raises ``BadRequestData`` for a malformed selection, ``TooComplexQuery`` beyond ``limits``.
    """
    if text == "*":
        return None

    def entity_type(scanner: Scanner) -> TypeName:
        """``EntityType = name / URI`` (clause 4.6.2)."""
        name = scanner.take(_NAME) or scanner.take(_URI)
        if name is None:
            scanner.fail("an entity type is expected here")
        return TypeName(expand(name))

    return parse_formula(Scanner(text, "type", limits or Limits()), entity_type, "|,")


def types_text(tree: TypeTree, compact: Callable[[str], str]) -> str:
    """The selection as text with the names that ``compact`` makes of IRIs: what :func:`parse_types` reads."""
    return _text(tree, compact, inside=False)


def _text(tree: TypeTree, compact: Callable[[str], str], *, inside: bool) -> str:
    if not isinstance(tree, And | Or):
        return compact(tree.iri)
    sign = "|" if isinstance(tree, Or) else ";"
    text = sign.join(_text(part, compact, inside=True) for part in tree.operands)
    return f"({text})" if inside else text

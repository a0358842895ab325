# SPDX-License-Identifier: Apache-2.0
"""What a query says that an index can serve; part of ``query_sql``.

The conditions here follow from those of ``query_sql`` and decide nothing: they are for the table ``entity``, whose
indexes they name, and put there in other words what regular expressions keep from PostgreSQL.

Ids have the collation "C", so that those with a common beginning are a range of the primary key. ``scope_terms`` holds
what each scope can be asked by: ``/A/B`` has itself and, as what lies above it, ``/#``, ``/A/#`` and ``/A/B/#``.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from broker.query.patterns import compile_pattern
from broker.query.tree import EntityQuery, Or, ScopePattern, ScopeTree
from context_store.queries.terms import Condition, text_array

_LAST_CHARACTER: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)  # no text holds them


def index_conditions(query: EntityQuery, entity: sa.Table) -> list[Condition]:
    """Conditions that whatever matches ``query`` meets."""
    conditions: list[Condition] = []
    if query.id_pattern is not None and (prefix := compile_pattern(query.id_pattern).prefix):
        conditions += _starts_with(entity.c.id, prefix)
    if query.scope is not None and (terms := _scope_terms(query.scope)):
        conditions.append(entity.c.scope_terms.op("&&", return_type=sa.Boolean())(text_array(terms)))
    return conditions


def _starts_with(text: sa.ColumnElement[str], prefix: str) -> list[Condition]:
    """A range under collation C, in which texts come in the order of their code points."""
    column = sa.collate(text, "C")
    conditions = [column >= sa.literal(prefix, sa.Text)]
    if (behind := _next_text(prefix)) is not None:
        conditions.append(column < sa.literal(behind, sa.Text))
    return conditions


def _next_text(prefix: str) -> str | None:
    """The first text behind all that begin with ``prefix``; None when there is none."""
    kept = prefix.rstrip(chr(_LAST_CHARACTER))
    if not kept:
        return None
    point = ord(kept[-1]) + 1
    return kept[:-1] + chr(_SURROGATES.stop if point in _SURROGATES else point)


def _scope_terms(tree: ScopeTree) -> list[str]:
    """Terms of which an entity has one when it matches; of a conjunction those of the first operand that has any."""
    if isinstance(tree, ScopePattern):
        return _terms_of(tree)
    found = [_scope_terms(operand) for operand in tree.operands]
    if not isinstance(tree, Or):
        return next((terms for terms in found if terms), [])
    return [term for terms in found for term in terms] if all(found) else []


def _terms_of(pattern: ScopePattern) -> list[str]:
    """``/A/B/#`` of ``/A/B/#`` and of ``/A/B/+/D``; all scopes have a common term, which would select nothing."""
    fixed = pattern.levels[: pattern.levels.index("+")] if "+" in pattern.levels else pattern.levels
    if not fixed:
        return []
    path = "".join(f"/{level}" for level in fixed)
    return [path if fixed == pattern.levels and not pattern.subtree else f"{path}/#"]

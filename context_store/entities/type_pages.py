# SPDX-License-Identifier: Apache-2.0
"""Pages of the entities of a type, in the order of their ids.

To find the first twenty entities of a type by id, PostgreSQL can sort all of that type or walk through all entities by
id until it has met twenty. It guesses, and guesses badly where ids begin with the name of the type, as they do: the
walk then passes by all other types first. The index ``entity_type_id_index`` holds entities by their first type and
id; a page is merged from its beginnings for each type asked for, and those entities of which it is not the first.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from broker.query.ordering import Ordering
from broker.query.tree import EntityQuery, Or, TypeName, TypeTree
from context_store.compiled import Statement
from context_store.queries.statements import ENTITY, ENTITY_COLUMNS, entity_condition, select_entities
from context_store.queries.terms import Condition, text_array

_MOST_TYPES: Final = 5  # each is a part of the statement
# Constants, not parameters: the indexes have them, and a plan that is made without the parameters has to find them.
_FIRST: Final[Any] = sa.literal_column("1", sa.Integer)
_SECOND: Final[Any] = sa.literal_column("2", sa.Integer)


def select_page(
    query: EntityQuery,
    *,
    tenant_id: int,
    limit: int,
    offset: int = 0,
    columns: tuple[str, ...] = ENTITY_COLUMNS,
    now: datetime | None = None,
) -> Statement:
    """A page of the entities that match ``query``, by id; ``now`` as in ``query_sql.entity_condition``."""
    names = _alternatives(query.types)
    if not names or query.ids:
        return select_entities(query, tenant_id=tenant_id, limit=limit, offset=offset, columns=columns, now=now)
    condition = entity_condition(replace(query, types=None), tenant_id=tenant_id, now=now)
    reach = sa.bindparam("reach", limit + offset, sa.Integer)
    parts = [
        sa.select(*(ENTITY.c[column] for column in columns)).where(part, condition).order_by(ENTITY.c.id).limit(reach)
        for part in _parts(names)
    ]
    merged = sa.union_all(*parts)
    merged = merged.order_by(merged.selected_columns["id"]).limit(sa.bindparam("limit", limit, sa.Integer))
    return merged.offset(sa.bindparam("offset", offset, sa.Integer))


def is_walk(query: EntityQuery, ordering: Ordering | None = None) -> bool:
    """Whether a page of ``query`` is a walk through the index of types whatever is asked for: there is but one plan."""
    chosen_by = (query.ids, query.id_pattern, query.geo, query.scope, query.selectors, ordering)
    return not any(chosen_by) and bool(_alternatives(query.types))


def _alternatives(tree: TypeTree | None) -> list[str]:
    """The types (IRIs) of which an entity needs one; none when ``tree`` asks for something else."""
    if isinstance(tree, TypeName):
        return [tree.iri]
    if not isinstance(tree, Or) or len(tree.operands) > _MOST_TYPES:
        return []
    names = [operand.iri for operand in tree.operands if isinstance(operand, TypeName)]
    return list(dict.fromkeys(names)) if len(names) == len(tree.operands) else []


def _parts(names: list[str]) -> list[Condition]:
    """Conditions of which an entity with one of the types meets exactly one."""
    first: sa.ColumnElement[Any] = ENTITY.c.types[_FIRST]
    wanted = text_array(names)
    others = sa.and_(
        ENTITY.c.types[_SECOND].is_not(None),
        ENTITY.c.types.op("&&", return_type=sa.Boolean())(wanted),
        first != sa.all_(wanted),
    )
    return [*(first == sa.literal(name, sa.Text) for name in names), others]

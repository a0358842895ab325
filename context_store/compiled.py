# SPDX-License-Identifier: Apache-2.0
"""Statements of SQLAlchemy as psycopg executes them. Compiling takes as long as building: it is done once a shape.

Two statements have the same shape when they differ in bound values only, as two requests of one client do.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql.cache_key import CacheKey

Statement = sa.Select[Any] | sa.CompoundSelect[Any] | sa.Insert | sa.Delete

_DIALECT: Final = PGDialect_psycopg()  # type: ignore[no-untyped-call]
_SHAPES: Final = 2048  # kept compiled; about 20 KB each


def to_psycopg(statement: Statement) -> tuple[bytes, dict[str, Any]]:
    """The text of a statement with ``%(name)s`` placeholders, and its parameters."""
    key = statement._generate_cache_key()
    if key is None:
        compiled = statement.compile(dialect=_DIALECT)
        return compiled.string.encode(), dict(compiled.params or {})
    text, known = _compiled(_Shape(key, statement))
    return text, dict(known.construct_params(extracted_parameters=key.bindparams) or {})


class _Shape:
    """A statement that equals all others of its shape."""

    __slots__ = ("key", "statement")

    def __init__(self, key: CacheKey, statement: Statement) -> None:
        self.key = key
        self.statement = statement

    def __hash__(self) -> int:
        return hash(self.key.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and self.key.key == other.key.key


@lru_cache(maxsize=_SHAPES)
def _compiled(shape: _Shape) -> tuple[bytes, Compiled]:
    compiled = shape.statement.compile(dialect=_DIALECT, cache_key=shape.key)
    return compiled.string.encode(), compiled

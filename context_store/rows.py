# SPDX-License-Identifier: Apache-2.0
"""Rows of a statement: as tuples, or as objects of ours, with a column for each parameter of their class, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import class_row

Row = TypeVar("Row")
Values = Mapping[str, Any] | Sequence[Any]


async def rows_of(
    connection: AsyncConnection, kind: type[Row], statement: LiteralString, values: Values | None = None
) -> list[Row]:
    """All rows of ``statement``, each as a ``kind``."""
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchall()


async def tuples_of(
    connection: AsyncConnection, statement: LiteralString, values: Values | None = None
) -> list[tuple[Any, ...]]:
    """All rows of ``statement``."""
    return await (await connection.execute(statement, values)).fetchall()


async def row_of(
    connection: AsyncConnection, kind: type[Row], statement: LiteralString, values: Values | None = None
) -> Row | None:
    """The first row of ``statement`` as a ``kind``; None when there is none."""
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchone()

# SPDX-License-Identifier: Apache-2.0
"""Making the views of what callers see who are not staff (``sql/seen.sql``).

They are no part of the chain of migrations: whatever changes the tables takes them away first and makes them anew, so
that no table is kept from changing by a view, and no view is of a table that was. A comment tells of which they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, Final, LiteralString

import sqlalchemy as sa
from psycopg import AsyncConnection

# The schema stays: the hub's role need not have the right to make one.
FORGET_VIEWS: Final[LiteralString] = """
    do $$
    declare
        of_views constant text[] := array(select relname from pg_class
                                           where relnamespace = to_regnamespace('minamo_seen') and relkind = 'v');
        of_functions constant text[] := array(select format('%I(%s)', proname, pg_get_function_identity_arguments(oid))
                                                from pg_proc where pronamespace = to_regnamespace('minamo_seen'));
        one text;
    begin
        foreach one in array of_views loop
            execute format('drop view if exists minamo_seen.%I cascade', one);
        end loop;
        foreach one in array of_functions loop
            execute 'drop function if exists minamo_seen.' || one || ' cascade';
        end loop;
        if to_regnamespace('minamo_seen') is not null then
            comment on schema minamo_seen is null;
        end if;
    end $$
"""
_MADE_OF: Final[LiteralString] = "select obj_description(to_regnamespace('minamo_seen'), 'pg_namespace')"
_SAY: Final = "comment on schema minamo_seen is '{}'"


def views_of_callers() -> bytes:
    """The statements that make the schema ``minamo_seen``."""
    return resources.files("context_store").joinpath("sql", "seen.sql").read_bytes()


def are_made(connection: sa.Connection, revision: str) -> bool:
    """Whether the views are those of this version of the hub, on tables of this revision."""
    return bool(connection.scalar(sa.text(_MADE_OF)) == _made_of(revision))


def make_views(connection: sa.Connection, revision: str) -> None:
    """Make them; the schema is empty or not there."""
    driver: Any = connection.connection.driver_connection
    driver.execute(views_of_callers())
    driver.execute(_SAY.format(_made_of(revision)).encode())


@asynccontextmanager
async def without_views(connection: AsyncConnection) -> AsyncIterator[None]:
    """Within a transaction: without the views while tables change in the block, and with the same again after it."""
    row = await (await connection.execute(_MADE_OF)).fetchone()
    await connection.execute(FORGET_VIEWS)
    yield
    if row is not None and row[0] is not None:
        await connection.execute(views_of_callers())
        await connection.execute(_SAY.format(row[0]).encode())


def _made_of(revision: str) -> str:
    return f"{revision} {hashlib.sha256(views_of_callers()).hexdigest()}"

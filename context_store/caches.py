# SPDX-License-Identifier: Apache-2.0
"""Versions of what processes keep in memory: whoever changes the table raises the number and tells the others."""

from __future__ import annotations

from typing import Final, LiteralString

from psycopg import AsyncConnection

CHANNEL: Final = "minamo_cache"

_VERSION: Final[LiteralString] = "select version from cache_version where name = %s"
_BUMP: Final[LiteralString] = "update cache_version set version = version + 1 where name = %s returning version"
_NOTIFY: Final[LiteralString] = "select pg_notify('minamo_cache', %s)"


async def version_of(connection: AsyncConnection, name: str) -> int:
    """The present version of the cached table ``name``."""
    row = await (await connection.execute(_VERSION, (name,))).fetchone()
    return int(row[0]) if row else 0


async def hold_version(connection: AsyncConnection, name: str) -> None:
    """Until the transaction ends, nobody changes the cached table ``name``."""
    await connection.execute(_VERSION + " for update", (name,))


async def bump(connection: AsyncConnection, name: str) -> int:
    """Within the transaction that changes the table: make every copy of it stale; the new version.

    Whoever writes versions into rows does this first: from here on until the commit no other writer gets one.
    """
    row = await (await connection.execute(_BUMP, (name,))).fetchone()
    await connection.execute(_NOTIFY, (name,))
    return int(row[0]) if row else 0

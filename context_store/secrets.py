# SPDX-License-Identifier: Apache-2.0
"""Secrets that the hub makes for itself, the same in all its processes."""

from __future__ import annotations

import secrets
from typing import Final, LiteralString

from context_store.database import ALL_TENANTS, Database

_MAKE: Final[LiteralString] = "insert into hub_secret (name, value) values (%s, %s) on conflict do nothing"
_READ: Final[LiteralString] = "select value from hub_secret where name = %s"
_BYTES: Final = 32


async def shared_secret(database: Database, name: str) -> bytes:
    """The secret of this name, made when it is asked for the first time."""
    async with database.transaction(ALL_TENANTS) as connection:
        row = await (await connection.execute(_READ, (name,))).fetchone()
        if row is None:
            await connection.execute(_MAKE, (name, secrets.token_bytes(_BYTES)))
            row = await (await connection.execute(_READ, (name,))).fetchone()
    if row is None:
        raise LookupError(f"the secret {name} cannot be made")
    return bytes(row[0])

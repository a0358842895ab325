# SPDX-License-Identifier: Apache-2.0
"""Secrets that the hub makes for itself, the same in all its processes."""

from __future__ import annotations

import base64
import secrets
from typing import Final, LiteralString

from context_store.database import ALL_TENANTS, Database
from context_store.sealing import Sealer

_MAKE: Final[LiteralString] = "insert into hub_secret (name, value) values (%s, %s) on conflict do nothing"
_READ: Final[LiteralString] = "select value from hub_secret where name = %s"
_BYTES: Final = 32
_SEALED: Final = b"sealed:"  # what is stored begins with it; without keys it is the bytes themselves


async def shared_secret(database: Database, name: str, sealer: Sealer) -> bytes:
    """The secret of this name, made when it is asked for the first time. Raises :class:`~broker.errors.Conflict`."""
    async with database.transaction(ALL_TENANTS) as connection:
        row = await (await connection.execute(_READ, (name,))).fetchone()
        if row is None:
            await connection.execute(_MAKE, (name, to_stored(secrets.token_bytes(_BYTES), sealer)))
            row = await (await connection.execute(_READ, (name,))).fetchone()
    if row is None:
        raise LookupError(f"the secret {name} cannot be made")
    return from_stored(bytes(row[0]), name, sealer)


def to_stored(secret: bytes, sealer: Sealer) -> bytes:
    """A secret as it is to be stored."""
    sealed = sealer.seal_one(base64.b64encode(secret).decode())
    return secret if isinstance(sealed, str) else _SEALED + sealed["sealed"].encode()


def from_stored(stored: bytes, name: str, sealer: Sealer) -> bytes:
    """The reverse; raises :class:`~broker.errors.Conflict`, which calls it ``name``."""
    if not stored.startswith(_SEALED):
        return stored
    return base64.b64decode(sealer.open_one({"sealed": stored[len(_SEALED) :].decode()}, name))

# SPDX-License-Identifier: Apache-2.0
"""Dead letters: deliveries that were given up, with all that is known of them, until a person replays or drops them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from broker.errors import ResourceNotFound
from broker.sealed import Stored
from context_store.database import Database
from context_store.deliveries.requeue import requeue
from context_store.rows import row_of, rows_of

_COLUMNS: Final = """
    d.delivery_id, s.kind, u.id as subscription_id, d.sequence, s.destination, d.attempts, d.created_at,
    d.finished_at as died_at, d.last_error, octet_length(d.body) as size, d.failures
"""
# A page of dead letters, newest first.
_LIST: Final[LiteralString] = f"""
    select {_COLUMNS} from delivery d join delivery_stream s using (stream_key)
      left join subscription u on u.subscription_key = d.subscription_key
     where d.tenant_id = %(tenant_id)s and d.state = 'dead'
       and (%(subscription_id)s::text is null or u.id = %(subscription_id)s)
       and (%(before)s::bigint is null or d.delivery_id < %(before)s)
     order by d.delivery_id desc limit %(limit)s
"""
_GET: Final[LiteralString] = f"""
    select {_COLUMNS}, d.headers, d.body from delivery d join delivery_stream s using (stream_key)
      left join subscription u on u.subscription_key = d.subscription_key
     where d.tenant_id = %(tenant_id)s and d.state = 'dead' and d.delivery_id = %(delivery_id)s
"""
_IDS: Final[LiteralString] = """
    select d.delivery_id from delivery d left join subscription u on u.subscription_key = d.subscription_key
     where d.tenant_id = %(tenant_id)s and d.state = 'dead'
       and (%(delivery_id)s::bigint is null or d.delivery_id = %(delivery_id)s)
       and (%(subscription_id)s::text is null or u.id = %(subscription_id)s)
"""
# Dropped ones stay for as long as delivered ones do, so that whoever catches up gets them all the same.
_DROP: Final[LiteralString] = """
    update delivery set state = 'dropped', finished_at = now() where delivery_id = any(%(ids)s) and state = 'dead'
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up. ``failures`` are the last attempts: ``{"at", "status", "error", "seconds"}``."""

    delivery_id: int
    kind: str
    subscription_id: str | None
    sequence: int
    destination: str
    attempts: int
    created_at: datetime
    died_at: datetime
    last_error: str | None
    size: int
    failures: list[dict[str, Any]]
    headers: dict[str, Stored] | None = None
    body: bytes | None = None


class DeadLetterStore:
    """The dead letters of one tenant at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, tenant_id: int, *, subscription_id: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[DeadLetter]:
        """Dead letters without headers and body, newest first; ``before`` is the last number of the previous page."""
        parameters = {
            "tenant_id": tenant_id,
            "subscription_id": subscription_id,
            "before": before,
            "limit": limit,
        }
        async with self._database.transaction(tenant_id) as connection:
            return await rows_of(connection, DeadLetter, _LIST, parameters)

    async def get(self, tenant_id: int, delivery_id: int) -> DeadLetter:
        """One, whole; raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            letter = await row_of(connection, DeadLetter, _GET, {"tenant_id": tenant_id, "delivery_id": delivery_id})
        if letter is None:
            raise ResourceNotFound(f"Dead letter {delivery_id} does not exist")
        return letter

    async def replay(
        self, tenant_id: int, *, delivery_id: int | None = None, subscription_id: str | None = None
    ) -> int:
        """Deliver again what is named, or all; each stream in its order. Returns how many; raises ResourceNotFound."""
        async with self._database.transaction(tenant_id) as connection:
            return await requeue(connection, await _ids(connection, tenant_id, delivery_id, subscription_id))

    async def drop(self, tenant_id: int, *, delivery_id: int | None = None, subscription_id: str | None = None) -> int:
        """Give up for good what is named, or all. Returns how many; raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            ids = await _ids(connection, tenant_id, delivery_id, subscription_id)
            return (await connection.execute(_DROP, {"ids": ids})).rowcount


async def _ids(
    connection: AsyncConnection, tenant_id: int, delivery_id: int | None, subscription_id: str | None
) -> list[int]:
    parameters = {"tenant_id": tenant_id, "delivery_id": delivery_id, "subscription_id": subscription_id}
    ids = [row[0] for row in await (await connection.execute(_IDS, parameters)).fetchall()]
    if delivery_id is not None and not ids:
        raise ResourceNotFound(f"Dead letter {delivery_id} does not exist")
    return ids

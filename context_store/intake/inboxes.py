# SPDX-License-Identifier: Apache-2.0
"""Inboxes in PostgreSQL: where other brokers send notifications. The caller owns the transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.errors import ResourceNotFound
from broker.intake.inboxes import Inbox
from broker.sections import read_document, write_document
from context_store.rows import row_of, rows_of

_COLUMNS: Final[LiteralString] = """
    select tenant_id, inbox_id, key, document, token_hash, created_at, modified_at, last_received_at, last_fault,
           last_fault_at
      from inbox
"""
_LIST: Final[LiteralString] = _COLUMNS + " where tenant_id = %s order by inbox_id"
_GET: Final[LiteralString] = _COLUMNS + " where tenant_id = %s and inbox_id = %s"
_BY_KEY: Final[LiteralString] = _COLUMNS + " where key = %s"
_PUT: Final[LiteralString] = """
    insert into inbox (tenant_id, inbox_id, key, document, token_hash, created_at, modified_at)
    values (%(tenant_id)s, %(inbox_id)s, %(key)s, %(document)s::jsonb, %(token_hash)s, %(now)s, %(now)s)
    on conflict (tenant_id, inbox_id) do update set document = excluded.document, modified_at = excluded.modified_at
    returning xmax = 0
"""
_RENEW: Final[LiteralString] = """
    update inbox set token_hash = %s, modified_at = %s where tenant_id = %s and inbox_id = %s
"""
_DELETE: Final[LiteralString] = "delete from inbox where tenant_id = %s and inbox_id = %s"
_HEARD: Final[LiteralString] = """
    update inbox set last_received_at = %(now)s, last_fault = coalesce(%(fault)s, last_fault),
           last_fault_at = case when %(fault)s::text is null then last_fault_at else %(now)s end
     where tenant_id = %(tenant_id)s and inbox_id = %(inbox_id)s
"""


@dataclass(frozen=True, slots=True)
class StoredInbox:
    """An inbox and when it was last heard of."""

    tenant_id: int
    inbox_id: str
    key: str
    document: dict[str, Any]
    token_hash: str = field(repr=False)
    created_at: datetime
    modified_at: datetime
    last_received_at: datetime | None
    last_fault: str | None
    last_fault_at: datetime | None

    @property
    def inbox(self) -> Inbox:
        """Its definition."""
        return read_document(Inbox, {"id": self.inbox_id, **self.document})


async def list_inboxes(connection: AsyncConnection, tenant_id: int) -> list[StoredInbox]:
    """The inboxes of a tenant."""
    return await rows_of(connection, StoredInbox, _LIST, (tenant_id,))


async def get_inbox(connection: AsyncConnection, tenant_id: int, inbox_id: str) -> StoredInbox:
    """One inbox; raises :class:`ResourceNotFound`."""
    found = await row_of(connection, StoredInbox, _GET, (tenant_id, inbox_id))
    if found is None:
        raise ResourceNotFound(f"Inbox {inbox_id} does not exist")
    return found


async def inbox_by_key(connection: AsyncConnection, key: str) -> StoredInbox | None:
    """The inbox with this key, of whatever tenant."""
    return await row_of(connection, StoredInbox, _BY_KEY, (key,))


async def put_inbox(
    connection: AsyncConnection, tenant_id: int, inbox: Inbox, key: str, token_hash: str, now: datetime
) -> bool:
    """Create or change an inbox; the token of one that is there stays. Tells whether it is new."""
    document = {name: value for name, value in write_document(inbox).items() if name != "id"}
    values = {
        "tenant_id": tenant_id,
        "inbox_id": inbox.id,
        "key": key,
        "document": orjson.dumps(document).decode(),
        "token_hash": token_hash,
        "now": now,
    }
    row = await (await connection.execute(_PUT, values)).fetchone()
    return bool(row and row[0])


async def set_token(connection: AsyncConnection, tenant_id: int, inbox_id: str, token_hash: str, now: datetime) -> None:
    """Give it another token; the old one ends. Raises :class:`ResourceNotFound`."""
    if not (await connection.execute(_RENEW, (token_hash, now, tenant_id, inbox_id))).rowcount:
        raise ResourceNotFound(f"Inbox {inbox_id} does not exist")


async def delete_inbox(connection: AsyncConnection, tenant_id: int, inbox_id: str) -> None:
    """Take nothing there any more; raises :class:`ResourceNotFound`."""
    if not (await connection.execute(_DELETE, (tenant_id, inbox_id))).rowcount:
        raise ResourceNotFound(f"Inbox {inbox_id} does not exist")


async def note_heard(
    connection: AsyncConnection, tenant_id: int, inbox_id: str, now: datetime, fault: str | None
) -> None:
    """Something came, and what was wrong with it."""
    values = {"tenant_id": tenant_id, "inbox_id": inbox_id, "now": now, "fault": fault}
    await connection.execute(_HEARD, values)

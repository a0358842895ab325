# SPDX-License-Identifier: Apache-2.0
"""Contacts, groups and plans as documents. The caller owns the transaction and its tenant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.contacts import Contact, Group, Plan, Roster
from broker.contacts.people import Channel, SealedText
from broker.errors import ResourceNotFound
from broker.sealed import Stored
from broker.sections import read_document, write_document
from context_store.rows import tuples_of
from context_store.sealing import Sealer

Kind = Literal["contact", "group", "plan"]
MODELS: Final[Mapping[Kind, type[Contact] | type[Group] | type[Plan]]] = {
    "contact": Contact,
    "group": Group,
    "plan": Plan,
}

_LIST: Final[LiteralString] = """
    select id, document from contact_document where tenant_id = %s and kind = %s order by id
"""
_ALL: Final[LiteralString] = "select kind, id, document from contact_document where tenant_id = %s order by kind, id"
_GET: Final[LiteralString] = "select document from contact_document where tenant_id = %s and kind = %s and id = %s"
_PUT: Final[LiteralString] = """
    insert into contact_document (tenant_id, kind, id, document, modified_at)
    values (%(tenant_id)s, %(kind)s, %(id)s, %(document)s::jsonb, %(now)s)
    on conflict (tenant_id, kind, id) do update set document = excluded.document, modified_at = excluded.modified_at
    returning xmax = 0
"""
_DELETE: Final[LiteralString] = "delete from contact_document where tenant_id = %s and kind = %s and id = %s"

_DELETE_ALL: Final[LiteralString] = "delete from contact_document where tenant_id = %s"


def sealed_document(one: Contact | Group | Plan, sealer: Sealer) -> Contact | Group | Plan:
    """As it is to be stored: the secrets of a contact's channels sealed."""
    if not isinstance(one, Contact):
        return one
    return with_secrets(one, sealer.seal_one)


def with_secrets(contact: Contact, change: Callable[[Stored], Stored]) -> Contact:
    """``contact`` with the secrets of its channels as ``change`` says."""
    return contact.model_copy(update={"channels": tuple(_with_secret(one, change) for one in contact.channels)})


def _with_secret(channel: Channel, change: Callable[[Stored], Stored]) -> Channel:
    if channel.stored_secret is None:
        return channel
    secret = change(channel.stored_secret)
    return channel.model_copy(update={"secret": secret if isinstance(secret, str) else SealedText(**secret)})


async def list_documents(connection: AsyncConnection, tenant_id: int, kind: Kind) -> list[Contact | Group | Plan]:
    """All of a kind, by id."""
    rows = await tuples_of(connection, _LIST, (tenant_id, kind))
    return [read_document(MODELS[kind], document) for _, document in rows]


async def get_document(connection: AsyncConnection, tenant_id: int, kind: Kind, name: str) -> Contact | Group | Plan:
    """One; raises :class:`ResourceNotFound`."""
    row = await (await connection.execute(_GET, (tenant_id, kind, name))).fetchone()
    if row is None:
        raise _missing(kind, name)
    return read_document(MODELS[kind], row[0])


async def put_document(
    connection: AsyncConnection, tenant_id: int, kind: Kind, one: Contact | Group | Plan, now: datetime
) -> bool:
    """Create or replace; tells whether it is new."""
    document = orjson.dumps(write_document(one)).decode()
    parameters = {"tenant_id": tenant_id, "kind": kind, "id": one.id, "document": document, "now": now}
    row = await (await connection.execute(_PUT, parameters)).fetchone()
    return bool(row and row[0])


async def delete_document(connection: AsyncConnection, tenant_id: int, kind: Kind, name: str) -> None:
    """Remove one; raises :class:`ResourceNotFound`."""
    if not (await connection.execute(_DELETE, (tenant_id, kind, name))).rowcount:
        raise _missing(kind, name)


async def load_roster(connection: AsyncConnection, tenant_id: int) -> Roster:
    """All that a tenant has."""
    found: dict[Kind, dict[str, Any]] = {"contact": {}, "group": {}, "plan": {}}
    rows = await tuples_of(connection, _ALL, (tenant_id,))
    for kind, name, document in rows:
        found[kind][name] = read_document(MODELS[kind], document)
    return Roster(found["contact"], found["group"], found["plan"])


async def delete_all(connection: AsyncConnection, tenant_id: int) -> None:
    """Nobody of this tenant is told anything any more."""
    await connection.execute(_DELETE_ALL, (tenant_id,))


def _missing(kind: Kind, name: str) -> ResourceNotFound:
    return ResourceNotFound(f"The {kind} {name} does not exist")

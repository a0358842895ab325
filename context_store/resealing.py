# SPDX-License-Identifier: Apache-2.0
"""``minamo store seal``: every secret in the database under the first key, also those from before there were keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.contacts import Contact
from broker.errors import Conflict
from broker.sealed import Stored
from broker.sections import read_document, write_document
from broker.subscriptions import Sending
from context_store.caches import bump
from context_store.contacts.documents import with_secrets
from context_store.registrations.rows import CACHE as REGISTRATIONS
from context_store.rows import tuples_of
from context_store.sealing import Sealer, in_registration, in_subscription, may_be_secret, with_sending
from context_store.secrets import from_stored, to_stored
from context_store.subscriptions.rows import CACHE as SUBSCRIPTIONS

Change = Callable[[Stored], Stored]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where secrets stand: ``read`` gives (and locks) the key of a row and what is there, ``write`` sets it.

    What processes know of it by the ``cache`` of that name is stale then.
    """

    name: str
    read: LiteralString
    write: LiteralString
    change: Callable[[Any, Change], Any]
    cache: str | None = None


def _headers(headers: dict[str, Stored], change: Change) -> dict[str, Stored]:
    return {name: change(one) for name, one in headers.items()}


def _given_headers(headers: dict[str, Stored], change: Change) -> dict[str, Stored]:
    """Of a notification: those that its ``receiverInfo`` gave, beside the hub's own."""
    return {name: change(one) if may_be_secret(name) else one for name, one in headers.items()}


def _sending(stored: dict[str, Any], change: Change) -> dict[str, Any] | None:
    return with_sending(Sending.from_stored(stored), change).to_stored()


def _contact(document: dict[str, Any], change: Change) -> dict[str, Any]:
    return write_document(with_secrets(read_document(Contact, document), change))


_PLACES: Final = (
    _Place(
        "polls",
        """
        select array[tenant_id::text, poll_id], headers from poll where headers <> '{}' order by 1 for update
        """,
        "update poll set headers = %(value)s::jsonb where array[tenant_id::text, poll_id] = %(key)s",
        _headers,
    ),
    _Place(
        "subscriptions",
        """
        select subscription_key, document from subscription
         where document #> '{notification,endpoint,receiverInfo}' is not null order by 1 for update
        """,
        """
        update subscription
           set document = %(value)s::jsonb, version = (select version from cache_version where name = 'subscriptions')
         where subscription_key = %(key)s
        """,
        in_subscription,
        SUBSCRIPTIONS,
    ),
    _Place(
        "secrets of subscriptions",
        """
        select subscription_key, sending from subscription
         where sending ?| array['password', 'secret'] order by 1 for update
        """,
        "update subscription set sending = %(value)s::jsonb where subscription_key = %(key)s",
        _sending,
    ),
    _Place(
        "registrations",
        """
        select registration_key, document from csource_registration
         where document ? 'contextSourceInfo' order by 1 for update
        """,
        """
        update csource_registration
           set document = %(value)s::jsonb, version = (select version from cache_version where name = 'registrations')
         where registration_key = %(key)s
        """,
        in_registration,
        REGISTRATIONS,
    ),
    _Place(
        "contacts",
        """
        select array[tenant_id::text, id], document from contact_document
         where kind = 'contact' and document @? '$.channels[*].secret' order by 1 for update
        """,
        """
        update contact_document set document = %(value)s::jsonb
         where kind = 'contact' and array[tenant_id::text, id] = %(key)s
        """,
        _contact,
    ),
    _Place(
        "deliveries to people and webhooks",
        """
        select stream_key, sending from delivery_stream
         where sending ?| array['password', 'secret'] order by 1 for update
        """,
        "update delivery_stream set sending = %(value)s::jsonb where stream_key = %(key)s",
        _sending,
    ),
    _Place(
        "notifications",
        """
        select delivery_id, headers from delivery
         where headers - array['Content-Type', 'Link', 'NGSILD-Tenant', 'Minamo-Sequence'] <> '{}' order by 1 for update
        """,
        "update delivery set headers = %(value)s::jsonb where delivery_id = %(key)s",
        _given_headers,
    ),
)
_OF_THE_HUB: Final[LiteralString] = "select name, value from hub_secret"
_SET_OF_THE_HUB: Final[LiteralString] = "update hub_secret set value = %s where name = %s"


@dataclass(slots=True)
class Resealed:
    """By place how many are sealed with the first key now, and how many no key opens."""

    sealed: dict[str, int]
    lost: dict[str, int]


async def reseal(connection: AsyncConnection, sealer: Sealer) -> Resealed:
    """Seal all secrets of all tenants with the first key; those that no key opens stay as they are."""
    done = Resealed({}, {})
    for place in _PLACES:
        await _reseal_place(connection, sealer, place, done)
    for name, value in await tuples_of(connection, _OF_THE_HUB):
        try:
            stored = to_stored(from_stored(bytes(value), name, sealer), sealer)
        except Conflict:
            _count(done.lost, "the hub's own")
        else:
            await connection.execute(_SET_OF_THE_HUB, (stored, name))
            _count(done.sealed, "the hub's own")
    return done


async def _reseal_place(connection: AsyncConnection, sealer: Sealer, place: _Place, done: Resealed) -> None:
    if place.cache is not None:
        await bump(connection, place.cache)  # before the rows take the version: processes read them again
    for key, value in await tuples_of(connection, place.read):
        try:
            changed = place.change(value, lambda one: sealer.reseal(one, place.name))
        except Conflict:
            _count(done.lost, place.name)
        else:
            await connection.execute(place.write, {"key": key, "value": orjson.dumps(changed).decode()})
            _count(done.sealed, place.name)


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1

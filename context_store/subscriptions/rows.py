# SPDX-License-Identifier: Apache-2.0
"""Subscriptions as rows: for the API, and for the worker that notifies.

Rows of several subscriptions are always locked in the order of their keys, so that the worker that numbers
notifications and the one that books their delivery never wait for each other in a circle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, TypeAlias

import orjson
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from broker.audiences import Audience
from broker.errors import AlreadyExists, ResourceNotFound
from broker.subscriptions import Document, Sending, SubscriptionCounters, expiry
from context_store.caches import bump, hold_version
from context_store.database import Database
from context_store.deliveries.requeue import pause_streams, redirect, resume_streams
from context_store.registrations.rows import CACHE as REGISTRATIONS
from context_store.sealing import Sealer, in_subscription

CACHE: Final = "subscriptions"
_BOOKED_WITHIN_S: Final = 0.25  # of the receiver's answer, usually 10 ms
_LOOK_AGAIN_S: Final = 0.01

_COLUMNS: Final = """
    subscription_key, tenant_id, id, document, context, times_sent, times_failed, last_notification, last_success,
    last_failure, last_error, created_at, modified_at, sending, audience
"""

# A new subscription. Its times are the database's, like those of the change events that it is compared with.
_INSERT: Final[LiteralString] = """
    insert into subscription
           (tenant_id, id, document, context, endpoint, sending, expires_at, next_due, created_at, modified_at, version,
            about_sources)
    select %(tenant_id)s, %(id)s, %(document)s::jsonb, %(context)s::jsonb, %(endpoint)s, %(sending)s::jsonb,
           %(expires_at)s, now() + %(period)s::interval, now(), now(), version, %(about_sources)s
      from cache_version where name = 'subscriptions'
"""

_GET: Final[LiteralString] = f"""
    select {_COLUMNS} from subscription where tenant_id = %s and about_sources = %s and id = %s
"""

# The same, and whether a delivery of it is under way: then what its receiver has answered may not be booked yet.
_GET_UNDER_WAY: Final[LiteralString] = f"""
    select {_COLUMNS}, exists (
               select from delivery_stream w
                where w.subscription_key = subscription.subscription_key and w.due_at is not null
                  and w.claimed_until > now())
      from subscription where tenant_id = %s and about_sources = %s and id = %s
"""

# The same, locked until the transaction ends.
_LOCK: Final[LiteralString] = _GET + " for update"

# One page in the order of creation.
_LIST: Final[LiteralString] = f"""
    select {_COLUMNS} from subscription
     where tenant_id = %s and about_sources = %s order by subscription_key limit %s offset %s
"""
_COUNT: Final[LiteralString] = "select count(*) from subscription where tenant_id = %s and about_sources = %s"

# What a fragment changed. A period that stays as it is keeps its rhythm.
_UPDATE: Final[LiteralString] = """
    update subscription
       set document = %(document)s::jsonb, endpoint = %(endpoint)s, sending = %(sending)s::jsonb,
           expires_at = %(expires_at)s, modified_at = now(),
           version = (select version from cache_version where name = 'subscriptions'),
           next_due = case when %(same_period)s then next_due else now() + %(period)s::interval end
     where subscription_key = %(key)s
"""
_DELETE: Final[LiteralString] = "delete from subscription where tenant_id = %s and about_sources = %s and id = %s"

_LIVE: Final[LiteralString] = """
    (expires_at is null or expires_at > now()) and coalesce((document -> 'isActive')::boolean, true)
       and document -> 'timeInterval' is null
"""
# Subscriptions of all tenants that notify on changes: which there are, and those written since a version.
_KEYS: Final[LiteralString] = f"select subscription_key from subscription where not about_sources and {_LIVE}"
_CHANGED: Final[LiteralString] = f"""
    select {_COLUMNS} from subscription where version > %s and not about_sources and {_LIVE}
"""
# Those of a tenant that are told of changes of registrations.
_ABOUT_SOURCES: Final[LiteralString] = f"""
    select {_COLUMNS} from subscription where tenant_id = %s and about_sources and {_LIVE} order by subscription_key
"""

# Those of these subscriptions that still exist; the same, locked.
_PROGRESS: Final[LiteralString] = """
    select subscription_key, last_sequence, last_notification, endpoint from subscription
     where subscription_key = any(%s) order by subscription_key
"""
_HOLD: Final[LiteralString] = _PROGRESS + " for no key update"

# Where the numbers of notifications have got to, and that so many were made now.
_ADVANCE: Final[LiteralString] = """
    update subscription s
       set times_sent = s.times_sent + n.last_sequence - s.last_sequence, last_sequence = n.last_sequence,
           last_notification = %(now)s
      from unnest(%(keys)s::bigint[], %(sequences)s::bigint[]) as n (subscription_key, last_sequence)
     where s.subscription_key = n.subscription_key
"""

# Notifications that could not be made.
_FAIL: Final[LiteralString] = """
    update subscription s
       set times_failed = s.times_failed + f.times, last_failure = now(), last_error = f.reason
      from unnest(%(keys)s::bigint[], %(times)s::int[], %(reasons)s::text[]) as f (subscription_key, times, reason)
     where s.subscription_key = f.subscription_key
"""

# Periodic subscriptions whose time has come, oldest first; each to one worker.
_DUE: Final[LiteralString] = f"""
    select {_COLUMNS} from subscription
     where next_due <= now() and about_sources = %s order by next_due limit %s for update skip locked
"""

# The next period. After a pause of the hub there is one notification, not one for each period missed.
_NEXT: Final[LiteralString] = """
    update subscription
       set next_due = case when expires_at <= now() then null
                           else greatest(next_due + %(period)s::interval, now()) end
     where subscription_key = %(key)s
"""


@dataclass(frozen=True, slots=True)
class StoredSubscription:
    """A row: ``document`` in the form of :mod:`broker.subscriptions.document`, ``context`` the ``@context`` given.

    What may be a secret is sealed in ``document`` and ``sending``; it is opened for who may see it, or when it is sent.
    """

    key: int
    tenant_id: int
    id: str
    document: Document
    context: Any
    counters: SubscriptionCounters
    created_at: datetime
    modified_at: datetime
    sending: Sending
    audience: Audience = Audience.STAFF


def _from_row(row: tuple[Any, ...]) -> StoredSubscription:
    key, tenant_id, subscription_id, document, context, *counters, created_at, modified_at, sending, audience = row
    return StoredSubscription(
        key,
        tenant_id,
        subscription_id,
        document,
        context,
        SubscriptionCounters(*counters),
        created_at,
        modified_at,
        Sending.from_stored(sending),
        Audience(audience),
    )


Follow: TypeAlias = Callable[[AsyncConnection, StoredSubscription | None, StoredSubscription], Awaitable[None]]
"""What a change of a subscription brings with it, in its transaction: from what was to what is."""


class SubscriptionStore:
    """The subscriptions of a tenant, for the API. Every change makes the workers' copies stale.

    Those ``about_sources`` (clause 5.11) are for themselves; while one is written, registrations stay as they are.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer | None = None,
        *,
        about_sources: bool = False,
        follow: Follow | None = None,
    ) -> None:
        self._database = database
        self._sealer = sealer or Sealer()
        self._about_sources = about_sources
        self._follow = follow

    async def _followed(
        self, connection: AsyncConnection, tenant_id: int, subscription_id: str, before: StoredSubscription | None
    ) -> None:
        if self._follow is not None:
            row = await (await connection.execute(_GET, (tenant_id, self._about_sources, subscription_id))).fetchone()
            await self._follow(connection, before, _existing(row, subscription_id))

    async def create(
        self, tenant_id: int, subscription_id: str, document: Document, context: Any, sending: Sending | None = None
    ) -> None:
        """Clauses 5.8.1 and 5.11.2; raises :class:`AlreadyExists`."""
        parameters = {
            **_parameters(document, sending or Sending(), self._sealer),
            "tenant_id": tenant_id,
            "id": subscription_id,
            "context": orjson.dumps(context).decode(),
            "about_sources": self._about_sources,
        }
        async with self._database.transaction(tenant_id) as connection:
            await self._hold_registrations(connection)
            await bump(connection, CACHE)  # before the row takes the version
            try:
                await connection.execute(_INSERT, parameters)
            except UniqueViolation as exc:
                raise AlreadyExists(f"Subscription {subscription_id} already exists") from exc
            await self._followed(connection, tenant_id, subscription_id, None)

    async def _hold_registrations(self, connection: AsyncConnection) -> None:
        if self._about_sources:
            await hold_version(connection, REGISTRATIONS)

    async def get(self, tenant_id: int, subscription_id: str) -> StoredSubscription:
        """Clause 5.8.3; raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_GET, (tenant_id, self._about_sources, subscription_id))).fetchone()
        return _existing(row, subscription_id)

    async def get_booked(self, tenant_id: int, subscription_id: str) -> StoredSubscription:
        """The same; whoever has answered a notification and asks then finds that it is counted.

        For that it is waited for what is under way, but not for a receiver that takes longer.
        """
        deadline = time.monotonic() + _BOOKED_WITHIN_S
        while True:
            async with self._database.transaction(tenant_id) as connection:
                place = (tenant_id, self._about_sources, subscription_id)
                row = await (await connection.execute(_GET_UNDER_WAY, place)).fetchone()
            if row is None or not row[-1] or time.monotonic() > deadline:
                return _existing(row[:-1] if row else None, subscription_id)
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def page(
        self, tenant_id: int, *, limit: int, offset: int = 0, count: bool = False
    ) -> tuple[list[StoredSubscription], bool, int | None]:
        """Clause 5.8.4: a page in the order of creation, whether others follow, and how many there are if asked."""
        total = None
        async with self._database.transaction(tenant_id) as connection:
            kind = (tenant_id, self._about_sources)
            rows = await (await connection.execute(_LIST, (*kind, limit + 1, offset))).fetchall()
            if count:
                counted = await (await connection.execute(_COUNT, kind)).fetchone()
                total = int(counted[0]) if counted else 0
        return [_from_row(row) for row in rows[:limit]], len(rows) > limit, total

    async def update(
        self,
        tenant_id: int,
        subscription_id: str,
        change: Callable[[Document, Sending], tuple[Document, Sending]],
    ) -> None:
        """Clause 5.8.2: ``change`` makes the new document of the old one, and how it is sent.

        Raises :class:`ResourceNotFound`.
        """
        async with self._database.transaction(tenant_id) as connection:
            await self._hold_registrations(connection)
            place = (tenant_id, self._about_sources, subscription_id)
            row = await (await connection.execute(_LOCK, place)).fetchone()
            stored = _existing(row, subscription_id)
            document, sending = change(stored.document, stored.sending)
            same_period = document.get("timeInterval") == stored.document.get("timeInterval") and (
                document.get("expiresAt") == stored.document.get("expiresAt")
            )
            parameters = {**_parameters(document, sending, self._sealer), "key": stored.key, "same_period": same_period}
            await bump(connection, CACHE)
            await connection.execute(_UPDATE, parameters)
            if parameters["endpoint"] != stored.document["notification"]["endpoint"]["uri"]:
                await redirect(connection, stored.key, parameters["endpoint"])
            if _is_active(document) != _is_active(stored.document):
                await (resume_streams if _is_active(document) else pause_streams)(connection, stored.key)
            await self._followed(connection, tenant_id, subscription_id, stored)

    async def delete(self, tenant_id: int, subscription_id: str) -> None:
        """Clause 5.8.5, with all notifications not delivered yet; raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            place = (tenant_id, self._about_sources, subscription_id)
            if (await connection.execute(_DELETE, place)).rowcount == 0:
                raise ResourceNotFound(f"Subscription {subscription_id} does not exist")
            await bump(connection, CACHE)


def _is_active(document: Document) -> bool:
    return bool(document.get("isActive", True))


def _parameters(document: Document, sending: Sending, sealer: Sealer) -> dict[str, Any]:
    period = document.get("timeInterval")
    stored = sealer.seal_sending(sending).to_stored()
    return {
        "document": orjson.dumps(in_subscription(document, sealer.seal_one)).decode(),
        "endpoint": document["notification"]["endpoint"]["uri"],
        "sending": None if stored is None else orjson.dumps(stored).decode(),
        "expires_at": expiry(document),
        "period": None if period is None else timedelta(seconds=period),
    }


def _existing(row: tuple[Any, ...] | None, subscription_id: str) -> StoredSubscription:
    if row is None:
        raise ResourceNotFound(f"Subscription {subscription_id} does not exist")
    return _from_row(row)


# For the worker, in its own transaction over all tenants.


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a subscription's notifications are numbered, when the last one was made, and where they go now."""

    sequence: int
    notified_at: datetime | None
    endpoint: str


async def load_changed(connection: AsyncConnection, since: int) -> tuple[set[int], list[StoredSubscription]]:
    """The live subscriptions of all tenants that notify on changes: the keys of all, and those written since a version.

    Versions are given in the order of commits, because who writes a subscription holds the number until it commits.
    """
    keys = {row[0] for row in await (await connection.execute(_KEYS)).fetchall()}
    rows = await (await connection.execute(_CHANGED, (since,))).fetchall()
    return keys, [_from_row(row) for row in rows]


async def progress_of(connection: AsyncConnection, keys: Collection[int]) -> dict[int, Progress]:
    """How far those subscriptions are that still exist; others may go on with them."""
    rows = await (await connection.execute(_PROGRESS, (list(keys),))).fetchall()
    return {key: Progress(*columns) for key, *columns in rows}


async def hold(connection: AsyncConnection, keys: Collection[int]) -> dict[int, Progress]:
    """Lock those subscriptions that still exist until the transaction ends."""
    rows = await (await connection.execute(_HOLD, (list(keys),))).fetchall()
    return {key: Progress(*columns) for key, *columns in rows}


async def advance(connection: AsyncConnection, sequences: Mapping[int, int], now: datetime) -> None:
    """Write down the last number given to a notification of each subscription, which the caller holds."""
    if sequences:
        parameters = {"keys": list(sequences), "sequences": list(sequences.values()), "now": now}
        await connection.execute(_ADVANCE, parameters)


async def book_failures(connection: AsyncConnection, failures: Mapping[int, tuple[int, str]]) -> None:
    """Write down, by subscription, how many notifications could not be made, and why the last one."""
    if not failures:
        return
    ordered = sorted(failures.items())
    await hold(connection, [key for key, _ in ordered])
    await connection.execute(
        _FAIL,
        {
            "keys": [key for key, _ in ordered],
            "times": [times for _, (times, _) in ordered],
            "reasons": [reason.replace("\0", "")[:1000] for _, (_, reason) in ordered],
        },
    )


async def take_due(connection: AsyncConnection, limit: int, *, about_sources: bool = False) -> list[StoredSubscription]:
    """Periodic subscriptions whose time has come, locked; :func:`set_next` names their next one."""
    return [_from_row(row) for row in await (await connection.execute(_DUE, (about_sources, limit))).fetchall()]


async def about_sources(connection: AsyncConnection, tenant_id: int) -> list[StoredSubscription]:
    """The live subscriptions of a tenant that are told of changes of registrations."""
    return [_from_row(row) for row in await (await connection.execute(_ABOUT_SOURCES, (tenant_id,))).fetchall()]


async def set_next(connection: AsyncConnection, key: int, period: timedelta) -> None:
    """The next time of a periodic subscription."""
    await connection.execute(_NEXT, {"key": key, "period": period})

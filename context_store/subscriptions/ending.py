# SPDX-License-Identifier: Apache-2.0
"""The end of a subscription whose receiver is gone (HTTP 410): visible, and nothing of it is thrown away."""

from __future__ import annotations

from typing import Final, LiteralString

from context_store.caches import bump
from context_store.database import ALL_TENANTS, Database
from context_store.subscriptions.rows import CACHE

# Paused, as a client would pause it; a client can make it active again. False when it was already, or is deleted.
_PAUSE: Final[LiteralString] = """
    update subscription
       set document = jsonb_set(document, '{isActive}', 'false'), last_error = %(reason)s, last_failure = now(),
           modified_at = now()
     where subscription_key = %(key)s and coalesce((document -> 'isActive')::boolean, true)
"""
# After the subscription, which everybody who makes a delivery for it holds: there will be no new ones.
_LOCK_STREAMS: Final[LiteralString] = """
    select from delivery_stream where subscription_key = %(key)s and due_at is not null order by stream_key for update
"""
_GIVE_UP: Final[LiteralString] = """
    update delivery set state = 'dead', finished_at = now(), last_error = %(reason)s
     where stream_key in (select stream_key from delivery_stream where subscription_key = %(key)s)
       and state = 'pending'
"""
_EMPTY_STREAMS: Final[LiteralString] = """
    update delivery_stream set pending = 0, oldest_at = null, due_at = null, stalled = false
     where subscription_key = %(key)s and due_at is not null
"""


async def end_subscription(database: Database, key: int, reason: str) -> bool:
    """Pause the subscription, with ``reason`` for everybody to see; what was still to be delivered are dead letters.

    Returns whether it was active until now.
    """
    parameters = {"key": key, "reason": reason}
    async with database.transaction(ALL_TENANTS) as connection:
        if (await connection.execute(_PAUSE, parameters)).rowcount == 0:
            return False
        await connection.execute(_LOCK_STREAMS, parameters)
        await connection.execute(_GIVE_UP, parameters)
        await connection.execute(_EMPTY_STREAMS, parameters)
        await bump(connection, CACHE)
    return True

# SPDX-License-Identifier: Apache-2.0
"""Collecting expired entities and attributes soon after their time, so that subscribers hear of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from api.hub import Hub
from broker.errors import StoreUnavailable
from context_store.entities.expiry import ExpiryStore

_EVERY_S: Final = 0.5  # two seconds after its time, nothing transient is left
_BATCH: Final = 200  # entities in one transaction


async def collect_expired(hub: Hub) -> None:
    """Collect until cancelled; while the database is away, what is due waits."""
    store = ExpiryStore(hub.database, hub.writer)
    while True:
        with contextlib.suppress(StoreUnavailable):
            while await store.collect(_BATCH) == _BATCH:
                pass
        await asyncio.sleep(_EVERY_S)

# SPDX-License-Identifier: Apache-2.0
"""The registrations of all tenants in the memory of a process: what every read of entities looks at first.

A hub without registrations pays one look into an empty dictionary. The directory follows the table by its version:
woken by LISTEN/NOTIFY, and by itself once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

import psycopg
import structlog

from broker.errors import NgsiLdError, StoreUnavailable
from broker.registrations.model import Registration, RegistrationCounters
from context_store.caches import version_of
from context_store.database import ALL_TENANTS, Database
from context_store.registrations.rows import CACHE, StoredRegistration, add_counts, load_changed

log = structlog.get_logger(__name__)

_EVERY_S: Final = 1.0
_NONE: Final[Mapping[int, Registration]] = {}


class RegistrationDirectory:
    """Which registrations a tenant has, and what became of requests to their sources until that is written down."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_tenant: dict[int, dict[int, Registration]] = {}
        self._tenants: dict[int, int] = {}  # by key
        self._version = -1
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._counts: dict[int, RegistrationCounters] = {}

    @property
    def is_loaded(self) -> bool:
        """Whether the directory has been read at all."""
        return self._version >= 0

    def of(self, tenant_id: int) -> Mapping[int, Registration]:
        """The registrations of a tenant by key, those among them that have just expired too."""
        return self._by_tenant.get(tenant_id, _NONE)

    def wake(self) -> None:
        """Something that processes keep in memory has changed, maybe a registration."""
        self._changed.set()

    async def run(self) -> None:
        """Follow the table, and write down counts, until cancelled."""
        while True:
            try:
                await self.refresh()
                await self.write_counts()
            except (StoreUnavailable, psycopg.Error) as error:  # tried again at the next turn
                log.warning("registrations.not_watched", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._changed.wait()
            self._changed.clear()

    async def refresh(self) -> None:
        """Take in what has changed."""
        async with self._lock, self._database.transaction(ALL_TENANTS) as connection:
            version = await version_of(connection, CACHE)
            if version == self._version:
                return
            keys, changed = await load_changed(connection, self._version)
            for stored in changed:
                self._take(stored)
            for key in self._tenants.keys() - keys:
                self._forget(key)
            self._version = version
            log.info("registrations.loaded", count=len(self._tenants), changed=len(changed))

    def note(self, key: int, now: datetime, *, failed: bool) -> None:
        """What became of one request to a source."""
        count = self._counts.get(key, RegistrationCounters())
        self._counts[key] = replace(
            count,
            times_sent=count.times_sent + 1,
            times_failed=count.times_failed + failed,
            last_success=count.last_success if failed else now,
            last_failure=now if failed else count.last_failure,
        )

    async def write_counts(self) -> None:
        """Write down what was noted since the last time."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            async with self._database.transaction(ALL_TENANTS, durable=False) as connection:
                await add_counts(connection, counts)
        except BaseException:
            self._counts = {key: _sum(counts.get(key), self._counts.get(key)) for key in counts | self._counts}
            raise

    def _take(self, stored: StoredRegistration) -> None:
        try:
            registration = stored.read()
        except NgsiLdError as error:  # of an older version of the hub; it must not stop the others
            log.error("registrations.unreadable", id=stored.id, error=str(error))
            self._forget(stored.key)
            return
        self._tenants[stored.key] = stored.tenant_id
        self._by_tenant.setdefault(stored.tenant_id, {})[stored.key] = registration

    def _forget(self, key: int) -> None:
        tenant_id = self._tenants.pop(key, None)
        if tenant_id is not None:
            of_tenant = self._by_tenant[tenant_id]
            del of_tenant[key]
            if not of_tenant:
                del self._by_tenant[tenant_id]


def _sum(earlier: RegistrationCounters | None, later: RegistrationCounters | None) -> RegistrationCounters:
    earlier, later = earlier or RegistrationCounters(), later or RegistrationCounters()
    return RegistrationCounters(
        earlier.times_sent + later.times_sent,
        earlier.times_failed + later.times_failed,
        later.last_success or earlier.last_success,
        later.last_failure or earlier.last_failure,
    )

# SPDX-License-Identifier: Apache-2.0
"""The live subscriptions in the memory of a worker, as they are when a batch of changes begins."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog
from psycopg import AsyncConnection

from api.workers.notifications import Failures
from api.workers.waiting import let_others_work
from broker.audiences import Audience
from broker.subscriptions import Indexed, SubscriptionIndex, indexed, read_subscription
from context_store.caches import version_of
from context_store.subscriptions import rows as store

log = structlog.get_logger(__name__)

# A subscription is not told of what was committed before it. Events carry the start of their transaction, which may
# lie before that commit; up to this far, telling too much is better than too little.
_LONGEST_WRITE: Final = timedelta(seconds=5)


class SubscriptionDirectory:
    """An index that follows the table: what was written since the last look is read, the rest stays."""

    def __init__(self) -> None:
        self.index = SubscriptionIndex()
        self._version = -1
        self._since: dict[int, datetime] = {}
        self._restricted: dict[int, Audience] = {}

    @property
    def audiences(self) -> set[Audience]:
        """The audiences of subscribers who are not staff."""
        return set(self._restricted.values())

    def tells(self, key: int, recorded_at: datetime) -> bool:
        """Whether a change of that time is one that the subscription is told of."""
        return recorded_at >= self._since[key]

    async def refresh(self, connection: AsyncConnection) -> None:
        """Take in what has changed; those that cannot be read get the reason written down."""
        version = await version_of(connection, store.CACHE)
        if version == self._version:
            return
        failures = Failures()
        keys, changed = await store.load_changed(connection, self._version)
        for number, stored in enumerate(changed):
            await let_others_work(number)
            self._take(stored, failures)
        for key in self.index.keys() - keys:
            self._forget(key)
        await store.book_failures(connection, failures.by_key)
        self._version = version
        unreadable = len(failures.by_key)
        log.info("subscriptions.loaded", count=len(self.index), changed=len(changed), unreadable=unreadable)

    def _take(self, stored: store.StoredSubscription, failures: Failures) -> None:
        try:
            self.index.add(indexed_subscription(stored))
            self._since[stored.key] = stored.created_at - _LONGEST_WRITE
            if stored.audience < Audience.STAFF:
                self._restricted[stored.key] = stored.audience
        except Exception as error:  # noqa: BLE001 - one that cannot be read must not stop the others
            self._forget(stored.key)
            failures.add(stored.key, stored.id, error)

    def _forget(self, key: int) -> None:
        self.index.remove(key)
        self._since.pop(key, None)
        self._restricted.pop(key, None)


def indexed_subscription(stored: store.StoredSubscription) -> Indexed:
    """A row as the index has it; raises what :func:`read_subscription` raises."""
    subscription = read_subscription(stored.document, stored.id)
    context = stored.document.get("jsonldContext", stored.context)
    return indexed(stored.key, stored.tenant_id, subscription, context, stored.audience)

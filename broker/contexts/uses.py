# SPDX-License-Identifier: Apache-2.0
"""How often stored contexts are used (``numberOfHits`` and ``lastUsage`` of clause 5.13.3.5).

Counted in memory, since a context is used by nearly every request, and written to the database once in a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A context that the hub keeps: a copy of what is at ``url``, or hosted for a ``tenant`` under the id ``url``."""

    url: str
    tenant: str | None = None


@dataclass(slots=True)
class Use:
    """How often a stored context was used for a request, and when for the last time."""

    count: int
    last: datetime


class ContextUses:
    """The uses that were not written down yet."""

    def __init__(self) -> None:
        self._uses: dict[StoredDocument, Use] = {}

    def count(self, documents: Iterable[StoredDocument], now: datetime) -> None:
        """One use of each of ``documents``."""
        for document in documents:
            use = self._uses.get(document)
            if use is None:
                self._uses[document] = Use(1, now)
            else:
                use.count += 1
                use.last = now

    def take(self) -> dict[StoredDocument, Use]:
        """What was used since the last call."""
        uses, self._uses = self._uses, {}
        return uses

    def put_back(self, uses: dict[StoredDocument, Use]) -> None:
        """What was taken and could not be written."""
        for document, use in uses.items():
            newer = self._uses.get(document)
            if newer is None:
                self._uses[document] = use
            else:
                newer.count += use.count

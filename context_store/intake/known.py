# SPDX-License-Identifier: Apache-2.0
"""What a writer of readings remembers of entities, so that it need not read what it wrote itself.

An entity is remembered as the last batch left it, with the version of its row. The next batch locks the row all the
same, and believes what is remembered only if the version is still that one; so it does not matter who else writes.
Remembered are only entities of whose present values nothing is said but that they are good, since what is said of
others is read from them (:mod:`broker.quality`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from context_store.intake.batch import EntityState

_MOST: Final = 4096  # entities, some kB each

Entity = tuple[int, str]  # tenant and id
Version = tuple[str, datetime]
"""The number of the transaction that wrote the row, and modified_at: after a restore numbers come again."""


class KnownEntities:
    """Entities by tenant and id. Who takes one has it alone until it is kept again, after its commit."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: dict[Entity, EntityState] = {}

    def take(self, wanted: Mapping[Entity, Collection[str]]) -> dict[Entity, EntityState]:
        """Those of ``wanted`` of which all the attributes are known."""
        taken = {}
        for place, attributes in wanted.items():
            state = self._known.pop(place, None)
            if state is not None and state.attributes.keys() >= set(attributes):
                taken[place] = state
        return taken

    def keep(self, entities: Mapping[Entity, EntityState], written: Version | None) -> None:
        """Remember ``entities`` as a batch left them; ``written`` is the version of those that it changed."""
        for place, state in entities.items():
            if state.settle(written):
                self._known[place] = state
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]

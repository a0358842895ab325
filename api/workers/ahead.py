# SPDX-License-Identifier: Apache-2.0
"""Alert rules that are behind look at the newest events between their batches (docs/decisions/0039-fresh-alerts.md)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from api.settings import Settings
from api.workers.alerts import AlertEvaluator, StatesForgotten
from broker.errors import StoreUnavailable
from context_store.events import ChangeEvent, ChangeFeed
from context_store.events_ahead import LookAhead
from context_store.intake.early import events_in

log = structlog.get_logger(__name__)

_REST_AFTER_ERROR_S: Final = 10.0
_MOST_EARLY: Final = 5000  # readings that are told and wait; the newest


class AheadOfTurn:
    """Brings fresh events to ``evaluator`` before their turn. What goes wrong keeps nothing from its turn."""

    def __init__(self, feed: ChangeFeed, reader: LookAhead, evaluator: AlertEvaluator) -> None:
        self._feed = feed
        self._reader = reader
        self._evaluator = evaluator
        self._not_before = 0.0
        self.on_told: Callable[[], None] | None = None
        """Called when there is something to look at."""
        self._early: deque[ChangeEvent] = deque(maxlen=_MOST_EARLY)

    def take(self, payload: str) -> None:
        """Readings are told that are not stored yet (:mod:`context_store.intake.early`)."""
        self._early.extend(events_in(payload))
        if self.on_told is not None:
            self.on_told()

    async def look(self, *, is_behind: bool) -> None:
        """Look, when the rules are behind, and at what was told."""
        if not is_behind:
            self._reader.begin_anew()
        if (is_behind or self._early) and time.monotonic() >= self._not_before:
            try:
                if self._early:
                    await self._look_at_told()
                if is_behind:
                    await self._look()
            except StoreUnavailable:
                raise
            except StatesForgotten:
                self._reader.begin_anew()
            except Exception:  # it comes again in its turn, where it is found which event it is
                log.exception("alerts.look_ahead_failed")
                self._reader.begin_anew()
                self._not_before = time.monotonic() + _REST_AFTER_ERROR_S

    def read(self, events: Sequence[ChangeEvent]) -> None:
        """A batch is committed."""
        self._reader.read(events)

    async def _look_at_told(self) -> None:
        readings = list(self._early)
        self._early.clear()
        async with self._feed.held() as (connection, position):
            if position is not None:  # else another worker counts, who was told as well
                await self._evaluator.reach_early(connection, readings)

    async def _look(self) -> None:
        async with self._reader.look(self._evaluator.watched) as (connection, ahead):
            if ahead.events:
                await self._evaluator.look_ahead(connection, ahead)


def make_ahead(settings: Settings, feed: ChangeFeed, evaluator: AlertEvaluator) -> AheadOfTurn | None:
    """What looks ahead in ``feed``, as the settings want it; None: nothing does."""
    if not settings.alert_fresh_s:
        return None
    return AheadOfTurn(feed, LookAhead(feed, fresh=timedelta(seconds=settings.alert_fresh_s)), evaluator)

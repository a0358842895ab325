# SPDX-License-Identifier: Apache-2.0
"""Alert rules that are behind look at the newest events between their batches (docs/decisions/0039-fresh-alerts.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from api.settings import Settings
from api.workers.alerts import AlertEvaluator, StatesForgotten
from broker.errors import StoreUnavailable
from context_store.events import ChangeEvent, ChangeFeed
from context_store.events_ahead import LookAhead

log = structlog.get_logger(__name__)

_REST_AFTER_ERROR_S: Final = 10.0


class AheadOfTurn:
    """Brings fresh events to ``evaluator`` before their turn. What goes wrong keeps nothing from its turn."""

    def __init__(self, reader: LookAhead, evaluator: AlertEvaluator) -> None:
        self._reader = reader
        self._evaluator = evaluator
        self._not_before = 0.0

    async def look(self, *, is_behind: bool) -> None:
        """Look, when the rules are behind."""
        if not is_behind:
            self._reader.begin_anew()
        elif time.monotonic() >= self._not_before:
            try:
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

    async def _look(self) -> None:
        async with self._reader.look() as (connection, ahead):
            if ahead.events:
                await self._evaluator.look_ahead(connection, ahead)


def make_ahead(settings: Settings, feed: ChangeFeed, evaluator: AlertEvaluator) -> AheadOfTurn | None:
    """What looks ahead in ``feed``, as the settings want it; None: nothing does."""
    if not settings.alert_fresh_s:
        return None
    return AheadOfTurn(LookAhead(feed, fresh=timedelta(seconds=settings.alert_fresh_s)), evaluator)

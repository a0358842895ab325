# SPDX-License-Identifier: Apache-2.0
"""The hub's own forecast every ten minutes, the end of runs that were kept long enough, and of briefings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from api.hub import Hub
from api.workers.repeating import RepeatingWorker
from broker.alerts.states import in_unit
from broker.forecasts.baseline import LEADS, MEMORY, MODEL_NAME, extrapolation
from broker.forecasts.runs import ForecastRun, ForecastSeries
from context_store.audiences.briefed_people import end_subscriptions
from context_store.database import ALL_TENANTS
from context_store.forecasts.baseline import WatchedSeries, is_mine, watched_series
from context_store.forecasts.runs import add_run, remove_runs

log = structlog.get_logger(__name__)

EVERY: Final = timedelta(minutes=10)
_FRESH: Final = timedelta(minutes=30)  # of what is older than this nothing is said
_LIFE: Final = timedelta(minutes=30)
_REST_S: Final = 20.0
_PAUSE_AFTER_ERROR_S: Final = 60.0
_VERSION: Final = "1"


class ForecastWorker(RepeatingWorker):
    """Extrapolates at each full ten minutes, once for all processes, and removes old runs once a day."""

    def __init__(self, hub: Hub) -> None:
        super().__init__("forecasts", rest_s=_REST_S, pause_s=_PAUSE_AFTER_ERROR_S)
        self._hub = hub
        self._made_for = datetime.min.replace(tzinfo=UTC)
        self._removed_on = datetime.min.replace(tzinfo=UTC).date()

    async def turn(self, now: datetime) -> bool:
        """Do what is due."""
        mark = now - timedelta(seconds=now.timestamp() % EVERY.total_seconds())
        mark = mark.replace(microsecond=0)
        if self._hub.settings.baseline_forecast and mark > self._made_for:
            await make_baseline(self._hub, mark, now)
            self._made_for = mark
        async with self._hub.database.transaction(ALL_TENANTS) as connection:
            if count := await end_subscriptions(connection, now):
                log.info("briefings.ended", subscriptions=count)
        if now.date() > self._removed_on:
            await self._remove(now)
            self._removed_on = now.date()
        return False

    async def _remove(self, now: datetime) -> None:
        settings = self._hub.settings
        async with self._hub.database.transaction(ALL_TENANTS) as connection:
            own = now - timedelta(days=settings.baseline_retention_days)
            others = now - timedelta(days=settings.forecast_retention_days)
            count = await remove_runs(connection, own, MODEL_NAME, others=False)
            count += await remove_runs(connection, others, MODEL_NAME, others=True)
        if count:
            log.info("forecasts.removed", runs=count)


async def make_baseline(hub: Hub, mark: datetime, now: datetime) -> int:
    """Extrapolate what rules watch, issued at ``mark``; how many series. Only one process does, and only once."""
    async with hub.database.transaction(ALL_TENANTS) as connection:
        if not await is_mine(connection):
            return 0
        most = hub.settings.baseline_max_series
        watched = await watched_series(connection, now, fresh=_FRESH, memory=MEMORY, most=most)
        numbers = await hub.terms.resolve({one.attribute for one in watched})
        series: dict[int, list[ForecastSeries]] = {}
        for one in watched:
            if (found := _extrapolated(one)) is not None:
                series.setdefault(one.tenant_id, []).append(found)
        for tenant_id, own in series.items():
            run = ForecastRun(MODEL_NAME, _VERSION, mark, mark + _LIFE, {}, tuple(own))
            await add_run(connection, tenant_id, run, {"runId": run.run_id}, numbers, now)
    return sum(len(own) for own in series.values())


def _extrapolated(watched: WatchedSeries) -> ForecastSeries | None:
    """In metres; of what is no length nothing is said."""
    factor = in_unit(1.0, watched.unit_code, "MTR")
    if factor is None:
        return None
    points = [(at, value * factor) for at, value in watched.points]
    levels = extrapolation(points)
    if levels is None:
        return None
    last = datetime.fromtimestamp(points[-1][0], UTC)
    values = tuple(round(level, 4) for level in levels)
    return ForecastSeries(
        watched.entity_id, watched.attribute, "MTR", tuple(last + lead for lead in LEADS), {"": values}
    )

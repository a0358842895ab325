# SPDX-License-Identifier: Apache-2.0
"""Polls in the background: APScheduler looks every few seconds for what is due; one process at a time has each."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Final

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from api.hub import Hub
from api.intake.polling import Poller
from broker.errors import ResourceNotFound, StoreUnavailable
from context_store.database import ALL_TENANTS
from context_store.intake.polls import lease_due

log = structlog.get_logger(__name__)

_EVERY_S: Final = 2.0


class PollWorker:
    """Fetches what is due, at most ``poll_concurrency`` documents at a time."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._poller = Poller(hub)
        self._tasks: set[asyncio.Task[None]] = set()

    async def tick(self) -> None:
        """Begin what is due now, as far as there is room."""
        room = self._hub.settings.poll_concurrency - len(self._tasks)
        if room <= 0:
            return
        now, lease = datetime.now(UTC), uuid.uuid4()
        try:
            async with self._hub.database.transaction(ALL_TENANTS) as connection:
                due = await lease_due(connection, lease, now, self._poller.lease_until(now), room)
        except StoreUnavailable as exc:
            log.warning("polls.store_unavailable", error=str(exc))
            return
        for tenant_id, poll_id in due:
            task = asyncio.create_task(self._run(tenant_id, poll_id, lease, now), name=f"poll {poll_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait for what was begun."""
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """Leave what was begun; its leases end by themselves."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, tenant_id: int, poll_id: str, lease: uuid.UUID, now: datetime) -> None:
        try:
            await self._poller.run(tenant_id, poll_id, lease, now)
        except StoreUnavailable as exc:
            log.warning("polls.store_unavailable", error=str(exc))
        except ResourceNotFound:
            pass  # somebody has removed it
        except Exception:
            log.exception("poll.broken", poll=poll_id)


async def run_polls(hub: Hub) -> None:
    """Work until cancelled."""
    worker = PollWorker(hub)
    scheduler = AsyncIOScheduler(timezone=UTC)
    scheduler.add_job(worker.tick, "interval", seconds=_EVERY_S, coalesce=True, max_instances=1)
    scheduler.start()
    try:
        await asyncio.Event().wait()
    finally:
        scheduler.shutdown(wait=False)
        await worker.stop()

# SPDX-License-Identifier: Apache-2.0
"""Watching over devices in the background: what is late, silent or dead is written into their entities."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Final

import structlog

from api.health import PartDown
from api.hub import Hub
from api.metrics import DEVICES
from api.supervision import Findings, Memory, changes, look
from broker.device_state import DeviceState
from broker.devices import Device
from broker.errors import StoreUnavailable
from context_store.device_directory import CachedDeviceDirectory
from context_store.supervision import SupervisionStore

log = structlog.get_logger(__name__)

_PAUSE_AFTER_ERROR_S: Final = 10.0


class SupervisionWorker:
    """Looks at all devices every ``supervision_interval_s`` until cancelled. Any number of processes may."""

    def __init__(self, hub: Hub) -> None:
        self._directory = CachedDeviceDirectory(hub.database)
        self._store = SupervisionStore(hub.database, hub.writer)
        self._every_s = hub.settings.supervision_interval_s
        self._stale_factor = hub.settings.stale_factor
        self._memory = Memory()
        self._silent_groups: dict[tuple[int, str], datetime] = {}
        self._error: str | None = None

    async def check(self) -> None:
        """For health: raises :class:`PartDown` while the last look has failed."""
        if self._error is not None:
            raise PartDown(self._error)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self.step(datetime.now(UTC))
            except StoreUnavailable as exc:
                log.warning("supervision.store_unavailable", error=str(exc))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            except Exception as exc:
                log.exception("supervision.failed")
                self._error = f"{type(exc).__name__}: {exc}"
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            else:
                self._error = None
                await asyncio.sleep(self._every_s)

    async def step(self, now: datetime) -> int:
        """Look at all devices and write what has changed; returns how much that was."""
        await self._directory.refresh()
        by_tenant: dict[int, list[Device]] = {}
        for device in self._directory.all():
            by_tenant.setdefault(device.tenant_id, []).append(device)
        written, counts = 0, Counter[DeviceState]()
        for tenant_id, devices in by_tenant.items():
            found = await look(
                self._store, tenant_id, devices, now, stale_factor=self._stale_factor, memory=self._memory
            )
            counts.update(found.counts())
            self._tell(tenant_id, found)
            written += await self._store.write(tenant_id, changes(found, now))
        for state in DeviceState:
            DEVICES.labels(state).set(counts[state])
        return written

    def _tell(self, tenant_id: int, found: Findings) -> None:
        """Log each silence of a group once."""
        for group, silence in found.groups.items():
            if self._silent_groups.get((tenant_id, group)) != silence.since:
                self._silent_groups[tenant_id, group] = silence.since
                log.warning("supervision.group_silent", group=group, devices=len(silence.members))
        for place in [place for place in self._silent_groups if place[0] == tenant_id and place[1] not in found.groups]:
            del self._silent_groups[place]
            log.info("supervision.group_heard", group=place[1])

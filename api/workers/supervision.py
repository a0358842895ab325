# SPDX-License-Identifier: Apache-2.0
"""Watching over devices in the background: what is late, silent or dead is written into their entities."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Final

import structlog

from api.devices.supervision import Findings, Memory, changes, look
from api.hub import Hub
from api.metrics import DEVICES
from api.workers.repeating import RepeatingWorker
from broker.devices.model import Device
from broker.devices.state import DeviceState
from context_store.devices.directory import CachedDeviceDirectory
from context_store.devices.supervision import SupervisionStore

log = structlog.get_logger(__name__)

_PAUSE_AFTER_ERROR_S: Final = 10.0


class SupervisionWorker(RepeatingWorker):
    """Looks at all devices every ``supervision_interval_s`` until cancelled. Any number of processes may."""

    def __init__(self, hub: Hub) -> None:
        super().__init__("supervision", rest_s=hub.settings.supervision_interval_s, pause_s=_PAUSE_AFTER_ERROR_S)
        self._directory = CachedDeviceDirectory(hub.database)
        self._store = SupervisionStore(hub.database, hub.writer)
        self._stale_factor = hub.settings.stale_factor
        self._memory = Memory()
        self._silent_groups: dict[tuple[int, str], datetime] = {}

    async def turn(self, now: datetime) -> bool:
        """One look; the next one is not before its time."""
        await self.step(now)
        return False

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

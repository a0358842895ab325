# SPDX-License-Identifier: Apache-2.0
"""Uplinks that a LoRaWAN network server posts for a whole application: each is the message of the device it names."""

from __future__ import annotations

from datetime import datetime

from adapters.formats.uplink_names import UplinkOf
from api.hub import Hub
from api.intake.direct import DirectReadings
from broker.devices.model import Device
from broker.intake.readings import Quarantined, Reason
from context_store.devices.directory import CachedDeviceDirectory
from context_store.intake.inboxes import StoredInbox
from ingest.decode import Message


class UplinkTaker:
    """Takes uplinks in for the inboxes of all tenants; a device is found in the tenant of the inbox only."""

    def __init__(self, hub: Hub) -> None:
        self._readings = DirectReadings(hub)
        self._directory = CachedDeviceDirectory(hub.database)

    async def take(
        self, inbox: StoredInbox, uplink: UplinkOf, body: bytes, received_at: datetime
    ) -> Quarantined | None:
        """Store the uplink, or what is wrong with it; messages that are no uplinks are passed over."""
        if not uplink.names:
            return None
        await self._directory.refresh()
        device = self._find(inbox.tenant_id, uplink.names)
        name = device.key if device is not None else uplink.names[0]
        message = Message(uplink.topic.format(name), body, received_at)
        if device is not None:
            return await self._readings.take(message, device)
        detail = f"no device is registered as {' or '.join(dict.fromkeys(map(str.lower, uplink.names)))}"
        fault = Quarantined(
            received_at,
            message.topic,
            body,
            Reason.UNKNOWN_DEVICE,
            detail,
            name,
            inbox.tenant_id,
            {"names": list(uplink.names)},
        )
        await self._readings.set_aside(fault)
        return fault

    def _find(self, tenant_id: int, names: tuple[str, ...]) -> Device | None:
        found = (self._directory.find(name) for name in names)
        return next((device for device in found if device is not None and device.tenant_id == tenant_id), None)

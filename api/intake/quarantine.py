# SPDX-License-Identifier: Apache-2.0
"""Trying quarantined messages again: through the same decoder and store as fresh ones, with the time they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection

from api.hub import Hub
from api.intake.ingest_parts import make_decoder
from api.intake.mirroring import TOPIC, NotificationTaker
from broker.devices.model import Device
from broker.errors import ResourceNotFound
from broker.intake.readings import Quarantined
from context_store.devices.registry import CachedDeviceDirectory
from context_store.intake.commits import PostgresReadingStore
from context_store.intake.inboxes import inbox_by_key
from context_store.intake.quarantine import QuarantineEntry
from ingest.decode import Message


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How many messages were stored, and how many are still wrong."""

    stored: int
    still_held: int


async def replay(hub: Hub, tenant_id: int, ids: Sequence[int]) -> ReplayResult:
    """Try the held messages ``ids`` again, each in a transaction of its own; oldest first."""
    again = _Again(hub)
    await again.directory.refresh()
    stored = 0
    for quarantine_id in sorted(ids):
        stored += await again.one(tenant_id, quarantine_id)
    return ReplayResult(stored, len(ids) - stored)


class _Again:
    """What takes messages in: those of devices, and notifications of other brokers."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.directory = CachedDeviceDirectory(hub.database)
        self._decoder = make_decoder(hub.settings)
        self._store = PostgresReadingStore(hub.database, hub.terms, hub.history)
        self._notifications = NotificationTaker(hub)

    async def one(self, tenant_id: int, quarantine_id: int) -> bool:
        """Storing first and marking after: a crash between the two repeats a replay, which changes nothing."""
        quarantine = self._hub.quarantine
        async with self._hub.database.transaction(tenant_id) as connection:
            entries = await quarantine.claim(connection, tenant_id, [quarantine_id])
            if not entries:
                return False
            fault = await self._take(connection, entries[0])
            if fault is None:
                await quarantine.resolve(connection, quarantine_id, "replayed")
            else:
                await quarantine.keep(connection, quarantine_id, fault.reason.value, fault.detail)
            return fault is None

    async def _take(self, connection: AsyncConnection, entry: QuarantineEntry) -> Quarantined | None:
        if entry.topic.startswith(TOPIC):
            inbox = await inbox_by_key(connection, entry.topic.removeprefix(TOPIC))
            if inbox is not None:
                _, wrong = await self._notifications.process(inbox, entry.payload, entry.properties, entry.received_at)
                return wrong
        named = await device_of(self._hub, entry) if "names" in entry.properties else None
        find = self.directory.find if named is None else lambda _: named
        observations, fault = self._decoder.decode(_message(entry), find)
        if observations:
            await self._store.commit(observations, [])
        return fault


async def device_of(hub: Hub, entry: QuarantineEntry) -> Device | None:
    """The device of its tenant that a message is of, by its key or by the names that the message gave."""
    names = entry.properties.get("names")
    known = [entry.device_key, *(names if isinstance(names, list) else ())]
    return await hub.devices.by_names(entry.tenant_id, [name for name in known if isinstance(name, str)])


def _message(entry: QuarantineEntry) -> Message:
    return Message(entry.topic, entry.payload, entry.received_at, properties=entry.properties)


async def drop(hub: Hub, tenant_id: int, quarantine_id: int) -> None:
    """Give a held message up; its row stays as a record. Raises :class:`ResourceNotFound`."""
    async with hub.database.transaction(tenant_id) as connection:
        entries = await hub.quarantine.claim(connection, tenant_id, [quarantine_id])
        if not entries:
            raise ResourceNotFound(f"Quarantined message {quarantine_id} does not exist or is not held")
        await hub.quarantine.resolve(connection, quarantine_id, "dropped")


__all__ = ["ReplayResult", "device_of", "drop", "replay"]

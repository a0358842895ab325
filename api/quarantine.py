# SPDX-License-Identifier: Apache-2.0
"""Trying quarantined messages again: through the same decoder and store as fresh ones, with the time they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.hub import Hub
from api.ingest_parts import make_decoder
from broker.errors import ResourceNotFound
from context_store.devices import CachedDeviceDirectory
from context_store.quarantine import QuarantineEntry
from context_store.readings import PostgresReadingStore
from ingest.decode import Decoder, Message


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How many messages were stored, and how many are still wrong."""

    stored: int
    still_held: int


async def replay(hub: Hub, tenant_id: int, ids: Sequence[int]) -> ReplayResult:
    """Try the held messages ``ids`` again, each in a transaction of its own; oldest first."""
    directory = CachedDeviceDirectory(hub.database)
    await directory.refresh()
    decoder = make_decoder(hub.settings)
    store = PostgresReadingStore(hub.database, hub.terms, hub.history, hub.writer)
    stored = 0
    for quarantine_id in sorted(ids):
        stored += await _replay_one(hub, tenant_id, quarantine_id, decoder, directory, store)
    return ReplayResult(stored, len(ids) - stored)


async def _replay_one(
    hub: Hub,
    tenant_id: int,
    quarantine_id: int,
    decoder: Decoder,
    directory: CachedDeviceDirectory,
    store: PostgresReadingStore,
) -> bool:
    """Storing first and marking after: a crash between the two repeats a replay, which changes nothing."""
    async with hub.database.transaction(tenant_id) as connection:
        entries = await hub.quarantine.claim(connection, tenant_id, [quarantine_id])
        if not entries:
            return False
        observations, fault = decoder.decode(_message(entries[0]), directory.find)
        if observations:
            await store.commit(observations, [])
        if fault is None:
            await hub.quarantine.resolve(connection, quarantine_id, "replayed")
        else:
            await hub.quarantine.keep(connection, quarantine_id, fault.reason.value, fault.detail)
        return fault is None


def _message(entry: QuarantineEntry) -> Message:
    return Message(entry.topic, entry.payload, entry.received_at, properties=entry.properties)


async def drop(hub: Hub, tenant_id: int, quarantine_id: int) -> None:
    """Give a held message up; its row stays as a record. Raises :class:`ResourceNotFound`."""
    async with hub.database.transaction(tenant_id) as connection:
        entries = await hub.quarantine.claim(connection, tenant_id, [quarantine_id])
        if not entries:
            raise ResourceNotFound(f"Quarantined message {quarantine_id} does not exist or is not held")
        await hub.quarantine.resolve(connection, quarantine_id, "dropped")


__all__ = ["ReplayResult", "drop", "replay"]

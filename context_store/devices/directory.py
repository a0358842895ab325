# SPDX-License-Identifier: Apache-2.0
"""The copy of the device registry that a process keeps in memory. What changed since the last look is taken in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, LiteralString

from psycopg import AsyncConnection

from broker.devices.model import Device
from context_store.caches import version_of
from context_store.database import ALL_TENANTS, Database
from context_store.devices.rows import COLUMNS, device_of

CACHE: Final = "devices"

_CHANGED: Final[LiteralString] = f"select {COLUMNS} from device d where d.version > %s"
_AT_ONCE: Final = 1000  # rows in memory: 100,000 of them are ten times as large as the devices that they become
_REMOVED: Final[LiteralString] = "select key from device_removed where version > %s"


class CachedDeviceDirectory:
    """All devices by key and by address, as of the last :meth:`refresh`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_key: dict[str, Device] = {}
        self._by_address: dict[str, Device] = {}
        self._version = -1

    def find(self, key: str) -> Device | None:
        """The device with this key or address; no address takes a key away."""
        return self._by_key.get(key) or self._by_address.get(key)

    def all(self) -> list[Device]:
        """All devices."""
        return list(self._by_key.values())

    async def refresh(self) -> bool:
        """Take in what has changed in the registry; returns whether anything had.

        Writers raise the version before they write and hold it until they commit, so that versions become visible in
        their order; a row that is newer than the version read here is read again the next time.
        """
        async with self._database.transaction(ALL_TENANTS) as connection:
            version = await version_of(connection, CACHE)
            if version == self._version:
                return False
            removed = []
            if self._version >= 0:
                removed = await (await connection.execute(_REMOVED, (self._version,))).fetchall()
            devices = [device async for device in _changed(connection, self._version)]
        for (key,) in removed:
            self._remove(key)
        for device in devices:
            self._put(device)
        self._version = version
        return True

    def _put(self, device: Device) -> None:
        self._remove(device.key)
        self._by_key[device.key] = device
        if device.format.address is not None:
            self._by_address[device.format.address] = device

    def _remove(self, key: str) -> None:
        old = self._by_key.pop(key, None)
        address = old.format.address if old else None
        if address is not None and self._by_address.get(address) is old:
            del self._by_address[address]


async def _changed(connection: AsyncConnection, version: int) -> AsyncIterator[Device]:
    """The devices that were written after ``version``; -1: all."""
    async with connection.cursor("devices") as cursor:
        cursor.itersize = _AT_ONCE
        await cursor.execute(_CHANGED, (version,))
        async for row in cursor:
            yield device_of(row)

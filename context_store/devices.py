# SPDX-License-Identifier: Apache-2.0
"""The device registry, and the copy of it that ingest keeps in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from broker.device_profile import parse_device_profile, with_normal_interval
from broker.devices import VALUE, AttributeMapping, Device
from broker.errors import AlreadyExists, ResourceNotFound
from broker.formats import DEFAULT_PROFILE, parse_profile
from context_store.caches import bump, version_of
from context_store.database import ALL_TENANTS, Database
from schemas.terms import NO_DATASET

CACHE: Final = "devices"

_COLUMNS: Final = """
    tenant_id, device_id, key, name, entity_id, entity_types, attributes, expected_interval,
    st_x(location), st_y(location), static_attributes, password_hash, format
"""
_ALL: Final[LiteralString] = f"select {_COLUMNS} from device order by tenant_id, device_id"
_LIST: Final[LiteralString] = f"select {_COLUMNS} from device where tenant_id = %s order by device_id"
_GET: Final[LiteralString] = f"select {_COLUMNS} from device where tenant_id = %s and device_id = %s"
_BY_KEY: Final[LiteralString] = f"select {_COLUMNS} from device where key = %s"
_PUT: Final[LiteralString] = """
    insert into device (tenant_id, device_id, key, name, entity_id, entity_types, attributes, expected_interval,
                        location, static_attributes, password_hash, format, created_at,
                        modified_at)
    values (%(tenant_id)s, %(device_id)s, %(key)s, %(name)s, %(entity_id)s, %(entity_types)s, %(attributes)s::jsonb,
            %(expected_interval)s, st_setsrid(st_makepoint(%(longitude)s, %(latitude)s), 4326),
            %(static_attributes)s::jsonb, %(password_hash)s, %(format)s::jsonb, now(), now())
    on conflict (tenant_id, device_id) do update
       set key = excluded.key, name = excluded.name, entity_id = excluded.entity_id,
           entity_types = excluded.entity_types, attributes = excluded.attributes,
           expected_interval = excluded.expected_interval, location = excluded.location,
           static_attributes = excluded.static_attributes, format = excluded.format,
           password_hash = coalesce(excluded.password_hash, device.password_hash), modified_at = now()
"""
_DELETE: Final[LiteralString] = "delete from device where tenant_id = %s and device_id = %s"


class DeviceStore:
    """Registered devices, one tenant at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant_id: int) -> list[Device]:
        """The devices of a tenant by id."""
        async with self._database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_LIST, (tenant_id,))).fetchall()
        return [_device(row) for row in rows]

    async def everywhere(self) -> list[Device]:
        """The devices of all tenants."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            return await _load(connection)

    async def get(self, tenant_id: int, device_id: str) -> Device:
        """One device; raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_GET, (tenant_id, device_id))).fetchone()
        if row is None:
            raise ResourceNotFound(f"Device {device_id} does not exist")
        return _device(row)

    async def by_key(self, key: str) -> Device | None:
        """The device with this key, whatever its tenant."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            row = await (await connection.execute(_BY_KEY, (key,))).fetchone()
        return _device(row) if row else None

    async def put(self, *devices: Device) -> None:
        """Register or change devices, all or none; a password hash of None keeps the present one.

        Raises :class:`AlreadyExists` when a key or address belongs to another device.
        """
        async with self._database.transaction(ALL_TENANTS) as connection:
            try:
                async with connection.cursor() as cursor:
                    await cursor.executemany(_PUT, [_row(device) for device in devices])
            except UniqueViolation as exc:
                raise AlreadyExists("The key or the address of a device is already that of another one") from exc
            await bump(connection, CACHE)

    async def delete(self, tenant_id: int, device_id: str) -> None:
        """Remove a device; its entity and history stay. Raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            cursor = await connection.execute(_DELETE, (tenant_id, device_id))
            if cursor.rowcount == 0:
                raise ResourceNotFound(f"Device {device_id} does not exist")
            await bump(connection, CACHE)


class CachedDeviceDirectory:
    """All devices by key, as of the last :meth:`refresh`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._devices: dict[str, Device] = {}
        self._version = -1

    def find(self, key: str) -> Device | None:
        """The device with this key or address."""
        return self._devices.get(key)

    def all(self) -> list[Device]:
        """All devices."""
        return [device for name, device in self._devices.items() if name == device.key]

    async def refresh(self) -> bool:
        """Load the devices again if the registry has changed; returns whether it had."""
        async with self._database.transaction(ALL_TENANTS) as connection:
            version = await version_of(connection, CACHE)
            if version == self._version:
                return False
            devices = await _load(connection)
        self._devices = {address: device for device in devices for address in device.addresses}
        self._devices |= {device.key: device for device in devices}  # no address takes a key away
        self._version = version
        return True


async def _load(connection: AsyncConnection) -> list[Device]:
    return [_device(row) for row in await (await connection.execute(_ALL)).fetchall()]


def _device(row: tuple[Any, ...]) -> Device:
    tenant_id, device_id, key, name, entity_id, types, attributes, interval, x, y, static, password_hash, profile = row
    return Device(
        tenant_id=tenant_id,
        device_id=device_id,
        key=key,
        name=name,
        entity_id=entity_id,
        entity_types=tuple(types),
        attributes=tuple(_mapping(document) for document in attributes),
        location=(x, y) if x is not None else None,
        static_attributes=static,
        password_hash=password_hash,
        format=parse_profile(profile) if profile else DEFAULT_PROFILE,
        profile=parse_device_profile(with_normal_interval(None, interval.total_seconds() if interval else None)),
    )


def _mapping(document: dict[str, Any]) -> AttributeMapping:
    return AttributeMapping(
        field=document["field"],
        attribute=document["attribute"],
        unit_code=document.get("unitCode"),
        minimum=document.get("minimum"),
        maximum=document.get("maximum"),
        factor=document.get("factor", 1.0),
        offset=document.get("offset", 0.0),
        dataset=document.get("datasetId", NO_DATASET),
        unit=document.get("unit"),
        measures=document.get("measures", VALUE),
        reference=document.get("reference"),
        sentinels=tuple(document.get("sentinels", ())),
        words=tuple(document.get("words", {}).items()),
    )


def _row(device: Device) -> dict[str, Any]:
    longitude, latitude = device.location or (None, None)
    seconds = device.expected_interval_s
    return {
        "tenant_id": device.tenant_id,
        "device_id": device.device_id,
        "key": device.key,
        "name": device.name,
        "entity_id": device.entity_id,
        "entity_types": list(device.entity_types),
        "attributes": orjson.dumps([mapping.document() for mapping in device.attributes]).decode(),
        "expected_interval": timedelta(seconds=seconds) if seconds else None,
        "longitude": longitude,
        "latitude": latitude,
        "static_attributes": orjson.dumps(device.static_attributes).decode(),
        "password_hash": device.password_hash,
        "format": orjson.dumps(device.format.document()).decode(),
    }

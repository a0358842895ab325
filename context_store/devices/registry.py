# SPDX-License-Identifier: Apache-2.0
"""The device registry: registrations, credentials, maintenance, service at a station."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import orjson
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from broker.devices.entity import device_entity_id
from broker.devices.maintenance import MaintenanceWindow
from broker.devices.model import Device
from broker.devices.records import DeviceRecord, Registration
from broker.errors import AlreadyExists, ResourceNotFound
from context_store.caches import bump
from context_store.database import ALL_TENANTS, Database
from context_store.devices.directory import CACHE, CachedDeviceDirectory
from context_store.devices.rows import COLUMNS, RECORD_COLUMNS, Row, device_of, device_row, effective_row, record_of

_RECORDS: Final[LiteralString] = f"select {COLUMNS}, {RECORD_COLUMNS} from device d"
# Of a tenant, by id, behind one of them; what is not asked for is null.
_PAGE: Final[LiteralString] = f"""
    select {COLUMNS}, {RECORD_COLUMNS}
      from device d
     where d.tenant_id = %(tenant_id)s and d.device_id > %(after)s
       and (%(model)s::text is null or d.model_id = %(model)s)
       and (%(entity_id)s::text is null or d.entity_id = %(entity_id)s)
       and (%(owner)s::text is null or d.registration ->> 'owner' = %(owner)s)
       and (%(retired)s or d.service_until is null or d.service_until > now())
       and (%(text)s::text is null or position(lower(%(text)s) in lower(concat_ws(' ', d.device_id, d.key, d.name,
            d.entity_id, d.registration ->> 'serialNumber', d.registration ->> 'devEui'))) > 0)
     order by d.device_id limit %(limit)s
"""
_ONE: Final[LiteralString] = f"{_RECORDS} where d.tenant_id = %s and d.device_id = %s"
# The entities of devices, apart: joined, they were looked for among all of the tenant while it has no statistics yet.
_STATES: Final[LiteralString] = "select id, document from entity where tenant_id = %s and id = any(%s)"
_LOCK: Final[LiteralString] = (
    f"{_RECORDS} where d.tenant_id = %s and d.device_id = any(%s) order by d.device_id for update of d"
)
_OF_MODEL: Final[LiteralString] = (
    f"{_RECORDS} where d.tenant_id = %s and d.model_id = %s order by d.device_id for update of d"
)
_BY_KEY: Final[LiteralString] = f"select {COLUMNS} from device d where d.key = %s"
_BY_NAMES: Final[LiteralString] = f"""
    select {COLUMNS} from device d
     where d.tenant_id = %(tenant_id)s and (d.key = any(%(names)s) or d.format ->> 'address' = any(%(names)s))
     order by d.key limit 1
"""
_CREDENTIALS: Final[LiteralString] = """
    select key, password_hash, format ->> 'address' from device where password_hash is not null order by key
"""
_PUT: Final[LiteralString] = """
    insert into device (tenant_id, device_id, key, name, entity_id, entity_types, attributes, expected_interval,
                        location, static_attributes, password_hash, format, profile, registration, model_id,
                        credential_changed_at, version, created_at, modified_at)
    values (%(tenant_id)s, %(device_id)s, %(key)s, %(name)s, %(entity_id)s, %(entity_types)s, %(attributes)s::jsonb,
            %(expected_interval)s, st_setsrid(st_makepoint(%(longitude)s, %(latitude)s), 4326),
            %(static_attributes)s::jsonb, %(password_hash)s, %(format)s::jsonb, %(profile)s::jsonb,
            %(registration)s::jsonb, %(model_id)s, case when %(password_hash)s::text is null then null else now() end,
            %(version)s, now(), now())
    on conflict (tenant_id, device_id) do update
       set key = excluded.key, name = excluded.name, entity_id = excluded.entity_id,
           entity_types = excluded.entity_types, attributes = excluded.attributes,
           expected_interval = excluded.expected_interval, location = excluded.location,
           static_attributes = excluded.static_attributes, format = excluded.format, profile = excluded.profile,
           registration = excluded.registration, model_id = excluded.model_id,
           password_hash = coalesce(excluded.password_hash, device.password_hash),
           credential_changed_at = coalesce(excluded.credential_changed_at, device.credential_changed_at),
           credential_revoked = device.credential_revoked and excluded.password_hash is null,
           version = excluded.version, modified_at = now()
"""
_EFFECTIVE: Final[LiteralString] = """
    update device
       set entity_types = %(entity_types)s, attributes = %(attributes)s::jsonb,
           expected_interval = %(expected_interval)s, format = %(format)s::jsonb, profile = %(profile)s::jsonb,
           version = %(version)s
     where tenant_id = %(tenant_id)s and device_id = %(device_id)s
"""
# No device has the name that another one's address has in topics: it could publish as that one.
_CLASHES: Final[LiteralString] = """
    select a.key, b.key
      from device a
      join device b on b.key = regexp_replace(a.format ->> 'address', '^.*/', '')
     where a.key = any(%(keys)s) and a.format ->> 'address' is not null and a.key <> b.key
    union all
    select a.key, b.key
      from device b
      join device a on regexp_replace(a.format ->> 'address', '^.*/', '') = b.key and a.format ->> 'address' is not null
     where b.key = any(%(keys)s) and a.key <> b.key
     limit 1
"""
_DELETE: Final[LiteralString] = "delete from device where tenant_id = %s and device_id = %s returning key"
_REMOVED: Final[LiteralString] = """
    insert into device_removed (key, version) values (%s, %s) on conflict (key) do update set version = excluded.version
"""
_SET_CREDENTIAL: Final[LiteralString] = """
    update device
       set password_hash = %(password_hash)s, credential_revoked = %(password_hash)s::text is null,
           credential_changed_at = now(), version = %(version)s
     where tenant_id = %(tenant_id)s and device_id = %(device_id)s
"""
_SET_MAINTENANCE: Final[LiteralString] = """
    update device set maintenance = %s::jsonb, version = %s where tenant_id = %s and device_id = %s
"""
_RETIRE: Final[LiteralString] = """
    update device
       set service_until = %(at)s, replaced_by = %(by)s, password_hash = null, credential_revoked = true,
           credential_changed_at = now(), version = %(version)s
     where tenant_id = %(tenant_id)s and device_id = %(device_id)s
"""
_BEGIN_SERVICE: Final[LiteralString] = """
    update device set service_from = %s, replaces = %s, version = %s where tenant_id = %s and device_id = %s
"""


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices are listed. ``text`` is looked for in id, key, name, entity, serial number and DevEUI."""

    model: str | None = None
    entity_id: str | None = None
    owner: str | None = None
    text: str | None = None
    retired: bool = True


class ListedDevice(NamedTuple):
    """A device and the attributes of its own entity (of type Device), where that is."""

    record: DeviceRecord
    state: dict[str, Any] | None


class Credential(NamedTuple):
    """As whom a device logs in at the MQTT broker; ``address`` is what its topics call it where that is not the key."""

    key: str
    password_hash: str
    address: str | None


class DeviceStore:
    """Registered devices. What takes a connection works in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, tenant_id: int, found: DeviceFilter | None = None, *, after: str = "", limit: int = 10_000
    ) -> list[ListedDevice]:
        """The devices of a tenant behind the id ``after``, by id."""
        wanted = found or DeviceFilter()
        values = {
            "tenant_id": tenant_id,
            "after": after,
            "limit": limit,
            "model": wanted.model,
            "entity_id": wanted.entity_id,
            "owner": wanted.owner,
            "retired": wanted.retired,
            "text": wanted.text,
        }
        return await self._with_states(tenant_id, await self._database.read(tenant_id, _PAGE, values))

    async def listed(self, tenant_id: int, device_id: str) -> ListedDevice:
        """One device with its state; raises :class:`ResourceNotFound`."""
        rows = await self._database.read(tenant_id, _ONE, (tenant_id, device_id))
        if not rows:
            raise ResourceNotFound(f"Device {device_id} does not exist")
        return (await self._with_states(tenant_id, rows))[0]

    async def _with_states(self, tenant_id: int, rows: Sequence[Row]) -> list[ListedDevice]:
        records = [record_of(row) for row in rows]
        ids = [device_entity_id(record.device.key) for record in records]
        states = dict(await self._database.read(tenant_id, _STATES, (tenant_id, ids)))
        return [ListedDevice(record, states.get(entity_id)) for record, entity_id in zip(records, ids, strict=True)]

    async def get(self, tenant_id: int, device_id: str) -> Device:
        """One device; raises :class:`ResourceNotFound`."""
        return (await self.listed(tenant_id, device_id)).record.device

    async def by_key(self, key: str) -> Device | None:
        """The device with this key, whatever its tenant."""
        rows = await self._database.read(ALL_TENANTS, _BY_KEY, (key,))
        return device_of(rows[0]) if rows else None

    async def by_names(self, tenant_id: int, names: Sequence[str]) -> Device | None:
        """A device of the tenant whose key or address is one of ``names``."""
        rows = await self._database.read(tenant_id, _BY_NAMES, {"tenant_id": tenant_id, "names": list(names)})
        return device_of(rows[0]) if rows else None

    async def credentials(self) -> list[Credential]:
        """Who may log in at the MQTT broker, of all tenants."""
        return [Credential(*row) for row in await self._database.read(ALL_TENANTS, _CREDENTIALS, ())]

    async def put(self, *devices: Device) -> None:
        """Register or change devices that have no model, all or none; a password hash of None keeps the present one.

        Raises :class:`AlreadyExists` when a key or address belongs to another device.
        """
        async with self._database.transaction(ALL_TENANTS) as connection:
            await self.save(connection, [Registration(device, {}) for device in devices])

    async def save(self, connection: AsyncConnection, registrations: Sequence[Registration]) -> None:
        """The same in the caller's transaction, with what each registration says itself."""
        version = await bump(connection, CACHE)
        keys = [registration.device.key for registration in registrations]
        try:
            async with connection.cursor() as cursor:
                await cursor.executemany(_PUT, [_registered(entry, version) for entry in registrations])
        except UniqueViolation as exc:
            raise AlreadyExists("The key or the address of a device is already that of another one") from exc
        clash = await (await connection.execute(_CLASHES, {"keys": keys})).fetchone()
        if clash is not None:
            raise AlreadyExists(f"The address of the device {clash[0]} ends with the key of another one, {clash[1]}")

    async def save_effective(self, connection: AsyncConnection, devices: Sequence[Device]) -> None:
        """Write what ``devices`` come to after their model has changed."""
        version = await bump(connection, CACHE)
        async with connection.cursor() as cursor:
            rows = [effective_row(device) | {"version": version} for device in devices]
            await cursor.executemany(_EFFECTIVE, rows)

    async def lock(
        self, connection: AsyncConnection, tenant_id: int, device_ids: Collection[str]
    ) -> dict[str, DeviceRecord]:
        """Those of the devices that exist, locked until the transaction ends; to be called before anything else.

        The version comes first: whoever changes the registry waits there for the one before, and nobody in a circle.
        """
        await bump(connection, CACHE)
        rows = await (await connection.execute(_LOCK, (tenant_id, list(device_ids)))).fetchall()
        return {record.device.device_id: record for record in map(record_of, rows)}

    async def lock_one(self, connection: AsyncConnection, tenant_id: int, device_id: str) -> DeviceRecord:
        """One of them; raises :class:`ResourceNotFound`."""
        found = await self.lock(connection, tenant_id, [device_id])
        if device_id not in found:
            raise ResourceNotFound(f"Device {device_id} does not exist")
        return found[device_id]

    async def lock_of_model(self, connection: AsyncConnection, tenant_id: int, model_id: str) -> list[DeviceRecord]:
        """The devices of a model, locked until the transaction ends; to be called before anything else."""
        await bump(connection, CACHE)
        rows = await (await connection.execute(_OF_MODEL, (tenant_id, model_id))).fetchall()
        return [record_of(row) for row in rows]

    async def set_password(
        self, connection: AsyncConnection, tenant_id: int, device_id: str, password_hash: str | None
    ) -> None:
        """Give a device another password, or none: it may not log in any more."""
        version = await bump(connection, CACHE)
        values = {"tenant_id": tenant_id, "device_id": device_id, "password_hash": password_hash, "version": version}
        await connection.execute(_SET_CREDENTIAL, values)

    async def set_maintenance(
        self, connection: AsyncConnection, tenant_id: int, device_id: str, windows: Sequence[MaintenanceWindow]
    ) -> None:
        """Replace the maintenance windows of a device."""
        version = await bump(connection, CACHE)
        documents = orjson.dumps([window.document() for window in windows]).decode()
        await connection.execute(_SET_MAINTENANCE, (documents, version, tenant_id, device_id))

    async def hand_over(
        self, connection: AsyncConnection, tenant_id: int, device_id: str, at: datetime, successor: str | None
    ) -> None:
        """End the service of a device ``at`` a time, and its credential now; ``successor`` begins then."""
        version = await bump(connection, CACHE)
        values = {"tenant_id": tenant_id, "device_id": device_id, "at": at, "by": successor, "version": version}
        await connection.execute(_RETIRE, values)
        if successor is not None:
            await connection.execute(_BEGIN_SERVICE, (at, device_id, version, tenant_id, successor))

    async def forget_key(self, connection: AsyncConnection, key: str) -> None:
        """No device has this key any more: it changed."""
        await connection.execute(_REMOVED, (key, await bump(connection, CACHE)))

    async def delete(self, tenant_id: int, device_id: str) -> None:
        """Remove a device; its entities and history stay. Raises :class:`ResourceNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            version = await bump(connection, CACHE)
            row = await (await connection.execute(_DELETE, (tenant_id, device_id))).fetchone()
            if row is None:
                raise ResourceNotFound(f"Device {device_id} does not exist")
            await connection.execute(_REMOVED, (row[0], version))


def _registered(entry: Registration, version: int) -> dict[str, Any]:
    document = orjson.dumps(entry.document).decode() if entry.document else None
    return device_row(entry.device) | {"registration": document, "model_id": entry.model_id, "version": version}


__all__ = ["CACHE", "CachedDeviceDirectory", "Credential", "DeviceFilter", "DeviceStore", "ListedDevice"]

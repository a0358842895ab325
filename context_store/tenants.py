# SPDX-License-Identifier: Apache-2.0
"""Tenants by name (clause 4.14): a municipality each; ``default`` is the one addressed without a header."""

from __future__ import annotations

from typing import Final

from psycopg import AsyncConnection

from broker.errors import NonexistentTenant
from context_store.database import ALL_TENANTS, Database

DEFAULT_TENANT: Final = "default"

_SELECT: Final = "select tenant_id from tenant where name = %s"
_INSERT: Final = "insert into tenant (name) values (%s) on conflict (name) do nothing"
_NAME: Final = "select name from tenant where tenant_id = %s"

# The cluster and the database in it.
_IDENTITY: Final = "select concat_ws('/', system_identifier, current_database()) from pg_control_system()"


class Tenants:
    """Tenant numbers by name, cached: tenants are never renamed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}

    async def find(self, name: str) -> int:
        """The number of the tenant ``name``; raises :class:`NonexistentTenant`."""
        if name not in self._ids:
            async with self._database.transaction(ALL_TENANTS) as connection:
                row = await (await connection.execute(_SELECT, (name,))).fetchone()
            if row is None:
                raise NonexistentTenant(f"Tenant {name} does not exist")
            self._ids[name] = row[0]
        return self._ids[name]

    async def find_or_create(self, name: str) -> int:
        """The number of the tenant ``name``, created implicitly when it is new (clause 4.14)."""
        try:
            return await self.find(name)
        except NonexistentTenant:
            async with self._database.transaction(ALL_TENANTS) as connection:
                await connection.execute(_INSERT, (name,))
            return await self.find(name)

    async def name(self, tenant_id: int) -> str:
        """The name of the tenant with this number."""
        if tenant_id not in self._names:
            async with self._database.transaction(ALL_TENANTS) as connection:
                row = await (await connection.execute(_NAME, (tenant_id,))).fetchone()
            if row is None:
                raise NonexistentTenant(f"Tenant number {tenant_id} does not exist")
            self._names[tenant_id] = row[0]
        return self._names[tenant_id]


async def tenant_name(connection: AsyncConnection, tenant_id: int) -> str:
    """The name of a tenant that is there, within the caller's transaction."""
    row = await (await connection.execute(_NAME, (tenant_id,))).fetchone()
    if row is None:
        raise NonexistentTenant(f"Tenant number {tenant_id} does not exist")
    return str(row[0])


async def hub_identity(database: Database) -> str:
    """What tells this hub's database from every other one, copies on other servers included."""
    async with database.transaction(ALL_TENANTS) as connection:
        row = await (await connection.execute(_IDENTITY)).fetchone()
    return "" if row is None else str(row[0])

# SPDX-License-Identifier: Apache-2.0
"""Device models of tenants. The built-in ones are not stored."""

from __future__ import annotations

from typing import Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.devices.models import DeviceModel
from broker.errors import ResourceNotFound

_LIST: Final[LiteralString] = "select model_id, name, document from device_model where tenant_id = %s order by model_id"
_GET: Final[LiteralString] = """
    select model_id, name, document from device_model where tenant_id = %s and model_id = any(%s) for key share
"""
_PUT: Final[LiteralString] = """
    insert into device_model (tenant_id, model_id, name, document, created_at, modified_at)
    values (%s, %s, %s, %s::jsonb, now(), now())
    on conflict (tenant_id, model_id) do update
       set name = excluded.name, document = excluded.document, modified_at = now()
    returning xmax = 0
"""
_DELETE: Final[LiteralString] = "delete from device_model where tenant_id = %s and model_id = %s"


class DeviceModelStore:
    """Models of one tenant at a time, in the caller's transaction."""

    async def all(self, connection: AsyncConnection, tenant_id: int) -> list[DeviceModel]:
        """The models of a tenant by id."""
        rows = await (await connection.execute(_LIST, (tenant_id,))).fetchall()
        return [DeviceModel(*row) for row in rows]

    async def find(self, connection: AsyncConnection, tenant_id: int, model_ids: list[str]) -> dict[str, DeviceModel]:
        """Those of the models that exist; they stay until the transaction ends."""
        rows = await (await connection.execute(_GET, (tenant_id, model_ids))).fetchall()
        return {row[0]: DeviceModel(*row) for row in rows}

    async def put(self, connection: AsyncConnection, tenant_id: int, model: DeviceModel) -> bool:
        """Create or replace a model; whether it is new."""
        document = orjson.dumps(model.document).decode()
        row = await (await connection.execute(_PUT, (tenant_id, model.model_id, model.name, document))).fetchone()
        return bool(row and row[0])

    async def delete(self, connection: AsyncConnection, tenant_id: int, model_id: str) -> None:
        """Remove a model. Raises :class:`ResourceNotFound`."""
        cursor = await connection.execute(_DELETE, (tenant_id, model_id))
        if cursor.rowcount == 0:
            raise ResourceNotFound(f"Device model {model_id} does not exist")

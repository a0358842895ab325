# SPDX-License-Identifier: Apache-2.0
"""The entities of devices (type Device), in step with what the registry says of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg import AsyncConnection

from broker.devices.entity import described, device_entity_id, differing
from broker.devices.records import DeviceRecord
from broker.devices.state import DEVICE_TYPE
from broker.entities import ExpandedEntity
from broker.expansion import EntityFragment
from broker.operations import append_attributes, create_entity
from context_store.entities.changes import API_SOURCE, EntityWriter, lock_entities


async def write_device_entities(
    connection: AsyncConnection, writer: EntityWriter, records: Sequence[DeviceRecord], now: datetime
) -> None:
    """Make or change the entities of ``records`` (of one tenant) where they say something else."""
    if not records:
        return
    tenant_id = records[0].device.tenant_id
    by_id = {device_entity_id(record.device.key): record for record in records}
    present = await lock_entities(connection, tenant_id, list(by_id))
    for entity_id in sorted(by_id):
        attributes = described(by_id[entity_id])
        stored = present.get(entity_id)
        if stored is None:
            change = create_entity(None, ExpandedEntity(entity_id, (DEVICE_TYPE,), attributes), now)
        else:
            changed = differing(attributes, stored.entity.attributes)
            if not changed:
                continue
            change = append_attributes(stored.entity, EntityFragment(attributes=changed), now).change
        await writer.write(connection, tenant_id, stored.key if stored else None, change, source=API_SOURCE, now=now)

# SPDX-License-Identifier: Apache-2.0
"""When devices were last heard, and how they and their stations are: reading it, and writing it where it has changed.

Nothing is kept beside the entities: what a device was last told to be stands in its own entity, so a restart or a
second worker finds what is there and changes only what is different.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from broker.devices.model import Device
from broker.devices.silence import RECEPTION
from broker.devices.state import DEVICE_STATE, LAST_SEEN, STATE_ATTRIBUTES
from broker.entities import AttributeChange, Attributes, EntityChange, ExpandedEntity, Instance
from broker.times import to_text
from context_store.database import Database
from context_store.entities.changes import EntityWriter, creation, lock_entities, utc_now
from schemas.terms import NO_DATASET

SOURCE: Final = "minamo:supervision"
_AT_ONCE: Final = 200  # entities in one transaction

# One worker at a time writes ("heard" in ASCII); who comes second finds nothing left to change.
_HOLD: Final[LiteralString] = "select pg_advisory_xact_lock(x'68656172'::bigint)"

# Some devices of a tenant: of each mapping when its value was observed and what it is, what the device's own entity
# says of it, and what its station was told last.
_HEARD: Final[LiteralString] = """
    select d.key,
           (select jsonb_agg(jsonb_build_array(i.instance ->> 'observedAt', i.instance -> 'value') order by m.place)
              from jsonb_array_elements(d.attributes) with ordinality as m (mapping, place)
             cross join lateral (select e.document -> (m.mapping ->> 'attribute')
                                        -> coalesce(m.mapping ->> 'datasetId', '@none') as instance) i),
           s.document #>> array[%(last_seen)s, '@none', 'value', '@value'],
           s.document #>> array[%(gateway)s, '@none', 'value'],
           s.document #>> array[%(device_state)s, '@none', 'value'],
           (select max(a.instance ->> 'observedAt')
              from jsonb_each(coalesce(s.document, '{}')) as g (name, instances)
             cross join lateral (select g.instances -> '@none' as instance) a
             where g.name <> %(device_state)s),
           e.document #>> array[%(reception)s, '@none', 'value']
      from device d
      left join entity e on e.tenant_id = d.tenant_id and e.id = d.entity_id
      left join entity s on s.tenant_id = d.tenant_id and s.id = 'urn:ngsi-ld:Device:' || d.key
     where d.tenant_id = %(tenant_id)s and d.key = any(%(keys)s)
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of a device: when it was last heard, the newest values of its mappings in their order, the gateway
    that heard it, and what it and its station were told last."""

    key: str
    last_seen: datetime | None
    values: tuple[Any, ...]
    gateway: str | None
    told: str | None
    reception: str | None


@dataclass(frozen=True, slots=True)
class StateChange:
    """An attribute of an entity to be written; ``base`` is the entity where there is none yet."""

    entity_id: str
    attribute: str
    instance: Instance
    base: ExpandedEntity | None = None


class SupervisionStore:
    """Of all tenants, one at a time."""

    def __init__(self, database: Database, writer: EntityWriter) -> None:
        self._database = database
        self._writer = writer

    async def heard(self, tenant_id: int, devices: Collection[Device]) -> dict[str, Heard]:
        """What is known of ``devices``, by key."""
        values = {
            "tenant_id": tenant_id,
            "keys": [device.key for device in devices],
            "last_seen": LAST_SEEN,
            "gateway": STATE_ATTRIBUTES["gateway"][0],
            "device_state": DEVICE_STATE,
            "reception": RECEPTION,
        }
        rows = await self._database.read(tenant_id, _HEARD, values)
        return {row[0]: _heard(row) for row in rows}

    async def write(self, tenant_id: int, changes: Sequence[StateChange]) -> int:
        """Write those of ``changes`` that are not so already; returns how many were."""
        written = 0
        for begin in range(0, len(changes), _AT_ONCE):
            part = changes[begin : begin + _AT_ONCE]
            async with self._database.transaction(tenant_id) as connection:
                await connection.execute(_HOLD)
                written += await self._write(connection, tenant_id, part)
        return written

    async def _write(self, connection: AsyncConnection, tenant_id: int, changes: Iterable[StateChange]) -> int:
        by_id = {change.entity_id: change for change in changes}
        present = await lock_entities(connection, tenant_id, list(by_id))
        now = utc_now()
        written = 0
        for entity_id in sorted(by_id):
            stored = present.get(entity_id)
            change = _change(stored.entity if stored else None, by_id[entity_id], now)
            if change is not None:
                key = stored.key if stored else None
                await self._writer.write(connection, tenant_id, key, change, source=SOURCE, now=now)
                written += 1
        return written


def _heard(row: tuple[Any, ...]) -> Heard:
    key, values, reported, gateway, told, observed, reception = row
    pairs = values or []
    moments = [text for text, _ in pairs] + [reported, observed]
    times = [datetime.fromisoformat(text) for text in moments if text]
    return Heard(key, max(times, default=None), tuple(value for _, value in pairs), gateway, told, reception)


def _change(before: ExpandedEntity | None, wanted: StateChange, now: datetime) -> EntityChange | None:
    """The change that makes it so; None: it is so."""
    moment = to_text(now)
    if before is None:
        if wanted.base is None:  # a station without a reading yet
            return None
        instance = {**wanted.instance, "createdAt": moment, "modifiedAt": moment}
        return creation(
            wanted.base.with_attributes({**wanted.base.attributes, wanted.attribute: {NO_DATASET: instance}})
        )
    old = before.attributes.get(wanted.attribute, {}).get(NO_DATASET)
    if old is not None and _said(old) == _said(wanted.instance):
        return None
    created = old.get("createdAt", moment) if old else moment
    instance = {**wanted.instance, "createdAt": created, "modifiedAt": moment}
    attributes: Attributes = {**before.attributes, wanted.attribute: {NO_DATASET: instance}}
    after = replace(before, attributes=attributes, modified_at=now)
    return EntityChange(before, after, (AttributeChange(wanted.attribute, NO_DATASET, old, instance),))


def _said(instance: Instance) -> Instance:
    return {name: value for name, value in instance.items() if name not in ("createdAt", "modifiedAt")}

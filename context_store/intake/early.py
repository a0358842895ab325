# SPDX-License-Identifier: Apache-2.0
"""Readings on a short way to the alert rules, before they are stored: a notification that nothing keeps.

They are judged as when they are stored, against the newest value there is. What is lost on the way (nobody listens, the
database is away) is only not early: the readings come again in their turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString

import orjson
from psycopg import AsyncConnection

from broker.devices.maintenance import in_maintenance
from broker.devices.model import AttributeMapping
from broker.intake.readings import Observation
from broker.quality import Flag, Past, judge, past_of
from broker.times import to_text
from context_store.database import ALL_TENANTS, Database
from context_store.events import ChangeEvent
from context_store.rows import tuples_of

CHANNEL: Final = "minamo_early"
_LONGEST: Final = 7900  # bytes; PostgreSQL takes payloads below 8000

# Entities and the present instances of some of their attributes.
_PRESENT: Final[LiteralString] = """
    select e.tenant_id, e.id, e.entity_key, e.types, w.attribute, e.document -> w.attribute
      from unnest(%(tenants)s::int[], %(ids)s::text[], %(attributes)s::text[]) as w (tenant_id, id, attribute)
      join entity e using (tenant_id, id)
"""
_TELL: Final[LiteralString] = f"select pg_notify('{CHANNEL}', %s)"

_Wanted = tuple[int, str, str]  # tenant, entity id, attribute


class _Series:
    """The present values of an attribute of an entity, by dataset; ``past`` is what the next one is compared with."""

    def __init__(self, entity_key: int, types: list[str], instances: dict[str, Any]) -> None:
        self.entity_key = entity_key
        self.types = types
        self.past: dict[str, Past | None] = {dataset: past_of(found) for dataset, found in instances.items()}


class PostgresEarlyReadings:
    """The :class:`~ingest.early.EarlyStore` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._series: dict[_Wanted, _Series] = {}

    def begin(self) -> None:
        """Forget what is known of entities."""
        self._series.clear()

    async def tell(self, observations: Sequence[Observation]) -> None:
        """Judge ``observations`` and tell those that are good. Raises :class:`~broker.errors.StoreUnavailable`."""
        if not observations:
            return
        async with self._database.transaction(ALL_TENANTS) as connection:
            await self._know(connection, observations)
            for payload in _payloads(list(self._good(observations))):
                await connection.execute(_TELL, (payload,))

    async def _know(self, connection: AsyncConnection, observations: Sequence[Observation]) -> None:
        wanted = {
            (one.device.tenant_id, one.device.entity_id, mapping.attribute): None
            for one in observations
            for mapping, _ in one.values
        }
        missing = [key for key in wanted if key not in self._series]
        if not missing:
            return
        tenants, ids, attributes = zip(*missing, strict=True)
        columns = {"tenants": list(tenants), "ids": list(ids), "attributes": list(attributes)}
        for tenant_id, entity_id, key, types, attribute, found in await tuples_of(connection, _PRESENT, columns):
            self._series[tenant_id, entity_id, attribute] = _Series(key, types, found or {})

    def _good(self, observations: Sequence[Observation]) -> Iterator[bytes]:
        for one in observations:
            device = one.device
            if bool(device.maintenance) and in_maintenance(device, one.observed_at) is not None:
                continue
            for mapping, value in one.values:
                # An entity that is not there yet is asked for again the next time.
                series = self._series.get((device.tenant_id, device.entity_id, mapping.attribute))
                if series is not None and type(value) is float and _is_good(series, mapping, value, one):
                    instance = _instance(mapping, value, one.observed_at)
                    place = (device.tenant_id, series.entity_key, device.entity_id, series.types)
                    said = (*place, mapping.attribute, mapping.dataset, instance, one.received_at)
                    yield orjson.dumps(said)


def events_in(payload: str) -> list[ChangeEvent]:
    """The readings of a notification in the form of change events, which have no number."""
    found = []
    for tenant_id, entity_key, entity_id, types, attribute, dataset, instance, received in orjson.loads(payload):
        change = {"attribute": attribute, "dataset": dataset, "before": None, "after": instance}
        received_at = datetime.fromisoformat(received)
        found.append(ChangeEvent(0, tenant_id, entity_key, entity_id, types, "updated", [change], 0, received_at))
    return found


def _is_good(series: _Series, mapping: AttributeMapping, value: float, one: Observation) -> bool:
    """Whether a value is newer than what is known and nothing is wrong with it; the next one is compared with it."""
    past = series.past.get(mapping.dataset)
    if past is not None and one.observed_at <= past.at:
        return False
    if mapping.checks is None:
        series.past[mapping.dataset] = Past(one.observed_at, value, one.observed_at, value, one.observed_at)
        return True
    verdict = judge(mapping.checks, past, value, one.observed_at, one.received_at)
    series.past[mapping.dataset] = verdict.past
    return verdict.flag is Flag.GOOD


def _instance(mapping: AttributeMapping, value: float, observed_at: datetime) -> dict[str, Any]:
    instance = {"type": "Property", "value": value, "observedAt": to_text(observed_at)}
    return instance if mapping.unit_code is None else {**instance, "unitCode": mapping.unit_code}


def _payloads(said: Sequence[bytes]) -> Iterator[str]:
    """JSON arrays of ``said`` that are short enough; one that is too long for itself is left out."""
    part: list[bytes] = []
    length = 2
    for one in said:
        if part and length + len(one) > _LONGEST:
            yield f"[{b','.join(part).decode()}]"
            part, length = [], 2
        if len(one) + 2 <= _LONGEST:
            part.append(one)
            length += len(one) + 1
    if part:
        yield f"[{b','.join(part).decode()}]"

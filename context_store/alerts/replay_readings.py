# SPDX-License-Identifier: Apache-2.0
"""Recorded numbers in the order of their times, as alert rules count them. The caller owns the transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from broker.alerts import Sample, any_sample_of
from broker.entities import AttributeKind, Instance
from broker.quality import quality_attributes
from broker.times import to_text
from context_store.history.writing import QUALITY_NAME
from context_store.rows import tuples_of

_READINGS: Final[LiteralString] = """
    select i.observed_at, i.number_value, i.unit_code, i.quality, i.detail
      from attribute_instance i
     where i.entity_key in (select entity_key from entity_identity
                             where tenant_id = %(tenant_id)s and id = %(entity_id)s)
       and i.tenant_id = %(tenant_id)s and i.attribute_id = %(attribute_id)s and i.dataset_id = %(dataset_id)s
       and i.observed_at >= %(start)s and i.observed_at < %(end)s
       and i.number_value is not null and i.superseded_at is null and not i.removed
     order by i.observed_at limit %(limit)s
"""
# Entities of a type, in the order of their ids.
_OF_TYPE: Final[LiteralString] = """
    select id, scopes from entity
     where tenant_id = %(tenant_id)s
       and (types[1] = %(type)s or (types[2] is not null and types @> array[%(type)s::text]))
     order by id limit %(limit)s
"""


async def recorded_samples(
    connection: AsyncConnection,
    tenant_id: int,
    entity_id: str,
    terms: tuple[int, int],
    span: tuple[datetime, datetime],
    limit: int,
) -> list[Sample]:
    """What is believed of one attribute now; ``terms`` are the numbers of attribute and dataset."""
    parameters = {
        "tenant_id": tenant_id,
        "entity_id": entity_id,
        "attribute_id": terms[0],
        "dataset_id": terms[1],
        "start": span[0],
        "end": span[1],
        "limit": limit,
    }
    rows = await tuples_of(connection, _READINGS, parameters)
    samples = (any_sample_of(_instance(*row)) for row in rows)
    return [sample for sample in samples if sample is not None]


async def entities_of_type(
    connection: AsyncConnection, tenant_id: int, entity_type: str, limit: int
) -> list[tuple[str, tuple[str, ...]]]:
    """Ids and scopes of the entities of a type."""
    rows = await tuples_of(connection, _OF_TYPE, {"tenant_id": tenant_id, "type": entity_type, "limit": limit})
    return [(entity_id, tuple(scopes)) for entity_id, scopes in rows]


def _instance(
    observed_at: datetime, number: float, unit: str | None, quality: int | None, detail: dict[str, Any] | None
) -> Instance:
    instance: Instance = {
        "type": AttributeKind.PROPERTY.value,
        "value": number,
        "observedAt": to_text(observed_at),
        "unitCode": unit,
    }
    if detail and detail.get("attrs"):
        return instance | {"attrs": detail["attrs"]}
    return instance if quality is None else instance | {"attrs": quality_attributes(QUALITY_NAME[quality])}

# SPDX-License-Identifier: Apache-2.0
"""History of transient attributes (clause 4.22).

The history of an entity outlives it; that of a transient attribute does not: instances with an ``expiresAt`` were to
be kept until then and no longer. So when an expired instance is removed from the current state, by the collector or
by a write that comes before it, its history goes with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, LiteralString

from psycopg import AsyncConnection

from broker.entities import AttributeChange

_FORGET: Final[LiteralString] = """
    delete from attribute_instance i
     using unnest(%(attributes)s::int[], %(datasets)s::int[]) as gone (attribute_id, dataset_id)
     where i.entity_key = %(key)s and i.tenant_id = %(tenant_id)s and i.attribute_id = gone.attribute_id
       and i.dataset_id = gone.dataset_id and (i.detail ->> 'expiresAt')::timestamptz <= %(now)s
"""

# The marks of removal, where they are all that is left.
_FORGET_REMOVAL: Final[LiteralString] = """
    delete from attribute_instance i
     using unnest(%(attributes)s::int[], %(datasets)s::int[]) as gone (attribute_id, dataset_id)
     where i.entity_key = %(key)s and i.tenant_id = %(tenant_id)s and i.attribute_id = gone.attribute_id
       and i.dataset_id = gone.dataset_id and i.removed
       and not exists (select from attribute_instance o
                        where o.entity_key = i.entity_key and o.tenant_id = i.tenant_id
                          and o.attribute_id = i.attribute_id and o.dataset_id = i.dataset_id and not o.removed)
"""


def removes_expired(changes: Iterable[AttributeChange], now: datetime) -> bool:
    """Whether some of ``changes`` are the end of an instance that has expired."""
    return any(item.after is None and _has_expired(item, now) for item in changes)


async def forget_expired(
    connection: AsyncConnection,
    place: tuple[int, int],
    changes: Iterable[AttributeChange],
    ids: Mapping[str, int],
    now: datetime,
) -> None:
    """Remove the history of the expired instances that ``changes`` removed.

    ``place`` is (tenant_id, entity_key); ``ids`` are the numbers of attributes and datasets.
    """
    gone = [item for item in changes if item.after is None and _has_expired(item, now)]
    if gone:
        slots = {
            "tenant_id": place[0],
            "key": place[1],
            "now": now,
            "attributes": [ids[item.attribute] for item in gone],
            "datasets": [ids[item.dataset] for item in gone],
        }
        await connection.execute(_FORGET, slots)
        await connection.execute(_FORGET_REMOVAL, slots)


def _has_expired(item: AttributeChange, now: datetime) -> bool:
    due = item.before.get("expiresAt") if item.before else None
    return due is not None and datetime.fromisoformat(due) <= now

# SPDX-License-Identifier: Apache-2.0
"""Who the entities of history are: those of the current state, those that are gone, those that only history knows.

An id may have had several lives, each with its own number in history; to the temporal API they are one entity. For a
query, this module builds the entities *as a window of time shows them*: a common table expression named ``entity``
that has the columns of that table, with all instances inside of the window in place of the current ones. What
:mod:`context_store.query_sql` makes of a query then holds "for any instance in the window" (clause 5.7.4.4).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import sqlalchemy as sa
from psycopg import AsyncConnection
from sqlalchemy.dialects.postgresql import ARRAY

from broker.entities import ExpandedEntity
from broker.query import EntityQuery, attribute_names
from broker.temporal import SCOPE, HistoricInstance
from broker.times import to_text
from context_store.query_sql import ENTITY
from schemas.terms import LOCATION, NO_DATASET

# All lives of some ids, the newest last. The current state knows best when something was modified.
_LIVES: Final[LiteralString] = """
    select i.entity_key, i.id, i.types, i.scopes, i.created_at, greatest(i.modified_at, e.modified_at), e.expires_at,
           i.deleted_at
      from entity_identity i left join entity e on e.entity_key = i.entity_key
     where i.tenant_id = %(tenant_id)s and i.id = any(%(ids)s)
     order by i.id, i.entity_key
"""

# Texts of statements for SQLAlchemy; AXIS becomes observed_at or recorded_at, and every value is bound.
_NEWEST_LIFE: Final = """
    select i.tenant_id, i.id, i.entity_key, i.types, DOCUMENT as document, LOCATION as location, SCOPES as scopes,
           i.created_at, greatest(i.modified_at, e.modified_at) as modified_at, e.expires_at
      from (select distinct on (tenant_id, id) * from entity_identity order by tenant_id, id, entity_key desc) i
      left join entity e on e.entity_key = i.entity_key
"""
_WINDOW: Final = """
    from entity_identity k
    join attribute_instance a on a.entity_key = k.entity_key and a.tenant_id = k.tenant_id
   where k.tenant_id = i.tenant_id and k.id = i.id and not a.removed
     and a.attribute_id = any(cast(:window_attributes as int[]))
     and a.AXIS >= cast(:window_start as timestamptz) and a.AXIS < cast(:window_end as timestamptz)
     and (a.has_observed_at or not :only_observed)
     and a.recorded_at <= cast(:known_at as timestamptz)
     and (a.superseded_at is null or a.superseded_at > cast(:known_at as timestamptz))
"""
_TIME_TEXT: Final = (
    """rtrim(rtrim(to_char(timezone('UTC', a.%s), 'YYYY-MM-DD"T"HH24\\:MI\\:SS.US'), '0'), '.') || 'Z'"""
)
# The instances in the window as attributes of a document, each under its own number in place of a datasetId. Kinds
# are numbered as in context_store.history.
_DOCUMENT: Final = f"""
      left join lateral (
        select jsonb_object_agg((select name from term where term_id = w.attribute_id), w.instances) as document from (
          select a.attribute_id,
                 jsonb_object_agg(a.instance_key::text,
                   jsonb_build_object(
                     'type', (array['Property', 'Relationship', 'GeoProperty', 'LanguageProperty', 'VocabProperty',
                                    'JsonProperty', 'ListProperty', 'ListRelationship'])[a.kind],
                     (array['value', 'object', 'value', 'languageMap', 'vocab', 'json', 'valueList',
                            'objectList'])[a.kind],
                     coalesce(a.json_value, to_jsonb(a.number_value), to_jsonb(a.text_value),
                              to_jsonb(a.boolean_value)),
                     'createdAt', {_TIME_TEXT % "recorded_at"}, 'modifiedAt', {_TIME_TEXT % "recorded_at"})
                   || case when a.has_observed_at then jsonb_build_object('observedAt', {_TIME_TEXT % "observed_at"})
                      else jsonb_build_object() end
                   || case when a.unit_code is not null then jsonb_build_object('unitCode', a.unit_code)
                      else jsonb_build_object() end
                   || coalesce(a.detail, jsonb_build_object())) as instances
            {_WINDOW} group by a.attribute_id) w) d on true
"""
# A collection, which is what the query takes for several geometries of which any may match.
_LOCATION: Final = f"""
      left join lateral (
        select st_forcecollection(st_collect(a.geometry_value)) as location {_WINDOW}
           and a.geometry_value is not null) l on true
"""
# The scopes that held at some time in the window (clause 4.18). Where nobody ever said since when, those of the newest
# state hold too: history that was brought in later is older than anything the hub knows of scopes.
_SCOPES: Final = """
      left join lateral (
        select array_agg(distinct scope) as scopes from (
          select unnest(held.scopes) as scope from (
            select s.scopes, coalesce(s.observed_at, s.recorded_at) as began,
                   lead(coalesce(s.observed_at, s.recorded_at)) over (
                       order by coalesce(s.observed_at, s.recorded_at), s.instance_key) as ended
              from entity_identity k join scope_instance s on s.entity_key = k.entity_key
             where k.tenant_id = i.tenant_id and k.id = i.id and s.recorded_at <= cast(:known_at as timestamptz)
               and (s.superseded_at is null or s.superseded_at > cast(:known_at as timestamptz))) held
           where held.began < cast(:window_end as timestamptz)
             and (held.ended is null or held.ended > cast(:window_start as timestamptz))
          union
          select unnest(i.scopes) where not exists (
              select from entity_identity k join scope_instance s on s.entity_key = k.entity_key
               where k.tenant_id = i.tenant_id and k.id = i.id and s.observed_at is not null
                 and s.recorded_at <= cast(:known_at as timestamptz)
                 and (s.superseded_at is null or s.superseded_at > cast(:known_at as timestamptz)))) u) s on true
"""
# How scopes changed, beginning with those that held already when the range begins (annex C.5.16). The newest first.
_SCOPE_INSTANCES: Final[LiteralString] = """
    select entity_key, instance_key, scopes, removed, recorded_at, coalesce(observed_at, recorded_at), place
      from scope_instance s
     cross join lateral (select case when %(by_observed)s then coalesce(observed_at, recorded_at)
                                     else recorded_at end as place) p
     where entity_key = any(%(keys)s)
       and recorded_at <= %(known_at)s::timestamptz
       and (superseded_at is null or superseded_at > %(known_at)s::timestamptz)
       and place < %(end)s::timestamptz
       and (place >= %(start)s::timestamptz
            or (%(by_observed)s and not removed
                and place = (select max(coalesce(e.observed_at, e.recorded_at)) from scope_instance e
                              where e.entity_key = s.entity_key
                                and e.recorded_at <= %(known_at)s::timestamptz
                                and (e.superseded_at is null or e.superseded_at > %(known_at)s::timestamptz)
                                and coalesce(e.observed_at, e.recorded_at) <= %(start)s::timestamptz)))
       and (removed = %(removed)s::boolean or %(removed)s::boolean is null)
     order by place desc, recorded_at desc, instance_key desc limit %(limit)s
"""

IDENTITY: Final = sa.Table(
    "entity_identity",
    sa.MetaData(),
    sa.Column("tenant_id", sa.Integer),
    sa.Column("id", sa.Text),
    sa.Column("entity_key", sa.BigInteger),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """One entity of history: the numbers of its lives, and what is known of it beside its attributes."""

    keys: tuple[int, ...]
    entity: ExpandedEntity
    deleted_at: datetime | None = None


async def find_identities(connection: AsyncConnection, tenant_id: int, ids: Sequence[str]) -> dict[str, Identity]:
    """Those of ``ids`` that history knows."""
    rows = await (await connection.execute(_LIVES, {"tenant_id": tenant_id, "ids": list(ids)})).fetchall()
    found: dict[str, Identity] = {}
    for key, entity_id, types, scopes, created_at, modified_at, expires_at, deleted_at in rows:
        earlier = found[entity_id].keys if entity_id in found else ()
        created, modified = created_at.astimezone(UTC), modified_at.astimezone(UTC)
        entity = ExpandedEntity(entity_id, tuple(types), {}, tuple(scopes), created, modified, expires_at)
        found[entity_id] = Identity((*earlier, key), entity, deleted_at.astimezone(UTC) if deleted_at else None)
    return found


async def scope_instances(
    connection: AsyncConnection, keys: Sequence[int], bounds: Mapping[str, Any], most: int, *, by_observed: bool
) -> list[tuple[int, HistoricInstance]]:
    """What the scopes of the entities with these numbers were within ``bounds``: the newest, at most ``most``."""
    values = {**bounds, "keys": list(keys), "limit": most, "by_observed": by_observed}
    rows = await (await connection.execute(_SCOPE_INSTANCES, values)).fetchall()
    return [(row[0], _scope_instance(*row[1:])) for row in rows]


def _scope_instance(
    key: int, scopes: list[str], removed: bool, recorded_at: datetime, observed_at: datetime, place: datetime
) -> HistoricInstance:
    """Scopes are observed when the hub learns of them, unless somebody said otherwise (clause 4.5.6)."""
    recorded = recorded_at.astimezone(UTC)
    instance: dict[str, Any] = {"type": "Property", "value": scopes[0] if len(scopes) == 1 else scopes}
    if not removed or observed_at != recorded_at:
        instance["observedAt"] = to_text(observed_at)
    return HistoricInstance(SCOPE, NO_DATASET, instance, key, recorded, place.astimezone(UTC), removed)


def window_attributes(query: EntityQuery) -> set[str]:
    """The attributes (IRIs) whose values a query looks at."""
    names = set() if query.q is None else set(attribute_names(query.q))
    return names | ({query.geo.geoproperty} if query.geo is not None else set())


def entities_in_window(query: EntityQuery, numbers: Collection[int], bounds: Mapping[str, Any], axis: str) -> sa.CTE:
    """The expression named ``entity`` for ``query``.

    ``numbers`` are those of :func:`window_attributes` that occur in history; ``bounds`` are the window's ``start``,
    ``end``, ``only_observed`` and ``known_at``; ``axis`` is ``observed_at`` or ``recorded_at``.
    """
    at_location = query.geo is not None and query.geo.geoproperty == LOCATION
    with_document = query.q is not None or (query.geo is not None and not at_location)
    with_scopes = query.scope is not None
    text = _NEWEST_LIFE.replace(
        "DOCUMENT", "coalesce(d.document, cast('{}' as jsonb))" if with_document else "e.document"
    )
    text = text.replace("LOCATION", "l.location" if at_location else "e.location")
    text = text.replace("SCOPES", "coalesce(s.scopes, cast(array[] as text[]))" if with_scopes else "i.scopes")
    text += _DOCUMENT if with_document else ""
    text += _LOCATION if at_location else ""
    text += _SCOPES if with_scopes else ""
    clause = sa.text(text.replace("AXIS", axis))
    if with_document or at_location or with_scopes:
        clause = clause.bindparams(window_start=bounds["start"], window_end=bounds["end"], known_at=bounds["known_at"])
    if with_document or at_location:
        attributes = sa.bindparam("window_attributes", sorted(numbers), ARRAY(sa.Integer))
        clause = clause.bindparams(attributes, only_observed=bounds["only_observed"])
    return clause.columns(*ENTITY.c).cte("entity")

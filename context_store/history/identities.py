# SPDX-License-Identifier: Apache-2.0
"""Who the entities of history are: those of the current state, those that are gone, those that only history knows.

An id may have had several lives, each with its own number in history; to the temporal API they are one entity. For a
query, this module builds the entities *as a window of time shows them*: a common table expression named ``entity``
that has the columns of that table, with all instances inside of the window in place of the current ones. What
:mod:`context_store.queries.statements` makes of a query then holds "for any instance in the window" (clause 5.7.4.4).
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
from broker.history.temporal import TemporalQuery
from broker.quality.flags import QUALITY
from broker.query import EntityQuery, attribute_names
from context_store.history.instances import axis_of, bounds_of
from context_store.queries.statements import ENTITY
from schemas.terms import LOCATION, NO_DATASET

# All lives of some ids, the newest last. The current state knows best when something was modified.
_LIVES: Final[LiteralString] = """
    select i.entity_key, i.id, i.types, i.scopes, i.created_at, greatest(i.modified_at, e.modified_at), e.expires_at,
           i.deleted_at
      from entity_identity i left join entity e on e.entity_key = i.entity_key
     where i.tenant_id = %(tenant_id)s and i.id = any(%(ids)s) and i.created_at <= %(known_at)s::timestamptz
     order by i.id, i.entity_key
"""

# Texts of statements for SQLAlchemy; AXIS becomes observed_at or recorded_at, and every value is bound.
_NEWEST_LIFE: Final = """
    select i.tenant_id, i.id, i.entity_key, i.types, DOCUMENT as document, LOCATION as location, SCOPES as scopes,
           i.created_at, greatest(i.modified_at, e.modified_at) as modified_at, e.expires_at
      from (select distinct on (tenant_id, id) * from entity_identity KNOWN order by tenant_id, id, entity_key desc) i
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
     and (cast(a.detail ->> 'expiresAt' as timestamptz) > now()) is not false
"""
_TIME_TEXT: Final = (
    """rtrim(rtrim(to_char(timezone('UTC', a.%s), 'YYYY-MM-DD"T"HH24\\:MI\\:SS.US'), '0'), '.') || 'Z'"""
)
# What a row says of its quality, where its own sub-attributes do not.
_NAME: Final = QUALITY.replace(":", "\\:")  # else SQLAlchemy would take it for a parameter
_QUALITY: Final = f"""case when a.quality is null or a.detail -> 'attrs' -> '{_NAME}' is not null then '{{}}'::jsonb
                      else jsonb_build_object('attrs', coalesce(a.detail -> 'attrs', jsonb_build_object())
                        || jsonb_build_object('{_NAME}', jsonb_build_object('{NO_DATASET}', jsonb_build_object(
                             'type', 'Property', 'value', (array['good', 'suspect', 'missing', 'estimated',
                                                                 'maintenance'])[a.quality])))) end"""
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
                   || coalesce(a.detail, jsonb_build_object()) || {_QUALITY}) as instances
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
IDENTITY: Final = sa.Table(
    "entity_identity",
    sa.MetaData(),
    sa.Column("tenant_id", sa.Integer),
    sa.Column("id", sa.Text),
    sa.Column("entity_key", sa.BigInteger),
)
_HISTORY: Final = sa.Table(
    "attribute_instance",
    sa.MetaData(),
    sa.Column("entity_key", sa.BigInteger),
    sa.Column("tenant_id", sa.Integer),
    sa.Column("attribute_id", sa.Integer),
    sa.Column("dataset_id", sa.Integer),
    sa.Column("observed_at", sa.TIMESTAMP(timezone=True)),
    sa.Column("recorded_at", sa.TIMESTAMP(timezone=True)),
    sa.Column("has_observed_at", sa.Boolean),
    sa.Column("removed", sa.Boolean),
    sa.Column("superseded_at", sa.TIMESTAMP(timezone=True)),
)

_NOT_EXPIRED: Final = "(cast(attribute_instance.detail ->> 'expiresAt' as timestamptz) > now()) is not false"


@dataclass(frozen=True, slots=True)
class Identity:
    """One entity of history: the numbers of its lives, and what is known of it beside its attributes."""

    keys: tuple[int, ...]
    entity: ExpandedEntity
    deleted_at: datetime | None = None


async def find_identities(
    connection: AsyncConnection, tenant_id: int, ids: Sequence[str], *, known_at: datetime | None = None
) -> dict[str, Identity]:
    """Those of ``ids`` that history knows, or knew at ``known_at``: before, nothing was modified or deleted."""
    values = {"tenant_id": tenant_id, "ids": list(ids), "known_at": known_at.isoformat() if known_at else "infinity"}
    rows = await (await connection.execute(_LIVES, values)).fetchall()
    found: dict[str, Identity] = {}
    for key, entity_id, types, scopes, created_at, modified_at, expires_at, deleted_at in rows:
        earlier = found[entity_id].keys if entity_id in found else ()
        entity = ExpandedEntity(
            entity_id,
            tuple(types),
            {},
            tuple(scopes),
            _by(created_at, known_at),
            _by(modified_at, known_at),
            expires_at,
        )
        found[entity_id] = Identity((*earlier, key), entity, _by(deleted_at, known_at))
    return found


def _by(moment: datetime | None, known_at: datetime | None) -> datetime | None:
    """``moment`` in UTC, if it had come at ``known_at``."""
    came = moment is not None and (known_at is None or moment <= known_at)
    return moment.astimezone(UTC) if moment is not None and came else None


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
    known = bounds["known_at"] != "infinity"
    text = text.replace("KNOWN", "where created_at <= cast(:known_at as timestamptz)" if known else "")
    clause = sa.text(text.replace("AXIS", axis))
    if with_document or at_location or with_scopes:
        clause = clause.bindparams(window_start=bounds["start"], window_end=bounds["end"])
    if with_document or at_location or with_scopes or known:
        clause = clause.bindparams(known_at=bounds["known_at"])
    if with_document or at_location:
        attributes = sa.bindparam("window_attributes", sorted(numbers), ARRAY(sa.Integer))
        clause = clause.bindparams(attributes, only_observed=bounds["only_observed"])
    return clause.columns(*ENTITY.c).cte("entity")


def has_instances(
    tenant_id: int, query: TemporalQuery, attribute_ids: Sequence[int] | None, dataset_ids: Sequence[int] | None
) -> sa.ColumnElement[bool]:
    """Whether an entity has an instance that the temporal query finds."""
    bounds = bounds_of(query)
    columns = _HISTORY.c
    axis = columns[axis_of(query)]
    tenant = sa.literal(tenant_id, sa.Integer)
    found: sa.Select[Any] = sa.select(sa.literal_column("1")).where(
        IDENTITY.c.tenant_id == tenant,
        IDENTITY.c.id == ENTITY.c.id,
        columns.entity_key == IDENTITY.c.entity_key,
        columns.tenant_id == tenant,
    )
    for column, numbers in ((columns.attribute_id, attribute_ids), (columns.dataset_id, dataset_ids)):
        if numbers is not None:
            found = found.where(column == sa.any_(sa.literal(list(numbers), ARRAY(sa.Integer))))
    if query.start is not None:
        found = found.where(axis >= query.start)
    if query.end is not None:
        found = found.where(axis < query.end)
    if bounds["only_observed"]:
        found = found.where(columns.has_observed_at)
    if bounds["removed"] is not None:
        found = found.where(columns.removed.is_(bounds["removed"]))
    believed: sa.ColumnElement[bool] = columns.superseded_at.is_(None)
    if query.as_known_at is not None:
        believed = sa.or_(believed, columns.superseded_at > query.as_known_at)
        found = found.where(columns.recorded_at <= query.as_known_at)
    found = found.where(believed, sa.text(_NOT_EXPIRED))
    return sa.exists(found)

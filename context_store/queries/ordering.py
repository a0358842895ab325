# SPDX-License-Identifier: Apache-2.0
"""The order of entities as SQL (clause 4.23); part of ``query_sql``. PostgreSQL sorts, by ICU's collations.

A key of the order is one value of an entity: of the default instance of an attribute or, without one, of the first.
Values of different data types come in the order of clause 4.23.2; null and what is not there come last, whatever
the direction. Each value is found once for each entity, in a lateral subquery.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import sql

from broker.errors import BadRequestData, TooComplexQuery
from broker.query.comparison import TEMPORAL_SHAPES
from broker.query.ordering import ROOT_COLLATION, Ordering, OrderTerm
from broker.query.tree import AttributePath, ValueKind
from context_store.database import ALL_TENANTS, SCHEMA, Database
from context_store.queries.terms import (
    FRACTION_ZEROS,
    VALUE_MEMBERS,
    Json,
    Source,
    as_text,
    first_of,
    fixed,
    member_of,
    path_instances,
    text_array,
    typed,
)
from schemas.terms import NO_DATASET

Key = sa.ColumnElement[Any]

MAX_COLLATIONS: Final = 200  # that requests may bring into being, over all tenants

_ROOT: Final = "und-x-icu"  # PostgreSQL's own name for ICU's root collation
_VALUES: Final = (*VALUE_MEMBERS, "object", "objectList", "languageMap")
_ENTITY_TIMES: Final = {"createdAt": "created_at", "modifiedAt": "modified_at", "expiresAt": "expires_at"}
_STRING_RANK: Final = 1
_JSON_RANKS: Final = {"number": 0, "object": 2, "array": 3, "boolean": 4}
_TEMPORAL_RANKS: Final = {ValueKind.TIME: 5, ValueKind.DATE: 6, ValueKind.DATE_TIME: 7}
_NULL_RANK: Final = 8
_ABSENT_RANK: Final = 9


class Collations:
    """The collations of a database: what a request names and is not there yet is made."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = {ROOT_COLLATION}

    async def ensure(self, tag: str) -> None:
        """Make the collation ``tag`` (canonical, see ``parse_collation``) unless it is there.

        Strings that it holds equal are equal, so that the next key decides. Raises ``BadRequestData`` for one that
        ICU does not know, ``TooComplexQuery`` when there are too many.
        """
        if tag in self._known:
            return
        statement = sql.SQL(
            "create collation if not exists {} (provider = icu, locale = {}, deterministic = false)"
        ).format(sql.Identifier(SCHEMA, tag), sql.Literal(tag))
        try:
            async with self._database.transaction(ALL_TENANTS, aside=True) as connection:
                counted = "select count(*) from pg_collation where collnamespace = %s::regnamespace and collname <> %s"
                row = await (await connection.execute(counted, (SCHEMA, tag))).fetchone()
                if row and row[0] >= MAX_COLLATIONS:
                    raise TooComplexQuery(f"There are {MAX_COLLATIONS} collations in use, which is the most")
                await connection.execute(statement)
        except psycopg.errors.UniqueViolation:
            pass  # another process made it in this moment
        except (psycopg.DataError, psycopg.InternalError) as exc:
            raise BadRequestData(f"The collation {tag!r} is not known") from exc
        self._known.add(tag)


def ordered(statement: sa.Select[Any], ordering: Ordering, source: Source) -> sa.Select[Any]:
    """``statement`` (on the table of ``source``) in this order, and by id among equals."""
    collation = _ROOT if ordering.collation == ROOT_COLLATION else ordering.collation
    keys: list[Key] = []
    joined: sa.FromClause = source.table
    for number, term in enumerate(ordering.terms):
        if not term.path.names:
            keys.append(_entity_key(term, source, collation))
            continue
        found = _found(term.path, source).lateral(f"order_{number}")
        joined = joined.outerjoin(found, sa.true())
        if term.by_distance and ordering.reference is not None:
            keys += _distance_keys(found.c.geometry, ordering.reference, descending=term.descending)
        keys += _value_keys(typed(found.c.value), collation, descending=term.descending)
    return statement.select_from(joined).order_by(*keys, source.table.c.id)


def _directed(key: Key, *, descending: bool) -> Key:
    return key.desc() if descending else key.asc()


def _entity_key(term: OrderTerm, source: Source, collation: str) -> Key:
    """The order by a member of the entity itself; what it does not have comes last."""
    columns, member = source.table.c, term.path.member or ""
    key: Key
    if member in _ENTITY_TIMES:
        key = columns[_ENTITY_TIMES[member]]
    elif member == "id":
        key = sa.collate(columns.id, collation)
    else:
        names = columns.types if member == "type" else columns.scopes
        key = sa.collate(sa.func.nullif(sa.func.array_to_string(names, ","), ""), collation)
    return sa.nulls_last(_directed(key, descending=term.descending))


def _found(path: AttributePath, source: Source) -> sa.Select[Any]:
    """The value at the end of ``path``, and the geometry if it is a GeoProperty's: one row or none."""
    froms, key, body = path_instances(path.names, source)
    kind = body.op("->>", return_type=sa.Text())(fixed("type"))
    geometry = sa.case((kind == "GeoProperty", member_of(body, fixed("value"))), else_=sa.null())
    preferred = [order for instances in froms for order in (instances.c.key != NO_DATASET, instances.c.key)]
    columns = (_value(path, key, body).label("value"), geometry.label("geometry"))
    return sa.select(*columns).select_from(*froms).order_by(*preferred).limit(1)


def _value(path: AttributePath, key: Json, body: Json) -> Json:
    if path.member == "datasetId":
        return sa.case((key != NO_DATASET, sa.func.to_jsonb(key)), else_=sa.null())
    if path.member is not None:
        return member_of(body, path.member)
    value = first_of(body, _VALUES)
    if not path.trailing or path.trailing == ("*",):
        return value
    inner: Json = value.op("#>", return_type=sa.dialects.postgresql.JSONB())(text_array(path.trailing))
    return inner


def _value_keys(value: Json, collation: str, *, descending: bool) -> list[Key]:
    """First by data type, then within each by its own comparison."""
    kind, text = sa.func.jsonb_typeof(value), as_text(value)
    temporal = [
        (text.op("~")(sa.literal(TEMPORAL_SHAPES[name], sa.Text)), _TEMPORAL_RANKS[name]) for name in _TEMPORAL_RANKS
    ]
    rank = sa.case(
        (value.is_(None), _ABSENT_RANK),
        (kind == "null", _NULL_RANK),
        *((kind == name, number) for name, number in _JSON_RANKS.items()),
        *temporal,
        else_=_STRING_RANK,
    )
    is_text = kind == "string"
    instant = sa.func.regexp_replace(text, FRACTION_ZEROS, r"\2", type_=sa.Text())
    keys = (
        rank,
        sa.case((sa.not_(is_text), value)),
        sa.collate(sa.case((sa.and_(is_text, rank == _STRING_RANK), text)), collation),
        sa.collate(sa.case((sa.and_(is_text, rank > _STRING_RANK), instant)), "C"),
    )
    last = sa.case((rank >= _NULL_RANK, rank), else_=0)
    return [last.asc(), *(_directed(key, descending=descending) for key in keys)]


def _distance_keys(geometry: Json, reference: str, *, descending: bool) -> list[Key]:
    """GeoProperties before others, by their spherical distance in metres (clause 4.23.1)."""
    target = sa.func.geography(sa.func.ST_Force2D(sa.func.ST_GeomFromGeoJSON(geometry)))
    origin = sa.func.geography(sa.func.ST_GeomFromGeoJSON(sa.literal(reference, sa.Text)))
    distance = sa.func.ST_Distance(target, origin, sa.false())
    return [geometry.is_(None).asc(), sa.nulls_last(_directed(distance, descending=descending))]

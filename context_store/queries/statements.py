# SPDX-License-Identifier: Apache-2.0
"""Queries of entities as SQL: the trees of ``broker.query`` become statements for PostgreSQL and PostGIS.

Nothing runs here; a function returns a statement, and :func:`to_psycopg` its text and parameters. All filtering is
PostgreSQL's. Every value is bound and every identifier comes from the table's metadata. What matches is decided in
``broker.query.match``; tests run one table of cases, and random queries, through both.

What uses an index: ids and the beginning of an ``idPattern`` (primary key), types and scopes (GIN), and relations to
``location`` other than ``disjoint`` and ``near;minDistance`` (GiST). Conditions of ``q`` and of other GeoProperties
filter what these leave. For pages of a type see ``type_pages``.

Trap: row-level security lets an index serve only operators that are *leakproof*, and those of arrays and geometries
are not. Until a superuser has marked :data:`INDEX_FUNCTIONS` so, the two indexes are unused by the hub's role and
such queries read all entities of the tenant (about 2 us each).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from geoalchemy2 import Geometry
from shapely.geometry import shape
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from broker.query.geodesy import boxes_within
from broker.query.ordering import Ordering
from broker.query.scopes import scope_expression
from broker.query.tree import (
    And,
    EntityQuery,
    EntitySelector,
    Formula,
    GeoQuery,
    GeoRelation,
    Or,
    ScopePattern,
    ScopeTree,
    Term,
    TypeName,
    TypeTree,
)
from context_store.queries.index_conditions import index_conditions
from context_store.queries.ordering import ordered
from context_store.queries.terms import Condition, Source, pattern_condition, term_condition, text_array
from schemas.terms import LOCATION

Leaf = TypeVar("Leaf")

ANY_TENANT: Final = 0
ANY_TIME: Final = datetime.max.replace(tzinfo=UTC)
"""In place of a tenant and a time: the statement is a template, and ``tenant_id`` and ``now`` are still to be set."""

ENTITY: Final = sa.Table(
    "entity",
    sa.MetaData(),
    sa.Column("tenant_id", sa.Integer),
    sa.Column("entity_key", sa.BigInteger),
    sa.Column("id", sa.Text),
    sa.Column("types", ARRAY(sa.Text)),
    sa.Column("document", JSONB),
    sa.Column("location", Geometry("GEOMETRY", srid=4326)),
    sa.Column("scopes", ARRAY(sa.Text)),
    sa.Column("scope_terms", ARRAY(sa.Text)),
    sa.Column("created_at", sa.TIMESTAMP(timezone=True)),
    sa.Column("modified_at", sa.TIMESTAMP(timezone=True)),
    sa.Column("expires_at", sa.TIMESTAMP(timezone=True)),
    sa.Column("attributes_expire_at", sa.TIMESTAMP(timezone=True)),
)
_TEMPLATE: Final = Source(
    ENTITY,
    sa.bindparam("tenant_id", ANY_TENANT, sa.Integer, unique=False),
    sa.bindparam("now", ANY_TIME, sa.TIMESTAMP(timezone=True), unique=False),
)
ENTITY_COLUMNS: Final = ("id", "types", "document", "scopes", "created_at", "modified_at", "expires_at")
# The functions behind && and @> of arrays and && of geometries. They compare names and boxes and say nothing of them
# in errors, so that ``alter function ... leakproof`` is safe; it takes a superuser, once for each database.
INDEX_FUNCTIONS: Final = (
    "pg_catalog.arrayoverlap(anyarray, anyarray)",
    "pg_catalog.arraycontains(anyarray, anyarray)",
    "geometry_overlaps(geometry, geometry)",
)
# Edges are straight in longitude and latitude; geography draws great circles. Cut into pieces of this many degrees,
# the two are less than 2 m apart.
_PIECE_DEGREES: Final = 0.1
_REPAIR: Final = "method=structure keepcollapsed=false"  # as broker.query.geo.repaired does
_RELATIONS: Final = {
    GeoRelation.WITHIN: "ST_Within",
    GeoRelation.CONTAINS: "ST_Contains",
    GeoRelation.OVERLAPS: "ST_Overlaps",
    GeoRelation.INTERSECTS: "ST_Intersects",
    GeoRelation.EQUALS: "ST_Equals",
    GeoRelation.DISJOINT: "ST_Disjoint",
}
_FARTHER: Final = frozenset({GeoRelation.DISJOINT, GeoRelation.NEAR_MIN})  # hold outside of a box, not within


class Order(StrEnum):
    """The order of a list of entities; both are total, so that pages do not overlap."""

    ID = "id"
    CREATED_AT = "createdAt"  # then id


@dataclass(frozen=True, slots=True)
class After:
    """The last entity of the page before; ``created_at`` is needed for ``Order.CREATED_AT`` only."""

    id: str
    created_at: datetime | None = None


def select_entities(
    query: EntityQuery,
    *,
    tenant_id: int,
    limit: int,
    offset: int = 0,
    after: After | None = None,
    order: Order = Order.ID,
    ordering: Ordering | None = None,
    columns: tuple[str, ...] = ENTITY_COLUMNS,
    indexed: bool = True,
    now: datetime | None = None,
) -> sa.Select[Any]:
    """One page of the entities of a tenant that match ``query``.

    ``after`` continues behind an entity and costs the same on every page; ``offset`` counts from the start (or from
    ``after``) and reads what it skips. ``ordering`` is the order that a request asks for, in place of ``order``; it
    goes with ``offset`` only; ``indexed`` and ``now`` as in :func:`entity_condition`.
    """
    statement = sa.select(*(ENTITY.c[column] for column in columns))
    statement = statement.where(entity_condition(query, tenant_id=tenant_id, indexed=indexed, now=now))
    keys = [ENTITY.c.id] if order is Order.ID else [ENTITY.c.created_at, ENTITY.c.id]
    if after is not None:
        last = {"id": after.id, "created_at": after.created_at}
        limits = [sa.bindparam(f"after_{key.name}", last[key.name], key.type) for key in keys]
        statement = statement.where(sa.tuple_(*keys) > sa.tuple_(*limits))
    source = _source(tenant_id, now)
    statement = statement.order_by(*keys) if ordering is None else ordered(statement, ordering, source)
    statement = statement.limit(sa.bindparam("limit", limit, sa.Integer))
    return statement.offset(sa.bindparam("offset", offset, sa.Integer))


def count_entities(
    query: EntityQuery, *, tenant_id: int, indexed: bool = True, now: datetime | None = None
) -> sa.Select[Any]:
    """How many entities of a tenant match ``query``: one row, one column."""
    condition = entity_condition(query, tenant_id=tenant_id, indexed=indexed, now=now)
    return sa.select(sa.func.count()).select_from(ENTITY).where(condition)


def entity_condition(
    query: EntityQuery, *, tenant_id: int, indexed: bool = True, now: datetime | None = None
) -> Condition:
    """The WHERE condition of ``query`` on :data:`ENTITY`, tenant included.

    ``indexed`` is False where something else stands in for the table and has none of its indexes. With ``now``,
    entities and attributes that have expired by then are not there, whether or not they have been collected.
    """
    source = _source(tenant_id, now)
    conditions = [ENTITY.c.tenant_id == source.tenant]
    conditions += _selector_conditions(EntitySelector(query.ids, None, query.types))
    if query.id_pattern is not None:
        conditions.append(pattern_condition(query.id_pattern, ENTITY.c.id))
    if query.selectors:
        conditions.append(sa.or_(*(_selector_condition(selector) for selector in query.selectors)))
    if query.attributes:
        conditions.append(source.document.op("?|", return_type=sa.Boolean())(text_array(query.attributes)))
    if query.scope is not None:
        conditions.append(_scope_condition(query.scope))
    if query.q is not None:
        whole_term = _template_term if source is _TEMPLATE else lambda term: term_condition(term, source)
        conditions.append(_formula(query.q, whole_term))
    if query.geo is not None:
        conditions.append(_geo_condition(query.geo, source))
    if indexed:
        conditions += index_conditions(query, ENTITY)
    if now is not None:
        conditions.append(source.is_there)
    return sa.and_(*conditions)


def _source(tenant_id: int, now: datetime | None) -> Source:
    if tenant_id == ANY_TENANT and now is ANY_TIME:
        return _TEMPLATE
    moment = None if now is None else sa.bindparam("now", now, sa.TIMESTAMP(timezone=True), unique=False)
    return Source(ENTITY, sa.bindparam("tenant_id", tenant_id, sa.Integer, unique=False), moment)


@lru_cache(maxsize=2048)
def _template_term(term: Term) -> Condition:
    return term_condition(term, _TEMPLATE)


def _formula(tree: Formula[Leaf], leaf_condition: Callable[[Leaf], Condition]) -> Condition:
    if isinstance(tree, And):
        return sa.and_(*(_formula(operand, leaf_condition) for operand in tree.operands))
    if isinstance(tree, Or):
        return sa.or_(*(_formula(operand, leaf_condition) for operand in tree.operands))
    return leaf_condition(tree)


def _selector_condition(selector: EntitySelector) -> Condition:
    return sa.and_(sa.true(), *_selector_conditions(selector))


def _selector_conditions(selector: EntitySelector) -> list[Condition]:
    conditions: list[Condition] = []
    if selector.ids:
        conditions.append(ENTITY.c.id == sa.any_(text_array(selector.ids)))
    elif selector.id_pattern is not None:
        conditions.append(pattern_condition(selector.id_pattern, ENTITY.c.id))
    if selector.types is not None:
        conditions.append(_type_condition(selector.types))
    return conditions


def _type_condition(tree: TypeTree) -> Condition:
    """A disjunction or conjunction of plain names becomes one array operator, which is one look into the index."""
    if isinstance(tree, And | Or):
        names = [operand.iri for operand in tree.operands if isinstance(operand, TypeName)]
        if len(names) == len(tree.operands):
            symbol = "&&" if isinstance(tree, Or) else "@>"
            return ENTITY.c.types.op(symbol, return_type=sa.Boolean())(text_array(names))
        parts = [_type_condition(operand) for operand in tree.operands]
        return sa.or_(*parts) if isinstance(tree, Or) else sa.and_(*parts)
    return ENTITY.c.types.op("@>", return_type=sa.Boolean())(text_array([tree.iri]))


def _scope_condition(tree: ScopeTree) -> Condition:
    def has_scope(pattern: ScopePattern) -> Condition:
        scopes = sa.func.unnest(ENTITY.c.scopes).table_valued(sa.column("scope", sa.Text)).render_derived()
        expression = sa.literal(scope_expression(pattern), sa.Text)
        fits = scopes.c.scope.op("~", return_type=sa.Boolean())(expression)
        return sa.exists(sa.select(sa.literal_column("1")).select_from(scopes).where(fits))

    return _formula(tree, has_scope)


def _geo_condition(query: GeoQuery, source: Source) -> Condition:
    test = _geometry_test(query)
    in_document = _document_geo_condition(query.geoproperty, test, source)
    if query.geoproperty != LOCATION:
        return in_document
    column = ENTITY.c.location
    number = sa.func.generate_series(1, sa.func.ST_NumGeometries(column)).table_valued("number").render_derived()
    in_any = sa.exists(
        sa.select(sa.literal_column("1")).select_from(number).where(test(sa.func.ST_GeometryN(column, number.c.number)))
    )
    several = sa.func.GeometryType(column) == "GEOMETRYCOLLECTION"  # see broker.query.indexed_geometry
    indexed = sa.case((several, in_any), else_=test(column))
    # The column holds what is stored; of what has expired only the document tells.
    condition = indexed if source.now is None else sa.case((source.may_have_expired, in_document), else_=indexed)
    boxes = _boxes(query)
    return sa.and_(sa.or_(*(column.op("&&")(box) for box in boxes)), condition) if boxes else condition


def _boxes(query: GeoQuery) -> list[sa.ColumnElement[Any]]:
    """Boxes that hold whatever can match, for the index; none when what matches lies outside of one."""
    if query.relation in _FARTHER:
        return []
    bounds = shape(json.loads(query.geometry)).bounds
    return [
        sa.func.ST_MakeEnvelope(*(sa.literal(edge, sa.Double) for edge in box), 4326)
        for box in boxes_within(bounds, query.distance_m or 0.0)
    ]


def _document_geo_condition(geoproperty: str, test: Callable[[Any], Condition], source: Source) -> Condition:
    """Some instance of a GeoProperty passes ``test``."""
    attribute = source.document.op("->", return_type=JSONB())(sa.literal(geoproperty, sa.Text))
    columns = (sa.column("key", sa.Text), sa.column("value", JSONB))
    instances = sa.func.jsonb_each(attribute).table_valued(*columns).render_derived()
    body = instances.c.value
    geometry = sa.func.ST_GeomFromGeoJSON(body.op("->", return_type=JSONB())(sa.literal("value", sa.Text)))
    kind = body.op("->>", return_type=sa.Text())(sa.literal("type", sa.Text))
    passes = sa.case((kind == "GeoProperty", test(geometry)), else_=sa.false())
    return sa.exists(sa.select(sa.literal_column("1")).select_from(instances).where(passes))


def _geometry_test(query: GeoQuery) -> Callable[[Any], Condition]:
    """The relation as a condition on a geometry; an empty one stands in none."""
    reference = sa.func.ST_GeomFromGeoJSON(sa.literal(query.geometry, sa.Text))

    def test(geometry: Any) -> Condition:
        target = sa.func.ST_MakeValid(sa.func.ST_Force2D(geometry), _REPAIR)
        there = sa.not_(sa.func.ST_IsEmpty(target))
        if query.distance_m is None:
            relation: Condition = getattr(sa.func, _RELATIONS[query.relation])(target, reference)
            return sa.and_(there, relation)
        near = sa.func.ST_DWithin(_geography(target), _geography(reference), sa.literal(query.distance_m, sa.Double))
        return sa.and_(there, near if query.relation is GeoRelation.NEAR_MAX else sa.not_(near))

    return test


def _geography(geometry: Any) -> Any:
    return sa.func.geography(sa.func.ST_Segmentize(geometry, sa.literal(_PIECE_DEGREES, sa.Double)))

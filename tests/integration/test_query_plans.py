# SPDX-License-Identifier: Apache-2.0
"""How PostgreSQL finds entities among 100,000: what it reads, by which index, and that updates stay heap-only.

The statements are those of ``EntityStore.query``. They run as the hub's role, for which row-level security holds, and
as a superuser, for whom it does not: both have to find the indexes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql

from broker.query import (
    EntityQuery,
    parse_geo,
    parse_id_pattern,
    parse_ordering,
    parse_q,
    parse_scopes,
    parse_types,
)
from context_store.compiled import Statement, to_psycopg
from context_store.database import SESSION_OPTIONS
from context_store.entities.type_pages import is_walk, select_page
from context_store.queries.statements import INDEX_FUNCTIONS, count_entities, select_entities
from context_store.queries.templates import numbered
from schemas.terms import NGSI_LD
from support.cluster import Cluster

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ENTITIES = 100_000
PAGE = 21  # one more than a page of 20, to know whether there is another
SEVERAL = 100  # entities of several types: they are looked through for those of which a type is not the first

# Ids begin with the type, as they do in practice: that is what misleads the planner. Sixty of a hundred are Common,
# one in 5,000 is Rare, some 1,100 of each other type; one in 1,000 is an Extra beside its own type.
_LOAD = """
    insert into minamo.entity (tenant_id, id, types, document, location, scopes, scope_terms, created_at, modified_at)
    select 1, 'urn:ngsi-ld:' || kind || ':' || lpad(n::text, 6, '0'),
           case when n % 1000 = 1 then array['https://example.org/' || kind, 'https://example.org/Extra']
                else array['https://example.org/' || kind] end,
           jsonb_build_object('https://example.org/level', jsonb_build_object('@none', jsonb_build_object(
               'type', 'Property', 'value', n % 100, 'observedAt', '2026-11-21T07:47:43Z')),
               'https://example.org/note', jsonb_build_object('@none', jsonb_build_object(
               'type', 'Property', 'value', 'station ' || n))),
           st_setsrid(st_makepoint(130 + n % 1000 * 0.015, 32 + n / 1000 * 0.1), 4326), scopes,
           minamo.scope_terms(scopes), now(), now()
      from (select n, case when n % 5000 = 17 then 'Rare' when n % 10 < 6 then 'Common' else 'T' || n % 37 end as kind,
                   array['/Japan/P' || n % 47 || '/C' || n % 1000] as scopes
              from generate_series(1, 100000) as n) as numbered
"""


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Iterator[str]:
    """100,000 entities; indexes are made after them, as a restore would do."""
    name = cluster.create_migrated("native")
    with cluster.admin(name) as admin:
        for function in INDEX_FUNCTIONS:
            admin.execute(f"alter function {function} leakproof")
        admin.execute("set session_replication_role to replica")  # no triggers
        kept = admin.execute(
            "select indexname, indexdef from pg_indexes where tablename = 'entity' and indexname not like '%pkey'"
        ).fetchall()
        for index, _ in kept:
            admin.execute(f"drop index minamo.{index}")
        admin.execute(_LOAD)
        for _, definition in kept:
            admin.execute(definition)
        admin.execute("vacuum (freeze, analyze) minamo.entity")
    yield name
    cluster.drop(name)


@pytest.fixture(params=["hub", "superuser"])
def connection(request: pytest.FixtureRequest, cluster: Cluster, database: str) -> Iterator[psycopg.Connection]:
    """As the hub connects, for its role and for one that row-level security does not hold for."""
    role = {"role": "postgres"} if request.param == "superuser" else {}
    with psycopg.connect(cluster.url(database, **role), autocommit=True, options=SESSION_OPTIONS) as connection:
        connection.execute("set minamo.tenant to '1'")
        yield connection


def expand(name: str) -> str:
    return (NGSI_LD if name == "location" else "https://example.org/") + name


class Plan:
    """What PostgreSQL did for a statement."""

    def __init__(self, connection: psycopg.Connection, statement: Statement) -> None:
        text, values = to_psycopg(statement)
        row = connection.execute(b"explain (analyze, format json) " + text, values, prepare=False).fetchone()
        assert row is not None
        self.root: dict[str, Any] = row[0][0]["Plan"]
        self.nodes = list(_nodes(self.root))

    @property
    def found(self) -> int:
        return int(self.root["Actual Rows"])

    @property
    def read(self) -> int:
        """Rows of the table that were looked at."""
        scans = [node for node in self.nodes if node.get("Relation Name") == "entity"]
        passed = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        return sum(int(node["Actual Loops"] * node.get(name, 0)) for node in scans for name in passed)

    @property
    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes if "Index Name" in node and node["Actual Loops"]}

    @property
    def sorted(self) -> int:
        """Most rows that went into a sort."""
        sorts = [node for node in self.nodes if node["Node Type"] in ("Sort", "Incremental Sort")]
        return max((int(child["Actual Rows"]) for node in sorts for child in node["Plans"]), default=0)

    def __repr__(self) -> str:
        return json.dumps(self.root, indent=1)


class KeptPlan(Plan):
    """The same for a plan that holds for all values."""

    def __init__(self, connection: psycopg.Connection, statement: Statement) -> None:
        text, values = to_psycopg(statement)
        plain, names = numbered(text)
        literals = sql.SQL(", ").join(sql.Literal(values[name]) for name in names)
        connection.execute("set plan_cache_mode to force_generic_plan")
        connection.execute(b"prepare kept as " + plain)
        row = connection.execute(
            sql.SQL("explain (analyze, format json) execute kept ({})").format(literals)
        ).fetchone()
        assert row is not None
        self.root = row[0][0]["Plan"]
        self.nodes = list(_nodes(self.root))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def page(connection: psycopg.Connection, query: EntityQuery, offset: int = 0) -> Plan:
    return Plan(connection, select_page(query, tenant_id=1, limit=PAGE, offset=offset, now=NOW))


def counted(connection: psycopg.Connection, query: EntityQuery) -> Plan:
    return Plan(connection, count_entities(query, tenant_id=1, now=NOW))


def of_type(types: str, q: str | None = None) -> EntityQuery:
    return EntityQuery(types=parse_types(types, expand), q=parse_q(q, expand) if q else None)


class TestTypes:
    @pytest.mark.parametrize("q", [None, "level>0", "level>200"])
    def test_a_rare_type_is_all_that_is_read(self, connection: psycopg.Connection, q: str | None) -> None:
        assert page(connection, of_type("Rare", q)).read <= 20

    def test_the_first_page_of_a_type_stops_when_it_is_full(self, connection: psycopg.Connection) -> None:
        plan = page(connection, of_type("T7"))
        assert (plan.found, plan.read) == (PAGE, PAGE)

    def test_a_condition_reads_on_in_the_type_only(self, connection: psycopg.Connection) -> None:
        plan = page(connection, of_type("T7", "level>=50"))
        assert plan.found == PAGE
        assert plan.read <= 4 * PAGE

    def test_a_condition_that_nothing_meets_reads_no_other_type(self, connection: psycopg.Connection) -> None:
        plan = page(connection, of_type("T7", "level>200"))
        assert plan.read <= 1200

    def test_a_page_of_a_large_type_is_not_sorted(self, connection: psycopg.Connection) -> None:
        plan = page(connection, of_type("Common"))
        assert plan.found == PAGE
        assert plan.sorted <= SEVERAL
        assert plan.read <= PAGE + SEVERAL

    def test_a_later_page_reads_what_it_skips_and_no_more(self, connection: psycopg.Connection) -> None:
        plan = page(connection, of_type("Common"), offset=2000)
        assert plan.found == PAGE
        assert plan.read <= 2000 + PAGE + SEVERAL

    def test_several_types_are_merged(self, connection: psycopg.Connection) -> None:
        plan = page(connection, of_type("T7,Common,Rare"))
        assert plan.found == PAGE
        assert plan.read <= 3 * PAGE + SEVERAL

    def test_a_second_type_is_found_too(self, connection: psycopg.Connection) -> None:
        plan = page(connection, of_type("Extra"))
        assert "entity_more_types_index" in plan.indexes
        assert (plan.found, plan.read) == (PAGE, SEVERAL)

    def test_counting_a_type_reads_that_type(self, connection: psycopg.Connection) -> None:
        plan = counted(connection, of_type("T7", "level>=50"))
        assert "entity_types_index" in plan.indexes
        assert plan.read <= 1200

    def test_all_types_are_paged_by_id(self, connection: psycopg.Connection) -> None:
        plan = page(connection, EntityQuery())
        assert (plan.indexes, plan.read, plan.sorted) == ({"entity_pkey"}, PAGE, 0)


class TestPlansThatAreKept:
    """A page of a type is planned without knowing what is asked for, once it has come a few times."""

    @pytest.mark.parametrize(
        ("query", "most"),
        [
            (of_type("T7"), PAGE),
            (of_type("T7", "level>=50"), 4 * PAGE),
            (of_type("Rare", "level>200"), 20),
            (of_type("Common"), PAGE + SEVERAL),
            (of_type("T7,Common,Rare"), 3 * PAGE + SEVERAL),
            (of_type("Extra"), SEVERAL),
        ],
    )
    def test_it_is_the_walk_through_the_index(
        self, connection: psycopg.Connection, query: EntityQuery, most: int
    ) -> None:
        assert is_walk(query)
        plan = KeptPlan(connection, select_page(query, tenant_id=1, limit=PAGE, now=NOW))
        assert plan.read <= most


class TestPlaces:
    NEAR = EntityQuery(geo=parse_geo("near;maxDistance==3000", "Point", [138.0, 35.0], expand=expand))

    def test_near_reads_what_lies_near(self, connection: psycopg.Connection) -> None:
        plan = page(connection, self.NEAR)
        assert "entity_location_index" in plan.indexes
        assert 0 < plan.found <= plan.read <= 30

    def test_the_nearest_first_reads_what_lies_near(self, connection: psycopg.Connection) -> None:
        ordering = parse_ordering("location;dist-asc", expand, collation=None, geometry="Point", coordinates="[138,35]")
        statement = select_entities(self.NEAR, tenant_id=1, limit=PAGE, ordering=ordering, now=NOW)
        plan = Plan(connection, statement)
        assert "entity_location_index" in plan.indexes
        assert 0 < plan.found <= plan.read <= 30

    def test_within_reads_what_lies_in_the_box(self, connection: psycopg.Connection) -> None:
        ring = [[138, 35], [138.1, 35], [138.1, 35.2], [138, 35.2], [138, 35]]
        plan = counted(connection, EntityQuery(geo=parse_geo("within", "Polygon", [ring], expand=expand)))
        assert "entity_location_index" in plan.indexes
        assert plan.read <= 60


class TestIds:
    def test_the_beginning_of_a_pattern_is_a_range(self, connection: psycopg.Connection) -> None:
        plan = page(connection, EntityQuery(id_pattern=parse_id_pattern("^urn:ngsi-ld:Rare:.*$")))
        assert plan.indexes == {"entity_pkey"}
        assert (plan.found, plan.read) == (20, 20)

    def test_counting_reads_the_range(self, connection: psycopg.Connection) -> None:
        plan = counted(connection, EntityQuery(id_pattern=parse_id_pattern("^urn:ngsi-ld:T7:0[0-4].*")))
        assert plan.read <= 1200

    def test_a_pattern_without_a_beginning_stops_when_the_page_is_full(self, connection: psycopg.Connection) -> None:
        plan = page(connection, EntityQuery(id_pattern=parse_id_pattern("[05]$")))
        assert (plan.found, plan.sorted) == (PAGE, 0)
        assert plan.read <= 20 * PAGE

    def test_ids_are_looked_up(self, connection: psycopg.Connection) -> None:
        plan = page(connection, EntityQuery(ids=("urn:ngsi-ld:Rare:000017", "urn:x"), types=of_type("Rare").types))
        assert (plan.found, plan.read) == (1, 1)


class TestScopes:
    @pytest.mark.parametrize(("scope", "most"), [("/Japan/P7/C7", 10), ("/Japan/P7/+", 2200), ("Japan/P7/#", 2200)])
    def test_a_scope_is_all_that_is_read(self, connection: psycopg.Connection, scope: str, most: int) -> None:
        plan = counted(connection, EntityQuery(scope=parse_scopes(scope)))
        assert "entity_scope_terms_index" in plan.indexes
        assert 0 < plan.read <= most

    def test_a_page_of_a_large_scope_stops_when_it_is_full(self, connection: psycopg.Connection) -> None:
        plan = page(connection, EntityQuery(scope=parse_scopes("/Japan/#")))
        assert (plan.found, plan.read, plan.sorted) == (PAGE, PAGE, 0)


def test_updates_of_documents_stay_heap_only(cluster: Cluster, database: str) -> None:
    """No index is on what a reading changes (decision 0002)."""
    with cluster.admin(database) as admin:
        for step in range(3):
            admin.execute(
                """
                update minamo.entity set modified_at = now(), document = jsonb_set(
                    document, '{https://example.org/level,@none,value}', to_jsonb(%s::int))
                 where tenant_id = 1 and right(id, 2) = '17'
                """,
                [step],
            )
        admin.execute("select pg_stat_force_next_flush()")
        found = admin.execute("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'entity'")
        updated, heap_only = found.fetchone() or (0, 0)
    assert updated == 3000
    assert heap_only >= 0.95 * updated

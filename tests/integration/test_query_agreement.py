# SPDX-License-Identifier: Apache-2.0
"""Matching in memory and in PostgreSQL must agree: one table of cases, and random queries, run through both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.affinity import translate
from shapely.geometry import shape

from broker.entities import ExpandedEntity
from broker.errors import OperationNotSupported, TooComplexQuery
from broker.query import (
    EntityQuery,
    EntitySelector,
    compile_query,
    matches,
    parse_geo,
    parse_id_pattern,
    parse_q,
    parse_scopes,
    parse_types,
)
from broker.query.geo import repaired
from broker.query.geodesy import distance_m
from broker.query.patterns import PatternError, compile_pattern
from context_store.compiled import to_psycopg
from context_store.queries.statements import After, Order, count_entities, select_entities
from support.cluster import Cluster
from support.queries import (
    START,
    TENANT,
    Connection,
    documents,
    entity,
    expand,
    geo,
    instance,
    prop,
    query_database,
    random_checks,
    selected,
    store,
    sub,
    trees,
)


@pytest.fixture(scope="module")
def connection(cluster: Cluster) -> Iterator[Connection]:
    """A database of the module's own."""
    with query_database(cluster) as connection:
        yield connection


# --- the table of cases --------------------------------------------------------------------------------------------


BOWTIE = [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]
SQUARE = [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]], [[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]]

ENTITIES = [
    entity("n3", "River", scopes=("/Japan/Shizuoka",), level=prop(3)),
    entity("n5", "River", "Sensor", scopes=("Japan/Shizuoka/Aoi", "/B"), level=prop(5.0, unitCode="MTR")),
    entity("t3", "Sensor", scopes=("/Japan",), level=prop("3")),
    entity("b1", level=prop(True)),
    entity("null", level=prop(None)),
    entity("array", level=prop([1, "red", True, 3])),
    entity("object", level=prop({"a": 3, "b": {"c": "deep", "d": None, "e": [1, 2]}})),
    entity(
        "typed",
        level=prop({"@type": "DateTime", "@value": "2026-11-21T07:47:43.500Z"}),
        list=prop([{"@type": "DateTime", "@value": "2026-11-21T07:47:43Z"}]),
    ),
    entity("time1", at=prop("2026-11-21T07:47:43Z"), day=prop("2026-11-21"), hour=prop("07:47:43.5Z")),
    entity("time2", at=prop("2026-11-21T07:47:43.5Z"), day=prop("2026-11-22"), hour=prop("07:47:40Z")),
    entity("time3", at=prop("2026-11-21T07:47:40.000Z"), day=prop("21.11.2026"), hour=prop("25:00:00Z")),
    entity("time4", at=prop("2026-11-21 07:47"), day=prop("2026-13-01")),
    entity("seen1", level=prop(1, observedAt="2026-11-21T07:47:43Z", modifiedAt="2026-11-21T07:47:43.25Z")),
    entity("seen2", level=prop(2, observedAt="2026-11-21T07:47:43.5Z", modifiedAt="2026-11-21T08:00:00Z")),
    entity("many", level={"@none": prop(10), "urn:d:1": prop(20), "urn:d:2": prop("x")}),
    entity("dataset", level={"urn:d:1": prop(7)}),
    entity("sub", level=prop(9, attrs=sub(quality=prop("good", attrs=sub(by=prop("me")))))),
    entity("word1", name=prop("Eiffel Tower")),
    entity("word2", name=prop("Pisa\nTower")),
    entity("word3", name=prop("巴川の水位")),
    entity("word4", name=prop('quote " and \\ back 100%')),
    entity("lang1", color=instance("LanguageProperty", "languageMap", {"en": "red", "fr": ["rouge", "chat"]})),
    entity("lang2", color=instance("LanguageProperty", "languageMap", {"en": "black", "ja": "黒"})),
    entity("lang3", color=prop("red")),
    entity("rel1", partOf=instance("Relationship", "object", "urn:x:n3")),
    entity("rel2", partOf=instance("Relationship", "object", ["urn:x:n5", "urn:x:t3"])),
    entity("rel3", partOf=instance("ListRelationship", "objectList", [{"object": "urn:x:n3"}, {"object": "urn:x:b1"}])),
    entity("rel4", partOf=prop([{"object": "urn:x:n3"}])),
    entity("vocab1", kind=instance("VocabProperty", "vocab", expand("commercial"))),
    entity("vocab2", kind=instance("VocabProperty", "vocab", [expand("public"), expand("commercial")])),
    entity("json1", ticket=instance("JsonProperty", "json", {"value": "Overstay", "n": 4})),
    entity("list1", readings=instance("ListProperty", "valueList", [1, 2, 3])),
    entity("point", location=geo("Point", [138.38, 34.97])),
    entity("far", location=geo("Point", [139.7, 35.68])),
    entity("altitude", location=geo("Point", [138.39, 34.97, 12.5])),
    entity("hole", location=geo("Point", [5, 5])),
    entity("shell", location=geo("Point", [2, 2])),
    entity("area", location=geo("Polygon", [[[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]]])),
    entity("across", location=geo("Polygon", [[[8, 8], [12, 8], [12, 12], [8, 12], [8, 8]]])),
    entity("bowtie", location=geo("Polygon", BOWTIE)),
    entity("line", location=geo("LineString", [[0, 85.6], [1, 85]])),
    entity("east", location=geo("Point", [10, 60.009])),
    entity("dateline", location=geo("Point", [-179.99, 0])),
    entity("two", location={"@none": geo("Point", [50, 50]), "urn:d:1": geo("Point", [2.5, 2.5])}),
    entity("parts", location=geo("MultiPoint", [[2, 2], [40, 40]])),
    entity("space", observationSpace=geo("Point", [8, 40])),
    entity("spaces", observationSpace={"@none": geo("Point", [9, 9]), "urn:d:1": geo("Point", [8.001, 40])}),
    entity("notgeo", observationSpace=prop({"type": "Point", "coordinates": [8, 40]})),
]


@dataclass(frozen=True)
class Case:
    """A query and the names of the entities that it finds."""

    query: EntityQuery
    found: set[str] = field(hash=False)
    name: str = ""


def q(text: str, *found: str, **options: Any) -> Case:
    return Case(EntityQuery(q=parse_q(text, expand, **options)), set(found), text)


def types(text: str, *found: str) -> Case:
    return Case(EntityQuery(types=parse_types(text, expand), attributes=(expand("level"),)), set(found), text)


def scope(text: str, *found: str) -> Case:
    return Case(EntityQuery(scope=parse_scopes(text)), set(found), text)


def where(georel: str, geometry: str, coordinates: str, *found: str, of: str | None = None) -> Case:
    query = EntityQuery(geo=parse_geo(georel, geometry, coordinates, of, expand=expand))
    return Case(query, set(found), f"{georel} {geometry} {coordinates} {of}")


LEVELS = ("n3", "n5", "t3", "b1", "null", "array", "object", "typed", "seen1", "seen2", "many", "dataset", "sub")
LOCATED = (
    "point",
    "far",
    "altitude",
    "hole",
    "shell",
    "area",
    "across",
    "bowtie",
    "line",
    "east",
    "dateline",
    "two",
    "parts",
)


def levels_but(*names: str) -> set[str]:
    return set(LEVELS) - set(names)


CASES = [
    # existence
    q("level", *LEVELS),
    q("missing"),
    q("level.quality", "sub"),
    q("level.quality.by", "sub"),
    q("level[a]", "object"),
    q("level[b.d]", "object"),
    q("level[b.x]"),
    q("level.observedAt", "seen1", "seen2"),
    q("level.unitCode", "n5"),
    q("level.datasetId", "many", "dataset"),
    q("color[en]", "lang1", "lang2"),
    q("color[*]", "lang1", "lang2"),
    q("!level;name", "word1", "word2", "word3", "word4"),
    q("!level[a];level>2", "n3", "n5", "many", "dataset", "sub"),
    # numbers
    q("level==3", "n3", "array"),
    q("level==5", "n5"),
    q("level==3.0", "n3", "array"),
    q("level!=3", *levels_but("n3", "array")),
    q("level>3", "n5", "many", "dataset", "sub"),
    q("level>=3", "n3", "n5", "many", "dataset", "sub"),
    q("level<2", "seen1"),
    q("level<=2", "seen1", "seen2"),
    q("level==3..7", "n3", "n5", "dataset"),
    q("level!=3..7", *levels_but("n3", "n5", "dataset")),
    q("level==3,5,7", "n3", "n5", "array", "dataset"),
    q("level!=3,5,7", *levels_but("n3", "n5", "array", "dataset")),
    # several instances, sub-attributes, paths
    q("level==20", "many"),
    q("level!=10;level.datasetId", "many", "dataset"),
    q('level.datasetId=="urn:d:2"', "many"),
    q('level.datasetId!="urn:d:1"', "many"),
    q('level.quality=="good"', "sub"),
    q('level.quality.by~="^m"', "sub"),
    q('level[b.c]=="deep"', "object"),
    q("level[a]>2", "object"),
    q("level[b.e]==2", "object"),
    q("level[b.d]!=1", "object"),
    q("level[b.x]!=1"),
    # strings and Booleans
    q('level=="3"', "t3"),
    q('level!="3"', *levels_but("t3")),
    q('level>"2"', "t3", "typed", "many"),
    q('level=="red"', "array"),
    q("level==red", "array"),
    q("level==true", "b1", "array"),
    q("level!=true", *levels_but("b1", "array")),
    q('level==1,"3",true', "t3", "b1", "array", "seen1"),
    q('name=="Eiffel Tower","x"', "word1"),
    q('name=="quote \\" and \\\\ back 100%"', "word4"),
    q('name=="a".."z"', "word4"),
    q('name>"P"', "word2", "word3", "word4"),
    q('name>="巴"', "word3"),
    # patterns
    q('name~="^Eiffel"', "word1"),
    q('name!~="^Eiffel"', "word2", "word3", "word4"),
    q('name~="Pisa.Tower$"', "word2"),
    q("name~=Eif+el (Tower|x)", "word1"),
    q('name~="水位$"', "word3"),
    q('name~="[ぁ-ん]"', "word3"),
    q('name~="^[[:alpha:]]+\\s\\w{5}$"', "word1", "word2"),
    q('name~="100%"', "word4"),
    q('name~="\\\\ back"', "word4"),
    q('level~="."', "t3", "typed", "many"),
    q('level!~="3"', "many"),
    q('name~="\\""', "word4"),
    # dates and times
    q("at==2026-11-21T07:47:43Z", "time1"),
    q("at==2026-11-21T07:47:43.50Z", "time2"),
    q("at==2026-11-21T16:47:40+09:00", "time3"),
    q("at>2026-11-21T07:47:43Z", "time2"),
    q("at>=2026-11-21T07:47:43Z", "time1", "time2"),
    q("at<2026-11-21T07:47:43.55Z", "time1", "time2", "time3"),
    q("at!=2026-11-21T07:47:43Z", "time2", "time3", "time4"),
    q("at==2026-11-21T07:47:40Z..2026-11-21T07:47:43Z", "time1", "time3"),
    q("day==2026-11-21", "time1"),
    q("day>2026-11-21", "time2"),
    q("day<2027-01-01", "time1", "time2"),
    q("hour>07:47:40Z", "time1"),
    q("hour==07:47:40.0Z", "time2"),
    q("hour<07:47:43.51Z", "time1", "time2"),
    q("level==2026-11-21T07:47:43.5Z", "typed"),
    q("level>=2026-11-21T07:47:43.5Z", "typed"),
    q("list==2026-11-21T07:47:43Z", "typed"),
    q("level.observedAt>2026-11-21T07:47:43Z", "seen2"),
    q('level.observedAt>="2026-11-21T07:47:43Z"', "seen1", "seen2"),
    q('level.observedAt!="2026-11-21T07:47:43Z"', "seen2"),
    q("level.modifiedAt<2026-11-21T07:47:43.3Z", "seen1"),
    q('name;modifiedAt>="2026-01-01T00:00:00Z"', "word1", "word2", "word3", "word4"),
    q("name;createdAt!=2026-01-01T00:00:00Z"),
    q('name;createdAt~="^2026-01-01T00:00:00Z$"', "word1", "word2", "word3", "word4"),
    q("name;expiresAt"),
    q("name;!expiresAt", "word1", "word2", "word3", "word4"),
    # language maps
    q('color=="red"', "lang1", "lang3"),
    q('color=="chat"', "lang1"),
    q('color!="red"', "lang2"),
    q('color[en]=="red"', "lang1"),
    q('color[en]=="rouge"'),
    q('color[fr]=="chat"', "lang1"),
    q('color[fr]!="chat"'),
    q('color[en]!="red"', "lang2"),
    q('color[*]=="rouge","黒"', "lang1", "lang2"),
    q('color[*]!="red"', "lang2"),
    q('color>"red"', "lang2"),
    q('color~="^r"', "lang1", "lang3"),
    q('color!~="^r"', "lang2"),
    q('color[en]~="^r"', "lang1"),
    q('color=="r".."s"', "lang1", "lang3"),
    q("color!=1", "lang1", "lang2", "lang3"),
    # relationships, vocabularies, JSON, lists
    q('partOf=="urn:x:n3"', "rel1", "rel3"),
    q("partOf==urn:x:n3", "rel1", "rel3"),
    q('partOf=="urn:x:t3","urn:x:b1"', "rel2", "rel3"),
    q('partOf!="urn:x:n3"', "rel2", "rel4"),
    q('partOf>"urn:a"'),
    q('partOf~="urn"'),
    q('partOf!~="nothing"'),
    q("partOf!=1", "rel1", "rel2", "rel3", "rel4"),
    q("kind==commercial", "vocab1", "vocab2", expand_values=["kind"]),
    q('kind!="commercial"', expand_values=["kind"]),
    q("kind==commercial"),
    q(f'kind=="{expand("public")}"', "vocab2"),
    q('ticket[value]=="Overstay"', "json1"),
    q("ticket[n]>3", "json1"),
    q("readings==2", "list1"),
    q("readings!=2"),
    q("readings>0"),
    # logic
    q('level>6;level<15|name=="Eiffel Tower"', "dataset", "sub", "many", "word1"),
    q('level>6;(level<15|name=="Eiffel Tower")', "dataset", "sub", "many"),
    # types
    types("River", "n3", "n5"),
    types("River,Sensor", "n3", "n5", "t3"),
    types("(River;Sensor)", "n5"),
    types("(River;Sensor)|Sensor", "n5", "t3"),
    types("River;Sensor,Nothing", "n5"),
    types("*", *LEVELS),
    # scopes
    scope("/Japan", "t3"),
    scope("/Japan/#", "n3", "n5", "t3"),
    scope("/Japan/+", "n3"),
    scope("/+/Shizuoka/#", "n3", "n5"),
    scope("Japan/Shizuoka", "n3"),
    scope("/#", "n3", "n5", "t3"),
    scope("(/Japan/Shizuoka/Aoi;/B)", "n5"),
    scope("/B,/Japan", "n5", "t3"),
    scope("/Jap"),
    # geometry
    where("near;maxDistance==2000", "Point", "[138.385,34.97]", "point", "altitude"),
    where("near;maxDistance==150000", "Point", "[138.38,34.97]", "point", "altitude", "far"),
    where("near;minDistance==2000", "Point", "[138.385,34.97]", *(set(LOCATED) - {"point", "altitude"})),
    where("near;maxDistance==2000", "LineString", "[[0,60],[10,60]]", "east"),
    where("near;maxDistance==2000", "LineString", "[[0,61],[10,61]]"),
    where("near;maxDistance==20000", "Point", "[0,85]", "line"),
    where("near;maxDistance==5000", "Point", "[0,85]"),
    where("near;maxDistance==5000", "Point", "[179.99,0]", "dateline"),
    where("within", "Polygon", json.dumps(SQUARE), "shell", "area", "bowtie", "two"),
    where("contains", "Point", "[2,2]", "shell", "area", "parts"),
    where("intersects", "Polygon", json.dumps(SQUARE), "shell", "area", "across", "bowtie", "two", "parts"),
    where("overlaps", "Polygon", json.dumps(SQUARE), "across"),
    where("equals", "Point", "[138.39,34.97]", "altitude"),
    where("equals", "Polygon", "[[[1,1],[1,3],[3,3],[3,1],[1,1]]]", "area"),
    where(
        "disjoint",
        "Polygon",
        json.dumps(SQUARE),
        *("point", "far", "altitude", "hole", "line", "east", "dateline", "two"),
    ),
    where("intersects", "Polygon", json.dumps(BOWTIE), "area", "bowtie", "shell", "parts"),
    where("near;maxDistance==2000", "Point", "[8,40]", "space", "spaces", of="observationSpace"),
    where("equals", "Point", "[8,40]", "space", of="observationSpace"),
    where("disjoint", "Point", "[8,40]", "spaces", of="observationSpace"),
    # identity and attributes
    Case(EntityQuery(ids=("urn:x:n3", "urn:x:none", "urn:x:b1")), {"n3", "b1"}, "ids"),
    Case(EntityQuery(id_pattern=parse_id_pattern("^urn:x:n[0-9]$")), {"n3", "n5"}, "idPattern"),
    Case(
        EntityQuery(attributes=(expand("name"), expand("color"))),
        {e.id[6:] for e in ENTITIES if e.id[6:10] in ("word", "lang")},
        "attrs",
    ),
    Case(
        EntityQuery(
            selectors=(
                EntitySelector(ids=("urn:x:t3",)),
                EntitySelector(id_pattern="n.$", types=parse_types("Sensor", expand)),
            )
        ),
        {"t3", "n5"},
        "selectors",
    ),
    Case(
        EntityQuery(types=parse_types("River", expand), q=parse_q("level>3", expand), scope=parse_scopes("/B")),
        {"n5"},
        "all together",
    ),
]


@pytest.fixture(scope="class")
def stored(connection: Connection) -> Connection:
    store(connection, ENTITIES)
    return connection


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestTable:
    def test_matching_finds(self, case: Case) -> None:
        assert {entity.id[6:] for entity in ENTITIES if matches(entity, case.query)} == case.found

    def test_postgresql_finds(self, case: Case, stored: Connection) -> None:
        assert {entity_id[6:] for entity_id in selected(stored, case.query)} == case.found


# --- random entities and queries -----------------------------------------------------------------------------------


@random_checks
@given(found=st.lists(documents(1), min_size=1, max_size=8), asked=st.lists(trees, min_size=1, max_size=8))
def test_random_queries_agree(connection: Connection, found: list[dict[str, Any]], asked: list[Any]) -> None:
    """Any entity and any ``q``: both ways find the same."""
    entities = [
        ExpandedEntity(f"urn:x:{number}", ("urn:t",), document, (), START, START + timedelta(milliseconds=number))
        for number, document in enumerate(found)
    ]
    store(connection, entities)
    for tree in asked:
        query = EntityQuery(q=tree)
        assert selected(connection, query) == [entity.id for entity in entities if matches(entity, query)], tree


PIECES = [
    "a",
    "b",
    "水",
    "\n",
    ".",
    "\\.",
    "^",
    "$",
    "|",
    "(",
    ")",
    "*",
    "+",
    "?",
    "{2}",
    "{1,}",
    "{0,2}",
    "[ab]",
    "[^a]",
]
PIECES += ["[a-c]", "[[:digit:]]", "\\d", "\\W", "\\s", "-", "_", "1", " ", "[]a]", "[\\d-]", "/"]


@random_checks
@given(
    pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=7),
    texts=st.lists(st.text("ab水\n.1 _-/c]", max_size=8), min_size=1, max_size=12),
)
def test_random_patterns_agree(connection: Connection, pieces: list[str], texts: list[str]) -> None:
    """Any pattern of the dialect: the automaton and PostgreSQL find it in the same texts."""
    try:
        pattern = compile_pattern("".join(pieces))
    except (PatternError, TooComplexQuery):
        return
    rows = connection.execute(
        'select text from unnest(%s::text[]) with ordinality as t(text, n) where text collate "C" ~ %s order by n',
        [texts, pattern.posix],
    )
    assert [row[0] for row in rows] == [text for text in texts if pattern.search(text)]


def rings(scale: float) -> st.SearchStrategy[list[list[float]]]:
    """Rings on a coarse grid, many of them touching or crossing themselves."""
    position = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda at: [at[0] * scale + 138, at[1] * scale + 34])
    return st.lists(position, min_size=3, max_size=5).map(lambda ring: [*ring, ring[0]])


def shapes(scale: float) -> st.SearchStrategy[dict[str, Any]]:
    points = rings(scale).map(lambda ring: {"type": "Point", "coordinates": ring[0]})
    lines = rings(scale).map(lambda ring: {"type": "LineString", "coordinates": ring[:-1]})
    areas = rings(scale).map(lambda ring: {"type": "Polygon", "coordinates": [ring]})
    return st.one_of(points, lines, areas)


@random_checks
@given(
    targets=st.lists(shapes(0.25), min_size=1, max_size=10),
    reference=shapes(0.25),
    relation=st.sampled_from(["within", "contains", "overlaps", "intersects", "equals", "disjoint"]),
    of=st.sampled_from(["location", "observationSpace"]),
)
def test_random_relations_agree(
    connection: Connection, targets: list[dict[str, Any]], reference: dict[str, Any], relation: str, of: str
) -> None:
    """Any geometries, crooked ones too: shapely and PostGIS see the same relations."""
    geometries = [target for target in targets if shape(target).length > 0 or target["type"] == "Point"]
    entities = [entity(str(number), **{of: geo(**geometry)}) for number, geometry in enumerate(geometries)]
    store(connection, entities)
    query = EntityQuery(geo=parse_geo(relation, reference["type"], reference["coordinates"], of, expand=expand))
    assert selected(connection, query) == sorted(entity.id for entity in entities if matches(entity, query))


@random_checks
@given(
    target=shapes(0.05),
    reference=shapes(0.05),
    east=st.sampled_from([(0, 0), (41.5, -318)]),  # the second pair lies on both sides of the antimeridian
    north=st.sampled_from([0, -34, 40]),
)
def test_distances_agree(
    connection: Connection,
    target: dict[str, Any],
    reference: dict[str, Any],
    east: tuple[float, float],
    north: float,
) -> None:
    """Within 0.1 % and 2 m of PostGIS on geography, near the antimeridian and at high latitudes too."""
    one = repaired(translate(shape(target), east[0], north))
    other = repaired(translate(shape(reference), east[1], north))
    if one.is_empty or other.is_empty:
        return
    distance = "st_distance(st_segmentize(%s::geometry, 0.1)::geography, st_segmentize(%s::geometry, 0.1)::geography)"
    row = connection.execute(f"select {distance}", [f"SRID=4326;{one.wkt}", f"SRID=4326;{other.wkt}"]).fetchone()
    assert row is not None
    assert distance_m(one, other) == pytest.approx(row[0], rel=1e-3, abs=2)


# --- what is said about SQL alone ----------------------------------------------------------------------------------


BY_ID = {entity.id: entity for entity in ENTITIES}


class TestLinkedEntities:
    """Clause 4.9, Examples 13 and 14: the path goes on in the entities that a Relationship points at."""

    CASES = (
        ("partOf{level}==3", {"rel1", "rel3"}),
        ("partOf{River:level}>1", {"rel1", "rel2", "rel3"}),
        ("partOf{Sensor,Nothing:level}==5,3", {"rel2"}),
        ("partOf{Sensor:level}!=5", {"rel2"}),
        ("partOf{level}==true", {"rel3"}),
        ("partOf{River:level.unitCode}", {"rel2"}),
        ("partOf{partOf{level}}", set()),
        ("partOf;!partOf{River:level}", {"rel4"}),
    )

    @pytest.mark.parametrize(("text", "found"), CASES)
    def test_postgresql_follows_relationships(self, stored: Connection, text: str, found: set[str]) -> None:
        assert {name[6:] for name in selected(stored, EntityQuery(q=parse_q(text, expand)))} == found

    @pytest.mark.parametrize(("text", "found"), CASES)
    def test_matching_follows_relationships(self, text: str, found: set[str]) -> None:
        matcher = compile_query(EntityQuery(q=parse_q(text, expand)), BY_ID.get)
        assert {entity.id[6:] for entity in ENTITIES if matcher(entity)} == found

    def test_matching_one_entity_alone_is_not_supported(self) -> None:
        with pytest.raises(OperationNotSupported):
            matches(ENTITIES[0], EntityQuery(q=parse_q("partOf{level}", expand)))


class TestPages:
    def test_pages_follow_each_other(self, stored: Connection) -> None:
        ids: list[str] = []
        after = None
        while True:
            statement = select_entities(EntityQuery(), tenant_id=TENANT, limit=7, after=after, columns=("id",))
            page = [row[0] for row in stored.execute(*to_psycopg(statement))]
            ids += page
            if not page:
                break
            after = After(page[-1])
        assert ids == [row[0] for row in stored.execute("select id from entity order by id")]

    def test_order_of_creation_goes_on_behind_an_entity(self, connection: Connection) -> None:
        born = {"b": 0, "a": 0, "c": 1, "0": 2}
        store(
            connection,
            [
                ExpandedEntity(f"urn:x:{name}", ("urn:t",), {}, (), START + timedelta(days=age))
                for name, age in born.items()
            ],
        )
        statement = select_entities(
            EntityQuery(),
            tenant_id=TENANT,
            limit=2,
            offset=1,
            after=After("urn:x:a", START),
            order=Order.CREATED_AT,
            columns=("id",),
        )
        assert [row[0] for row in connection.execute(*to_psycopg(statement))] == ["urn:x:c", "urn:x:0"]
        store(connection, ENTITIES)

    def test_count_is_of_all_pages(self, stored: Connection) -> None:
        statement = count_entities(EntityQuery(q=parse_q("level", expand)), tenant_id=TENANT)
        assert stored.execute(*to_psycopg(statement)).fetchone() == (len(LEVELS),)


def test_other_tenants_are_out_of_reach_without_row_level_security_too(stored: Connection) -> None:
    stored.execute("set minamo.tenant to '0'")
    try:
        store(stored, [entity("elsewhere", level=prop(3))], tenant=2)
        assert selected(stored, EntityQuery(ids=("urn:x:elsewhere",)), tenant=TENANT) == []
        assert selected(stored, EntityQuery(ids=("urn:x:elsewhere",)), tenant=2) == ["urn:x:elsewhere"]
    finally:
        stored.execute("set minamo.tenant to '1'")


@pytest.fixture(scope="class")
def crowd(connection: Connection) -> Connection:
    """5,000 entities in 100 types, along a grid of places."""
    connection.execute("delete from entity")
    connection.execute(
        """
        insert into entity (tenant_id, id, types, document, location, created_at, modified_at)
        select 1, 'urn:x:' || n, array['https://example.org/T' || n %% 100],
               jsonb_build_object('https://example.org/level',
                   jsonb_build_object('@none', jsonb_build_object('type', 'Property', 'value', n))),
               st_setsrid(st_makepoint(138 + n %% 100 * 0.01, 34 + n / 100 * 0.01), 4326), %s, %s
        from generate_series(1, 5000) as n
        """,
        [START, START],
    )
    connection.execute("vacuum analyze entity")
    return connection


class TestIndexes:
    """The plans that PostgreSQL makes."""

    def plan(self, connection: Connection, query: EntityQuery) -> str:
        text, parameters = to_psycopg(count_entities(query, tenant_id=TENANT))
        return "\n".join(row[0] for row in connection.execute(b"explain analyze " + text, parameters))

    def test_type_and_q_use_the_index_of_types(self, crowd: Connection) -> None:
        query = EntityQuery(types=parse_types("T7,T8", expand), q=parse_q("level>100", expand))
        assert "entity_types_index" in self.plan(crowd, query)

    def test_near_uses_the_index_of_places(self, crowd: Connection) -> None:
        query = EntityQuery(geo=parse_geo("near;maxDistance==2000", "Point", [138.5, 34.2], expand=expand))
        assert "entity_location_index" in self.plan(crowd, query)

    def test_within_uses_the_index_of_places(self, crowd: Connection) -> None:
        ring = [[138.5, 34.2], [138.55, 34.2], [138.55, 34.25], [138.5, 34.25], [138.5, 34.2]]
        query = EntityQuery(geo=parse_geo("within", "Polygon", [ring], expand=expand))
        assert "entity_location_index" in self.plan(crowd, query)

    def test_ids_use_the_primary_key(self, crowd: Connection) -> None:
        assert "entity_pkey" in self.plan(crowd, EntityQuery(ids=("urn:x:7", "urn:x:8")))

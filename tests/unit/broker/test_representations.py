# SPDX-License-Identifier: Apache-2.0
"""From the internal form to the wire, and round trips."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contexts.jsonld import core_terms
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData
from broker.expansion import expand_entity
from broker.representations import (
    CONCISE,
    NORMALIZED,
    SIMPLIFIED,
    Form,
    Representation,
    feature_collection,
    parse_language_filter,
    represent,
    represent_feature,
)
from schemas.terms import DEFAULT_VOCABULARY, LOCATION, NO_DATASET

TERMS = core_terms()
POINT = {"type": "Point", "coordinates": [138.38, 34.97]}
AT = "2026-11-21T07:47:43Z"
NOW = datetime(2026, 11, 21, 7, 47, 43, tzinfo=UTC)


def expanded(**attributes: Any) -> ExpandedEntity:
    return expand_entity({"id": "urn:ngsi-ld:River:1", "type": "River", **attributes}, TERMS)


def written(value: Any, options: Representation) -> Any:
    """How the attribute ``level`` given as ``value`` is written."""
    return represent(expanded(level=value), TERMS, options)["level"]


def iris(*names: str) -> frozenset[str]:
    return frozenset(name if name in ("id", "type", "scope") else TERMS.expand_term(name) for name in names)


class TestNormalized:
    def test_id_type_and_scope_come_first(self) -> None:
        assert represent(expanded(scope="/Japan"), TERMS) == {
            "id": "urn:ngsi-ld:River:1",
            "type": "River",
            "scope": "/Japan",
        }

    def test_several_types_are_a_list(self) -> None:
        assert represent(expanded(type=["A", "B"]), TERMS)["type"] == ["A", "B"]

    def test_vocab_is_compacted(self) -> None:
        assert written({"vocab": ["Male", "urn:a:1"]}, NORMALIZED)["vocab"] == ["Male", "urn:a:1"]

    def test_an_object_list_is_a_list_of_objects(self) -> None:
        assert written({"objectList": ["urn:a:1"]}, NORMALIZED)["objectList"] == [{"object": "urn:a:1"}]

    def test_the_default_instance_has_no_dataset_id(self) -> None:
        assert written([{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}], NORMALIZED) == [
            {"type": "Property", "value": 1},
            {"type": "Property", "value": 2, "datasetId": "urn:d:1"},
        ]

    def test_the_stored_entity_is_not_changed(self) -> None:
        entity = expanded(level={"value": 1, "sub": 2, "datasetId": "urn:d:1"}, other={"vocab": "a"})
        represent(entity, TERMS, CONCISE)
        assert entity == expanded(level={"value": 1, "sub": 2, "datasetId": "urn:d:1"}, other={"vocab": "a"})


class TestConcise:
    """6.3.7: the most concise lossless representation possible, for example removing all Attribute type members."""

    @pytest.mark.parametrize(
        ("wire", "concise"),
        [
            ({"type": "Property", "value": 1}, 1),
            ({"type": "Property", "value": {"city": "x"}}, {"city": "x"}),
            ({"type": "Property", "value": 1, "observedAt": AT}, {"value": 1, "observedAt": AT}),
            ({"type": "Property", "value": 1, "datasetId": "urn:d:1"}, {"value": 1, "datasetId": "urn:d:1"}),
            ({"type": "GeoProperty", "value": POINT}, POINT),
            ({"type": "GeoProperty", "value": POINT, "observedAt": AT}, {"value": POINT, "observedAt": AT}),
            ({"type": "Relationship", "object": "urn:a:1"}, {"object": "urn:a:1"}),
            ({"type": "LanguageProperty", "languageMap": {"ja": "a"}}, {"languageMap": {"ja": "a"}}),
            ({"type": "ListRelationship", "objectList": ["urn:a:1"]}, {"objectList": ["urn:a:1"]}),
            ({"type": "Property", "value": 1, "q": {"type": "Property", "value": "ok"}}, {"value": 1, "q": "ok"}),
        ],
    )
    def test_type_and_lonely_values_are_unwrapped(self, wire: Any, concise: Any) -> None:
        assert written(wire, CONCISE) == concise

    @pytest.mark.parametrize(
        "value",
        [
            {"type": "PostalAddress"},
            {"value": 1},
            {"observedAt": 1},
            [{"value": 1}],
            {"object": "urn:a:1"},
            {"@type": "x"},
        ],
    )
    def test_a_value_that_would_be_read_as_an_attribute_stays_wrapped(self, value: Any) -> None:
        assert written({"type": "Property", "value": value}, CONCISE) == {"value": value}

    def test_instances_of_a_list_are_objects(self) -> None:
        wire = [{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}]
        assert written(wire, CONCISE) == wire

    def test_a_geometry_in_a_property_keeps_its_type(self) -> None:
        wire = {"type": "Property", "value": POINT}
        assert written(wire, CONCISE) == wire


class TestSimplified:
    """4.5.4: the value of each Property, the object of each Relationship."""

    @pytest.mark.parametrize(
        ("wire", "simplified"),
        [
            ({"value": 1, "observedAt": AT}, 1),
            (POINT, POINT),
            ({"object": ["urn:a:1", "urn:a:2"]}, ["urn:a:1", "urn:a:2"]),
            ({"languageMap": {"ja": "a"}}, {"languageMap": {"ja": "a"}}),
            ({"json": {"id": 1}}, {"json": {"id": 1}}),
            ({"vocab": "Male"}, {"vocab": "Male"}),
            ({"valueList": [1, 2]}, [1, 2]),
            ({"objectList": ["urn:a:1"]}, ["urn:a:1"]),
            ([{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}], {"dataset": {NO_DATASET: 1, "urn:d:1": 2}}),
        ],
    )
    def test_only_values_are_written(self, wire: Any, simplified: Any) -> None:
        assert written(wire, SIMPLIFIED) == simplified


class TestSystemAttributes:
    ENTITY = ExpandedEntity(
        "urn:a:1",
        (DEFAULT_VOCABULARY + "A",),
        {
            DEFAULT_VOCABULARY + "x": {
                NO_DATASET: {"type": "Property", "value": 1, "createdAt": AT, "modifiedAt": AT, "expiresAt": AT}
            }
        },
        created_at=NOW,
        modified_at=NOW,
        expires_at=NOW,
    )

    def test_they_are_left_out_by_default(self) -> None:
        assert represent(self.ENTITY, TERMS) == {"id": "urn:a:1", "type": "A", "x": {"type": "Property", "value": 1}}

    def test_they_are_written_on_request(self) -> None:
        times = {"createdAt": AT, "modifiedAt": AT, "expiresAt": AT}
        assert represent(self.ENTITY, TERMS, Representation(sys_attrs=True)) == {
            "id": "urn:a:1",
            "type": "A",
            **times,
            "x": {"type": "Property", "value": 1, **times},
        }


class TestProjection:
    """4.21: pick reduces the entity to the listed members, omit removes them; 4.5.5: datasetId selects instances."""

    ENTITY = expanded(
        scope="/Japan", name="a", level=[{"value": 1, "datasetId": "urn:d:1"}, {"value": 2, "datasetId": "urn:d:2"}]
    )

    @pytest.mark.parametrize(
        ("options", "members"),
        [
            (Representation(pick=iris("name")), ["name"]),
            (Representation(pick=iris("id", "name")), ["id", "name"]),
            (Representation(omit=iris("id", "scope", "name")), ["type", "level"]),
            (Representation(attrs=iris("name")), ["id", "type", "scope", "name"]),
            (Representation(datasets=frozenset((NO_DATASET,))), ["id", "type", "scope", "name"]),
            (Representation(pick=iris("missing")), []),
        ],
    )
    def test_only_asked_members_are_written(self, options: Representation, members: list[str]) -> None:
        assert list(represent(self.ENTITY, TERMS, options)) == members

    def test_the_only_instance_left_is_no_list(self) -> None:
        options = Representation(datasets=frozenset(("urn:d:2",)))
        assert represent(self.ENTITY, TERMS, options)["level"] == {
            "type": "Property",
            "value": 2,
            "datasetId": "urn:d:2",
        }


class TestLanguageFilter:
    """4.15: just one matching string value of LanguageProperties is converted to a Property, with its lang."""

    NAMES = {"ja": "安倍川", "de-CH": "Abe-Fluss", "fr": ["Rivière Abe"]}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("lang", "tag"),
        [
            ("fr", "fr"),
            ("FR", "fr"),
            ("fr-CA", "fr"),
            ("de", "de-CH"),
            ("en,de-CH", "de-CH"),
            ("en;q=0.9,fr;q=0.5,ja;q=0.8", "ja"),
            ("*", "ja"),
            ("xx", "ja"),
        ],
    )
    def test_the_best_language_is_chosen(self, lang: str, tag: str) -> None:
        options = Representation(languages=parse_language_filter(lang))
        assert written({"languageMap": self.NAMES}, options) == {
            "type": "Property",
            "value": self.NAMES[tag],
            "lang": tag,
        }

    def test_the_default_text_is_used_before_any_other_language(self) -> None:
        options = Representation(languages=("xx",))
        assert written({"languageMap": {"en": "a", "@none": "b"}}, options)["value"] == "b"

    def test_simplified_is_the_text_alone(self) -> None:
        options = Representation(Form.SIMPLIFIED, languages=("fr",))
        assert written({"languageMap": self.NAMES}, options) == ["Rivière Abe"]

    @pytest.mark.parametrize("lang", ["", "fr;x", ","])
    def test_an_invalid_filter_is_refused(self, lang: str) -> None:
        with pytest.raises(BadRequestData, match=r"^lang: "):
            parse_language_filter(lang)


class TestGeoJson:
    """4.5.16: every Entity can be represented as a GeoJSON Feature object."""

    ENTITY = expanded(location=[{"value": POINT}, {"value": POINT, "datasetId": "urn:d:1"}], name="a")

    def test_a_feature_has_id_geometry_and_properties(self) -> None:
        feature = represent_feature(expanded(location=POINT, name="a"), TERMS, SIMPLIFIED)
        assert feature == {
            "id": "urn:ngsi-ld:River:1",
            "type": "Feature",
            "geometry": POINT,
            "properties": {"type": "River", "location": POINT, "name": "a"},
        }

    def test_the_default_instance_gives_the_geometry(self) -> None:
        assert represent_feature(self.ENTITY, TERMS)["geometry"] == POINT

    def test_a_dataset_that_is_asked_for_gives_the_geometry(self) -> None:
        options = Representation(datasets=frozenset(("urn:d:2",)))
        assert represent_feature(self.ENTITY, TERMS, options)["geometry"] is None

    def test_another_property_can_be_the_geometry(self) -> None:
        feature = represent_feature(expanded(place=POINT), TERMS, geometry_property=DEFAULT_VOCABULARY + "place")
        assert feature["geometry"] == POINT

    def test_without_a_geometry_it_is_null(self) -> None:
        assert represent_feature(expanded(name="a"), TERMS, geometry_property=LOCATION)["geometry"] is None

    def test_a_collection_has_its_features(self) -> None:
        assert feature_collection([]) == {"type": "FeatureCollection", "features": []}


NAMES = st.text("abcxyz水位", min_size=1, max_size=4)
URIS = NAMES.map(lambda name: f"urn:x:{name}")
TIMES = st.just(AT) | st.just("2026-11-21T07:47:43.25Z")
SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES
OBJECTS = st.dictionaries(st.sampled_from(["type", "value", "a", "object", "@type"]), SCALARS, max_size=2)
VALUES = SCALARS | OBJECTS | st.lists(SCALARS | OBJECTS, max_size=2)
LONGITUDES, LATITUDES = st.floats(-180, 180), st.floats(-90, 90)
GEOMETRIES = st.tuples(LONGITUDES, LATITUDES).map(lambda position: {"type": "Point", "coordinates": list(position)})
KINDS = (
    st.fixed_dictionaries({"type": st.just("Property"), "value": VALUES | GEOMETRIES}, optional={"unitCode": NAMES})
    | st.fixed_dictionaries({"type": st.just("GeoProperty"), "value": GEOMETRIES})
    | st.fixed_dictionaries({"type": st.just("Relationship"), "object": URIS | st.lists(URIS, min_size=1, max_size=2)})
    | st.fixed_dictionaries(
        {
            "type": st.just("LanguageProperty"),
            "languageMap": st.dictionaries(st.sampled_from(["ja", "en", "@none"]), NAMES, min_size=1),
        }
    )
    | st.fixed_dictionaries(
        {"type": st.just("VocabProperty"), "vocab": NAMES | st.lists(NAMES, min_size=1, max_size=2)}
    )
    | st.fixed_dictionaries({"type": st.just("JsonProperty"), "json": OBJECTS})
    | st.fixed_dictionaries({"type": st.just("ListProperty"), "valueList": st.lists(VALUES, max_size=2)})
    | st.fixed_dictionaries(
        {
            "type": st.just("ListRelationship"),
            "objectList": st.lists(URIS.map(lambda uri: {"object": uri}), max_size=2),
        }
    )
)


def with_metadata(sub_attributes: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda kind, metadata, subs: {**subs, **kind, **metadata},
        KINDS,
        st.fixed_dictionaries({}, optional={"observedAt": TIMES}),
        st.dictionaries(NAMES.map(lambda name: f"sub{name}"), sub_attributes, max_size=1),
    )


ATTRIBUTES = with_metadata(with_metadata(st.nothing()))


def in_datasets(instances: list[dict[str, Any]]) -> Any:
    """A normalized multi-instance attribute: the first is the default one."""
    first, *others = instances
    rest = [{**item, "datasetId": f"urn:d:{number}"} for number, item in enumerate(others)]
    return [first, *rest] if rest else first


ENTITIES = st.dictionaries(NAMES, st.lists(ATTRIBUTES, min_size=1, max_size=2).map(in_datasets), max_size=3)


class TestRoundTrips:
    @given(ENTITIES)
    def test_normalized_comes_back_as_it_was(self, attributes: dict[str, Any]) -> None:
        body = {"id": "urn:a:1", "type": "River", **attributes}
        assert represent(expand_entity(body, TERMS), TERMS) == body

    @given(ENTITIES)
    def test_concise_means_the_same_as_normalized(self, attributes: dict[str, Any]) -> None:
        entity = expand_entity({"id": "urn:a:1", "type": "River", **attributes}, TERMS)
        assert expand_entity(represent(entity, TERMS, CONCISE), TERMS) == entity

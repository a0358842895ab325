# SPDX-License-Identifier: Apache-2.0
"""From the wire to the internal form, clause by clause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contexts.jsonld import ContextResolver, core_terms
from broker.entities import AttributeKind, Instance
from broker.errors import BadRequestData
from broker.expansion import (
    expand_attribute,
    expand_attributes,
    expand_entity,
    expand_fragment,
    split_context,
)
from broker.representations import represent
from schemas.terms import DEFAULT_VOCABULARY, LOCATION, NGSI_LD, NO_DATASET, NULL

TERMS = core_terms()
EXAMPLES = Path(__file__).parents[2] / "data" / "smart_data_models"
POINT = {"type": "Point", "coordinates": [138.38, 34.97]}
AT = "2026-11-21T07:47:43Z"


def entity(**attributes: Any) -> dict[str, Any]:
    return {"id": "urn:ngsi-ld:River:1", "type": "River", **attributes}


def instance(value: Any, **flags: bool) -> Instance:
    """The default instance of an attribute ``level`` given as ``value``."""
    attributes = expand_attributes({"level": value}, TERMS, **flags)
    return attributes[DEFAULT_VOCABULARY + "level"][NO_DATASET]


def refusal(body: Any, **flags: bool) -> str:
    """The message with which an attribute ``level`` given as ``body`` is refused."""
    with pytest.raises(BadRequestData) as caught:
        expand_attributes({"level": body}, TERMS, **flags)
    return caught.value.detail


class TestEntity:
    """4.5.1: "id" whose value shall be a URI, "type" an Entity Type name or an unordered array of them."""

    def test_names_are_expanded(self) -> None:
        expanded = expand_entity(entity(level=1), TERMS)
        assert (expanded.types, list(expanded.attributes)) == (
            (DEFAULT_VOCABULARY + "River",),
            [DEFAULT_VOCABULARY + "level"],
        )

    def test_several_types_are_kept_once_each(self) -> None:
        assert expand_entity(entity(type=["A", "B", "A"]), TERMS).types == (
            DEFAULT_VOCABULARY + "A",
            DEFAULT_VOCABULARY + "B",
        )

    def test_json_ld_keywords_may_stand_for_id_and_type(self) -> None:
        assert expand_entity({"@id": "urn:a:1", "@type": "A"}, TERMS).id == "urn:a:1"

    @pytest.mark.parametrize("scope", ["/Japan/Shizuoka", ["/Japan/Shizuoka"]])
    def test_one_scope_may_be_a_text_or_a_list(self, scope: Any) -> None:
        assert expand_entity(entity(scope=scope), TERMS).scopes == ("/Japan/Shizuoka",)

    def test_expires_at_becomes_a_time(self) -> None:
        expires_at = expand_entity(entity(expiresAt=AT), TERMS).expires_at
        assert expires_at is not None and expires_at.isoformat() == "2026-11-21T07:47:43+00:00"

    def test_system_times_of_a_request_are_not_read(self) -> None:
        assert expand_entity(entity(createdAt=AT, modifiedAt=AT), TERMS).created_at is None

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ([], "[] is not a JSON object"),
            ({"type": "A"}, 'An entity needs an "id"'),
            ({"id": "urn:a:1"}, 'An entity needs a "type"'),
            ({"id": "river", "type": "A"}, 'id: "river" is not a URI'),
            ({"id": NULL, "type": "A"}, 'id: "urn:ngsi-ld:null" is not a URI'),
            ({"id": 5, "type": "A"}, "id: 5 is not a URI"),
            ({"id": "urn:a:1", "type": []}, "type: [] is not a type name or a list of type names"),
            ({"id": "urn:a:1", "type": 5}, "type: 5 is not a type name or a list of type names"),
            (entity(scope="/9a"), 'scope: "/9a" is not a scope such as /Japan/Shizuoka'),
            (entity(scope="a//b"), 'scope: "a//b" is not a scope such as /Japan/Shizuoka'),
            (entity(scope=NULL), 'scope: "urn:ngsi-ld:null" is not a scope such as /Japan/Shizuoka'),
            (entity(observedAt=AT), 'observedAt: "observedAt" is a core member and not a name for attributes'),
            (
                entity(**{"ngsi-ld:datasetId": 1}),
                'ngsi-ld:datasetId: "ngsi-ld:datasetId" is a core member and not a name for attributes',
            ),
            (
                entity(level=1, **{"ngsi-ld:default-context/level": 1}),
                f"attribute {DEFAULT_VOCABULARY}level is given twice",
            ),
            (entity(location=7), "location: it is a GeoProperty by definition, not a Property"),
        ],
    )
    def test_an_invalid_entity_is_refused_with_the_place(self, body: Any, message: str) -> None:
        with pytest.raises(BadRequestData) as caught:
            expand_entity(body, TERMS)
        assert caught.value.detail == message

    def test_the_context_is_split_off_without_changing_the_body(self) -> None:
        body = {"@context": "https://a.org/c", "id": "urn:a:1"}
        assert (split_context(body), len(body)) == (("https://a.org/c", {"id": "urn:a:1"}), 2)


class TestNormalized:
    """4.5.2.2, 4.5.3.2 and those of the other kinds: "type" and a value member."""

    @pytest.mark.parametrize(
        "wire",
        [
            {"type": "Property", "value": 1.2, "unitCode": "MTR", "observedAt": AT},
            {"type": "Property", "value": {"@type": "DateTime", "@value": AT}},
            {"type": "Relationship", "object": "urn:a:1"},
            {"type": "Relationship", "object": ["urn:a:1", "urn:a:2"]},
            {"type": "GeoProperty", "value": POINT},
            {"type": "LanguageProperty", "languageMap": {"ja": "安倍川", "en": ["Abe River"], "@none": "Abe"}},
            {"type": "JsonProperty", "json": {"id": 1, "type": "x", "none": None}},
            {"type": "JsonProperty", "json": [{"a": 1}]},
            {"type": "ListProperty", "valueList": [1, "a", [2]]},
            {"type": "ListRelationship", "objectList": ["urn:a:1", "urn:a:2"]},
            {"type": "Property", "value": 1, "expiresAt": AT},
        ],
    )
    def test_the_stored_form_has_the_members_of_the_wire(self, wire: dict[str, Any]) -> None:
        assert instance(wire) == wire

    @pytest.mark.parametrize("kind", ["ngsi-ld:Property", NGSI_LD + "Property"])
    def test_the_kind_may_be_an_iri(self, kind: str) -> None:
        assert instance({"type": kind, "value": 1})["type"] == "Property"

    def test_vocab_is_expanded(self) -> None:
        assert instance({"type": "VocabProperty", "vocab": "Male"})["vocab"] == DEFAULT_VOCABULARY + "Male"

    def test_object_type_is_expanded(self) -> None:
        wire = {"type": "Relationship", "object": "urn:a:1", "objectType": "River"}
        assert instance(wire)["objectType"] == DEFAULT_VOCABULARY + "River"

    def test_objects_in_an_object_list_become_uris(self) -> None:
        wire = {"type": "ListRelationship", "objectList": [{"object": "urn:a:1"}, "urn:a:2"]}
        assert instance(wire)["objectList"] == ["urn:a:1", "urn:a:2"]

    def test_a_text_of_a_hundred_thousand_brackets_is_no_geometry(self) -> None:
        with pytest.raises(BadRequestData, match="not a GeoJSON geometry"):
            instance({"type": "GeoProperty", "value": "[" * 100_000})

    def test_a_geometry_may_be_encoded_as_text(self) -> None:
        assert instance({"type": "GeoProperty", "value": json.dumps(POINT)})["value"] == POINT

    def test_sub_attributes_nest_to_any_depth(self) -> None:
        body: dict[str, Any] = {"type": "Property", "value": 0}
        for depth in range(1, 5):
            body = {"type": "Property", "value": depth, "sub": body}
        found = instance(body)
        for depth in range(4, -1, -1):
            assert found["value"] == depth
            found = found.get("attrs", {}).get(DEFAULT_VOCABULARY + "sub", {}).get(NO_DATASET, {})

    def test_system_members_are_not_read(self) -> None:
        wire = {"type": "Property", "value": 1, "createdAt": AT, "modifiedAt": AT, "instanceId": "urn:a:1"}
        assert instance(wire) == {"type": "Property", "value": 1}

    @pytest.mark.parametrize("text", ["2026-11-21T07:47:43.000Z", "2026-11-21T07:47:43,0Z"])
    def test_times_become_canonical(self, text: str) -> None:
        assert instance({"type": "Property", "value": 1, "observedAt": text})["observedAt"] == AT

    @pytest.mark.parametrize("kind", AttributeKind)
    def test_every_kind_needs_its_value(self, kind: AttributeKind) -> None:
        assert refusal({"type": str(kind)}).startswith(f"level: a {kind} needs ")

    @pytest.mark.parametrize("kind", AttributeKind)
    def test_no_kind_takes_the_value_member_of_another(self, kind: AttributeKind) -> None:
        foreign = "object" if kind != AttributeKind.RELATIONSHIP else "value"
        assert refusal({"type": str(kind), foreign: "urn:a:1"}) == f'level: "{foreign}" is not allowed in a {kind}'

    @pytest.mark.parametrize(
        "wire",
        [
            {"type": "Relationship", "object": "urn:a:1"},
            {"type": "LanguageProperty", "languageMap": {"ja": "a"}},
            {"type": "VocabProperty", "vocab": "a"},
            {"type": "JsonProperty", "json": {}},
            {"type": "ListRelationship", "objectList": []},
        ],
    )
    def test_unitless_kinds_refuse_a_unit(self, wire: dict[str, Any]) -> None:
        assert refusal({**wire, "unitCode": "MTR"}) == f'level: "unitCode" is not allowed in a {wire["type"]}'

    @pytest.mark.parametrize(
        ("wire", "message"),
        [
            ({"type": "Text", "value": 1}, 'level: type "Text" is not one of Property, Relationship, GeoProperty, '
             "LanguageProperty, VocabProperty, JsonProperty, ListProperty, ListRelationship"),
            ({"type": "Property", "value": None}, "level.value: null is not a value in NGSI-LD"),
            ({"type": "Property", "value": NULL}, "level.value: urn:ngsi-ld:null is not allowed here"),
            ({"type": "Property", "value": {"a": [NULL]}}, "level.value: urn:ngsi-ld:null is not allowed in a value"),
            ({"type": "Property", "value": 1, "unitCode": 5}, "level.unitCode: 5 is not a text"),
            ({"type": "Property", "value": 1, "objectType": "A"}, 'level: "objectType" is not allowed in a Property'),
            ({"type": "Property", "value": 1, "previousValue": 0}, 'level: "previousValue" is only given in responses'),
            ({"type": "Property", "value": 1, "entityIdSealed": "x"},
             'level: "entityIdSealed" is only allowed in "ngsildproof"'),
            ({"type": "Property", "value": 1, "datasetId": "a"}, 'level.datasetId: "a" is not a URI'),
            ({"type": "Property", "value": 1, "@context": {}},
             "level: an attribute cannot have an @context of its own"),
            ({"type": "Property", "value": 1, "sub": {"type": "Relationship", "object": "x"}},
             'level.sub.object: "x" is not a URI'),
            ({"type": "Relationship", "object": 5}, "level.object: 5 is not a URI"),
            ({"type": "Relationship", "object": []}, "level.object: [] is not a URI or a list of URIs"),
            ({"type": "Relationship", "object": ["urn:a:1", 5]}, "level.object[1]: 5 is not a URI"),
            ({"type": "LanguageProperty", "languageMap": {}}, "level.languageMap: {} is not a language map"),
            ({"type": "LanguageProperty", "languageMap": {"": "a"}}, 'level.languageMap: "" is not a language tag'),
            ({"type": "LanguageProperty", "languageMap": {"en": 5}},
             "level.languageMap.en: 5 is not a text or a list of texts"),
            ({"type": "LanguageProperty", "languageMap": {"@none": NULL}},
             "level.languageMap: urn:ngsi-ld:null is not allowed here"),
            ({"type": "LanguageProperty", "languageMap": {"en": "a"}, "valueType": "String"},
             "level.valueType: the valueType of a LanguageProperty is langString"),
            ({"type": "VocabProperty", "vocab": []}, "level.vocab: [] is not a text or a list of texts"),
            ({"type": "JsonProperty", "json": "a"}, 'level.json: "a" is not a JSON object or array'),
            ({"type": "ListProperty", "valueList": 1}, "level.valueList: 1 is not a list"),
            ({"type": "ListRelationship", "objectList": [{"object": 1}]}, "level.objectList[0]: 1 is not a URI"),
        ],
    )  # fmt: skip
    def test_an_invalid_member_is_refused_with_its_path(self, wire: dict[str, Any], message: str) -> None:
        assert refusal(wire) == message

    @pytest.mark.parametrize("value", ["2026-11-21", "2026-11-21T07:47:43+09:00", 5, {"type": "Property", "value": AT}])
    def test_a_time_that_is_not_utc_is_refused(self, value: Any) -> None:
        message = refusal({"type": "Property", "value": 1, "observedAt": value})
        assert message.endswith("is not a UTC date and time such as 2026-11-21T07:47:43Z")


class TestProof:
    """4.5.2.2: "ngsildproof": a Property with the non-reified subproperties entityIdSealed and entityTypeSealed."""

    PROOF: dict[str, Any] = {  # noqa: RUF012
        "type": "Property",
        "value": {"type": "DataIntegrityProof"},
        "entityIdSealed": "urn:ngsi-ld:River:1",
        "entityTypeSealed": "River",
    }

    def test_a_proof_is_kept_with_its_sealed_members(self) -> None:
        proof = instance({"type": "Property", "value": 1, "ngsildproof": self.PROOF})["attrs"][NGSI_LD + "ngsildproof"]
        assert proof[NO_DATASET] == {**self.PROOF, "entityTypeSealed": DEFAULT_VOCABULARY + "River"}

    def test_a_proof_is_an_object(self) -> None:
        assert refusal({"type": "Property", "value": 1, "ngsildproof": {**self.PROOF, "value": "x"}}) == (
            "level.ngsildproof: it is a Property with the proof as an object"
        )


class TestConcise:
    """4.5.2.3, 4.5.3.3, 4.7.3: the type is inferred from the value member; a bare value is a Property."""

    @pytest.mark.parametrize("value", [1, 1.5, "a", True, [1, 2], [], {"a": 1}, [{"a": 1}, {"type": "x"}]])
    def test_a_bare_value_is_a_property(self, value: Any) -> None:
        assert instance(value) == {"type": "Property", "value": value}

    def test_a_bare_geometry_is_a_geo_property(self) -> None:
        assert instance(POINT) == {"type": "GeoProperty", "value": POINT}

    def test_a_typed_value_is_a_property(self) -> None:
        typed = {"@type": "DateTime", "@value": AT}
        assert instance(typed) == {"type": "Property", "value": typed}

    @pytest.mark.parametrize(
        ("member", "value", "kind"),
        [
            ("value", 1, "Property"),
            ("value", POINT, "GeoProperty"),
            ("object", "urn:a:1", "Relationship"),
            ("languageMap", {"ja": "a"}, "LanguageProperty"),
            ("vocab", "a", "VocabProperty"),
            ("json", {"a": 1}, "JsonProperty"),
            ("valueList", [1], "ListProperty"),
            ("objectList", ["urn:a:1"], "ListRelationship"),
        ],
    )
    def test_the_value_member_says_the_kind(self, member: str, value: Any, kind: str) -> None:
        assert instance({member: value, "observedAt": AT})["type"] == kind

    def test_null_is_not_a_value(self) -> None:
        assert refusal(None) == "level: null is not a value in NGSI-LD"

    def test_an_object_with_another_type_is_not_taken_for_a_value(self) -> None:
        assert refusal({"type": "PostalAddress", "city": "x"}).startswith('level: type "PostalAddress" is not one of')


class TestDatasets:
    """4.5.5: instances of one attribute are distinguished by datasetId; there is at most one default instance."""

    def test_instances_are_kept_by_dataset(self) -> None:
        two = [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}]
        assert expand_attribute("level", two, TERMS) == {
            NO_DATASET: {"type": "Property", "value": 1},
            "urn:d:1": {"type": "Property", "value": 2},
        }

    def test_none_is_the_default_dataset(self) -> None:
        assert list(expand_attribute("level", {"value": 1, "datasetId": "@none"}, TERMS)) == [NO_DATASET]

    @pytest.mark.parametrize(
        ("second", "message"),
        [
            ({"value": 2}, "level[1]: more than one instance has no datasetId"),
            ({"value": 2, "datasetId": "@none"}, "level[1]: more than one instance has no datasetId"),
            (2, "level[1]: the other elements are attribute instances, but this one is not"),
        ],
    )
    def test_a_second_default_instance_is_refused(self, second: Any, message: str) -> None:
        assert refusal([{"value": 1}, second]) == message

    def test_a_dataset_cannot_be_given_twice(self) -> None:
        twice = [{"value": 1, "datasetId": "urn:d:1"}] * 2
        assert refusal(twice) == "level[1]: more than one instance has datasetId urn:d:1"


class TestGeometries:
    """4.6.3, 4.7: all the GeoJSON geometries with the exception of GeometryCollection."""

    RING: list[list[float]] = [[0, 0], [1, 0], [1, 1], [0, 0]]  # noqa: RUF012

    @pytest.mark.parametrize(
        "geometry",
        [
            POINT,
            {"type": "Point", "coordinates": [138.38, 34.97, 12.5]},
            {"type": "MultiPoint", "coordinates": [[0, 0]]},
            {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
            {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]]]},
            {"type": "Polygon", "coordinates": [RING]},
            {"type": "MultiPolygon", "coordinates": [[RING]]},
        ],
    )
    def test_a_valid_geometry_is_kept_as_given(self, geometry: dict[str, Any]) -> None:
        assert instance({"type": "GeoProperty", "value": geometry})["value"] == geometry

    @pytest.mark.parametrize(
        ("geometry", "message"),
        [
            ("a", '"a" is not a GeoJSON geometry'),
            ("[1]", "[1] is not a GeoJSON geometry"),
            ({"type": "GeometryCollection", "geometries": []}, 'geometry type "GeometryCollection" is not one of '
             "Point, MultiPoint, LineString, MultiLineString, Polygon, MultiPolygon"),
        ],
    )  # fmt: skip
    def test_what_is_no_geometry_is_refused(self, geometry: Any, message: str) -> None:
        assert refusal({"type": "GeoProperty", "value": geometry}) == f"level.value: {message}"

    @pytest.mark.parametrize(
        ("geometry", "place"),
        [
            ({"type": "Point"}, ""),
            ({"type": "Point", "coordinates": [1]}, ""),
            ({"type": "Point", "coordinates": ["1", 2]}, ""),
            ({"type": "Point", "coordinates": [True, 2]}, ""),
            ({"type": "Point", "coordinates": [34.97, 138.38]}, ""),
            ({"type": "LineString", "coordinates": [[0, 0]]}, ""),
            ({"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]], [[0, 0]]]}, "[1]"),
            ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}, "[0]"),
            ({"type": "Polygon", "coordinates": []}, ""),
            ({"type": "MultiPolygon", "coordinates": [[[[0, 0], [1, 0], [0, 0]]]]}, "[0][0]"),
        ],
    )
    def test_invalid_coordinates_are_refused_with_their_place(self, geometry: Any, place: str) -> None:
        message = refusal({"type": "GeoProperty", "value": geometry})
        assert message.startswith(f"level.value.coordinates{place}: ")


class TestNulls:
    """5.5.4: NGSI-LD Null only in fragments of partial update and merge operations."""

    def test_a_bare_null_is_allowed_in_an_update(self) -> None:
        assert instance(NULL, allow_null=True) == {"value": NULL}

    @pytest.mark.parametrize(
        "wire",
        [
            {"type": "Property", "value": NULL},
            {"type": "Relationship", "object": NULL},
            {"type": "GeoProperty", "value": NULL},
            {"type": "LanguageProperty", "languageMap": {"@none": NULL}},
            {"type": "VocabProperty", "vocab": NULL},
            {"type": "JsonProperty", "json": NULL},
            {"type": "ListProperty", "valueList": [NULL]},
            {"type": "ListRelationship", "objectList": [NULL]},
        ],
    )
    def test_each_kind_can_be_set_to_null_in_an_update_only(self, wire: dict[str, Any]) -> None:
        assert instance(wire, allow_null=True) == wire
        assert "urn:ngsi-ld:null is not allowed" in refusal(wire)

    def test_null_inside_of_a_value_is_for_merging_only(self) -> None:
        wire = {"type": "Property", "value": {"a": NULL}}
        assert instance(wire, partial=True) == wire
        assert refusal(wire, allow_null=True) == "level.value: urn:ngsi-ld:null is not allowed in a value"

    def test_null_inside_of_a_language_map_is_for_merging_only(self) -> None:
        wire = {"type": "LanguageProperty", "languageMap": {"en": NULL}}
        assert instance(wire, partial=True) == wire
        with pytest.raises(BadRequestData, match="level: urn:ngsi-ld:null is not allowed within a language map"):
            expand_attribute("level", wire, TERMS, partial=True)

    def test_members_and_sub_attributes_can_be_null_in_a_merge(self) -> None:
        wire = {"type": "Property", "unitCode": NULL, "observedAt": NULL, "sub": NULL}
        assert instance(wire, partial=True) == {
            "type": "Property",
            "unitCode": NULL,
            "observedAt": NULL,
            "attrs": {DEFAULT_VOCABULARY + "sub": {NO_DATASET: {"value": NULL}}},
        }

    def test_a_dataset_cannot_be_null(self) -> None:
        assert (
            refusal({"value": 1, "datasetId": NULL}, partial=True) == "level.datasetId: a datasetId cannot be removed"
        )

    def test_scope_and_expiry_can_be_removed(self) -> None:
        fragment = expand_fragment({"scope": NULL, "expiresAt": NULL}, TERMS, partial=True)
        assert fragment.removed == {"scope", "expiresAt"}


class TestFragments:
    """5.4: id and type are optional; 5.6.4: an attribute fragment needs no value."""

    def test_absent_members_are_none(self) -> None:
        fragment = expand_fragment({"level": 1}, TERMS)
        assert (fragment.id, fragment.types, fragment.scopes) == (None, (), None)

    def test_a_member_alone_is_a_fragment_when_partial(self) -> None:
        assert instance({"observedAt": AT}, partial=True) == {"observedAt": AT}

    def test_an_empty_name_in_an_attribute_fragment_is_refused(self) -> None:
        with pytest.raises(BadRequestData, match="not a valid name"):
            expand_attribute("level", {"": 1}, TERMS, partial=True)

    def test_a_sub_attribute_alone_is_a_fragment_of_an_attribute(self) -> None:
        found = expand_attribute("level", {"quality": "ok"}, TERMS, partial=True)[NO_DATASET]
        assert found == {"attrs": {DEFAULT_VOCABULARY + "quality": {NO_DATASET: {"type": "Property", "value": "ok"}}}}

    def test_a_core_member_is_not_an_attribute(self) -> None:
        with pytest.raises(BadRequestData):
            expand_attribute("observedAt", 1, TERMS)


INVALID_EXAMPLES = {
    "Device.DeviceMeasurement": "location: it is a GeoProperty by definition, not a Property",
    "Device.Device": '"value" is a core member and not a name for attributes',
    "Environment.FloodMonitoring": 'floodLevelStatus: type "string" is not one of Property',
    "Environment.WaterObserved": 'dateObserved.object: "2020-03-17T08:45:00.209Z" is not a URI',
}


def example(name: str) -> tuple[Any, dict[str, Any]]:
    return split_context(json.loads((EXAMPLES / f"{name}.jsonld").read_text("utf-8")))


class TestSmartDataModels:
    @pytest.mark.parametrize("name", sorted({path.stem for path in EXAMPLES.glob("*.jsonld")} - set(INVALID_EXAMPLES)))
    async def test_a_valid_example_comes_back_as_it_was(self, name: str) -> None:
        context, body = example(name)
        terms = await ContextResolver().resolve(context)
        assert represent(expand_entity(body, terms), terms) == body

    @pytest.mark.parametrize(("name", "message"), INVALID_EXAMPLES.items())
    async def test_an_invalid_example_is_refused_clearly(self, name: str, message: str) -> None:
        context, body = example(name)
        terms = await ContextResolver().resolve(context)
        with pytest.raises(BadRequestData) as caught:
            expand_entity(body, terms)
        assert message in caught.value.detail


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON_VALUES)
def test_any_json_is_expanded_or_refused_but_never_an_accident(body: Any) -> None:
    try:
        expand_attributes({"level": body}, TERMS, partial=True)
    except BadRequestData as error:
        assert error.detail


def test_the_geometry_of_location_is_found() -> None:
    assert expand_entity(entity(location=POINT), TERMS).attributes[LOCATION][NO_DATASET]["value"] == POINT

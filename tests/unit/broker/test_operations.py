# SPDX-License-Identifier: Apache-2.0
"""The operations of clause 5.6 on one entity."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contexts.jsonld import core_terms
from broker.entities import AttributeChange, EntityChange, ExpandedEntity, Instance
from broker.errors import AlreadyExists, BadRequestData, ResourceNotFound
from broker.expansion import EntityFragment, expand_attribute, expand_entity, expand_fragment
from broker.merging import merge_json
from broker.operations import (
    SCOPE,
    append_attributes,
    create_entity,
    delete_attribute,
    delete_entity,
    existing,
    merge_entity,
    partial_update_attribute,
    replace_attribute,
    replace_entity,
    update_attributes,
)
from broker.representations import represent
from schemas.terms import DEFAULT_VOCABULARY, NO_DATASET, NULL

TERMS = core_terms()
THEN = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
THEN_TEXT, NOW_TEXT = "2026-11-21T07:00:00Z", "2026-11-21T08:00:00Z"
LEVEL = DEFAULT_VOCABULARY + "level"
TEMPERATURE = {"type": "Property", "value": 25, "unitCode": "CEL", "observedAt": "2022-03-14T01:59:26.535Z"}


def body(**members: Any) -> dict[str, Any]:
    return {"id": "urn:ngsi-ld:River:1", "type": "River", **members}


def stored(**members: Any) -> ExpandedEntity:
    """The entity as it was created THEN."""
    after = create_entity(None, expand_entity(body(**members), TERMS), THEN).after
    assert after is not None
    return after


def fragment(*, partial: bool = False, **members: Any) -> EntityFragment:
    return expand_fragment(members, TERMS, allow_null=True, partial=partial)


def wire(change: EntityChange) -> dict[str, Any]:
    assert change.after is not None
    return represent(change.after, TERMS)


def attributes(change: EntityChange) -> dict[str, Any]:
    return {name: value for name, value in wire(change).items() if name not in ("id", "type", "scope")}


def level(change: EntityChange, dataset: str = NO_DATASET) -> Instance:
    assert change.after is not None
    return change.after.attributes[LEVEL][dataset]


def merged(before: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The attributes after merging ``patch`` into an entity with the attributes ``before``."""
    return attributes(merge_entity(stored(**before), fragment(partial=True, **patch), NOW))


class TestCreate:
    def test_an_entity_gets_its_system_times(self) -> None:
        after = create_entity(None, expand_entity(body(), TERMS), NOW).after
        assert after is not None and (after.created_at, after.modified_at) == (NOW, NOW)

    def test_instances_and_sub_attributes_get_their_system_times(self) -> None:
        instance = level(create_entity(None, expand_entity(body(level={"value": 1, "quality": "ok"}), TERMS), NOW))
        sub = instance["attrs"][DEFAULT_VOCABULARY + "quality"][NO_DATASET]
        assert {instance["createdAt"], instance["modifiedAt"], sub["createdAt"], sub["modifiedAt"]} == {NOW_TEXT}

    def test_every_instance_is_a_change(self) -> None:
        change = create_entity(None, expand_entity(body(level=1), TERMS), NOW)
        assert change.attributes == (AttributeChange(LEVEL, NO_DATASET, None, level(change)),)

    def test_an_entity_that_exists_is_not_created_again(self) -> None:
        with pytest.raises(AlreadyExists, match=r"Entity urn:ngsi-ld:River:1 already exists"):
            create_entity(stored(), expand_entity(body(), TERMS), NOW)


class TestReplaceAndDelete:
    def test_attributes_that_are_not_given_are_removed(self) -> None:
        change = replace_entity(stored(level=1, name="a"), expand_entity(body(level=2), TERMS), NOW)
        assert attributes(change) == {"level": {"type": "Property", "value": 2}}

    def test_removed_attributes_are_changes(self) -> None:
        change = replace_entity(stored(level=1), expand_entity(body(), TERMS), NOW)
        assert [(item.attribute, item.after) for item in change.attributes] == [(LEVEL, None)]

    def test_created_at_of_the_entity_stays(self) -> None:
        after = replace_entity(stored(), expand_entity(body(), TERMS), NOW).after
        assert after is not None and (after.created_at, after.modified_at) == (THEN, NOW)

    def test_deleting_removes_every_instance(self) -> None:
        change = delete_entity(stored(level=[{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}]))
        assert (change.operation, [item.dataset for item in change.attributes]) == ("deleted", [NO_DATASET, "urn:d:1"])

    def test_an_entity_that_does_not_exist_is_not_found(self) -> None:
        with pytest.raises(ResourceNotFound, match=r"Entity urn:a:1 does not exist"):
            existing(None, "urn:a:1")


class TestMerge:
    """5.5.12: the provided information is merged with the existing one up to an arbitrary depth."""

    def test_example_1_members_that_are_not_given_stay(self) -> None:
        patch = {"type": "Property", "value": 100, "observedAt": "2022-03-14T13:00:00.000Z"}
        assert merged({"temperature": TEMPERATURE}, {"temperature": patch}) == {
            "temperature": {"type": "Property", "value": 100, "unitCode": "CEL", "observedAt": "2022-03-14T13:00:00Z"}
        }

    def test_example_2_objects_in_values_are_merged(self) -> None:
        before = {"street": "Straße des 17. Juni", "city": "Berlin", "country": "Germany"}
        patch = {"type": "Property", "value": {"street": "Pariser Platz", "country": NULL}}
        assert merged({"address": {"value": before}}, {"address": patch}) == {
            "address": {"type": "Property", "value": {"street": "Pariser Platz", "city": "Berlin"}}
        }

    def test_attributes_that_are_not_mentioned_stay_untouched(self) -> None:
        before = stored(level=1, name="a")
        after = merge_entity(before, fragment(partial=True, level=2), NOW).after
        name = DEFAULT_VOCABULARY + "name"
        assert after is not None and after.attributes[name] is before.attributes[name]

    def test_a_new_attribute_is_added(self) -> None:
        assert merged({}, {"level": 2}) == {"level": {"type": "Property", "value": 2}}

    @pytest.mark.parametrize("null", [NULL, {"type": "Property", "value": NULL}, {"object": NULL}])
    def test_an_attribute_set_to_null_is_removed(self, null: Any) -> None:
        assert merged({"level": 1}, {"level": null}) == {}

    def test_removing_what_does_not_exist_changes_nothing(self) -> None:
        before = stored()
        assert merge_entity(before, fragment(partial=True, level=NULL), NOW) == EntityChange(before, before)

    def test_null_removes_members_and_sub_attributes(self) -> None:
        before = {"level": {**TEMPERATURE, "q": "ok"}}
        patch = {"level": {"type": "Property", "unitCode": NULL, "observedAt": NULL, "q": NULL}}
        assert merged(before, patch) == {"level": {"type": "Property", "value": 25}}

    def test_sub_attributes_are_merged(self) -> None:
        before = {"level": {"value": 1, "q": {"value": "ok", "unitCode": "C62"}, "r": 1}}
        patch = {"level": {"type": "Property", "q": {"type": "Property", "value": "bad"}}}
        assert merged(before, patch)["level"] == {
            "type": "Property",
            "value": 1,
            "q": {"type": "Property", "value": "bad", "unitCode": "C62"},
            "r": {"type": "Property", "value": 1},
        }

    def test_languages_are_merged(self) -> None:
        before = {"name": {"languageMap": {"ja": "a", "en": "b", "fr": "c"}}}
        assert merged(before, {"name": {"languageMap": {"en": "d", "fr": NULL}}})["name"]["languageMap"] == {
            "ja": "a",
            "en": "d",
        }

    def test_a_geometry_is_replaced_as_a_whole(self) -> None:
        line = {"type": "LineString", "coordinates": [[0, 0], [1, 1]], "bbox": [0, 0, 1, 1]}
        point = {"type": "Point", "coordinates": [1, 1]}
        assert merged({"location": line}, {"location": point})["location"]["value"] == point

    def test_only_the_instance_with_the_dataset_is_merged(self) -> None:
        before = {"level": [{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}]}
        assert merged(before, {"level": {"value": 3, "datasetId": "urn:d:1"}})["level"] == [
            {"type": "Property", "value": 1},
            {"type": "Property", "value": 3, "datasetId": "urn:d:1"},
        ]

    def test_another_kind_replaces_the_instance(self) -> None:
        before = {"level": {"value": 1, "unitCode": "MTR"}}
        assert merged(before, {"level": {"object": "urn:a:1"}}) == {
            "level": {"type": "Relationship", "object": "urn:a:1"}
        }

    def test_created_at_stays_and_modified_at_moves(self) -> None:
        instance = level(merge_entity(stored(level=1), fragment(partial=True, level=2), NOW))
        assert (instance["createdAt"], instance["modifiedAt"]) == (THEN_TEXT, NOW_TEXT)

    def test_a_common_time_updates_observed_at_where_there_was_one(self) -> None:
        before = stored(level={"value": 1, "observedAt": THEN_TEXT}, name="a")
        change = merge_entity(before, fragment(partial=True, level=2, name="b"), NOW, observed_at=NOW_TEXT)
        assert attributes(change) == {
            "level": {"type": "Property", "value": 2, "observedAt": NOW_TEXT},
            "name": {"type": "Property", "value": "b"},
        }

    def test_an_explicit_time_wins_over_the_common_one(self) -> None:
        before = stored(level={"value": 1, "observedAt": THEN_TEXT})
        patch = fragment(partial=True, level={"value": 2, "observedAt": "2026-11-21T07:30:00Z"})
        assert level(merge_entity(before, patch, NOW, observed_at=NOW_TEXT))["observedAt"] == "2026-11-21T07:30:00Z"

    def test_a_new_attribute_without_a_value_is_refused(self) -> None:
        with pytest.raises(BadRequestData, match=r"does not exist yet: it needs a type and a value"):
            merged({}, {"level": {"observedAt": NOW_TEXT}})

    def test_nulls_in_a_new_attribute_are_not_stored(self) -> None:
        patch = {"level": {"type": "Property", "value": {"a": NULL, "b": 1}, "unitCode": NULL, "q": NULL}}
        assert merged({}, patch) == {"level": {"type": "Property", "value": {"b": 1}}}

    def test_types_are_added(self) -> None:
        assert wire(merge_entity(stored(), fragment(partial=True, type="Canal"), NOW))["type"] == ["River", "Canal"]

    def test_scopes_are_replaced(self) -> None:
        change = merge_entity(stored(scope="/Japan"), fragment(partial=True, scope="/Shizuoka"), NOW)
        assert wire(change)["scope"] == "/Shizuoka"

    def test_scopes_can_be_removed(self) -> None:
        change = merge_entity(stored(scope="/Japan"), fragment(partial=True, scope=NULL), NOW)
        assert "scope" not in wire(change)


class TestAppend:
    """5.6.3: existing instances are replaced when overwriting is allowed, and left untouched otherwise."""

    def test_a_new_attribute_is_appended(self) -> None:
        assert append_attributes(stored(), fragment(level=1), NOW).updated == (LEVEL,)

    def test_an_existing_attribute_is_replaced_as_a_whole(self) -> None:
        change = append_attributes(stored(level={"value": 1, "unitCode": "MTR"}), fragment(level=2), NOW).change
        assert attributes(change) == {"level": {"type": "Property", "value": 2}}

    def test_a_replaced_instance_keeps_its_creation(self) -> None:
        assert level(append_attributes(stored(level=1), fragment(level=2), NOW).change)["createdAt"] == THEN_TEXT

    def test_without_overwriting_an_existing_attribute_stays(self) -> None:
        before = stored(level=1)
        outcome = append_attributes(before, fragment(level=2), NOW, overwrite=False)
        assert (outcome.change.after, [entry.attribute for entry in outcome.not_updated]) == (before, [LEVEL])

    def test_another_dataset_is_appended_even_without_overwriting(self) -> None:
        given_ = fragment(level={"value": 2, "datasetId": "urn:d:1"})
        assert append_attributes(stored(level=1), given_, NOW, overwrite=False).updated == (LEVEL,)

    @pytest.mark.parametrize(("overwrite", "scope"), [(True, "/Shizuoka"), (False, ["/Japan", "/Shizuoka"])])
    def test_scopes_are_replaced_or_joined(self, overwrite: bool, scope: Any) -> None:
        outcome = append_attributes(stored(scope="/Japan"), fragment(scope="/Shizuoka"), NOW, overwrite=overwrite)
        assert wire(outcome.change)["scope"] == scope


class TestUpdate:
    """5.6.2: for each Attribute in the fragment the existing one is replaced, or it is appended."""

    def test_example_2_of_5_5_8_the_whole_attribute_is_replaced(self) -> None:
        change = update_attributes(stored(temperature=TEMPERATURE), fragment(temperature={"value": 100}), NOW).change
        assert attributes(change) == {"temperature": {"type": "Property", "value": 100}}

    def test_example_3_of_5_5_8_null_removes_the_attribute(self) -> None:
        given_ = fragment(temperature={"type": "Property", "value": NULL})
        assert attributes(update_attributes(stored(temperature=TEMPERATURE), given_, NOW).change) == {}

    def test_a_new_attribute_is_appended(self) -> None:
        assert update_attributes(stored(), fragment(level=1), NOW).updated == (LEVEL,)

    def test_scopes_are_not_updated_when_the_entity_has_none(self) -> None:
        before = stored()
        outcome = update_attributes(before, fragment(scope="/Japan"), NOW)
        assert outcome.change.after is before
        assert [entry.attribute for entry in outcome.not_updated] == [SCOPE]


class TestPartialUpdate:
    """5.6.4 with 5.5.8: members of one attribute are overwritten."""

    @staticmethod
    def update(before: ExpandedEntity, given_: Any) -> EntityChange:
        return partial_update_attribute(before, LEVEL, expand_attribute("level", given_, TERMS, partial=True), NOW)

    def test_example_1_members_that_are_not_given_stay(self) -> None:
        change = self.update(stored(level=TEMPERATURE), {"type": "Property", "value": 100, "observedAt": NOW_TEXT})
        assert attributes(change)["level"] == {
            "type": "Property",
            "value": 100,
            "unitCode": "CEL",
            "observedAt": NOW_TEXT,
        }

    def test_a_value_is_replaced_and_not_merged(self) -> None:
        change = self.update(stored(level={"value": {"a": 1}}), {"value": {"b": 2}})
        assert level(change)["value"] == {"b": 2}

    def test_json_is_replaced_by_what_is_given_to_the_letter(self) -> None:
        change = self.update(stored(level={"json": {"a": 1}}), {"json": {"b": NULL}})
        assert level(change)["json"] == {"b": NULL}

    def test_a_member_alone_is_enough(self) -> None:
        assert level(self.update(stored(level=TEMPERATURE), {"unitCode": "FAH"}))["unitCode"] == "FAH"

    def test_null_removes_a_member(self) -> None:
        assert "unitCode" not in level(self.update(stored(level=TEMPERATURE), {"unitCode": NULL}))

    def test_null_removes_the_instance(self) -> None:
        assert attributes(self.update(stored(level=1), {"value": NULL})) == {}

    def test_the_type_cannot_be_changed(self) -> None:
        with pytest.raises(BadRequestData, match=r"is a Property, which cannot become a Relationship"):
            self.update(stored(level=1), {"object": "urn:a:1"})

    def test_an_attribute_that_does_not_exist_is_not_found(self) -> None:
        with pytest.raises(ResourceNotFound, match=r"Entity urn:ngsi-ld:River:1 has no attribute .*level"):
            self.update(stored(), {"value": 1})

    def test_an_instance_that_does_not_exist_is_not_found(self) -> None:
        with pytest.raises(ResourceNotFound, match=r"has no instance with datasetId urn:d:1"):
            self.update(stored(level=1), {"value": 1, "datasetId": "urn:d:1"})


class TestReplaceAttribute:
    """5.6.19: completely replace the existing Attribute instance with the new content."""

    def test_the_instance_is_replaced(self) -> None:
        change = replace_attribute(stored(level=TEMPERATURE), LEVEL, expand_attribute("level", 5, TERMS), NOW)
        assert attributes(change) == {"level": {"type": "Property", "value": 5}}

    def test_created_at_stays(self) -> None:
        change = replace_attribute(stored(level=1), LEVEL, expand_attribute("level", 5, TERMS), NOW)
        assert level(change)["createdAt"] == THEN_TEXT

    def test_an_attribute_that_does_not_exist_is_not_found(self) -> None:
        with pytest.raises(ResourceNotFound):
            replace_attribute(stored(), LEVEL, expand_attribute("level", 5, TERMS), NOW)


class TestDeleteAttribute:
    """5.6.5: the default instance, that of a datasetId, or all of them."""

    TWO = stored(level=[{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}])

    @pytest.mark.parametrize(
        ("options", "left"),
        [({}, ["urn:d:1"]), ({"dataset": "urn:d:1"}, [NO_DATASET]), ({"delete_all": True}, [])],
    )
    def test_only_the_asked_instances_are_removed(self, options: dict[str, Any], left: list[str]) -> None:
        after = delete_attribute(self.TWO, LEVEL, NOW, **options).after
        assert after is not None and list(after.attributes.get(LEVEL, {})) == left

    def test_the_removed_instance_is_the_change(self) -> None:
        change = delete_attribute(stored(level=1), LEVEL, NOW)
        assert [(item.before is not None, item.after) for item in change.attributes] == [(True, None)]

    def test_scope_can_be_deleted(self) -> None:
        assert "scope" not in wire(delete_attribute(stored(scope="/Japan"), SCOPE, NOW))

    @pytest.mark.parametrize(
        ("attribute", "options"),
        [
            (DEFAULT_VOCABULARY + "x", {}),
            (DEFAULT_VOCABULARY + "x", {"delete_all": True}),
            (LEVEL, {"dataset": "urn:d:9"}),
            (SCOPE, {}),
        ],
    )
    def test_what_does_not_exist_is_not_found(self, attribute: str, options: dict[str, Any]) -> None:
        with pytest.raises(ResourceNotFound):
            delete_attribute(self.TWO, attribute, NOW, **options)


JSON = st.recursive(
    st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=5,
)


class TestMergePatch:
    """RFC 7396 with the NGSI-LD Null."""

    @given(JSON, JSON)
    def test_merging_twice_is_merging_once(self, document: Any, patch: Any) -> None:
        once = merge_json(document, patch)
        assert merge_json(once, patch) == once

    @given(JSON)
    def test_an_empty_patch_changes_no_object(self, document: Any) -> None:
        assert merge_json({"a": document}, {}) == {"a": document}

    @given(JSON)
    def test_neither_document_nor_patch_is_changed(self, document: Any) -> None:
        before = {"a": {"b": 1}}
        merge_json(before, {"a": {"c": document, "b": NULL}})
        assert before == {"a": {"b": 1}}

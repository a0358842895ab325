# SPDX-License-Identifier: Apache-2.0
"""Simplified input of Merge Entity (clause 5.6.17.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from broker.contexts.jsonld import core_terms
from broker.entities import ExpandedEntity
from broker.errors import BadRequestData
from broker.expansion import expand_entity
from broker.operations import merge_entity
from broker.representations import represent
from broker.simplified import expand_simplified
from schemas.terms import NULL

TERMS = core_terms()
NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
POINT = {"type": "Point", "coordinates": [138.38, 34.97]}


def stored(**members: Any) -> ExpandedEntity:
    return expand_entity({"id": "urn:ngsi-ld:River:1", "type": "River", **members}, TERMS)


def merged(before: Any, value: Any, language: str | None = None) -> Any:
    """The attribute ``level`` after merging the simplified ``value`` into ``before`` (None: there was none)."""
    entity = stored() if before is None else stored(level=before)
    fragment = expand_simplified({"level": value}, TERMS, entity, language=language)
    after = merge_entity(entity, fragment, NOW).after
    assert after is not None
    return represent(after, TERMS).get("level")


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ({"value": 1, "unitCode": "MTR"}, 2, {"type": "Property", "value": 2, "unitCode": "MTR"}),
        ({"object": "urn:a:1"}, "urn:a:2", {"type": "Relationship", "object": "urn:a:2"}),
        ({"vocab": "a"}, "b", {"type": "VocabProperty", "vocab": "b"}),
        ({"vocab": "a"}, {"vocab": "b"}, {"type": "VocabProperty", "vocab": "b"}),
        ({"json": {"a": 1}}, {"json": {"b": 2}}, {"type": "JsonProperty", "json": {"a": 1, "b": 2}}),
        ({"valueList": [1]}, [2], {"type": "ListProperty", "valueList": [2]}),
        ({"languageMap": {"ja": "a"}}, {"languageMap": {"en": "b"}},
         {"type": "LanguageProperty", "languageMap": {"ja": "a", "en": "b"}}),
        (1, NULL, None),
    ],
)  # fmt: skip
def test_an_existing_attribute_keeps_its_type(before: Any, value: Any, after: Any) -> None:
    assert merged(before, value) == after


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, "Property"),
        ({"type": "PostalAddress"}, "Property"),
        (POINT, "GeoProperty"),
        ({"languageMap": {"ja": "a"}}, "LanguageProperty"),
        ({"json": {"a": 1}}, "JsonProperty"),
        ({"vocab": "a"}, "VocabProperty"),
    ],
)
def test_a_new_attribute_gets_the_type_of_its_value(value: Any, kind: str) -> None:
    assert merged(None, value)["type"] == kind


def test_a_text_replaces_one_language_of_a_language_property() -> None:
    assert merged({"languageMap": {"ja": "a", "en": "b"}}, "c", "en")["languageMap"] == {"ja": "a", "en": "c"}


def test_instances_come_in_a_dataset_object() -> None:
    assert merged([{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}], {"dataset": {"urn:d:1": 3}}) == [
        {"type": "Property", "value": 1},
        {"type": "Property", "value": 3, "datasetId": "urn:d:1"},
    ]


@pytest.mark.parametrize(
    ("before", "value", "message"),
    [
        ({"object": "urn:a:1"}, 5, "level: 5 is not a URI"),
        (1, None, "level: null is not a value in NGSI-LD"),
        (1, {"dataset": {"x": 1}}, 'level: "x" is not a URI'),
    ],
)
def test_a_value_that_does_not_fit_is_refused(before: Any, value: Any, message: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        merged(before, value)
    assert caught.value.detail == message

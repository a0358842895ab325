# SPDX-License-Identifier: Apache-2.0
"""Entities for consumers of earlier versions: the tables of clause 4.3.6.8."""

from __future__ import annotations

from typing import Any

import pytest

from broker.conformance import NEWEST, conform_entity

ENTITY: dict[str, Any] = {
    "id": "urn:ngsi-ld:River:abe",
    "type": ["River", "Place"],
    "scope": "/shizuoka",
    "expiresAt": "2027-01-01T00:00:00Z",
    "waterLevel": {
        "type": "Property",
        "value": {"datasetId": "a value, no member"},
        "observedAt": "2026-11-21T00:00:00Z",
        "unitCode": "MTR",
        "valueType": "Number",
        "quality": {"type": "VocabProperty", "vocab": "good"},
    },
    "name": {"type": "LanguageProperty", "languageMap": {"ja": "安倍川"}},
    "raw": {"type": "JsonProperty", "json": {"type": "VocabProperty", "vocab": 1}},
    "levels": {"type": "ListProperty", "valueList": [1, 2]},
    "gauges": {"type": "ListRelationship", "objectList": [{"object": "urn:a"}, {"object": "urn:b"}], "objectType": "G"},
    "basin": [
        {"type": "Relationship", "object": "urn:c", "datasetId": "urn:d"},
        {"type": "Relationship", "object": "urn:e"},
    ],
}


def test_the_newest_version_changes_nothing() -> None:
    assert conform_entity(ENTITY, NEWEST) == ENTITY


def test_before_1_9_nothing_expires() -> None:
    conformed = conform_entity(ENTITY, (1, 8))
    assert "expiresAt" not in conformed
    assert conformed["waterLevel"] == {k: v for k, v in ENTITY["waterLevel"].items() if k != "valueType"}
    assert conformed["raw"] == ENTITY["raw"]


def test_before_1_8_there_are_three_kinds_fewer() -> None:
    conformed = conform_entity(ENTITY, (1, 5))
    assert conformed["waterLevel"]["quality"] == {"type": "Property", "value": "good"}
    assert conformed["raw"] == {"type": "Property", "value": {"type": "VocabProperty", "vocab": 1}}
    assert conformed["levels"] == {"type": "Property", "value": [1, 2]}
    assert conformed["gauges"] == {"type": "Relationship", "object": ["urn:a", "urn:b"]}
    assert conformed["name"] == ENTITY["name"]


def test_before_1_4_there_are_no_languages_and_scopes() -> None:
    conformed = conform_entity(ENTITY, (1, 3))
    assert conformed["name"] == {"type": "Property", "value": {"ja": "安倍川"}}
    assert "scope" not in conformed
    assert conformed["type"] == ["River", "Place"]


def test_before_1_3_everything_is_single() -> None:
    conformed = conform_entity(ENTITY, (1, 0))
    assert conformed["type"] == "River"
    assert conformed["basin"] == {"type": "Relationship", "object": "urn:e"}
    assert set(conformed["waterLevel"]) == {"type", "value", "quality"}
    assert conformed["waterLevel"]["value"] == ENTITY["waterLevel"]["value"]


@pytest.mark.parametrize(
    ("concise", "conformed"),
    [
        ({"vocab": "good"}, {"value": "good"}),
        ({"languageMap": {"ja": "川"}}, {"languageMap": {"ja": "川"}}),
        ({"type": "Point", "coordinates": [1, 2]}, {"type": "Point", "coordinates": [1, 2]}),
        ("text", "text"),
        ([1, 2], [1, 2]),
    ],
)
def test_concise_attributes_show_their_kind_by_their_member(concise: Any, conformed: Any) -> None:
    assert conform_entity({"id": "urn:a", "type": "T", "a": concise}, (1, 5))["a"] == conformed


def test_linked_entities_conform_too() -> None:
    linked = {"type": "Relationship", "object": "urn:b", "entity": {"id": "urn:b", "type": "T", "scope": "/x"}}
    assert "scope" not in conform_entity({"id": "urn:a", "type": "T", "a": linked}, (1, 3))["a"]["entity"]

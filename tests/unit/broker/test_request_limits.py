# SPDX-License-Identifier: Apache-2.0
"""What is refused although it looks harmless: ids nobody can read back, Nulls within values."""

from __future__ import annotations

from typing import Any

import pytest

from broker.contexts.jsonld import core_terms, is_iri
from broker.errors import BadRequestData
from broker.expansion import expand_attribute, expand_fragment
from schemas.terms import NULL

UNSEEN = [
    0x00AD,
    0x115F,
    0x200B,
    0x202E,
    0x2028,
    0x2800,
    0x3164,
    0xFDD0,
    0xFE0F,
    0xFEFF,
    0xFFA0,
    0xFFFE,
    0xE0100,
    0x1FFFE,
]


@pytest.mark.parametrize("code", UNSEEN)
def test_characters_that_cannot_be_seen_are_in_no_iri(code: int) -> None:
    assert not is_iri(f"urn:ngsi-ld:River:a{chr(code)}b")


@pytest.mark.parametrize("name", ["安倍川", "París", "Strömung", "수위", "नदी", "😀"])
def test_letters_of_the_world_are(name: str) -> None:
    assert is_iri(f"urn:ngsi-ld:River:{name}")


@pytest.mark.parametrize(
    "body",
    [
        {"value": {"country": NULL}},
        {"value": [1, NULL]},
        {"value": 1, "quality": {"type": "Property", "value": {"by": NULL}}},
    ],
)
def test_a_partial_update_takes_no_value_apart(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequestData, match="not allowed within a value"):
        expand_attribute("address", body, core_terms(), partial=True)


def test_a_merge_does() -> None:
    fragment = expand_fragment({"address": {"value": {"country": NULL}}}, core_terms(), partial=True)
    assert fragment.attributes


def test_a_partial_update_still_removes_whole_values_and_members() -> None:
    instances = expand_attribute("level", {"value": 1, "unitCode": NULL, "quality": NULL}, core_terms(), partial=True)
    assert instances["@none"]["unitCode"] == NULL
    assert expand_attribute("level", {"value": NULL}, core_terms(), partial=True)["@none"]["value"] == NULL

# SPDX-License-Identifier: Apache-2.0
"""One entity of several versions: the rules of clauses 4.5.5.2, 4.5.5.3 and 5.7.1.4."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.entities import ExpandedEntity
from broker.registrations.merging import merged
from broker.times import to_text

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EARLY, LATE = (to_text(NOW - timedelta(hours=hours)) for hours in (2, 1))
GONE, SOON, LATER = (NOW + timedelta(hours=hours) for hours in (-1, 1, 2))


def one(value: Any, **members: Any) -> dict[str, Any]:
    return {"@none": {"type": "Property", "value": value, **members}}


def entity(expires_at: datetime | None = None, **attributes: dict[str, Any]) -> ExpandedEntity:
    return ExpandedEntity("urn:e:1", ("urn:T",), attributes, expires_at=expires_at)


def values(result: ExpandedEntity | None) -> dict[str, Any]:
    assert result is not None
    return {iri: group["@none"]["value"] for iri, group in result.attributes.items()}


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        ({"observedAt": EARLY}, {"observedAt": LATE}, 2),
        ({"observedAt": LATE}, {"observedAt": EARLY}, 1),
        ({"observedAt": EARLY, "modifiedAt": LATE}, {"observedAt": LATE, "modifiedAt": EARLY}, 2),
        ({"modifiedAt": EARLY}, {"modifiedAt": LATE}, 2),
        ({"modifiedAt": LATE}, {"observedAt": EARLY}, 2),
        ({"observedAt": EARLY}, {}, 1),
        ({"observedAt": LATE, "modifiedAt": EARLY}, {"observedAt": LATE, "modifiedAt": LATE}, 2),
        ({}, {}, 1),
        ({"modifiedAt": EARLY}, {}, 1),
    ],
)
def test_of_two_values_the_newer_is_taken(first: dict[str, str], second: dict[str, str], taken: int) -> None:
    assert values(merged([entity(a=one(1, **first)), entity(a=one(2, **second))], [], NOW)) == {"a": taken}


def test_attributes_of_all_versions_are_in_the_entity() -> None:
    assert values(merged([entity(a=one(1)), entity(b=one(2))], [], NOW)) == {"a": 1, "b": 2}


def test_instances_of_other_datasets_are_kept() -> None:
    other = {"urn:d:1": {"type": "Property", "value": 2}}
    result = merged([entity(a=one(1)), entity(a=other)], [], NOW)
    assert result is not None
    assert set(result.attributes["a"]) == {"@none", "urn:d:1"}


def test_a_supplement_adds_attributes_and_overrides_none() -> None:
    result = merged([entity(a=one(1))], [entity(a=one(2, observedAt=LATE), b=one(3))], NOW)
    assert values(result) == {"a": 1, "b": 3}


def test_an_entity_that_only_a_supplement_has_is_there() -> None:
    assert values(merged([], [entity(a=one(1))], NOW)) == {"a": 1}


def test_nothing_is_made_of_nothing() -> None:
    assert merged([], [], NOW) is None


def test_what_has_expired_is_not_there() -> None:
    assert merged([entity(GONE, a=one(1))], [], NOW) is None
    expired = one(2, observedAt=LATE, expiresAt=to_text(GONE))
    assert values(merged([entity(a=one(1)), entity(a=expired)], [], NOW)) == {"a": 1}


def test_the_end_of_one_version_is_that_of_its_attributes() -> None:
    result = merged([entity(a=one(1)), entity(SOON, b=one(2))], [], NOW)
    assert result is not None
    assert result.expires_at is None
    assert result.attributes["b"]["@none"]["expiresAt"] == to_text(SOON)
    assert "expiresAt" not in result.attributes["a"]["@none"]


def test_the_entity_ends_with_the_last_of_its_versions() -> None:
    result = merged([entity(SOON, a=one(1)), entity(LATER, b=one(2))], [], NOW)
    assert result is not None
    assert result.expires_at == LATER

# SPDX-License-Identifier: Apache-2.0
"""Transient entities and attributes (clause 4.22)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from broker.contexts.jsonld import core_terms
from broker.entities import ExpandedEntity
from broker.expansion import expand_entity
from broker.expiry import earliest_expiry, expire_attributes, is_expired, without_expired
from broker.times import to_text

NOW = datetime(2026, 11, 21, 7, 47, 43, tzinfo=UTC)
PAST, FUTURE = (to_text(NOW + timedelta(seconds=seconds)) for seconds in (-1, 1))
LEVEL = "https://uri.etsi.org/ngsi-ld/default-context/level"


def river(**members: Any) -> ExpandedEntity:
    return expand_entity({"id": "urn:ngsi-ld:River:abe", "type": "River", **members}, core_terms())


def level(value: Any = 1, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **members}


def test_an_entity_expires_at_its_time_and_not_before() -> None:
    assert is_expired(river(expiresAt=to_text(NOW)), NOW)
    assert not is_expired(river(expiresAt=FUTURE), NOW)
    assert not is_expired(river(), NOW)


def test_the_earliest_expiry_counts_datasets_and_subattributes() -> None:
    radar = level(datasetId="urn:x:radar", quality=level(expiresAt=PAST))
    assert earliest_expiry(river(level=[level(expiresAt=FUTURE), radar]).attributes) == NOW - timedelta(seconds=1)
    assert earliest_expiry(river(level=level()).attributes) is None


def test_a_fraction_of_a_second_counts() -> None:
    late = river(level=level(expiresAt="2026-11-21T07:47:43.5Z"))
    assert without_expired(late, NOW) is late
    assert not without_expired(late, NOW + timedelta(seconds=0.5)).attributes


def test_only_the_expired_instance_goes() -> None:
    entity = river(level=[level(1), level(2, datasetId="urn:x:radar", expiresAt=PAST)], name=level("安倍川"))
    change = expire_attributes(entity, NOW)
    assert change.after is not None
    assert change.after.attributes[LEVEL].keys() == {"@none"}
    assert change.after.modified_at == NOW
    assert [(item.dataset, item.after) for item in change.attributes] == [("urn:x:radar", None)]


def test_an_expired_subattribute_leaves_its_attribute() -> None:
    entity = river(level=level(1, quality=level(2, expiresAt=PAST)))
    change = expire_attributes(entity, NOW)
    assert change.after is not None
    assert change.after.attributes[LEVEL]["@none"] == {"type": "Property", "value": 1}
    assert len(change.attributes) == 1


def test_nothing_happens_while_nothing_has_expired() -> None:
    entity = river(level=level(expiresAt=FUTURE))
    assert expire_attributes(entity, NOW).after is entity

# SPDX-License-Identifier: Apache-2.0
"""Reading device documents: precise errors, sensible defaults."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from broker.devices.documents import device_document, parse_device
from broker.devices.model import NAME, device_entity
from broker.errors import BadRequestData
from schemas.terms import LOCATION, NO_DATASET

DOCUMENT: dict[str, Any] = {
    "id": "gauge-1",
    "name": "Kano river, Mishima",
    "entityId": "urn:ngsi-ld:WaterObserved:gauge-1",
    "entityType": "WaterObserved",
    "attributes": [{"field": "level", "attribute": "waterLevel", "unitCode": "MTR", "minimum": -1, "maximum": 9}],
    "expectedInterval": 600,
    "location": [138.91, 35.11],
}


def parse(tenant: str = "default", **changes: Any) -> Any:
    document = {**DOCUMENT, **changes}
    return parse_device(document, tenant=tenant, tenant_id=1, expand=lambda name: "urn:x:" + name)


def test_names_are_expanded() -> None:
    device = parse()
    assert device.entity_types == ("urn:x:WaterObserved",)
    assert device.attributes[0].attribute == "urn:x:waterLevel"


def test_key_is_the_id_in_the_default_tenant() -> None:
    assert parse().key == "gauge-1"


def test_key_names_the_tenant_elsewhere() -> None:
    assert parse(tenant="mishima").key == "mishima.gauge-1"


def test_document_round_trip() -> None:
    device = parse()
    document = device_document(device)
    again = parse_device(document, tenant="default", tenant_id=1, expand=lambda name: name)
    assert device_document(again) == document


def test_entity_before_the_first_reading_has_name_and_place_but_no_value() -> None:
    entity = device_entity(parse(), datetime(2026, 11, 21, tzinfo=UTC))
    assert set(entity.attributes) == {NAME, LOCATION}
    assert entity.attributes[LOCATION][NO_DATASET]["value"] == {"type": "Point", "coordinates": [138.91, 35.11]}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": "a/b"}, "device.id is 'a/b'; it may hold letters"),
        ({"key": "+"}, "device.key is '+'"),
        ({"entityId": "gauge"}, "device.entityId is 'gauge'; it has to be a URI"),
        ({"entityType": []}, "device.entityType is missing"),
        ({"attributes": []}, "device.attributes is empty"),
        ({"attributes": [{"attribute": "a"}]}, "device.attributes[0].field is None; it has to be a text"),
        (
            {"attributes": [{"field": "f", "attribute": "a", "minimum": 3, "maximum": 1}]},
            "device.attributes[0]: minimum 3 is above maximum 1",
        ),
        (
            {"attributes": [{"field": "f", "attribute": "a", "factor": "x"}]},
            "device.attributes[0].factor is 'x'; it has to be a number",
        ),
        ({"expectedInterval": 0}, "device.expectedInterval is 0; it has to be above 0"),
        ({"location": [35.11, 138.91, 0]}, "device.location is [35.11, 138.91, 0]; it has to be [longitude, latitude]"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse(**changes)
    assert says in caught.value.detail


def test_format_and_conversions_survive_the_round_trip() -> None:
    mapping = {
        "field": "d",
        "attribute": "waterLevel",
        "unitCode": "MTR",
        "unit": "MMT",
        "measures": "distanceDown",
        "reference": 4.2,
        "sentinels": [65535, "nan"],
        "words": {"dry": 0.0},
    }
    given = {"name": "json", "timeZone": "Asia/Tokyo", "records": "data", "select": {"no": 7}}
    document = device_document(parse(attributes=[mapping], format=given))
    assert document["format"] == given
    assert document["attributes"] == [{**mapping, "attribute": "urn:x:waterLevel"}]


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"unit": "CEL", "unitCode": "MTR"}, "CEL cannot be turned into MTR; use factor and offset"),
        ({"unit": "MMT"}, "unit has no unitCode to be turned into"),
        ({"measures": "height"}, "measures is 'height'; it has to be value, distanceDown, elevation"),
        ({"measures": "distanceDown"}, "reference is missing; distanceDown is measured from it"),
        ({"sentinels": -9999}, "sentinels is -9999; it has to be an array of numbers and texts"),
        ({"words": {"dry": None}}, "words is {'dry': None}; it has to be an object of plain values"),
    ],
)
def test_conversions_that_cannot_be_are_refused(mapping: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse(attributes=[{"field": "d", "attribute": "waterLevel", **mapping}])
    assert says in str(caught.value)


def test_interval_is_short_for_that_of_the_profile() -> None:
    document = device_document(parse(expectedInterval=600))
    assert (document["expectedInterval"], "profile" in document) == (600, False)


def test_profile_survives_the_round_trip() -> None:
    given = {"expectedInterval": {"normal": 86400.0, "active": 600.0, "startLevel": 2.5, "field": "level"}}
    document = device_document(parse(expectedInterval=None, profile=given))
    assert (document["profile"], document["expectedInterval"]) == (given, 86400)
    again = parse_device(document, tenant="default", tenant_id=1, expand=lambda name: name)
    assert device_document(again) == document


def test_interval_changes_the_normal_mode_of_the_profile_only() -> None:
    given = {"expectedInterval": {"normal": 86400, "active": 600, "startLevel": 2.5}}
    interval = parse(expectedInterval=3600, profile=given).profile.expected_interval
    assert (interval.normal, interval.active) == (3600, 600)


def test_interval_by_a_field_that_is_not_mapped_is_refused() -> None:
    given = {"expectedInterval": {"normal": 86400, "active": 600, "startLevel": 2.5, "field": "rain"}}
    with pytest.raises(BadRequestData, match=r"field is 'rain'; the device has: level"):
        parse(profile=given)


MOVED = {
    "field": "d",
    "attribute": "waterLevel",
    "measures": "distanceDown",
    "reference": 5.0,
    "earlierReferences": [
        {"until": "2026-04-01T00:00:00Z", "reference": 4.2},
        {"until": "2026-09-01T00:00:00Z", "reference": 4.5},
    ],
}


@pytest.mark.parametrize(
    ("moment", "reference"),
    [
        (datetime(2025, 1, 1, tzinfo=UTC), 4.2),
        (datetime(2026, 4, 1, tzinfo=UTC), 4.5),
        (datetime(2026, 8, 31, tzinfo=UTC), 4.5),
        (datetime(2026, 9, 1, tzinfo=UTC), 5.0),
    ],
)
def test_reference_is_the_one_of_the_time_of_measurement(moment: datetime, reference: float) -> None:
    mapping = parse(attributes=[MOVED]).attributes[0].at(moment)
    assert (mapping.reference, mapping.shift, mapping.attribute) == (reference, reference, "urn:x:waterLevel")


def test_earlier_references_survive_the_round_trip() -> None:
    assert device_document(parse(attributes=[MOVED]))["attributes"] == [{**MOVED, "attribute": "urn:x:waterLevel"}]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"measures": "value"}, "earlierReferences are for distances and elevations"),
        ({"earlierReferences": [{"until": "2026-04-01T00:00:00Z"}]}, "earlierReferences[0].reference is missing"),
        ({"earlierReferences": [{"until": "x", "reference": 1}]}, "earlierReferences[0].until: 'x' is not an ISO"),
        ({"earlierReferences": MOVED["earlierReferences"][::-1]}, "are not in the order of their times"),
    ],
)
def test_earlier_references_that_cannot_be_are_refused(members: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse(attributes=[{**MOVED, **members}])
    assert says in caught.value.detail

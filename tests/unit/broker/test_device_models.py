# SPDX-License-Identifier: Apache-2.0
"""Device models: what a registration takes over and what it says itself."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.formats.table import check_profile
from broker.devices.documents import KNOWN_ELSEWHERE
from broker.devices.models import DeviceModel, parse_model, resolve
from broker.devices.records import MEMBERS, read_registration, record_document, resolved_again
from broker.devices.records import DeviceRecord as Record
from broker.errors import BadRequestData
from broker.intake.formats import parse_profile
from schemas.catalogue import built_in_models

DISTANCE = {"field": "distance", "attribute": "urn:x:waterLevel", "unit": "MMT", "unitCode": "MTR"}
MODEL: dict[str, Any] = {
    "entityType": ["urn:x:WaterObserved"],
    "attributes": [{**DISTANCE, "measures": "distanceDown", "maximum": 9}],
    "format": {"name": "chirpstack", "codec": "milesight/EM500-UDL"},
    "profile": {"expectedInterval": {"normal": 86400}},
}
OWN: dict[str, Any] = {"id": "g", "entityId": "urn:x:1", "model": "udl", "reference": 4.2}


def expand(name: str) -> str:
    return name if ":" in name else "urn:x:" + name


def registered(**members: Any) -> Any:
    document = {**OWN, **members}
    return read_registration(
        document, model=DeviceModel("udl", "UDL", MODEL), tenant="default", tenant_id=1, expand=expand
    )


def test_registration_takes_over_what_it_does_not_say() -> None:
    device = registered().device
    (mapping,) = device.attributes
    assert (mapping.measures, mapping.reference, mapping.maximum) == ("distanceDown", 4.2, 9)
    assert (device.format.codec, device.expected_interval_s) == ("milesight/EM500-UDL", 86400)
    assert device.entity_types == ("urn:x:WaterObserved",)


def test_members_of_a_mapping_take_the_place_of_the_models() -> None:
    (mapping,) = registered(attributes=[{"field": "distance", "reference": 5, "maximum": None}]).device.attributes
    assert (mapping.reference, mapping.maximum, mapping.unit) == (5, None, "MMT")


def test_mapping_of_a_new_field_comes_in_addition() -> None:
    device = registered(attributes=[{"field": "temperature", "attribute": "temperature"}]).device
    assert [mapping.attribute for mapping in device.attributes] == ["urn:x:waterLevel", "urn:x:temperature"]


def test_mapping_is_taken_away_by_null() -> None:
    own = [{"field": "distance", "attribute": None}, {"field": "level", "attribute": "waterLevel"}]
    assert [mapping.field for mapping in registered(attributes=own).device.attributes] == ["level"]


def test_format_is_merged_unless_it_is_another() -> None:
    assert registered(format={"address": "24e1"}).device.format.codec == "milesight/EM500-UDL"
    assert registered(format="ultralight").device.format.document() == {"name": "ultralight"}


def test_profile_is_merged_and_the_short_members_win() -> None:
    profile = {"expectedInterval": {"active": 600}}
    interval = registered(profile=profile, startLevel=2.5, expectedInterval=3600).device.profile.expected_interval
    assert (interval.normal, interval.active, interval.start_level) == (3600, 600, 2.5)


def test_only_what_it_says_itself_is_kept_of_a_registration() -> None:
    found = registered(format={"address": "24e1"}, owner="河川課")
    assert found.document == {"reference": 4.2, "format": {"address": "24e1"}, "owner": "河川課"}


def test_change_of_the_model_reaches_the_device() -> None:
    found = registered()
    record = Record(found.device, found.document, found.model_id)
    changed = DeviceModel("udl", "UDL", {**MODEL, "profile": {"expectedInterval": {"normal": 600}}})
    device = resolved_again(record, changed, "default")
    assert (device.expected_interval_s, device.attributes[0].reference) == (600, 4.2)


def test_what_is_shown_can_be_given_back() -> None:
    found = registered(format={"address": "24e1"}, serialNumber="A-1", location=[138.4, 34.9], notes="橋の下")
    document = record_document(Record(found.device, found.document, found.model_id))
    assert (document["model"], document["format"]) == ("udl", {"address": "24e1"})
    assert document["effective"]["attributes"][0]["reference"] == 4.2
    again = registered(**document)
    assert again.document == found.document
    assert record_document(Record(again.device, again.document, again.model_id)) == document


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"reference": None}, "device.attributes[0].reference is missing; distanceDown is measured from it"),
        ({"devEui": "24E1"}, "device.devEui is '24E1'; it has to be 16 hexadecimal digits"),
        ({"owner": ""}, "device.owner is ''; it has to be a text of 1 to 200 characters"),
        ({"installedAt": "yesterday"}, "device.installedAt: 'yesterday' is not an ISO 8601"),
        ({"colour": "red"}, "device.colour is not known"),
        ({"attributes": 5}, "device.attributes is 5; it has to be an array"),
        ({"format": 5}, "device.format is 5; it has to be the name of a format or an object"),
    ],
)
def test_what_is_wrong_with_a_registration_is_said(members: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        registered(**members)
    assert says in caught.value.detail


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ([], "model is []; it has to be an object"),
        ({"id": "a/b"}, "model.id is 'a/b'"),
        ({"id": "m", "entityId": "urn:x:1"}, "model.entityId is not known"),
        ({"id": "m", "attributes": [{"field": "f"}]}, "model.attributes[0].attribute is None"),
        ({"id": "m", "profile": {"expectedInterval": {"normal": -1}}}, "model.profile.expectedInterval.normal is -1"),
        ({"id": "m", "manufacturer": 5}, "model.manufacturer is 5"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(model: Any, says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse_model(model, expand=expand)
    assert says in caught.value.detail


@pytest.mark.parametrize("document", built_in_models(), ids=lambda document: document["id"])
def test_built_in_model_makes_a_device_with_little(document: dict[str, Any]) -> None:
    model = parse_model(document, expand=expand, built_in=True)
    check_profile(parse_profile(model.document.get("format")))
    own: dict[str, Any] = {"id": "g", "entityId": "urn:x:1", "reference": 4.2}
    if "active" in document["profile"]["expectedInterval"]:
        own["startLevel"] = 2.5
    read_registration(own, model=model, tenant="default", tenant_id=1, expand=expand)


def test_without_a_model_a_registration_is_whole_by_itself() -> None:
    assert resolve(None, {"id": "g", "location": None}) == {"id": "g"}


def test_error_about_an_unknown_member_names_all_that_there_are() -> None:
    assert KNOWN_ELSEWHERE == MEMBERS

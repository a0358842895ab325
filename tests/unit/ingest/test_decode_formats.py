# SPDX-License-Identifier: Apache-2.0
"""Messages in formats of others: routed by topic, mapped with units and references, missing values left out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from adapters.formats import minamo_json
from adapters.formats import table as formats
from broker.devices.documents import parse_device
from broker.devices.model import Device
from broker.intake.readings import Observation, Quarantined, Reason
from ingest.decode import Decoder, Limits, Message, why_missing

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
LEVEL: dict[str, Any] = {"field": "level", "attribute": "waterLevel", "unitCode": "MTR"}


def device(*attributes: dict[str, Any], **members: Any) -> Device:
    document = {
        "id": "gauge",
        "entityId": "urn:ngsi-ld:W:1",
        "entityType": "W",
        "attributes": list(attributes or [LEVEL]),
    }
    return parse_device({**document, **members}, tenant="default", tenant_id=1, expand=lambda name: "urn:x:" + name)


def decode(
    payload: Any, registered: Device, topic: str = "minamo/v1/gauge/readings"
) -> tuple[list[Observation], Quarantined | None]:
    body = payload.encode() if isinstance(payload, str) else orjson.dumps(payload)
    known = dict.fromkeys(registered.addresses, registered)
    return Decoder(minamo_json.decode, Limits(), formats.decode).decode(Message(topic, body, NOW), known.get)


def values(observations: list[Observation]) -> list[Any]:
    return [value for observation in observations for _, value in observation.values]


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("/ul/key/gauge/attrs", "level|1.5"),
        ("/key/gauge/attrs", "level|1.5"),
        ("/key/gauge/attrs", {"level": 1.5}),
        ("json/key/gauge/attrs", {"level": 1.5}),
        ("/key/gauge/attrs/level", "1.5"),
        ("v3/app@ttn/devices/gauge/up", {"uplink_message": {"decoded_payload": {"level": 1.5}}}),
        ("application/7/device/gauge/event/up", {"object": {"level": 1.5}}),
    ],
)
def test_topic_says_the_format_where_the_profile_does_not(topic: str, payload: Any) -> None:
    found, fault = decode(payload, device(), topic)
    assert (values(found)[0], fault) == (1.5, None)


def test_device_with_an_address_is_not_found_without_it() -> None:
    registered = device(format={"name": "ultralight", "address": "key/weather7"})
    assert values(decode("level|1", registered, "/key/weather7/attrs")[0]) == [1.0]
    _, fault = decode("level|1", registered, "/other/gauge/attrs")
    assert fault is not None
    assert (fault.reason, fault.device_key) == (Reason.UNKNOWN_DEVICE, "gauge")


@pytest.mark.parametrize("topic", ["/key/gauge/cmdexe", "/ul/key/gauge/configuration/commands"])
def test_what_a_fiware_device_says_of_commands_is_passed_over(topic: str) -> None:
    assert decode("gauge@ping|ok", device(), topic) == ([], None)


def test_command_of_an_unknown_device_is_kept() -> None:
    _, fault = decode("gauge@ping|ok", device(format={"address": "key/other"}), "/strange/gauge/cmdexe")
    assert fault is not None
    assert (fault.reason, fault.device_key) == (Reason.UNKNOWN_DEVICE, "gauge")


@pytest.mark.parametrize(
    ("mapping", "sent", "stored"),
    [
        ({"unit": "CMT"}, -173, -1.73),
        ({"unit": "MMT", "measures": "distanceDown", "reference": 4.2}, 1200, 3.0),
        ({"measures": "elevation", "reference": 12.5}, 14.0, 1.5),
        ({"factor": 0.001, "offset": 1, "measures": "distanceDown", "reference": 5}, 1000, 3.0),
        ({"words": {"通行止": True}, "unitCode": None}, "通行止", True),
        ({"minimum": 0}, "1.5", 1.5),
    ],
)
def test_what_is_sent_becomes_what_is_stored(mapping: dict[str, Any], sent: Any, stored: Any) -> None:
    found, fault = decode({"level": sent}, device({**LEVEL, **mapping}, format="json"))
    assert (values(found), fault) == ([pytest.approx(stored)], None)


@pytest.mark.parametrize("sent", [-9999, -9999.0, "-9999", "NaN", " nan ", 0, 0.0])
def test_sentinels_are_missing_values_and_no_fault(sent: Any) -> None:
    registered = device(
        {**LEVEL, "minimum": -1, "sentinels": [-9999, 0.0]}, format={"name": "json", "sentinels": ["nan"]}
    )
    found, fault = decode({"level": sent}, registered)
    assert [(observation.values, [why for _, why in observation.missing]) for observation in found] == [
        ((), ["sentinel"])
    ]
    assert fault is None


def test_missing_value_has_its_reason() -> None:
    mapping = device({**LEVEL, "sentinels": [255]}).attributes[0]
    assert why_missing(mapping, 255) == "255 is declared to mean that there is no value"
    assert why_missing(mapping, 254) is None
    assert why_missing(mapping, False, (0.0,)) is None


def test_unit_of_the_message_is_turned_into_the_stored_one() -> None:
    found, _ = decode([{"n": "level", "u": "mm", "v": 1500}], device(format="senml"))
    assert values(found) == [pytest.approx(1.5)]


def test_unit_of_the_message_that_does_not_fit_is_a_fault() -> None:
    found, fault = decode([{"n": "level", "u": "Cel", "v": 15}], device(format="senml"))
    assert found == []
    assert fault is not None
    assert (fault.reason, fault.detail) == (Reason.WRONG_UNIT, "level is in CEL, which cannot be turned into MTR")


def test_state_of_the_device_is_of_an_entity_of_its_own() -> None:
    uplink = {"cmd": "rx", "data": "0bb8", "rssi": -98, "snr": 4.5, "port": 2}
    found, fault = decode(uplink, device(format={"name": "loriot", "fields": {"level": "u16be(0) / 1000"}}))
    assert fault is None
    level, state = found
    assert (level.device.entity_id, values([level])) == ("urn:ngsi-ld:W:1", [3.0])
    assert state.device.entity_id == "urn:ngsi-ld:Device:gauge"
    assert {mapping.field: value for mapping, value in state.values} == {"rssi": -98.0, "snr": 4.5, "framePort": 2.0}


def test_uplink_with_state_alone_is_no_fault() -> None:
    registered = device(format={"name": "loriot", "codec": "decentlab/DL-MBX"})
    found, fault = decode({"cmd": "rx", "data": "02012f00020bb1", "port": 1}, registered)
    assert fault is None
    assert [observation.device.entity_types for observation in found] == [
        ("https://smartdatamodels.org/dataModel.Device/Device",)
    ]


def test_quantity_without_a_mapping_beside_state_is_still_a_fault() -> None:
    registered = device(format={"name": "loriot", "codec": "decentlab/DL-MBX"})
    _, fault = decode({"cmd": "rx", "data": "02012f000304d200010bb1", "port": 1}, registered)
    assert fault is not None
    assert fault.reason is Reason.NO_MAPPED_QUANTITY

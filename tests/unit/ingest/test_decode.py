# SPDX-License-Identifier: Apache-2.0
"""From topic and bytes to observations, or to quarantine with a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from adapters.formats import minamo_json
from broker.devices.model import AttributeMapping, Device
from broker.intake.formats import FormatProfile
from broker.intake.readings import Observation, Quarantined, Reason
from broker.times import to_text
from ingest.decode import Decoder, Limits, Message
from ingest.topics import route_of

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
LEVEL = AttributeMapping("level", "urn:level", "MTR", minimum=-1, maximum=10)
DISTANCE = AttributeMapping("distance", "urn:level", "MTR", factor=-0.001, offset=5.0)
STATE = AttributeMapping("state", "urn:state")
DEVICE = Device(1, "gauge", "gauge", "gauge", "urn:ngsi-ld:W:1", ("urn:W",), (LEVEL, DISTANCE, STATE))
TOPIC = "minamo/v1/gauge/readings"


def decode(document: Any, topic: str = TOPIC, **limits: Any) -> tuple[list[Observation], Quarantined | None]:
    payload = document if isinstance(document, bytes) else orjson.dumps(document)
    decoder = Decoder(minamo_json.decode, Limits(**limits))
    return decoder.decode(Message(topic, payload, NOW), {"gauge": DEVICE}.get)


def reading(at: datetime = NOW, **values: Any) -> dict[str, Any]:
    return {"time": to_text(at), **values}


def test_quantities_of_one_message_are_one_observation() -> None:
    found, fault = decode(reading(level=1.5, state="wet"))
    assert found == [Observation(DEVICE, NOW, ((LEVEL, 1.5), (STATE, "wet")), (), NOW)]
    assert fault is None


def test_distance_downwards_becomes_a_level_by_factor_and_offset() -> None:
    found, _ = decode(reading(distance=3200))
    assert found[0].values == ((DISTANCE, pytest.approx(1.8)),)


def test_extra_quantities_are_ignored_beside_mapped_ones() -> None:
    found, fault = decode(reading(level=1.0, battery=3.6))
    assert [mapping.field for mapping, _ in found[0].values] == ["level"]
    assert fault is None


def test_null_is_a_missing_value_and_no_fault() -> None:
    found, fault = decode(reading(level=None))
    assert [(observation.values, [why for _, why in observation.missing]) for observation in found] == [((), ["null"])]
    assert fault is None


def test_readings_of_an_array_are_kept_beside_one_that_cannot_be_read() -> None:
    found, fault = decode([reading(level=1.0), {"level": 2.0}, reading(NOW - timedelta(minutes=10), level=3.0)])
    assert [observation.values[0][1] for observation in found] == [1.0, 3.0]
    assert fault is not None
    assert fault.detail == 'reading 2: "time" is missing or not a text'


def test_device_with_another_api_key_is_told_from_one_that_is_not_registered() -> None:
    device = replace(DEVICE, format=FormatProfile("ultralight", address="right/gauge"))
    decoder = Decoder(minamo_json.decode, Limits())
    _, fault = decoder.decode(Message("/ul/wrong/gauge/attrs", b"l|1", NOW), {"gauge": device}.get)
    assert fault is not None
    assert fault.reason is Reason.UNKNOWN_DEVICE
    assert fault.detail == "the device gauge is registered with another address than wrong/gauge"


def test_measured_up_to_five_minutes_ahead_is_accepted() -> None:
    found, fault = decode(reading(NOW + timedelta(minutes=5), level=1.0))
    assert len(found) == 1
    assert fault is None


@pytest.mark.parametrize(
    ("document", "topic", "reason", "says"),
    [
        (reading(level=1), "minamo/v1/a/b/readings", Reason.UNKNOWN_TOPIC, "is not minamo/v1/<device key>/readings"),
        (reading(level=1), "minamo/v1/other/readings", Reason.UNKNOWN_DEVICE, "no device with the key other"),
        (b"not json", TOPIC, Reason.UNDECODABLE, "the payload is not JSON"),
        (
            reading(battery=1),
            TOPIC,
            Reason.NO_MAPPED_QUANTITY,
            "the message has battery; mapped are distance, level, state",
        ),
        (reading(level="high"), TOPIC, Reason.WRONG_TYPE, "level is 'high'; the device declares a number"),
        (reading(level=True), TOPIC, Reason.WRONG_TYPE, "level is True; the device declares a number"),
        (reading(level=[1]), TOPIC, Reason.WRONG_TYPE, "it has to be a plain value"),
        (reading(level=10.5), TOPIC, Reason.OUT_OF_RANGE, "level is 10.5, above the declared maximum 10"),
        (reading(level=-9999), TOPIC, Reason.OUT_OF_RANGE, "below the declared minimum -1"),
        (reading(NOW + timedelta(seconds=301), level=1), TOPIC, Reason.IN_THE_FUTURE, "measured 301 s after"),
        (reading(NOW - timedelta(days=4000), level=1), TOPIC, Reason.TOO_OLD, "before the oldest time accepted"),
    ],
)
def test_what_cannot_be_taken_is_set_aside_whole_with_the_reason(
    document: Any, topic: str, reason: Reason, says: str
) -> None:
    found, fault = decode(document, topic)
    assert found == []
    assert fault is not None
    assert fault.reason is reason
    assert says in fault.detail
    assert fault.payload == (document if isinstance(document, bytes) else orjson.dumps(document))
    assert fault.topic == topic


def test_too_large_a_payload_is_set_aside_whole() -> None:
    _, fault = decode(reading(level=1), payload_bytes=10)
    assert fault is not None
    assert fault.reason is Reason.TOO_LARGE


def test_the_right_readings_of_an_array_are_kept_beside_a_wrong_one() -> None:
    found, fault = decode([reading(level=1.0), reading(NOW - timedelta(minutes=5), level=99.0)])
    assert [observation.values[0][1] for observation in found] == [1.0]
    assert fault is not None
    assert fault.reason is Reason.OUT_OF_RANGE


def test_the_right_quantity_is_kept_beside_a_wrong_one() -> None:
    found, fault = decode(reading(level=99.0, state="wet"))
    assert found[0].values == ((STATE, "wet"),)
    assert fault is not None


@pytest.mark.parametrize(
    "topic", ["minamo/v1//readings", "minamo/v1/a/other", "else/v1/a/readings", "minamo/v1/readings"]
)
def test_topics_of_another_shape_name_no_device(topic: str) -> None:
    assert route_of(topic) is None

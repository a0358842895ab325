# SPDX-License-Identifier: Apache-2.0
"""What is written of devices themselves: cheaply, and at once where it matters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from adapters.formats.minamo_json import decode
from broker.devices.model import AttributeMapping, Device
from broker.devices.state import DEVICE_TYPE
from broker.intake.readings import Observation, Reason
from broker.times import to_text
from ingest.decode import Decoder, Limits, Message
from ingest.device_state import DeviceStateKeeper

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DEVICE = Device(1, "g", "g", "g", "urn:x:1", ("urn:W",), (AttributeMapping("level", "urn:level", "MTR"),))
DECODER = Decoder(decode, Limits())


@pytest.fixture
def keeper() -> DeviceStateKeeper:
    return DeviceStateKeeper(timedelta(seconds=60))


def message(second: float, **values: Any) -> Message:
    moment = NOON + timedelta(seconds=second)
    return Message("minamo/v1/g/readings", orjson.dumps({"time": to_text(moment), **values}), moment)


def written(keeper: DeviceStateKeeper, second: float, **values: Any) -> dict[str, Any]:
    """What of the device itself is written for a message."""
    sent = message(second, level=1.0, **values)
    observations, fault = DECODER.decode(sent, lambda _: DEVICE, keeper.wants)
    assert fault is None
    kept = keeper.kept(observations, sent.received_at)
    assert sum(o.device is DEVICE for o in kept) == 1
    return {m.field: value for o in kept if o.device is not DEVICE for m, value in o.values}


def test_first_message_tells_that_the_device_is_there(keeper: DeviceStateKeeper) -> None:
    moment = {"@type": "DateTime", "@value": "2026-11-21T12:00:00Z"}
    assert written(keeper, 0) == {"dateLastValueReported": moment, "deviceState": "ok"}


def test_it_is_told_at_most_once_in_the_interval(keeper: DeviceStateKeeper) -> None:
    told = [bool(written(keeper, second)) for second in range(0, 130, 10)]
    assert told == [True, *[False] * 5, True, *[False] * 5, True]


def test_signal_is_written_at_most_once_in_the_interval(keeper: DeviceStateKeeper) -> None:
    found = [written(keeper, second, rssi=-80 - second).get("rssi") for second in (0, 30, 59, 60)]
    assert found == [-80, None, None, -140]


def test_battery_is_written_at_once_when_it_changes(keeper: DeviceStateKeeper) -> None:
    found = [written(keeper, n, batteryLevel=level).get("batteryLevel") for n, level in enumerate((0.9, 0.9, 0.4))]
    assert found == [0.9, None, 0.4]


def test_late_state_has_its_place_in_history(keeper: DeviceStateKeeper) -> None:
    written(keeper, 0, rssi=-80)
    sent = message(-7200, level=1.0, rssi=-90)._replace(received_at=NOON + timedelta(seconds=1))
    observations, _ = DECODER.decode(sent, lambda _: DEVICE, keeper.wants)
    kept = keeper.kept(observations, sent.received_at)
    assert [m.field for o in kept for m, _ in o.values] == ["level", "rssi"]


def test_message_with_state_alone_is_taken(keeper: DeviceStateKeeper) -> None:
    sent = message(0, batteryLevel=0.5)
    observations, fault = DECODER.decode(sent, lambda _: DEVICE, keeper.wants)
    (state, seen) = keeper.kept(observations, sent.received_at)
    assert fault is None
    assert (state.device.entity_types, seen.device.entity_id) == ((DEVICE_TYPE,), state.device.entity_id)


def test_message_that_says_nothing_tells_nothing_of_its_device(keeper: DeviceStateKeeper) -> None:
    nothing: list[Observation] = []
    assert keeper.kept(nothing, NOON) == []


def test_state_that_is_no_plain_value_is_left_out() -> None:
    observations, fault = DECODER.decode(message(0, level=1.0, rssi=[1]), lambda _: DEVICE)
    assert (len(observations), fault) == (1, None)


@pytest.mark.parametrize(("second", "taken"), [(-1, False), (0, True), (59, True), (60, False)])
def test_readings_count_for_the_station_while_the_device_serves_it(second: int, taken: bool) -> None:
    device = replace(DEVICE, service_from=NOON, service_until=NOON + timedelta(seconds=60))
    observations, fault = DECODER.decode(message(second, level=1.0), lambda _: device)
    assert bool(observations) == taken
    if not taken:
        assert fault is not None
        assert fault.reason is Reason.NOT_IN_SERVICE
        assert fault.detail.endswith("serves its station from 2026-11-21T12:00:00Z until 2026-11-21T12:01:00Z")

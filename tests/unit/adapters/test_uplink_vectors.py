# SPDX-License-Identifier: Apache-2.0
"""Uplinks as network servers really send them, against the published results (tests/data/uplinks)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.formats.device_times import read_time
from adapters.formats.table import check_profile, decode
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement

FOLDER = Path(__file__).parents[2] / "data" / "uplinks"
NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
FORMATS = {
    "ThingsStackCommunity": "things-stack",
    "ThingsStackIndustries": "things-stack",
    "ChirpStack": "chirpstack",
    "LORIOT": "loriot",
    "ThingPark": "thingpark",
}
CODECS = {"EM300-SLD-ZLD": "EM300-SLD"}
STATE = {
    "lora_frame_counter": "frameCounter",
    "lora_frame_port": "framePort",
    "lora_frequency": "frequency",
    "lora_spreading_factor": "spreadingFactor",
    "lora_rssi": "rssi",
    "lora_snr": "snr",
    "fPort": "framePort",
    "frequency": "frequency",
    "spreadingFactor": "spreadingFactor",
}
HEADER = ("protocol_version", "decentlab_id")  # of Decentlab; published as attributes
VECTORS = sorted(FOLDER.glob("*/*/*/uplink/payload*.json"))
# The published result takes the lowest byte of the time (0x9e / 2 = 79) for the humidity (0x5d / 2 = 46.5).
WRONG = {"Milesight/EM300-SLD-ZLD/ChirpStack/uplink/payload.json": {"humidity": 46.5}}


def name_of(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def decoded(path: Path) -> list[Measurement]:
    maker, model, server = path.relative_to(FOLDER).parts[:3]
    profile = FormatProfile(FORMATS[server], codec=f"{maker.lower()}/{CODECS.get(model, model)}")
    check_profile(profile)
    return decode(Frame("topic", path.read_bytes(), NOW), profile)


def expected(path: Path) -> list[dict[str, Any]]:
    document = orjson.loads(path.with_name(path.name.replace("payload", "result")).read_bytes())
    return document if isinstance(document, list) else [document]


def test_all_vectors_are_there() -> None:
    assert len(VECTORS) == 69


@pytest.mark.parametrize("path", VECTORS, ids=name_of)
def test_quantities_are_those_of_the_published_result(path: Path) -> None:
    wanted = [{k: v for k, v in t["values"].items() if k not in STATE} for t in expected(path)[0]["telemetry"]]
    wanted[-1].update(WRONG.get(name_of(path), {}))
    found = [
        {k: v for k, v in m.values.items() if k not in ("protocol_version", "decentlab_id")} for m in decoded(path)
    ]
    assert found == [pytest.approx(values) for values in wanted]


@pytest.mark.parametrize("path", VECTORS, ids=name_of)
def test_time_is_that_of_the_published_result_within_a_second(path: Path) -> None:
    """The Things Stack names three times; we take the first, some published results the last."""
    for measurement, telemetry in zip(decoded(path), expected(path)[0]["telemetry"], strict=True):
        wanted = read_time(telemetry["ts"], None) if "ts" in telemetry else NOW  # else: the time of arrival
        assert abs(measurement.observed_at - wanted) < timedelta(seconds=1)


@pytest.mark.parametrize("path", VECTORS, ids=name_of)
def test_radio_and_counters_are_state_of_the_device(path: Path) -> None:
    result = expected(path)[0]
    told = {**result["attributes"], **result["telemetry"][0]["values"]}
    wanted = {STATE[name]: float(value) for name, value in told.items() if name in STATE}
    state = decoded(path)[0].state
    assert {name: state.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("path", [p for p in VECTORS if len(expected(p)) > 1], ids=name_of)
def test_the_gateway_that_heard_it_best_is_state(path: Path) -> None:
    gateway = max(expected(path)[1:], key=lambda g: g["telemetry"][0]["values"]["rssi"])
    state = decoded(path)[0].state
    assert {"rssi": state["rssi"], "snr": state["snr"]} == gateway["telemetry"][0]["values"]
    assert (state["gateway"], state["gatewayCount"]) == (gateway["attributes"]["eui"], 2)


@pytest.mark.parametrize("path", [p for p in VECTORS if "batter" in str(expected(p)[0]["telemetry"])], ids=name_of)
def test_battery_is_state_too(path: Path) -> None:
    measurement = decoded(path)[0]
    if "battery" in measurement.values:
        assert measurement.state["batteryLevel"] == measurement.values["battery"] / 100
    else:
        assert measurement.state.get("batteryVoltage") == measurement.values.get("battery_voltage")

# SPDX-License-Identifier: Apache-2.0
"""Shapes in which cities publish flood sensors (tests/data/city_sensors) become measurements."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.formats.table import decode
from broker.intake.formats import FormatProfile, Frame
from broker.intake.readings import Measurement, UndecodablePayload

FOLDER = Path(__file__).parents[2] / "data" / "city_sensors"
NOW = datetime(2026, 9, 21, 1, 12, tzinfo=UTC)


def decoded(file: str, **profile: Any) -> list[Measurement]:
    return decode(Frame("topic", (FOLDER / file).read_bytes(), NOW), FormatProfile("json", **profile))


def test_saitama_times_are_of_the_profiles_zone() -> None:
    (found,) = decoded("saitama_latest.json", select={"place_no": "15"}, time_field="dt", time_zone="Asia/Tokyo")
    assert found.observed_at == datetime(2026, 9, 21, 1, 10, tzinfo=UTC)
    assert (found.values["wl"], found.values["a2"]) == (0.15, 1)


def test_saitama_leaves_nan_and_null_to_the_mapping() -> None:
    options: dict[str, Any] = {"time_field": "dt", "time_zone": "Asia/Tokyo"}
    found = decoded("saitama_latest.json", **options)
    assert [m.values["wl"] for m in found] == [0.15, "nan", None, -0.3]


def test_shizuoka_underpass_is_picked_by_its_number() -> None:
    options: dict[str, Any] = {"time_field": "UpdateDate", "time_zone": "Asia/Tokyo", "records": "Data"}
    (found,) = decoded("shizuoka_city_underpass.json", select={"ObserverPointCd": 52}, **options)
    assert found.observed_at == datetime(2026, 9, 21, 0, 45, tzinfo=UTC)
    assert (found.values["WaterLevel"], found.values["AlertMode"]) == (-30, "通行止")
    assert found.values["Pumps.0.PumpState"] == "停止"


def test_kakegawa_has_no_time_so_that_of_arrival_holds() -> None:
    (found,) = decoded("kakegawa_road.json", records="data", select={"road_cd": "1F73A72"})
    assert (found.observed_at, found.values["kansuisu"]) == (NOW, 255)


def test_kakogawa_features_have_their_properties_below() -> None:
    found = decoded("kakogawa.geojson", records="features")
    assert [m.values["properties.os_status"] for m in found] == [0, 1]
    assert found[1].values["properties.installation_height"] == -40


def test_chiba_states_are_words() -> None:
    (found,) = decoded("chiba_sigfox.json", records="sigfox_states", select={"device_id": "0A1B2D"})
    assert (found.values["raw_status1"], found.values["is_observation_paused"]) == ("CLOSE", False)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"records": "none"}, "there is no array at none"),
        ({"records": "Data", "select": {"ObserverPointCd": 1}}, "no record has {'ObserverPointCd': 1}"),
        ({"records": "Data", "time_field": "UpdateDate"}, "no offset, and the device's profile names no timeZone"),
        ({"records": "Data", "time_field": "when"}, "when, where the time should stand, is missing"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UndecodablePayload) as caught:
        decoded("shizuoka_city_underpass.json", **options)
    assert says in str(caught.value)

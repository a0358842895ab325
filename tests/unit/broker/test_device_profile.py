# SPDX-License-Identifier: Apache-2.0
"""Profiles of devices: what is expected, by mode, and precise errors."""

from __future__ import annotations

from typing import Any

import pytest

from broker.devices.profile import NO_PROFILE, ExpectedInterval, parse_device_profile, with_normal_interval
from broker.errors import BadRequestData

BY_MODE = ExpectedInterval(normal=86_400, active=600, start_level=2.5)


@pytest.mark.parametrize(("level", "seconds"), [(None, 86_400), (2.49, 86_400), (2.5, 600), (7.0, 600)])
def test_gauge_is_expected_more_often_from_its_start_level_on(level: float | None, seconds: float) -> None:
    assert BY_MODE.at(level) == seconds


def test_one_mode_holds_at_every_level() -> None:
    assert ExpectedInterval(normal=600).at(99.0) == 600


@pytest.mark.parametrize("document", [None, {}])
def test_nothing_given_is_the_empty_profile(document: Any) -> None:
    assert parse_device_profile(document) is NO_PROFILE
    assert NO_PROFILE.document() == {}


def test_normal_interval_is_set_beside_what_else_is_there() -> None:
    document = {"expectedInterval": {"normal": 1, "active": 2, "startLevel": 3}}
    assert with_normal_interval(document, 60) == {"expectedInterval": {"normal": 60, "active": 2, "startLevel": 3}}
    assert with_normal_interval(document, None) == document


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "device.profile is []: Input should be an object"),
        ({"colour": 1}, "device.profile.colour is not known"),
        ({"expectedInterval": {"normal": "600"}}, "device.profile.expectedInterval.normal is '600': Input should be a"),
        ({"expectedInterval": {"normal": 0}}, "device.profile.expectedInterval.normal is 0: Input should be greater"),
        ({"expectedInterval": {}}, "device.profile.expectedInterval.normal is missing"),
        (
            {"expectedInterval": {"normal": 60, "active": 6}},
            "device.profile.expectedInterval is {'normal': 60, 'active': 6}: active and startLevel belong together",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_path(document: Any, says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse_device_profile(document)
    assert caught.value.detail.startswith(says)

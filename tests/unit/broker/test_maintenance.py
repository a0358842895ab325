# SPDX-License-Identifier: Apache-2.0
"""Maintenance windows: which moments they cover, and what makes one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.devices.maintenance import MaintenanceWindow, in_maintenance, parse_window, stored_window
from broker.devices.model import AttributeMapping, Device
from broker.errors import BadRequestData

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PAST = MaintenanceWindow("w1", NOON - 24 * HOUR, NOON - 23 * HOUR, "battery")
CLEANING = MaintenanceWindow("w2", NOON, NOON + HOUR, "cleaning")
DEVICE = Device(
    1, "gauge", "gauge", "gauge", "urn:x:1", ("urn:W",), (AttributeMapping("level", "urn:level"),),
    maintenance=(PAST, CLEANING),
)  # fmt: skip


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        (NOON - timedelta(seconds=1), None),
        (NOON, CLEANING),
        (NOON + HOUR - timedelta(seconds=1), CLEANING),
        (NOON + HOUR, None),
        (NOON - 23.5 * HOUR, PAST),
    ],
)
def test_window_holds_from_its_begin_until_before_its_end(moment: datetime, found: MaintenanceWindow | None) -> None:
    assert in_maintenance(DEVICE, moment) == found


def test_window_without_an_end_goes_on() -> None:
    device = replace(DEVICE, maintenance=(MaintenanceWindow("w3", NOON, None, "bridge works"),))
    assert in_maintenance(device, NOON + 9999 * HOUR) is not None


def test_window_survives_its_json_form() -> None:
    for window in (CLEANING, MaintenanceWindow("w3", NOON, None, "x")):
        assert stored_window(window.document()) == window


def test_window_begins_now_unless_it_says_otherwise() -> None:
    assert parse_window({"reason": "cleaning"}, "w", NOON) == MaintenanceWindow("w", NOON, None, "cleaning")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "maintenance is []; it has to be an object"),
        ({"why": "x"}, "maintenance.why is not known; the members are from, until, reason"),
        ({"reason": " "}, "maintenance.reason is a text of 1 to 1000 characters"),
        ({"reason": "x", "from": "2026-11-21"}, "maintenance.from is '2026-11-21'; it has to be a time with an offset"),
        ({"reason": "x", "until": 5}, "maintenance.until is 5; it has to be a time with an offset"),
        (
            {"reason": "x", "until": "2026-11-21T12:00:00Z"},
            "maintenance.until (2026-11-21T12:00:00Z) is not after from (2026-11-21T12:00:00Z)",
        ),
    ],
)
def test_what_is_wrong_is_said(document: Any, says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse_window(document, "w", NOON)
    assert caught.value.detail.startswith(says)

# SPDX-License-Identifier: Apache-2.0
"""Lifetimes of entity maps, and how a map is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from broker.entity_maps import (
    DEFAULT_LIFETIME,
    MAX_LIFETIME,
    EntityMap,
    allowed_expiry,
    parse_lifetime,
    represent_entity_map,
)
from broker.errors import BadRequestData

NOW = datetime(2026, 11, 21, 7, 47, 43, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "lifetime"),
    [
        ("PT10M", timedelta(minutes=10)),
        ("P1DT12H", timedelta(hours=36)),
        ("P2W", timedelta(days=14)),
        ("PT1.5S", timedelta(seconds=1.5)),
        ("P1Y2M", timedelta(days=425)),
        ("PT0S", timedelta()),
    ],
)
def test_durations(text: str, lifetime: timedelta) -> None:
    assert parse_lifetime(text) == lifetime


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "1hour", "PT1", "-PT1M", "pt1m", "PT1M1H", "P9999999Y"])
def test_what_is_no_duration_is_bad_data(text: str) -> None:
    with pytest.raises(BadRequestData):
        parse_lifetime(text)


@pytest.mark.parametrize(
    ("wished", "expected"),
    [
        (None, NOW + DEFAULT_LIFETIME),
        (timedelta(minutes=1), NOW + timedelta(minutes=1)),
        (timedelta(days=3650), NOW + MAX_LIFETIME),
        (NOW - timedelta(days=1), NOW - timedelta(days=1)),
        (NOW + timedelta(days=3650), NOW + MAX_LIFETIME),
    ],
)
def test_the_hub_bounds_the_expiry(wished: datetime | timedelta | None, expected: datetime) -> None:
    assert allowed_expiry(NOW, wished) == expected


def test_entities_are_held_here() -> None:
    entity_map = EntityMap(1, "urn:ngsi-ld:EntityMap:1", NOW, b"")
    assert represent_entity_map(entity_map, ["urn:x:2", "urn:x:1"]) == {
        "id": "urn:ngsi-ld:EntityMap:1",
        "type": "EntityMap",
        "expiresAt": "2026-11-21T07:47:43Z",
        "entityMap": {"urn:x:2": ["@none"], "urn:x:1": ["@none"]},
        "linkedMaps": {},
    }

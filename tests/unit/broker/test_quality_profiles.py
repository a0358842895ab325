# SPDX-License-Identifier: Apache-2.0
"""Quality parameters in profiles, the tests that devices get of them, and decisions of people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from broker.devices.documents import device_document, parse_device
from broker.devices.model import Device, state_device
from broker.devices.profile import parse_device_profile
from broker.errors import BadRequestData
from broker.quality import Flag, GapRule
from broker.quality.decisions import parse_decision

MODES = {"normal": 86_400, "active": 600, "startLevel": 2.5}


def device(profile: dict[str, Any]) -> Device:
    document = {
        "id": "gauge",
        "entityId": "urn:ngsi-ld:WaterObserved:1",
        "entityType": "WaterObserved",
        "attributes": [
            {"field": "level", "attribute": "waterLevel", "unitCode": "CMT"},
            {"field": "temp", "attribute": "temperature", "unitCode": "CEL"},
        ],
        "profile": profile,
    }
    return parse_device(document, tenant="default", tenant_id=1, expand=lambda name: f"urn:x:{name}")


class TestProfiles:
    def test_tests_of_a_quantity_are_defaults_of_its_kind_but_for_what_the_profile_says(self) -> None:
        checks = device({"quality": {"level": {"valid": [-50, 600]}}}).attributes[0].checks
        assert checks is not None
        assert (checks.valid, checks.spike) == ((-50, 600), (100.0, 900.0))

    def test_the_profile_is_written_as_it_was_read(self) -> None:
        said = {"expectedInterval": {"normal": 60.0}, "quality": {"level": {"spike": False, "stuck": {"after": 60.0}}}}
        assert device_document(device(said))["profile"] == said

    def test_the_gap_follows_the_mode_of_the_quantity_that_decides_it(self) -> None:
        level, temperature = device({"expectedInterval": MODES}).attributes
        assert level.checks is not None
        assert temperature.checks is not None
        assert level.checks.gap == GapRule(259_200, 1800, 2.5)
        assert (level.checks.gap.after(2.4), level.checks.gap.after(2.5)) == (259_200, 1800)
        assert temperature.checks.gap == GapRule(259_200)

    def test_what_a_device_says_of_itself_is_not_judged(self) -> None:
        assert {mapping.checks for mapping in state_device(device({})).attributes} == {None}

    def test_a_field_that_the_device_does_not_have_is_refused(self) -> None:
        with pytest.raises(BadRequestData, match=r"device\.profile\.quality has 'levle'; the device has: level, temp"):
            device({"quality": {"levle": {}}})

    def test_a_test_that_nobody_knows_is_refused_with_its_place(self) -> None:
        with pytest.raises(BadRequestData, match=r"device\.profile\.quality\.level\.spkie is not known"):
            parse_device_profile({"quality": {"level": {"spkie": False}}})


RANGE = {"from": "2026-06-01T09:00:00+09:00", "to": "2026-06-01T01:00:00Z", "reason": " ice "}


class TestDecisions:
    def test_corrected_values_are_estimates(self) -> None:
        assert parse_decision({**RANGE, "value": 1}).flag == Flag.ESTIMATED

    def test_a_decision_is_written_as_it_was_read(self) -> None:
        decision = parse_decision({**RANGE, "offset": 0.1, "quality": "good", "datasetId": "urn:x:radar"})
        assert decision.start == datetime(2026, 6, 1, tzinfo=UTC)
        assert parse_decision(decision.document()) == decision

    def test_an_offset_leaves_what_is_no_number(self) -> None:
        decision = parse_decision({**RANGE, "offset": 0.1})
        found = [decision.applied({"type": "Property", "value": value})["value"] for value in (1.1, "wet", True)]
        assert found == [1.2, "wet", True]

    def test_other_sub_attributes_stay(self) -> None:
        other = {"urn:x:by": {"@none": {"type": "Property", "value": "me"}}}
        applied = parse_decision({**RANGE, "quality": "good"}).applied({"value": 1, "attrs": other})
        assert applied["attrs"].items() >= other.items()

    @pytest.mark.parametrize(
        ("members", "says"),
        [
            ({}, "quality is None"),
            ({"quality": "bad"}, "quality is 'bad'; it has to be good, suspect, estimated, maintenance"),
            ({"quality": "good", "reason": ""}, "reason has to be a text of 1 to 1000 characters"),
            ({"quality": "good", "from": "2026-06-01"}, "from is '2026-06-01'"),
            ({"quality": "good", "to": "2026-06-01T00:00:00Z"}, "from is not before to"),
            ({"value": 1, "offset": 1}, "value and offset are two corrections"),
            ({"value": float("nan")}, "value is nan"),
            ({"value": True}, "value is True"),
            ({"quality": "good", "by": "me"}, "by is not known"),
            ({"quality": "good", "datasetId": "radar"}, "datasetId is 'radar'"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, members: dict[str, Any], says: str) -> None:
        with pytest.raises(BadRequestData) as refused:
            parse_decision({**RANGE, **members})
        assert says in refused.value.detail

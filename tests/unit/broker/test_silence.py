# SPDX-License-Identifier: Apache-2.0
"""Grades of silence by mode, silence of a whole gateway, and silence that is a flood sign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.devices.silence import Limits, Meaning, Watched, heard, silent_groups, supervise
from broker.devices.state import DeviceState

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TEN_MINUTES = 600.0
DAY = 86_400.0


def quiet(minutes: float, key: str = "a", interval_s: float = TEN_MINUTES, **members: object) -> Watched:
    return Watched(key, NOW - timedelta(minutes=minutes), interval_s, **members)  # type: ignore[arg-type]


class TestGrades:
    @pytest.mark.parametrize(
        ("minutes", "interval_s", "expected"),
        [
            (0, TEN_MINUTES, "ok"),
            (25, TEN_MINUTES, "ok"),
            (25.1, TEN_MINUTES, "late"),
            (100.1, TEN_MINUTES, "silent"),
            (1000.1, TEN_MINUTES, "dead"),
            (20 * 60, DAY, "ok"),  # 20 hours in low water
            (20 * 60, TEN_MINUTES, "dead"),  # and above the start level
            (2.6 * 24 * 60, DAY, "late"),
        ],
    )
    def test_by_the_interval_of_the_mode(self, minutes: float, interval_s: float, expected: str) -> None:
        assert quiet(minutes, interval_s=interval_s).grade(NOW) == expected

    def test_limits_of_a_profile(self) -> None:
        assert quiet(21, limits=Limits(1, 2, 3)).grade(NOW) == DeviceState.SILENT

    def test_a_profile_that_says_only_when_it_is_late(self) -> None:
        assert Limits.of(2.5) == Limits()
        assert Limits.of(2.5, (20, None, None)) == Limits(20, 20, 100)

    def test_it_is_so_since_the_limit_was_passed_not_since_somebody_looked(self) -> None:
        device = quiet(300)
        assert device.since(device.grade(NOW)) == NOW - timedelta(minutes=200)

    @given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1, 1e6))
    def test_longer_silence_is_never_better(self, one: float, other: float, interval_s: float) -> None:
        order = list(DeviceState)
        shorter, longer = sorted((one, other))
        limits = Limits()
        grades = [limits.grade(timedelta(seconds=seconds), interval_s) for seconds in (shorter, longer)]
        assert order.index(grades[0]) <= order.index(grades[1])


class TestMaintenance:
    def test_silence_counts_from_its_end(self) -> None:
        ended = NOW - timedelta(minutes=5)
        assert heard(NOW - timedelta(days=1), [(NOW - timedelta(hours=2), ended)], NOW) == ended

    def test_nothing_counts_while_it_lasts(self) -> None:
        assert heard(NOW - timedelta(days=1), [(NOW - timedelta(hours=2), None)], NOW) == NOW

    def test_what_is_planned_says_nothing(self) -> None:
        seen = NOW - timedelta(days=1)
        assert heard(seen, [(NOW + timedelta(hours=2), None)], NOW) == seen


def gateway(silent: int, alive: int = 0, long_dead: int = 0, daily: int = 0) -> list[Watched]:
    """Devices of one gateway that went down 40 minutes ago."""
    return [
        *(quiet(40 + n % 10, f"silent{n}", group="gw") for n in range(silent)),
        *(quiet(3, f"alive{n}", group="gw") for n in range(alive)),
        *(quiet(5000, f"dead{n}", group="gw") for n in range(long_dead)),
        *(quiet(600, f"daily{n}", DAY, group="gw") for n in range(daily)),
    ]


class TestGroups:
    def test_all_of_a_gateway_are_one_event(self) -> None:
        found = silent_groups(gateway(121), NOW)["gw"]
        assert (len(found.members), found.since) == (121, NOW - timedelta(minutes=40))

    @pytest.mark.parametrize(("silent", "alive", "expected"), [(2, 0, 0), (3, 0, 1), (8, 2, 1), (7, 3, 0)])
    def test_most_and_not_too_few(self, silent: int, alive: int, expected: int) -> None:
        assert len(silent_groups(gateway(silent, alive), NOW)) == expected

    def test_who_was_dead_before_is_no_part_of_it(self) -> None:
        found = silent_groups(gateway(5, long_dead=4), NOW)["gw"]
        assert all(key.startswith("silent") for key in found.members)

    def test_the_dead_alone_are_no_event(self) -> None:
        assert silent_groups(gateway(1, alive=9, long_dead=9), NOW) == {}

    def test_who_reports_once_a_day_says_nothing(self) -> None:
        assert silent_groups(gateway(4, daily=20), NOW)["gw"].members == ("silent0", "silent1", "silent2", "silent3")

    def test_devices_without_a_group_are_never_together(self) -> None:
        assert silent_groups([quiet(300, str(n)) for n in range(9)], NOW) == {}


class TestFloodSigns:
    def test_silence_of_a_sensor_whose_radio_drowns_is_one(self) -> None:
        verdicts, _ = supervise([quiet(101, meaning=Meaning.FLOODED), quiet(101, "b")], NOW)
        assert {key: verdict.is_flood_sign for key, verdict in verdicts.items()} == {"a": True, "b": False}

    def test_being_late_is_none_yet(self) -> None:
        assert not supervise([quiet(30, meaning=Meaning.FLOODED)], NOW)[0]["a"].is_flood_sign

    def test_with_a_silent_gateway_it_says_nothing(self) -> None:
        devices = [quiet(150, str(n), group="gw", meaning=Meaning.FLOODED) for n in range(5)]
        verdicts, groups = supervise(devices, NOW)
        assert {(verdict.is_flood_sign, verdict.group) for verdict in verdicts.values()} == {(False, "gw")}
        assert set(groups) == {"gw"}

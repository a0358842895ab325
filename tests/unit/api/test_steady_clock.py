# SPDX-License-Identifier: Apache-2.0
"""Time for timers goes on when somebody sets the machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from support.settable_clock import Machine

START = datetime(2026, 6, 2, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["ahead", "back"])
def test_clock_that_is_set_changes_nothing_at_first(step: timedelta) -> None:
    machine = Machine(START)
    machine.after(30)
    machine.offset = step
    assert [machine.after(1) for _ in range(3)] == [timedelta(seconds=s) for s in (31, 32, 33)]


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["ahead", "back"])
def test_clock_that_is_put_right_again_was_never_wrong(step: timedelta) -> None:
    machine = Machine(START)
    machine.offset = step
    assert machine.after(300) == timedelta(seconds=300)
    machine.offset = timedelta()
    machine.after(1)
    machine.offset = step  # the patience begins anew
    assert machine.after(500) == timedelta(seconds=801)


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["ahead", "back"])
def test_step_that_lasts_is_believed(step: timedelta) -> None:
    machine = Machine(START)
    machine.offset = step
    machine.after(1)
    assert machine.after(600) == timedelta(seconds=601) + step


def test_reading_is_never_from_the_future_because_the_clock_was_put_back() -> None:
    machine = Machine(START)
    machine.offset = -HOUR
    for _ in range(2):  # before and after it is believed
        machine.after(601)
    assert machine.clock.latest() == START + timedelta(seconds=1202)
    machine.offset = timedelta()
    for _ in range(2):
        machine.after(601)
    assert machine.clock.latest() == machine.clock.now() == START + timedelta(seconds=2404)


def test_corrections_by_a_time_server_are_followed_at_once() -> None:
    machine = Machine(START)
    machine.offset = timedelta(seconds=-3)
    assert machine.after(10) == timedelta(seconds=7)


def test_worker_that_sleeps_longer_than_the_patience_has_no_step_to_believe() -> None:
    machine = Machine(START)
    assert machine.after(86_400) == timedelta(days=1)

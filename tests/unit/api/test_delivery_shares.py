# SPDX-License-Identifier: Apache-2.0
"""How many deliveries each destination may have under way, and when a failed one is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.channels.webhook import SendResult
from api.workers.shares import RetryPolicy, Shares

NO_ANSWER = SendResult(False)
CREATED = datetime(2026, 6, 1, tzinfo=UTC)


def test_destination_that_answers_has_its_share() -> None:
    shares = Shares(8, 4)
    shares.begin("a")
    shares.judge("a", SendResult(True, 200))
    assert shares.taken() == {"a": 1}


def test_destination_that_did_not_answer_has_one_at_a_time() -> None:
    shares = Shares(8, 4)
    shares.judge("a", NO_ANSWER)
    assert shares.taken() == {"a": 3}
    shares.begin("a")
    assert shares.taken() == {"a": 4}


@pytest.mark.parametrize(("status", "suspect"), [(500, True), (503, True), (404, False), (429, False), (204, False)])
def test_refusal_is_an_answer(status: int, suspect: bool) -> None:
    shares = Shares(8, 4)
    shares.judge("a", NO_ANSWER)
    shares.judge("a", SendResult(status < 300, status))
    assert bool(shares.taken()) is suspect


def test_suspects_have_half_together() -> None:
    shares = Shares(4, 4)
    for name in "abc":
        shares.judge(name, NO_ANSWER)
    shares.begin("a")
    shares.begin("b")
    assert shares.taken()["c"] == 4
    shares.end("a")
    assert shares.taken()["c"] == 3


def test_of_a_quick_receiver_more_is_taken_than_may_be_under_way() -> None:
    shares = Shares(8, 4)
    shares.begin("a")
    shares.judge("a", SendResult(True, 200), 0.01)
    assert shares.per_destination - shares.taken()["a"] == 15


@pytest.mark.parametrize(("result", "seconds"), [(SendResult(True, 200), 0.2), (NO_ANSWER, 0.01)])
def test_receiver_is_quick_no_longer_than_its_last_answer(result: SendResult, seconds: float) -> None:
    shares = Shares(8, 4)
    shares.judge("a", SendResult(True, 200), 0.01)
    shares.judge("a", result, seconds)
    assert shares.taken().get("a", 0) >= 0


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_receiver_that_fails_three_times_in_a_row_is_left_alone_for_a_while() -> None:
    clock = Clock()
    shares = Shares(8, 4, clock=clock)
    for _ in range(3):
        shares.judge("a", NO_ANSWER)
    assert shares.taken() == {"a": 4}
    clock.now += 1.0
    assert shares.taken() == {"a": 3}


def test_pauses_of_a_receiver_double_up_to_the_longest() -> None:
    clock = Clock()
    shares = Shares(8, 4, clock=clock, longest_pause_s=8.0)
    for _ in range(20):
        shares.judge("a", NO_ANSWER)
    clock.now += 3.9
    assert shares.taken() == {"a": 4}
    clock.now += 4.1
    assert shares.taken() == {"a": 3}


def test_first_answer_ends_the_pause() -> None:
    shares = Shares(8, 4)
    for _ in range(20):
        shares.judge("a", NO_ANSWER)
    assert shares.judge("a", SendResult(True, 200))
    assert shares.taken() == {}


def test_receiver_that_never_failed_does_not_come_back() -> None:
    assert not Shares(8, 4).judge("a", SendResult(True, 200))


@pytest.mark.parametrize(("attempts", "pause_s"), [(1, 1.0), (2, 2.0), (5, 16.0), (20, 300.0), (5000, 300.0)])
def test_pauses_double_up_to_the_longest(attempts: int, pause_s: float) -> None:
    assert RetryPolicy().next_attempt(attempts, CREATED, CREATED, 1.0) == CREATED + timedelta(seconds=pause_s)
    assert RetryPolicy().next_attempt(attempts, CREATED, CREATED, 0.0) == CREATED + timedelta(seconds=pause_s / 2)


def test_too_old_is_not_tried_again() -> None:
    assert RetryPolicy().next_attempt(1, CREATED, CREATED + timedelta(hours=72), 0.5) is None

# SPDX-License-Identifier: Apache-2.0
"""Polls: what may be one, and when the next time is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.errors import BadRequestData
from broker.intake.polls import Poll, address_of, next_due
from broker.sections import read_document

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_after_a_success_the_interval_holds() -> None:
    assert next_due(NOW, 300, 0) == NOW + timedelta(seconds=300)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 300), (2, 600), (4, 2400), (5, 3600), (100, 3600)])
def test_the_pause_doubles_with_each_failure_up_to_an_hour(failures: int, seconds: int) -> None:
    assert next_due(NOW, 300, failures) == NOW + timedelta(seconds=seconds)


def test_a_daily_document_is_tried_again_after_a_day() -> None:
    assert next_due(NOW, 86_400, 9) == NOW + timedelta(days=1)


def test_the_server_may_ask_for_a_longer_pause_of_a_day_at_most() -> None:
    assert next_due(NOW, 300, 1, retry_after=timedelta(minutes=20)) == NOW + timedelta(minutes=20)
    assert next_due(NOW, 300, 1, retry_after=timedelta(days=99)) == NOW + timedelta(days=1)


def test_address_of_a_station_is_one_part_of_a_topic() -> None:
    assert address_of("city", "1/2") == "city:1_2"
    assert address_of("city", "") == "city"


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"url": "ftp://x/y"}, "has to be an absolute http or https URL"),
        ({"url": "http://u:p@x/y"}, "credentials belong into headers"),
        ({"headers": {"Host": "x"}}, "Host is set by the hub"),
        ({"headers": {"X-Key": "a\r\nb"}}, "poll.headers.X-Key"),
        ({"format": {"name": "yaml"}}, "poll.format.name"),
        ({"format": {"encoding": "klingon"}}, "is not known"),
        ({"format": {"columns": ["a"]}}, "are for csv"),
        ({"interval": 0}, "poll.interval"),
        ({"more": 1}, "poll.more is not known"),
    ],
)
def test_what_is_no_poll_is_refused_with_its_place(members: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        read_document(Poll, {"id": "city", "url": "https://city.example/a.json", **members}, "poll")
    assert says in caught.value.detail

# SPDX-License-Identifier: Apache-2.0
"""Contacts, groups and plans: what is taken, when it is quiet, whose shift it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from broker.contacts import Contact, Group, Plan
from broker.errors import BadRequestData
from broker.sections import read_document, write_document

MAIL = {"type": "mail", "address": "duty@city.example.jp"}
DESK: dict[str, Any] = {"id": "desk", "name": "防災課", "channels": [MAIL]}
NIGHT = {"from": "22:00", "until": "06:00"}
JAPAN = ZoneInfo("Asia/Tokyo")


def contact(**members: Any) -> Contact:
    return read_document(Contact, DESK | members)


def japan(day: int, clock: str) -> datetime:
    hour, minute = clock.split(":")
    return datetime(2026, 6, day, int(hour), int(minute), tzinfo=JAPAN).astimezone(UTC)


def test_what_is_written_is_read_again() -> None:
    one = contact(quiet=[NIGHT], language="ja-easy")
    assert read_document(Contact, write_document(one)) == one


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"channels": [{"type": "mail", "address": "nobody"}]}, "the address of mail has to be an e-mail address"),
        ({"channels": [{"type": "mail", "address": "a@b.jp\nBcc: c@d.jp"}]}, "an e-mail address"),
        ({"channels": [{"type": "sms", "address": "090-1234-5678"}]}, "a telephone number with its country"),
        ({"channels": [{"type": "line", "address": "U1"}]}, "the id of a LINE user"),
        ({"channels": [{"type": "webhook", "address": "https://u:p@x.jp/"}]}, "a password does not belong"),
        ({"channels": [{"type": "webhook", "address": "https://x.jp/", "secret": "short"}]}, "at least 16 characters"),
        ({"channels": [MAIL | {"secret": "0123456789abcdef"}]}, "only a webhook and MQTT have a secret"),
        ({"quiet": [{"from": "22", "until": "06:00"}]}, "a time of day is HH:MM"),
        ({"quiet": [{"from": "06:00", "until": "06:00"}]}, "from and until are the same"),
        ({"timeZone": "Asia/Edo"}, "this time zone is not known"),
        ({"language": "French!"}, "language is 'French!'"),
        ({"colour": "red"}, "colour is not known"),
        ({"name": None}, "name is None"),
    ],
)
def test_what_is_wrong_is_said(members: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        contact(**members)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("clock", "end"), [("21:59", None), ("22:00", japan(2, "06:00")), ("05:59", japan(1, "06:00")), ("06:00", None)]
)
def test_quiet_over_midnight_ends_in_the_morning(clock: str, end: datetime | None) -> None:
    assert contact(quiet=[NIGHT]).quiet_until("caution", japan(1, clock)) == end


def test_quiet_within_a_day() -> None:
    noon = contact(quiet=[{"from": "12:00", "until": "13:00"}])
    assert noon.quiet_until("caution", japan(1, "12:30")) == japan(1, "13:00")
    assert noon.quiet_until("caution", japan(1, "13:00")) is None


@pytest.mark.parametrize("stage", ["danger", "overflow", "critical", "overflow_start"])
def test_quiet_never_holds_for_the_highest_levels(stage: str) -> None:
    assert contact(quiet=[NIGHT]).quiet_until(stage, japan(1, "23:00")) is None


def test_member_is_on_from_the_beginning_of_the_shift_to_before_its_end() -> None:
    shift = {"contact": "desk", "from": "2026-06-01T09:00:00+09:00", "until": "2026-06-01T17:00:00+09:00"}
    (member,) = read_document(Group, {"id": "day", "name": "日勤", "members": [shift]}).members
    begin, end = japan(1, "09:00"), japan(1, "17:00")
    assert [member.is_on(at) for at in (begin - timedelta(seconds=1), begin, end - timedelta(seconds=1), end)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_plan_needs_a_known_stage() -> None:
    with pytest.raises(BadRequestData, match="this stage is not known"):
        read_document(Plan, {"id": "p", "name": "p", "alarms": {"minimumStage": "wet"}, "steps": [["day"]]})


def test_address_of_a_url_is_shown_by_its_host() -> None:
    (channel,) = contact(channels=[{"type": "slack", "address": "https://hooks.example.com/T0/secret"}]).channels
    assert channel.shown == "https://hooks.example.com"

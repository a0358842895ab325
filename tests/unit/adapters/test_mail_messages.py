# SPDX-License-Identifier: Apache-2.0
"""What a mail is known by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson

from adapters.channels.mail import compose

NOW = datetime(2026, 6, 2, tzinfo=UTC)


def body(**members: object) -> bytes:
    usual = {"to": "desk@city.example.jp", "subject": "到達", "text": "2.50 m", "thread": None, "number": 7}
    return orjson.dumps(usual | members)


def identifier(content: bytes, now: datetime = NOW) -> str:
    return str(compose(content, "Minamo <minamo@city.example.jp>", now)["Message-ID"])


def test_attempts_at_one_message_have_one_message_id() -> None:
    assert identifier(body()) == identifier(body(), NOW + timedelta(hours=1))
    assert identifier(body()).startswith("<minamo.7.") and identifier(body()).endswith("@city.example.jp>")


def test_other_messages_of_the_same_number_have_another() -> None:
    """Numbers begin anew with a new database; a mailbox must not take a new alarm for an old one."""
    assert len({identifier(body()), identifier(body(text="2.51 m")), identifier(body(to="b@city.example.jp"))}) == 3

# SPDX-License-Identifier: Apache-2.0
"""A ticket opens what it was made for, until its time is over, and nobody else can make one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.streams.tickets import Ticket, Tickets

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PATH = "/api/v1/subscriptions/urn:x:1/stream"


async def _secret() -> bytes:
    return b"s" * 32


async def _other_secret() -> bytes:
    return b"t" * 32


async def test_ticket_says_what_it_was_made_for() -> None:
    text, made = await Tickets(_secret).make(PATH, "mishima", NOW)
    assert await Tickets(_secret).read(text, NOW) == made == Ticket(PATH, "mishima", NOW + timedelta(seconds=60))


async def test_ticket_ends_after_a_minute() -> None:
    tickets = Tickets(_secret)
    text, _ = await tickets.make(PATH, "default", NOW)
    assert await tickets.read(text, NOW + timedelta(seconds=60)) is not None
    assert await tickets.read(text, NOW + timedelta(seconds=61)) is None


async def test_ticket_signed_by_another_is_none() -> None:
    text, _ = await Tickets(_other_secret).make(PATH, "default", NOW)
    assert await Tickets(_secret).read(text, NOW) is None


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: "A" + t[1:], lambda t: t + ".x", lambda t: t + "é"])
async def test_changed_ticket_is_none(change) -> None:  # type: ignore[no-untyped-def]
    text, _ = await Tickets(_secret).make(PATH, "default", NOW)
    assert await Tickets(_secret).read(change(text), NOW) is None


@pytest.mark.parametrize("text", ["", ".", "a.b", "ticket", "é.é", "a" * 10_000])
async def test_nonsense_is_no_ticket(text: str) -> None:
    assert await Tickets(_secret).read(text, NOW) is None

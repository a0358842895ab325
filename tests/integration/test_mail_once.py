# SPDX-License-Identifier: Apache-2.0
"""A mail comes once, as far as SMTP allows; where it may come twice, both are known as the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from queue import SimpleQueue

import pytest
from test_contacts import RULE, City, delivered, delivering

from support.hub import client_for, hub_for
from support.mail_server import Mailbox, running_mail_server
from support.waiting import eventually
from support.work_process import WorkProcess, work_process

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

SENDER = "minamo@city.example.jp"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mail_server() as running:
        yield running


@pytest.fixture
async def city(database_url: str, mailbox: Mailbox) -> AsyncIterator[City]:
    """A city with one contact by mail, to be told of an alarm that is there."""
    async with hub_for(database_url, smtp_url=mailbox.url, smtp_from=SENDER) as hub, client_for(hub) as client:
        one = City(hub, client)
        await one.put("alert-rules/levels", **RULE)
        await one.put("contacts/desk", name="防災課", channels=[{"type": "mail", "address": "desk@city.example.jp"}])
        await one.put("contact-groups/duty", name="当番", members=[{"contact": "desk"}])
        await one.put("notification-plans/all", name="全部", steps=[["duty"]])
        await one.rise(0, 2.5)
        await one.tell()
        yield one


async def test_server_that_is_rude_at_the_end_has_taken_the_mail(city: City, mailbox: Mailbox) -> None:
    mailbox.goodbye = "554 no"
    await delivered(city, 1)
    assert (await city.states(), len(mailbox.messages)) == ([("raised", "delivered")], 1)


async def test_mail_that_is_being_taken_when_the_worker_stops_is_booked(city: City, mailbox: Mailbox) -> None:
    begun, release = threading.Event(), threading.Event()
    mailbox.on_data = lambda: (begun.set(), release.wait(10))
    async with delivering(city):
        await eventually(begun.is_set)
        asyncio.get_running_loop().call_later(0.1, release.set)  # while the block is left: the worker stops
    mailbox.on_data = lambda: None
    await delivered(city, 1)
    assert len(mailbox.messages) == 1


async def test_attempt_after_a_failure_says_that_it_may_be_a_repeat(city: City, mailbox: Mailbox) -> None:
    mailbox.refusal = "452 4.3.1 no space left"
    async with delivering(city):

        async def tried() -> bool:
            return bool((await city.notices())[0]["attempts"])

        await eventually(tried)
        mailbox.refusal = None
        await eventually(lambda: len(mailbox.messages) == 1)
    assert mailbox.messages[0]["Minamo-Repeat"] == "possible"


@pytest.mark.slow
@pytest.mark.kill
async def test_mail_sent_again_after_a_kill_is_known_as_the_same(
    database_url: str, city: City, mailbox: Mailbox
) -> None:
    """SIGKILL between the mail server's yes and writing it down: what at least once means (12 s: the lease ends)."""
    settings = {"smtp_url": mailbox.url, "smtp_from": SENDER, "delivery_timeout_s": "1"}
    begun: SimpleQueue[WorkProcess] = SimpleQueue()
    mailbox.on_data = lambda: begun.get(timeout=30).kill()  # the mail may come before the worker says that it is ready
    async with work_process(database_url, **settings) as first:
        begun.put(first)
        await eventually(lambda: len(mailbox.messages) == 1)
    mailbox.on_data = lambda: None
    async with work_process(database_url, **settings):
        await eventually(lambda: len(mailbox.messages) == 2, timeout_s=60)
    one, other = mailbox.messages
    assert one["Message-ID"] == other["Message-ID"]
    assert "お知らせ番号" in one.get_content() and one["Minamo-Repeat"] is None
    assert other["Minamo-Repeat"] == "possible" and "すでに届いているかもしれません" in other.get_content()

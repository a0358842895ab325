# SPDX-License-Identifier: Apache-2.0
"""``minamo subscriptions`` and ``minamo dead-letters`` against a hub behind HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from click.testing import CliRunner, Result

from api.cli import main
from api.hub import Hub
from support.hub import client_for
from support.notifications import DEAD_AT_ONCE, delivering, notify, subscribe
from support.receiver import Receiver
from support.served import served
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

Command = Callable[..., Awaitable[Result]]


@pytest.fixture
async def minamo(hub: Hub) -> AsyncIterator[Command]:
    """A command of the hub, in English."""
    async with served(hub) as place:

        async def run(*arguments: str) -> Result:
            options = {"env": {"MINAMO_LANGUAGE": "en", "MINAMO_URL": f"http://{place}"}}
            return await asyncio.to_thread(lambda: CliRunner().invoke(main, list(arguments), **options))  # type: ignore[arg-type]

        yield run


@pytest.fixture
async def dead(hub: Hub, receiver: Receiver) -> str:
    """A subscription with two dead letters, whose receiver is well again."""
    async with client_for(hub) as client:
        subscription = await subscribe(client, receiver.url)
        await notify(hub, subscription, 2)
        receiver.status = 422

        async def given_up() -> bool:
            answer = await client.get(f"/api/v1/subscriptions/{subscription}")
            return bool(answer.json()["deadLetters"] == 2)

        async with delivering(hub, DEAD_AT_ONCE):
            await eventually(given_up)
    receiver.status = 200
    return subscription


async def letters(minamo: Command, *arguments: str) -> list[str]:
    """The numbers of the dead letters."""
    listed = await minamo("dead-letters", "list", *arguments)
    assert listed.exit_code == 0, listed.output
    return re.findall(r"^ *(\d+) ", listed.stdout, re.MULTILINE)


async def test_list_shows_what_was_given_up_and_the_last_answer(minamo: Command, dead: str) -> None:
    listed = await minamo("subscriptions", "list")
    assert re.search(rf"active +0 +- +0 +2 +2  {dead} -> ", listed.stdout), listed.stdout
    assert "fails: HTTP 422" in listed.stdout


async def test_one_subscription_is_shown_whole(minamo: Command, dead: str) -> None:
    assert '"deadLetters": 2' in (await minamo("subscriptions", "show", dead)).stdout


async def test_what_does_not_exist_is_an_error_in_words(minamo: Command, dead: str) -> None:
    found = await minamo("subscriptions", "show", "urn:x:none")
    assert found.exit_code == 1 and "urn:x:none" in found.stderr


async def test_a_letter_is_listed_shown_and_dropped(minamo: Command, dead: str) -> None:
    newest, oldest = await letters(minamo, "--subscription", dead)
    assert '"error": "HTTP 422: "' in (await minamo("dead-letters", "show", newest)).stdout
    assert (await minamo("dead-letters", "drop", newest)).exit_code == 0
    assert await letters(minamo) == [oldest]


@pytest.mark.parametrize("which", ["--all", "--subscription"])
async def test_letters_are_replayed(hub: Hub, minamo: Command, receiver: Receiver, dead: str, which: str) -> None:
    done = await minamo("dead-letters", "replay", which, *([dead] if which == "--subscription" else []))
    assert '"replayed": 2' in done.stdout, done.output
    async with delivering(hub):
        await receiver.wait_for(2)
    assert await letters(minamo) == []


async def test_a_receiver_catches_up(hub: Hub, minamo: Command, receiver: Receiver, dead: str) -> None:
    done = await minamo("subscriptions", "catch-up", dead, "--after", "1")
    assert done.exit_code == 0, done.output
    async with delivering(hub):
        await receiver.wait_for(1)
    assert [request.json["number"] for request in receiver.accepted] == [2]

# SPDX-License-Identifier: Apache-2.0
"""The HTTP receiver that other tests rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from support.receiver import Receiver
from support.waiting import eventually


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5) as client:
        yield client


async def test_it_remembers_requests(receiver: Receiver, client: httpx.AsyncClient) -> None:
    await client.post(f"{receiver.url}/hook", json={"level": 1.5}, headers={"X-Sequence": "7"})
    (request,) = await receiver.wait_for(1)
    assert (request.method, request.path, request.json) == ("POST", "/hook", {"level": 1.5})
    assert request.headers["x-sequence"] == "7"


async def test_what_it_refuses_is_received_and_not_accepted(receiver: Receiver, client: httpx.AsyncClient) -> None:
    receiver.status = lambda _request: 503 if len(receiver.received) == 1 else 204
    answers = [(await client.post(receiver.url, content=b"x")).status_code for _ in range(2)]
    assert (answers, len(receiver.received), len(receiver.accepted)) == ([503, 204], 2, 1)


async def test_a_slow_one_has_requests_under_way(receiver: Receiver, client: httpx.AsyncClient) -> None:
    receiver.delay_s = 0.1
    await asyncio.gather(*(client.post(receiver.url, content=b"x") for _ in range(3)))
    assert receiver.most_under_way == 3


async def test_closed_it_refuses_and_opened_again_it_has_the_same_address(
    receiver: Receiver, client: httpx.AsyncClient
) -> None:
    url = receiver.url
    await receiver.close()
    with pytest.raises(httpx.ConnectError):
        await client.post(url, content=b"x")
    await receiver.open()
    assert receiver.url == url
    assert (await client.post(url, content=b"x")).status_code == 200


async def test_requests_under_way_are_cut_when_it_closes(receiver: Receiver, client: httpx.AsyncClient) -> None:
    receiver.delay_s = 0.2
    sending = asyncio.create_task(client.post(receiver.url, content=b"x"))
    await eventually(lambda: receiver.under_way == 1)
    await receiver.close()
    with pytest.raises(httpx.TransportError):
        await sending

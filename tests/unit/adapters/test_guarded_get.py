# SPDX-License-Identifier: Apache-2.0
"""Getting documents whose address others name: what goes along over redirects, and where a name may lead."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.web.guard import Reach
from adapters.web.guarded_get import GetFailed, GuardedGetter
from support.certificates import make_certificates
from support.receiver import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as opened:
        opened.reply = lambda _: (200, b"document")
        yield opened


@pytest.fixture
async def getter() -> AsyncIterator[GuardedGetter]:
    opened = make_getter()
    yield opened
    await opened.aclose()


def make_getter(**options: Any) -> GuardedGetter:
    return GuardedGetter(
        accept="text/csv",
        timeout_s=5,
        max_bytes=100,
        connections=1,
        **{"reach": Reach(allow_loopback=True), **options},
    )


def redirect(receiver: Receiver, target: str) -> None:
    """``receiver`` sends on to ``target`` what does not ask for it."""
    receiver.headers = {"Location": target}
    receiver.reply = lambda request: (200, b"document") if request.path == target else (302, b"")


async def test_conditions_and_own_headers_go_with_each_request_to_the_same_origin(
    getter: GuardedGetter, receiver: Receiver
) -> None:
    redirect(receiver, "/moved")
    answer = await getter.get(receiver.url, {"If-None-Match": '"1"'}, {"X-Key": "s", "accept": "text/plain"})
    assert answer.body == b"document"
    for request in receiver.received:
        sent = (request.headers["if-none-match"], request.headers["x-key"], request.headers["accept"])
        assert sent == ('"1"', "s", "text/plain")


async def test_own_headers_stay_away_from_another_origin_and_conditions_do_not(
    getter: GuardedGetter, receiver: Receiver
) -> None:
    async with Receiver() as other:
        other.reply = lambda _: (304, b"")
        redirect(receiver, f"{other.url}/x")
        answer = await getter.get(receiver.url, {"If-None-Match": '"1"'}, {"X-Key": "s", "Accept": "text/plain"})
        assert answer.status == 304
        (request,) = other.received
    assert ("x-key" in request.headers, request.headers["accept"]) == (False, "text/csv")
    assert request.headers["if-none-match"] == '"1"'


async def test_answer_without_a_location_is_no_redirect(getter: GuardedGetter, receiver: Receiver) -> None:
    receiver.reply = lambda _: (302, b"")
    assert (await getter.get(receiver.url, {})).status == 302


async def test_what_is_encoded_in_an_address_stays_as_it_is(getter: GuardedGetter, receiver: Receiver) -> None:
    await getter.get(f"{receiver.url}/水位/a%2Fb%2C?sig=a%2Bb%3D%3D&at=09%3A00&k=水 c#part", {})
    assert receiver.received[0].path == "/%E6%B0%B4%E4%BD%8D/a%2Fb%2C?sig=a%2Bb%3D%3D&at=09%3A00&k=%E6%B0%B4%20c"


async def test_large_answer_is_not_read_to_its_end(getter: GuardedGetter, receiver: Receiver) -> None:
    receiver.reply = lambda _: (200, b"x" * 101)
    with pytest.raises(GetFailed, match="the document is larger than 100 bytes"):
        await getter.get(receiver.url, {})


@pytest.mark.parametrize(("may_leave_tls", "outcome"), [(False, "the server redirects from https to http"), (True, "")])
async def test_nothing_asked_for_by_tls_is_fetched_without_it_unless_that_is_allowed(
    receiver: Receiver, tmp_path: Path, may_leave_tls: bool, outcome: str
) -> None:
    make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")

    async def send_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {receiver.url}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    getter = make_getter(reach=Reach(allow_loopback=True, ca_file=tmp_path / "ca.pem"), may_leave_tls=may_leave_tls)
    async with await asyncio.start_server(send_on, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
        if outcome:
            with pytest.raises(GetFailed, match=outcome):
                await getter.get(url, {})
        else:
            assert (await getter.get(url, {})).body == b"document"
    await getter.aclose()


async def test_connection_goes_to_the_address_that_was_checked(
    getter: GuardedGetter, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that has another address each time it is asked for (DNS rebinding): no name server of ours does that."""
    answers = ["127.0.0.1", "10.1.2.3"]
    asked: list[str] = []

    async def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[len(asked) - 1], port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    receiver.headers = {"Connection": "close"}
    url = receiver.url.replace("127.0.0.1", "sensors.example.org")
    assert (await getter.get(url, {})).body == b"document"
    assert asked == ["sensors.example.org"]
    with pytest.raises(GetFailed, match="an address of a private network"):
        await getter.get(url, {})


async def test_name_without_an_address_is_told(getter: GuardedGetter) -> None:
    with pytest.raises(GetFailed, match=r"no-such-name\.invalid cannot be resolved"):
        await getter.get("http://no-such-name.invalid/", {})

# SPDX-License-Identifier: Apache-2.0
"""Posting: what receivers answer, well and badly, over connections that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from adapters.web.guard import ForbiddenDestination, Reach
from adapters.web.http_post import BrokenAnswer, Poster, sent_headers
from tests.support.waiting import eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request of a connection with the next of ``answers``; None ends the connection instead."""

    def __init__(self, answers: Callable[[int], bytes | None]) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self.writers: list[asyncio.StreamWriter] = []
        self._answers = answers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self._answers(len(self.requests))
                if answer is not None:
                    writer.write(answer)
                if answer is None or answer.startswith(b"HTTP/1.0"):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


@asynccontextmanager
async def serving(answers: Callable[[int], bytes | None]) -> AsyncIterator[Server]:
    server = Server(answers)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/n"
    try:
        yield server
    finally:
        listening.close()
        for writer in server.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in server.writers), return_exceptions=True)


@pytest.fixture
async def poster() -> AsyncIterator[Poster]:
    poster = Poster(reach=Reach(allow_private=True, allow_loopback=True), connections=2)
    yield poster
    await poster.aclose()


async def test_connection_is_kept_for_the_next_request(poster: Poster) -> None:
    async with serving(lambda _: OK) as server:
        for _ in range(3):
            assert (await poster.post(server.url, {}, b"x")).body == b"ok"
        assert server.connections == 1


async def test_request_has_the_headers_and_the_body(poster: Poster) -> None:
    async with serving(lambda _: OK) as server:
        await poster.post(server.url + "/a b?q=é", {"X-Name": "三島", "Accept": "text/plain"}, b"body")
        lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "POST /n/a%20b?q=%C3%A9 HTTP/1.1"
    assert lines[1] == f"Host: {server.url.split('/')[2]}"
    assert lines[-2:] == ["", "body"]
    assert set(lines[2:-2]) == {"X-Name: 三島", "Accept: text/plain", "User-Agent: minamo", "Content-Length: 4"}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ],
    ids=["chunked", "interim", "hints", "until its end"],
)
async def test_answer_is_read_however_it_is_framed(poster: Poster, answer: bytes) -> None:
    async with serving(lambda _: answer) as server:
        found = await poster.post(server.url, {}, b"x")
        assert (found.status, found.body) == (200, b"ok")


async def test_answer_without_content_is_one(poster: Poster) -> None:
    async with serving(lambda _: b"HTTP/1.1 204 No Content\r\n\r\n") as server:
        assert [(await poster.post(server.url, {}, b"x")).status for _ in range(2)] == [204, 204]
        assert server.connections == 1


async def test_answer_tells_how_long_to_wait(poster: Poster) -> None:
    async with serving(lambda _: b"HTTP/1.1 429 Later\r\nretry-after: 7\r\nContent-Length: 0\r\n\r\n") as server:
        assert (await poster.post(server.url, {}, b"x")).retry_after == "7"


async def test_connection_that_the_receiver_ended_meanwhile_is_replaced(poster: Poster) -> None:
    async with serving(lambda number: None if number == 2 else OK) as server:
        await poster.post(server.url, {}, b"1")
        assert (await poster.post(server.url, {}, b"2")).status == 200
        assert server.connections == 2
        assert [request[-1:] for request in server.requests] == [b"1", b"2", b"2"]


async def test_new_connection_that_ends_without_an_answer_is_an_error(poster: Poster) -> None:
    async with serving(lambda _: None) as server:
        with pytest.raises(BrokenAnswer, match="without an answer"):
            await poster.post(server.url, {}, b"x")
        assert server.connections == 1


async def test_what_is_not_http_is_an_error(poster: Poster) -> None:
    async with serving(lambda _: b"SSH-2.0-OpenSSH\r\n") as server:
        with pytest.raises(BrokenAnswer, match="no HTTP"):
            await poster.post(server.url, {}, b"x")


async def test_connection_that_is_to_be_closed_is_not_used_again(poster: Poster) -> None:
    async with serving(lambda _: OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")) as server:
        await poster.post(server.url, {}, b"1")
        await poster.post(server.url, {}, b"2")
        assert server.connections == 2


async def test_second_answer_that_nobody_asked_for_is_never_that_of_the_next_request(poster: Poster) -> None:
    forged = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
    async with serving(lambda number: OK + forged if number == 1 else OK) as server:
        assert [(await poster.post(server.url, {}, b"x")).status for _ in range(2)] == [200, 200]


async def test_endless_answer_is_read_in_part(poster: Poster) -> None:
    async with serving(lambda _: b"HTTP/1.1 500 Oops\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 200_000) as server:
        found = await poster.post(server.url, {}, b"x")
        assert (found.status, len(found.body)) == (500, 65_536)
        assert (await poster.post(server.url, {}, b"x")).status == 500
        assert server.connections == 2


async def test_attempt_that_is_given_up_leaves_no_connection_behind(poster: Poster) -> None:
    async with serving(lambda number: b"" if number == 1 else OK) as server:
        attempt = asyncio.create_task(poster.post(server.url, {}, b"1"))
        await eventually(lambda: bool(server.requests))
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert (await poster.post(server.url, {}, b"2")).body == b"ok"
        assert server.connections == 2


async def test_no_more_connections_than_allowed_go_to_one_receiver(poster: Poster) -> None:
    async with serving(lambda _: OK) as server:
        await asyncio.gather(*(poster.post(server.url, {}, b"x") for _ in range(10)))
        assert len(server.requests) == 10
        assert server.connections <= 2


async def test_own_machine_is_not_connected_to_unless_allowed() -> None:
    async with serving(lambda _: OK) as server:
        poster = Poster(reach=Reach(allow_private=True, allow_loopback=False), connections=1)
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(ForbiddenDestination):
                await poster.post(server.url.replace("127.0.0.1", host), {}, b"x")
        for host in ("0", "127.1", "2130706433", "0x7f.1"):  # this machine as well, for a resolver of names
            with pytest.raises((ForbiddenDestination, ValueError)):
                await poster.post(server.url.replace("127.0.0.1", host), {}, b"x")
        await poster.aclose()
        assert server.connections == 0


@pytest.mark.parametrize("header", [{"A\r\nB": "x"}, {"A": "x\r\nB: y"}, {"A": "x\0"}, {"": "x"}, {"A b": "x"}])
def test_header_cannot_smuggle_another(header: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no HTTP header"):
        sent_headers(header)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Host", "Connection"])
def test_headers_of_the_connection_are_the_hubs(name: str) -> None:
    assert sent_headers({name: "forged", "X-Name": "x"}) == {"X-Name": "x"}

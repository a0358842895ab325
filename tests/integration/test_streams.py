# SPDX-License-Identifier: Apache-2.0
"""Streams of notifications, read by real clients from a real server."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.hub import Hub
from context_store.database import ALL_TENANTS
from support.hub import client_for, hub_for
from support.notifications import notify, subscribe
from support.served import served
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

Event = tuple[int, str, Any]  # id, kind, data
PULLED = "minamo:stream"
TOKEN = "a token of the tests"


@pytest.fixture
async def address(hub: Hub) -> AsyncIterator[str]:
    async with served(hub) as address:
        yield address


@asynccontextmanager
async def events(address: str, subscription: str, **options: Any) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of a subscription's stream."""
    path = f"http://{address}/api/v1/subscriptions/{subscription}/stream"
    async with (
        httpx.AsyncClient(timeout=10) as client,
        client.stream("GET", options.pop("url", path), **options) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        yield _parsed(answer.aiter_lines())


async def _parsed(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            yield (0, "heartbeat", None)
        elif line:
            fields[name] = value
        elif "data" in fields:
            yield (int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}


async def take(stream: AsyncIterator[Event], count: int) -> list[Event]:
    return [await asyncio.wait_for(anext(stream), 10) for _ in range(count)]


def socket(address: str, subscription: str, query: str = "", **options: Any) -> connect:
    return connect(f"ws://{address}/api/v1/subscriptions/{subscription}/stream{query}", proxy=None, **options)


async def received(connection: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(await asyncio.wait_for(connection.recv(), 10)) for _ in range(count)]


async def test_notifications_come_as_they_are_made(hub: Hub, client: httpx.AsyncClient, address: str) -> None:
    subscription = await subscribe(client, PULLED)
    async with events(address, subscription) as stream:
        assert await take(stream, 1) == [(0, "open", {"sequence": 0})]
        for count in (1, 2):
            await notify(hub, subscription, count)
        found = await take(stream, 3)
    assert [(number, kind, data["number"]) for number, kind, data in found] == [
        (number, "notification", number) for number in (1, 2, 3)
    ]


async def test_notifications_that_are_pulled_are_not_sent_anywhere(hub: Hub, client: httpx.AsyncClient) -> None:
    subscription = await subscribe(client, PULLED)
    await notify(hub, subscription, 3)
    async with hub.database.transaction(ALL_TENANTS) as connection:
        rows = await (await connection.execute("select state, stream_key from delivery")).fetchall()
        assert rows == [("kept", None)] * 3
        assert await (await connection.execute("select from delivery_stream")).fetchall() == []


@pytest.mark.parametrize("how", ["header", "parameter"])
async def test_client_that_comes_back_misses_nothing(
    hub: Hub, client: httpx.AsyncClient, address: str, how: str
) -> None:
    subscription = await subscribe(client, PULLED)
    await notify(hub, subscription, 250)
    options: dict[str, Any] = {"headers": {"Last-Event-ID": "7"}} if how == "header" else {"params": {"after": 7}}
    async with events(address, subscription, **options) as stream:
        found = await take(stream, 244)
    assert [number for number, _, _ in found] == [7, *range(8, 251)]


async def test_every_process_serves_the_same_stream(hub: Hub, client: httpx.AsyncClient, address: str) -> None:
    subscription = await subscribe(client, PULLED)
    async with (
        served(hub) as other,
        events(address, subscription) as one,
        events(other, subscription) as two,
    ):
        await notify(hub, subscription, 5)
        assert await take(one, 6) == await take(two, 6)


async def test_what_is_not_kept_any_more_is_a_gap(hub: Hub, client: httpx.AsyncClient, address: str) -> None:
    subscription = await subscribe(client, PULLED)
    await notify(hub, subscription, 6)
    async with hub.database.transaction(ALL_TENANTS) as connection:
        await connection.execute("delete from delivery where sequence in (1, 2, 5, 6)")
    async with events(address, subscription, params={"after": 0}) as stream:
        _, *found = await take(stream, 5)
    assert [(number, kind) for number, kind, _ in found] == [
        (2, "gap"),
        (3, "notification"),
        (4, "notification"),
        (6, "gap"),
    ]
    assert found[0][2] == {"from": 1, "to": 2}


async def test_subscription_with_an_endpoint_can_be_followed_too(
    hub: Hub, client: httpx.AsyncClient, address: str
) -> None:
    subscription = await subscribe(client, "http://127.0.0.1:9/")
    async with events(address, subscription) as stream:
        await notify(hub, subscription, 2)
        assert [number for number, _, _ in await take(stream, 3)] == [0, 1, 2]


async def test_stream_ends_with_its_subscription(client: httpx.AsyncClient, address: str) -> None:
    subscription = await subscribe(client, PULLED)
    async with events(address, subscription) as stream:
        await take(stream, 1)
        await client.delete(f"/ngsi-ld/v1/subscriptions/{subscription}")
        with pytest.raises(StopAsyncIteration):
            while True:
                await take(stream, 1)


async def test_pages_are_cut_by_size(hub: Hub, client: httpx.AsyncClient, address: str) -> None:
    subscription = await subscribe(client, PULLED)
    await notify(hub, subscription, 12, size=300_000)
    path = f"/api/v1/subscriptions/{subscription}/notifications"
    assert len((await client.get(path)).json()["notifications"]) == 4
    async with events(address, subscription, params={"after": 0}) as stream:
        assert [number for number, _, _ in await take(stream, 13)] == list(range(13))


async def test_stream_of_another_tenant_does_not_exist(client: httpx.AsyncClient, address: str) -> None:
    subscription = await subscribe(client, PULLED)
    await subscribe(client, PULLED, **{"NGSILD-Tenant": "other"})
    async with httpx.AsyncClient() as other:
        path = f"http://{address}/api/v1/subscriptions/{subscription}/stream"
        assert (await other.get(path, headers={"NGSILD-Tenant": "other"})).status_code == 404


async def test_no_more_streams_than_allowed(database_url: str) -> None:
    async with hub_for(database_url, stream_max_open=1) as hub, client_for(hub) as client, served(hub) as address:
        subscription = await subscribe(client, PULLED)
        async with events(address, subscription), httpx.AsyncClient() as other:
            answer = await other.get(f"http://{address}/api/v1/subscriptions/{subscription}/stream")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        async with asyncio.timeout(10):
            await eventually(lambda: _opens(address, subscription))


async def _opens(address: str, subscription: str) -> bool:
    async with httpx.AsyncClient() as client:
        path = f"http://{address}/api/v1/subscriptions/{subscription}/stream"
        async with client.stream("GET", path) as answer:
            return answer.status_code == 200


async def test_quiet_stream_shows_that_it_lives(database_url: str) -> None:
    async with hub_for(database_url, stream_heartbeat_s=0.1) as hub, client_for(hub) as client, served(hub) as address:
        subscription = await subscribe(client, PULLED)
        async with events(address, subscription) as stream, socket(address, subscription) as connection:
            assert [kind for _, kind, _ in await take(stream, 2)] == ["open", "heartbeat"]
            assert [message["type"] for message in await received(connection, 2)] == ["open", "heartbeat"]


async def test_client_that_does_not_read_is_cut_off(database_url: str) -> None:
    async with hub_for(database_url, stream_stall_s=0.3) as hub, client_for(hub) as client, served(hub) as address:
        subscription = await subscribe(client, PULLED)
        await notify(hub, subscription, 40, size=500_000)
        host, _, port = address.partition(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1000)
        path = f"/api/v1/subscriptions/{subscription}/stream?after=0"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        await eventually(lambda: _open_streams(client, 1))
        await eventually(lambda: _open_streams(client, 0))
        writer.close()


async def _open_streams(client: httpx.AsyncClient, count: int) -> bool:
    return f"minamo_streams_open {count}.0" in (await client.get("/metrics")).text


async def test_websocket_tells_the_same(hub: Hub, client: httpx.AsyncClient, address: str) -> None:
    subscription = await subscribe(client, PULLED)
    await notify(hub, subscription, 3)
    async with socket(address, subscription, "?after=1") as connection:
        await notify(hub, subscription, 1)
        messages = await received(connection, 4)
    assert messages[0] == {"type": "open", "sequence": 1}
    assert [(message["sequence"], message["notification"]["number"]) for message in messages[1:]] == [
        (2, 2),
        (3, 3),
        (4, 4),
    ]


async def test_websocket_of_no_subscription_is_closed(client: httpx.AsyncClient, address: str) -> None:
    async with socket(address, "urn:x:1") as connection:
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4404


async def test_page_of_another_site_cannot_open_a_websocket(client: httpx.AsyncClient, address: str) -> None:
    subscription = await subscribe(client, PULLED)
    with pytest.raises(InvalidStatus):
        async with socket(address, subscription, origin="http://elsewhere.example"):
            pass
    async with socket(address, subscription, origin=f"http://{address}") as connection:
        assert len(await received(connection, 1)) == 1


@pytest.fixture
async def closed_hub(database_url: str) -> AsyncIterator[Hub]:
    """A hub that asks for a token."""
    hashes = (hashlib.sha256(TOKEN.encode()).hexdigest(),)
    async with hub_for(database_url, api_tokens_sha256=hashes) as hub:
        yield hub


async def test_ticket_opens_its_stream_without_a_token(closed_hub: Hub) -> None:
    async with client_for(closed_hub) as client, served(closed_hub) as address:
        client.headers.update({"Authorization": f"Bearer {TOKEN}", "NGSILD-Tenant": "mishima"})
        subscription = await subscribe(client, PULLED)
        path = f"/api/v1/subscriptions/{subscription}/stream"
        answer = await client.post("/api/v1/stream-tickets", json={"path": path})
        assert answer.status_code == 201
        ticket = answer.json()
        async with events(address, subscription, url=f"http://{address}{ticket['url']}") as stream:
            assert await take(stream, 1) == [(0, "open", {"sequence": 0})]
        async with socket(address, subscription, f"?ticket={ticket['ticket']}", origin="http://app.example") as opened:
            assert len(await received(opened, 1)) == 1


async def test_without_token_or_ticket_nothing_opens(closed_hub: Hub) -> None:
    async with client_for(closed_hub) as client, served(closed_hub) as address:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        subscription, other = [await subscribe(client, PULLED) for _ in range(2)]
        path = f"/api/v1/subscriptions/{other}/stream"
        ticket = (await client.post("/api/v1/stream-tickets", json={"path": path})).json()["ticket"]
        async with httpx.AsyncClient() as stranger:
            for query in ("", "?ticket=", "?ticket=x.y", f"?ticket={ticket}"):
                url = f"http://{address}/api/v1/subscriptions/{subscription}/stream{query}"
                assert (await stranger.get(url)).status_code == 401
            assert (await stranger.get(f"http://{address}/api/v1/stations?ticket={ticket}")).status_code == 401
        for query in ("", f"?ticket={ticket}"):
            with pytest.raises(InvalidStatus):
                async with socket(address, subscription, query):
                    pass


@pytest.mark.parametrize("path", [None, "/api/v1/stations", "/ngsi-ld/v1/entities", "/api/v1/subscriptions/stream"])
async def test_there_are_tickets_for_streams_only(client: httpx.AsyncClient, path: str | None) -> None:
    assert (await client.post("/api/v1/stream-tickets", json={"path": path})).status_code == 400

# SPDX-License-Identifier: Apache-2.0
"""The live page where tokens are needed: it asks for one, and the session it opens reads and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from support.hub import client_for, hub_for

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

TOKEN = "a token of the tests"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with hub_for(database_url, api_tokens_sha256=(HASH,)) as hub, client_for(hub) as client:
        yield client


async def sign_in(client: httpx.AsyncClient) -> httpx.Response:
    answer = await client.post("/api/v1/session", json={"token": TOKEN})
    assert answer.status_code == 204
    return answer


@pytest.mark.parametrize("page", ["/", "/devices"])
async def test_page_asks_for_a_token(client: httpx.AsyncClient, page: str) -> None:
    answer = await client.get(page)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")
    for name in ("sign_in.js", "sign_in.css"):
        assert f"/static/sign_in/{name}" in answer.text
        assert (await client.get(f"/static/sign_in/{name}")).status_code == 200


async def test_session_opens_the_page_and_what_it_reads(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    for path in ("/", "/devices", "/api/v1/devices", "/api/v1/stations", "/static/app/main.js", "/metrics"):
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/ngsi-ld/v1/entities"), ("DELETE", "/api/v1/devices/1"), ("POST", "/api/v1/stream-tickets")],
)
async def test_session_changes_nothing(client: httpx.AsyncClient, method: str, path: str) -> None:
    await sign_in(client)
    assert (await client.request(method, path, json={})).status_code == 401


async def test_cookie_is_for_this_site_and_not_for_scripts(client: httpx.AsyncClient) -> None:
    cookie = (await sign_in(client)).headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "max-age=43200", "path=/"} <= {part.strip() for part in cookie.split(";")}


async def test_cookie_is_secure_behind_tls(client: httpx.AsyncClient) -> None:
    answer = await client.post("https://hub/api/v1/session", json={"token": TOKEN})
    assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("body", [{"token": "another"}, {"token": ""}, {"token": None}, {}])
async def test_wrong_token_opens_nothing(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    answer = await client.post("/api/v1/session", json=body)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


async def test_a_token_that_is_no_text_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/api/v1/session", content=rb'{"token": "\ud800"}', headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize("cookie", ["minamo_session=x.y", "minamo_session=", 'minamo_session="a; b', "other=1"])
async def test_other_cookies_open_nothing(client: httpx.AsyncClient, cookie: str) -> None:
    assert (await client.get("/api/v1/stations", headers={"Cookie": cookie})).status_code == 401


async def test_ticket_of_a_stream_is_no_session(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/api/v1/stream-tickets",
        json={"path": "/api/v1/alerts/stream"},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    cookie = f"minamo_session={answer.json()['ticket']}"
    assert (await client.get("/api/v1/stations", headers={"Cookie": cookie})).status_code == 401


async def test_signing_out_ends_it(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    assert (await client.delete("/api/v1/session")).status_code == 204
    assert (await client.get("/api/v1/stations")).status_code == 401


async def test_session_ends_with_its_token(client: httpx.AsyncClient, database_url: str) -> None:
    cookie = (await sign_in(client)).headers["set-cookie"].partition(";")[0]
    async with (
        hub_for(database_url, api_tokens_sha256=("0" * 64,)) as hub,
        client_for(hub) as later,
    ):
        assert (await later.get("/api/v1/stations", headers={"Cookie": cookie})).status_code == 401


ACKNOWLEDGE = "/api/v1/alarms/none/acknowledge"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Origin": "http://hub"}, 404),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://hub"}, 401),
        ({"Origin": "http://elsewhere.example"}, 401),
        ({}, 401),
    ],
)
async def test_session_presses_the_buttons_of_the_page_from_the_page_only(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    await sign_in(client)
    assert (await client.post(ACKNOWLEDGE, json={}, headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v1/contacts/none/test", 404),
        ("POST", "/api/v1/contacts/none/browsers", 400),
        ("POST", "/api/v1/drills", 400),
        ("POST", "/api/v1/drills/none/end", 404),
        ("POST", "/api/v1/alert-rules/replay", 400),
        ("PUT", "/api/v1/contacts/none", 401),
        ("DELETE", "/api/v1/contacts/none/browsers/x", 401),
        ("PUT", "/api/v1/alert-rules/none", 401),
        ("POST", "/api/v1/alert-rules/import", 401),
    ],
)
async def test_session_does_what_an_emergency_needs_and_changes_nothing_that_stays(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    await sign_in(client)
    answer = await client.request(method, path, json={}, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_a_button_is_a_post_and_nothing_else(client: httpx.AsyncClient, method: str) -> None:
    await sign_in(client)
    answer = await client.request(method, ACKNOWLEDGE, json={}, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 401


async def test_what_somebody_does_is_noted_with_the_token_of_the_session(client: httpx.AsyncClient) -> None:
    authorization = {"Authorization": f"Bearer {TOKEN}"}
    rule = {
        "name": {"ja": "規則"},
        "entities": {"ids": ["urn:x:1"]},
        "attribute": "waterLevel",
        "levels": [{"stage": "danger", "threshold": 1}],
    }
    assert (await client.put("/api/v1/alert-rules/r", json=rule, headers=authorization)).status_code == 201
    (entry,) = (await client.get("/api/v1/audit", headers=authorization)).json()["entries"]
    assert (entry["actor"], entry["action"]) == (f"token:{HASH[:12]}", "rule.put")

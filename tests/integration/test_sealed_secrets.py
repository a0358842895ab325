# SPDX-License-Identifier: Apache-2.0
"""Secrets that clients give for others: sealed wherever they lie in the database, in clear where they are needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet

from adapters.channels.signing import signature_headers
from api.hub import Hub
from context_store.database import ALL_TENANTS
from context_store.resealing import Resealed, reseal
from context_store.secrets import shared_secret
from support.hub import client_for, hub_for
from support.notifying import create, running, subscribe
from support.receiver import Received, Receiver
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
TOKEN, SIGNING, INNER = "Bearer geheim-und-lang", "geheim-zum-signieren", "geheim-fuer-die-quelle"
PLACES = (
    "subscription", "csource_registration", "contact_document", "delivery_stream", "delivery", "hub_secret", "poll",
)  # fmt: skip
INFO = [{"key": "Authorization", "value": TOKEN}, {"key": "Prefer", "value": "body=json"}]
ENDPOINT = {"receiverInfo": INFO, "notifierInfo": [{"key": "Minamo-Secret", "value": SIGNING}]}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(OLD)
    return path


@asynccontextmanager
async def sealing(database_url: str, keys: Path | None) -> AsyncIterator[tuple[Hub, httpx.AsyncClient]]:
    """A hub with these keys, and a client of it."""
    async with hub_for(database_url, secret_keys_file=keys) as hub, client_for(hub) as client:
        yield hub, client


async def give_secrets(client: httpx.AsyncClient, url: str) -> str:
    """A subscription, a registration and a contact with secrets; the id of the subscription."""
    subscription_id = await subscribe(client, url, notification={"endpoint": {"uri": url, **ENDPOINT}})
    registration = {
        "id": "urn:x:source",
        "type": "ContextSourceRegistration",
        "endpoint": url,
        "information": [{"entities": [{"type": "Car"}]}],
        "contextSourceInfo": [{"key": "X-Key", "value": INNER}, {"key": "accept", "value": "application/json"}],
    }
    response = await client.post("/ngsi-ld/v1/csourceRegistrations", json=registration)
    assert response.status_code == 201, response.text
    channel = {"type": "webhook", "address": url, "secret": SIGNING}
    response = await client.put("/api/v1/contacts/desk", json={"name": "Desk", "channels": [channel]})
    assert response.status_code == 201, response.text
    return subscription_id


def signed(request: Received) -> bool:
    """Whether the secret signed it."""
    headers = request.headers
    expected = signature_headers(SIGNING, headers["webhook-id"], int(headers["webhook-timestamp"]), request.body)
    return headers["webhook-signature"] == expected["Webhook-Signature"]


def change_keys(path: Path, *keys: str) -> None:
    path.write_text("\n".join(keys))


async def secrets_in(hub: Hub) -> set[str]:
    """The tables in which a secret stands in clear."""
    found = set()
    async with hub.database.transaction(ALL_TENANTS) as connection:
        for place in PLACES:
            rows = await (await connection.execute(f"select {place}::text from {place}")).fetchall()  # type: ignore[arg-type]
            if any("geheim" in row[0] for row in rows):
                found.add(place)
    return found


async def resealed(hub: Hub) -> Resealed:
    async with hub.database.transaction(ALL_TENANTS) as connection:
        return await reseal(connection, hub.sealer)


async def info_of(client: httpx.AsyncClient, subscription_id: str) -> Any:
    shown = (await client.get(f"/ngsi-ld/v1/subscriptions/{subscription_id}")).json()
    return shown["notification"]["endpoint"]["receiverInfo"]


async def test_secrets_arrive_in_clear_and_lie_sealed(database_url: str, keys: Path, receiver: Receiver) -> None:
    async with sealing(database_url, keys) as (hub, client):
        subscription_id = await give_secrets(client, receiver.url)
        assert (await client.post("/api/v1/contacts/desk/test", json={})).status_code in (200, 202)
        async with running(hub):
            await create(client)
            await eventually(lambda: len(receiver.received) >= 2)
        notified = next(one for one in receiver.received if "authorization" in one.headers)
        assert notified.headers["authorization"] == TOKEN
        assert all(signed(one) for one in receiver.received)
        assert await secrets_in(hub) == set()
        assert await info_of(client, subscription_id) == INFO
        registration = (await client.get("/ngsi-ld/v1/csourceRegistrations/urn:x:source")).json()
        assert registration["contextSourceInfo"][0] == {"key": "X-Key", "value": INNER}


async def test_source_is_told_its_secret_in_clear(database_url: str, keys: Path, receiver: Receiver) -> None:
    receiver.reply = lambda _: (200, b"[]")
    async with sealing(database_url, keys) as (_, client):
        await give_secrets(client, receiver.url)
        assert (await client.get("/ngsi-ld/v1/entities", params={"type": "Car"})).status_code == 200
        assert receiver.received[-1].headers["x-key"] == INNER


async def test_secrets_from_before_the_keys_are_sealed_later(database_url: str, keys: Path, receiver: Receiver) -> None:
    async with sealing(database_url, None) as (hub, client):
        await give_secrets(client, receiver.url)
        own = await shared_secret(hub.database, "of the test", hub.sealer)
        async with running(hub):
            await create(client)
            await eventually(lambda: len(receiver.received) == 1)
        assert await secrets_in(hub) == {"subscription", "csource_registration", "contact_document", "delivery"}
    async with sealing(database_url, keys) as (hub, client):
        assert (await resealed(hub)).lost == {}
        assert await secrets_in(hub) == set()
        assert await shared_secret(hub.database, "of the test", hub.sealer) == own
    change_keys(keys, NEW, OLD)
    async with sealing(database_url, keys) as (hub, _):
        assert (await resealed(hub)).lost == {}
    change_keys(keys, NEW)
    async with sealing(database_url, keys) as (hub, client):
        async with running(hub):
            await create(client, 2)
            await eventually(lambda: len(receiver.received) == 2)
        assert receiver.received[-1].headers["authorization"] == TOKEN
        assert await shared_secret(hub.database, "of the test", hub.sealer) == own


async def test_a_lost_key_fails_what_needs_it_and_nothing_else(
    database_url: str, keys: Path, receiver: Receiver
) -> None:
    async with sealing(database_url, keys) as (_, client):
        subscription_id = await give_secrets(client, receiver.url)
        await subscribe(client, f"{receiver.url}/other")
    change_keys(keys, NEW)
    async with sealing(database_url, keys) as (hub, client):
        assert (await info_of(client, subscription_id))[0]["value"] == "***"
        async with running(hub):
            await create(client)
            await eventually(lambda: len(receiver.received) == 1)
        assert receiver.received[0].path == "/other"
        answer = await client.get("/ngsi-ld/v1/entities", params={"type": "Car"})
        assert "X-Key is sealed with a key that this hub does not have" in answer.headers["ngsild-warning"]
        assert (await resealed(hub)).lost["subscriptions"] == 1
        fragment = {"notification": {"endpoint": {"uri": f"{receiver.url}/new", "receiverInfo": INFO}}}
        path = f"/ngsi-ld/v1/subscriptions/{subscription_id}"
        assert (await client.patch(path, json=fragment)).status_code == 204
        assert await info_of(client, subscription_id) == INFO


async def test_session_of_a_browser_sees_no_secret(database_url: str, keys: Path, receiver: Receiver) -> None:
    token = "for staff"
    async with (
        hub_for(database_url, secret_keys_file=keys, api_tokens_sha256=(sha256(token.encode()).hexdigest(),)) as hub,
        client_for(hub) as client,
    ):
        client.headers["authorization"] = f"Bearer {token}"
        subscription_id = await give_secrets(client, receiver.url)
        await client.post("/api/v1/session", json={"token": token})
        del client.headers["authorization"]
        assert [pair["value"] for pair in await info_of(client, subscription_id)] == ["***", "body=json"]
        found = (await client.get("/ngsi-ld/v1/csourceRegistrations", params={"type": "Car"})).json()
        assert found[0]["contextSourceInfo"][0] == {"key": "X-Key", "value": "***"}


async def test_sealed_text_of_somebody_else_is_no_secret_of_a_contact(database_url: str, keys: Path) -> None:
    async with sealing(database_url, keys) as (hub, client):
        channel = {"type": "mqtt", "address": "mqtts://x.example/t", "secret": hub.sealer.seal_one("stolen")}
        response = await client.put("/api/v1/contacts/desk", json={"name": "Desk", "channels": [channel]})
        assert (response.status_code, "has to be a text" in response.json()["detail"]) == (400, True)

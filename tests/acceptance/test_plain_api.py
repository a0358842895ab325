# SPDX-License-Identifier: Apache-2.0
"""What the hub's own API refuses, and how: problem details, never a fault of the hub."""

from __future__ import annotations

import httpx
import pytest

from schemas.terms import ERROR_TYPE, JSON
from support.hub import client_for, hub_for

DEVICE = "/api/v1/devices/tomoe-01"
NEEDED = (
    '"entityId": "urn:ngsi-ld:River:1", "entityType": "River", "attributes": [{"field": "h", "attribute": "level"}]'
)

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)


async def put(client: httpx.AsyncClient, body: str, media_type: str = JSON) -> httpx.Response:
    return await client.put(DEVICE, content=body, headers={"Content-Type": media_type})


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"].removeprefix(ERROR_TYPE)


async def test_a_complete_document_is_taken(client: httpx.AsyncClient) -> None:
    assert (await put(client, "{" + NEEDED + "}")).status_code == 201


@pytest.mark.parametrize(
    "address",
    [
        "/api/v1/alerts?entityId=%00",
        "/api/v1/quarantine?reason=%00",
        "/api/v1/quarantine?device=a%00b",
        "/api/v1/stations/a%00b/series",
        "/api/v1/devices/%00",
        "/api/v1/dead-letters?subscriptionId=%00",
    ],
)
async def test_nothing_is_named_by_a_nul_character(client: httpx.AsyncClient, address: str) -> None:
    assert error_of(await client.get(address)) == (400, "BadRequestData")


@pytest.mark.parametrize(
    "address",
    [
        "/api/v1/quarantine?before=9223372036854775808",
        "/api/v1/quarantine/9223372036854775808",
        "/api/v1/dead-letters?before=9223372036854775808",
        "/api/v1/subscriptions?offset=9223372036854775808",
    ],
)
async def test_no_row_has_a_number_beyond_64_bits(client: httpx.AsyncClient, address: str) -> None:
    assert error_of(await client.get(address)) == (400, "BadRequestData")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("{", "InvalidRequest"),
        ("[]", "InvalidRequest"),
        ('{"name": "a\\u0000b", ' + NEEDED + "}", "BadRequestData"),
        ('{"@context": [1e999], ' + NEEDED + "}", "InvalidRequest"),
        ('{"@context": [{}, 99999999999999999999999], ' + NEEDED + "}", "BadRequestData"),
        ('{"name": "\\ud800", ' + NEEDED + "}", "InvalidRequest"),
    ],
)
async def test_a_body_that_cannot_be_read_or_stored_is_refused(
    client: httpx.AsyncClient, body: str, error: str
) -> None:
    assert error_of(await put(client, body)) == (400, error)


async def test_a_body_is_json(client: httpx.AsyncClient) -> None:
    assert (await put(client, "{" + NEEDED + "}", "text/plain")).status_code == 415


async def test_a_body_beyond_the_limit_is_refused(database_url: str) -> None:
    async with hub_for(database_url, max_request_bytes=1024) as hub, client_for(hub) as client:
        assert (await put(client, "{" + NEEDED + " " * 2000 + "}")).status_code == 413

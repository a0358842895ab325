# SPDX-License-Identifier: Apache-2.0
"""Errors as HTTP answers: ETSI GS CIM 009 clauses 5.5.3, 6.3.2 and 6.3.3."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.http.problem_details import STATUS, UnacceptableRequest, install_problem_details, status_of
from broker.errors import BadRequestData, NgsiLdError, ResourceNotFound, StoreUnavailable
from schemas.terms import ERROR_TYPE


def _subclasses(kind: type[NgsiLdError]) -> Iterator[type[NgsiLdError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)


def _client(error: Exception) -> httpx.AsyncClient:
    """A client of an application whose only resource raises ``error``."""

    async def endpoint(_request: Request) -> Response:
        raise error

    app = Starlette(routes=[Route("/broken", endpoint)])
    install_problem_details(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://hub")


@pytest.mark.parametrize("kind", list(_subclasses(NgsiLdError)), ids=lambda kind: kind.__name__)
def test_every_error_class_has_a_status(kind: type[NgsiLdError]) -> None:
    assert kind in STATUS
    assert 400 <= status_of(kind("why")) < 600


async def test_the_body_has_type_title_status_and_detail() -> None:
    async with _client(ResourceNotFound("Entity urn:x:1 does not exist")) as client:
        response = await client.get("/broken")
    assert response.status_code == 404
    assert response.json() == {
        "type": ERROR_TYPE + "ResourceNotFound",
        "title": "The referred resource has not been found.",
        "status": 404,
        "detail": "Entity urn:x:1 does not exist",
    }


async def test_errors_are_plain_json_so_that_every_client_reads_them() -> None:
    async with _client(BadRequestData("no")) as client:
        response = await client.get("/broken")
    assert response.headers["content-type"] == "application/json"


async def test_errors_carry_the_tenant_of_the_request() -> None:
    async with _client(BadRequestData("no")) as client:
        response = await client.get("/broken", headers={"NGSILD-Tenant": "kamakura"})
    assert response.headers["NGSILD-Tenant"] == "kamakura"


async def test_a_lost_database_may_be_tried_again() -> None:
    async with _client(StoreUnavailable("connection to server at 10.0.0.5 failed")) as client:
        response = await client.get("/broken")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "10.0.0.5" not in response.text


async def test_an_unexpected_error_tells_nothing_about_the_inside() -> None:
    async with _client(RuntimeError("password=geheim")) as client:
        response = await client.get("/broken")
    assert response.status_code == 500
    assert response.json()["type"] == ERROR_TYPE + "InternalError"
    assert "geheim" not in response.text


async def test_an_unsupported_media_type_has_no_body() -> None:
    async with _client(UnacceptableRequest(415)) as client:
        response = await client.get("/broken")
    assert (response.status_code, response.content) == (415, b"")


async def test_an_unknown_path_is_a_missing_resource() -> None:
    async with _client(RuntimeError()) as client:
        response = await client.get("/nowhere")
    assert response.json()["type"] == ERROR_TYPE + "ResourceNotFound"


async def test_a_wrong_method_says_which_are_allowed() -> None:
    async with _client(RuntimeError()) as client:
        response = await client.post("/broken")
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]

# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is valid, and says of every route what the route does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any
from unittest.mock import MagicMock

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import BaseRoute, Route

from api.app import create_app
from api.http.pages import PAGES
from api.ngsild.operation import Operation
from api.ngsild.resource import Resource
from api.openapi import SCHEMAS, openapi_document
from api.openapi.entity_schemas import GEO_JSON_OF
from api.openapi.ngsi_ld import wire_path
from api.openapi.page import write_page
from api.openapi.parameters import ANSWER_HEADERS, PATH_PARAMETERS, QUERY_PARAMETERS, request_headers
from api.openapi.quality_schemas import PARAMETERS
from api.settings import Settings
from broker.alerts.rule_documents import _MEMBERS as RULE_MEMBERS
from broker.contexts.jsonld import ContextResolver
from broker.devices.documents import _MAPPING_MEMBERS, _MEMBERS
from broker.devices.models import _MEMBERS as MODEL_MEMBERS
from broker.devices.profile import DeviceProfile, ExpectedInterval
from broker.devices.records import MEMBERS
from broker.quality import QualityParameters
from broker.subscriptions import document as subscription_document
from schemas.terms import GEO_JSON

NOT_DESCRIBED = {*PAGES, "/docs", "/openapi.json"}  # for people, and the document itself


@cache
def app() -> FastAPI:
    """The application on a hub without a database: enough for what is refused before one is asked."""
    return create_app(MagicMock(settings=Settings(), contexts=ContextResolver(MagicMock())))


@cache
def document() -> dict[str, Any]:
    return openapi_document(app().routes, "1.0")


def flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """``routes`` with those of the routers that are included."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is None:
            yield route
        else:
            yield from flat(router.routes)


def operations() -> Iterator[tuple[str, str, Operation, dict[str, Any]]]:
    """Path, method, description, and what the document says."""
    for route in app().routes:
        if isinstance(route, Resource):
            for method, described in route.operations.items():
                path = wire_path(route.path)
                yield path, method, described, document()["paths"].get(path, {}).get(method.lower(), {})


OPERATIONS = list(operations())
each_operation = pytest.mark.parametrize(
    ("described", "written"),
    [(described, written) for _, _, described, written in OPERATIONS],
    ids=[f"{method} {path}" for path, method, _, _ in OPERATIONS],
)


def names(written: Mapping[str, Any], place: str) -> set[str]:
    return {parameter["name"] for parameter in written["parameters"] if parameter["in"] == place}


class TestDocument:
    def test_it_is_valid(self) -> None:
        assert [str(error) for error in OpenAPIV31SpecValidator(document()).iter_errors()] == []

    def test_every_route_is_in_it(self) -> None:
        routes = set()
        for route in flat(app().routes):
            if isinstance(route, Resource):
                routes |= {(wire_path(route.path), method) for method in route.operations}
            elif isinstance(route, Route) and route.path not in NOT_DESCRIBED:
                routes |= {
                    (route.path.replace(":path}", "}"), method) for method in route.methods or () if method != "HEAD"
                }
        written = {(path, name.upper()) for path, item in document()["paths"].items() for name in item} - {
            (path, "PARAMETERS") for path in document()["paths"]
        }
        assert written == routes

    def test_every_body_is_read_by_the_hub_itself(self) -> None:
        """By ``JsonObject``: of a limited size, and nothing in it that cannot be stored."""
        others = [route.path for route in flat(app().routes) if isinstance(route, APIRoute) and route.body_field]
        assert others == []

    def test_names_of_operations_are_unique(self) -> None:
        found = [
            operation["operationId"]
            for item in document()["paths"].values()
            for name, operation in item.items()
            if name != "parameters"
        ]
        assert len(found) == len(set(found))

    def test_every_tag_is_explained(self) -> None:
        used = {
            tag
            for item in document()["paths"].values()
            for name, operation in item.items()
            if name != "parameters"
            for tag in operation["tags"]
        }
        assert used == {tag["name"] for tag in document()["tags"]}

    def test_no_answer_is_that_of_another_framework(self) -> None:
        assert "HTTPValidationError" not in str(document())

    def test_no_parameter_is_explained_that_nobody_knows(self) -> None:
        known = {name for _, _, described, _ in OPERATIONS for name in described.parameters}
        assert set(QUERY_PARAMETERS) == known


class TestOperations:
    @each_operation
    def test_the_url_parameters_are_those_that_the_route_knows(
        self, described: Operation, written: dict[str, Any]
    ) -> None:
        assert names(written, "query") == described.parameters

    @each_operation
    def test_the_headers_are_those_that_the_operation_reads(
        self, described: Operation, written: dict[str, Any]
    ) -> None:
        assert names(written, "header") == set(request_headers(described))

    @each_operation
    def test_body_and_answers_have_a_schema(self, described: Operation, written: dict[str, Any]) -> None:
        named = {described.body, *(answer.schema for answer in described.answers)} - {None}
        assert named <= SCHEMAS.keys()

    @each_operation
    def test_headers_of_answers_are_explained(self, described: Operation, written: dict[str, Any]) -> None:
        assert {name for answer in described.answers for name in answer.headers} <= ANSWER_HEADERS.keys()

    @each_operation
    def test_what_is_answered_in_geojson_is_described(self, described: Operation, written: dict[str, Any]) -> None:
        given = {answer.schema for answer in described.answers if GEO_JSON in answer.media_types}
        assert given <= GEO_JSON_OF.keys()

    def test_every_segment_of_a_path_is_explained(self) -> None:
        for route in app().routes:
            if isinstance(route, Resource):
                assert {part[1:-1] for part in route.path.split("/") if part.startswith("{")} <= PATH_PARAMETERS.keys()


def properties(name: str) -> set[str]:
    return set(SCHEMAS[name]["properties"])


class TestSchemas:
    """The schemas of bodies have the members that the hub reads."""

    def test_subscription(self) -> None:
        known = set(subscription_document._MEMBERS) | {"id", "type"}
        assert properties("Subscription") == properties("SubscriptionFragment") == known

    def test_notification(self) -> None:
        notification = SCHEMAS["Subscription"]["properties"]["notification"]["properties"]
        assert set(notification) == set(subscription_document._NOTIFICATION)
        assert set(notification["endpoint"]["properties"]) == set(subscription_document._ENDPOINT)

    def test_device(self) -> None:
        assert properties("DeviceInput") == _MEMBERS | MEMBERS
        assert set(SCHEMAS["DeviceInput"]["properties"]["attributes"]["items"]["properties"]) == _MAPPING_MEMBERS

    def test_device_model(self) -> None:
        assert properties("DeviceModelInput") == MODEL_MEMBERS

    def test_profile_of_a_device(self) -> None:
        assert properties("DeviceProfile") == {field.alias for field in DeviceProfile.model_fields.values()}
        interval = SCHEMAS["DeviceProfile"]["properties"]["expectedInterval"]["properties"]
        assert set(interval) == {field.alias for field in ExpectedInterval.model_fields.values()}
        assert set(PARAMETERS["properties"]) == set(QualityParameters.model_fields)

    def test_rule(self) -> None:
        assert properties("AlertRuleInput") == RULE_MEMBERS | {"@context"}


class TestPage:
    def test_it_has_every_operation_and_every_schema(self) -> None:
        page = write_page(document())
        wanted = [f"schema-{name}" for name in SCHEMAS] + [written["operationId"] for *_, written in OPERATIONS]
        assert [anchor for anchor in wanted if f'id="{anchor}"' not in page] == []

    def test_nothing_in_it_comes_from_elsewhere(self) -> None:
        page = write_page(document())
        assert "<script" not in page
        assert 'src="http' not in page
        assert 'href="http' not in page


def bodied(described: Operation) -> Any:
    """A body for the operation that is right as far as its first checks go."""
    if described.body is None:
        return None
    if "Query" in described.body:
        return {"type": "Query", "entities": [{"type": "River"}]}
    return ["urn:x:1"] if described.body == "EntityIds" else [{"id": "urn:x:1"}] if "Array" in described.body else {}


async def answered(path: str, method: str, described: Operation, **parameters: str) -> httpx.Response:
    address = re.sub(r"{\w+}", "urn:x:1", path)
    transport = httpx.ASGITransport(app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        return await client.request(method, address, params=parameters, json=bodied(described))


KEYWORDS = [
    (path, method, described, name)
    for path, method, described, _ in OPERATIONS
    for name in ("options", "format")
    if name in described.parameters
]


class TestRoutes:
    """A route refuses what its description does not have."""

    @pytest.mark.parametrize(
        ("path", "method", "described"),
        [entry[:3] for entry in OPERATIONS],
        ids=[f"{method} {path}" for path, method, _, _ in OPERATIONS],
    )
    async def test_an_unknown_parameter_is_refused(self, path: str, method: str, described: Operation) -> None:
        response = await answered(path, method, described, neverHeard="1")
        assert (response.status_code, "neverHeard" in response.json()["detail"]) == (400, True)

    @pytest.mark.parametrize(
        ("path", "method", "described", "name"),
        KEYWORDS,
        ids=[f"{method} {path} {name}" for path, method, _, name in KEYWORDS],
    )
    async def test_an_unknown_keyword_is_refused(self, path: str, method: str, described: Operation, name: str) -> None:
        response = await answered(path, method, described, **{name: "neverHeard"})
        assert (response.status_code, "neverHeard" in response.json()["detail"]) == (400, True)

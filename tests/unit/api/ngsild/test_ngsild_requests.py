# SPDX-License-Identifier: Apache-2.0
"""Paths, parameters and pages of NGSI-LD requests: clauses 6.3.10, 6.3.13 and 6.3.20."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from api.ngsild.operation import Answer, operation, operation_of, remember
from api.ngsild.paging import Page, page_links, read_page
from api.ngsild.parameters import Parameters
from api.ngsild.projection import FORM_OPTIONS, FORMATS, entity_form
from api.ngsild.queries import QueryInput, check_width, entity_query
from api.ngsild.resource import Resource, location
from broker.contexts.jsonld import core_terms
from broker.errors import BadRequestData, InvalidRequest
from broker.representations import Form
from schemas.terms import JSON


@operation()
async def _endpoint(_request: Request) -> Response:
    """Do Nothing: implements 1.2.3."""
    return Response()


ATTRIBUTE = Resource("/entities/{entity_id}/attrs/{attribute}", GET=_endpoint)
ENTITIES = Resource("/entities", GET=_endpoint)


def match(resource: Resource, path: str) -> dict[str, Any] | None:
    kind, scope = resource.matches({"type": "http", "path": path, "raw_path": path.encode()})
    return scope["path_params"] if kind is Match.FULL else None


def request(**parameters: str) -> Request:
    query = urlencode(parameters).encode()
    return Request(
        {"type": "http", "method": "GET", "path": "/ngsi-ld/v1/entities", "query_string": query, "headers": []}
    )


def read(given: Request, known: Collection[str]) -> Parameters:
    """The parameters of ``given`` for an operation that knows those named."""

    @operation(known, options=FORM_OPTIONS if "options" in known else (), formats=FORMATS if "format" in known else ())
    async def endpoint(_request: Request) -> Response:
        """Do Nothing: implements 1.2.3."""
        return Response()

    remember(given.scope, operation_of(endpoint))
    return Parameters(given)


class TestPaths:
    def test_an_encoded_slash_does_not_end_a_segment(self) -> None:
        found = match(ATTRIBUTE, "/ngsi-ld/v1/entities/https%3A%2F%2Fx.test%2F%E5%B7%9D/attrs/a%2Fb")
        assert found == {"entity_id": "https://x.test/川", "attribute": "a/b"}

    @pytest.mark.parametrize("path", ["/ngsi-ld/v1/entities", "/ngsi-ld/v1/entities/"])
    def test_a_slash_at_the_end_makes_no_difference(self, path: str) -> None:
        assert match(ENTITIES, path) == {}

    def test_an_empty_id_within_a_path_is_an_id_that_is_not_valid(self) -> None:
        assert match(ATTRIBUTE, "/ngsi-ld/v1/entities//attrs/a") == {"entity_id": "", "attribute": "a"}

    @pytest.mark.parametrize("path", ["/ngsi-ld/v1", "/ngsi-ld/v2/entities", "/ngsi-ld/v1/entities/x", "/"])
    def test_other_paths_are_others(self, path: str) -> None:
        assert match(ENTITIES, path) is None

    def test_a_location_leads_back_to_its_resource(self) -> None:
        path = location("entities", "https://x.test/川?a#b", "attrs", "n")
        assert match(ATTRIBUTE, path) == {"entity_id": "https://x.test/川?a#b", "attribute": "n"}


class TestOperations:
    """What an endpoint takes and answers is described where it is written."""

    def test_the_docstring_gives_name_and_clause(self) -> None:
        described = operation_of(_endpoint)
        assert (described.name, described.clause, described.answers) == ("Do Nothing", "1.2.3", (Answer(204),))

    def test_an_endpoint_without_a_description_is_no_resource(self) -> None:
        async def bare(_request: Request) -> Response:
            return Response()

        with pytest.raises(TypeError, match="not described"):
            Resource("/entities", GET=bare)

    def test_a_docstring_without_a_clause_describes_nothing(self) -> None:
        async def vague(_request: Request) -> Response:
            """Does something."""
            return Response()

        with pytest.raises(ValueError, match=r"implements 1\.2\.3"):
            operation()(vague)

    @pytest.mark.parametrize("name", ["options", "format"])
    def test_keywords_are_described_with_their_parameter(self, name: str) -> None:
        with pytest.raises(ValueError, match=name):
            operation((name,))


class TestParameters:
    def test_an_unknown_parameter_is_refused(self) -> None:
        with pytest.raises(InvalidRequest, match="colour"):
            read(request(colour="blue"), ("type",))

    def test_a_parameter_given_twice_is_refused(self) -> None:
        doubled = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"id=a&id=b", "headers": []})
        with pytest.raises(InvalidRequest, match="more than once"):
            read(doubled, ("id",))

    @pytest.mark.parametrize("value", ["1", "yes", "TRUE", ""])
    def test_a_flag_is_true_or_false(self, value: str) -> None:
        with pytest.raises(BadRequestData):
            read(request(count=value), ("count",)).flag("count")

    @pytest.mark.parametrize("value", ["-1", "1.5", "x", "٣", "9" * 20])
    def test_a_number_is_a_whole_one(self, value: str) -> None:
        with pytest.raises(BadRequestData):
            read(request(limit=value), ("limit",)).integer("limit", least=0)

    def test_format_wins_over_options(self) -> None:
        form = entity_form(read(request(format="concise", options="keyValues,sysAttrs"), ("format", "options")))
        assert (form.form, form.sys_attrs) == (Form.CONCISE, True)


class TestPages:
    def read(self, **parameters: str) -> Page:
        return read_page(read(request(**parameters), tuple(parameters)), default_limit=20, max_limit=100)

    def test_without_limit_the_default_holds(self) -> None:
        assert self.read() == Page(20)

    def test_a_page_is_never_larger_than_the_hub_allows(self) -> None:
        assert self.read(limit="5000").limit == 100

    def test_no_entities_can_be_asked_for_only_with_their_number(self) -> None:
        assert self.read(limit="0", count="true") == Page(0, 0, count=True)
        with pytest.raises(BadRequestData):
            self.read(limit="0")

    def test_links_are_the_request_with_another_offset(self) -> None:
        links = page_links(request(type="River", q='a=="x,y"'), Page(10, 5), JSON, more=True)
        assert links == [
            '</ngsi-ld/v1/entities?limit=10&offset=0&q=a%3D%3D%22x%2Cy%22&type=River>;rel="prev";type="application/json"',
            '</ngsi-ld/v1/entities?limit=10&offset=15&q=a%3D%3D%22x%2Cy%22&type=River>;rel="next";type="application/json"',
        ]

    def test_the_only_page_has_no_links(self) -> None:
        assert page_links(request(), Page(10), JSON, more=False) == []


class TestWidth:
    """At least one of type, attrs, q or georel, or the local scope (5.7.2.4)."""

    @pytest.mark.parametrize(
        "given",
        [
            QueryInput(types="River"),
            QueryInput(types="*"),
            QueryInput(q="waterLevel>1"),
            QueryInput(georel="near;maxDistance==1", geometry="Point", coordinates="[1,2]"),
            QueryInput(local=True),
            QueryInput(selectors=({"type": "River"},)),
        ],
    )
    def test_narrow_enough(self, given: QueryInput) -> None:
        check_width(given, entity_query(given, core_terms()))

    @pytest.mark.parametrize(
        "given",
        [
            QueryInput(),
            QueryInput(ids="urn:x:1"),
            QueryInput(id_pattern=".*"),
            QueryInput(q='modifiedAt>"2020-01-01T00:00:00Z"'),
            QueryInput(types="*", local=False),
        ],
    )
    def test_too_wide(self, given: QueryInput) -> None:
        with pytest.raises(BadRequestData):
            check_width(given, entity_query(given, core_terms()))

# SPDX-License-Identifier: Apache-2.0
"""Media types, @context and bodies: ETSI GS CIM 009 clauses 6.3.4 to 6.3.6."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import (
    GEO_REPRESENTATIONS,
    REPRESENTATIONS,
    answer,
    answered_context,
    answering_terms,
    body_context,
    content_type,
    context_link,
    link_context,
    negotiate,
    read_document,
    read_json,
)
from api.http.problem_details import UnacceptableRequest
from broker.contexts.jsonld import ContextResolver, core_terms
from broker.errors import BadRequestData, InvalidRequest, TooComplexQuery
from schemas.contexts import MINAMO_CONTEXT
from schemas.terms import CORE_CONTEXT, GEO_JSON, JSON, JSON_LD

REL = 'rel="http://www.w3.org/ns/json-ld#context"'


def request(method: str = "GET", body: bytes | None = None, **headers: str) -> Request:
    """A request as a server hands it over; underscores in header names stand for hyphens."""
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    if body is not None and "Content_Length" not in headers:
        raw.append((b"content-length", str(len(body)).encode()))
    scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": raw}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body or b"", "more_body": False}

    return Request(scope, receive)


class TestAccept:
    """The order of the list is significant, unless a q parameter requires otherwise (6.3.4)."""

    @pytest.mark.parametrize(
        ("accept", "expected"),
        [
            ("*/*", JSON),
            ("application/*", JSON),
            ("application/ld+json", JSON_LD),
            ("application/ld+json, application/json", JSON),
            ("application/json;q=0.5, application/ld+json", JSON_LD),
            ("application/json;q=0.5, */*", JSON_LD),
            ("application/json;q=nan, application/ld+json;q=0.9", JSON),
            ("application/json;q=0, application/*", JSON_LD),
            ("application/geo+json", GEO_JSON),
            ("text/html, application/geo+json;q=0.1", GEO_JSON),
            ("Application/LD+JSON", JSON_LD),
        ],
    )
    def test_the_best_available_type_is_chosen(self, accept: str, expected: str) -> None:
        assert negotiate(request(Accept=accept), GEO_REPRESENTATIONS) == expected

    def test_without_accept_json_is_assumed(self) -> None:
        assert negotiate(request()) == JSON

    @pytest.mark.parametrize("accept", ["text/html", "application/geo+json", "application/json;q=0"])
    def test_nothing_acceptable_is_406_with_the_list_of_what_there_is(self, accept: str) -> None:
        with pytest.raises(UnacceptableRequest) as caught:
            negotiate(request(Accept=accept), REPRESENTATIONS)
        assert caught.value.status == 406
        assert caught.value.body is not None
        assert caught.value.body["availableRepresentations"] == [JSON, JSON_LD]


class TestBody:
    """Preconditions of POST, PATCH and PUT (6.3.4) and JSON validation (5.5.4)."""

    @pytest.mark.parametrize("given", ["application/json; charset=utf-8", "application/ld+json"])
    def test_json_types_pass(self, given: str) -> None:
        assert content_type(request("POST", Content_Type=given)) in (JSON, JSON_LD)

    def test_merge_patch_counts_as_json_for_patch(self) -> None:
        assert content_type(request("PATCH", Content_Type="application/merge-patch+json")) == JSON

    @pytest.mark.parametrize(
        ("method", "given"), [("POST", "application/merge-patch+json"), ("POST", "text/plain"), ("PATCH", "")]
    )
    def test_other_types_are_415_without_body(self, method: str, given: str) -> None:
        with pytest.raises(UnacceptableRequest) as caught:
            content_type(request(method, Content_Type=given))
        assert (caught.value.status, caught.value.body) == (415, None)

    async def test_a_missing_length_is_411_without_body(self) -> None:
        with pytest.raises(UnacceptableRequest) as caught:
            await read_json(request("POST"), 100)
        assert (caught.value.status, caught.value.body) == (411, None)

    async def test_a_body_that_says_it_is_too_large_is_413(self) -> None:
        with pytest.raises(UnacceptableRequest) as caught:
            await read_json(request("POST", b"1", Content_Length="101"), 100)
        assert caught.value.status == 413

    async def test_a_body_that_turns_out_too_large_is_413(self) -> None:
        with pytest.raises(UnacceptableRequest) as caught:
            await read_json(request("POST", b"[" * 101, Content_Length="1"), 100)
        assert caught.value.status == 413

    @pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'{"a": 1,}'])
    async def test_what_is_not_json_is_an_invalid_request(self, body: bytes) -> None:
        with pytest.raises(InvalidRequest):
            await read_json(request("POST", body), 100)


class TestContext:
    """Link header or body, by media type; no mixes are allowed (6.3.5)."""

    @pytest.mark.parametrize(
        "header",
        [
            f'<https://x.test/c.jsonld>; {REL}; type="application/ld+json"',
            "<https://x.test/c.jsonld>;rel=http://www.w3.org/ns/json-ld#context",
            f'<https://x.test/next>; rel="next", <https://x.test/c.jsonld>; {REL}',
        ],
    )
    def test_the_link_header_names_the_context(self, header: str) -> None:
        assert link_context(request(Link=header)) == "https://x.test/c.jsonld"

    def test_other_links_are_not_contexts(self) -> None:
        assert link_context(request(Link='<https://x.test/c.jsonld>; rel="next"')) is None

    def test_two_contexts_in_links_are_refused(self) -> None:
        with pytest.raises(BadRequestData):
            link_context(request(Link=f"<https://x.test/a>; {REL}, <https://x.test/b>; {REL}"))

    def test_plain_json_takes_its_context_from_the_link(self) -> None:
        assert body_context(request("POST", Link=f"<https://x.test/a>; {REL}"), JSON, {}) == "https://x.test/a"

    def test_plain_json_without_link_has_the_core_context_only(self) -> None:
        assert body_context(request("POST"), JSON, {}) is None

    def test_json_ld_takes_its_context_from_the_body(self) -> None:
        assert body_context(request("POST"), JSON_LD, {"@context": ["https://x.test/a"]}) == ["https://x.test/a"]

    @pytest.mark.parametrize(
        ("media_type", "link", "body"),
        [
            (JSON, "", {"@context": CORE_CONTEXT}),
            (JSON_LD, "", {}),
            (JSON_LD, f"<https://x.test/a>; {REL}", {"@context": CORE_CONTEXT}),
            (JSON_LD, f"<https://x.test/a>; {REL}", {}),
        ],
    )
    def test_mixes_are_refused(self, media_type: str, link: str, body: dict[str, Any]) -> None:
        with pytest.raises(BadRequestData):
            body_context(request("POST", Link=link), media_type, body)

    async def test_a_document_comes_without_its_context_and_with_its_terms(self) -> None:
        body = orjson.dumps({"@context": {"水位": "https://x.test/level"}, "id": "urn:x:1"})
        document = await read_document(request("POST", body, Content_Type=JSON_LD), ContextResolver(), 1000)
        assert document.body == {"id": "urn:x:1"}
        assert document.terms.expand_term("水位") == "https://x.test/level"

    async def test_a_body_that_is_no_object_is_refused(self) -> None:
        with pytest.raises(InvalidRequest):
            await read_document(request("POST", b"[]", Content_Type=JSON), ContextResolver(), 1000)


class TestAnswer:
    """JSON links to the @context, JSON-LD and GeoJSON carry it (6.3.6)."""

    async def test_json_links_to_the_context_of_the_request(self) -> None:
        terms = await ContextResolver().resolve(MINAMO_CONTEXT)
        response = answer(request(), {"id": "urn:x:1"}, terms, JSON)
        assert response.headers["link"] == f'<{MINAMO_CONTEXT}>; {REL}; type="application/ld+json"'
        assert orjson.loads(response.body) == {"id": "urn:x:1"}

    def test_what_is_nested_too_deep_to_be_written_is_too_complex(self) -> None:
        entity: dict[str, Any] = {"id": "urn:x:1"}
        for _ in range(300):
            entity = {"id": "urn:x:1", "locatedAt": {"type": "Relationship", "entity": entity}}
        with pytest.raises(TooComplexQuery, match="nested too deep"):
            answer(request(), entity, core_terms(), JSON)

    async def test_json_ld_has_it_in_each_object(self) -> None:
        response = answer(request(), [{"id": "urn:x:1"}], core_terms(), JSON_LD)
        assert orjson.loads(response.body) == [{"id": "urn:x:1", "@context": CORE_CONTEXT}]
        assert "link" not in response.headers

    async def test_geojson_has_it_unless_the_client_prefers_a_plain_body(self) -> None:
        geo = {"type": "FeatureCollection", "features": []}
        assert "@context" in orjson.loads(answer(request(), geo, core_terms(), GEO_JSON).body)
        plain = answer(request(Prefer="body=json"), geo, core_terms(), GEO_JSON)
        assert orjson.loads(plain.body) == geo
        assert plain.headers["link"] == context_link(core_terms())
        assert plain.headers["Preference-Applied"] == "body=json"

    async def test_the_context_in_a_body_is_as_the_user_gave_it(self) -> None:
        terms = await ContextResolver().resolve([MINAMO_CONTEXT])
        assert answered_context(terms) == [MINAMO_CONTEXT]

    async def test_a_list_of_one_context_and_the_core_has_one_url(self) -> None:
        terms = await ContextResolver().resolve([MINAMO_CONTEXT, CORE_CONTEXT])
        assert context_link(terms).startswith(f"<{MINAMO_CONTEXT}>")

    async def test_inline_definitions_cannot_be_linked_so_json_is_written_with_full_names(self) -> None:
        terms = await ContextResolver().resolve({"水位": "https://x.test/level"})
        assert answering_terms(terms, JSON) is core_terms()
        assert answering_terms(terms, JSON_LD) is terms


class TestPreferredVersion:
    """6.3.6: the answer tells "which version of the NGSI-LD specification the payload body conforms to"."""

    ENTITY: ClassVar = {"id": "urn:a", "type": "T", "kind": {"type": "VocabProperty", "vocab": "good"}}

    def answered(self, prefer: str, path: str = "/ngsi-ld/v1/entities/urn:a", query: bytes = b"") -> Response:
        asked = request(Prefer=prefer)
        asked.scope.update(path=path, query_string=query)
        return answer(asked, self.ENTITY, core_terms(), JSON)

    @pytest.mark.parametrize(
        ("prefer", "version", "status"),
        [
            ("ngsi-ld=1.5", "ngsi-ld=1.5", 203),
            ('respond-async, NGSI-LD="1.5";q=0.1', "ngsi-ld=1.5", 203),
            ("ngsi-ld=1.8", "ngsi-ld=1.8", 200),
            ("ngsi-ld=2.0", "ngsi-ld=1.9", 200),
            ("ngsi-ld=new", None, 200),
            ("body=json", None, 200),
        ],
    )
    def test_it_is_applied_and_told(self, prefer: str, version: str | None, status: int) -> None:
        response = self.answered(prefer)
        assert (response.headers.get("Preference-Applied"), response.status_code) == (version, status)

    def test_an_earlier_version_changes_the_entity(self) -> None:
        assert orjson.loads(self.answered("ngsi-ld=1.5").body)["kind"] == {"type": "Property", "value": "good"}

    @pytest.mark.parametrize(
        ("path", "query"), [("/ngsi-ld/v1/types/T", b""), ("/ngsi-ld/v1/entities/urn:a", b"options=keyValues")]
    )
    def test_what_is_no_entity_with_attributes_stays_as_it_is(self, path: str, query: bytes) -> None:
        response = self.answered("ngsi-ld=1.5", path, query)
        assert (orjson.loads(response.body), response.status_code) == (self.ENTITY, 200)

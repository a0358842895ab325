# SPDX-License-Identifier: Apache-2.0
"""What is sent to a context source, and what is read of its answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from broker.contexts.jsonld import core_terms
from broker.errors import BadRequestData
from broker.query import EntitySelector, parse_types
from broker.registrations.answers import documents_of, entity_of
from broker.registrations.document import expand_registration
from broker.registrations.matching import Share
from broker.registrations.model import Registration, read_registration
from broker.registrations.requests import Filters, SourceRequest, manner_of, queries, retrievals

TERMS = core_terms()
SPEED = TERMS.expand_term("speed")
ID = "urn:ngsi-ld:Car:1"


def registered(**members: Any) -> Registration:
    body = {
        "type": "ContextSourceRegistration",
        "endpoint": "http://source/x/",
        "information": [{"entities": [{"type": "Car"}]}],
    }
    return read_registration(expand_registration(body | members, TERMS), "urn:r:1")


def share(*ids: str, kind: str = "Car", attributes: tuple[str, ...] = ()) -> Share:
    return Share(EntitySelector(ids, None, parse_types(kind, TERMS.expand_term)), frozenset(attributes))


def retrieval(registration: Registration, *shares: Share, headers: dict[str, str] | None = None) -> SourceRequest:
    manner = manner_of(registration, headers or {}, TERMS, None, "1.1 hub")
    (asking,) = retrievals(registration, ID, shares or (share(ID),), manner)
    return asking.at(0)


def sent(registration: Registration, *shares: Share, filters: Filters | None = None, batch: bool = False) -> list[Any]:
    manner = manner_of(registration, {}, TERMS, None, "1.1 hub")
    return [asking.at(0) for asking in queries(registration, shares, filters or Filters(), manner, batch=batch)]


def parameters(request: SourceRequest) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(request.url).query).items()}


def test_one_entity_is_asked_for_by_its_id() -> None:
    request = retrieval(registered())
    assert (request.method, urlsplit(request.url).path) == ("GET", f"/x/ngsi-ld/v1/entities/{ID}")
    assert parameters(request) == {"options": "sysAttrs"}


def test_an_endpoint_may_name_the_api_itself() -> None:
    request = retrieval(registered(endpoint="http://source/ngsi-ld/v1"))
    assert urlsplit(request.url).path == f"/ngsi-ld/v1/entities/{ID}"


def test_only_registered_attributes_are_asked_for() -> None:
    assert parameters(retrieval(registered(), share(ID, attributes=(SPEED,))))["attrs"] == "speed"


def test_a_source_that_is_to_act_alone_is_told_so() -> None:
    assert parameters(retrieval(registered(management={"localOnly": True})))["local"] == "true"


def test_an_entity_is_got_by_a_query_where_nothing_else_is_offered() -> None:
    by_get = retrieval(registered(operations=["queryEntity"]))
    assert parameters(by_get)["type"] == "Car"
    assert parameters(by_get)["id"] == ID
    by_post = retrieval(registered(operations=["queryBatch"]))
    assert by_post.method == "POST"
    assert orjson.loads(by_post.body or b"") == {"type": "Query", "entities": [{"type": "Car", "id": ID}]}


@pytest.mark.parametrize(
    ("operations", "batch", "method"),
    [
        (["queryEntity"], True, "GET"),
        (["queryBatch"], False, "POST"),
        (["federationOps"], False, "GET"),
        (["federationOps"], True, "POST"),
    ],
)
def test_a_query_goes_the_way_the_source_offers_else_as_the_client_sent_it(
    operations: list[str], batch: bool, method: str
) -> None:
    (request,) = sent(registered(operations=operations), share(), batch=batch)
    assert request.method == method


def test_shares_of_other_types_are_one_request() -> None:
    (request,) = sent(registered(), share(), share(kind="Bus"))
    assert parameters(request)["type"] == "Bus,Car"


def test_filters_are_passed_on() -> None:
    filters = Filters({"q": "speed>20", "georel": "near;maxDistance==5", "geometry": "Point", "coordinates": "[1,2]"})
    (by_get,) = sent(registered(), share(), filters=filters)
    assert parameters(by_get)["q"] == "speed>20"
    (by_post,) = sent(registered(), share(), filters=filters, batch=True)
    body = orjson.loads(by_post.body)
    assert body["q"] == "speed>20"
    assert body["geoQ"] == {"georel": "near;maxDistance==5", "geometry": "Point", "coordinates": [1, 2]}


def test_the_tenant_is_that_of_the_registration() -> None:
    given = {"ngsild-tenant": "mine"}
    assert "NGSILD-Tenant" not in retrieval(registered(), headers=given).headers
    assert retrieval(registered(tenant="theirs"), headers=given).headers["NGSILD-Tenant"] == "theirs"


def test_information_for_the_source_is_conveyed_as_headers() -> None:
    info = [{"key": "Authorization", "value": "Bearer x"}, {"key": "user", "value": "urn:ngsi-ld:request"}]
    registration = registered(contextSourceInfo=info)
    assert retrieval(registration, headers={"user": "abcd"}).headers | {
        "user": "abcd",
        "Authorization": "Bearer x",
    } == (retrieval(registration, headers={"user": "abcd"}).headers)
    assert "user" not in retrieval(registration).headers


@pytest.mark.parametrize("key", ["NGSILD-Tenant", "Via", "Content-Length", "Host", "Link"])
def test_what_the_hub_decides_cannot_be_overridden(key: str) -> None:
    headers = retrieval(registered(contextSourceInfo=[{"key": key, "value": "evil"}])).headers
    assert "evil" not in headers.values()


@pytest.mark.parametrize("key", ["Authorization", "Cookie"])
def test_credentials_of_a_client_are_not_passed_on(key: str) -> None:
    registration = registered(contextSourceInfo=[{"key": key, "value": "urn:ngsi-ld:request"}])
    assert key not in retrieval(registration, headers={key.lower(): "secret"}).headers


def test_a_loop_can_be_found_by_the_pseudonym() -> None:
    assert retrieval(registered()).headers["Via"] == "1.1 hub"


def test_an_answer_is_one_entity_or_a_list_of_them() -> None:
    assert documents_of({"id": ID}) == [{"id": ID}]
    assert documents_of([]) == []
    with pytest.raises(BadRequestData):
        documents_of(["x"])


def test_times_of_the_source_are_read() -> None:
    at = "2026-01-01T00:00:00Z"
    document = {
        "id": ID,
        "type": "Car",
        "modifiedAt": at,
        "speed": [
            {"type": "Property", "value": 1, "modifiedAt": at},
            {"type": "Property", "value": 2, "datasetId": "urn:d:1", "createdAt": at},
        ],
    }
    entity = entity_of(document, TERMS)
    assert entity.modified_at is not None
    assert entity.attributes[SPEED]["@none"]["modifiedAt"] == at
    assert entity.attributes[SPEED]["urn:d:1"]["createdAt"] == at


def test_an_answer_that_is_no_entity_is_refused() -> None:
    with pytest.raises(BadRequestData):
        entity_of({"id": ID}, TERMS)

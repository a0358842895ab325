# SPDX-License-Identifier: Apache-2.0
"""Requests made of the OpenAPI document, sent to a running hub, and their answers checked against the document.

Texts drawn at random rarely get past the first check of a request. :func:`narrowed` therefore makes of the document one
whose names, ids, contexts and query texts come from a small world, so that requests meet what others wrote.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from schemas.contexts import MINAMO_CONTEXT
from schemas.terms import CORE_CONTEXT, ERROR_TYPE, JSON_LD

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_EVENT_STREAM = "text/event-stream"  # an answer that never ends

_FEW = 3
_NEEDED = frozenset(("id", "type", "@context", "entities", "notification", "temporalQ", "name", "entityId", "levels",
                     "attribute", "attributes", "entityType"))  # fmt: skip
_SCHEMAS = "#/components/schemas/"
_OF_REQUESTS = "RequestWith"
_LINK = f'<{MINAMO_CONTEXT}>; rel="http://www.w3.org/ns/json-ld#context"; type="{JSON_LD}"'
_POINT = "[138.4,34.9]"
_SQUARE = "[[[138,34],[139,34],[139,35],[138,35],[138,34]]]"
_CONTEXTS = [MINAMO_CONTEXT, CORE_CONTEXT, [MINAMO_CONTEXT, {"paddyLevel": "https://x.test/paddyLevel"}], {}]
_SAFE: dict[str, dict[str, Any]] = {"Context": {"anyOf": [{"enum": _CONTEXTS}, {"type": "object"}]}}
_SAFE_MEMBERS = {"uri": ["http://127.0.0.1:9/notify"], "jsonldContext": [MINAMO_CONTEXT]}
_WORLD: dict[str, dict[str, Any]] = {
    "Uri": {"enum": ["urn:ngsi-ld:River:1", "urn:ngsi-ld:River:2", "https://rivers.test/安倍?x=1#top"]},
    "Name": {
        "enum": ["River", "waterLevel", "name", "location", "locatedAt", "levels", "scope", "https://x.test/水位"]
    },
}
"""Values that take the place of a schema's."""
_TEXTS: dict[str, list[str]] = {
    "aggrTimeZone": ["Asia/Tokyo", "Europe/Berlin", "UTC", "Nowhere"],
    "aggrPeriodDuration": ["PT1H", "P1M", "PT0S", "P9999Y", "PT1S"],
    "collation": ["ja-u-co-unihan", "und-u-kn", "zz-zzzz"],
    "coordinates": [_POINT, _SQUARE, "[]", "[1e400,0]", "{}", "[[138,34],[139,35]]"],
    "csf": ["endpoint==1"],
    "entityMapLifetime": ["PT10M", "P999999Y", "PT0S"],
    "georel": ["near;maxDistance==2000", "near;minDistance==1", "within", "equals", "disjoint", "near"],
    "idPattern": ["^urn:.*", ".*", "(", "[a-z]{3,}$", "(a+)+$", "\\d"],
    "lang": ["ja,en;q=0.8", "*", "x;q=2"],
    "orderBy": ["waterLevel;desc", "location;dist-asc", "name", "id", "createdAt", "waterLevel.observedAt", "name[ja]"],
    "orderFrom": [_POINT, _SQUARE, "[]"],
    "q": [
        "waterLevel>1", 'name=="a"|waterLevel', "name~=^a.*", "!name", "name[ja]==x", "name.observedAt>2020-01-01",
        "waterLevel==1..5", 'name==1,2,"x"', "locatedAt{name}==1", "(waterLevel;name)", 'waterLevel!="\u0000"',
        "waterLevel>2020-01-01T00:00:00Z", "waterLevel==99999999999999999999", "name==urn:x:1", "name~=(", "scope==/a",
    ],
    "scopeQ": ["/Japan/#", "/Japan/+/x", "/#", "Japan", "/Japan,/x;/y"],
    "type": ["River", "River|Sea", "(River;Sea),Lake", "*", "River,", "https://x.test/川"],
}  # fmt: skip
"""Texts of query languages: what people write, and what lies at the edges."""
_HEADERS = {
    "NGSILD-Tenant": ["default"],
    "Link": [_LINK, "<urn:x:1>; rel=next"],
    "Prefer": ["ngsi-ld=1.5", "ngsi-ld=1.1", "body=json", "x"],
    "NGSILD-EntityMap": ["urn:ngsi-ld:EntityMap:1", "/ngsi-ld/v1/entityMaps/x"],
}

_ALWAYS = {
    "local": ["true"],
    "timerel": ["after", "before"],
    "timeAt": ["2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"],
}
"""Without these, most queries are refused for being too wide."""
_TIMES = [
    {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"},
    {"timerel": "between", "timeAt": "0001-01-01T00:00:00Z", "endTimeAt": "9999-12-31T23:59:59Z", "lastN": 2},
    {"timerel": "before", "timeAt": "2030-01-01T00:00:00Z", "timeproperty": "modifiedAt"},
]
_WATCHED = [[{"type": "River"}], [{"type": "*", "idPattern": ".*"}], [{"id": "urn:ngsi-ld:River:1", "type": "River"}]]
_NEEDED_MEMBERS = {"TemporalQuery": ("temporalQ", _TIMES), "Subscription": ("entities", _WATCHED)}
_PATHS = {"device_id": ["tomoe-01"], "rule_id": ["r1"], "entity_id": ["urn:ngsi-ld:River:1"]}


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with requests that lead the hub to no other server: contexts it has, receivers on this machine."""
    return _with_requests(document, dict(_SAFE), lambda parameter: parameter)


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """The same, with requests about a small world."""
    return _with_requests(document, {**_WORLD, **_SAFE}, _narrow, _TEXTS)


def _with_requests(
    document: dict[str, Any],
    parts: dict[str, dict[str, Any]],
    narrow: Callable[[dict[str, Any]], dict[str, Any]],
    texts: Mapping[str, list[str]] | None = None,
) -> dict[str, Any]:
    """``document`` with other schemas for requests; its answers are what they were."""
    other = copy.deepcopy(document)
    schemas = _apart(document["components"]["schemas"]) | parts
    for name in ("EntityArray", "EntityFragmentArray"):
        schemas[name]["maxItems"] = _FEW
    for name, (member, values) in _NEEDED_MEMBERS.items() if texts else ():
        schemas[name]["properties"][member] = {"enum": values}
        schemas[name]["required"] = sorted({*schemas[name].get("required", ()), member})
    for schema in schemas.values():
        _give_values(schema, {**(texts or {}), **_SAFE_MEMBERS})
    other["components"]["schemas"] |= {_OF_REQUESTS + name: schema for name, schema in schemas.items()}
    for item in other["paths"].values():
        for place in (item, *(part for part in item.values() if isinstance(part, dict))):
            if "parameters" in place:
                place["parameters"] = [narrow(_apart(parameter)) for parameter in place["parameters"]]
            if "requestBody" in place:
                place["requestBody"] = _apart(place["requestBody"])
    return other


def _give_values(schema: Any, values: Mapping[str, list[str]]) -> None:
    """Give members with these names one of these values, however deep they are."""
    for name, member in schema.get("properties", {}).items():
        if name in values and member.get("type") == "string":
            schema["properties"][name] = {"enum": values[name]}
        else:
            _give_values(member, values)


def _apart(part: Any) -> Any:
    """A copy that refers to schemas of its own."""
    return json.loads(json.dumps(part).replace(_SCHEMAS, _SCHEMAS + _OF_REQUESTS))


def _narrow(parameter: dict[str, Any]) -> dict[str, Any]:
    name, schema = parameter["name"], parameter["schema"]
    if parameter["in"] == "query" and name in _ALWAYS:
        return {**parameter, "required": True, "schema": {"enum": _ALWAYS[name]}}
    values = _HEADERS.get(name) if parameter["in"] == "header" else (_TEXTS | _PATHS).get(name)
    if values is None:
        return parameter
    is_list = schema.get("type") == "array"
    return {
        **parameter,
        "schema": {**schema, "items": {"enum": values}, "maxItems": 2} if is_list else {"enum": values},
    }


def operations(document: dict[str, Any]) -> Iterator[Any]:
    """The operations that requests can be made of."""
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()
        if _EVENT_STREAM not in json.dumps(operation.definition.raw["responses"]):
            yield operation


def check_operation(
    operation: Any, base_url: str, session: requests.Session, *, examples: int, number: int, thinned: bool = False
) -> None:
    """Send ``examples`` requests, the same for the same ``number``; fails at an answer that is not as described."""

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(), data=st.data())
    def send(case: Any, data: st.DataObject) -> None:
        if thinned:
            _thin(case, data)
        response = case.call(base_url=base_url, session=session, timeout=30)
        assert response.status_code < 500 or _is_missing_context(response), _told(response)
        case.validate_response(response, checks=CHECKS)

    send()


def _thin(case: Any, data: st.DataObject) -> None:
    """Leave few of the optional parts, since one that is wrong hides all others."""
    if case.query and len(case.query) > _FEW:
        case.query = _few(case.query, data, frozenset(_ALWAYS))
    if isinstance(case.body, dict) and len(case.body) > _FEW:
        case.body = _few(case.body, data, _NEEDED)


def _few(given: Mapping[str, Any], data: st.DataObject, needed: frozenset[str]) -> dict[str, Any]:
    optional = sorted(given.keys() - needed)
    kept = data.draw(st.sets(st.sampled_from(optional), max_size=_FEW)) if optional else set()
    return {name: value for name, value in given.items() if name in needed or name in kept}


def _is_missing_context(response: Any) -> bool:
    """A context that cannot be had is the fault of its server."""
    return bool(response.status_code == 504 and response.json()["type"] == ERROR_TYPE + "LdContextNotAvailable")


def _told(response: Any) -> str:
    request = response.request
    sent = f"{request.method} {request.url}\n{dict(request.headers)}\n{request.body!r}"
    return f"{sent}\n-> {response.status_code} {response.text}"

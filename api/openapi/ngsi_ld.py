# SPDX-License-Identifier: Apache-2.0
"""The NGSI-LD API in the OpenAPI document, made of the descriptions that its routes work with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from api.http.negotiation import has_versions
from api.ngsild.operation import Operation
from api.ngsild.resource import API_PATH, Resource
from api.openapi.answers import responses
from api.openapi.building import Schema, ref, with_context
from api.openapi.entity_schemas import INPUT
from api.openapi.parameters import header_parameter, path_parameter, query_parameter, request_headers, wire_name
from api.openapi.registration_schemas import REGISTRATIONS
from api.openapi.resource_schemas import QUERIES, SUBSCRIPTIONS
from schemas.terms import JSON, JSON_LD, MERGE_PATCH

_SEGMENT: Final = re.compile(r"{(\w+)}")
_NOT_A_WORD: Final = re.compile(r"[^A-Za-z]+")
_AS_IT_IS: Final = frozenset(("EntityIds", "ContextDocument"))  # without names, or a context itself
_EXPANDED: Final = {**INPUT, **QUERIES, **SUBSCRIPTIONS, **REGISTRATIONS}

TAGS: Final = {
    "entities": ("entities", "Entities and their attributes / エンティティと属性"),
    "entityOperations": ("batch", "Many entities at once, and queries by POST / 一括操作と POST による検索"),
    "temporal": ("temporal", "How entities evolved / 履歴"),
    "subscriptions": ("subscriptions", "Being notified of changes / 通知の購読"),
    "csourceRegistrations": ("context sources", "Other brokers that are asked too / 他のブローカーの登録"),
    "csourceSubscriptions": ("context sources", "Other brokers that are asked too / 他のブローカーの登録"),
    "types": ("discovery", "What there is to query / 型と属性の一覧"),
    "attributes": ("discovery", "What there is to query / 型と属性の一覧"),
    "entityMaps": ("entity maps", "Pages of a moving target / 検索結果の固定"),
    "jsonldContexts": ("contexts", "The hub as a server of @contexts / @context の保管と配布"),
    "info": ("info", "Who this hub is to other brokers / このハブの識別"),
}
"""The tag and its meaning by the first segment of a path."""


def ngsi_ld_paths(resources: Iterable[Resource]) -> dict[str, Schema]:
    """The path items of ``resources``."""
    return {wire_path(resource.path): _path_item(resource) for resource in sorted(resources, key=lambda r: r.path)}


def wire_path(path: str) -> str:
    """``path`` with its parameters named as in the document."""
    return _SEGMENT.sub(lambda found: f"{{{wire_name(found[1])}}}", path)


def _path_item(resource: Resource) -> Schema:
    segments = [path_parameter(name) for name in _SEGMENT.findall(resource.path)]
    operations = {
        method.lower(): _operation(resource.path, method, described)
        for method, described in resource.operations.items()
    }
    return ({"parameters": segments} if segments else {}) | operations


def _operation(path: str, method: str, described: Operation) -> Schema:
    parameters = [query_parameter(name, described) for name in sorted(described.parameters)]
    parameters += [header_parameter(name) for name in request_headers(described)]
    told = [f"Clause {described.clause} of ETSI GS CIM 009 V1.9.1.", described.description]
    written: Schema = {
        "operationId": _identifier(described.name),
        "summary": described.name,
        "description": " ".join(filter(None, told)),
        "tags": [_tag(path)],
        "parameters": parameters,
        "responses": responses(described, versions=has_versions(path)),
    }
    if described.body:
        written["requestBody"] = {"required": True, "content": _content(described.body, method)}
    return written


def _content(body: str, method: str) -> Schema:
    """The media types of a body: application/ld+json comes with an ``@context``, the others without (6.3.5)."""
    plain = {"schema": ref(body)}
    linked = {"schema": ref(body) if body in _AS_IT_IS else with_context(_EXPANDED[body])}
    patch = {MERGE_PATCH: plain} if method == "PATCH" else {}
    return {JSON: plain, JSON_LD: linked} | patch


def _identifier(name: str) -> str:
    first, *rest = _NOT_A_WORD.sub(" ", name).split()
    return first.lower() + "".join(word[:1].upper() + word[1:] for word in rest)


def _tag(path: str) -> str:
    return TAGS[path.removeprefix(API_PATH).split("/")[1]][0]


def tags() -> list[Schema]:
    """The tags in the order of the document."""
    return [{"name": name, "description": meaning} for name, meaning in dict(TAGS.values()).items()]

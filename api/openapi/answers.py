# SPDX-License-Identifier: Apache-2.0
"""The answers of operations in the OpenAPI document: statuses, media types, headers, problem details."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from api.http.problem_details import STATUS, TENANT_HEADER
from api.ngsild.operation import Answer, Operation
from api.openapi.building import Schema, ref
from api.openapi.entity_schemas import GEO_JSON_OF
from api.openapi.parameters import answer_header
from broker.errors import BadRequestData, InternalError, InvalidRequest, LdContextNotAvailable, NgsiLdError
from schemas.terms import GEO_JSON, JSON, PROBLEM_JSON

_MEANINGS: Final = {
    200: "What was asked for",
    201: "Created",
    203: "The same, as the preferred version of the specification knew it",
    204: "Done",
    304: "The client has it: nothing has changed since ETag",
    206: "The part of it that Content-Range names",
    207: "Done in part",
}
_MAP_CREATED: Final = "What was asked for; an EntityMap was made"
PROBLEM: Final = {JSON: {"schema": ref("ProblemDetails")}}

SHARED: Final[dict[str, Schema]] = {
    "Unauthorized": {
        "description": "A bearer token is required (only where the hub has tokens)",
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
        "content": {PROBLEM_JSON: {"schema": ref("ProblemDetails")}} | PROBLEM,
    },
    "NotAcceptable": {"description": "None of the media types of Accept is available (6.3.4)", "content": PROBLEM},
    "LengthRequired": {"description": "Content-Length is missing (6.3.4)"},
    "ContentTooLarge": {"description": "The body is larger than the hub takes", "content": PROBLEM},
    "UnsupportedMediaType": {"description": "The body is of another media type (6.3.4)"},
    "InternalError": {"description": "InternalError: a fault of the hub", "content": PROBLEM},
    "Unavailable": {
        "description": "The database cannot be reached at the moment; try again",
        "headers": {"Retry-After": answer_header("Retry-After")},
        "content": PROBLEM,
    },
}
"""Answers that many operations have, as components."""
EVERYWHERE: Final[dict[int | str, str]] = {401: "Unauthorized", 500: "InternalError", 503: "Unavailable"}
WITH_BODY: Final[dict[int | str, str]] = {411: "LengthRequired", 413: "ContentTooLarge", 415: "UnsupportedMediaType"}


def shared(name: str) -> Schema:
    """The answer ``name`` of :data:`SHARED`."""
    return {"$ref": f"#/components/responses/{name}"}


def responses(described: Operation, *, versions: bool) -> Schema:
    """All answers of an NGSI-LD operation; ``versions``: its entities can be had as earlier versions knew them."""
    statuses: dict[int | str, Schema] = {answer.status: _answer(answer) for answer in described.answers}
    for answer in described.answers:
        if versions and answer.status == 200 and answer.schema:
            statuses[203] = _answer(answer) | {"description": _MEANINGS[203]}
    names = dict(EVERYWHERE)
    if described.body:
        names |= WITH_BODY
    if any(len(answer.media_types) > 1 for answer in described.answers):
        names[406] = "NotAcceptable"
    errors: set[type[NgsiLdError]] = {InvalidRequest, BadRequestData, *described.errors}
    if described.uses_context:
        errors.add(LdContextNotAvailable)
    statuses |= problems(errors) | {status: shared(name) for status, name in names.items()}
    return {str(status): statuses[status] for status in sorted(statuses, key=str)}


def _answer(answer: Answer) -> Schema:
    meaning = _MAP_CREATED if answer.status == 201 and answer.schema == "Entities" else _MEANINGS[answer.status]
    headers = {name: answer_header(name) for name in (TENANT_HEADER, *answer.headers)}
    written: Schema = {"description": meaning, "headers": headers}
    if answer.schema:
        written["content"] = {
            media_type: {"schema": GEO_JSON_OF[answer.schema] if media_type == GEO_JSON else ref(answer.schema)}
            for media_type in answer.media_types
        }
    return written


def problems(errors: Iterable[type[NgsiLdError]]) -> dict[int | str, Schema]:
    """Answers with problem details by their status, each with the types of the ``errors`` that have it."""
    kinds: dict[int, list[type[NgsiLdError]]] = {}
    for error in sorted(set(errors) - {InternalError}, key=lambda kind: kind.name):
        kinds.setdefault(STATUS[error], []).append(error)
    return {status: _problem(found) for status, found in kinds.items()}


def _problem(errors: list[type[NgsiLdError]]) -> Schema:
    types = {"properties": {"type": {"enum": [error().type for error in errors]}}}
    return {
        "description": "; ".join(f"{error.name}: {error().title}" for error in errors),
        "content": {JSON: {"schema": {"allOf": [ref("ProblemDetails"), types]}}},
    }

# SPDX-License-Identifier: Apache-2.0
"""What each parameter, path segment and header of the NGSI-LD API means, by its name on the wire.

A parameter that an operation knows (``@operation``) and that has no row here fails a test.
"""

from __future__ import annotations

from typing import Final

from api.http.problem_details import TENANT_HEADER
from api.ngsild.entity_maps import ENTITY_MAP_HEADER
from api.ngsild.operation import Operation
from api.ngsild.paging import COUNT_HEADER
from api.ngsild.projection import ENTITY_MAP_PARAMETERS
from api.ngsild.sources import WARNING_HEADER
from api.openapi.building import NAME, TEXT, TIME, URI, Schema, array, one_of
from broker.history.aggregation import AggregationMethod
from broker.history.temporal import TimeProperty
from broker.linked import MAX_JOIN_LEVEL, Join
from broker.validation import GEOMETRY_DEPTH
from context_store.contexts.hosted import Kind

_FLAG: Final[Schema] = {"type": "boolean", "default": False}
_NAMES: Final = array(NAME, 1)
_URIS: Final = array(URI, 1)


def _example(*texts: str) -> Schema:
    return {"type": "string", "examples": list(texts)}


QUERY_PARAMETERS: Final[dict[str, tuple[Schema, str]]] = {
    "aggrMethods": (
        {"type": "array", "items": one_of(*AggregationMethod), "minItems": 1},
        "Aggregation methods, for aggregatedValues (4.5.19)",
    ),
    "aggrPeriodDuration": (
        _example("PT1H"),
        "Length of the periods of an aggregation, ISO 8601; without it there is one period",
    ),
    "aggrTimeZone": (
        _example("Asia/Tokyo"),
        "Whose calendar the days and months of an aggregation are of; without it UTC; of the hub's own",
    ),
    "asKnownAt": (TIME, "Only what the hub believed then; of the hub's own"),
    "attrs": (_NAMES, "Attributes to write; an entity needs one of them to be selected (4.21)"),
    "collation": (_example("ja-u-co-unihan"), "How texts are ordered: a language tag (RFC 6067)"),
    "containedBy": (_URIS, "Entities not to fetch again"),
    "coordinates": (
        _example("[138.38,34.97]"),
        "Coordinates of the reference geometry as JSON, longitude first (4.10)",
    ),
    "corrections": (_FLAG, "What is believed no longer, too, as urn:minamo:superseded; of the hub's own"),
    "count": (_FLAG, f"Answer with the number of results in {COUNT_HEADER} (6.3.13)"),
    "csf": (
        _example('sourceType=="sensor"'),
        "Filter of context sources by their properties: only those that match are asked (4.9)",
    ),
    "datasetId": (
        {"type": "array", "items": {"anyOf": [URI, {"const": "@none"}]}, "minItems": 1},
        "Attribute instances by their datasetId; @none is the default instance (4.5.5)",
    ),
    "deleteAll": (_FLAG, "Delete all instances of the attribute"),
    "details": (_FLAG, "Answer with all that is known, not with names only"),
    "drop": (_NAMES, "Attributes to remove from the entities found, which stay"),
    "endTimeAt": (TIME, "End of the time interval, for timerel=between (4.11)"),
    "entityMap": (_FLAG, "Fix the entities found in an EntityMap, which the answer names (5.5.14)"),
    "entityMapLifetime": (_example("PT10M"), "How long a new EntityMap is kept, ISO 8601; at most a day"),
    "expandValues": (_NAMES, "Attributes whose values in q are terms of the @context"),
    "format": (TEXT, "Form of the answer; wins over options (6.3.7)"),
    "geometry": (one_of(*GEOMETRY_DEPTH), "Type of the reference geometry (4.10)"),
    "geometryProperty": (TEXT, "GeoProperty that becomes the geometry of a GeoJSON Feature"),
    "geoproperty": (TEXT, "GeoProperty that is compared; location when absent (4.10)"),
    "georel": (
        _example("near;maxDistance==2000", "within"),
        "Relation to the reference geometry: near, within, contains, overlaps, intersects, equals, disjoint (4.10)",
    ),
    "id": (_URIS, "Entities by their ids"),
    "idPattern": (_example("^urn:ngsi-ld:River:.*"), "Entities whose id matches this regular expression"),
    "join": (one_of(*Join), "Follow Relationships: linked entities within them, or after those found (4.5.23)"),
    "joinLevel": (
        {"type": "integer", "minimum": 1, "maximum": MAX_JOIN_LEVEL},
        "How many Relationships are followed",
    ),
    "jsonKeys": (_NAMES, "Attributes whose values in q are JSON and no terms, whatever expandValues says"),
    "keep": (_NAMES, "Attributes to keep of the entities found; all others are removed"),
    "kind": (one_of(*Kind), "Contexts of this kind only"),
    "lang": (_example("ja,en;q=0.8"), "Languages wanted, best first (4.15)"),
    "lastN": ({"type": "integer", "minimum": 1}, "The newest instances of each attribute, this many"),
    "limit": ({"type": "integer", "minimum": 0}, "Length of a page; 0 with count=true gives the number only (5.5.9)"),
    "local": (_FLAG, "Of this broker only (5.5.13)"),
    "observedAt": (TIME, "observedAt of what is merged and has none of its own"),
    "offset": ({"type": "integer", "minimum": 0, "default": 0}, "Results to leave out before the page"),
    "omit": (_NAMES, "Members not to write (4.21)"),
    "options": ({"type": "array", "items": TEXT, "minItems": 1}, "Keywords, separated by commas (6.3.7, 6.3.11)"),
    "orderBy": (
        {"type": "array", "items": _example("waterLevel;desc"), "minItems": 1},
        "Order of the entities: paths, each with ;asc, ;desc, ;dist-asc or ;dist-desc (4.23)",
    ),
    "orderFrom": (_example("[138.4,35.0]"), "Coordinates that distances in orderBy are measured from"),
    "orderGeometry": (one_of(*GEOMETRY_DEPTH), "Type of the geometry of orderFrom; Point when absent"),
    "pick": (_NAMES, "Members to write, also those of linked entities: locatedAt{name} (4.21)"),
    "q": (_example('waterLevel>1.0;status=="open"'), "Query over attributes (4.9)"),
    "reload": (_FLAG, "Fetch the copy of a context again instead of deleting it"),
    "scopeQ": (_example("/Japan/#"), "Query over scopes (4.19)"),
    "splitEntities": (
        _FLAG,
        "Whether an entity may be in parts at several context sources: filters are then applied here (5.2.23)",
    ),
    "timeAt": (TIME, "Time, or begin of the time interval (4.11)"),
    "timeproperty": (one_of(*TimeProperty), "Which time is compared; observedAt when absent (4.8)"),
    "timerel": (one_of("before", "after", "between"), "Relation to timeAt (4.11)"),
    "type": (_example("WaterObserved|RainGauge"), "Selection of entity types; * for all (4.17)"),
}
"""Name: (schema of the value, meaning). Lists are written with commas; all of ``form`` style."""

_ID: Final = "The entity's id"
PATH_PARAMETERS: Final[dict[str, tuple[Schema, str]]] = {
    "entity_id": (URI, _ID),
    "attribute": (NAME, "The attribute's name, short or as IRI"),
    "instance_id": (URI, "The instanceId of an attribute instance in history"),
    "map_id": (URI, "The EntityMap's id"),
    "name": (NAME, "The name of an entity type or attribute, short or as IRI"),
    "registration_id": (URI, "The registration's id"),
    "subscription_id": (URI, "The subscription's id"),
    "context_id": (TEXT, "The context's local id or its URL"),
}
WIRE_NAMES: Final = {
    "entity_id": "entityId",
    "attribute": "attrId",
    "instance_id": "instanceId",
    "map_id": "entityMapId",
    "registration_id": "registrationId",
    "subscription_id": "subscriptionId",
    "context_id": "contextId",
}
"""Path parameters as the specification writes them."""

REQUEST_HEADERS: Final[dict[str, tuple[Schema, str]]] = {
    TENANT_HEADER: (
        {"type": "string", "pattern": "^[a-z0-9_]{1,50}$"},
        "The tenant; default when absent. One comes into being with the first thing created in it (6.3.14)",
    ),
    "Link": (
        {
            "type": "string",
            "pattern": "^<[^<>]+>; rel=",
            "examples": ['<urn:ngsi-ld:jsonldContext:minamo-v1>; rel="http://www.w3.org/ns/json-ld#context"'],
        },
        "The @context of the names in the request and its answer, unless the body has one (6.3.5)",
    ),
    "Prefer": (
        _example("ngsi-ld=1.5", "body=json"),
        "ngsi-ld=1.x: entities as that version of the specification knew them; body=json: GeoJSON without @context",
    ),
    ENTITY_MAP_HEADER: (TEXT, "The EntityMap to answer from, as an earlier answer named it (6.3.21)"),
}
ANSWER_HEADERS: Final[dict[str, tuple[Schema, str]]] = {
    TENANT_HEADER: (TEXT, "The tenant of the request"),
    "Link": (TEXT, "The @context of a plain JSON answer; pages before and after (6.3.5, 6.3.10)"),
    "Preference-Applied": (TEXT, "Which Prefer was followed"),
    "Location": ({"type": "string"}, "Where the new resource is"),
    COUNT_HEADER: ({"type": "integer", "minimum": 0}, "The number of results, with count=true"),
    ENTITY_MAP_HEADER: (TEXT, "Where the EntityMap is"),
    WARNING_HEADER: (
        _example('199 minamo-1a2b "urn:ngsi-ld:ContextSourceRegistration:1: no answer within 5 s"'),
        "Context sources that gave nothing, and why; the rest is in the answer (6.3.17)",
    ),
    "Content-Range": (
        _example("date-time 2026-01-01T00:00:00Z-2026-01-02T00:00:00Z/*"),
        "Which time of what was asked for is in the answer",
    ),
    "ETag": (
        _example('"d0a629a8de433b51f47028eb"'),
        "For If-None-Match: 304 when nothing of the entity was written since",
    ),
    "Retry-After": ({"type": "integer", "minimum": 0}, "Seconds after which to try again"),
}


def query_parameter(name: str, described: Operation) -> Schema:
    """One URL parameter of an operation, with the keywords that this operation knows."""
    schema, meaning = QUERY_PARAMETERS[name]
    keywords = {"options": described.options, "format": described.formats}.get(name)
    if keywords and name == "options":
        schema = {"type": "array", "items": one_of(*keywords), "minItems": 1, "uniqueItems": True}
    elif keywords:
        schema = one_of(*keywords)
    written: Schema = {"name": name, "in": "query", "description": meaning, "schema": schema}
    if schema.get("type") == "array":
        written |= {"style": "form", "explode": False}
    return written


def path_parameter(name: str) -> Schema:
    """One segment of a path."""
    schema, meaning = PATH_PARAMETERS[name]
    return {"name": wire_name(name), "in": "path", "required": True, "description": meaning, "schema": schema}


def wire_name(name: str) -> str:
    """A path parameter's name in the document."""
    return WIRE_NAMES.get(name, name)


def request_headers(described: Operation) -> list[str]:
    """The headers that an operation reads, those aside that OpenAPI describes elsewhere (Accept, Content-Type)."""
    headers = [TENANT_HEADER]
    if described.uses_context:
        headers.append("Link")
    if any("Preference-Applied" in answer.headers for answer in described.answers):
        headers.append("Prefer")
    if described.parameters >= ENTITY_MAP_PARAMETERS or any(ENTITY_MAP_HEADER in a.headers for a in described.answers):
        headers.append(ENTITY_MAP_HEADER)
    return headers


def header_parameter(name: str) -> Schema:
    """One header of a request."""
    schema, meaning = REQUEST_HEADERS[name]
    return {"name": name, "in": "header", "description": meaning, "schema": schema}


def answer_header(name: str) -> Schema:
    """One header of an answer."""
    schema, meaning = ANSWER_HEADERS[name]
    return {"description": meaning, "schema": schema}

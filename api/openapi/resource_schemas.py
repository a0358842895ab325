# SPDX-License-Identifier: Apache-2.0
"""Queries, subscriptions, contexts, discovery and errors as JSON Schemas, by name."""

from __future__ import annotations

from typing import Final

from api.openapi.building import (
    ANY,
    BOOLEAN,
    CONTEXT,
    COUNT,
    NAME,
    TEXT,
    TIME,
    URI,
    Schema,
    array,
    members,
    one_of,
    ref,
    text_or_array,
    without,
)
from broker.entities import AttributeKind
from broker.history.aggregation import AggregationMethod
from broker.history.temporal import TimeProperty
from broker.linked import MAX_JOIN_LEVEL, Join
from broker.subscriptions.document import FORMATS, MEDIA_TYPES, TRIGGERS
from broker.validation import GEOMETRY_DEPTH
from context_store.contexts.hosted import Kind
from schemas.terms import ERROR_TYPE

_NAMES: Final = array(NAME, 1)
_NAME_LIST: Final[Schema] = {"anyOf": [_NAMES, TEXT]}
_DURATION: Final[Schema] = {"type": "string", "examples": ["PT10M"]}
_SECONDS: Final[Schema] = {"type": "number", "exclusiveMinimum": 0}
_GEOMETRY_TYPE: Final = one_of(*GEOMETRY_DEPTH)
_COORDINATES: Final[Schema] = {"anyOf": [{"type": "array"}, {"type": "string"}], "examples": [[138.38, 34.97]]}
_JOIN_LEVEL: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": MAX_JOIN_LEVEL}

_AGGREGATION: Final[dict[str, Schema]] = {
    "aggrMethods": {"anyOf": [array(one_of(*AggregationMethod), 1), TEXT]},
    "aggrPeriodDuration": _DURATION,
    "aggrTimeZone": {"type": "string", "examples": ["Asia/Tokyo"]},
}
_SELECTION: Final[dict[str, Schema]] = {
    "type": {"const": "Query"},
    "entities": array(ref("EntitySelector"), 1),
    "q": {"type": "string", "examples": ["waterLevel>1.0"]},
    "geoQ": ref("GeoQuery"),
    "scopeQ": {"type": "string", "examples": ["/Japan/#"]},
    "attrs": _NAMES,
    "pick": _NAMES,
    "omit": _NAMES,
    "lang": TEXT,
    "datasetId": text_or_array(TEXT),
    "expandValues": _NAME_LIST,
    "jsonKeys": _NAME_LIST,
    "csf": {"type": "string", "examples": ["endpoint==1"]},
    "splitEntities": BOOLEAN,
    "join": one_of(*Join),
    "entityMap": BOOLEAN,
    "entityMapLifetime": _DURATION,
}

QUERIES: Final[dict[str, Schema]] = {
    "Query": members(
        _SELECTION
        | {
            "joinLevel": _JOIN_LEVEL,
            "containedBy": array(URI, 1),
            "ordering": members(
                {"orderBy": _NAMES, "coordinates": {"type": "array"}, "geometry": _GEOMETRY_TYPE, "collation": TEXT}
            ),
        },
        ["type"],
        description="A query of entities (5.2.23)",
    ),
    "TemporalQuery": members(
        _SELECTION
        | {
            "temporalQ": members(
                {
                    "timerel": one_of("before", "after", "between"),
                    "timeAt": TIME,
                    "endTimeAt": TIME,
                    "timeproperty": one_of(*TimeProperty),
                    "lastN": {"type": "integer", "minimum": 1},
                    **_AGGREGATION,
                },
                description="Which time (5.2.21)",
            ),
            "aggrParams": members(_AGGREGATION, description="An aggregation (5.2.44)"),
        },
        ["type"],
        description="A query of temporal evolutions (5.2.23); temporalQ needs timerel and timeAt",
    ),
    "EntitySelector": members(
        {"id": text_or_array(URI), "idPattern": {"type": "string"}, "type": {"anyOf": [NAME, TEXT]}},
        ["type"],
        description="Entities by type and id (5.2.33); the type may be *",
    ),
    "GeoQuery": members(
        {
            "georel": {"type": "string", "examples": ["near;maxDistance==2000"]},
            "geometry": _GEOMETRY_TYPE,
            "coordinates": _COORDINATES,
            "geoproperty": NAME,
        },
        ["georel", "geometry", "coordinates"],
        description="Relation to a reference geometry (5.2.13)",
    ),
    "EntityMapFragment": members(
        {"id": TEXT, "type": {"const": "EntityMap"}, "expiresAt": TIME},
        others=True,
        description="Only expiresAt can be changed (5.5.14)",
    ),
    "EntityMap": members(
        {
            "id": URI,
            "type": {"const": "EntityMap"},
            "expiresAt": TIME,
            "entityMap": {"type": "object", "additionalProperties": array(TEXT)},
            "linkedMaps": {"type": "object"},
            "@context": ANY,
        },
        ["id", "type", "expiresAt", "entityMap", "linkedMaps"],
        description="The entities that a query found (5.2.39)",
    ),
}

_PAIR: Final = members({"key": {"type": "string"}, "value": {"type": "string"}}, ["key", "value"])
_ENDPOINT: Final = members(
    {
        "uri": {"type": "string", "format": "uri", "examples": ["http://127.0.0.1:9911/notify"]},
        "accept": one_of(*MEDIA_TYPES),
        "receiverInfo": array(_PAIR, 1),
        "notifierInfo": array(_PAIR, 1),
        "timeout": _SECONDS,
        "cooldown": _SECONDS,
    },
    ["uri"],
    others=True,
)
_SENT: Final[dict[str, Schema]] = {
    "timesSent": COUNT,
    "timesFailed": COUNT,
    "lastNotification": TIME,
    "lastSuccess": TIME,
    "lastFailure": TIME,
    "status": one_of("ok", "failed"),
}
_NOTIFICATION: Final = members(
    {
        "attributes": _NAMES,
        "pick": _NAMES,
        "omit": _NAMES,
        "format": one_of(*FORMATS),
        "join": one_of(*Join),
        "joinLevel": _JOIN_LEVEL,
        "showChanges": BOOLEAN,
        "sysAttrs": BOOLEAN,
        "endpoint": _ENDPOINT,
    },
    ["endpoint"],
    others=True,
    description="What is sent, and where to (5.2.14)",
)
_SUBSCRIPTION: Final[dict[str, Schema]] = {
    "id": URI,
    "type": {"const": "Subscription"},
    "subscriptionName": TEXT,
    "description": {"type": "string"},
    "entities": array(ref("EntitySelector"), 1),
    "watchedAttributes": _NAMES,
    "notificationTrigger": array(one_of(*TRIGGERS), 1),
    "q": {"type": "string", "examples": ["waterLevel>1.0"]},
    "geoQ": ref("GeoQuery"),
    "scopeQ": {"type": "string", "examples": ["/Japan/#"]},
    "csf": {"type": "string", "examples": ["endpoint==1"]},
    "datasetId": array(TEXT, 1),
    "expandValues": TEXT,
    "jsonKeys": TEXT,
    "expiresAt": TIME,
    "isActive": BOOLEAN,
    "jsonldContext": {"type": "string", "format": "uri", "examples": ["urn:ngsi-ld:jsonldContext:minamo-v1"]},
    "lang": TEXT,
    "localOnly": BOOLEAN,
    "splitEntities": BOOLEAN,
    "ngsildConformance": TEXT,
    "throttling": _SECONDS,
    "timeInterval": _SECONDS,
    "notification": _NOTIFICATION,
}
_TEMPORAL_QUERY: Final[dict[str, Schema]] = {
    "temporalQ": members(
        {
            "timerel": one_of("before", "after", "between"),
            "timeAt": TIME,
            "endTimeAt": TIME,
            "timeproperty": one_of(*TimeProperty),
        },
        ["timerel", "timeAt"],
        others=True,
        description="Of sources with such history (5.2.21)",
    )
}
_READ_ONLY: Final[dict[str, Schema]] = {
    "status": one_of("active", "paused", "expired"),
    "createdAt": TIME,
    "modifiedAt": TIME,
    "@context": ANY,
}
_SENT_NOTIFICATION: Final = _NOTIFICATION | {"properties": _NOTIFICATION["properties"] | _SENT}

SUBSCRIPTIONS: Final[dict[str, Schema]] = {
    "Subscription": members(
        _SUBSCRIPTION,
        ["type", "notification"],
        others=True,
        description="What is watched, and what is sent (5.2.12). It needs entities or watchedAttributes",
    ),
    "SubscriptionFragment": members(
        _SUBSCRIPTION | {"notification": without(_NOTIFICATION, "endpoint")},
        others=True,
        description="Members to change; urn:ngsi-ld:null removes one (5.8.2)",
    ),
    "SubscriptionRepresentation": members(
        _SUBSCRIPTION | {"notification": _SENT_NOTIFICATION} | _READ_ONLY,
        ["id", "type", "notification", "status"],
        others=True,
    ),
    "Subscriptions": array(ref("SubscriptionRepresentation")),
    "CSourceSubscription": members(
        _SUBSCRIPTION | _TEMPORAL_QUERY,
        ["type", "notification"],
        others=True,
        description="Which registrations of context sources are told of (5.11): those that a query of them would find",
    ),
    "CSourceSubscriptionFragment": members(
        _SUBSCRIPTION | _TEMPORAL_QUERY | {"notification": without(_NOTIFICATION, "endpoint")},
        others=True,
        description="Members to change; urn:ngsi-ld:null removes one (5.11.3)",
    ),
    "CSourceSubscriptionRepresentation": members(
        _SUBSCRIPTION | _TEMPORAL_QUERY | {"notification": _SENT_NOTIFICATION} | _READ_ONLY,
        ["id", "type", "notification", "status"],
        others=True,
    ),
    "CSourceSubscriptions": array(ref("CSourceSubscriptionRepresentation")),
}

_ATTRIBUTE: Final[dict[str, Schema]] = {
    "id": TEXT,
    "type": {"const": "Attribute"},
    "attributeName": TEXT,
    "attributeCount": COUNT,
    "attributeTypes": array(one_of(*AttributeKind)),
    "typeNames": array(TEXT),
    "@context": ANY,
}
DISCOVERY: Final[dict[str, Schema]] = {
    "EntityTypes": {
        "description": "The names of all types (5.2.24), or with details=true the attributes of each (5.2.25)",
        "anyOf": [
            members(
                {"id": URI, "type": {"const": "EntityTypeList"}, "typeList": array(TEXT), "@context": ANY},
                ["id", "type", "typeList"],
            ),
            array(
                members(
                    {
                        "id": TEXT,
                        "type": {"const": "EntityType"},
                        "typeName": TEXT,
                        "attributeNames": array(TEXT),
                        "@context": ANY,
                    },
                    ["id", "type", "typeName", "attributeNames"],
                )
            ),
        ],
    },
    "EntityTypeInfo": members(
        {
            "id": TEXT,
            "type": {"const": "EntityTypeInfo"},
            "typeName": TEXT,
            "entityCount": COUNT,
            "attributeDetails": array(ref("AttributeInfo")),
            "@context": ANY,
        },
        ["id", "type", "typeName", "entityCount", "attributeDetails"],
        description="5.2.26",
    ),
    "Attributes": {
        "description": "The names of all attributes (5.2.27), or with details=true the types that have each (5.2.28)",
        "anyOf": [
            members(
                {"id": URI, "type": {"const": "AttributeList"}, "attributeList": array(TEXT), "@context": ANY},
                ["id", "type", "attributeList"],
            ),
            array(ref("AttributeInfo")),
        ],
    },
    "AttributeInfo": members(_ATTRIBUTE, ["id", "type", "attributeName"], description="5.2.28"),
    "ContextSourceIdentity": members(
        {
            "id": URI,
            "type": {"const": "ContextSourceIdentity"},
            "contextSourceAlias": TEXT,
            "contextSourceUptime": _DURATION,
            "contextSourceTimeAt": TIME,
            "@context": ANY,
        },
        ["id", "type", "contextSourceAlias", "contextSourceUptime", "contextSourceTimeAt"],
        description="Who this hub is to other brokers (5.2.40)",
    ),
}

CONTEXTS: Final[dict[str, Schema]] = {
    "ContextDocument": members({"@context": CONTEXT}, ["@context"], others=True, description="A JSON-LD @context"),
    "ContextMetadata": members(
        {
            "URL": TEXT,
            "localId": TEXT,
            "kind": one_of(*Kind),
            "createdAt": TIME,
            "expiresAt": TIME,
            "lastUsage": TIME,
            "numberOfHits": COUNT,
            "extraInfo": {"type": "string"},
        },
        ["URL", "localId", "kind", "createdAt"],
        description="What is known about a stored context (5.13.3.5)",
    ),
    "ContextList": {
        "description": "Addresses of contexts; with details=true what is known about each",
        "anyOf": [array(TEXT), array(ref("ContextMetadata"))],
    },
    "ContextOrMetadata": {"anyOf": [ref("ContextDocument"), ref("ContextMetadata")]},
}

ERRORS: Final[dict[str, Schema]] = {
    "ProblemDetails": members(
        {
            "type": {"type": "string", "description": f"{ERROR_TYPE} and the name of the error, or about:blank"},
            "title": {"type": "string", "description": "The same for every occurrence"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, and where"},
            "availableRepresentations": array(TEXT),
        },
        ["type", "title", "status", "detail"],
        others=True,
        description="RFC 9457, as application/json (5.5.3)",
    ),
    "BatchOperationResult": members(
        {
            "success": array(TEXT),
            "errors": array(members({"entityId": ANY, "error": ref("ProblemDetails")}, ["entityId", "error"])),
        },
        ["success", "errors"],
        description="Which entities were processed, and which not (5.2.16)",
    ),
}

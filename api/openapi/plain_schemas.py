# SPDX-License-Identifier: Apache-2.0
"""What the hub's own API takes and answers, as JSON Schemas by name."""

from __future__ import annotations

from typing import Final

from api.openapi.building import (
    ANY,
    CONTEXT,
    COUNT,
    NUMBER,
    TEXT,
    TIME,
    URI,
    Schema,
    array,
    members,
    one_of,
    ref,
)
from api.openapi.device_schemas import DEVICES
from api.openapi.history_schemas import HISTORY
from broker.alerts.rules import DEFAULT_CLEAR_AFTER_S, DEFAULT_HYSTERESIS, DEFAULT_UNIT
from broker.stations import Freshness
from schemas.stages import STAGES

_STAGE: Final = one_of(*(stage.code for stage in STAGES))
_NUMBER_OR_NULL: Final[Schema] = {"type": ["number", "null"]}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_TIME_OR_NULL: Final[Schema] = {"anyOf": [TIME, {"type": "null"}]}
_LONGITUDE_LATITUDE: Final[Schema] = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}
_ANYTHING: Final[Schema] = {"type": "object"}

_RULE: Final[dict[str, Schema]] = {
    "id": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"},
    "name": members({"ja": TEXT, "en": TEXT}) | {"minProperties": 1},
    "enabled": {"type": "boolean", "default": True},
    "entities": members({"ids": array(URI, 1), "type": TEXT}, description="Either ids or a type"),
    "attribute": {"type": "string", "minLength": 1, "examples": ["waterLevel"]},
    "datasetId": URI,
    "unitCode": {"type": "string", "pattern": "^[A-Z0-9]{2,3}$", "default": DEFAULT_UNIT},
    "levels": array(members({"stage": _STAGE, "threshold": NUMBER}, ["stage", "threshold"]), 1),
    "hysteresis": {"type": "number", "minimum": 0, "default": DEFAULT_HYSTERESIS},
    "clearAfter": {
        "description": "Seconds below a level before its alert is cleared",
        "type": "number",
        "minimum": 0,
        "default": DEFAULT_CLEAR_AFTER_S,
    },
    "confirmation": members(
        {"count": {"type": "integer", "minimum": 1}, "seconds": {"type": "number", "minimum": 0}},
        description="How long a level has to be reached before it is raised; either one is enough",
    ),
}

ALERTS: Final[dict[str, Schema]] = {
    "AlertRuleInput": members(
        _RULE | {"@context": CONTEXT},
        ["name", "entities", "attribute", "levels"],
        description="Levels ascend in stage and in threshold",
    ),
    "AlertRule": members(_RULE, ["id", "name", "enabled", "entities", "attribute", "unitCode", "levels"]),
    "AlertRules": members({"rules": array(ref("AlertRule"))}, ["rules"]),
    "Alert": members(
        {
            "id": TEXT,
            "entityId": TEXT,
            "stage": _STAGE,
            "threshold": NUMBER,
            "value": _NUMBER_OR_NULL,
            "peakValue": _NUMBER_OR_NULL,
            "raisedAt": TIME,
            "clearedAt": _TIME_OR_NULL,
            "status": one_of("raised", "cleared"),
        },
        ["id", "entityId", "stage", "threshold", "raisedAt", "clearedAt", "status"],
        others=True,
        description="An alert, with names and sentences in Japanese and English",
    ),
    "Alerts": members({"alerts": array(ref("Alert"))}, ["alerts"]),
    "CapFeed": {"type": "string", "description": "Atom (RFC 4287), newest message first; rel=next leads to older ones"},
    "CapMessage": {"type": "string", "description": "OASIS Common Alerting Protocol 1.2"},
    "AlertEvents": {"type": "string", "description": "Server-sent events raised and cleared; data is an Alert as JSON"},
}

STATIONS: Final[dict[str, Schema]] = {
    "Station": members(
        {
            "entityId": TEXT,
            "deviceId": TEXT,
            "name": {"type": "string"},
            "types": array(TEXT),
            "location": {"anyOf": [_LONGITUDE_LATITUDE, {"type": "null"}]},
            "attribute": TEXT,
            "attributeIri": TEXT,
            "unitCode": _TEXT_OR_NULL,
            "value": ANY,
            "observedAt": _TIME_OR_NULL,
            "ageSeconds": _NUMBER_OR_NULL,
            "expectedIntervalSeconds": _NUMBER_OR_NULL,
            "status": one_of(*Freshness),
            "stage": {"anyOf": [_STAGE, {"type": "null"}]},
            "stagesRaised": array(_STAGE),
            "thresholds": array(members({"stage": _STAGE, "value": NUMBER}, ["stage", "value"])),
            "trend": ANY,
        },
        ["entityId", "deviceId", "name", "attribute", "value", "observedAt", "status", "stage", "thresholds"],
        others=True,
        description="Show one that is not live as unknown, not as calm",
    ),
    "Stations": members(
        {
            "generatedAt": TIME,
            "notice": {"type": ["object", "null"]},
            "stages": array({"type": "object"}),
            "stations": array(ref("Station")),
        },
        ["generatedAt", "stages", "stations"],
        others=True,
    ),
    "Series": members(
        {
            "entityId": TEXT,
            "attribute": TEXT,
            "from": TIME,
            "to": TIME,
            "points": {
                "description": "[epoch seconds, value], oldest first",
                "type": "array",
                "items": {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2},
            },
        },
        ["entityId", "attribute", "from", "to", "points"],
        others=True,
    ),
}

_GAPS: Final = array(
    members({"from": COUNT, "to": COUNT}, ["from", "to"], description="Numbers that are not kept any more")
)
_LETTER: Final[dict[str, Schema]] = {
    "id": COUNT,
    "kind": one_of("notification", "alert"),
    "subscriptionId": _TEXT_OR_NULL,
    "sequence": COUNT,
    "destination": TEXT,
    "attempts": COUNT,
    "createdAt": TIME,
    "diedAt": TIME,
    "lastError": _TEXT_OR_NULL,
    "size": COUNT,
}
_STATUS: Final[dict[str, Schema]] = {
    "id": TEXT,
    "status": one_of("active", "paused", "expired"),
    "endpoint": TEXT,
    "lastSequence": COUNT,
    "firstAvailable": {"type": ["integer", "null"], "description": "The first number that is still kept"},
    "timesSent": COUNT,
    "timesFailed": COUNT,
    "pending": COUNT,
    "oldestPendingSeconds": _NUMBER_OR_NULL,
    "inFlight": COUNT,
    "stalled": {"type": "integer", "description": "Entities whose notifications wait for the receiver to answer"},
    "deadLetters": COUNT,
    "lastNotification": _TIME_OR_NULL,
    "lastSuccess": _TIME_OR_NULL,
    "lastFailure": _TIME_OR_NULL,
    "lastError": _TEXT_OR_NULL,
}
_NOTIFICATION: Final[dict[str, Schema]] = {
    "sequence": COUNT,
    "deliveryId": COUNT,
    "state": one_of("pending", "delivered", "dead", "dropped", "kept"),
    "createdAt": TIME,
    "contentType": _TEXT_OR_NULL,
    "link": _TEXT_OR_NULL,
    "body": {"description": "The notification as the endpoint got it"},
}

DELIVERIES: Final[dict[str, Schema]] = {
    "SubscriptionStatus": members(_STATUS, [*_STATUS]),
    "SubscriptionStatuses": members({"subscriptions": array(ref("SubscriptionStatus"))}, ["subscriptions"]),
    "Notifications": members(
        {"notifications": array(members(_NOTIFICATION, [*_NOTIFICATION])), "missing": _GAPS, "last": COUNT},
        ["notifications", "missing", "last"],
    ),
    "CatchUp": members(
        {"after": COUNT, "partial": {"type": "boolean", "default": False, "description": "Also when some are missing"}},
        ["after"],
    ),
    "CatchUpResult": members({"queued": COUNT, "missing": _GAPS}, ["queued", "missing"]),
    "DeadLetter": members(
        _LETTER
        | {
            "answers": array({"type": "object", "description": "The last attempts: at, status, error, seconds"}),
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": {"description": "What was to be delivered"},
            "bodyBase64": {"type": "string", "contentEncoding": "base64"},
        },
        [*_LETTER],
    ),
    "NotificationEvents": {
        "type": "string",
        "description": "Server-sent events open, notification (data is the notification) and gap; ids are the numbers",
    },
    "StreamTicketRequest": members({"path": {"type": "string", "description": "Of the stream"}}, ["path"]),
    "StreamTicket": members(
        {"ticket": TEXT, "url": {"type": "string", "description": "path with the ticket"}, "expiresAt": TIME},
        ["ticket", "url", "expiresAt"],
    ),
    "DeadLetters": members({"deadLetters": array(ref("DeadLetter"))}, ["deadLetters"]),
    "Replayed": members({"replayed": COUNT}, ["replayed"]),
    "Dropped": members({"dropped": COUNT}, ["dropped"]),
}

HEALTH: Final[dict[str, Schema]] = {
    "SessionRequest": members({"token": TEXT}, ["token"]),
    "Alive": members({"status": {"const": "alive"}}, ["status"]),
    "Readiness": members(
        {
            "status": one_of("ready", "not ready"),
            "parts": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Part: up, or what is wrong with it",
            },
        },
        ["status", "parts"],
    ),
}

PLAIN: Final = {**DEVICES, **ALERTS, **DELIVERIES, **STATIONS, **HISTORY, **HEALTH}
"""All of them."""

# SPDX-License-Identifier: Apache-2.0
"""What the hub's own API takes and answers, as JSON Schemas by name."""

from __future__ import annotations

from typing import Final

from adapters.codecs import CODECS
from adapters.expression import MAX_LENGTH
from adapters.formats import FORMATS
from api.openapi.building import (
    ANY,
    BOOLEAN,
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
from api.openapi.history_schemas import HISTORY
from broker.alerts.rules import DEFAULT_CLEAR_AFTER_S, DEFAULT_HYSTERESIS, DEFAULT_UNIT
from broker.devices import MEASURES, VALUE
from broker.formats import MINAMO_JSON
from broker.readings import Reason
from broker.stations import Freshness
from schemas.stages import STAGES

_STAGE: Final = one_of(*(stage.code for stage in STAGES))
_NUMBER_OR_NULL: Final[Schema] = {"type": ["number", "null"]}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_TIME_OR_NULL: Final[Schema] = {"anyOf": [TIME, {"type": "null"}]}
_LONGITUDE_LATITUDE: Final[Schema] = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}
_ANYTHING: Final[Schema] = {"type": "object"}

_MAPPING: Final = members(
    {
        "field": TEXT,
        "attribute": {"type": "string", "minLength": 1, "examples": ["waterLevel"]},
        "unitCode": {"type": "string", "minLength": 1, "examples": ["MTR"]},
        "minimum": NUMBER,
        "maximum": NUMBER,
        "factor": NUMBER,
        "offset": NUMBER,
        "datasetId": TEXT,
        "unit": {"description": "In which it is sent, UN/CEFACT", "type": "string", "examples": ["MMT"]},
        "measures": one_of(*MEASURES) | {"default": VALUE},
        "reference": {"description": "Height of the sensor, or the gauge zero", "type": "number"},
        "sentinels": array({"type": ["number", "string"]}),
        "words": {"description": "What sent texts stand for", "type": "object", "examples": [{"通行止": True}]},
    },
    ["field", "attribute"],
    description="One quantity of the device's messages and the attribute it feeds",
)
_FORMAT: Final = members(
    {
        "name": one_of(*FORMATS) | {"default": MINAMO_JSON},
        "codec": one_of(*CODECS),
        "fields": {
            "description": "Payload expressions by field",
            "type": "object",
            "additionalProperties": {"type": "string", "maxLength": MAX_LENGTH},
            "examples": [{"level": "u16be(0) * 0.001"}],
        },
        "timeField": TEXT,
        "timeZone": {"type": "string", "examples": ["Asia/Tokyo"]},
        "records": TEXT,
        "select": {"type": "object"},
        "columns": array(TEXT),
        "separator": TEXT,
        "encoding": {"type": "string", "examples": ["cp932"]},
        "zeros": array(TEXT),
        "sentinels": array({"type": ["number", "string"]}),
        "address": TEXT,
    },
    description="In which format the device sends",
)
_IDENTIFIER: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"}
_DEVICE: Final[dict[str, Schema]] = {
    "id": _IDENTIFIER,
    "key": _IDENTIFIER,
    "name": TEXT,
    "entityId": URI,
    "entityType": {"anyOf": [TEXT, array(TEXT, 1)], "examples": ["WaterObserved"]},
    "attributes": array(_MAPPING, 1),
    "expectedInterval": {"description": "Seconds between readings", "type": "number", "exclusiveMinimum": 0},
    "format": {"anyOf": [one_of(*FORMATS), _FORMAT]},
    "location": {
        "description": "[longitude, latitude] or a GeoJSON Point",
        "anyOf": [_LONGITUDE_LATITUDE, {"type": "object"}],
    },
}
_KNOWN_DEVICE: Final = _DEVICE | {
    "expectedInterval": _NUMBER_OR_NULL,
    "location": {"anyOf": [_LONGITUDE_LATITUDE, {"type": "null"}]},
    "mqtt": members(
        {"username": TEXT, "password": TEXT, "topic": TEXT},
        ["username", "password", "topic"],
        description="How the device reaches the MQTT broker; the password is told this once",
    ),
}

DEVICES: Final[dict[str, Schema]] = {
    "DeviceInput": members(
        _DEVICE | {"newPassword": BOOLEAN, "@context": CONTEXT}, ["entityId", "entityType", "attributes"]
    ),
    "Device": members(_KNOWN_DEVICE, ["id", "key", "name", "entityId", "entityType", "attributes"]),
    "Devices": members({"devices": array(ref("Device"))}, ["devices"]),
    "DecodeInput": members(
        {
            "payloadText": {"type": "string"},
            "payloadBase64": {"type": "string", "contentEncoding": "base64"},
            "payloadHex": {"type": "string", "pattern": "^([0-9A-Fa-f]{2} *)*$"},
            "topic": TEXT,
            "receivedAt": TIME,
            "device": {"description": "Members of the registration to try out", "type": "object"},
        },
        description="One of the three payloads, and as what it should be read",
    ),
    "Decode": members(
        {
            "measurements": array(
                members({"observedAt": TIME, "values": _ANYTHING, "units": _ANYTHING, "state": _ANYTHING})
            ),
            "stored": array(
                members(
                    {
                        "observedAt": TIME,
                        "entityId": URI,
                        "field": TEXT,
                        "attribute": URI,
                        "value": ANY,
                        "unitCode": _TEXT_OR_NULL,
                    }
                )
            ),
            "missing": array(members({"field": TEXT, "reason": TEXT})),
            "fault": {"anyOf": [members({"reason": one_of(*Reason), "detail": TEXT}), {"type": "null"}]},
        },
        ["measurements", "stored", "missing", "fault"],
        description="What a message would become",
    ),
    "Receipt": members(
        {
            "status": one_of("stored", "quarantined"),
            "receivedAt": TIME,
            "reason": one_of(*Reason),
            "detail": {"type": "string"},
        },
        ["status", "receivedAt"],
        description="The message is durable, and what became of it",
    ),
    "QuarantineEntry": members(
        {
            "id": COUNT,
            "receivedAt": TIME,
            "topic": {"type": "string"},
            "deviceKey": _TEXT_OR_NULL,
            "reason": one_of(*Reason),
            "detail": {"type": "string"},
            "state": one_of("held", "replayed", "dropped"),
            "attempts": COUNT,
            "payloadBase64": {"type": "string", "contentEncoding": "base64"},
            "payloadText": _TEXT_OR_NULL,
            "resolvedAt": _TIME_OR_NULL,
        },
        ["id", "receivedAt", "topic", "reason", "detail", "state", "payloadBase64"],
        description="A message that could not be taken, with its bytes and the reason",
    ),
    "Quarantine": members({"messages": array(ref("QuarantineEntry"))}, ["messages"]),
    "Replay": members({"stored": COUNT, "stillHeld": COUNT}, ["stored", "stillHeld"]),
}

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

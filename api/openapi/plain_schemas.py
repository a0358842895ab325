# SPDX-License-Identifier: Apache-2.0
"""What the hub's own API takes and answers, as JSON Schemas by name."""

from __future__ import annotations

from typing import Final

from api.openapi.alert_schemas import ALERTS, STAGE
from api.openapi.audience_schemas import AUDIENCES
from api.openapi.building import (
    ANY,
    COUNT,
    NUMBER,
    NUMBER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    TIME_OR_NULL,
    Schema,
    array,
    members,
    one_of,
    ref,
)
from api.openapi.contact_schemas import CONTACTS
from api.openapi.device_schemas import DEVICES
from api.openapi.forecast_schemas import FORECASTS
from api.openapi.history_schemas import HISTORY
from api.openapi.poll_schemas import POLLS
from broker.quality import Flag
from broker.stations import Freshness

_LONGITUDE_LATITUDE: Final[Schema] = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}
_ANYTHING: Final[Schema] = {"type": "object"}

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
            "unitCode": TEXT_OR_NULL,
            "value": ANY,
            "observedAt": TIME_OR_NULL,
            "quality": {"anyOf": [one_of(*Flag), {"type": "null"}]},
            "qualityReasons": array(TEXT),
            "ageSeconds": NUMBER_OR_NULL,
            "expectedIntervalSeconds": NUMBER_OR_NULL,
            "status": one_of(*Freshness),
            "reception": TEXT_OR_NULL | {"description": "ok, late, silent, dead, floodedUnknown"},
            "floodSign": {"type": "boolean"},
            "stage": {"anyOf": [STAGE, {"type": "null"}]},
            "stagesRaised": array(STAGE),
            "thresholds": array(members({"stage": STAGE, "value": NUMBER}, ["stage", "value"])),
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
    "subscriptionId": TEXT_OR_NULL,
    "sequence": COUNT,
    "destination": TEXT,
    "attempts": COUNT,
    "createdAt": TIME,
    "diedAt": TIME,
    "lastError": TEXT_OR_NULL,
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
    "oldestPendingSeconds": NUMBER_OR_NULL,
    "inFlight": COUNT,
    "stalled": {"type": "integer", "description": "Entities whose notifications wait for the receiver to answer"},
    "deadLetters": COUNT,
    "lastNotification": TIME_OR_NULL,
    "lastSuccess": TIME_OR_NULL,
    "lastFailure": TIME_OR_NULL,
    "lastError": TEXT_OR_NULL,
}
_NOTIFICATION: Final[dict[str, Schema]] = {
    "sequence": COUNT,
    "deliveryId": COUNT,
    "state": one_of("pending", "delivered", "dead", "dropped", "kept"),
    "createdAt": TIME,
    "contentType": TEXT_OR_NULL,
    "link": TEXT_OR_NULL,
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

PLAIN: Final = {
    **AUDIENCES,
    **FORECASTS,
    **DEVICES,
    **POLLS,
    **ALERTS,
    **CONTACTS,
    **DELIVERIES,
    **STATIONS,
    **HISTORY,
    **HEALTH,
}
"""All of them."""

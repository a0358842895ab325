# SPDX-License-Identifier: Apache-2.0
"""What goes through the routes of devices and of quarantine, as JSON Schemas by name."""

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
from api.openapi.quality_schemas import PROFILE_SECTION
from broker.devices import MEASURES, VALUE
from broker.formats import MINAMO_JSON
from broker.readings import Reason

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
_POSITIVE: Final[Schema] = {"type": "number", "exclusiveMinimum": 0}
_EXPECTED_INTERVAL: Final = members(
    {"normal": _POSITIVE, "active": _POSITIVE, "startLevel": NUMBER, "field": TEXT},
    ["normal"],
    description="Seconds between readings; active from startLevel on (the last known stored value of field)",
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
    "profile": ref("DeviceProfile"),
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
    "DeviceProfile": members(
        {"expectedInterval": _EXPECTED_INTERVAL, "quality": PROFILE_SECTION},
        description="What is expected of a device, a section for each subject",
    ),
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

# SPDX-License-Identifier: Apache-2.0
"""What goes through the routes of devices and of quarantine, as JSON Schemas by name."""

from __future__ import annotations

from typing import Final

from adapters.formats.codecs import CODECS
from adapters.formats.expression import MAX_LENGTH
from adapters.formats.table import FORMATS
from api.openapi.building import (
    ANY,
    BOOLEAN,
    CONTEXT,
    COUNT,
    NUMBER,
    NUMBER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    TIME_OR_NULL,
    URI,
    Schema,
    array,
    members,
    one_of,
    ref,
)
from api.openapi.quality_schemas import PROFILE_SECTION, SILENCE_SECTION
from broker.devices.maintenance import MAX_REASON
from broker.devices.model import MEASURES, VALUE
from broker.devices.records import DETAILS, CredentialState
from broker.devices.state import DeviceState
from broker.intake.formats import MINAMO_JSON
from broker.intake.readings import Reason

_LONGITUDE_LATITUDE: Final[Schema] = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}
_ANYTHING: Final[Schema] = {"type": "object"}
_MOMENT: Final[Schema] = {"type": "string", "format": "date-time", "examples": ["2026-11-21T16:40:00+09:00"]}

_MAPPING: Final = members(
    {
        "field": TEXT,
        "attribute": {"type": ["string", "null"], "minLength": 1, "examples": ["waterLevel"]},
        "unitCode": {"type": "string", "minLength": 1, "examples": ["MTR"]},
        "minimum": NUMBER,
        "maximum": NUMBER,
        "factor": NUMBER,
        "offset": NUMBER,
        "datasetId": TEXT,
        "unit": {"description": "In which it is sent, UN/CEFACT", "type": "string", "examples": ["MMT"]},
        "measures": one_of(*MEASURES) | {"default": VALUE},
        "reference": {"description": "Height of the sensor, or the gauge zero", "type": "number"},
        "earlierReferences": array(
            members(
                {"until": _MOMENT, "reference": NUMBER},
                ["until", "reference"],
                description="What the reference was until then, oldest first",
            )
        ),
        "sentinels": array({"type": ["number", "string"]}),
        "words": {"description": "What sent texts stand for", "type": "object", "examples": [{"通行止": True}]},
    },
    ["field"],
    description="One quantity of the device's messages and the attribute it feeds. Of a device with a model: what "
    "differs from the model's mapping of this field",
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
_DETAILS: Final[dict[str, Schema]] = {
    name: {"type": "string", "minLength": 1, "maxLength": length} for name, length in DETAILS.items()
}
_SHARED: Final[dict[str, Schema]] = {
    "entityType": {"anyOf": [TEXT, array(TEXT, 1)], "examples": ["WaterObserved"]},
    "attributes": array(_MAPPING),
    "expectedInterval": {"description": "Seconds between readings, short for that of the profile"} | _POSITIVE,
    "format": {"anyOf": [one_of(*FORMATS), _FORMAT]},
    "profile": ref("DeviceProfile"),
}
_DEVICE: Final[dict[str, Schema]] = {
    "id": _IDENTIFIER,
    "key": _IDENTIFIER,
    "name": TEXT,
    "entityId": URI,
    **_SHARED,
    "location": {
        "description": "[longitude, latitude] or a GeoJSON Point",
        "anyOf": [_LONGITUDE_LATITUDE, {"type": "object"}],
    },
    "model": {
        "description": "Id of a device model",
        "type": "string",
        "minLength": 1,
        "examples": ["level-gauge-json"],
    },
    "reference": {"description": "That of all mappings that need one and have none", "type": "number"},
    "startLevel": {"description": "That of the profile's expected interval", "type": "number"},
    **_DETAILS,
}
_WINDOW: Final = ref("MaintenanceWindow")
_WINDOW_INPUT: Final[dict[str, Schema]] = {
    "from": _MOMENT,
    "until": {"anyOf": [_MOMENT, {"type": "null"}], "description": "null: it goes on"},
    "reason": {"type": "string", "minLength": 1, "maxLength": MAX_REASON},
}
_ACCESS: Final = members(
    {"username": TEXT, "password": TEXT, "topic": TEXT, "url": TEXT | {"examples": ["mqtts://mqtt.city.example"]}},
    ["username", "password", "topic"],
    description="How the device reaches the MQTT broker, and the hub by HTTP; the password is told this once",
)
_KNOWN_DEVICE: Final = _DEVICE | {
    "expectedInterval": NUMBER_OR_NULL,
    "location": {"anyOf": [_LONGITUDE_LATITUDE, {"type": "null"}]},
    "effective": members(_SHARED | {"expectedInterval": NUMBER_OR_NULL}, description="What it comes to with its model"),
    "credential": members(
        {"state": one_of(*CredentialState), "changedAt": TIME_OR_NULL},
        ["state", "changedAt"],
        description="Whether it may log in (MQTT, HTTP), and since when that is so",
    ),
    "maintenance": array(_WINDOW),
    "service": members(
        {"from": TIME, "until": TIME, "replaces": TEXT, "replacedBy": TEXT},
        description="From when until when its readings are its station's",
    ),
    "status": members(
        {
            "state": one_of(*DeviceState, "neverSeen", "maintenance", "retired"),
            "lastSeenAt": TIME_OR_NULL,
            "maintenance": {"anyOf": [_WINDOW, {"type": "null"}]},
            "batteryLevel": {"description": "0 to 1", "type": ["number", "null"]},
            "rssi": {"description": "dBm", "type": ["number", "null"]},
        },
        ["state", "lastSeenAt"],
        others=True,
    ),
    "createdAt": TIME,
    "modifiedAt": TIME,
    "mqtt": _ACCESS,
}
_MODEL: Final[dict[str, Schema]] = {
    "id": _IDENTIFIER,
    "name": TEXT,
    "manufacturer": TEXT,
    "description": TEXT,
    **_SHARED,
}

DEVICES: Final[dict[str, Schema]] = {
    "DeviceProfile": members(
        {"expectedInterval": _EXPECTED_INTERVAL, "quality": PROFILE_SECTION, "silence": SILENCE_SECTION},
        description="What is expected of a device, a section for each subject",
    ),
    "DeviceInput": members(
        _DEVICE | {"newPassword": BOOLEAN, "@context": CONTEXT},
        ["entityId"],
        description="entityType and attributes are needed where no model gives them",
    ),
    "Device": members(_KNOWN_DEVICE, ["id", "key", "name", "entityId"]),
    "Devices": members(
        {
            "devices": array(ref("Device")),
            "next": TEXT_OR_NULL | {"description": "What to give as after; null: the end"},
        },
        ["devices", "next"],
    ),
    "DevicesInput": members({"devices": array(ref("DeviceInput"))}, ["devices"]),
    "DeviceResults": members(
        {
            "created": COUNT,
            "changed": COUNT,
            "refused": COUNT,
            "dryRun": BOOLEAN,
            "results": array(
                members(
                    {
                        "number": {"description": "Of the line, or of the entry; from 1"} | COUNT,
                        "id": TEXT_OR_NULL,
                        "status": one_of("created", "changed", "refused"),
                        "detail": {"description": "Why it was refused", "type": "string"},
                        "mqtt": _ACCESS,
                    },
                    ["number", "id", "status"],
                )
            ),
        },
        ["created", "changed", "refused", "dryRun", "results"],
    ),
    "DeviceAccess": members({"mqtt": _ACCESS}, ["mqtt"]),
    "ReplacementInput": members(
        _DEVICE | {"newPassword": BOOLEAN, "at": _MOMENT},
        ["id"],
        description="The new device, as far as it differs from the old one; at: when it took over, default now",
    ),
    "MaintenanceWindow": members(
        {"id": TEXT, "from": TIME, "until": TIME_OR_NULL, "reason": TEXT},
        ["id", "from", "until", "reason"],
        description="A time of maintenance; until null: it goes on",
    ),
    "MaintenanceInput": members(_WINDOW_INPUT, ["reason"], description="from: default now"),
    "MaintenanceChange": members(_WINDOW_INPUT),
    "Maintenance": members({"windows": array(ref("MaintenanceWindow"))}, ["windows"]),
    "DeviceModelInput": members(_MODEL | {"@context": CONTEXT}, description="What devices of one kind have in common"),
    "DeviceModel": members(_MODEL | {"builtIn": BOOLEAN, "devices": COUNT}, ["id", "name", "builtIn"]),
    "DeviceModels": members({"models": array(ref("DeviceModel"))}, ["models"]),
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
                        "unitCode": TEXT_OR_NULL,
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
            "deviceKey": TEXT_OR_NULL,
            "reason": one_of(*Reason),
            "detail": {"type": "string"},
            "state": one_of("held", "replayed", "dropped"),
            "attempts": COUNT,
            "size": COUNT | {"description": "Bytes"},
            "deviceId": TEXT_OR_NULL | {"description": "Of one message: the device it is of"},
            "payloadHex": {"description": "Of one message", "type": "string"},
            "payloadBase64": {"type": "string", "contentEncoding": "base64"},
            "payloadText": TEXT_OR_NULL,
            "resolvedAt": TIME_OR_NULL,
        },
        ["id", "receivedAt", "topic", "reason", "detail", "state", "payloadBase64"],
        description="A message that could not be taken, with its bytes and the reason",
    ),
    "Quarantine": members({"messages": array(ref("QuarantineEntry"))}, ["messages"]),
    "QuarantineSummary": members(
        {
            "groups": array(
                members(
                    {
                        "deviceKey": TEXT_OR_NULL,
                        "reason": one_of(*Reason),
                        "count": COUNT,
                        "first": TIME,
                        "last": TIME,
                        "newestId": COUNT,
                    },
                    ["deviceKey", "reason", "count", "first", "last", "newestId"],
                )
            )
        },
        ["groups"],
        description="What is held, by device and reason",
    ),
    "QuarantineDecodeInput": members(
        {"device": {"description": "Members of the registration to try out", "type": "object"}}
    ),
    "Replay": members(
        {
            "stored": COUNT,
            "stillHeld": COUNT,
            "last": COUNT | {"description": "There may be more: what to give as after"},
        },
        ["stored", "stillHeld"],
    ),
}

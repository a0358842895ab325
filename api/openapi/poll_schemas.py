# SPDX-License-Identifier: Apache-2.0
"""What comes from others by itself: documents that are fetched, notifications; as JSON Schemas by name."""

from __future__ import annotations

from typing import Final

from api.openapi.building import (
    ANY,
    BOOLEAN,
    COUNT,
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
from broker.intake.polls import ID
from broker.intake.readings import Reason

_TEXTS: Final[Schema] = {"type": "object", "additionalProperties": TEXT}
_RECORD: Final[Schema] = {"type": "object", "additionalProperties": ANY, "examples": [{"WaterLevel": -30}]}
_FORMAT: Final = members(
    {
        "name": one_of("json", "csv", "xml") | {"default": "json"},
        "records": {"description": "Path of the records", "examples": ["Data", "//station/obs"]} | TEXT,
        "station": {"description": "Field that names the station", "examples": ["ObserverPointCd"]} | TEXT,
        "documentFields": {
            "description": "What stands elsewhere in the document, or in a header, put into each record",
            "examples": [{"updated": "header:Last-Modified"}],
        }
        | _TEXTS,
        "columns": array(TEXT),
        "separator": {"type": "string", "minLength": 1, "maxLength": 1},
        "encoding": {"type": "string", "examples": ["cp932"]},
        "skipLines": COUNT,
    },
    description="How the document falls into records of stations",
)
_POLL: Final[dict[str, Schema]] = {
    "id": {"type": "string", "pattern": ID},
    "name": {"type": "string", "minLength": 1, "maxLength": 200},
    "url": {"type": "string", "format": "uri", "maxLength": 2000, "examples": ["https://city.example/water.json"]},
    "interval": {"description": "Seconds", "type": "number", "exclusiveMinimum": 0, "default": 300},
    "format": _FORMAT,
    "headers": {"description": "Sent along, such as a key; values are never shown"} | _TEXTS,
    "notes": {"type": "string", "maxLength": 2000},
}
_STATE: Final = members(
    {
        "outcome": one_of("taken", "unchanged", "failed"),
        "lastAttemptAt": TIME,
        "lastSuccessAt": TIME,
        "lastChangeAt": TIME,
        "httpStatus": {"type": ["integer", "null"]},
        "error": TEXT,
        "excerpt": {"description": "Of a document that cannot be read", "type": ["string", "null"]},
        "failures": COUNT | {"description": "In a row"},
        "records": COUNT,
        "stored": COUNT | {"description": "Readings: what stations said of a moment"},
        "unchanged": COUNT | {"description": "Stations that say what they said last time"},
        "quarantined": COUNT,
        "untimed": BOOLEAN | {"description": "Whether records are of the moment at which they are read"},
        "unregisteredCount": COUNT,
        "unregistered": array(members({"station": {"type": "string"}, "address": TEXT}, ["station", "address"]))
        | {"description": "Stations that no device is of: register one with the address"},
        "sample": {"anyOf": [_RECORD, {"type": "null"}], "description": "A record of one of these"},
    },
    description="How the last fetch went",
)

_INBOX: Final[dict[str, Schema]] = {
    "id": {"type": "string", "pattern": ID},
    "name": {"type": "string", "minLength": 1, "maxLength": 200},
    "typeNames": {"description": "What types of the other broker are called here"} | _TEXTS,
    "attributeNames": {
        "description": "What attributes are called here; an empty text: they are left out",
        "type": "object",
        "additionalProperties": {"type": "string"},
    },
    "timeZone": {"description": "Of times without an offset", "type": "string", "examples": ["Asia/Tokyo"]},
    "timeNames": array(TEXT) | {"description": "Metadata and attributes that say when it was measured"},
    "notes": {"type": "string", "maxLength": 2000},
}

POLLS: Final[dict[str, Schema]] = {
    "InboxInput": members(_INBOX, others=True, description="Where another broker sends its notifications"),
    "Inbox": members(
        _INBOX
        | {
            "url": {"description": "Where to send them"} | TEXT,
            "token": {"description": "Told once: Authorization: Bearer ..."} | TEXT,
            "createdAt": TIME,
            "modifiedAt": TIME,
            "lastReceivedAt": TIME_OR_NULL,
            "lastFault": TEXT_OR_NULL,
            "lastFaultAt": TIME_OR_NULL,
        },
        ["id", "url"],
        description="Where another broker sends its notifications, and when the last one came",
    ),
    "Inboxes": members({"inboxes": array(ref("Inbox"))}, ["inboxes"]),
    "NotifiedReceipt": members(
        {"status": one_of("quarantined"), "taken": COUNT, "reason": one_of(*Reason), "detail": {"type": "string"}},
        ["status", "taken", "reason", "detail"],
        description="How many entities were taken whole, and why not all",
    ),
    "PollInput": members(_POLL, ["url"], others=True, description="A document that is fetched on a schedule"),
    "Poll": members(
        _POLL | {"paused": BOOLEAN, "nextDueAt": TIME_OR_NULL, "createdAt": TIME, "modifiedAt": TIME, "state": _STATE},
        ["id", "url", "interval", "headers", "paused", "nextDueAt", "state"],
        description="A document that is fetched on a schedule, and how that goes",
    ),
    "Polls": members({"polls": array(ref("Poll"))}, ["polls"]),
    "PollPreview": members(
        {
            "records": COUNT,
            "stations": COUNT,
            "bytes": COUNT,
            "conditional": BOOLEAN | {"description": "Whether the server can say that nothing has changed"},
            "first": array(
                members(
                    {
                        "station": {"type": "string"},
                        "address": TEXT,
                        "device": TEXT_OR_NULL,
                        "record": _RECORD,
                    },
                    ["station", "address", "device", "record"],
                )
            ),
        },
        ["records", "stations", "first"],
        description="What the document holds now",
    ),
}

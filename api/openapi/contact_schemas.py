# SPDX-License-Identifier: Apache-2.0
"""Contacts, groups, plans and notices, as JSON Schemas by name."""

from __future__ import annotations

from typing import Final, get_args

from api.openapi.building import (
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
from broker.contacts.catalogues import CODE, HAND_WRITTEN
from broker.contacts.people import ID, ChannelType
from schemas.stages import ALL_STAGES

_ID: Final[Schema] = {"type": "string", "pattern": ID}
_NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 200}
_CLOCK: Final[Schema] = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$", "examples": ["22:00"]}
_MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
_CHANNEL: Final = members(
    {
        "type": one_of(*get_args(ChannelType)),
        "address": {"type": "string", "maxLength": 2000, "examples": ["duty@city.example.jp"]},
        "secret": {
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "pattern": "^[!-~]*$",
            "writeOnly": True,
            "description": "Signs what goes to a webhook; the password of MQTT",
        },
        "hasSecret": BOOLEAN | {"description": "It has one; when put, the one it has is kept"},
    },
    ["type", "address"],
)
_BROWSER: Final = members(
    {"browserId": TEXT, "contactId": _ID, "label": TEXT, "service": TEXT, "enrolledAt": TIME},
    ["browserId", "contactId", "label", "service", "enrolledAt"],
)

CONTACTS: Final[dict[str, Schema]] = {
    "Contact": members(
        {
            "id": _ID,
            "name": _NAME,
            "language": {"type": "string", "pattern": CODE, "default": "ja", "examples": list(HAND_WRITTEN)},
            "channels": array(_CHANNEL) | {"maxItems": 10},
            "quiet": array(members({"from": _CLOCK, "until": _CLOCK}, ["from", "until"])) | {"maxItems": 10},
            "timeZone": {"type": "string", "default": "Asia/Tokyo"},
            "digestAbove": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10},
            "enabled": {"type": "boolean", "default": True},
        },
        ["name"],
    ),
    "ContactGroup": members(
        {
            "id": _ID,
            "name": _NAME,
            "members": array(members({"contact": _ID, "from": _MOMENT, "until": _MOMENT}, ["contact"]))
            | {"maxItems": 500},
        },
        ["name"],
    ),
    "NotificationPlan": members(
        {
            "id": _ID,
            "name": _NAME,
            "alarms": members(
                {
                    "rules": array(TEXT),
                    "entities": array(TEXT),
                    "rivers": array(TEXT),
                    "minimumStage": one_of(*(stage.code for stage in ALL_STAGES)),
                },
                description="Which alarms; what is empty admits all",
            ),
            "steps": array(array(_ID), 1) | {"maxItems": 10},
            "enabled": {"type": "boolean", "default": True},
        },
        ["name", "steps"],
    ),
    "Contacts": members({"contacts": array(ref("Contact"))}, ["contacts"]),
    "ContactGroups": members({"contactGroups": array(ref("ContactGroup"))}, ["contactGroups"]),
    "NotificationPlans": members({"notificationPlans": array(ref("NotificationPlan"))}, ["notificationPlans"]),
    "Languages": members({"languages": array(members({"code": TEXT, "name": TEXT}, ["code", "name"]))}, ["languages"]),
    "WebPushKey": members(
        {"publicKey": TEXT | {"description": "applicationServerKey: an uncompressed point of P-256 in base64url"}},
        ["publicKey"],
    ),
    "Browser": _BROWSER,
    "Browsers": members({"browsers": array(ref("Browser"))}, ["browsers"]),
    "BrowserInput": members(
        {
            "subscription": members(
                {
                    "endpoint": {"type": "string", "maxLength": 2000, "format": "uri"},
                    "keys": members({"p256dh": TEXT, "auth": TEXT}, ["p256dh", "auth"]),
                    "expirationTime": {"type": ["number", "null"]},
                },
                ["endpoint", "keys"],
                description="PushSubscription.toJSON() of the browser",
            ),
            "label": {"type": "string", "maxLength": 100},
        },
        ["subscription"],
    ),
    "NoticeNumbers": members({"notices": array(COUNT)}, ["notices"]),
    "Notices": members({"notices": array(ref("Notice"))}, ["notices"]),
    "Notice": members(
        {
            "number": COUNT,
            "contactId": _ID,
            "channel": one_of(*get_args(ChannelType), "webpush", "none"),
            "address": TEXT,
            "kind": TEXT,
            "alarmId": TEXT_OR_NULL,
            "step": {"type": ["integer", "null"]},
            "state": one_of("queued", "held", "merged", "delivered", "failed"),
            "heldFor": {"enum": ["quiet", "digest", None]},
            "dueAt": TIME_OR_NULL,
            "mergedInto": {"type": ["integer", "null"]},
            "createdAt": TIME,
            "finishedAt": TIME_OR_NULL,
            "attempts": COUNT,
            "error": TEXT_OR_NULL,
        }
    ),
}
"""Schemas by name."""

# SPDX-License-Identifier: Apache-2.0
"""Rules for audiences as JSON Schemas by name."""

from __future__ import annotations

from typing import Final

from api.openapi.building import COUNT, TEXT, TIME, TIME_OR_NULL, Schema, array, members, one_of, ref
from broker.audiences import BY_WORD

AUDIENCE: Final = one_of(*BY_WORD)
_TEXT: Final = TEXT | {"maxLength": 1000}
_PERSON: Final[dict[str, Schema]] = {
    "id": TEXT,
    "name": _TEXT,
    "briefing": _TEXT | {"description": "What was told and agreed to: which text, when"},
    "createdAt": TIME,
    "expiresAt": TIME,
    "revokedAt": TIME_OR_NULL,
    "lastSeenAt": TIME_OR_NULL,
    "status": one_of("active", "ended"),
}
AUDIENCES: Final[dict[str, Schema]] = {
    "BriefedPersonRequest": members(
        {
            "name": _TEXT,
            "briefing": _PERSON["briefing"],
            "expiresAt": {"type": "string", "format": "date-time", "description": "Default: in a year"},
        },
        ["name", "briefing"],
    ),
    "BriefedPersonToken": members(_PERSON | {"token": TEXT | {"description": "Shown this once"}}, [*_PERSON, "token"]),
    "BriefedPeople": members({"people": array(members(_PERSON, [*_PERSON]))}, ["people"]),
    "AudienceRule": members(
        {
            "type": TEXT | {"description": "Entities of this type; or entityId; neither: all entities"},
            "entityId": TEXT,
            "attribute": TEXT | {"description": "Only this attribute; without it the whole entity"},
            "audience": AUDIENCE,
            "entityCount": COUNT | {"readOnly": True, "description": "How many entities it is about now"},
        },
        ["audience"],
    ),
    "AudienceRules": members({"rules": array(ref("AudienceRule")) | {"maxItems": 1000}}, ["rules"]),
}

# SPDX-License-Identifier: Apache-2.0
"""Rules for audiences as JSON Schemas by name."""

from __future__ import annotations

from typing import Final

from api.openapi.building import COUNT, TEXT, Schema, array, members, one_of, ref
from broker.audiences import BY_WORD

AUDIENCE: Final = one_of(*BY_WORD)
AUDIENCES: Final[dict[str, Schema]] = {
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

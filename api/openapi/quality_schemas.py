# SPDX-License-Identifier: Apache-2.0
"""Parameters of the quality tests, and people's decisions, as JSON Schemas."""

from __future__ import annotations

from typing import Final

from api.openapi.building import COUNT, NUMBER, TEXT, TIME, Schema, array, members, one_of
from broker.devices.silence import Meaning
from broker.devices.state import DeviceState
from broker.quality import Kind
from broker.quality.decisions import FLAGS, MAX_TEXT

_ABOVE_0: Final[Schema] = {"type": "number", "exclusiveMinimum": 0}
_OFF: Final[Schema] = {"const": False}


def _or_off(schema: Schema, description: str) -> Schema:
    return {"description": description, "anyOf": [schema, _OFF]}


_BOUNDS: Final[Schema] = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}
PARAMETERS: Final = members(
    {
        "kind": one_of(*Kind) | {"description": "What is measured; by default known by the attribute's name and unit"},
        "gross": _or_off(_BOUNDS, "[from, to]: what can be"),
        "valid": _or_off(_BOUNDS, "[from, to]: what is to be expected here"),
        "spike": _or_off(
            members({"jump": _ABOVE_0, "within": _ABOVE_0 | {"default": 900}}, ["jump"]),
            "More than jump away from a good value of at most within seconds ago",
        ),
        "rate": _or_off(
            members({"change": _ABOVE_0, "seconds": _ABOVE_0 | {"default": 600}}, ["change"]),
            "More than change in each seconds",
        ),
        "stuck": _or_off(
            members({"after": _ABOVE_0, "above": NUMBER}, ["after"]),
            "The same value for after seconds, at or above the value above",
        ),
        "gap": _or_off(_ABOVE_0, "Seconds; a longer pause is a gap"),
        "late": _ABOVE_0 | {"description": "Seconds; told of readings that arrive later", "default": 86_400},
        "ahead": _ABOVE_0 | {"description": "Seconds that the clock of the device may be ahead", "default": 60},
    },
    description="Tests of one quantity; false switches one off",
)
PROFILE_SECTION: Final = members({}, others=PARAMETERS, description="Tests of readings, by field of the message")

_DECISION_INPUT: Final[dict[str, Schema]] = {
    "from": TIME | {"description": "Values observed from this time on"},
    "to": TIME | {"description": "Values observed before this time"},
    "quality": one_of(*FLAGS) | {"description": "Of corrected values: estimated by default"},
    "value": NUMBER | {"description": "Takes the place of each value"},
    "offset": NUMBER | {"description": "Is added to each value"},
    "reason": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "description": "Why it is so"},
    "datasetId": TEXT,
}
_DECISION: Final[dict[str, Schema]] = {
    "id": COUNT,
    "attribute": TEXT,
    **_DECISION_INPUT,
    "decidedBy": TEXT | {"description": "Who: token:<beginning of its hash>, or local", "examples": ["local"]},
    "decidedAt": TIME,
    "changed": COUNT | {"description": "How many values it was about"},
}
_DECIDED: Final = members(_DECISION, sorted(set(_DECISION) - {"value", "offset", "datasetId"}))

SILENCE_SECTION: Final = members(
    {
        "late": _ABOVE_0,
        "silent": _ABOVE_0,
        "dead": _ABOVE_0,
        "means": one_of(*Meaning) | {"description": "What silence says of what is measured"},
        "group": {"type": "string", "minLength": 1, "maxLength": 200, "description": "What it is heard through"},
    },
    description="After how many expected intervals it is late, silent, dead, and what silence means",
)
_SILENCE: Final[dict[str, Schema]] = {
    "generatedAt": TIME,
    "counts": members({state.value: COUNT for state in DeviceState}),
    "groups": array(members({"group": TEXT, "since": TIME, "devices": array(TEXT)}, ["group", "since", "devices"])),
    "devices": array(
        members(
            {
                "deviceId": TEXT,
                "name": TEXT,
                "entityId": TEXT,
                "state": one_of(*DeviceState),
                "since": TIME,
                "lastSeenAt": {"anyOf": [TIME, {"type": "null"}]},
                "expectedIntervalSeconds": NUMBER,
                "floodSign": {"type": "boolean"},
            },
            ["deviceId", "entityId", "state", "since", "floodSign"],
        )
    ),
}

QUALITY: Final[dict[str, Schema]] = {
    "QualityDecisionInput": members(_DECISION_INPUT, ["from", "to", "reason"]),
    "QualityDecision": _DECIDED,
    "Silence": members(_SILENCE, _SILENCE),
    "QualityDecisions": members({"decisions": array(_DECIDED)}, ["decisions"]),
}
"""All of them."""

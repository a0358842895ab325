# SPDX-License-Identifier: Apache-2.0
"""Alert rules, alerts, alarms, incidents and the audit, as JSON Schemas by name."""

from __future__ import annotations

from typing import Final

from api.openapi.audience_schemas import AUDIENCE
from api.openapi.building import (
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
from broker.alerts.conditions import LONGEST_WINDOW
from broker.alerts.rules import (
    DEFAULT_CLEAR_AFTER_S,
    DEFAULT_ESCALATE_AFTER_S,
    DEFAULT_HYSTERESIS,
    DEFAULT_SILENT_AFTER_S,
    DEFAULT_UNIT,
    GAUGE,
    REFERENCES,
)
from schemas.stages import ALL_STAGES, NO_DATA

STAGE: Final = one_of(*(stage.code for stage in ALL_STAGES))
_LEVEL_STAGE: Final = one_of(*(stage.code for stage in ALL_STAGES if stage.code != NO_DATA))
_STAGE_OR_NULL: Final[Schema] = {"anyOf": [STAGE, {"type": "null"}]}
_SECONDS: Final[Schema] = {"type": "number", "minimum": 0}
_SPAN: Final[Schema] = {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_WINDOW.total_seconds()}
_TWO_LANGUAGES: Final[Schema] = members({"ja": TEXT, "en": TEXT}) | {"minProperties": 1}

_TERM: Final[dict[str, Schema]] = {
    "attribute": TEXT,
    "datasetId": URI,
    "entity": URI,
    "unitCode": {"type": "string", "pattern": "^[A-Z0-9]{2,3}$"},
    "maxAge": _SECONDS,
}
_HYSTERESIS: Final[dict[str, Schema]] = {"hysteresis": {"type": "number", "minimum": 0}}
_LEVEL: Final = members(
    {
        "stage": _LEVEL_STAGE,
        "threshold": NUMBER_OR_NULL | {"description": "null: the station has no such level"},
        "when": ref("AlertCondition"),
        "from": TIME,
        "to": TIME,
    },
    ["stage"],
    description="Either a threshold or a condition; from and to say when it holds",
)
_TUNING: Final[dict[str, Schema]] = {
    "enabled": {"type": "boolean", "default": True},
    "levels": array(_LEVEL, 1),
    "hysteresis": {"type": "number", "minimum": 0, "default": DEFAULT_HYSTERESIS},
    "clearAfter": {
        "description": "Seconds below a level before its alert is cleared",
        "type": "number",
        "minimum": 0,
        "default": DEFAULT_CLEAR_AFTER_S,
    },
    "confirmation": members(
        {"count": {"type": "integer", "minimum": 1}, "seconds": _SECONDS},
        description="How long a level has to be reached before it is raised; either one is enough",
    ),
    "reference": one_of(*REFERENCES) | {"default": GAUGE, "description": "Datum of the thresholds"},
    "zeroPoint": {"type": "number", "description": "Height of the gauge's zero in that datum"},
    "noData": members(
        {
            "after": {"type": "number", "exclusiveMinimum": 0},
            "activeAfter": _SECONDS,
            "activeFrom": NUMBER,
            "stage": STAGE | {"default": NO_DATA},
        },
        ["after"],
        description="Silence as an alert of its own, sooner from the level activeFrom on",
    ),
    "silentAfter": {
        "type": ["number", "null"],
        "minimum": 0,
        "default": DEFAULT_SILENT_AFTER_S,
        "description": "Seconds of silence after which a raised station is unknown",
    },
    "flapping": {
        "anyOf": [
            members({"count": {"type": "integer", "minimum": 2}, "seconds": _SECONDS}),
            {"type": "null"},
        ],
        "description": "From so many raises of a level in so many seconds on it is unstable and stays raised",
    },
    "escalateAfter": array({"type": "number", "minimum": 0})
    | {"default": list(DEFAULT_ESCALATE_AFTER_S), "maxItems": 10, "description": "Seconds without acknowledgement"},
}
_RULE: Final[dict[str, Schema]] = {
    "id": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"},
    "name": _TWO_LANGUAGES,
    "entities": members(
        {"ids": array(URI, 1), "type": TEXT, "scope": {"type": "string", "examples": ["/Shizuoka/#"]}},
        description="Either ids or a type, which a scope may narrow",
    ),
    "attribute": {"type": "string", "minLength": 1, "examples": ["waterLevel"]},
    "datasetId": URI,
    "unitCode": {"type": "string", "pattern": "^[A-Z0-9]{2,3}$", "default": DEFAULT_UNIT},
    **_TUNING,
    "audience": AUDIENCE | {"default": "staff", "description": "Who may see its alerts"},
    "overrides": {
        "type": "object",
        "additionalProperties": members(_TUNING),
        "description": "By URI of an entity: what is different there",
    },
}
_KIND: Final = one_of("raised", "cleared", "silent", "returned")
_STEP_KIND: Final = one_of(
    "raised",
    "escalated",
    "downgraded",
    "cleared",
    "withdrawn",
    "silent",
    "returned",
    "unacknowledged",
    "acknowledged",
    "shelved",
    "unshelved",
)
_BY: Final[Schema] = {"type": "string", "maxLength": 100, "description": "Your name for the audit"}
_REASON: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 1000}
_ALARM: Final[dict[str, Schema]] = {
    "alarmId": TEXT,
    "incidentId": TEXT,
    "ruleId": TEXT,
    "entityId": TEXT,
    "status": one_of("open", "acknowledged", "shelved", "cleared"),
    "stage": STAGE,
    "stagesRaised": array(STAGE),
    "highestStage": STAGE,
    "unknown": BOOLEAN | {"description": "Nothing is heard: flooded as before, as far as anybody knows"},
    "unstable": BOOLEAN,
    "openedAt": TIME,
    "clearedAt": TIME_OR_NULL,
    "acknowledgedAt": TIME_OR_NULL,
    "acknowledgedBy": TEXT_OR_NULL,
    "shelvedUntil": TIME_OR_NULL,
    "shelvedBy": TEXT_OR_NULL,
    "shelveReason": TEXT_OR_NULL,
    "escalation": COUNT,
    "escalateAt": TIME_OR_NULL,
    "ruleName": _TWO_LANGUAGES,
    "stationName": _TWO_LANGUAGES,
    "river": {"type": ["object", "null"]},
    "value": NUMBER_OR_NULL,
    "threshold": NUMBER_OR_NULL,
    "peakValue": NUMBER_OR_NULL,
    "unitCode": TEXT,
}
_INCIDENT: Final[dict[str, Schema]] = {
    "incidentId": TEXT,
    "name": _TWO_LANGUAGES,
    "openedAt": TIME,
    "closedAt": TIME_OR_NULL,
    "stage": _STAGE_OR_NULL,
    "open": COUNT,
    "unacknowledged": COUNT,
    "alarms": array(ref("Alarm")),
}
_DRILL: Final[dict[str, Schema]] = {
    "drillId": TEXT,
    "tenant": TEXT | {"description": "Where its stations, rules and alarms are: NGSILD-Tenant"},
    "title": TEXT,
    "startedBy": TEXT,
    "startedAt": TIME,
    "endedAt": TIME_OR_NULL,
    "from": TIME_OR_NULL,
    "to": TIME_OR_NULL,
    "position": TIME_OR_NULL,
    "speed": NUMBER,
    "recipients": array(TEXT),
    "contacts": array(TEXT),
    "stations": array(members({"entityId": URI, "attribute": TEXT}, ["entityId", "attribute"])),
}
_NEEDED_OF_ALARM: Final = ["alarmId", "incidentId", "ruleId", "entityId", "status", "stage", "openedAt"]

ALERTS: Final[dict[str, Schema]] = {
    "AlertCondition": members(
        {
            "level": members(_TERM | _HYSTERESIS | {"atLeast": NUMBER}, ["atLeast"]),
            "rise": members(_TERM | _HYSTERESIS | {"atLeast": NUMBER, "over": _SPAN}, ["atLeast", "over"])
            | {"description": "Rate of rise an hour, by least squares over a window"},
            "reaches": members(
                _TERM | {"threshold": NUMBER, "within": _SPAN, "over": _SPAN}, ["threshold", "within", "over"]
            )
            | {"description": "At the rate of rise the threshold is reached within so many seconds"},
            "sum": members(
                _TERM | _HYSTERESIS | {"atLeast": NUMBER, "over": _SPAN, "counter": BOOLEAN}, ["atLeast", "over"]
            )
            | {"description": "Amounts (rain) over a window; counter: the values are those of a counter"},
            "all": array(ref("AlertCondition"), 1),
            "any": array(ref("AlertCondition"), 1),
            "some": members(
                {"count": {"type": "integer", "minimum": 1}, "of": array(ref("AlertCondition"), 1)}, ["count", "of"]
            ),
            "not": ref("AlertCondition"),
        },
        description="Exactly one of the members",
    )
    | {"minProperties": 1, "maxProperties": 1},
    "AlertRuleInput": members(
        _RULE | {"@context": CONTEXT},
        ["name", "entities", "attribute"],
        description="Levels that hold at one time ascend in stage and in threshold; levels or noData are needed",
    ),
    "AlertRule": members(_RULE, ["id", "name", "enabled", "entities", "attribute", "unitCode"]),
    "AlertRules": members({"rules": array(ref("AlertRule"))}, ["rules"]),
    "RuleImportInput": {
        "anyOf": [array(ref("AlertRuleInput")), members({"rules": array(ref("AlertRuleInput"))}, ["rules"])],
        "description": "As GET /api/v1/alert-rules answers",
    },
    "RuleImport": members(
        {
            "rules": array(
                members({"id": TEXT, "created": BOOLEAN, "warnings": array(TEXT)}, ["id", "created", "warnings"])
            ),
            "removed": array(TEXT),
            "dryRun": BOOLEAN,
        },
        ["rules", "removed", "dryRun"],
    ),
    "RuleReplayInput": members(
        {"from": TIME, "to": TIME, "rules": array(ref("AlertRuleInput")), "entityIds": array(URI)},
        ["from"],
        description="Without rules those that are in place; without entityIds all that they watch",
    ),
    "RuleReplay": members(
        {
            "from": TIME,
            "to": TIME,
            "stations": array(
                members(
                    {
                        "ruleId": TEXT,
                        "entityId": TEXT,
                        "readings": COUNT,
                        "raised": array(STAGE),
                        "alerts": array(
                            members({"at": TIME, "kind": _KIND, "stage": STAGE}, ["at", "kind", "stage"], others=True)
                        ),
                        "steps": array(members({"kind": _STEP_KIND, "stage": STAGE}, ["kind", "stage"], others=True)),
                        "curve": array(NUMBER_OR_NULL)
                        | {"description": "The highest value in each of equal parts of the time"},
                    },
                    ["ruleId", "entityId", "readings", "alerts", "steps"],
                    others=True,
                )
            ),
        },
        ["from", "to", "stations"],
    ),
    "Alert": members(
        {
            "id": TEXT,
            "entityId": TEXT,
            "stage": STAGE,
            "threshold": NUMBER_OR_NULL,
            "value": NUMBER_OR_NULL,
            "peakValue": NUMBER_OR_NULL,
            "raisedAt": TIME,
            "clearedAt": TIME_OR_NULL,
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
    "Alarm": members(
        _ALARM,
        _NEEDED_OF_ALARM,
        others=True,
        description="A rule at a station from calm to calm; one alone has its steps",
    ),
    "Alarms": members({"alarms": array(ref("Alarm"))}, ["alarms"]),
    "AlarmStep": members(
        _ALARM
        | {"kind": _STEP_KIND, "sequence": COUNT, "at": TIME, "previousStage": _STAGE_OR_NULL}
        | {"by": TEXT_OR_NULL, "reason": TEXT_OR_NULL, "stagesCrossed": array(STAGE)},
        ["kind", "sequence", "at", *_NEEDED_OF_ALARM],
        others=True,
        description="Facts without words of any language; sequence ascends",
    ),
    "AlarmRecord": members(
        {"documentId": TEXT, "version": COUNT, "recordId": COUNT, "status": one_of("actual", "exercise", "test")}
        | {"infoType": one_of("issued", "updated", "cleared", "cancelled"), "step": _STEP_KIND, "issuedAt": TIME},
        ["documentId", "version", "recordId", "status", "infoType", "issuedAt"],
        others=True,
        description="All of it is in /api/v1/alarms/records/schema. Not the interface of L-Alert",
    ),
    "AlarmRecords": members({"records": array(ref("AlarmRecord"))}, ["records"]),
    "JsonSchema": {"type": "object", "description": "A JSON Schema (draft 2020-12)"},
    "AlarmStepEvents": {
        "type": "string",
        "description": "Server-sent events: the id is the step's number, the event its kind, data an AlarmStep as JSON",
    },
    "AlarmSteps": members({"steps": array(ref("AlarmStep"))}, ["steps"]),
    "AcknowledgeInput": members({"by": _BY, "note": _REASON}),
    "ShelveInput": members(
        {"by": _BY, "reason": _REASON, "until": TIME, "seconds": {"type": "number", "exclusiveMinimum": 0}},
        ["reason"],
        description="Either until or seconds; at most seven days",
    ),
    "UnshelveInput": members({"by": _BY, "reason": _REASON}),
    "Incident": members(_INCIDENT, [*_INCIDENT], description="What happens on one river at one time"),
    "Incidents": members({"incidents": array(ref("Incident"))}, ["incidents"]),
    "DrillInput": members(
        {
            "title": {"type": "string", "minLength": 1, "maxLength": 200},
            "from": TIME,
            "to": TIME,
            "speed": {"type": "number", "minimum": 1, "maximum": 600, "default": 1},
            "entityIds": array(URI),
            "recipients": array(URI) | {"description": "Webhooks that get its alerts; nobody else does"},
            "contacts": array(TEXT) | {"description": "People who are told, as the plans say; nobody else is"},
            "by": _BY,
        },
        ["title"],
        description="Without from and to only values that are sent to /values",
    ),
    "Drill": members(_DRILL, [*_DRILL]),
    "Drills": members({"drills": array(ref("Drill"))}, ["drills"]),
    "DrillReport": members(
        _DRILL
        | {
            "steps": array(members({"at": TIME, "kind": _STEP_KIND}, ["at", "kind"], others=True)),
            "answers": array(members({"alarmId": TEXT, "stage": STAGE, "by": TEXT_OR_NULL, "seconds": NUMBER_OR_NULL})),
            "deliveries": array(members({"destination": TEXT, "state": TEXT, "count": COUNT})),
            "notices": array(ref("Notice")),
        },
        [*_DRILL, "steps", "answers", "deliveries", "notices"],
        description="What happened when, how soon somebody acknowledged, what went to whom",
    ),
    "DrillValue": members({"entityId": URI, "attribute": TEXT, "value": NUMBER}, ["entityId", "value"]),
    "Audit": members(
        {
            "entries": array(
                members(
                    {
                        "id": COUNT,
                        "at": TIME,
                        "actor": TEXT,
                        "name": TEXT_OR_NULL,
                        "action": TEXT,
                        "target": TEXT,
                        "reason": TEXT_OR_NULL,
                        "details": {"type": "object"},
                    },
                    ["id", "at", "actor", "action", "target"],
                )
            )
        },
        ["entries"],
        description="Never changed and never removed",
    ),
}

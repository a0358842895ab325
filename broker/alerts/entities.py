# SPDX-License-Identifier: Apache-2.0
"""Alerts as NGSI-LD entities in the shape of the Smart Data Models ``Alert``, so that any subscription can follow them.

Attributes of the model have its names; what Minamo adds (``alertStage``, ``threshold``) lies in the default vocabulary
and ``status`` in the core one, so that they read the same under any bundled @context (``stage`` alone would not: it is
a term of dataModel.Transportation).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from broker.alerts.lifecycle import Alarm
from broker.alerts.messages import Place, alert_id, descriptions
from broker.alerts.rules import AlertRule
from broker.alerts.states import AlertDecision
from broker.entities import AttributeKind, ExpandedEntity, Instance
from broker.times import to_text
from schemas.stages import STAGE_BY_CODE
from schemas.terms import DEFAULT_VOCABULARY, LOCATION, NGSI_LD, NO_DATASET

ALERT_MODEL: Final = "https://smartdatamodels.org/dataModel.Alert/"
ALERT_TYPE: Final = ALERT_MODEL + "Alert"


def alert_entity(
    decision: AlertDecision, rule: AlertRule, place: Place, *, issued_at: datetime, now: datetime
) -> ExpandedEntity:
    """The whole entity of an alert as it stands after ``decision``; the clear has the id of the raise.

    ``issued_at``: when the hub raised it (``alert.recorded_at``), the same for raise and clear. ``now``: when this
    is written. ``validFrom`` and ``validTo`` are observation times.
    """
    created = {"createdAt": to_text(issued_at), "modifiedAt": to_text(now)}
    instances = _instances(decision, rule, place, issued_at)
    return ExpandedEntity(
        id=alert_id(place.entity_id, rule.id, decision.stage, decision.raised_at),
        types=(ALERT_TYPE,),
        attributes={name: {NO_DATASET: {**instance, **created}} for name, instance in instances.items()},
        created_at=issued_at,
        modified_at=now,
    )


def _instances(decision: AlertDecision, rule: AlertRule, place: Place, issued_at: datetime) -> dict[str, Instance]:
    stage = STAGE_BY_CODE[decision.stage]
    observed_at = to_text(decision.observed_at)
    description_ja, description_en = descriptions(decision, rule, place)
    instances: dict[str, Instance] = {
        ALERT_MODEL + "category": _property("naturalDisaster"),
        ALERT_MODEL + "subCategory": _property("flood"),
        ALERT_MODEL + "severity": _property(stage.severity),
        ALERT_MODEL + "alertSource": {"type": AttributeKind.RELATIONSHIP.value, "object": place.entity_id},
        ALERT_MODEL + "dateIssued": _time(issued_at),
        "https://smartdatamodels.org/validFrom": _time(decision.raised_at),
        "http://purl.org/dc/terms/description": {
            "type": AttributeKind.LANGUAGE_PROPERTY.value,
            "languageMap": {"ja": description_ja, "en": description_en},
        },
        NGSI_LD + "data": {"type": AttributeKind.JSON_PROPERTY.value, "json": _data(decision, rule)},
        NGSI_LD + "status": _property(decision.kind, observedAt=observed_at),
        DEFAULT_VOCABULARY + "alertStage": _property(stage.code),
    }
    if decision.threshold is not None:
        instances[DEFAULT_VOCABULARY + "threshold"] = _property(decision.threshold, unitCode=rule.unit_code)
    if decision.kind == "cleared":
        instances[ALERT_MODEL + "validTo"] = _time(decision.observed_at)
    if place.location is not None:
        instances[LOCATION] = {"type": AttributeKind.GEO_PROPERTY.value, "value": place.location}
    return instances


def alarm_attributes(alarm: Alarm, now: datetime) -> dict[str, dict[str, Instance]]:
    """What the alert entities of ``alarm`` say of its life (the specification's vocabulary has no terms for it)."""
    moment = {"createdAt": to_text(now), "modifiedAt": to_text(now)}
    values: dict[str, Any] = {
        "alarmId": alarm.alarm_id,
        "alarmStatus": alarm.status,
        "alarmStage": alarm.stage,
        "alarmUnknown": alarm.is_unknown,
        "acknowledgedBy": alarm.acknowledged_by or "",
        "incidentId": alarm.incident_id,
    }
    return {DEFAULT_VOCABULARY + name: {NO_DATASET: {**_property(value), **moment}} for name, value in values.items()}


def _data(decision: AlertDecision, rule: AlertRule) -> dict[str, Any]:
    """What was measured, for programs."""
    stage = STAGE_BY_CODE[decision.stage]
    return {
        "rule": rule.id,
        "attribute": rule.attribute,
        "stage": stage.code,
        "stageName": {"ja": stage.name_ja, "en": stage.name_en},
        "stagesCrossed": list(decision.stages_crossed),
        "threshold": decision.threshold,
        "value": decision.value,
        "peak": decision.peak_value,
        "unitCode": rule.unit_code,
        "observedAt": to_text(decision.observed_at),
        "withdrawn": decision.withdrawn,
        "measures": [dict(measure) for measure in decision.measures],
        "suspect": decision.suspect,
        "unstable": decision.unstable,
        "bySilence": decision.by_silence,
    }


def _property(value: Any, **members: str) -> Instance:
    return {"type": AttributeKind.PROPERTY.value, "value": value, **members}


def _time(moment: datetime) -> Instance:
    """A Property whose value is a typed time, as the model's examples write it."""
    return _property({"@type": "DateTime", "@value": to_text(moment)})

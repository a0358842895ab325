# SPDX-License-Identifier: Apache-2.0
"""What a step of an alarm says, without words of any language: facts for whoever writes messages of it.

One document for each step, the same for all channels (table ``alarm_step``, ``/api/v1/alarms/steps``). Names are in
Japanese and English because places and rules are called so; sentences are the business of the channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from broker.alerts.lifecycle import Alarm, Step
from broker.alerts.messages import Place
from broker.alerts.rules import AlertRule
from broker.times import to_text, to_text_or_none
from schemas.stages import STAGE_BY_CODE


def step_document(step: Step, about: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The facts of ``step``; ``about`` is what the alarm is about (:func:`about_document`)."""
    decision = step.decision
    document: dict[str, Any] = {
        "kind": step.kind,
        "at": to_text(now),
        **alarm_document(step.alarm),
        "previousStage": step.previous,
        **about,
        "by": step.by,
        "reason": step.reason,
    }
    if decision is not None:
        document |= {
            "stagesCrossed": list(decision.stages_crossed),
            "observedAt": to_text(decision.observed_at),
            "value": decision.value,
            "threshold": decision.threshold,
            "peakValue": decision.peak_value,
            "measures": [dict(measure) for measure in decision.measures],
            "suspect": decision.suspect,
            "bySilence": decision.by_silence,
        }
    return document


def alarm_document(alarm: Alarm) -> dict[str, Any]:
    """Where an alarm stands."""
    return {
        "alarmId": alarm.alarm_id,
        "incidentId": alarm.incident_id,
        "ruleId": alarm.rule_id,
        "entityId": alarm.entity_id,
        "status": alarm.status,
        "stage": alarm.stage,
        "stageOrder": STAGE_BY_CODE[alarm.stage].order,
        "severity": STAGE_BY_CODE[alarm.stage].severity,
        "stagesRaised": list(alarm.stages),
        "highestStage": alarm.highest,
        "unknown": alarm.is_unknown,
        "unstable": alarm.is_unstable,
        "openedAt": to_text(alarm.opened_at),
        "clearedAt": to_text_or_none(alarm.cleared_at),
        "acknowledgedAt": to_text_or_none(alarm.acknowledged_at),
        "acknowledgedBy": alarm.acknowledged_by,
        "shelvedUntil": to_text_or_none(alarm.shelved_until),
        "shelvedBy": alarm.shelved_by,
        "shelveReason": alarm.shelve_reason,
        "escalation": alarm.escalation,
        "escalateAt": to_text_or_none(alarm.escalate_at),
    }


def about_document(
    rule: AlertRule, place: Place, *, is_exercise: bool = False, cap_status: str = "Test"
) -> dict[str, Any]:
    """What the steps of an alarm have in common: names, place, units, and how thresholds were given.

    ``exercise`` True: it belongs to a drill and may reach nobody but those chosen for it. ``capStatus``: what the hub
    was when the alarm began (CAP 1.2, 3.2.1), so that no test becomes actual by a setting that is changed later.
    """
    river = None if place.river_ja is None else {"ja": place.river_ja, "en": place.river_en or place.river_ja}
    return {
        "ruleName": {"ja": rule.name_ja, "en": rule.name_en},
        "stationName": {"ja": place.name_ja, "en": place.name_en},
        "river": river,
        "location": place.location,
        "attribute": rule.attribute,
        "unitCode": rule.unit_code,
        "reference": rule.reference,
        "zeroPoint": rule.zero_point,
        "exercise": is_exercise,
        "capStatus": "Exercise" if is_exercise else cap_status,
    }

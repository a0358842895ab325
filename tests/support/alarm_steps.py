# SPDX-License-Identifier: Apache-2.0
"""Documents of steps of an alarm, as :func:`broker.alerts.steps.step_document` makes them."""

from __future__ import annotations

from typing import Any

from schemas.stages import STAGE_BY_CODE


def step(kind: str = "raised", stage: str = "danger", **other: Any) -> dict[str, Any]:
    """A step at 三島大橋 on the 大場川 at 14:05 in Japan."""
    return {
        "kind": kind,
        "at": "2026-06-01T05:05:10Z",
        "alarmId": "levels:20260601T050500Z:0a1b2c3d",
        "incidentId": "ooba:20260601T050500Z",
        "ruleId": "levels",
        "entityId": "urn:ngsi-ld:WaterObserved:mishima-ohashi",
        "status": "open",
        "stage": stage,
        "stageOrder": STAGE_BY_CODE[stage].order,
        "highestStage": stage,
        "unknown": False,
        "unstable": False,
        "escalation": 0,
        "previousStage": None,
        "ruleName": {"ja": "水位", "en": "Levels"},
        "stationName": {"ja": "三島大橋", "en": "Mishima Ohashi"},
        "river": {"ja": "大場川", "en": "Ooba"},
        "unitCode": "MTR",
        "by": None,
        "reason": None,
        "observedAt": "2026-06-01T05:05:00Z",
        "value": 1.52,
        "threshold": 1.5,
        "suspect": False,
        "bySilence": False,
        **other,
    }

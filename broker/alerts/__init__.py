# SPDX-License-Identifier: Apache-2.0
"""Alerts for disaster staff: threshold rules, their state machine, and alerts as entities and messages."""

from broker.alerts.entities import ALERT_TYPE, alert_entity
from broker.alerts.evaluation import (
    AlertDecision,
    LevelState,
    RuleState,
    Sample,
    evaluate,
    new_peaks,
    parse_state,
    sample_of,
    state_document,
    withdraw,
)
from broker.alerts.messages import JST, Place, alert_id, alert_message, level_names, place_of
from broker.alerts.rules import (
    AlertRule,
    Confirmation,
    EntitySelector,
    Level,
    check_replacement,
    parse_rule,
    rule_document,
)

__all__ = [
    "ALERT_TYPE",
    "JST",
    "AlertDecision",
    "AlertRule",
    "Confirmation",
    "EntitySelector",
    "Level",
    "LevelState",
    "Place",
    "RuleState",
    "Sample",
    "alert_entity",
    "alert_id",
    "alert_message",
    "check_replacement",
    "evaluate",
    "level_names",
    "new_peaks",
    "parse_rule",
    "parse_state",
    "place_of",
    "rule_document",
    "sample_of",
    "state_document",
    "withdraw",
]

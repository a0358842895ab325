# SPDX-License-Identifier: Apache-2.0
"""Alerts for disaster staff: rules, their state machine, and alerts as entities and messages."""

from broker.alerts.conditions import Condition, Series
from broker.alerts.early import evaluate_in_turn, passed_over, reach_early
from broker.alerts.entities import ALERT_TYPE, alarm_attributes, alert_entity
from broker.alerts.evaluation import decides_otherwise, evaluate, new_peaks, recount, withdraw
from broker.alerts.lifecycle import Alarm, Step, Subject
from broker.alerts.messages import JST, Place, alert_id, alert_message, level_names, place_of
from broker.alerts.rule_documents import check_replacement, parse_rule, rule_document, warnings_of
from broker.alerts.rules import AlertRule, Confirmation, EntitySelector, Flapping, Level, NoData
from broker.alerts.silence import due_at, overdue
from broker.alerts.states import (
    AlertDecision,
    LevelState,
    RuleState,
    Sample,
    any_sample_of,
    own_sample,
    parse_state,
    sample_of,
    state_document,
)

__all__ = [
    "ALERT_TYPE",
    "JST",
    "Alarm",
    "AlertDecision",
    "AlertRule",
    "Condition",
    "Confirmation",
    "EntitySelector",
    "Flapping",
    "Level",
    "LevelState",
    "NoData",
    "Place",
    "RuleState",
    "Sample",
    "Series",
    "Step",
    "Subject",
    "alarm_attributes",
    "alert_entity",
    "alert_id",
    "alert_message",
    "any_sample_of",
    "check_replacement",
    "decides_otherwise",
    "due_at",
    "evaluate",
    "evaluate_in_turn",
    "level_names",
    "new_peaks",
    "overdue",
    "own_sample",
    "parse_rule",
    "parse_state",
    "passed_over",
    "place_of",
    "reach_early",
    "recount",
    "rule_document",
    "sample_of",
    "state_document",
    "warnings_of",
    "withdraw",
]

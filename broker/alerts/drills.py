# SPDX-License-Identifier: Apache-2.0
"""Rules for a drill that goes faster than its record: what they say of time is compressed with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from broker.alerts.conditions import Combined, Condition, Not, Term
from broker.alerts.messages import Place
from broker.alerts.rule_documents import override_members
from broker.alerts.rules import AlertRule, Level, Override

EXERCISE_MARKS = ("【訓練】", "[EXERCISE] ")
"""What stands before the name of every station in a drill, in Japanese and in English."""


def compressed(rule: AlertRule, speed: float, entity_ids: tuple[str, ...]) -> AlertRule:
    """``rule`` as it is in a drill ``speed`` times as fast as its record; it watches ``entity_ids``.

    Escalation stays as it is: people are not faster in a drill. Levels with dates hold at all times.
    """
    selector = replace(rule.entities, ids=entity_ids, type=None, scope=None)
    kept = {i: _compressed(o.rule, speed) for i, o in rule.overrides.items() if i in entity_ids}
    overrides = {i: Override(override_members(one), one) for i, one in kept.items()}
    return replace(_compressed(rule, speed), entities=selector, overrides=overrides)


def exercise_place(place: Place) -> Place:
    """``place`` with the mark of a drill before its names, so that whatever is said of it carries the mark."""
    japanese, english = EXERCISE_MARKS
    return replace(place, name_ja=japanese + place.name_ja, name_en=english + place.name_en)


def _compressed(rule: AlertRule, speed: float) -> AlertRule:
    asked, no_data = rule.confirmation, rule.no_data
    return replace(
        rule,
        levels=tuple(_level(level, speed) for level in rule.levels),
        clear_after=rule.clear_after / speed,
        confirmation=replace(asked, duration=_shorter(asked.duration, speed)),
        no_data=no_data
        and replace(no_data, after=no_data.after / speed, active_after=_shorter(no_data.active_after, speed)),
        silent_after=_shorter(rule.silent_after, speed),
        flapping=rule.flapping and replace(rule.flapping, within=rule.flapping.within / speed),
    )


def _shorter(span: timedelta | None, speed: float) -> timedelta | None:
    return None if span is None else span / speed


def _level(level: Level, speed: float) -> Level:
    return replace(level, when=level.when and _condition(level.when, speed))


def _condition(condition: Condition, speed: float) -> Condition:
    if isinstance(condition, Not):
        return Not(_condition(condition.part, speed))
    if isinstance(condition, Combined):
        return replace(condition, parts=tuple(_condition(part, speed) for part in condition.parts))
    return _term(condition, speed)


def _term(term: Term, speed: float) -> Term:
    faster = speed if term.kind == "rise" else 1.0
    return replace(
        term,
        limit=term.limit * faster,
        hysteresis=term.hysteresis * faster,
        over=term.over / speed,
        within=term.within / speed,
        max_age=term.max_age / speed,
    )

# SPDX-License-Identifier: Apache-2.0
"""Who is told about a step of an alarm: by the plans, and whoever was told before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from broker.contacts.people import Plan, Roster, Which
from schemas.stages import NO_DATA, RANK

TOLD: Final = frozenset(
    {
        "raised", "escalated", "downgraded", "cleared", "withdrawn", "silent", "returned", "unacknowledged",
        "acknowledged", "shelved", "unshelved",
    }
)  # fmt: skip
"""The steps that people are told about."""
_WHILE_SHELVED: Final = frozenset({"downgraded", "silent", "returned"})
_TO_ALL_BEFORE: Final = TOLD - {"raised", "unacknowledged"}

Step = Mapping[str, Any]  # broker.alerts.steps.step_document


def recipients(roster: Roster, step: Step, told_before: Collection[str], now: datetime) -> list[str]:
    """The contacts to tell about ``step``, each once; ``told_before`` were told of its alarm.

    What was shelved is told when it gets worse or ends. An end and a change go to all who know of the alarm.
    """
    if step["kind"] not in TOLD or (step["status"] == "shelved" and step["kind"] in _WHILE_SHELVED):
        return []
    groups = [name for plan in roster.plans.values() if is_for(plan, step) for name in reached(plan, step)]
    found = roster.people_of(groups, now)
    if step["kind"] in _TO_ALL_BEFORE:
        known = (name for name in told_before if name in roster.contacts and roster.contacts[name].enabled)
        found = list(dict.fromkeys([*found, *known]))
    return found


def reached(plan: Plan, step: Step) -> list[str]:
    """The groups of ``plan`` whose turn has come by now."""
    return [name for groups in plan.steps[: step["escalation"] + 1] for name in groups]


def is_for(plan: Plan, step: Step) -> bool:
    """Whether ``plan`` is for the alarm of ``step``."""
    return plan.enabled and _admits(plan.alarms, step)


def _admits(which: Which, step: Step) -> bool:
    river = step.get("river") or {}
    return (
        (not which.rules or step["ruleId"] in which.rules)
        and (not which.entities or step["entityId"] in which.entities)
        and (not which.rivers or any(name in which.rivers for name in river.values()))
        and (which.minimum_stage is None or _is_high_enough(step["highestStage"], which.minimum_stage))
    )


def _is_high_enough(stage: str, minimum: str) -> bool:
    """By the highest stage there was, so that who was told of an alarm is told of its end; silence is always enough."""
    return stage == NO_DATA or RANK[stage] >= RANK[minimum]

# SPDX-License-Identifier: Apache-2.0
"""A series as the store judges it, in plain Python: repeats change nothing, what comes late is no part of the past."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from broker.quality import Checks, Flag, Reason, Verdict, judge, judge_alone, past_of
from broker.times import to_text


@dataclass(slots=True)
class JudgedSeries:
    """Readings by their time, with what is said of each; the past is read out of the newest instance every time."""

    checks: Checks
    verdicts: dict[datetime, tuple[float, Flag, tuple[Reason, ...]]] = field(default_factory=dict)
    newest: dict[str, Any] | None = None

    def take(self, at: datetime, value: float, received_at: datetime | None = None) -> None:
        """Judge one reading, unless it is a repeat."""
        known = self.verdicts.get(at)
        if known is not None and known[0] == value:
            return
        past = past_of(self.newest) if self.newest else None
        if past is not None and at <= past.at:
            verdict = judge_alone(self.checks, value, at, received_at)
        else:
            verdict = judge(self.checks, past, value, at, received_at)
            if verdict.confirms and past is not None:
                self.verdicts[past.at] = (past.value, Flag.GOOD, (Reason.CONFIRMED,))
            self.newest = instance_of(at, value, verdict)
        self.verdicts[at] = (value, verdict.flag, verdict.reasons)

    def flags(self) -> dict[datetime, Flag]:
        """What is said of each moment."""
        return {at: flag for at, (_, flag, _) in self.verdicts.items()}

    def reasons(self) -> dict[datetime, tuple[Reason, ...]]:
        """Why, of each moment."""
        return {at: reasons for at, (_, _, reasons) in self.verdicts.items()}


def instance_of(at: datetime, value: float, verdict: Verdict) -> dict[str, Any]:
    """The current attribute instance after ``verdict``."""
    return {"type": "Property", "value": value, "observedAt": to_text(at), "attrs": verdict.attributes}

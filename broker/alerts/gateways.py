# SPDX-License-Identifier: Apache-2.0
"""Many stations behind one gateway fall silent together: one alarm says so, not one for each.

A gateway is silent when nothing was heard through it since about when the station fell silent. The first station that
is due stands for all of them; the others wait. Once something is heard through it again, those that are still silent
are alarms of their own. Silence that raises another stage than ``no_data`` may be water, and does not wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from broker.alerts.rules import AlertRule
from broker.alerts.silence import no_data_at
from broker.alerts.states import AlertDecision, RuleState
from schemas.stages import NO_DATA

FEWEST: Final = 3  # stations of a gateway that are enough to speak of one
LOOK_AGAIN: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Gateway:
    """What ``stations`` stations (ids: ``members``) are heard through; ``last_sign`` of any of their devices."""

    name: str
    stations: int
    last_sign: datetime | None
    members: Sequence[str] = ()


def may_wait(rule: AlertRule, state: RuleState, now: datetime) -> bool:
    """Whether the station is due to be told silent, and for nothing more urgent: nothing is raised there."""
    due = no_data_at(rule, state)
    return (
        not state.raised
        and rule.no_data is not None
        and rule.no_data.stage == NO_DATA
        and due is not None
        and due <= now
    )


def is_silent(rule: AlertRule, state: RuleState, gateway: Gateway | None) -> bool:
    """Whether the gateway of a station that is due fell silent with it."""
    if gateway is None or gateway.stations < FEWEST or gateway.last_sign is None:
        return False
    if rule.no_data is None or state.newest is None:
        return False
    return gateway.last_sign <= state.newest + rule.no_data.limit(state.newest_value) / 2


def standing_for(decision: AlertDecision, gateway: Gateway) -> AlertDecision:
    """``decision`` about one station, as one about all stations of its gateway."""
    measure: Mapping[str, Any] = {
        "kind": "gateway",
        "attribute": "gateway",
        "gateway": gateway.name,
        "limit": FEWEST,
        "value": gateway.stations,
    }
    return replace(decision, measures=(measure,))


def gateway_in(measures: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The gateway that a decision is about; None for a single station."""
    return next((one for one in measures if one["kind"] == "gateway"), None)

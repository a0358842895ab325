# SPDX-License-Identifier: Apache-2.0
"""Who may see the alerts of a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from broker.alerts.conditions import terms_of
from broker.alerts.documents import wrong
from broker.alerts.rules import Level
from broker.audiences import Audience, parse_audience


def rule_audience(root: Mapping[str, Any], levels: Iterable[Level]) -> Audience:
    """The member ``audience`` of a rule; staff, if it says nothing. Raises :class:`~broker.errors.BadRequestData`.

    What a forecast raises is for staff: showing forecasts to others asks for a permission.
    """
    audience = parse_audience(root.get("audience", Audience.STAFF.word))
    conditions = [level.when for level in levels if level.when is not None]
    if audience is not Audience.STAFF and any(t.kind == "forecast" for one in conditions for t in terms_of(one)):
        raise wrong("audience", "alerts by forecasts are for staff")
    return audience

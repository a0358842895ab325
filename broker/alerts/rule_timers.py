# SPDX-License-Identifier: Apache-2.0
"""What an alert rule waits for, as documents: confirmation, silence, flapping and escalation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from broker.alerts.documents import count_of, number_of, object_of, only, seconds_of, wrong
from broker.alerts.rules import Confirmation, Flapping, NoData
from schemas.stages import NO_DATA, STAGE_BY_CODE

_MOST_ESCALATIONS: Final = 10


def confirmation_of(value: object) -> Confirmation:
    """Read ``confirmation``: none, a count of good readings, seconds, or both."""
    if value is None:
        return Confirmation()
    confirmation = object_of(value, "confirmation")
    only(confirmation, frozenset({"count", "seconds"}), "confirmation.")
    count, seconds = confirmation.get("count"), confirmation.get("seconds")
    return Confirmation(
        None if count is None else count_of(count, "confirmation.count"),
        None if seconds is None else seconds_of(seconds, "confirmation.seconds"),
    )


def no_data_of(value: object) -> NoData | None:
    """Read ``noData``: the silence that is reported; ``activeAfter`` holds from the level ``activeFrom`` on."""
    if value is None:
        return None
    no_data = object_of(value, "noData")
    only(no_data, frozenset({"after", "activeAfter", "activeFrom", "stage"}), "noData.")
    if ("activeAfter" in no_data) != ("activeFrom" in no_data):
        raise wrong("noData", "activeAfter and activeFrom are expected together")
    stage = no_data.get("stage", NO_DATA)
    if not isinstance(stage, str) or stage not in STAGE_BY_CODE:
        raise wrong("noData.stage", f"{stage!r} is not one of {', '.join(STAGE_BY_CODE)}")
    after = seconds_of(no_data.get("after"), "noData.after")
    if not after:
        raise wrong("noData.after", "0 is not above 0")
    if "activeFrom" not in no_data:
        return NoData(after, stage=stage)
    active = seconds_of(no_data["activeAfter"], "noData.activeAfter")
    return NoData(after, active, number_of(no_data["activeFrom"], "noData.activeFrom"), stage)


def no_data_document(no_data: NoData) -> dict[str, Any]:
    """Write ``no_data`` as :func:`no_data_of` reads it."""
    document: dict[str, Any] = {"after": no_data.after.total_seconds(), "stage": no_data.stage}
    if no_data.active_after is not None:
        document |= {"activeAfter": no_data.active_after.total_seconds(), "activeFrom": no_data.active_from}
    return document


def flapping_of(value: object) -> Flapping | None:
    """Read ``flapping``: from how many raises within how many seconds a level is unstable; None: never."""
    if value is None:
        return None
    flapping = object_of(value, "flapping")
    only(flapping, frozenset({"count", "seconds"}), "flapping.")
    usual = Flapping()
    count = count_of(flapping.get("count", usual.count), "flapping.count")
    if count < 2:
        raise wrong("flapping.count", "a level that is raised once does not flap")
    return Flapping(count, seconds_of(flapping.get("seconds", usual.within.total_seconds()), "flapping.seconds"))


def escalations_of(value: object) -> tuple[timedelta, ...]:
    """Read ``escalateAfter``: seconds after the raise, each later than the one before."""
    if not isinstance(value, list) or len(value) > _MOST_ESCALATIONS:
        raise wrong("escalateAfter", f"an array of at most {_MOST_ESCALATIONS} numbers is expected")
    steps = tuple(seconds_of(item, f"escalateAfter[{n}]") for n, item in enumerate(value))
    for index in range(1, len(steps)):
        if steps[index] <= steps[index - 1]:
            raise wrong(f"escalateAfter[{index}]", "each step comes after the one before")
    return steps


def optional_seconds(root: Mapping[str, Any], name: str, default: float) -> timedelta | None:
    """Read seconds that may be null (never); ``default`` where ``root`` does not speak of ``name``."""
    value = root.get(name, default)
    return None if value is None else seconds_of(value, name)

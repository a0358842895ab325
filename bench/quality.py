# SPDX-License-Identifier: Apache-2.0
"""What judging the quality of one reading costs: the pure functions alone, without database and MQTT.

    python -m bench.quality

The short way of a reading of which nothing is to be said, as nearly all are; levels of a river in flood with every test
made, in the order of time; late readings; the past read out of a current attribute instance that is not plainly good.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from broker.quality import QualityParameters, checks_for, is_unremarkable, judge, judge_alone, past_of

_READINGS = 100_000
_ROUNDS = 5
_START = datetime(2026, 6, 1, tzinfo=UTC)
_PARAMETERS = QualityParameters.model_validate_json(
    '{"valid": [-1, 9], "stuck": {"after": 21600, "above": 0.5}, "gap": 1800, "late": 86400}'
)


def fastest_us(work: Callable[[], None]) -> float:
    """Microseconds a reading, of the fastest of some rounds."""
    seconds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return round(min(seconds) / _READINGS * 1e6, 3)


def main() -> int:
    """Print one line of JSON; 1 when judging costs more than 5 microseconds."""
    checks = checks_for("https://smartdatamodels.org/dataModel.Environment/waterLevel", "MTR", _PARAMETERS)
    usual_checks = checks_for("https://smartdatamodels.org/dataModel.Environment/waterLevel", "MTR")
    moments = [_START + timedelta(minutes=10 * n) for n in range(_READINGS)]
    delay = timedelta(seconds=2)
    received = [moment + delay for moment in moments]
    levels = [round(1.0 + math.sin(n / 40) * 0.9, 3) for n in range(_READINGS)]
    still = [0.75] * _READINGS
    instance = {"type": "Property", "value": 1.0, "observedAt": "2026-06-01T00:00:00Z"}
    verdict = judge(checks, None, 1.0, _START, _START)
    instance |= {"attrs": verdict.attributes}

    def in_order(values: list[float]) -> Callable[[], None]:
        def work() -> None:
            past = None
            for value, at, received_at in zip(values, moments, received, strict=True):
                past = judge(checks, past, value, at, received_at).past

        return work

    def usual() -> None:
        before = (_START - timedelta(minutes=10), 1.0)
        quick = usual_checks.quick
        for value, at, received_at in zip(levels, moments, received, strict=True):
            is_unremarkable(quick, before, value, at, received_at)
            before = (at, value)

    def written() -> None:
        past = None
        for value, at, received_at in zip(levels, moments, received, strict=True):
            verdict = judge(checks, past, value, at, received_at)
            verdict.attributes  # noqa: B018 - what the current state gets
            past = verdict.past

    def late() -> None:
        for value, at, received_at in zip(levels, moments, received, strict=True):
            judge_alone(checks, value, at, received_at)

    def remembered() -> None:
        for _ in range(_READINGS):
            past_of(instance)

    found = {
        "usual_reading_us": fastest_us(usual),
        "judge_us": fastest_us(in_order(levels)),
        "judge_and_attributes_us": fastest_us(written),
        "judge_still_water_us": fastest_us(in_order(still)),
        "judge_late_us": fastest_us(late),
        "past_of_instance_us": fastest_us(remembered),
    }
    print(json.dumps({"benchmark": "quality", "python": sys.version.split()[0], **found}))
    return int(found["judge_us"] > 5)


if __name__ == "__main__":
    sys.exit(main())

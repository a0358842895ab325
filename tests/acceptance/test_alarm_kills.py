# SPDX-License-Identifier: Apache-2.0
"""SIGKILL while an alarm is open and while nobody is there: every step is made, none twice, timers go on."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.times import to_text
from support.hub_process import HubProcess, hub_process

MODEL = "https://smartdatamodels.org/dataModel.Environment/"
STATION = "urn:ngsi-ld:WaterObserved:killed"


def measure(hub: HubProcess, at: datetime, value: float) -> None:
    level = {"type": "Property", "value": value, "unitCode": "MTR", "observedAt": to_text(at)}
    entity = {"id": STATION, "type": MODEL + "WaterObserved", MODEL + "waterLevel": level}
    answer = hub.http.post("/ngsi-ld/v1/entityOperations/upsert?options=update", json=[entity])
    assert answer.status_code in (201, 204), answer.text


def steps(hub: HubProcess) -> list[dict[str, Any]]:
    return list(hub.http.get("/api/v1/alarms/steps").json()["steps"])


def wait_for_steps(hub: HubProcess, count: int, within_s: float = 30) -> list[str]:
    deadline = time.monotonic() + within_s
    while len(found := steps(hub)) < count:
        assert time.monotonic() < deadline, f"{[step['kind'] for step in found]}\n{hub.tail()}"
        time.sleep(0.1)
    return [step["kind"] for step in found]


@pytest.mark.slow
@pytest.mark.kill
def test_alarms_and_their_timers_survive_sigkill() -> None:
    """A confirmation goes over the first kill; escalation and silence fall due while the hub is away."""
    with hub_process(alert_silence_grace_s="0") as hub:
        rule = {
            "name": {"ja": "規則", "en": "rule"},
            "entities": {"ids": [STATION]},
            "attribute": "waterLevel",
            "levels": [{"stage": "caution", "threshold": 1.0}, {"stage": "danger", "threshold": 2.0}],
            "confirmation": {"count": 2},
            "escalateAfter": [1],
            "silentAfter": 1800,
        }
        hub.put("/api/v1/alert-rules/killed", rule)
        begin = datetime.now(UTC) - timedelta(minutes=29, seconds=57)  # silent 30 minutes later
        measure(hub, begin - timedelta(minutes=1), 2.5)
        hub.kill()
        hub.start()
        assert steps(hub) == []
        measure(hub, begin, 2.5)
        assert wait_for_steps(hub, 1)[0] == "raised"
        hub.kill()
        time.sleep(3.0)  # what falls due meanwhile is the test
        hub.start()
        kinds = wait_for_steps(hub, 3)
        assert kinds[0] == "raised" and sorted(kinds[1:]) == ["silent", "unacknowledged"]
        for _ in range(2):
            hub.kill()
            hub.start()
        measure(hub, datetime.now(UTC), 2.5)
        assert [*kinds, "returned"] == wait_for_steps(hub, 4)
        numbers = [step["sequence"] for step in steps(hub)]
        assert numbers == sorted(set(numbers))
        assert len(hub.http.get("/api/v1/alarms").json()["alarms"]) == 1

# SPDX-License-Identifier: Apache-2.0
"""The whole Dead Run month of May 2019 through MQTT: the right alerts, a complete history, the right current value."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from api.replay.device import SimulatedDevice
from api.replay.hydrographs import Sample, read_series
from broker.times import to_text
from support.hub_process import HubProcess, hub_process

WATER_LEVEL = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
STAGES = {"standby": "L1", "caution": "L2", "evacuation_decision": "L3", "danger": "L4"}
GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "dead_run_2019-05.txt"


@pytest.fixture(scope="module")
def month() -> list[Sample]:
    """The recorded month."""
    path = resources.files("api") / "demo" / "hydrographs" / "dead_run.csv"
    return read_series(path.read_text().splitlines())


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    """One hub for the tests of this module; each uses stations of its own."""
    with hub_process() as running:
        yield running


class Station:
    """A registered device with the rule of the golden timeline."""

    def __init__(self, hub: HubProcess, name: str) -> None:
        self.hub = hub
        self.entity_id = f"urn:ngsi-ld:WaterObserved:{name}"
        answer = hub.put(
            f"/api/v1/devices/{name}",
            {
                "name": name,
                "entityId": self.entity_id,
                "entityType": "WaterObserved",
                "attributes": [{"field": "level", "attribute": "waterLevel", "unitCode": "MTR", "minimum": -5}],
            },
        )
        levels = zip(STAGES, (0.6, 0.9, 1.2, 1.5), strict=True)
        rule = {
            "name": {"ja": name, "en": name},
            "entities": {"ids": [self.entity_id]},
            "attribute": "waterLevel",
            "levels": [{"stage": stage, "threshold": threshold} for stage, threshold in levels],
            "hysteresis": 0.1,
            "clearAfter": 1800,
        }
        hub.put(f"/api/v1/alert-rules/{name}", rule)
        mqtt = answer["mqtt"]
        self.device = SimulatedDevice("127.0.0.1", hub.mqtt_port, mqtt["username"], mqtt["password"])

    def publish(self, samples: list[Sample], times: int = 1) -> None:
        """Publish each sample as a message of its own, ``times`` times, and wait until the hub has stored them."""
        for sample in samples:
            for _ in range(times):
                self.device.publish({"time": to_text(sample.time), "level": sample.value})
        assert self.device.flush(120) == 0
        assert self.device.quarantined == []
        self._wait_for_rules()

    def _wait_for_rules(self) -> None:
        statement = """select not exists (select from change_event where entity_id = %s and event_id > (
                           select last_event_id from change_consumer where name = 'alerts'))"""
        deadline = time.monotonic() + 60
        while not self.hub.sql(statement, self.entity_id)[0][0]:
            assert time.monotonic() < deadline, "the alert rules do not catch up"
            time.sleep(0.1)

    def events(self) -> list[tuple[Any, ...]]:
        """What was decided, in the order of deciding: (observedAt, kind, stage, value)."""
        return self.hub.sql(
            """select document->>'observedAt', kind, document->>'stage', (document->>'value')::float8
                 from alert_event where document->>'entityId' = %s order by alert_event_id""",
            self.entity_id,
        )

    def timeline(self) -> list[str]:
        """The events as the golden file writes them."""
        word = {"raised": "RAISE", "cleared": "clear"}
        return [f"{at} {word[kind]} {STAGES[stage]} {value:g}" for at, kind, stage, value in self.events()]

    def history(self) -> list[tuple[Any, ...]]:
        """Every row of the level's history: (observedAt, value)."""
        return self.hub.sql(
            """select i.observed_at, i.number_value from attribute_instance i
                 join entity e using (entity_key) join term t on t.term_id = i.attribute_id
                where e.id = %s and t.name = %s order by i.observed_at, i.instance_key""",
            self.entity_id,
            WATER_LEVEL,
        )

    def current(self) -> tuple[str, float]:
        """Time and value of the current level."""
        document = self.hub.sql("select document->%s->'@none' from entity where id = %s", WATER_LEVEL, self.entity_id)
        return document[0][0]["observedAt"], document[0][0]["value"]


def golden() -> list[str]:
    return [line for line in GOLDEN.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.slow
def test_month_through_mqtt_gives_the_golden_timeline_however_often_it_comes(
    hub: HubProcess, month: list[Sample]
) -> None:
    station = Station(hub, "dead-run")
    station.publish(month, times=2)
    expected = [(sample.time, sample.value) for sample in month]
    assert station.timeline() == golden()
    assert station.history() == expected
    assert station.current() == (to_text(month[-1].time), month[-1].value)

    station.publish(month)
    assert station.timeline() == golden()
    assert station.history() == expected
    assert station.current() == (to_text(month[-1].time), month[-1].value)


@pytest.mark.slow
def test_month_in_random_order_ends_with_the_same_history_and_no_alert_by_an_old_reading(
    hub: HubProcess, month: list[Sample]
) -> None:
    station = Station(hub, "dead-run-shuffled")
    shuffled = list(month)
    random.Random(20190511).shuffle(shuffled)
    station.publish(shuffled)
    assert station.history() == [(sample.time, sample.value) for sample in month]
    assert station.current() == (to_text(month[-1].time), month[-1].value)

    newest, may_decide = shuffled[0].time, set()
    for sample in shuffled:
        if sample.time >= newest:
            newest = sample.time
            may_decide.add(to_text(sample.time))
    decided = [at for at, *_ in station.events()]
    assert set(decided) <= may_decide
    assert decided == sorted(decided)

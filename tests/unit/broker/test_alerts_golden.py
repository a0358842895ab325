# SPDX-License-Identifier: Apache-2.0
"""A real month of floods must give exactly the golden timeline (tests/data/golden)."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from broker.alerts import (
    AlertDecision,
    AlertRule,
    Confirmation,
    EntitySelector,
    Level,
    RuleState,
    Sample,
    evaluate,
)
from broker.times import parse_time, to_text

DATA = Path(__file__).parents[2] / "data"
HYDROGRAPH = Path(__file__).parents[3] / "api" / "demo" / "hydrographs" / "dead_run.csv"
LEVELS = {"standby": 0.6, "caution": 0.9, "evacuation_decision": 1.2, "danger": 1.5}
LABELS = {stage: f"L{number}" for number, stage in enumerate(LEVELS, 1)}


def dead_run_rule(confirmation: Confirmation | None = None) -> AlertRule:
    """The rule of the golden file, which names its levels L1 to L4."""
    return AlertRule(
        id="dead-run",
        entities=EntitySelector(ids=("urn:ngsi-ld:WaterObserved:dead-run",)),
        attribute="https://smartdatamodels.org/dataModel.Environment/waterLevel",
        levels=tuple(Level(stage, threshold) for stage, threshold in LEVELS.items()),
        name_ja="デッドラン",
        name_en="Dead Run",
        confirmation=confirmation or Confirmation(),
    )


@pytest.fixture(scope="module")
def month() -> list[Sample]:
    with HYDROGRAPH.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [Sample(parse_time(row["time"]), float(row["value"])) for row in rows]


@pytest.fixture(scope="module")
def golden() -> list[str]:
    text = (DATA / "golden" / "dead_run_2019-05.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def decide(rule: AlertRule, readings: Iterable[Sample]) -> list[AlertDecision]:
    state, decided = RuleState(), []
    for reading in readings:
        state, decisions = evaluate(rule, state, reading)
        decided += decisions
    return decided


def timeline(decisions: Iterable[AlertDecision]) -> list[str]:
    """Decisions written as the golden file writes them."""
    verbs = {"raised": "RAISE", "cleared": "clear"}
    return [f"{to_text(d.observed_at)} {verbs[d.kind]} {LABELS[d.stage]} {d.value:g}" for d in decisions]


def test_dead_run_month(month: list[Sample], golden: list[str]) -> None:
    assert timeline(decide(dead_run_rule(), month)) == golden


def test_dead_run_month_delivered_twice_and_once_more(month: list[Sample], golden: list[str]) -> None:
    again = [reading for reading in month for _ in range(2)] + month
    assert timeline(decide(dead_run_rule(), again)) == golden


def test_dead_run_month_in_random_order_decides_only_on_the_newest(month: list[Sample]) -> None:
    shuffled = random.Random(20190511).sample(month, len(month))
    newest: list[Sample] = []
    for reading in shuffled:
        if not newest or reading.observed_at > newest[-1].observed_at:
            newest.append(reading)
    assert decide(dead_run_rule(), shuffled) == decide(dead_run_rule(), newest)


def test_confirmation_raises_later_by_its_time(month: list[Sample]) -> None:
    """Ten minutes of confirmation: the flood of 2019-05-11 is raised ten minutes after each crossing."""
    rule = dead_run_rule(Confirmation(duration=timedelta(minutes=10)))
    flood = [line for line in timeline(decide(rule, month)) if line.startswith("2019-05-11") and "RAISE" in line]
    assert flood == [
        "2019-05-11T02:00:00Z RAISE L1 1.381",
        "2019-05-11T02:05:00Z RAISE L2 1.518",
        "2019-05-11T02:10:00Z RAISE L3 1.606",
        "2019-05-11T02:15:00Z RAISE L4 1.682",
    ]

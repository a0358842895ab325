# SPDX-License-Identifier: Apache-2.0
"""A real month of floods must give exactly the golden timeline (tests/data/golden)."""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from broker.alerts import (
    AlertDecision,
    AlertRule,
    Confirmation,
    EntitySelector,
    Level,
    NoData,
    RuleState,
    Sample,
    due_at,
    evaluate,
    overdue,
)
from broker.times import parse_time, to_text

DATA = Path(__file__).parents[2] / "data"
HYDROGRAPH = Path(__file__).parents[3] / "api" / "demo" / "hydrographs" / "dead_run.csv"
LEVELS = {"standby": 0.6, "caution": 0.9, "evacuation_decision": 1.2, "danger": 1.5}
LABELS = {stage: f"L{number}" for number, stage in enumerate(LEVELS, 1)} | {"no_data": "ND"}


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


def golden_of(name: str) -> list[str]:
    text = (DATA / "golden" / f"{name}.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def golden() -> list[str]:
    return golden_of("dead_run_2019-05")


def decide(rule: AlertRule, readings: Iterable[Sample]) -> list[AlertDecision]:
    state, decided = RuleState(), []
    for reading in readings:
        state, decisions = evaluate(rule, state, reading)
        decided += decisions
    return decided


def timeline(decisions: Iterable[AlertDecision]) -> list[str]:
    """Decisions written as the golden file writes them."""
    verbs = {"raised": "RAISE", "cleared": "clear"}
    crossings = [decision for decision in decisions if decision.is_crossing]
    return [f"{to_text(d.observed_at)} {verbs[d.kind]} {LABELS[d.stage]} {d.value:g}" for d in crossings]


def decide_in_time(rule: AlertRule, readings: Iterable[Sample]) -> list[AlertDecision]:
    """The same with silence judged when it is due, as the running hub does."""
    state, decided = RuleState(), []
    for reading in readings:
        due = due_at(rule, state)
        if due is not None and due < reading.observed_at:
            state, decisions = overdue(rule, state, reading.observed_at)
            decided += decisions
        state, decisions = evaluate(rule, state, reading)
        decided += decisions
    return decided


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


def read_gauge(path: Path) -> list[Sample]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = csv.DictReader(text.decode().splitlines())
    return [Sample(parse_time(row["time"]), float(row["value"])) for row in rows if row["value"]]


def test_dead_run_of_june_2018() -> None:
    decisions = decide_in_time(dead_run_rule(), read_gauge(DATA / "hydrographs" / "dead_run_2018-06_5min.csv.gz"))
    assert timeline(decisions) == golden_of("dead_run_2018-06")
    raises = [LABELS[decision.stage] for decision in decisions if decision.kind == "raised"]
    assert [raises.count(label) for label in ("L1", "L2", "L3", "L4")] == [3, 3, 3, 2]


def mytholmroyd_rule() -> AlertRule:
    levels = zip(LEVELS, (1.42, 1.46, 1.50), strict=False)
    return replace(
        dead_run_rule(),
        levels=tuple(Level(stage, threshold) for stage, threshold in levels),
        hysteresis=0.02,
        no_data=NoData(timedelta(minutes=45)),
    )


def test_upper_calder_with_its_gaps() -> None:
    decisions = decide_in_time(mytholmroyd_rule(), read_gauge(HYDROGRAPH.with_name("mytholmroyd.csv")))
    assert timeline(decisions) == golden_of("mytholmroyd_2025-09")


def test_a_gap_in_the_middle_of_a_flood_leaves_it_flooded_and_unknown() -> None:
    record = read_gauge(HYDROGRAPH.with_name("mytholmroyd.csv"))
    begin, end = parse_time("2025-09-12T08:00:00Z"), parse_time("2025-09-12T12:00:00Z")
    rule = replace(mytholmroyd_rule(), no_data=None)
    decisions = decide_in_time(rule, [r for r in record if not begin < r.observed_at < end])
    assert timeline(decisions) == [line for line in golden_of("mytholmroyd_2025-09") if "ND" not in line]
    told = [(decision.kind, to_text(decision.observed_at)) for decision in decisions if not decision.is_crossing]
    assert told == [("silent", "2025-09-12T09:00:00Z"), ("returned", "2025-09-12T12:00:00Z")]


@pytest.mark.parametrize("spike", [7.6, -3.0])
def test_a_suspect_spike_in_every_hour_changes_nothing(month: list[Sample], golden: list[str], spike: float) -> None:
    spoilt: list[Sample] = []
    for number, reading in enumerate(month):
        spoilt.append(reading)
        if number % 12 == 0:
            spoilt.append(Sample(reading.observed_at + timedelta(minutes=1), spike, suspect=True))
    found = timeline(decide(dead_run_rule(), spoilt))
    assert [line for line in found if "RAISE" in line] == [line for line in golden if "RAISE" in line]

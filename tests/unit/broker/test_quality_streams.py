# SPDX-License-Identifier: Apache-2.0
"""Judging is deterministic under restarts, repeats and late data; real floods pass, and injected faults are found."""

from __future__ import annotations

import csv
import itertools
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.quality import (
    GOOD,
    Checks,
    Flag,
    GapRule,
    Past,
    QualityParameters,
    Reason,
    checks_for,
    is_unremarkable,
    judge,
)
from broker.times import parse_time
from support.quality import JudgedSeries

LEVEL = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
RAIN = "https://smartdatamodels.org/dataModel.Weather/precipitation"
START = datetime(2026, 6, 1, tzinfo=UTC)
CHECKS = checks_for(
    LEVEL,
    "MTR",
    QualityParameters.model_validate_json(
        '{"valid": [-1, 5], "stuck": {"after": 1800, "above": 1}, "gap": 1500, "spike": {"jump": 0.5}}'
    ),
)
HYDROGRAPHS = Path(__file__).parents[3] / "api" / "demo" / "hydrographs"

Reading = tuple[datetime, float, datetime]  # observed, value, received


def readings() -> st.SearchStrategy[list[Reading]]:
    """Readings at different moments, in order; values that repeat, jump and leave their range."""
    steps = st.integers(1, 60)
    values = st.sampled_from([0.0, 0.4, 0.8, 1.0, 1.0, 1.2, 1.6, 2.2, 4.9, 6.0, -9999.0])
    delays = st.sampled_from([-200, 0, 5, 100_000])

    def dated(rows: list[tuple[int, float, int]]) -> list[Reading]:
        moments = itertools.accumulate(step for step, _, _ in rows)
        return [
            (at := START + timedelta(minutes=minute), value, at + timedelta(seconds=delay))
            for minute, (_, value, delay) in zip(moments, rows, strict=True)
        ]

    return st.lists(st.tuples(steps, values, delays), max_size=30).map(dated)


def judged(arriving: list[Reading]) -> JudgedSeries:
    series = JudgedSeries(CHECKS)
    for reading in arriving:
        series.take(*reading)
    return series


class TestDeterminism:
    @given(readings())
    def test_what_the_instance_tells_is_all_that_the_next_verdict_needs(self, given_readings: list[Reading]) -> None:
        in_memory: Past | None = None
        verdicts = {}
        for at, value, received_at in given_readings:
            verdict = judge(CHECKS, in_memory, value, at, received_at)
            if verdict.confirms and in_memory is not None:
                verdicts[in_memory.at] = (in_memory.value, Flag.GOOD, (Reason.CONFIRMED,))
            verdicts[at] = (value, verdict.flag, verdict.reasons)
            in_memory = verdict.past
        assert judged(given_readings).verdicts == verdicts

    @given(readings(), st.sampled_from([CHECKS, checks_for(LEVEL, "MTR"), Checks()]))
    def test_the_short_way_says_what_the_long_one_does(self, given_readings: list[Reading], checks: Checks) -> None:
        for (before_at, before, _), (at, value, received_at) in itertools.pairwise(given_readings):
            past = Past(before_at, before, before_at, before, before_at)
            if is_unremarkable(checks.quick, (before_at, before), value, at, received_at):
                verdict = judge(checks, past, value, at, received_at)
                assert (verdict.is_plain, verdict.attributes) == (True, GOOD)

    @given(readings(), st.randoms(use_true_random=False))
    def test_repeats_change_nothing(self, given_readings: list[Reading], chance: random.Random) -> None:
        arriving: list[Reading] = []
        for reading in given_readings:
            arriving.append(reading)
            arriving += chance.choices(arriving, k=chance.randint(0, 3))
        assert judged(arriving).verdicts == judged(given_readings).verdicts

    @given(readings(), st.randoms(use_true_random=False))
    def test_late_readings_change_no_verdict_of_the_others(
        self, given_readings: list[Reading], chance: random.Random
    ) -> None:
        shuffled = list(given_readings)
        chance.shuffle(shuffled)
        newest_ones = [
            reading
            for number, reading in enumerate(shuffled)
            if all(reading[0] > other[0] for other in shuffled[:number])
        ]
        found, alone = judged(shuffled).verdicts, judged(newest_ones).verdicts
        assert {at: found[at] for at in alone} == alone

    @given(readings(), st.randoms(use_true_random=False))
    def test_every_reading_is_kept_with_its_value_in_any_order(
        self, given_readings: list[Reading], chance: random.Random
    ) -> None:
        shuffled = list(given_readings)
        chance.shuffle(shuffled)
        found = judged(shuffled).verdicts
        assert {at: value for at, (value, _, _) in found.items()} == {at: value for at, value, _ in given_readings}

    @given(readings(), st.randoms(use_true_random=False))
    def test_what_cannot_be_is_suspect_in_any_order(self, given_readings: list[Reading], chance: random.Random) -> None:
        shuffled = list(given_readings)
        chance.shuffle(shuffled)
        found = judged(shuffled).verdicts
        wrong = {at for at, value, _ in given_readings if not -1 <= value <= 5}
        assert {at for at, (_, _, why) in found.items() if {Reason.GROSS, Reason.RANGE} & set(why)} == wrong


def hydrograph(name: str) -> list[tuple[datetime, float]]:
    with (HYDROGRAPHS / name).open(encoding="utf-8") as file:
        return [(parse_time(row["time"]), float(row["value"])) for row in csv.DictReader(file)]


FLOODS = sorted(path.name for path in HYDROGRAPHS.glob("*.csv"))


class TestRealFloods:
    @pytest.mark.parametrize("name", FLOODS)
    def test_no_reading_of_a_real_flood_is_suspect_by_default(self, name: str) -> None:
        checks = checks_for(RAIN, "MMT") if "rain" in name else checks_for(LEVEL, "MTR")
        series = JudgedSeries(checks)
        for at, value in hydrograph(name):
            series.take(at, value, at)
        assert {at for at, flag in series.flags().items() if flag != Flag.GOOD} == set()

    def test_injected_faults_get_their_flags_and_nothing_is_lost(self) -> None:
        rows = hydrograph("dead_run.csv")[:3000]
        series = JudgedSeries(checks_for(LEVEL, "MTR", QualityParameters(valid=(-0.5, 6.0)), usual_gap=GapRule(1200)))
        expected: dict[datetime, set[Reason]] = {}
        sent: dict[datetime, float] = {}
        held_back: list[tuple[datetime, float]] = []
        for number, (at, value) in enumerate(rows):
            received_at = at + timedelta(seconds=3)
            if 1000 <= number < 1010:  # a gap of 55 minutes, whose readings come two days later
                held_back.append((at, value))
                continue
            if number == 1010:
                expected[at] = {Reason.GAP}
            if number in (300, 700):
                value += 3.0
                expected[at] = {Reason.SPIKE}
            elif number == 500:
                value = -9999.0
                expected[at] = {Reason.GROSS}
            elif number == 600:
                value = -1.2
                expected[at] = {Reason.RANGE}
            elif number == 2000:
                received_at = at - timedelta(minutes=3)
                expected[at] = {Reason.CLOCK}
            for _ in range(3 if number == 900 else 1):
                series.take(at, value, received_at)
            sent[at] = value
            if number == 1010 + 576:
                for late_at, late_value in held_back:
                    series.take(late_at, late_value, at)
                    sent[late_at] = late_value
                    expected[late_at] = {Reason.LATE, Reason.NOT_COMPARED}
        assert {at: value for at, (value, _, _) in series.verdicts.items()} == sent
        assert {at: set(why) for at, why in series.reasons().items() if why} == expected
        suspect = {at for at, flag in series.flags().items() if flag == Flag.SUSPECT}
        assert suspect == {at for at, why in expected.items() if why & {"spike", "gross", "range", "clock"}}

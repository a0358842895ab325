# SPDX-License-Identifier: Apache-2.0
"""Runs of models as documents, the hub's own forecast, verification, and rules that look ahead."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.replay.hydrographs import read_series
from broker.alerts import AlertRule, RuleState, evaluate, parse_rule, parse_state, rule_document, state_document
from broker.alerts.conditions import Series
from broker.alerts.forecasts import FORECAST, Curve, curve_of, forecast_dataset
from broker.alerts.messages import JST
from broker.alerts.states import AlertDecision, Sample
from broker.audiences import Audience
from broker.contacts.words import words_of
from broker.errors import BadRequestData
from broker.forecasts.baseline import LEADS, extrapolation, persistence
from broker.forecasts.curves import curve_document
from broker.forecasts.runs import ForecastRun, RunLimits, parse_run
from broker.forecasts.verification import Said, verify

START = datetime(2026, 6, 2, 10, tzinfo=UTC)
LEVEL = "https://example.org/waterLevel"
STATION = "urn:ngsi-ld:WaterObserved:tomoe"
SQUARE = {"type": "Polygon", "coordinates": [[[138, 35], [138.1, 35], [138.1, 35.1], [138, 35.1], [138, 35]]]}


def at(minutes: float) -> str:
    return (START + timedelta(minutes=minutes)).isoformat()


def run_document(**members: Any) -> dict[str, Any]:
    series = {
        "entityId": STATION,
        "attribute": "waterLevel",
        "unitCode": "MTR",
        "validAt": [at(60), at(120), at(180)],
        "values": [2.0, 3.2, 2.5],
    }
    return {"model": "rri", "issuedAt": at(0), "series": [series | members.pop("line", {})], **members}


def read(**members: Any) -> ForecastRun:
    return parse_run(run_document(**members), lambda name: f"https://example.org/{name}", timedelta(hours=3))


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (RunLimits(series=0), "series: an array of at most 0 is expected"),
        (RunLimits(times=2), "series[0].validAt: more than 2 times"),
        (RunLimits(lines=1), "series[0]: more than 1 quantiles and members"),
        (RunLimits(layers=0), "layers: an array of at most 0 is expected"),
        (RunLimits(ahead=timedelta(hours=2)), "series[0].validAt[2]: it is not within"),
    ],
)
def test_how_much_a_run_may_have_is_for_the_operator_to_say(limits: RunLimits, told: str) -> None:
    layer = {"validAt": at(0), "depthFrom": 0, "geometry": SQUARE}
    document = run_document(line={"quantiles": {"0.9": [2.5, 4.0, 3.0]}}, layers=[layer])
    with pytest.raises(BadRequestData) as refused:
        parse_run(document, lambda name: f"https://example.org/{name}", timedelta(hours=3), limits)
    assert refused.value.detail.startswith(told)


def test_a_run_says_what_it_is_of() -> None:
    run = read(line={"quantiles": {"0.9": [2.5, 4.0, 3.0]}, "members": [[1, 2, 3], [2, 3, 4]]})
    assert (run.run_id, run.expires_at, run.leads) == ("rri:20260602T100000Z:1", START + timedelta(hours=3), {})
    assert sorted(run.series[0].lines) == ["", "m0", "m1", "q0.9"]


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"issuedAt": "yesterday"}, "issuedAt: "),
        ({"model": "a b"}, "model: "),
        ({"typo": 1}, "typo: unknown member"),
        ({"expiresAt": at(-1)}, "expiresAt: it is not after issuedAt"),
        ({"series": []}, "series: a run has series, layers or both"),
        ({"line": {"values": [1, 2]}}, "series[0].values: 2 values for 3 times"),
        ({"line": {"values": [1, 2, float("nan")]}}, "series[0].values[2]: a number is expected"),
        ({"line": {"validAt": [at(60), at(60), at(90)]}}, "series[0].validAt: the times do not ascend"),
        ({"line": {"validAt": [at(-10), at(60), at(90)]}}, "series[0].validAt[0]: it is not within"),
        ({"line": {"quantiles": {"90": [1, 2, 3]}}}, "series[0].quantiles.90: a quantile"),
        ({"audience": "everybody"}, "audience: one of public, briefed, staff"),
        ({"audience": {"public": 7200, "briefed": 3600}}, "audience.public: the public would look further"),
        ({"layers": [{"validAt": at(60), "depthFrom": 1, "depthTo": 0.5, "geometry": SQUARE}]}, "layers[0].depthTo: "),
        (
            {"layers": [{"validAt": at(60), "depthFrom": 1, "geometry": {"type": "Point", "coordinates": [1, 2]}}]},
            "layers[0].geometry: a Polygon",
        ),
    ],
)
def test_what_is_wrong_with_a_run_is_told_by_its_place(members: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        read(**members)
    assert caught.value.detail.startswith(told)


@pytest.mark.parametrize(
    ("audience", "public", "briefed"),
    [
        ("staff", None, None),
        ({"briefed": 3600}, None, 60),
        ({"public": 0, "briefed": 3600}, 0, 60),
        ({"public": 600}, 10, 10),
    ],
)
def test_each_audience_looks_as_far_ahead_as_the_run_says(audience: Any, public: Any, briefed: Any) -> None:
    run = read(audience=audience)
    expected = [None if minutes is None else START + timedelta(minutes=minutes) for minutes in (public, briefed)]
    assert [run.seen_until(Audience.PUBLIC), run.seen_until(Audience.BRIEFED)] == expected


# Verification


def test_errors_are_by_lead_time_beside_those_of_persistence() -> None:
    measured = [(600.0 * n, 1.0 + 0.1 * n) for n in range(20)]  # rises 0.1 m every ten minutes
    said = [Said(600.0 * n, [(600.0 * (n + 1), 1.1 + 0.1 * n), (600.0 * (n + 6), 1.0)]) for n in range(10)]
    ten, hour = verify(said, measured, {"caution": 1.5})
    assert [one.document()["leadSeconds"] for one in (ten, hour)] == [600, 3600]
    assert ten.document()["forecast"] == {"count": 10, "bias": 0, "mae": 0, "rmse": 0}
    assert ten.document()["persistence"] == {"count": 10, "bias": -0.1, "mae": 0.1, "rmse": 0.1}
    assert ten.document()["stages"]["caution"]["hits"] == 6
    assert hour.document()["stages"]["caution"] == {
        "hits": 0,
        "misses": 10,
        "falseAlarms": 0,
        "correctNegatives": 0,
        "probabilityOfDetection": 0,
        "falseAlarmRatio": None,
    }


def test_what_was_not_measured_is_not_verified() -> None:
    measured = [(0.0, 1.0), (7200.0, 2.0)]
    assert verify([Said(0.0, [(3600.0, 1.5)])], measured, {}) == []


# The hub's own forecast


def points(*values: float, step: float = 300.0) -> list[tuple[float, float]]:
    return [(step * n, value) for n, value in enumerate(values)]


def test_still_water_stays() -> None:
    assert extrapolation(points(0.5, 0.501, 0.5, 0.501, 0.5)) == [0.5] * len(LEADS)


def test_a_rise_goes_on_and_fades() -> None:
    levels = extrapolation(points(0.5, 0.5, 0.6, 0.7, 0.8, 0.9))
    assert levels is not None
    assert levels == sorted(levels)
    assert (
        0.9 < levels[0] < levels[-1] < 0.9 + 0.02 * 15 + 0.01
    )  # the rate (m/min) for no more than a quarter of an hour


def test_a_fall_comes_down_to_where_it_came_from_and_no_further() -> None:
    levels = extrapolation(points(0.2, 0.2, 2.0, 1.8, 1.6, 1.44, 1.3, 1.17, 1.06))
    assert levels is not None
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] >= 0.2


@pytest.mark.parametrize("given", [points(1.0, 2.0), points(1.0, 1.1, 1.2, step=3600.0)])
def test_nothing_is_said_from_too_few_values(given: list[tuple[float, float]]) -> None:
    assert extrapolation(given) is None


def _floods() -> Iterator[tuple[list[tuple[float, float]], float]]:
    """The five-minute records of Dead Run, and the level from which on it is a flood."""
    root = Path(__file__).parents[3]
    packed = gzip.open(root / "tests/data/hydrographs/dead_run_2018-06_5min.csv.gz", "rt")  # noqa: SIM115
    with packed, (root / "api/demo/hydrographs/dead_run.csv").open() as plain:
        for lines in (packed, plain):
            yield [(sample.time.timestamp(), sample.value) for sample in read_series(lines)], 0.6


@pytest.mark.parametrize("minutes", [10, 20, 30])
def test_on_real_floods_it_is_better_than_persistence_for_half_an_hour(minutes: int) -> None:
    lead = timedelta(minutes=minutes)
    for series, flood in _floods():
        known = dict(series)
        errors = []
        for number in range(300, len(series)):
            now, level = series[number]
            came = known.get(now + lead.total_seconds())
            if level < flood or came is None:
                continue
            recent = series[number - 288 : number + 1]
            said = extrapolation(recent, (lead,))
            assert said is not None
            errors.append((abs(said[0] - came), abs(persistence(recent, (lead,))[0] - came)))
        assert sum(own for own, _ in errors) < sum(stays for _, stays in errors)


# Rules that look ahead

RULE: dict[str, Any] = {
    "id": "ahead",
    "name": {"ja": "予測", "en": "Ahead"},
    "entities": {"ids": [STATION]},
    "attribute": LEVEL,
    "clearAfter": 1800,
    "levels": [{"stage": "danger", "when": {"forecast": {"atLeast": 3.1, "within": 10800, "model": "rri"}}}],
}
AHEAD = frozenset({Series(FORECAST, forecast_dataset("rri", LEVEL))})


def issued(minutes: float, *values: float, expires: float = 180) -> Sample:
    moment = START + timedelta(minutes=minutes)
    ahead = [(moment + timedelta(hours=n + 1)).timestamp() for n in range(len(values))]
    expires_at = (moment + timedelta(minutes=expires)).timestamp()
    return Sample(moment, Curve(moment, expires_at, list(zip(ahead, values, strict=True)), "MTR"))


def measured(minutes: float, value: float) -> Sample:
    return Sample(START + timedelta(minutes=minutes), value)


def play(rule: AlertRule, *samples: Sample) -> tuple[RuleState, list[AlertDecision]]:
    state, told = RuleState(), []
    for sample in samples:
        state, decisions = evaluate(rule, state, sample, AHEAD if isinstance(sample.value, Curve) else None)
        state = parse_state(state_document(state))  # as after a restart
        told += decisions
    return state, told


def test_a_rule_that_looks_ahead_is_written_as_it_was_read() -> None:
    rule = parse_rule(RULE)
    assert parse_rule(rule_document(rule)) == rule


def test_a_forecast_above_the_level_raises_and_says_how_long_it_takes() -> None:
    _, told = play(parse_rule(RULE), measured(0, 1.0), issued(1, 2.0, 3.2, 2.5))
    assert [(one.kind, one.stage, one.value) for one in told] == [("raised", "danger", 1.0)]
    assert told[0].measures[0] == {
        "kind": "forecast",
        "attribute": LEVEL,
        "limit": 3.1,
        "model": "rri",
        "issuedAt": "2026-06-02T10:01:00Z",
        "reachedAt": "2026-06-02T12:01:00Z",
        "leadSeconds": 7200.0,
        "withinSeconds": 10800.0,
        "value": 3.2,
    }


def test_what_lies_beyond_the_horizon_raises_later() -> None:
    _, told = play(parse_rule(RULE), issued(0, 1, 1, 1, 3.2, expires=400), measured(30, 1.0), measured(90, 1.0))
    assert [(one.kind, one.observed_at) for one in told] == [("raised", START + timedelta(minutes=90))]


def test_a_late_run_says_nothing() -> None:
    _, told = play(parse_rule(RULE), issued(60, 1.0, 1.0), issued(0, 3.2, 3.2))
    assert told == []


def test_an_expired_run_neither_raises_nor_clears() -> None:
    calm, told = play(parse_rule(RULE), measured(200, 1.0), issued(0, 1.0, 2.0, 3.0, 3.2))
    assert (calm.raised, told) == ((), [])
    raised, told = play(parse_rule(RULE), issued(0, 3.2), *(measured(minutes, 1.0) for minutes in range(180, 400, 10)))
    assert (raised.raised, len(told)) == (("danger",), 1)


def test_a_run_below_the_level_clears_after_its_time() -> None:
    samples = (issued(0, 3.2), issued(10, 2.0, 2.0, 2.0), measured(30, 1.0), measured(45, 1.0))
    _, told = play(parse_rule(RULE), *samples)
    assert [(one.kind, one.observed_at) for one in told] == [
        ("raised", START),
        ("cleared", START + timedelta(minutes=45)),
    ]


def test_people_are_told_that_it_was_not_measured() -> None:
    measures = [{"kind": "forecast", "model": "rri", "limit": 3.1, "value": 3.5, "issuedAt": "2026-06-02T10:00:00Z",
                 "reachedAt": "2026-06-02T12:00:00Z"}]  # fmt: skip
    step = {
        "kind": "raised", "stage": "danger", "stationName": {"ja": "巴川", "en": "Tomoe"}, "value": 1.2,
        "threshold": None, "unitCode": "MTR", "observedAt": "2026-06-02T10:00:00Z", "at": "2026-06-02T10:00:05Z",
        "alarmId": "a", "measures": measures,
    }  # fmt: skip
    japanese, english = (words_of(step, language, JST) for language in ("ja", "en"))
    assert japanese.subject == "【氾濫危険水位】巴川：予測を含む条件に該当"
    assert (
        "モデル rri（2026年6月2日 19:00 計算）では、2026年6月2日 21:00 ごろ 3.10 m を超え、最大 3.50 m" in japanese.text
    )
    assert "This is computed, not measured." in english.text


def test_alerts_by_forecasts_are_for_staff() -> None:
    with pytest.raises(BadRequestData, match="audience: alerts by forecasts are for staff"):
        parse_rule(RULE | {"audience": "public"})


def test_an_entity_says_a_curve_as_rules_read_it() -> None:
    run = read()
    instance = {"type": "JsonProperty", "json": curve_document(run, run.series[0], 2)}
    curve = curve_of(instance)
    assert curve is not None
    assert (curve.issued_at, [value for _, value in curve.points]) == (START, [2.0, 3.2])
    assert curve_of({"type": "JsonProperty", "json": {"anything": 1}}) is None

# SPDX-License-Identifier: Apache-2.0
"""Aggregated temporal representations (clause 4.5.19), with native partitions and with TimescaleDB."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from broker.times import to_text

RIVER = "urn:ngsi-ld:River:abe"
EVOLUTIONS = "/ngsi-ld/v1/temporal/entities"
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
METHODS = ("avg", "distinctCount", "max", "min", "stddev", "sum", "sumsq", "totalCount")


async def store(client: httpx.AsyncClient, **attributes: Any) -> None:
    answer = await client.post(EVOLUTIONS, json={"id": RIVER, "type": "River", **attributes})
    assert answer.status_code in (201, 204), answer.text


def series(*values: Any, step: timedelta = timedelta(minutes=10), **members: Any) -> list[dict[str, Any]]:
    return [
        {"type": "Property", "value": value, "observedAt": to_text(START + number * step), **members}
        for number, value in enumerate(values)
    ]


async def ask(client: httpx.AsyncClient, methods: str, period: str | None = None, **parameters: str) -> httpx.Response:
    given = {"format": "aggregatedValues", "aggrMethods": methods, **parameters}
    if period is not None:
        given["aggrPeriodDuration"] = period
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
    return await client.get(f"{EVOLUTIONS}/{RIVER}?{query}")


async def values(client: httpx.AsyncClient, method: str, **parameters: str) -> list[Any]:
    body = (await ask(client, method, **parameters)).json()
    return [value for value, _, _ in body["level"][method]]


async def test_every_method_over_the_whole_range(client: httpx.AsyncClient) -> None:
    await store(client, level=series(1, 2, 2, 5))
    body = (await ask(client, ",".join(METHODS), "PT0S")).json()
    found = {method: body["level"][method] for method in METHODS}
    begins, ends = "2026-01-31T12:00:00Z", "2026-01-31T12:30:00Z"
    expected = {"avg": 2.5, "distinctCount": 3, "max": 5, "min": 1, "stddev": 1.5, "sum": 10, "sumsq": 34}
    assert found == {method: [[value, begins, ends]] for method, value in {**expected, "totalCount": 4}.items()}


async def test_sums_are_exact(client: httpx.AsyncClient) -> None:
    await store(client, level=series(*[0.1] * 10, *[0.2] * 10))
    assert await values(client, "sum") == [3.0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (series(True, False, True, True), {"avg": 0.75, "sum": 3, "max": 1, "min": 0, "sumsq": 3}),
        (series([1, 2], [1, 2, 3], []), {"avg": 5 / 3, "sum": 5, "max": 3, "min": 0}),
        (series("b", "a", "B"), {"max": "b", "min": "B", "distinctCount": 3}),
        (series({"a": 1}, {"a": 1}, {"a": 2}), {"distinctCount": 2, "totalCount": 3}),
        (
            series(*({"@type": "DateTime", "@value": f"2026-0{month}-01T00:00:00Z"} for month in (3, 1, 2))),
            {"max": "2026-03-01T00:00:00Z", "min": "2026-01-01T00:00:00Z"},
        ),
        (
            series(*({"@type": "Time", "@value": f"{hour}:00:00Z"} for hour in (10, 11))),
            {"avg": "10:30:00.000Z", "max": "11:00:00Z"},
        ),
        (
            [
                {"type": "Relationship", "object": f"urn:x:{n}", "observedAt": to_text(START + timedelta(hours=n))}
                for n in (1, 2)
            ],
            {"distinctCount": 2, "totalCount": 2},
        ),
    ],
    ids=["Boolean", "array", "text", "object", "DateTime", "Time", "Relationship"],
)
async def test_methods_mean_what_the_tables_say(
    client: httpx.AsyncClient, given: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    await store(client, level=given)
    body = (await ask(client, ",".join(METHODS))).json()
    found = {name: member[0][0] for name, member in body["level"].items() if name in expected}
    assert found == pytest.approx(expected)
    if set(expected) == {"distinctCount", "totalCount"}:
        assert set(body["level"]) == {"type", *expected}


async def test_periods_begin_with_the_range_or_with_the_first_instance(client: httpx.AsyncClient) -> None:
    await store(client, level=series(1, 3, 5, step=timedelta(minutes=40)))
    body = (await ask(client, "sum", "PT1H")).json()
    assert body["level"]["sum"] == [
        [4.0, "2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z"],
        [5.0, "2026-01-31T13:00:00Z", "2026-01-31T14:00:00Z"],
    ]
    later = (await ask(client, "sum", "PT1H", timerel="after", timeAt="2026-01-31T11:30:00Z")).json()
    assert later["level"]["sum"] == [
        [1.0, "2026-01-31T11:30:00Z", "2026-01-31T12:30:00Z"],
        [8.0, "2026-01-31T12:30:00Z", "2026-01-31T13:30:00Z"],
    ]


async def test_months_are_those_of_the_calendar(client: httpx.AsyncClient) -> None:
    await store(client, level=series(*range(120), step=timedelta(days=1)))
    body = (await ask(client, "totalCount", "P1M")).json()
    assert body["level"]["totalCount"] == [
        [28, "2026-01-31T12:00:00Z", "2026-02-28T12:00:00Z"],
        [31, "2026-02-28T12:00:00Z", "2026-03-31T12:00:00Z"],
        [30, "2026-03-31T12:00:00Z", "2026-04-30T12:00:00Z"],
        [31, "2026-04-30T12:00:00Z", "2026-05-31T12:00:00Z"],
    ]


async def test_months_of_japan_begin_on_the_evening_of_a_31st(client: httpx.AsyncClient) -> None:
    firsts = [datetime(2026, month, 1, tzinfo=timezone(timedelta(hours=9))) for month in range(1, 13)]
    rows = [{"type": "Property", "value": 1, "observedAt": to_text(first.astimezone(UTC))} for first in firsts]
    await store(client, level=rows)
    body = (await ask(client, "totalCount", "P1M", timerel="after", timeAt="2025-12-31T15:00:00Z")).json()
    assert [(count, start) for count, start, _ in body["level"]["totalCount"]] == [
        (1, to_text(first.astimezone(UTC))) for first in firsts
    ]


@pytest.mark.parametrize("period", ["PT7M", "PT36H", "P1W", "P1M", "P1M10DT3H", "P1Y"])
async def test_periods_hold_what_a_plain_count_says(client: httpx.AsyncClient, period: str) -> None:
    """Random instances over three years, late and corrected ones among them, against arithmetic in Python."""
    random_numbers = random.Random(period)
    moments = [START + timedelta(seconds=random_numbers.randrange(3 * 365 * 86400)) for _ in range(60)]
    pairs = [(moment, random_numbers.choice([1, 2.5, -3, 1000])) for moment in moments + moments[:10]]
    rows = [{"type": "Property", "value": value, "observedAt": to_text(moment)} for moment, value in pairs]
    await store(client, level=rows)
    answer = await ask(client, "totalCount,sum,stddev", period, timerel="after", timeAt=to_text(START))
    level = answer.json()["level"]
    believed = dict(pairs)
    assert sum(count for count, _, _ in level["totalCount"]) == len(believed)
    for (count, begins, ends), (total, *_), (deviation, *_) in zip(
        level["totalCount"], level["sum"], level["stddev"], strict=True
    ):
        inside = [value for moment, value in believed.items() if begins <= to_text(moment) < ends]
        mean = sum(inside) / len(inside)
        assert (count, total) == (len(inside), sum(inside))
        assert deviation == pytest.approx(math.sqrt(sum((value - mean) ** 2 for value in inside) / len(inside)))


async def test_datasets_are_aggregated_apart(client: httpx.AsyncClient) -> None:
    await store(client, level=[*series(1, 3), *series(10, 30, datasetId="urn:x:radar")])
    both = (await ask(client, "sum")).json()["level"]
    assert [(item.get("datasetId"), item["sum"][0][0]) for item in both] == [(None, 4.0), ("urn:x:radar", 40.0)]
    assert await values(client, "sum", datasetId="urn:x:radar") == [40.0]


async def test_a_method_that_an_attribute_named_has_not_is_an_error(client: httpx.AsyncClient) -> None:
    await store(client, level=series(1), name=series("安倍川"))
    assert (await ask(client, "sum")).json().keys() == {"id", "type", "level"}
    refused = await ask(client, "sum", attrs="name")
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (400, "InvalidRequest")


@pytest.mark.parametrize("period", ["", "P", "PT", "1H", "P1H", "PT1.5H", "P0001-01-01", "-P1D", "P999999Y", "P1M1W"])
async def test_what_is_no_duration_is_refused(client: httpx.AsyncClient, period: str) -> None:
    await store(client, level=series(1))
    refused = await ask(client, "avg", period)
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (400, "BadRequestData")


@pytest.mark.parametrize("place", ["temporalQ", "aggrParams"])
async def test_a_query_body_aggregates_too(client: httpx.AsyncClient, place: str) -> None:
    await store(client, level=series(1, 3))
    temporal: dict[str, Any] = {"timerel": "after", "timeAt": "2026-01-31T12:00:00Z"}
    body: dict[str, Any] = {"type": "Query", "entities": [{"type": "River"}], "temporalQ": temporal}
    body.setdefault(place, {}).update(aggrMethods="avg,max", aggrPeriodDuration="PT1H")
    (found,) = (await client.post("/ngsi-ld/v1/temporal/entityOperations/query", json=body)).json()
    assert found["level"] == {
        "type": "Property",
        "avg": [[2.0, "2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z"]],
        "max": [[3.0, "2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z"]],
    }


async def periods_from(client: httpx.AsyncClient, period: str, start: str, zone: str) -> list[list[str]]:
    """Where the periods of a year of days begin and end."""
    days = [
        start_of_day + timedelta(days=n) for start_of_day in (datetime(2026, 1, 2, tzinfo=UTC),) for n in range(360)
    ]
    level = [{"type": "Property", "value": 1, "observedAt": to_text(day)} for day in days]
    await store(client, level=level)
    body = (await ask(client, "sum", period, timerel="after", timeAt=start, aggrTimeZone=zone)).json()
    return [[begins, ends] for _, begins, ends in body["level"]["sum"]]


async def test_months_are_those_of_the_time_zone(client: httpx.AsyncClient) -> None:
    found = await periods_from(client, "P1M", "2026-06-30T15:00:00Z", "Asia/Tokyo")
    borders = [f"2026-{month}T15:00:00Z" for month in ("06-30", "07-31", "08-31", "09-30", "10-31", "11-30", "12-31")]
    assert found == [list(pair) for pair in pairwise(borders)]


async def test_days_are_as_long_as_they_are_in_the_time_zone(client: httpx.AsyncClient) -> None:
    found = await periods_from(client, "P1D", "2026-03-26T23:00:00Z", "Europe/Berlin")
    assert found[:3] == [
        ["2026-03-26T23:00:00Z", "2026-03-27T23:00:00Z"],
        ["2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z"],
        ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"],
    ]


@pytest.mark.parametrize("zone", ["Nowhere", "../etc/passwd", ""])
async def test_a_time_zone_has_to_be_known(client: httpx.AsyncClient, zone: str) -> None:
    await store(client, level=series(1))
    answer = await ask(client, "sum", "P1M", aggrTimeZone=zone)
    assert answer.status_code == 400
    assert "aggrTimeZone" in answer.json()["detail"]

# SPDX-License-Identifier: Apache-2.0
"""Series for charts over real history: buckets cut by PostgreSQL, gaps, quality, corrections, times of belief."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.hub import Hub
from broker.devices.model import AttributeMapping, Device
from broker.devices.profile import DeviceProfile, ExpectedInterval
from context_store.database import ALL_TENANTS
from context_store.history.rollups import Rollups

LEVEL = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
ENTITY = "urn:ngsi-ld:WaterObserved:gauge"
PATH = f"/api/v1/entities/{ENTITY}/series/waterLevel"
START = datetime(2025, 9, 1, tzinfo=UTC)
STEP = timedelta(minutes=10)
DAY = {"from": "2025-09-01T00:00:00Z", "to": "2025-09-02T00:00:00Z"}
# What does not depend on how history is stored.
EITHER = pytest.mark.parametrize("store_mode", ["native"], indirect=True)
INSERT = """
    insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, source_id, value_hash, kind,
        recorded_at, number_value, boolean_value, unit_code, quality, superseded_at)
    select entity_key, 1, %(attribute)s, %(at)s, %(source)s, %(hash)s, 1, %(recorded)s, %(value)s, %(boolean)s,
           %(unit)s, %(quality)s, %(superseded)s
      from entity_identity where id = %(entity)s
"""


class Gauge:
    """A hub with one gauge whose history a test writes row by row."""

    def __init__(self, hub: Hub, client: httpx.AsyncClient) -> None:
        self.hub = hub
        self.client = client

    async def rows(self, rows: Sequence[tuple[datetime, float | bool]], **other: Any) -> None:
        """Write instances (time, value); ``other`` are columns."""
        await self.hub.history.ensure([at for at, _ in rows])
        attribute = (await self.hub.terms.resolve([LEVEL]))[LEVEL]
        defaults = {"recorded": START, "unit": "MTR", "quality": None, "superseded": None, "source": 0}
        async with self.hub.database.transaction(ALL_TENANTS) as connection, connection.cursor() as cursor:
            await cursor.executemany(
                INSERT,
                [
                    {
                        "entity": ENTITY,
                        "attribute": attribute,
                        "at": at,
                        "hash": hash(value),
                        "value": None if isinstance(value, bool) else value,
                        "boolean": value if isinstance(value, bool) else None,
                    }
                    | defaults
                    | other
                    for at, value in rows
                ],
            )

    async def series(self, **parameters: Any) -> dict[str, Any]:
        """The answer for a day, with other ``parameters``."""
        response = await self.client.get(PATH, params=DAY | parameters)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


@pytest.fixture
async def gauge(hub: Hub, client: httpx.AsyncClient) -> Gauge:
    entity = {"id": ENTITY, "type": "WaterObserved", "name": {"type": "Property", "value": "Gauge"}}
    assert (await client.post("/ngsi-ld/v1/entities", json=entity)).status_code == 201
    return Gauge(hub, client)


def day(skip: range = range(0)) -> list[tuple[datetime, float]]:
    """A reading every ten minutes of a day, but for the numbers in ``skip``; one spike at the 100th."""
    return [(START + i * STEP, 9.5 if i == 100 else i / 1000) for i in range(144) if i not in skip]


async def register(hub: Hub, interval_s: float) -> None:
    """A device that feeds the gauge every ``interval_s``."""
    mapping = AttributeMapping("level", LEVEL, "MTR")
    profile = DeviceProfile(expected_interval=ExpectedInterval(normal=interval_s))
    device = Device(1, "g", "g", "Gauge", ENTITY, ("WaterObserved",), (mapping,), profile=profile)
    await hub.devices.put(device)


async def test_few_readings_are_all_given(gauge: Gauge) -> None:
    await gauge.rows(day())
    answer = await gauge.series()
    assert answer["method"] == "raw" and answer["count"] == len(answer["data"][0]) == 144
    assert answer["data"][0][1] - answer["data"][0][0] == 600
    assert answer["data"][1][:2] == [0.0, 0.001]


@EITHER
async def test_the_end_of_the_range_is_not_included(gauge: Gauge) -> None:
    await gauge.rows([*day(), (START + timedelta(days=1), 5.0)])
    assert (await gauge.series())["count"] == 144


@pytest.mark.parametrize("method", ["minmax", "lttb"])
async def test_many_readings_become_about_as_many_points_as_asked_for(gauge: Gauge, method: str) -> None:
    await gauge.rows(day())
    answer = await gauge.series(method=method, points=20)
    assert answer["method"] == method
    assert 15 <= len(answer["data"][0]) <= 24


@pytest.mark.parametrize("method", ["minmax", "lttb"])
async def test_the_peak_is_a_point_at_its_own_time(gauge: Gauge, method: str) -> None:
    await gauge.rows(day())
    answer = await gauge.series(method=method, points=12)
    place = answer["data"][1].index(9.5)
    assert answer["data"][0][place] == (START + 100 * STEP).timestamp()


async def test_numbers_beside_the_points_are_of_all_readings(gauge: Gauge) -> None:
    await gauge.rows(day())
    answer = await gauge.series(method="lttb", points=4)
    assert answer["count"] == 144
    assert answer["first"] == {"observedAt": "2025-09-01T00:00:00Z", "value": 0.0}
    assert answer["last"] == {"observedAt": "2025-09-01T23:50:00Z", "value": 0.143}
    assert answer["max"] == {"observedAt": "2025-09-01T16:40:00Z", "value": 9.5}
    assert answer["min"] == {"observedAt": "2025-09-01T00:00:00Z", "value": 0.0}


@pytest.mark.parametrize("points", [800, 40])
async def test_a_gap_is_an_empty_point_between_its_edges(gauge: Gauge, points: int) -> None:
    await gauge.rows(day(skip=range(50, 90)))
    await register(gauge.hub, 600)
    times, values, _ = (await gauge.series(points=points))["data"]
    place = values.index(None)
    assert times[place - 1] == (START + 49 * STEP).timestamp()
    assert times[place + 1] == (START + 90 * STEP).timestamp()
    assert values.count(None) == 1


@EITHER
async def test_the_gap_is_as_long_as_the_device_says(gauge: Gauge) -> None:
    await gauge.rows(day())
    await register(gauge.hub, 100)
    assert (await gauge.series())["gapSeconds"] == 250


@EITHER
async def test_the_gap_can_be_given(gauge: Gauge) -> None:
    await gauge.rows(day())
    answer = await gauge.series(gap=599)
    assert answer["data"][1].count(None) == 143


async def test_without_a_device_the_usual_step_tells_gaps(gauge: Gauge) -> None:
    await gauge.rows(day(skip=range(20, 30)))
    assert (await gauge.series())["gapSeconds"] == 1500
    assert (await gauge.series(points=60))["data"][1].count(None) == 1


async def test_what_is_not_good_is_told_point_by_point_and_as_a_share(gauge: Gauge) -> None:
    await gauge.rows(day()[:72], quality=1)
    await gauge.rows(day()[72:], quality=2)
    assert (await gauge.series())["data"][2] == [0.0] * 72 + [1.0] * 72
    shares = (await gauge.series(points=6))["data"][2]
    assert {0.0, 0.5, 1.0} == set(shares)


@pytest.mark.parametrize("points", [800, 20])
async def test_a_correction_is_not_counted_twice(gauge: Gauge, points: int) -> None:
    await gauge.rows(day())
    later = START + timedelta(days=3)
    await gauge.rows([(START + STEP, 7.0)], superseded=later)
    await gauge.rows([(START + STEP, 8.0)], recorded=later)
    answer = await gauge.series(points=points)
    assert answer["count"] == 145 and 7.0 not in answer["data"][1]


@pytest.mark.parametrize("points", [4, 20])
async def test_what_was_believed_at_a_time(gauge: Gauge, points: int) -> None:
    later = START + timedelta(days=3)
    await gauge.rows(day())
    await gauge.rows([(START - STEP, 17.0)], superseded=later)
    await gauge.rows([(START - STEP, 18.0)], recorded=later)
    period = {"from": "2025-08-31T23:00:00Z", "points": points}
    before = await gauge.series(**period, asKnownAt="2025-09-03T23:59:59Z")
    after = await gauge.series(**period, asKnownAt="2025-09-04T00:00:00Z")
    assert (before["max"]["value"], after["max"]["value"]) == (17.0, 18.0)


async def test_different_units_are_told_and_none_is_claimed(gauge: Gauge) -> None:
    await gauge.rows(day()[:50], unit="MTR")
    await gauge.rows(day()[50:], unit="CMT")
    for points in (800, 10):
        answer = await gauge.series(points=points)
        assert answer["unitCode"] is None and answer["unitCodes"] == ["CMT", "MTR"]


@EITHER
async def test_true_and_false_are_one_and_zero(gauge: Gauge) -> None:
    await gauge.rows([(START, False), (START + STEP, True)])
    assert (await gauge.series())["data"][1] == [0.0, 1.0]


@EITHER
async def test_a_series_without_readings_is_empty(gauge: Gauge) -> None:
    answer = await gauge.series()
    assert answer["count"] == 0 and answer["data"] == [[], [], []] and answer["first"] is None


@EITHER
async def test_history_of_a_deleted_entity_is_still_plotted(gauge: Gauge, client: httpx.AsyncClient) -> None:
    await gauge.rows(day())
    await client.delete(f"/ngsi-ld/v1/entities/{ENTITY}")
    assert (await gauge.series())["count"] == 144


@EITHER
async def test_csv_has_a_line_a_point_and_an_empty_value_in_a_gap(gauge: Gauge, client: httpx.AsyncClient) -> None:
    await gauge.rows([(START, 1.0), (START + STEP, 1.5)])
    response = await client.get(PATH, params=DAY | {"gap": 300}, headers={"Accept": "text/csv"})
    assert response.headers["content-type"].startswith("text/csv")
    assert response.text.splitlines() == [
        "time,value,notGood",
        "2025-09-01T00:00:00Z,1.0,0.0",
        "2025-09-01T00:05:00Z,,",
        "2025-09-01T00:10:00Z,1.5,0.0",
    ]


@EITHER
async def test_an_attribute_may_be_named_by_its_iri(gauge: Gauge, client: httpx.AsyncClient) -> None:
    await gauge.rows(day())
    path = PATH.replace("waterLevel", LEVEL.replace("/", "%2F"))
    assert (await client.get(path, params=DAY)).json()["count"] == 144


@EITHER
async def test_an_unknown_entity_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/v1/entities/urn:ngsi-ld:X:none/series/waterLevel")
    assert response.status_code == 404


REFUSED = [{"points": 3}, {"method": "mean"}, {"gap": 0}, {"from": "2025-09-02T00:00:00Z"}, {"to": "yesterday"}]


@EITHER
async def test_parameters_that_make_no_sense_are_refused(gauge: Gauge) -> None:
    statuses = [(await gauge.client.get(PATH, params=DAY | parameters)).status_code for parameters in REFUSED]
    assert statuses == [400] * len(REFUSED)


@EITHER
async def test_another_tenant_sees_nothing(gauge: Gauge, client: httpx.AsyncClient) -> None:
    await gauge.rows(day())
    entity = {"id": "urn:ngsi-ld:X:1", "type": "X"}
    await client.post("/ngsi-ld/v1/entities", json=entity, headers={"NGSILD-Tenant": "other"})
    response = await client.get(PATH, params=DAY, headers={"NGSILD-Tenant": "other"})
    assert response.status_code == 404


MONTHS = {"from": "2025-07-01T00:05:00Z", "to": "2025-08-29T23:55:00Z", "points": 800}


async def rolled(gauge: Gauge) -> list[tuple[datetime, float]]:
    """Sixty days of readings every ten minutes, rolled up; what was written."""
    levels = random.Random(7)
    begin = datetime(2025, 7, 1, 0, 3, tzinfo=UTC)
    written = [(begin + i * STEP, round(levels.gauss(1, 0.3), 3)) for i in range(60 * 144) if not 3000 < i < 3200]
    await gauge.rows(written)
    await Rollups(gauge.hub.database).run(datetime.now(UTC))
    return written


def within(written: Sequence[tuple[datetime, float]]) -> list[float]:
    start, end = (datetime.fromisoformat(str(MONTHS[name])) for name in ("from", "to"))
    return [value for at, value in written if start <= at < end]


async def test_long_ranges_are_told_by_rollups_as_readings_would_tell_them(gauge: Gauge) -> None:
    values = within(await rolled(gauge))
    answer = await gauge.series(**MONTHS)
    assert answer["rollup"] == "10m" and answer["method"] == "minmax"
    assert (answer["count"], answer["min"]["value"], answer["max"]["value"]) == (len(values), min(values), max(values))
    assert (answer["first"]["value"], answer["last"]["value"]) == (values[0], values[-1])
    assert answer["data"][1].count(None) == 1 and answer["unitCode"] == "MTR"


async def test_points_out_of_rollups_have_the_values_of_points_out_of_readings(gauge: Gauge) -> None:
    """Where a point stands for whole buckets, four hours here; but for the first of the two runs, told by its hour."""
    await rolled(gauge)
    period = {"from": "2025-07-01T00:00:00Z", "to": "2025-08-30T00:00:00Z", "points": 720}
    answer = await gauge.series(**period)
    readings = await gauge.series(**period, asKnownAt=datetime.now(UTC).isoformat())
    assert (answer["rollup"], readings["rollup"]) == ("1h", None)
    told, read = (Counter(filter(None, found["data"][1])) for found in (answer, readings))
    assert (told - read).total() <= 4 and (read - told).total() <= 4 < read.total()


async def test_what_comes_late_is_in_a_long_range_at_once(gauge: Gauge) -> None:
    values = within(await rolled(gauge))
    await gauge.rows([(datetime(2025, 7, 20, 12, 34, tzinfo=UTC), 99.0)])
    answer = await gauge.series(**MONTHS)
    assert answer["rollup"] == "10m"
    assert (answer["count"], answer["max"]["value"]) == (len(values) + 1, 99.0)


@EITHER
async def test_what_retention_has_removed_is_still_plotted(gauge: Gauge) -> None:
    values = within(await rolled(gauge))
    async with gauge.hub.database.transaction(ALL_TENANTS) as connection:
        await connection.execute("set local minamo.retiring = 'on'")
        await connection.execute("delete from attribute_instance where number_value is not null")
        await connection.execute("update rollup_1d set raw_gone = true")
    answer = await gauge.series(**MONTHS)
    day = await gauge.series(**{"from": "2025-07-10T00:00:00Z", "to": "2025-07-11T00:00:00Z"})
    assert answer["max"]["value"] == max(values[1:-1])
    assert (day["rollup"], day["count"]) == ("10m", 144)


@EITHER
async def test_what_is_not_only_numbers_is_read_from_its_instances(gauge: Gauge) -> None:
    await rolled(gauge)
    await gauge.rows([(datetime(2025, 7, 2, tzinfo=UTC), True)])
    await Rollups(gauge.hub.database).run(datetime.now(UTC))
    assert (await gauge.series(**MONTHS))["rollup"] is None

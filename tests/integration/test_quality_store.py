# SPDX-License-Identifier: Apache-2.0
"""Quality in the store: judged within the commit, the same whatever the batches are, and corrected by people."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.devices.maintenance import MaintenanceWindow
from broker.devices.model import AttributeMapping, Device
from broker.devices.profile import parse_device_profile
from broker.intake.readings import Observation
from broker.quality import QUALITY, Checks, Reason
from broker.times import parse_time
from context_store.database import ALL_TENANTS, Database
from context_store.history.partitions import CHANGES, HISTORY, Partitions
from context_store.history.terms import TermIds
from context_store.history.writing import QUALITY_NUMBER
from context_store.intake.commits import PostgresReadingStore
from support.hub import client_for, hub_for
from support.quality import JudgedSeries

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

LEVEL = "https://smartdatamodels.org/dataModel.Environment/waterLevel"
STATION = "urn:ngsi-ld:WaterObserved:tomoe"
T0 = datetime(2026, 6, 1, tzinfo=UTC)
GAUGE = Device(
    1,
    "tomoe",
    "tomoe",
    "Tomoe",
    STATION,
    ("https://smartdatamodels.org/dataModel.Environment/WaterObserved",),
    (AttributeMapping("level", LEVEL, "MTR"), AttributeMapping("state", "urn:x:state")),
    profile=parse_device_profile({"quality": {"level": {"valid": [-1, 5]}}}),
    maintenance=(MaintenanceWindow("w", T0 + timedelta(hours=9), T0 + timedelta(hours=10), "cleaning"),),
)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def reading(minutes: float, value: float) -> Observation:
    return Observation(GAUGE, at(minutes), ((GAUGE.attributes[0], value),), (), at(minutes))


class Store:
    """A reading store, and what its database says of quality."""

    def __init__(self, database: Database) -> None:
        self.database = database
        terms = TermIds(database)
        history = Partitions(database, HISTORY)
        self.store = PostgresReadingStore(database, terms, history)

    async def commit(self, *observations: Observation) -> Any:
        return await self.store.commit(list(observations), [])

    async def ask(self, statement: str) -> list[tuple[Any, ...]]:
        async with self.database.transaction(ALL_TENANTS) as connection:
            return await (await connection.execute(statement)).fetchall()  # type: ignore[arg-type]

    async def believed(self) -> list[tuple[datetime, float | None, int | None, list[str] | None]]:
        return await self.ask(
            f"""select observed_at, number_value, quality,
                       detail #> '{{attrs,{QUALITY},@none,attrs,https://uri.etsi.org/ngsi-ld/default-context/reasons,@none,value}}'
                  from attribute_instance join term on term_id = attribute_id
                 where name = '{LEVEL}' and superseded_at is null order by observed_at, instance_key"""
        )

    async def current(self) -> dict[str, Any]:
        rows = await self.ask(f"select document -> '{LEVEL}' -> '@none' from entity")
        found: dict[str, Any] = rows[0][0]
        return found


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    database = Database(database_url)
    await database.open()
    await Partitions(database, CHANGES).ensure_ahead(datetime.now(UTC), 2)
    yield Store(database)
    await database.close()


async def test_a_good_reading_says_so_in_history_and_in_the_current_value(store: Store) -> None:
    await store.commit(reading(0, 1.0))
    assert await store.believed() == [(T0, 1.0, 1, None)]
    assert (await store.current())["attrs"] == {QUALITY: {"@none": {"type": "Property", "value": "good"}}}


async def test_a_jump_is_in_doubt_until_the_next_reading_confirms_it(store: Store) -> None:
    await store.commit(reading(0, 1.0))
    await store.commit(reading(10, 3.0))
    assert (await store.believed())[1] == (at(10), 3.0, 2, ["spike"])
    await store.commit(reading(20, 3.1))
    assert await store.believed() == [
        (at(0), 1.0, 1, None),
        (at(10), 3.0, 1, ["confirmed"]),
        (at(20), 3.1, 1, ["step"]),
    ]


async def test_what_was_confirmed_is_still_a_repeat(store: Store) -> None:
    readings = [reading(0, 1.0), reading(10, 3.0), reading(20, 3.1)]
    for one in readings:
        await store.commit(one)
    before = await store.believed()
    summary = await store.commit(*readings)
    assert (summary.repeated, await store.believed()) == (3, before)


@pytest.mark.parametrize("sizes", [[1] * 8, [8], [3, 5], [2, 2, 2, 2]])
async def test_verdicts_do_not_depend_on_the_batches(store: Store, sizes: list[int]) -> None:
    values = [1.0, 3.0, 1.1, 9.0, 1.2, 2.5, 2.6, 2.6]
    waiting = [reading(10 * number, value) for number, value in enumerate(values)]
    for size in sizes:
        await store.commit(*waiting[:size])
        waiting = waiting[size:]
    found = [(quality, reasons) for _, _, quality, reasons in await store.believed()]
    assert found == [
        *[(1, None), (2, ["spike"]), (1, None), (2, ["range"]), (1, None)],
        *[(1, ["confirmed"]), (1, ["step"]), (1, None)],
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_flood_with_faults_that_comes_late_and_twice_is_judged_as_plain_python_does(
    store: Store, seed: int
) -> None:
    chance = random.Random(seed)
    arriving = faulty_flood(chance)
    model = JudgedSeries(GAUGE.attributes[0].checks or Checks())
    for observation in arriving:
        model.take(observation.observed_at, float(observation.values[0][1]), observation.received_at)
    while arriving:
        size = chance.choice([1, 3, 20])
        await store.commit(*arriving[:size])
        arriving = arriving[size:]
    found = {at: (value, quality, reasons or []) for at, value, quality, reasons in await store.believed()}
    assert found == {
        at: (value, QUALITY_NUMBER[flag], [str(reason) for reason in reasons])
        for at, (value, flag, reasons) in model.verdicts.items()
    }


def faulty_flood(chance: random.Random) -> list[Observation]:
    """The rise of a real flood with spikes, impossible values, a gap that comes two days late, repeats and disorder."""
    path = Path(__file__).parents[2] / "api" / "demo" / "hydrographs" / "dead_run.csv"
    with path.open(encoding="utf-8") as file:
        rows = [(parse_time(row["time"]), float(row["value"])) for row in csv.DictReader(file)][1000:1160]
    found = []
    for number, (moment, level) in enumerate(rows):
        value = chance.choice([level + 3, -9999.0, 7.0]) if chance.random() < 0.05 else level
        received_at = moment + timedelta(hours=48 if 60 <= number < 72 else 0, seconds=chance.choice([2, 2, -120]))
        found.append(Observation(GAUGE, moment, ((GAUGE.attributes[0], value),), (), received_at))
    found[60:72], found[72:] = [], found[72:] + found[60:72]
    for _ in range(40):
        place = chance.randrange(len(found) - 3)
        found.insert(place + chance.randint(1, 3), found[place])
        found[place], found[place + 1] = found[place + 1], found[place]
    return found


async def test_late_readings_are_judged_by_themselves(store: Store) -> None:
    await store.commit(reading(60, 1.0))
    await store.commit(reading(10, 4.0), reading(20, 7.0))
    assert (await store.believed())[:2] == [
        (at(10), 4.0, 1, ["notCompared"]),
        (at(20), 7.0, 2, ["range", "notCompared"]),
    ]


async def test_no_value_is_a_row_without_one_and_leaves_the_current_value(store: Store) -> None:
    mapping = GAUGE.attributes[0]
    nothing = Observation(GAUGE, at(10), (), ((mapping, Reason.SENTINEL),), at(10))
    await store.commit(reading(0, 1.0))
    for _ in range(2):
        await store.commit(nothing)
    assert (await store.believed())[1:] == [(at(10), None, 3, ["sentinel"])]
    assert (await store.current())["value"] == 1.0


async def test_a_first_message_may_have_no_value_at_all(store: Store) -> None:
    summary = await store.commit(Observation(GAUGE, at(0), (), ((GAUGE.attributes[0], Reason.NULL),), at(0)))
    assert (summary.missing, len(await store.believed())) == (1, 1)


async def test_in_maintenance_whatever_comes_is_of_maintenance(store: Store) -> None:
    await store.commit(reading(9 * 60 + 5, 4.9), reading(10 * 60, 1.0))
    assert [quality for _, _, quality, _ in await store.believed()] == [5, 1]


async def test_texts_have_a_quality_too(store: Store) -> None:
    await store.commit(Observation(GAUGE, at(0), ((GAUGE.attributes[1], "wet"),), (), at(0)))
    assert await store.ask("select quality from attribute_instance where text_value = 'wet'") == [(1,)]


class People:
    """The API of a hub whose store has six readings."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.path = f"/api/v1/entities/{STATION}/quality/waterLevel"

    async def decide(self, **members: Any) -> httpx.Response:
        body = {"from": "2026-06-01T00:10:00Z", "to": "2026-06-01T00:30:00Z", "reason": "driftwood", **members}
        return await self.client.post(self.path, json=body)

    async def history(self, **parameters: str) -> list[tuple[str, str, str]]:
        answer = await self.client.get("/api/v1/export", params={"attrs": "waterLevel", **parameters})
        rows = csv.DictReader(io.StringIO(answer.text))
        return [(row["observedAt"][11:16], row["value"], row["quality"]) for row in rows]

    async def temporal(self) -> list[dict[str, Any]]:
        answer = await self.client.get(f"/ngsi-ld/v1/temporal/entities/{STATION}", params={"attrs": LEVEL})
        found: list[dict[str, Any]] = answer.json()[LEVEL]
        return found


@pytest.fixture
async def people(database_url: str, store: Store) -> AsyncIterator[People]:
    for number in range(6):
        await store.commit(reading(10 * number, 1.0 + number / 10))
    async with hub_for(database_url) as hub, client_for(hub) as client:
        yield People(client)


async def test_a_decision_corrects_every_value_of_its_range(people: People) -> None:
    answer = await people.decide(quality="suspect")
    assert (answer.status_code, answer.json()["changed"], answer.json()["decidedBy"]) == (201, 2, "local")
    qualities = [quality for _, _, quality in await people.history()]
    assert qualities == ["good", "suspect", "suspect", "good", "good", "good"]
    assert [row[0] for row in await people.history(quality="suspect")] == ["00:10", "00:20"]


async def test_a_corrected_value_is_an_estimate_and_the_raw_one_is_kept(people: People) -> None:
    assert (await people.decide(offset=-0.5)).json()["quality"] == "estimated"
    assert (await people.history(quality="estimated"))[0] == ("00:10", "0.6", "estimated")
    kept = await people.history(corrections="true")
    assert [row[1:] for row in kept if row[0] == "00:10"] == [("1.1", "good"), ("0.6", "estimated")]


async def test_a_repeat_does_not_take_a_decision_back(people: People, store: Store) -> None:
    await people.decide(value=1.05)
    before = await people.history()
    await store.commit(reading(10, 1.1), reading(20, 1.2))
    assert await people.history() == before


async def test_the_current_value_says_what_was_decided(people: People, store: Store) -> None:
    await people.decide(to="2026-06-01T02:00:00Z", quality="suspect")
    said = (await store.current())["attrs"][QUALITY]["@none"]
    assert (said["value"], len(said["attrs"])) == ("suspect", 2)
    answer = await people.client.get(
        f"/api/v1/entities/{STATION}/series/waterLevel",
        params={"from": "2026-06-01T00:00:00Z", "to": "2026-06-01T02:00:00Z", "quality": "good"},
    )
    assert answer.json()["count"] == 1


async def test_decisions_are_recorded_newest_first(people: People) -> None:
    await people.decide(quality="suspect")
    await people.decide(quality="good", reason="it was a real rise")
    found = (await people.client.get(people.path)).json()["decisions"]
    assert [(one["quality"], one["reason"]) for one in found] == [
        ("good", "it was a real rise"),
        ("suspect", "driftwood"),
    ]


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"quality": "missing"}, 400),
        ({}, 400),
        ({"quality": "good", "reason": " "}, 400),
        ({"quality": "good", "to": "2026-06-01T00:10:00Z"}, 400),
        ({"value": 1, "offset": 1}, 400),
        ({"quality": "good", "who": "me"}, 400),
        ({"quality": "good", "from": "2025-06-01T00:00:00Z", "to": "2025-06-02T00:00:00Z"}, 404),
    ],
)
async def test_what_cannot_be_decided_is_refused(people: People, members: dict[str, Any], status: int) -> None:
    assert (await people.decide(**members)).status_code == status


async def test_history_tells_the_quality(people: People) -> None:
    await people.decide(quality="suspect")
    said = [one[QUALITY if QUALITY in one else "quality"]["value"] for one in await people.temporal()]
    assert said == ["good", "suspect", "suspect", "good", "good", "good"]


@pytest.mark.parametrize(("word", "until", "found"), [("suspect", 5, 0), ("suspect", 15, 1), ("good", 5, 1)])
async def test_queries_of_history_find_the_quality(people: People, word: str, until: int, found: int) -> None:
    await people.decide(quality="suspect")
    link = '<urn:ngsi-ld:jsonldContext:minamo-v1>; rel="http://www.w3.org/ns/json-ld#context"'
    answer = await people.client.get(
        "/ngsi-ld/v1/temporal/entities",
        params={
            "type": GAUGE.entity_types[0],
            "q": f'waterLevel.quality=="{word}"',
            "timerel": "before",
            "timeAt": at(until).isoformat().replace("+00:00", "Z"),
        },
        headers={"Link": link},
    )
    assert len(answer.json()) == found

# SPDX-License-Identifier: Apache-2.0
"""A real river with the faults that real gauges have, as its device sends them: all is there, and rightly flagged.

The levels are those of Hebden Bridge (Environment Agency, OGL v3.0), moved to end now: below gauge zero most of the
time, and with a gap of the station's own.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

import api
from api.hub import Hub
from broker.times import parse_time, to_text
from context_store.database import ALL_TENANTS

pytestmark = pytest.mark.parametrize("store_mode", ["native"], indirect=True)

RECORD = Path(api.__file__).parent / "demo" / "hydrographs" / "hebden_bridge.csv"
ENTITY = "urn:ngsi-ld:WaterObserved:hebden"
STEP = timedelta(minutes=15)
DEVICE: dict[str, Any] = {
    "entityId": ENTITY,
    "entityType": "WaterObserved",
    "attributes": [{"field": "level", "attribute": "waterLevel", "unitCode": "MTR", "sentinels": [-9999, "nan"]}],
    "profile": {"expectedInterval": {"normal": 900}, "quality": {"level": {"valid": [-1, 5], "gap": 2700}}},
}
# quality in history: 1 good, 2 suspect, 3 missing
GOOD, SUSPECT, MISSING = 1, 2, 3

Said = dict[datetime, tuple[float | None, int, tuple[str, ...]]]


def recorded(now: datetime) -> list[tuple[datetime, float]]:
    """About a day of the river that has a gap of its own; the last reading is of ``now``."""
    with RECORD.open(encoding="utf-8") as file:
        rows = [(parse_time(row["time"]), float(row["value"])) for row in csv.DictReader(file)]
    gap = next(n for n in range(60, len(rows)) if rows[n][0] - rows[n - 1][0] >= timedelta(hours=1))
    part = rows[gap - 40 : gap + 30]
    shift = now - part[-1][0]
    return [(moment + shift, level) for moment, level in part]


class Gauge:
    """The device, and what the hub came to believe of what it said."""

    def __init__(self, hub: Hub, client: httpx.AsyncClient, password: str) -> None:
        self._hub = hub
        self._client = client
        self._auth = ("hebden", password)

    async def send(self, readings: list[tuple[datetime, Any]]) -> int:
        """In messages of seven readings, as a gateway that has kept them would; the last status."""
        status = 0
        for begin in range(0, len(readings), 7):
            body = [{"time": to_text(moment), "level": level} for moment, level in readings[begin : begin + 7]]
            answer = await self._client.post("/api/v1/readings/hebden", json=body, auth=self._auth)
            status = answer.status_code
            assert status in (200, 202)
        return status

    async def believed(self) -> Said:
        async with self._hub.database.transaction(ALL_TENANTS) as connection:
            rows = await (
                await connection.execute(
                    """select i.observed_at, i.number_value, i.quality, i.detail
                         from attribute_instance i join entity e using (entity_key)
                         join term t on t.term_id = i.attribute_id
                        where e.id = %s and t.name like '%%waterLevel' and i.superseded_at is null""",
                    (ENTITY,),
                )
            ).fetchall()
        return {moment: (number, quality, _reasons(others)) for moment, number, quality, others in rows}


def _reasons(others: Any) -> tuple[str, ...]:
    text = str(others)
    known = ("spike", "range", "step", "confirmed", "gap", "late", "notCompared", "clock", "sentinel", "null")
    return tuple(word for word in known if f"'{word}'" in text)


@pytest.fixture
async def gauge(hub: Hub, client: httpx.AsyncClient) -> Gauge:
    answer = await client.put("/api/v1/devices/hebden", json=DEVICE)
    return Gauge(hub, client, answer.json()["mqtt"]["password"])


async def test_nothing_is_missing_and_every_fault_is_flagged(gauge: Gauge, client: httpx.AsyncClient) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    river = recorded(now - timedelta(minutes=1))
    gaps = [b for (a, _), (b, _) in pairwise(river) if b - a > timedelta(minutes=45)]
    assert min(level for _, level in river) < 0 and len(gaps) == 1
    sent: dict[datetime, Any] = dict(river)
    moments = list(sent)
    spike, sentinel, word, nothing, impossible = (moments[n] for n in (10, 15, 20, 25, 50))
    sent |= {spike: sent[spike] + 3, sentinel: -9999, word: "nan", nothing: None, impossible: 6.5}
    live = list(sent.items())
    await gauge.send(live)
    await gauge.send(live[::-1])  # all of it again, backwards

    late = [(moment - timedelta(hours=48), level) for moment, level in river[:8]]
    await gauge.send(late)
    skewed = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=3)
    await gauge.send([(skewed, river[-1][1])])
    assert await gauge.send([(now + timedelta(days=365), 1.0)]) == 202

    found = await gauge.believed()
    assert found.keys() == {*sent, *(moment for moment, _ in late), skewed}
    assert {moment: value for moment, (value, quality, _) in found.items() if quality != MISSING} == {
        moment: value
        for moment, value in [*live, *late, (skewed, river[-1][1])]
        if moment not in (sentinel, word, nothing)
    }
    flags = {moment: (quality, reasons) for moment, (_, quality, reasons) in found.items()}
    assert flags[spike] == (SUSPECT, ("spike",))
    assert flags[impossible] == (SUSPECT, ("range",))
    assert [flags[moment] for moment in (sentinel, word, nothing)] == [
        (MISSING, ("sentinel",)),
        (MISSING, ("sentinel",)),
        (MISSING, ("null",)),
    ]
    assert flags[gaps[0]] == (GOOD, ("gap",))
    assert flags[skewed] == (SUSPECT, ("clock",))
    assert {flags[moment] for moment, _ in late} == {(GOOD, ("late", "notCompared"))}
    rest = flags.keys() - {spike, impossible, sentinel, word, nothing, gaps[0], skewed, *(m for m, _ in late)}
    assert {flags[moment] for moment in rest} == {(GOOD, ())}
    (held,) = (await client.get("/api/v1/quarantine")).json()["messages"]
    assert held["reason"] == "in_the_future"

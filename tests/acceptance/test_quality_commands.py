# SPDX-License-Identifier: Apache-2.0
"""``minamo quality`` and ``minamo silence`` on a running hub, with a device that sends by HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from api.cli import main
from broker.times import to_text
from support.hub_process import HubProcess

TENANT = "qualitycommands"
STATION = "urn:ngsi-ld:WaterObserved:nagao"
MODEL = "https://smartdatamodels.org/dataModel.Environment/"
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=8)
DEVICE = {
    "name": "長尾川",
    "entityId": STATION,
    "entityType": "WaterObserved",
    "attributes": [{"field": "level", "attribute": "waterLevel", "unitCode": "MTR", "sentinels": [-9999]}],
    "profile": {
        "expectedInterval": {"normal": 600},
        "quality": {"level": {"valid": [-1, 6]}},
        "silence": {"means": "flooded"},
    },
}


def at(minutes: float) -> str:
    return to_text(START + timedelta(minutes=minutes))


class City:
    """A tenant of the hub with one device."""

    def __init__(self, hub: HubProcess, client: httpx.Client) -> None:
        self.hub = hub
        self.client = client

    def types(self, *words: str, fails: bool = False) -> str:
        command = [*words, "--url", self.hub.url, "--tenant", TENANT]
        done = CliRunner().invoke(main, command, env={"MINAMO_LANGUAGE": "en"})
        assert (done.exit_code != 0) is fails, done.output
        return done.output

    def qualities(self) -> list[tuple[Any, Any]]:
        answer = self.client.get("/api/v1/export", params={"attrs": "waterLevel"})
        rows = [line.split(",") for line in answer.text.splitlines()]
        value, quality = rows[0].index("value"), rows[0].index("quality")
        return [(row[value], row[quality]) for row in rows[1:]]


@pytest.fixture(scope="module")
def city(running_hub: HubProcess) -> Iterator[City]:
    headers = {"NGSILD-Tenant": TENANT}
    with httpx.Client(base_url=running_hub.url, headers=headers, trust_env=False) as client:
        client.post("/ngsi-ld/v1/entities", json={"id": "urn:x:1", "type": "X"}).raise_for_status()
        mqtt = client.put("/api/v1/devices/nagao", json=DEVICE).raise_for_status().json()["mqtt"]
        access = (mqtt["username"], mqtt["password"])
        for minute, level in ((0, 1.0), (10, 3.4), (20, 1.1), (30, -9999), (40, 1.2), (50, 7.5)):
            reading = {"time": at(minute), "level": level}
            client.post(f"/api/v1/readings/{mqtt['username']}", json=reading, auth=access).raise_for_status()
        yield City(running_hub, client)


def test_readings_of_a_device_have_their_quality_in_files(city: City) -> None:
    assert city.qualities() == [
        ("1", "good"),
        ("3.4", "suspect"),
        ("1.1", "good"),
        ("", "missing"),
        ("1.2", "good"),
        ("7.5", "suspect"),
    ]


def test_the_current_value_says_why_it_is_in_doubt(city: City) -> None:
    link = '<urn:ngsi-ld:jsonldContext:minamo-v1>; rel="http://www.w3.org/ns/json-ld#context"'
    level = city.client.get(f"/ngsi-ld/v1/entities/{STATION}", headers={"Link": link}).json()["waterLevel"]
    assert (level["quality"]["value"], level["quality"]["reasons"]["value"]) == ("suspect", ["range"])
    assert level["quality"]["lastGood"]["value"] == 1.2


def test_old_values_of_a_device_that_is_heard_look_missing_all_the_same(city: City) -> None:
    station = city.client.get("/api/v1/stations").json()["stations"][0]
    assert (station["status"], station["quality"], station["floodSign"]) == ("missing", "suspect", False)


def test_a_person_confirms_and_sees_who_did(city: City) -> None:
    said = city.types(
        *("quality", "set", STATION, "waterLevel", "--from", at(50), "--to", at(51)),
        *("--quality", "good", "--reason", "seen on the camera"),
    )
    assert "1 values are good" in said
    assert city.qualities()[-1] == ("7.5", "good")
    listed = city.types("quality", "list", STATION, "waterLevel")
    assert "local" in listed
    assert "seen on the camera" in listed


def test_what_cannot_be_decided_is_said(city: City) -> None:
    said = city.types(
        *("quality", "set", STATION, "waterLevel", "--from", at(0), "--to", at(0)),
        *("--quality", "good", "--reason", "x"),
        fails=True,
    )
    assert "from is not before to" in said


def test_silence_is_told_in_words(city: City) -> None:
    assert "every device is heard" in city.types("silence")

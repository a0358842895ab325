# SPDX-License-Identifier: Apache-2.0
"""A flood at a running hub, from the first reading to the all-clear, as a reader of its CAP feed sees it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import feedparser
import pytest

from schemas.contexts import MINAMO_CONTEXT
from support.cap import Cap
from support.hub_process import HubProcess, hub_process
from support.waiting import eventually

STATION = "urn:ngsi-ld:WaterObserved:kano"
CONTEXT = {"Link": f'<{MINAMO_CONTEXT}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}
RULE = {
    "name": {"ja": "狩野川", "en": "Kano"},
    "entities": {"ids": [STATION]},
    "attribute": "waterLevel",
    "levels": [{"stage": "caution", "threshold": 1.0}, {"stage": "danger", "threshold": 2.0}],
    "clearAfter": 0,
}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with hub_process(cap_status="Actual", cap_sender="minamo@city.example.jp", cap_geocode="222062") as running:
        yield running


def level(value: float, minute: int) -> dict[str, Any]:
    return {"type": "Property", "value": value, "unitCode": "MTR", "observedAt": f"2026-06-01T05:{minute:02}:00Z"}


def entries(hub: HubProcess) -> list[Any]:
    found: list[Any] = feedparser.parse(hub.http.get("/api/v1/alerts/cap").content).entries
    return found


async def test_a_reader_of_the_feed_follows_a_flood_to_its_end(hub: HubProcess) -> None:
    hub.put("/api/v1/alert-rules/kano", RULE)
    station = {
        "id": STATION,
        "type": "WaterObserved",
        "name": {"type": "Property", "value": "狩野川 大門橋"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [138.93, 35.09]}},
        "waterLevel": level(0.4, 0),
    }
    assert hub.http.post("/ngsi-ld/v1/entities", json=station, headers=CONTEXT).status_code == 201
    for minute, value in ((10, 1.2), (20, 2.3), (30, 1.3), (40, 0.5)):
        attribute = {"waterLevel": level(value, minute)}
        changed = hub.http.patch(f"/ngsi-ld/v1/entities/{STATION}/attrs", json=attribute, headers=CONTEXT)
        assert changed.status_code == 204

    await eventually(lambda: len(entries(hub)) == 4)
    messages = [Cap(hub.http.get(entry.links[0].href).content) for entry in reversed(entries(hub))]
    assert [(m.text("msgType"), m.text("info/severity"), m.text("info/responseType")) for m in messages] == [
        ("Alert", "Moderate", "Monitor"),
        ("Update", "Severe", "Prepare"),
        ("Update", "Moderate", "Monitor"),
        ("Update", "Minor", "AllClear"),
    ]
    assert messages[-1].references == [message.triple for message in messages[:-1]]
    assert messages[0].text("info/area/circle") == "35.09,138.93 1"
    assert messages[0].text("info/area/geocode/value") == "222062"


async def test_public_cap_parser_reads_the_feed_and_its_messages(
    hub: HubProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """capparselib of the Python package index, which checks against schemas of its own."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / ".venv" / "parsers"))
    reader = importlib.import_module("capparselib.parsers").CAPParser
    feed = hub.http.get("/api/v1/alerts/cap", params={"content": "full"}).text
    alerts = reader(feed).as_dict()
    assert [str(alert["cap_message_type"]) for alert in alerts] == ["Update", "Update", "Update", "Alert"]
    assert [str(alert["cap_info"][0]["cap_severity"]) for alert in alerts] == [
        "Minor",
        "Moderate",
        "Severe",
        "Moderate",
    ]
    assert {str(info["cap_language"]) for info in alerts[0]["cap_info"]} == {"ja-JP", "ja-x-easy", "en"}
    (alone,) = reader(hub.http.get(entries(hub)[0].links[0].href).text).as_dict()
    assert alone["cap_id"] == alerts[0]["cap_id"] and alone["cap_status"] == "Actual"

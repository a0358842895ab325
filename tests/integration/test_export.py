# SPDX-License-Identifier: Apache-2.0
"""Exports of history as files: what is in them, in which order, and that they are streams."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from broker.history.rows import COLUMNS

# Files are made by the same statements in both modes: one test reads both.
NATIVE = pytest.mark.parametrize("store_mode", ["native"], indirect=True)
GAUGE = "urn:ngsi-ld:WaterObserved:巴川"
ROAD = "urn:ngsi-ld:RoadSegment:1"
DATASET = "urn:ngsi-ld:Dataset:radar"
TIMES = ("2025-08-31T23:50:00Z", "2025-09-01T00:00:00Z", "2025-09-01T00:10:00.25Z")


def level(value: Any, at: str, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": at, "unitCode": "MTR", **members}


@pytest.fixture
async def filled(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A gauge with three levels, one of another dataset and several kinds of attributes; and a road."""
    context = {"@context": "urn:ngsi-ld:jsonldContext:minamo-v1"}
    link = {"Content-Type": "application/ld+json"}
    gauge = {
        "id": GAUGE,
        "type": "WaterObserved",
        "waterLevel": [level(1.25, TIMES[0]), level(9, TIMES[0], datasetId=DATASET)],
        "name": {"type": "Property", "value": '=1+1,"q"\n次'},
        "open": {"type": "Property", "value": True, "observedAt": TIMES[0]},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [138.4, 35]}},
        "refDevice": {
            "type": "Relationship",
            "object": "urn:ngsi-ld:Device:1",
            "note": {"type": "Property", "value": 1},
        },
    }
    road = {"id": ROAD, "type": "RoadSegment", "waterLevel": level(0.1, TIMES[1])}
    for entity in (gauge, road):
        response = await client.post("/ngsi-ld/v1/entities", json=entity | context, headers=link)
        assert response.status_code == 201, response.text
    for value, at in zip((1.5, 1.75), TIMES[1:], strict=True):
        await client.patch(
            f"/ngsi-ld/v1/entities/{GAUGE}", json=context | {"waterLevel": level(value, at)}, headers=link
        )
    return client


async def rows(client: httpx.AsyncClient, **parameters: Any) -> list[dict[str, str]]:
    """The rows of a CSV export."""
    response = await client.get("/api/v1/export", params=parameters)
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


async def test_each_instance_is_a_row_by_entity_attribute_and_time(filled: httpx.AsyncClient) -> None:
    found = [
        (r["entityId"], r["attribute"], r["datasetId"], r["value"]) for r in await rows(filled, attrs="waterLevel")
    ]
    assert found == [
        (ROAD, "waterLevel", "", "0.1"),
        (GAUGE, "waterLevel", "", "1.25"),
        (GAUGE, "waterLevel", DATASET, "9"),
        (GAUGE, "waterLevel", "", "1.5"),
        (GAUGE, "waterLevel", "", "1.75"),
    ]


@NATIVE
async def test_the_columns_are_the_documented_ones(filled: httpx.AsyncClient) -> None:
    row = (await rows(filled, id=ROAD))[0]
    assert tuple(row) == COLUMNS
    assert row | {"recordedAt": "?"} == dict.fromkeys(COLUMNS, "") | {
        "entityId": ROAD,
        "type": "RoadSegment",
        "attribute": "waterLevel",
        "kind": "Property",
        "observedAt": TIMES[1],
        "recordedAt": "?",
        "value": "0.1",
        "valueType": "number",
        "unitCode": "MTR",
    }


@NATIVE
async def test_every_kind_of_value_has_its_type(filled: httpx.AsyncClient) -> None:
    found = {r["attribute"]: (r["kind"], r["valueType"], r["value"]) for r in await rows(filled, id=GAUGE)}
    assert found["open"] == ("Property", "boolean", "true")
    assert found["name"] == ("Property", "text", '=1+1,"q"\n次')
    assert found["refDevice"] == ("Relationship", "text", "urn:ngsi-ld:Device:1")
    assert json.loads(found["location"][2])["coordinates"] == [138.4, 35]


@NATIVE
async def test_what_is_beside_the_value_is_in_detail(filled: httpx.AsyncClient) -> None:
    found = {r["attribute"]: r["detail"] for r in await rows(filled, id=GAUGE)}
    assert "note" in found["refDevice"]
    assert found["open"] == ""


@NATIVE
async def test_an_instance_that_was_not_observed_has_no_such_time(filled: httpx.AsyncClient) -> None:
    row = next(r for r in await rows(filled, id=GAUGE) if r["attribute"] == "name")
    assert row["observedAt"] == "" and row["recordedAt"].endswith("Z")


@NATIVE
async def test_the_period_has_its_beginning_and_not_its_end(filled: httpx.AsyncClient) -> None:
    found = await rows(filled, attrs="waterLevel", **{"from": TIMES[0], "to": TIMES[1]})
    assert [r["value"] for r in found] == ["1.25", "9"]


@NATIVE
async def test_entities_are_selected_as_in_queries(filled: httpx.AsyncClient) -> None:
    assert {r["entityId"] for r in await rows(filled, type="RoadSegment")} == {ROAD}
    assert {r["entityId"] for r in await rows(filled, q="waterLevel>1.7")} == {GAUGE}
    assert {r["entityId"] for r in await rows(filled, idPattern="Road")} == {ROAD}
    assert await rows(filled, type="Nothing") == []


@NATIVE
async def test_entities_are_selected_by_scope_and_beginning_of_the_id(filled: httpx.AsyncClient) -> None:
    bay = {"id": "urn:ngsi-ld:Bay:1", "type": "Bay", "scope": "/Japan/Shizuoka", "depth": level(3, TIMES[0])}
    assert (await filled.post("/ngsi-ld/v1/entities", json=bay)).status_code == 201
    assert {r["entityId"] for r in await rows(filled, scopeQ="/Japan/#")} == {bay["id"]}
    assert {r["entityId"] for r in await rows(filled, idPattern="^urn:ngsi-ld:Bay")} == {bay["id"]}


@NATIVE
async def test_a_correction_replaces_what_it_corrects_unless_both_are_asked_for(filled: httpx.AsyncClient) -> None:
    body = {"@context": "urn:ngsi-ld:jsonldContext:minamo-v1", "waterLevel": level(0.2, TIMES[1])}
    before = (await rows(filled, id=ROAD))[0]["recordedAt"]
    await filled.patch(f"/ngsi-ld/v1/entities/{ROAD}", json=body, headers={"Content-Type": "application/ld+json"})
    assert [r["value"] for r in await rows(filled, id=ROAD)] == ["0.2"]
    assert [r["value"] for r in await rows(filled, id=ROAD, asKnownAt=before)] == ["0.1"]
    both = await rows(filled, id=ROAD, corrections=True)
    assert [(r["value"], bool(r["supersededAt"])) for r in both] == [("0.1", True), ("0.2", False)]


@NATIVE
async def test_excel_gets_a_byte_order_mark_when_asked(filled: httpx.AsyncClient) -> None:
    response = await filled.get("/api/v1/export", params={"encoding": "utf-8-sig"})
    assert response.content.startswith(b"\xef\xbb\xbfentityId,")


@NATIVE
async def test_texts_that_look_like_formulas_can_be_made_harmless(filled: httpx.AsyncClient) -> None:
    values = {r["attribute"]: r["value"] for r in await rows(filled, id=GAUGE, spreadsheet=True)}
    assert values["name"].startswith("'=1+1")
    assert values["refDevice"] == "urn:ngsi-ld:Device:1"


@NATIVE
async def test_parquet_says_what_csv_says(filled: httpx.AsyncClient) -> None:
    response = await filled.get("/api/v1/export", params={"format": "parquet"})
    table = pq.read_table(io.BytesIO(response.content))
    as_csv = await rows(filled)
    assert [row["value"] for row in table.to_pylist()] == [row["value"] for row in as_csv]
    assert [row["entityId"] for row in table.to_pylist()] == [row["entityId"] for row in as_csv]
    numbers = [row["numberValue"] for row in table.to_pylist()]
    assert numbers == [float(row["value"]) if row["valueType"] == "number" else None for row in as_csv]


@NATIVE
async def test_an_export_of_nothing_is_a_file_with_columns(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/export")).text == ",".join(COLUMNS) + "\n"
    response = await client.get("/api/v1/export", params={"format": "parquet"})
    assert pq.read_table(io.BytesIO(response.content)).column_names == [*COLUMNS, "numberValue"]


@NATIVE
async def test_another_tenant_exports_nothing_of_it(filled: httpx.AsyncClient) -> None:
    entity = {"id": "urn:ngsi-ld:X:1", "type": "X", "p": {"type": "Property", "value": 1}}
    await filled.post("/ngsi-ld/v1/entities", json=entity, headers={"NGSILD-Tenant": "other"})
    response = await filled.get("/api/v1/export", headers={"NGSILD-Tenant": "other"})
    assert {line.split(",")[0] for line in response.text.splitlines()[1:]} == {"urn:ngsi-ld:X:1"}


@NATIVE
async def test_a_fault_in_the_request_is_an_answer(client: httpx.AsyncClient) -> None:
    for parameters in ({"q": "a=="}, {"format": "xlsx"}, {"from": "then"}, {"id": "not a uri"}):
        assert (await client.get("/api/v1/export", params=parameters)).status_code == 400

# SPDX-License-Identifier: Apache-2.0
"""Taking history in from files: what becomes of rows, of current values, and of what cannot be understood."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.hub import Hub
from broker.history.rows import COLUMNS
from context_store.database import ALL_TENANTS

NATIVE = pytest.mark.parametrize("store_mode", ["native"], indirect=True)
GAUGE = "urn:ngsi-ld:WaterObserved:gauge"
HEAD = "entityId,type,attribute,observedAt,value,unitCode"
T0, T1, T2 = "2019-09-01T00:00:00Z", "2019-09-01T00:15:00Z", "2019-09-01T00:30:00Z"


def row(at: str, value: Any, entity: str = GAUGE, attribute: str = "waterLevel") -> str:
    return f"{entity},WaterObserved,{attribute},{at},{value},MTR"


async def send(client: httpx.AsyncClient, *rows: str, head: str = HEAD, **rules: Any) -> dict[str, Any]:
    """Import rows; entities are made unless ``rules`` say otherwise."""
    body = "\n".join([head, *rows]) + "\n"
    response = await client.post("/api/v1/import", content=body.encode(), params={"create": True} | rules)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def exported(client: httpx.AsyncClient, **parameters: Any) -> list[dict[str, str]]:
    response = await client.get("/api/v1/export", params=parameters)
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


async def values(client: httpx.AsyncClient, **parameters: Any) -> list[tuple[str, str]]:
    return [(r["observedAt"], r["value"]) for r in await exported(client, **parameters)]


async def current(client: httpx.AsyncClient) -> dict[str, Any]:
    link = '<urn:ngsi-ld:jsonldContext:minamo-v1>; rel="http://www.w3.org/ns/json-ld#context"'
    response = await client.get(f"/ngsi-ld/v1/entities/{GAUGE}", headers={"Link": link})
    answer: dict[str, Any] = response.json()
    return answer


async def test_rows_of_years_that_have_no_partition_are_taken(client: httpx.AsyncClient) -> None:
    answer = await send(client, row(T0, 1.5), row(T1, -0.25), row("1998-01-01T00:00:00Z", 2))
    assert (answer["new"], answer["created"], answer["rejected"]) == (3, [GAUGE], [])
    assert await values(client) == [("1998-01-01T00:00:00Z", "2"), (T0, "1.5"), (T1, "-0.25")]


async def test_the_same_again_changes_nothing(client: httpx.AsyncClient) -> None:
    rows = [row(T0, 1.5), row(T1, 1.25)]
    await send(client, *rows)
    before = await exported(client)
    answer = await send(client, *rows)
    assert (answer["new"], answer["repeated"], answer["corrections"], answer["current"]) == (0, 2, 0, 0)
    assert await exported(client) == before


async def test_another_value_for_a_moment_is_a_correction(client: httpx.AsyncClient) -> None:
    await send(client, row(T0, 1.5), row(T1, 1.25))
    answer = await send(client, row(T0, 1.5), row(T1, 1.75), row(T2, 2.5))
    assert (answer["new"], answer["repeated"], answer["corrections"]) == (2, 1, 1)
    assert await values(client) == [(T0, "1.5"), (T1, "1.75"), (T2, "2.5")]
    assert len(await values(client, corrections=True)) == 4


async def test_a_value_that_was_corrected_away_can_come_back(client: httpx.AsyncClient) -> None:
    for value in (1.5, 1.75, 1.5):
        await send(client, row(T0, value))
    assert await values(client) == [(T0, "1.5")]
    assert len(await values(client, corrections=True)) == 3


@NATIVE
async def test_of_two_rows_for_a_moment_the_later_in_the_file_is_believed(client: httpx.AsyncClient) -> None:
    answer = await send(client, row(T0, 1), row(T0, 2), row(T0, 2))
    assert (answer["new"], answer["repeated"], answer["corrections"]) == (2, 1, 1)
    assert await values(client) == [(T0, "2")]


@NATIVE
async def test_another_unit_or_quality_is_a_correction_too(client: httpx.AsyncClient) -> None:
    head = HEAD + ",quality"
    await send(client, row(T0, 1) + ",", head=head)
    assert (await send(client, row(T0, 1) + ",suspect", head=head))["corrections"] == 1
    assert [(r["value"], r["quality"]) for r in await exported(client)] == [("1", "suspect")]


async def test_what_a_device_or_the_api_said_is_corrected_by_a_file(client: httpx.AsyncClient) -> None:
    await send(client, row(T0, 1) + ",gauge-7", head=HEAD + ",source")
    assert (await send(client, row(T0, 2)))["corrections"] == 1
    assert [(r["value"], r["source"]) for r in await exported(client)] == [("2", "")]


async def test_a_file_makes_only_older_values_current(client: httpx.AsyncClient) -> None:
    await send(client, row(T1, 1.5))
    assert (await send(client, row(T0, 1)))["current"] == 0
    assert (await current(client))["waterLevel"]["value"] == 1.5
    assert (await send(client, row(T2, 2)))["current"] == 1
    assert (await current(client))["waterLevel"] | {"unitCode": "MTR"} == {
        "type": "Property",
        "value": 2,
        "observedAt": T2,
        "unitCode": "MTR",
    }


@NATIVE
async def test_a_correction_of_the_newest_value_is_current(client: httpx.AsyncClient) -> None:
    await send(client, row(T0, 1))
    await send(client, row(T0, 3))
    assert (await current(client))["waterLevel"]["value"] == 3


@NATIVE
async def test_nobody_is_notified(client: httpx.AsyncClient, hub: Hub) -> None:
    await send(client, row(T0, 1), row(T1, 2))
    async with hub.database.transaction(ALL_TENANTS) as connection:
        events = await (await connection.execute("select count(*) from change_event")).fetchone()
    assert events == (0,)


async def test_a_late_reading_after_an_import_is_still_told_from_a_correction(client: httpx.AsyncClient) -> None:
    """What a file brought is looked at when the API writes the same moment."""
    await send(client, row(T0, 1), row(T1, 2))
    context = {"@context": "urn:ngsi-ld:jsonldContext:minamo-v1"}
    body = {"waterLevel": {"type": "Property", "value": 7, "observedAt": T0, "unitCode": "MTR"}} | context
    headers = {"Content-Type": "application/ld+json"}
    await client.patch(f"/ngsi-ld/v1/entities/{GAUGE}", json=body, headers=headers)
    assert await values(client) == [(T0, "7"), (T1, "2")]


@NATIVE
async def test_a_dry_run_tells_all_and_keeps_nothing(client: httpx.AsyncClient) -> None:
    answer = await send(client, row(T0, 1), row("then", 2), dryRun=True)
    assert (answer["new"], answer["created"], len(answer["rejected"])) == (1, [GAUGE], 1)
    assert await exported(client) == []


@NATIVE
async def test_entities_are_made_only_when_asked(client: httpx.AsyncClient) -> None:
    answer = await send(client, row(T0, 1), create=False)
    assert [fault["reason"] for fault in answer["rejected"]] == ["unknownEntity"]
    assert answer["new"] == 0


REFUSED = {
    "columns": f"{GAUGE},WaterObserved,waterLevel",
    "observedAt": row("2019-09-01T00:00:00", 1),
    "value": row(T0, ""),
    "name": row(T0, 1, entity="no uri"),
}


@NATIVE
async def test_each_row_that_is_not_understood_is_told_with_the_reason(client: httpx.AsyncClient) -> None:
    future = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    answer = await send(client, *REFUSED.values(), row(T0, 1), row(future, 2), row(T1, 2, attribute="9 lives"))
    told = [(fault["row"], fault["reason"]) for fault in answer["rejected"]]
    assert told == [(0, "columns"), (1, "observedAt"), (2, "value"), (3, "name"), (5, "observedAt"), (6, "name")]
    assert await values(client) == [(T0, "1")]


@NATIVE
async def test_times_of_any_offset_are_understood(client: httpx.AsyncClient) -> None:
    await send(client, row("2019-09-01T09:00:00+09:00", 1), row("2019-09-01 00:15:00.5Z", 2))
    assert await values(client) == [(T0, "1"), ("2019-09-01T00:15:00.5Z", "2")]


@NATIVE
async def test_a_value_without_a_type_is_what_it_looks_like(client: httpx.AsyncClient) -> None:
    await send(client, row(T0, "1e2"), row(T0, "true", attribute="open"), row(T0, "濁り", attribute="note"))
    assert {r["attribute"]: (r["value"], r["valueType"]) for r in await exported(client)} == {
        "waterLevel": ("100", "number"),
        "open": ("true", "boolean"),
        "note": ("濁り", "text"),
    }


@NATIVE
async def test_numbers_keep_every_digit(client: httpx.AsyncClient) -> None:
    numbers = ["0.1", "-1e-300", "1.7976931348623157e+308", "9007199254740993", "5e-324", "0.30000000000000004"]
    times = [f"2019-09-01T00:{minute:02}:00Z" for minute in range(len(numbers))]
    await send(client, *(row(at, number) for at, number in zip(times, numbers, strict=True)))
    assert [float(value) for _, value in await values(client)] == [float(number) for number in numbers]


@NATIVE
async def test_columns_that_are_none_are_refused(client: httpx.AsyncClient) -> None:
    for head in ("entityId,attribute,value", HEAD + ",unitcode", HEAD + ",value", ""):
        response = await client.post("/api/v1/import", content=head.encode() + b"\n")
        assert response.status_code == 400


@NATIVE
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"entityId\rtype\n", "The first line is not CSV"),
        (f"{HEAD}\n{row(T0, 'a' * 200_000)}\n".encode(), "The file is not CSV"),
        (f"{HEAD}\n{row(T0, chr(0))}\n".encode(), "NUL"),
    ],
)
async def test_what_is_no_csv_is_refused(client: httpx.AsyncClient, content: bytes, reason: str) -> None:
    response = await client.post("/api/v1/import", content=content)
    assert (response.status_code, reason in response.json()["detail"]) == (400, True)


@NATIVE
async def test_an_import_belongs_to_its_tenant(client: httpx.AsyncClient) -> None:
    entity = {"id": "urn:ngsi-ld:X:1", "type": "X"}
    await client.post("/ngsi-ld/v1/entities", json=entity, headers={"NGSILD-Tenant": "other"})
    body = "\n".join([HEAD, row(T0, 1)]).encode()
    await client.post("/api/v1/import?create=true", content=body, headers={"NGSILD-Tenant": "other"})
    assert await exported(client) == []


async def test_what_one_hub_exports_another_takes_over_with_all_it_ever_believed(client: httpx.AsyncClient) -> None:
    """All kinds of values, a correction, a removal: exported, imported as a copy elsewhere, exported again."""
    context = {"@context": "urn:ngsi-ld:jsonldContext:minamo-v1"}
    headers = {"Content-Type": "application/ld+json"}
    entity = {
        "id": GAUGE,
        "type": "WaterObserved",
        "waterLevel": [
            {"type": "Property", "value": 1.25, "observedAt": T0, "unitCode": "MTR"},
            {"type": "Property", "value": 9, "observedAt": T0, "datasetId": "urn:d:1"},
        ],
        "name": {"type": "Property", "value": '=1+1,"q"\n次', "note": {"type": "Property", "value": 1}},
        "big": {"type": "Property", "value": 9007199254740993, "observedAt": T0},
        "list": {"type": "Property", "value": [1, {"a": None}], "observedAt": T0},
        "open": {"type": "Property", "value": True, "observedAt": T0},
        "label": {"type": "LanguageProperty", "languageMap": {"ja": "水位"}},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [138.4, 35]}},
        "refDevice": {"type": "Relationship", "object": "urn:ngsi-ld:Device:1", "observedAt": T1},
    }
    assert (await client.post("/ngsi-ld/v1/entities", json=entity | context, headers=headers)).status_code == 201
    for value in (1.5, 1.25):
        body = {"waterLevel": {"type": "Property", "value": value, "observedAt": T0, "unitCode": "MTR"}} | context
        await client.patch(f"/ngsi-ld/v1/entities/{GAUGE}", json=body, headers=headers)
    await client.delete(f"/ngsi-ld/v1/entities/{GAUGE}/attrs/open", params={"deleteAll": "true"})
    there = {"NGSILD-Tenant": "elsewhere"}
    await client.post("/ngsi-ld/v1/entities", json={"id": "urn:x:1", "type": "X"}, headers=there)
    original = await client.get("/api/v1/export", params={"corrections": True})
    rules = {"create": True, "asRecorded": True}
    for _ in range(2):
        response = await client.post("/api/v1/import", content=original.content, params=rules, headers=there)
        assert response.status_code == 200 and response.json()["rejected"] == []
    copy = await client.get("/api/v1/export", params={"corrections": True, "id": GAUGE}, headers=there)
    assert copy.text == original.text
    assert tuple(original.text.splitlines()[0].split(",")) == COLUMNS

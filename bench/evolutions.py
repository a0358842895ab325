# SPDX-License-Identifier: Apache-2.0
"""Stellio's K6 and K7: the temporal evolution of one entity, and of all of a type: ``python -m bench.evolutions``.

Ten entities of the template's three attributes (five datasets) with N instances each, 100 a second, as its k6 scenarios
leave them; 10 connections; plain values, ``temporalValues``, and an aggregate by the second, by a method at random. In
native partitions and in TimescaleDB: the scenario as Stellio ran it; computed each time; and as the hub is, which keeps
what it answered. See README.md here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, LiteralString

import httpx

from bench import machine
from bench.http_load import Rate, load
from bench.http_requests import take
from bench.services import Bench, answering, child, running_services
from broker.times import to_text
from context_store.database import ALL_TENANTS, Database
from tests.support.folders import free_port

_API: Final = "/ngsi-ld/v1/temporal/entities"
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(milliseconds=10)
_AT_ONCE: Final = 20_000
_SINCE: Final = "timerel=after&timeAt=2023-01-01T00:00:00Z"
_BOTH: Final = ("urn:ngsi-ld:Dataset:Bottom", "urn:ngsi-ld:Dataset:Surface")
_METHODS: Final = ("totalCount", "distinctCount", "sum", "avg", "min", "max", "stddev", "sumsq")
_AGGREGATE: Final = "options=aggregatedValues&aggrPeriodDuration=PT1S&aggrMethods="
_ATTRIBUTES: Final = ("ammonium", "waterTemperature", "dissolvedOxygen")
_METHOD: Final = "({" + ", ".join(f'"{method}"' for method in _METHODS) + "})[math.random(8)]"
_ATTRIBUTE: Final = "({" + ", ".join(f'"{name}"' for name in _ATTRIBUTES) + "})[math.random(3)]"
_SHAPES: Final = {
    "K6 aggregated": f'"{_API}/urn:ngsi-ld:Entity:" .. math.random(0, 9) .. "?{_SINCE}&{_AGGREGATE}" .. {_METHOD}',
    "K6 temporalValues": f'"{_API}/urn:ngsi-ld:Entity:" .. math.random(0, 9) .. "?{_SINCE}&options=temporalValues"',
    "K6 plain": f'"{_API}/urn:ngsi-ld:Entity:" .. math.random(0, 9) .. "?{_SINCE}"',
    "K7 aggregated": f'"{_API}?type=Entity&{_SINCE}&{_AGGREGATE}" .. {_METHOD} .. "&attrs=" .. {_ATTRIBUTE}',
    "K7 temporalValues": f'"{_API}?type=Entity&{_SINCE}&options=temporalValues&attrs=" .. {_ATTRIBUTE}',
    "K7 plain": f'"{_API}?type=Entity&{_SINCE}&attrs=" .. {_ATTRIBUTE}',
}
_FLOOR: Final = '"/ngsi-ld/v1/info/sourceIdentity"'
_PUBLISHED: Final = {1_000: 137, 10_000: 86, 100_000: 42}
"""Stellio's requests/s for the aggregated history of one entity, on 8 virtual cores (its docs, September 2024)."""


_ENTITIES: Final = 10
_REQUESTS: Final = 1_000
_RUNS: Final = 3
# Copies of the first instance of each dataset of each entity, later and with other values: as in Stellio's scenario,
# numbers with all the digits that a double has, the same in the five datasets.
_COPIES: Final[LiteralString] = """
    insert into attribute_instance (entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash,
                                    kind, recorded_at, number_value, unit_code, detail)
    select i.entity_key, i.tenant_id, i.attribute_id, i.observed_at + n * %(step)s::interval, i.dataset_id, i.source_id,
           n, i.kind, i.recorded_at, v.value, i.unit_code, i.detail
      from attribute_instance i
     cross join (select n, random() * 100 as value from generate_series(%(first)s::int, %(last)s::int) n) v
     where i.observed_at = %(begin)s and i.entity_key = %(key)s order by n
"""


def _first() -> dict[str, Any]:
    """The first instances of the five datasets."""

    def one(dataset: str | None) -> dict[str, Any]:
        given = {"type": "Property", "value": 50.5, "unitCode": "M1", "observedAt": to_text(_BEGIN)}
        return given | ({"datasetId": dataset} if dataset else {})

    double = {name: [one(dataset) for dataset in _BOTH] for name in ("ammonium", "waterTemperature")}
    return {**double, "dissolvedOxygen": [one(None) | {"sandreCode": {"type": "Property", "value": "1311"}}]}


async def _fill(client: httpx.AsyncClient, database: Database, size: int) -> None:
    for number in range(_ENTITIES):
        body = {"id": f"urn:ngsi-ld:Entity:{number}", "type": "Entity", **_first()}
        (await client.post(_API, json=body)).raise_for_status()
    async with database.transaction(ALL_TENANTS) as connection:
        keys = await (await connection.execute("select entity_key from entity_identity")).fetchall()
    for (key,) in keys:
        for first in range(1, size, _AT_ONCE):
            values = {"first": first, "last": min(first + _AT_ONCE, size) - 1, "key": key}
            async with database.transaction(ALL_TENANTS) as connection:
                await connection.execute(_COPIES, {**values, "step": _STEP, "begin": _BEGIN})
    async with database.transaction(ALL_TENANTS) as connection:
        await connection.execute("analyze")


@contextlib.asynccontextmanager
async def _served(bench: Bench, answers_mb: int | None) -> AsyncIterator[str]:
    """The hub on a port of its own; ``answers_mb`` is what it may keep of answers, None: as it is."""
    port = free_port()
    environment = {**bench.hub_environment(), "MINAMO_HTTP_PORT": str(port), "MINAMO_LOG_LEVEL": "warning"}
    if answers_mb is not None:
        environment["MINAMO_TEMPORAL_ANSWERS_MB"] = str(answers_mb)
    environment["MINAMO_TIMESCALE_COMPRESS_AFTER_DAYS"] = "3650"
    async with child("-m", "api.cli", "serve", environment=environment, log=bench.folder / "hub.log"):
        url = f"http://127.0.0.1:{port}"
        await answering(url + "/readyz", bench.folder / "hub.log")
        yield url


async def _ask_once(url: str) -> None:
    """Each question about one entity, so that plans are made and answers kept."""
    aggregates = [f"{_SINCE}&{_AGGREGATE}{method}" for method in _METHODS]
    forms = (*aggregates, f"{_SINCE}&options=temporalValues", _SINCE)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=120) as client:
        for form in forms:
            for number in range(_ENTITIES):
                (await client.get(f"{_API}/urn:ngsi-ld:Entity:{number}?{form}")).raise_for_status()


async def _measure(url: str, bench: Bench, name: str, path: str, given: argparse.Namespace) -> Rate:
    script = Path(bench.folder) / "shape.lua"
    script.write_text(f'math.randomseed(os.time())\nrequest = function() return wrk.format("GET", {path}) end\n')
    rate = await load(url, script, connections=given.connections, seconds=given.seconds)
    print(f"  {name:44} {rate.per_s:8,.0f}/s  p50 {rate.p50_ms:8.1f}  p99 {rate.p99_ms:8.1f} ms", end="", flush=True)
    return rate


async def _as_published(bench: Bench, size: int, given: argparse.Namespace) -> None:
    """Stellio's scenario as it ran it: 1,000 requests to a hub that has answered none before; mean of three runs."""
    rates, taken = [], []
    for run in range(_RUNS):
        chance = random.Random(run)
        paths = [
            f"{_API}/urn:ngsi-ld:Entity:{chance.randrange(_ENTITIES)}?{_SINCE}&{_AGGREGATE}{chance.choice(_METHODS)}"
            for _ in range(_REQUESTS)
        ]
        async with _served(bench, None) as url:
            seconds, each = await take(int(url.rpartition(":")[2]), paths, clients=given.connections)
        rates.append(_REQUESTS / seconds)
        taken += each
    rate, p95 = statistics.mean(rates), machine.percentiles(taken)["p95"] * 1000
    name = f"K6 aggregated, {_REQUESTS:,} requests from the start"
    print(f"  {name:44} {rate:8,.0f}/s  p95 {p95:8.1f} ms" + _compared(rate, size), flush=True)


def _compared(rate: float, size: int) -> str:
    published = _PUBLISHED.get(size)
    return f"   {rate / published:.1f} times Stellio's {published}/s" if published else ""


async def measure(store: str, size: int, given: argparse.Namespace) -> None:
    """Print requests/s of each shape with ``size`` instances of each dataset in one kind of store."""
    async with running_services(1, timescaledb="auto" if store == "timescale" else "off") as bench:
        database = Database(bench.services.database_url)
        await database.open()
        for answers_mb, kind in ((0, "computed"), (64, "kept")):
            async with _served(bench, answers_mb) as url:
                if not answers_mb:
                    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=120) as client:
                        await _fill(client, database, size)
                    print(f"{store}, {size:,} instances in each of 5 datasets of {_ENTITIES} entities", flush=True)
                    await _as_published(bench, size, given)
                    await _measure(url, bench, "floor: a request without history", _FLOOR, given)
                    print()
                await _ask_once(url)
                for name, path in _SHAPES.items():
                    if given.only not in name:
                        continue
                    if answers_mb and name.startswith("K7"):
                        continue  # what is about many entities is computed each time
                    rate = await _measure(url, bench, f"{name}, {kind}", path, given)
                    print(_compared(rate.per_s, size) if name == "K6 aggregated" else "")
        await database.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--store", choices=["native", "timescale"], action="append")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--only", default="", help="shapes with this in their name")
    given = parser.parse_args()
    print(machine.description(), flush=True)
    for store in given.store or ["native", "timescale"]:
        for size in given.instances:
            asyncio.run(measure(store, size, given))


if __name__ == "__main__":
    main()

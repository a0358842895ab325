# SPDX-License-Identifier: Apache-2.0
"""Stellio's K6 and K7: the temporal evolution of one entity, and of all of a type: ``python -m bench.evolutions``.

Ten entities of the template's three attributes (five datasets) with N instances each, 100 a second, as its k6 scenarios
leave them; 10 connections; plain values, ``temporalValues``, and an aggregate by the second. See README.md here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from bench import machine
from bench.http_load import load
from bench.services import Bench, answering, child, running_services
from broker.times import to_text
from tests.support.folders import free_port

_API: Final = "/ngsi-ld/v1/temporal/entities"
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(milliseconds=10)
_AT_ONCE: Final = 1000
_SINCE: Final = "timerel=after&timeAt=2023-01-01T00:00:00Z"
_BOTH: Final = ("urn:ngsi-ld:Dataset:Bottom", "urn:ngsi-ld:Dataset:Surface")
_AGGREGATE: Final = "options=aggregatedValues&aggrMethods=avg&aggrPeriodDuration=PT1S"
_SHAPES: Final = {
    "K6 aggregated": f'"{_API}/urn:ngsi-ld:Entity:" .. math.random(0, 9) .. "?{_SINCE}&{_AGGREGATE}"',
    "K6 temporalValues": f'"{_API}/urn:ngsi-ld:Entity:" .. math.random(0, 9) .. "?{_SINCE}&options=temporalValues"',
    "K6 plain": f'"{_API}/urn:ngsi-ld:Entity:" .. math.random(0, 9) .. "?{_SINCE}"',
    "K7 aggregated": f'"{_API}?type=Entity&attrs=dissolvedOxygen&{_SINCE}&{_AGGREGATE}"',
    "K7 temporalValues": f'"{_API}?type=Entity&attrs=dissolvedOxygen&{_SINCE}&options=temporalValues"',
}
_PUBLISHED: Final = {1_000: 137, 10_000: 86, 100_000: 42}
"""Stellio's requests/s for the aggregated history of one entity, on 8 virtual cores (its docs, September 2024)."""


def _instances(chance: random.Random, start: int, count: int) -> dict[str, list[dict[str, Any]]]:
    def one(place: int, dataset: str | None) -> dict[str, Any]:
        moment = to_text(_BEGIN + place * _STEP)
        instance = {"type": "Property", "value": round(chance.uniform(0, 100), 3), "unitCode": "M1"}
        return {**instance, "observedAt": moment, **({"datasetId": dataset} if dataset else {})}

    places = range(start, start + count)
    double = {
        name: [one(place, dataset) for place in places for dataset in _BOTH]
        for name in ("ammonium", "waterTemperature")
    }
    return {**double, "dissolvedOxygen": [one(place, None) for place in places]}


async def _fill(client: httpx.AsyncClient, size: int) -> None:
    chance = random.Random(2026)
    for number in range(10):
        for start in range(0, size, _AT_ONCE):
            body = {"id": f"urn:ngsi-ld:Entity:{number}", "type": "Entity"}
            body |= _instances(chance, start, min(_AT_ONCE, size - start))
            (await client.post(_API, json=body)).raise_for_status()


@contextlib.asynccontextmanager
async def _served(bench: Bench) -> AsyncIterator[str]:
    port = free_port()
    environment = {**bench.hub_environment(), "MINAMO_HTTP_PORT": str(port), "MINAMO_LOG_LEVEL": "warning"}
    environment["MINAMO_MAX_REQUEST_BYTES"] = str(64 * 1024 * 1024)
    async with child("-m", "api.cli", "serve", environment=environment, log=bench.folder / "hub.log"):
        url = f"http://127.0.0.1:{port}"
        await answering(url + "/readyz", bench.folder / "hub.log")
        yield url


async def measure(size: int, given: argparse.Namespace) -> None:
    """Print requests/s of each shape with ``size`` instances of each dataset."""
    async with running_services(1) as bench, _served(bench) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=120) as client:
            await _fill(client, size)
        for name, path in _SHAPES.items():
            script = Path(bench.folder) / "shape.lua"
            script.write_text(
                f'math.randomseed(os.time())\nrequest = function() return wrk.format("GET", {path}) end\n'
            )
            rate = await load(url, script, connections=given.connections, seconds=given.seconds)
            beside = ""
            if name == "K6 aggregated" and size in _PUBLISHED:
                beside = f"   published by Stellio {_PUBLISHED[size]}/s: {rate.per_s / _PUBLISHED[size]:.1f} times"
            print(
                f"{size:7,} instances  {name:18} {rate.per_s:8,.0f}/s  p50 {rate.p50_ms:.1f}  p99 {rate.p99_ms:.1f} ms"
                + beside,
                flush=True,
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=5)
    given = parser.parse_args()
    print(machine.description(), flush=True)
    for size in given.instances:
        asyncio.run(measure(size, given))


if __name__ == "__main__":
    main()

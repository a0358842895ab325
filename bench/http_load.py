# SPDX-License-Identifier: Apache-2.0
"""What is asked of the API in :mod:`bench.http_api`: the entities, and wrk with a script for each case.

The shapes are those of Stellio's k6 scenarios (template entity with eight attributes, two of them with two datasets).
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ENTITIES: Final = 10_000
TYPES: Final = 20
TARGETS: Final = 50  # entities that relationships point to
_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_REFUSED: Final = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_REQUESTS: Final = re.compile(r"(\d+) requests in")
_LATENCY: Final = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)\s*$", re.MULTILINE)
_UNIT_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_OBSERVED: Final = "2026-11-21T03:00:00Z"

# Seeds and what all scripts share: ids as the hub has them, the time, and the entity of the set-up.
_PRELUDE: Final = f"""
math.randomseed(os.time())
local entities, types, targets = {ENTITIES}, {TYPES}, {TARGETS}
local json = {{["Content-Type"] = "application/json"}}
local function id() return "urn:ngsi-ld:Station:" .. math.random(0, entities - 1) end
local function now() return os.date("!%Y-%m-%dT%H:%M:%S") .. string.format(".%03dZ", math.random(0, 999)) end
local function value() return string.format("%.3f", math.random() * 100) end
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request: what the hub is asked, what the bare application is, as bodies of ``request()`` in Lua.

    ``bare`` has the ceilings by name: ``one`` statement a request, ``many`` requests in one statement.
    """

    name: str
    hub: str
    bare: dict[str, str]
    prelude: str = ""

    def script(self, body: str) -> str:
        """The script for wrk."""
        return f"{_PRELUDE}{self.prelude}\nrequest = function()\n{body}\nend\n"


@dataclass(frozen=True, slots=True)
class Rate:
    """What wrk measured: requests/s, how many there were, the time of an answer in ms (median, 99th percentile)."""

    per_s: float
    requests: int
    p50_ms: float
    p99_ms: float


def entity(number: int, chance: random.Random) -> dict[str, Any]:
    """The template entity with its own values."""

    def measured(unit: str, dataset: str | None = None) -> dict[str, Any]:
        instance = {"type": "Property", "value": round(chance.uniform(0, 100), 3), "unitCode": unit}
        return instance | {"observedAt": _OBSERVED} | ({"datasetId": dataset} if dataset else {})

    both = ("urn:ngsi-ld:Dataset:Bottom", "urn:ngsi-ld:Dataset:Surface")
    return {
        "id": f"urn:ngsi-ld:Station:{number}",
        "type": f"Station{number % TYPES}",
        "name": {"type": "Property", "value": "大場川 三島大橋"},
        "description": {"type": "Property", "value": "River station with a level gauge and water quality probes"},
        "stationCode": {"type": "Property", "value": "BSS002JAWM"},
        "ammonium": [measured("M1", dataset) for dataset in both],
        "waterTemperature": [measured("CEL", dataset) for dataset in both],
        "dissolvedOxygen": {**measured("M1"), "sandreCode": {"type": "Property", "value": 1311}},
        "servesDataset": {"type": "Relationship", "object": f"urn:ngsi-ld:Dataset:{number % TARGETS}"},
        "location": {
            "type": "GeoProperty",
            "value": {"type": "Point", "coordinates": [138.9 + number / 1e5, 35.1 + (number % 977) / 1e4]},
        },
    }


def batches(size: int) -> Iterator[list[dict[str, Any]]]:
    """All entities of the set-up, ``size`` at a time; the same in every run."""
    chance = random.Random(2026)
    for start in range(0, ENTITIES, size):
        yield [entity(number, chance) for number in range(start, start + size)]


def have_wrk() -> bool:
    """Whether the load generator is installed."""
    return shutil.which("wrk") is not None


async def load(url: str, script: Path, *, connections: int, seconds: int) -> Rate:
    """Run wrk with ``script``; every request has to be answered with 2xx."""
    process = await asyncio.create_subprocess_exec(
        "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    rate, requests, refused = (pattern.search(output) for pattern in (_RATE, _REQUESTS, _REFUSED))
    assert rate is not None and requests is not None, output
    assert refused is None, f"{refused[1] if refused else ''} requests were refused by {url} ({script.name})"
    latency = {name: float(number) * _UNIT_MS[unit] for name, number, unit in _LATENCY.findall(output)}
    return Rate(float(rate[1]), int(requests[1]), latency["50"], latency["99"])

# SPDX-License-Identifier: Apache-2.0
"""Requests a second of the NGSI-LD API against a bare ASGI application: ``python -m bench.http_api``.

Hub and ceilings take turns on the same database under the same load. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, LiteralString

import httpx
import psycopg

from bench import machine
from bench.http_cases import CASES
from bench.http_load import Case, Rate, batches, have_wrk, load
from bench.services import Bench, answering, child, running_services
from tests.support.folders import free_port

TARGET: Final = 0.35
_SET_UP_BATCH: Final = 100
_IDLE_S: Final = 0.005  # what a request takes when nothing else is being done
_IDLE_ANSWERS: Final = 20

# The same entities without row-level security, history and events; the entities of the set-up alone.
_BARE: Final[LiteralString] = """
    create table bare_entity (id text primary key, types text[] not null, document jsonb not null)
      with (fillfactor = 70)
"""
_FILL: Final[LiteralString] = "insert into bare_entity select id, types, document from entity order by id"
_INDEX: Final[LiteralString] = "create index on bare_entity using gin (types)"
_ANALYZE: Final[LiteralString] = "vacuum analyze bare_entity"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; ``idle`` is what it answers quickly when it has nothing else to do."""

    url: str
    pid: int
    idle: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One load of a server, and the processor time of the server and of PostgreSQL, in us for each request."""

    rate: Rate
    server_us: float
    postgres_us: float


@contextlib.asynccontextmanager
async def _served(bench: Bench, profile: Path | None) -> AsyncIterator[dict[str, Server]]:
    """The hub and the bare application, both running."""
    hub_port, bare_port = free_port(), free_port()
    environment = {**bench.hub_environment(), "MINAMO_HTTP_PORT": str(hub_port), "MINAMO_LOG_LEVEL": "warning"}
    profiled = ["-m", "cProfile", "-o", str(profile)] if profile else []
    server = ["-m", "uvicorn", "bench.bare_asgi:app", "--port", str(bare_port), "--no-access-log"]
    server += ["--log-level", "warning", "--loop", "uvloop"]
    database = {"BENCH_DATABASE_URL": bench.services.database_url}
    async with (
        child(*profiled, "-m", "api.cli", "serve", environment=environment, log=bench.folder / "hub.log") as hub,
        child(*server, environment=database, log=bench.folder / "bare.log") as bare,
    ):
        servers = {
            "hub": Server(f"http://127.0.0.1:{hub_port}", hub.pid, "/readyz"),
            "bare": Server(f"http://127.0.0.1:{bare_port}", bare.pid, "/one/get/urn:ngsi-ld:Station:0"),
        }
        await answering(servers["hub"].url + servers["hub"].idle, bench.folder / "hub.log")
        await _fill(bench, servers["hub"].url)
        await answering(servers["bare"].url + servers["bare"].idle, bench.folder / "bare.log")
        yield servers


async def _idle(url: str) -> None:
    """Wait until a server has done what was asked of it: wrk goes without waiting for the last answers."""
    in_a_row = 0
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        while in_a_row < _IDLE_ANSWERS:
            started = time.perf_counter()
            await client.get(url)
            in_a_row = in_a_row + 1 if time.perf_counter() - started < _IDLE_S else 0
            await asyncio.sleep(_IDLE_S)


async def _fill(bench: Bench, hub: str) -> None:
    async with httpx.AsyncClient(base_url=hub, trust_env=False, timeout=60) as client:
        for entities in batches(_SET_UP_BATCH):
            (await client.post("/ngsi-ld/v1/entityOperations/create", json=entities)).raise_for_status()
    async with await psycopg.AsyncConnection.connect(bench.services.database_url, autocommit=True) as database:
        await database.execute("set search_path = minamo, public")
        await database.execute("set minamo.tenant = 0")
        for statement in (_BARE, _FILL, _INDEX, _ANALYZE, "vacuum analyze entity"):
            await database.execute(statement)


async def measure(given: argparse.Namespace) -> dict[str, dict[str, list[Measured]]]:
    """For each case what the ``hub`` did and what each ceiling did, a list of rounds."""
    chosen = [case for case in CASES if given.only in case.name]
    found: dict[str, dict[str, list[Measured]]] = {case.name: {} for case in chosen}
    async with running_services(1) as bench, _served(bench, given.profile) as servers:
        for number in range(given.rounds):
            for case in chosen:
                for name, rate in (await _round(case, bench, servers, given)).items():
                    found[case.name].setdefault(name, []).append(rate)
            print(f"round {number + 1} of {given.rounds}", flush=True)
    return found


async def _round(
    case: Case, bench: Bench, servers: dict[str, Server], given: argparse.Namespace
) -> dict[str, Measured]:
    measured = {}
    bodies = {"hub": case.hub} | ({} if given.profile else case.bare)
    for name, body in bodies.items():
        script = bench.folder / f"{name}.lua"
        script.write_text(case.script(body))
        server = servers["hub" if name == "hub" else "bare"]
        before = _cpu_s(server, bench)
        rate = await load(server.url, script, connections=given.connections, seconds=given.seconds)
        await _idle(server.url + server.idle)
        spent = (after - earlier for after, earlier in zip(_cpu_s(server, bench), before, strict=True))
        measured[name] = Measured(rate, *(seconds * 1e6 / rate.requests for seconds in spent))
    return measured


def _cpu_s(server: Server, bench: Bench) -> tuple[float, float]:
    """Processor time so far of the server and of PostgreSQL."""
    return machine.cpu_seconds([server.pid]), bench.server_cpu_s()["postgres"]


def report(found: dict[str, dict[str, list[Measured]]]) -> None:
    """Print medians, and the hub's ratio to each ceiling as the median of the rounds' ratios."""
    for case, rounds in found.items():
        hub = rounds["hub"]
        last = hub[-1].rate
        line = f"{case:24} hub {_told(hub)} (p50 {last.p50_ms:.1f}, p99 {last.p99_ms:.1f} ms)"
        for name, ceiling in rounds.items():
            if name != "hub":
                ratios = [one.rate.per_s / other.rate.per_s for one, other in zip(hub, ceiling, strict=True)]
                line += f"   bare, {name} {_told(ceiling)}: ratio {statistics.median(ratios):.2f}"
        print(line, flush=True)


def _told(rounds: list[Measured]) -> str:
    per_s, server, postgres = (
        statistics.median(getter(found) for found in rounds)
        for getter in (lambda found: found.rate.per_s, lambda found: found.server_us, lambda found: found.postgres_us)
    )
    return f"{per_s:7,.0f}/s, {server:,.0f} + {postgres:,.0f} us"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="the cases that have this in their name")
    parser.add_argument(
        "--profile", type=lambda name: Path(name).absolute(), help="only the hub, under cProfile (slower), into a file"
    )
    given = parser.parse_args()
    if not have_wrk():
        parser.error("wrk is not installed (apt-get install wrk)")
    os.environ.pop("http_proxy", None)
    print(machine.description(), flush=True)
    report(asyncio.run(measure(given)))
    print(f"target for GET and PATCH: {TARGET} of bare, many")


if __name__ == "__main__":
    main()

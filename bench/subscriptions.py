# SPDX-License-Identifier: Apache-2.0
"""Notifications under load with 10,000 subscriptions: ``python -m bench.subscriptions``. See README.md in this folder.

The number of notifications due is known beforehand: each update concerns exactly one subscription.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString

import httpx
import orjson
import psycopg

from bench import machine
from bench.alarms import Alarms, alarm_receiver
from bench.services import Bench, Child, answering, child, running_services
from bench.subscription_classes import CLASSES, entity, subscription
from broker.contexts.jsonld import core_terms
from broker.subscriptions import expand_subscription
from schemas.terms import CORE_CONTEXT
from tests.support.folders import free_port

TARGET_RATE: Final = 500
_LAST_NOTIFICATION_S: Final = 60.0  # longest wait for what is due after the last update
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Parts:
    """What a round runs with."""

    bench: Bench
    port: int
    processes: dict[str, Child]
    receivers: Child
    entities: int


@contextlib.asynccontextmanager
async def hub(
    bench: Bench, workers: int, profile: Path | None, webhook: str
) -> AsyncIterator[tuple[int, dict[str, Child]]]:
    """``minamo serve`` and ``minamo work`` as they are; the port, and the processes by name."""
    port = free_port()
    environment = {**bench.hub_environment(), "MINAMO_HTTP_PORT": str(port), "MINAMO_LOG_LEVEL": "warning"}
    environment["MINAMO_ALERT_WEBHOOKS"] = webhook
    async with contextlib.AsyncExitStack() as stack:
        log = bench.folder / "serve.log"
        serve = await stack.enter_async_context(child("-m", "api.cli", "serve", environment=environment, log=log))
        processes = {"serve": serve}
        await answering(f"http://127.0.0.1:{port}/readyz", log)
        for number in range(workers):
            health, log = free_port(), bench.folder / f"work{number}.log"
            profiled = ["-m", "cProfile", "-o", str(profile)] if profile and not number else []
            arguments = [*profiled, "-m", "api.cli", "work", "--health-port", str(health)]
            work = await stack.enter_async_context(child(*arguments, environment=environment, log=log))
            processes["work" if workers == 1 else f"work{number}"] = work
            await answering(f"http://127.0.0.1:{health}/readyz", log)
        yield port, processes


_INSERT: Final[LiteralString] = """
    insert into subscription (tenant_id, id, document, context, endpoint, created_at, modified_at, version)
    select 1, %s, %s::jsonb, %s::jsonb, %s, now(), now(), version from cache_version where name = 'subscriptions'
"""
_BUMP: Final[LiteralString] = "update cache_version set version = version + 1 where name = 'subscriptions'"


async def fill(bench: Bench, port: int, given: argparse.Namespace, ports: list[int]) -> None:
    """Make entities by the API, and subscriptions as the API would have written them, in one transaction."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:
        for start in range(0, given.entities, _AT_ONCE):
            entities = [entity(number) for number in range(start, min(start + _AT_ONCE, given.entities))]
            (await http.post("/ngsi-ld/v1/entityOperations/create", json=entities)).raise_for_status()
    rows = []
    for number in range(given.subscriptions):
        uri = f"http://127.0.0.1:{ports[number % len(CLASSES)]}/notify"
        document = orjson.dumps(expand_subscription(subscription(number, uri), core_terms())).decode()
        rows.append((f"urn:ngsi-ld:Subscription:{number}", document, orjson.dumps(CORE_CONTEXT).decode(), uri))
    async with await psycopg.AsyncConnection.connect(bench.services.database_url) as database:
        await database.execute("set search_path = minamo, public")
        await database.execute("set minamo.tenant = '0'")
        await database.execute(_BUMP)
        async with database.cursor() as cursor:
            await cursor.executemany(_INSERT, rows)


@dataclass(frozen=True, slots=True)
class Round:
    """What a rate led to."""

    rate: float
    accepted: int
    refused: int
    delivered: int
    repeated: int
    answer_ms: dict[str, float]
    latency_ms: dict[str, float]
    notifications_per_s: float
    cpu: dict[str, float]
    late_ms: float


async def measure(parts: Parts, rate: float, seconds: float, first: int) -> Round:
    """Updates at ``rate`` for so long, until all that is due has arrived."""
    arguments = ["--port", str(parts.port), "--entities", str(parts.entities), "--rate", str(rate)]
    told = parts.bench.folder / "updates.json"
    arguments += ["--seconds", str(seconds), "--first", str(first), "--report", str(told)]
    await _arrivals(parts)
    async with child("-m", "bench.paced_updates", *arguments) as sender:
        await sender.ready()
        began, spent, busy = time.monotonic(), _cpu(parts), machine.busy_seconds()
        sender.go()
        assert await sender.line(seconds + 120) == "done"
        await sender.gone()
    report = orjson.loads(told.read_bytes())
    sent: dict[int, float] = dict(report["at"])
    came, repeated, last = await _collect(parts, sent)
    span = time.monotonic() - began
    cpu = {name: (value - spent[name]) / span for name, value in _cpu(parts).items()}
    cpu["machine"] = (machine.busy_seconds() - busy) / span
    latencies = [came[number] - at for number, at in sent.items() if number in came]
    return Round(
        rate=rate,
        accepted=len(sent),
        refused=report["refused"],
        delivered=len(latencies),
        repeated=repeated,
        answer_ms=_ms(machine.percentiles(report["seconds"])),
        latency_ms=_ms(machine.percentiles(latencies)),
        notifications_per_s=len(latencies) / (last - began),
        cpu=cpu,
        late_ms=report["late"] * 1000,
    )


async def _collect(parts: Parts, sent: dict[int, float]) -> tuple[dict[int, float], int, float]:
    """When each update's notification came first, how many came again, and when the last one came."""
    came: dict[int, float] = {}
    repeated, last = 0, time.monotonic()
    quiet_since = time.monotonic()
    while len(came) < len(sent) and time.monotonic() - quiet_since < _LAST_NOTIFICATION_S:
        for kind, number, at in await _arrivals(parts):
            assert number % parts.entities % len(CLASSES) == kind, "a notification nobody asked for"
            repeated += number in came
            came.setdefault(number, at)
            last = quiet_since = time.monotonic()
        await asyncio.sleep(0.2)
    return came, repeated, max(came.values(), default=last)


async def _arrivals(parts: Parts) -> list[Any]:
    parts.receivers.go()
    return list((await parts.receivers.report())["arrivals"])


def _cpu(parts: Parts) -> dict[str, float]:
    own = {name: machine.cpu_seconds([process.pid]) for name, process in parts.processes.items()}
    return own | parts.bench.server_cpu_s()


def _ms(percentiles: dict[str, float]) -> dict[str, float]:
    return {name: seconds * 1000 for name, seconds in percentiles.items()}


def line(found: Round) -> str:
    """A round as text."""
    latency = "  ".join(f"{name} {value:,.0f}" for name, value in found.latency_ms.items())
    cpu = "  ".join(f"{name} {value:.2f}" for name, value in found.cpu.items() if value >= 0.01)
    return (
        f"{found.rate:5,.0f} updates/s: accepted {found.accepted}, refused {found.refused}, "
        f"delivered/due {found.delivered / max(found.accepted, 1):.4f} ({found.repeated} twice), "
        f"{found.notifications_per_s:,.0f} notifications/s\n"
        f"      event to arrival ms: {latency};  answer p99 {found.answer_ms['p99']:,.0f};  "
        f"sender late {found.late_ms:.0f}\n"
        f"      cores: {cpu}"
    )


async def run(given: argparse.Namespace) -> None:
    """All rates, one after the other."""
    async with (
        running_services(0) as bench,
        alarm_receiver() as (webhook, alarmed),
        hub(bench, given.workers, given.profile, webhook) as (port, processes),
        child("-m", "bench.notified") as receivers,
    ):
        ports = (await receivers.report())["ports"]
        await fill(bench, port, given, ports)
        parts = Parts(bench, port, processes, receivers, given.entities)
        alarms = Alarms(f"http://127.0.0.1:{port}")
        alarmed.status = alarms.on_webhook
        await alarms.set_up()
        first = 1
        for rate in [50.0, *given.rates]:
            async with alarms.ringing():
                found = await measure(parts, rate, given.seconds if rate != 50.0 else 5.0, first)
            first += int(rate * given.seconds) + given.entities
            print(("warm-up " if rate == 50.0 else "") + line(found), flush=True)
            latency = _ms(machine.percentiles(alarms.latencies()))
            figures = "  ".join(f"{name} {value:,.0f}" for name, value in latency.items())
            print(f"      alerts meanwhile, crossing to webhook ms: {figures}", flush=True)
        memory = {name: machine.memory_mb(process.pid)[1] for name, process in processes.items()}
        print("memory (PSS) MB: " + "  ".join(f"{name} {size:.0f}" for name, size in memory.items()))
    print(f"targets: delivered/due 1.0 at every rate, {TARGET_RATE} updates/s with 10,000 subscriptions held,")
    print("         p99 of alerts below 1,000 ms while notifications wait")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscriptions", type=int, default=10_000)
    parser.add_argument("--entities", type=int, default=1000)
    parser.add_argument("--rates", type=float, nargs="+", default=[100.0, 250.0, 500.0, 750.0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each rate")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--profile", type=Path, help="the first worker under cProfile (slower), into a file")
    given = parser.parse_args()
    assert given.entities % len(CLASSES) == 0, f"--entities has to be a multiple of {len(CLASSES)}"
    print(machine.description(), flush=True)
    asyncio.run(run(given))


if __name__ == "__main__":
    main()

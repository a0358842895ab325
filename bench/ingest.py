# SPDX-License-Identifier: Apache-2.0
"""How fast readings go from mosquitto to committed, against how fast paho can receive them: ``python -m bench.ingest``.

Ceiling and hub take turns under the same load from the same broker. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg

from bench import machine
from bench.device_formats import FORMATS
from bench.mqtt_load import JSON, device_key, level
from bench.services import WATER_LEVEL, Bench, Child, answering, child, running_services
from tests.support.folders import free_port

TARGET: Final = 0.60
DISTURBANCE: Final = 0.10  # share of the machine that others may take in a round
_MOST_ROUNDS: Final = 4  # times the number asked for, when rounds are disturbed
WARM_UP: Final = 2000  # messages before each round: entities made, statements prepared
_POLL_S: Final = 0.02
_ROUND_S: Final = 300.0
_CLIENT_ID: Final = "minamo-ingest"

# The number of the last change event: an index look-up, so that waiting for the end costs nothing.
_LAST_EVENT: Final[LiteralString] = "select coalesce(max(event_id), 0) from change_event"

# What a round left behind: history rows, change events, and the current level of each station.
_HISTORY: Final[LiteralString] = """
    select count(*) from attribute_instance i join term t on t.term_id = i.attribute_id
     where t.name = %s and i.observed_at >= %s and i.observed_at < %s
"""
_EVENTS: Final[LiteralString] = """
    select count(*) from change_event e join entity n using (entity_key)
     where e.event_id > %s and n.id like 'urn:ngsi-ld:WaterObserved:%%'
"""
_CURRENT: Final[LiteralString] = "select id, document -> %s -> '@none' from entity"


@dataclass(frozen=True, slots=True)
class Load:
    """One round: so many messages of so many devices, each device a reading a second from ``start`` on."""

    start: datetime
    count: int
    devices: int
    form: str = JSON

    @property
    def end(self) -> datetime:
        """Just after its last reading."""
        return self.start + timedelta(seconds=self.count // self.devices)

    def before(self, count: int) -> Load:
        """Another one that ends where it starts."""
        return replace(self, start=self.start - timedelta(seconds=count // self.devices), count=count)


@dataclass(frozen=True, slots=True)
class Result:
    """One round: messages, seconds from the first one sent to the last one done, processor seconds by process."""

    count: int
    seconds: float
    cpu_s: dict[str, float]

    @property
    def rate(self) -> float:
        """Messages/s."""
        return self.count / self.seconds

    @property
    def disturbed(self) -> bool:
        """Whether others took too much of the machine for the round to say anything about ours."""
        return self.cpu_s["others"] > DISTURBANCE * self.seconds * (os.cpu_count() or 1)


class Clock:
    """Counts the processor time of a round; ``others`` is what no part of the measurement has spent."""

    def __init__(self, bench: Bench, name: str, process: Child) -> None:
        self._bench, self._name, self._process = bench, name, process
        self._start: dict[str, float] = {}

    def start(self) -> None:
        """Count from now on."""
        self._start = self._now()

    def read(self, sent: dict[str, Any]) -> dict[str, float]:
        """Seconds by process; ``sent`` is the report of the sender."""
        spent = {name: seconds - self._start[name] for name, seconds in self._now().items()}
        spent["load"] = sent["cpu_s"]
        others = spent.pop("machine") - sum(spent.values())
        del spent["measuring"]
        return {**spent, "others": max(0.0, others)}

    def _now(self) -> dict[str, float]:
        own = {self._name: machine.cpu_seconds(machine.family(self._process.pid)), "measuring": time.process_time()}
        return {"machine": machine.busy_seconds(), **own, **self._bench.server_cpu_s()}


async def send(bench: Bench, load: Load, start: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Send ``load``; what the sender reports. ``start`` is called just before, when all is encoded."""
    arguments = ["--port", str(bench.services.mqtt.port), "--user", bench.user, "--count", str(load.count)]
    arguments += ["--devices", str(load.devices), "--start", str(load.start.timestamp()), "--format", load.form]
    environment = {"BENCH_MQTT_PASSWORD": bench.password}
    async with child("-m", "bench.mqtt_load", *arguments, environment=environment) as sender:
        await sender.ready()
        start()
        sender.go()
        report = await sender.report()
        await sender.gone()
        return report


async def ceiling_round(bench: Bench, load: Load, protocol: str) -> Result:
    """paho receives and parses, no more."""
    warm_up = load.before(WARM_UP)
    arguments = ["--port", str(bench.services.mqtt.port), "--user", bench.user, "--protocol", protocol]
    arguments += ["--count", str(warm_up.count), "--count", str(load.count)]
    environment = {"BENCH_MQTT_PASSWORD": bench.password}
    async with child("-m", "bench.ceiling", *arguments, environment=environment) as receiver:
        await receiver.ready()
        await send(bench, warm_up)
        await receiver.report()
        clock = Clock(bench, "receiver", receiver)
        sent = await send(bench, load, clock.start)
        received = await receiver.report()
        cpu_s = clock.read(sent)
    return Result(load.count, received["last"] - sent["first"], cpu_s)


async def hub_round(
    bench: Bench,
    load: Load,
    profile: Path | None = None,
    processes: int = 1,
    at_end: Callable[[Child], None] = lambda _: None,
) -> Result:
    """The real ingest process, or several; the round ends when all is committed, and everything is counted.

    ``at_end`` is given the process then.
    """
    warm_up = load.before(max(WARM_UP, load.devices))
    async with ingest_process(bench, profile, processes) as process, _database(bench) as database:
        base = await _last_event(database)
        await send(bench, warm_up)
        base = await _wait_for(database, base, warm_up)
        clock = Clock(bench, "ingest", process)
        sending = asyncio.create_task(send(bench, load, clock.start))
        await _wait_for(database, base, load)
        end = time.monotonic()
        sent = await sending
        cpu_s = clock.read(sent)
        at_end(process)
        await _check(database, load, base)
    bench.forget_session(_CLIENT_ID)
    return Result(load.count, end - sent["first"], cpu_s)


@contextlib.asynccontextmanager
async def ingest_process(bench: Bench, profile: Path | None = None, processes: int = 1) -> AsyncIterator[Child]:
    """``minamo ingest``, ready; with more than one of ``processes`` it receives, and so many others write."""
    port = free_port()
    profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
    log = bench.folder / "ingest.log"
    arguments = [*profiler, "-m", "api.cli", "ingest", "--health-port", str(port)]
    environment = {**bench.hub_environment(), "MINAMO_INGEST_PROCESSES": str(processes)}
    async with child(*arguments, environment=environment, log=log) as process:
        await answering(f"http://127.0.0.1:{port}/readyz", log)
        yield process


@contextlib.asynccontextmanager
async def _database(bench: Bench) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection that sees all tenants."""
    url = bench.services.database_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("set search_path = minamo, public")
        await connection.execute("set minamo.tenant = '0'")
        yield connection


async def _last_event(database: psycopg.AsyncConnection) -> int:
    row = await (await database.execute(_LAST_EVENT)).fetchone()
    assert row is not None
    return int(row[0])


async def _wait_for(database: psycopg.AsyncConnection, base: int, load: Load) -> int:
    """Wait until all of ``load`` is in history; the number of the last event.

    The number of events is asked first, because that costs nothing: there are as many at least, and others of devices.
    """
    async with asyncio.timeout(_ROUND_S):
        while await _last_event(database) < base + load.count:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(_POLL_S)
        while await _in_history(database, load) < load.count:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
    return await _last_event(database)


async def _in_history(database: psycopg.AsyncConnection, load: Load) -> int:
    row = await (await database.execute(_HISTORY, (WATER_LEVEL, load.start, load.end))).fetchone()
    assert row is not None
    return int(row[0])


async def _check(database: psycopg.AsyncConnection, load: Load, base: int) -> None:
    """Every reading is in history once, has its event, and the newest of each device is the current one."""
    history = await _in_history(database, load)
    events = await (await database.execute(_EVENTS, (base,))).fetchone()
    assert history == load.count, f"{history} history rows of {load.count}"
    assert events == (load.count,), f"{events} change events of {load.count}"
    rows: dict[str, Any] = dict(await (await database.execute(_CURRENT, (WATER_LEVEL,))).fetchall())
    for device in range(load.devices):
        number = load.count - load.devices + device
        key, expected = device_key(device, load.form), FORMATS[load.form].stored(level(number))
        current = rows[f"urn:ngsi-ld:WaterObserved:{key}"]
        assert current["value"] == expected, f"{key} is at {current}, not {expected}"
        assert datetime.fromisoformat(current["observedAt"]) == load.end - timedelta(seconds=1), current


async def measure(given: argparse.Namespace) -> list[tuple[Result, Result]]:
    """Rounds of the ceiling and of the hub in turn, until enough pairs of them were not disturbed."""
    pairs: list[tuple[Result, Result]] = []
    async with running_services(given.devices) as bench:
        await bench.make_log_files()
        load = Load(datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20), given.count, given.devices)
        while len(undisturbed(pairs)) < given.rounds and len(pairs) < _MOST_ROUNDS * given.rounds:
            ceiling = await ceiling_round(bench, load, given.ceiling_protocol)
            print(_line("ceiling", ceiling), flush=True)
            hub = await hub_round(bench, load, processes=given.processes)
            print(_line("hub", hub), flush=True)
            pairs.append((ceiling, hub))
            load = replace(load, start=load.end + timedelta(minutes=1))
    return pairs


def undisturbed(pairs: list[tuple[Result, Result]]) -> list[tuple[Result, Result]]:
    """Those in which the machine was ours."""
    return [pair for pair in pairs if not any(result.disturbed for result in pair)]


async def profile(given: argparse.Namespace) -> Result:
    """One round of the hub under cProfile."""
    async with running_services(given.devices) as bench:
        await bench.make_log_files()
        load = Load(datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20), given.count, given.devices)
        return await hub_round(bench, load, given.profile, given.processes)


def _line(name: str, result: Result) -> str:
    spent = "  ".join(f"{part} {seconds:.2f}" for part, seconds in sorted(result.cpu_s.items()))
    note = "   (disturbed)" if result.disturbed else ""
    return f"{name:15} {result.rate:8,.0f} messages/s   processor s: {spent}{note}"


def _median(results: list[Result]) -> Result:
    parts = results[0].cpu_s
    return Result(
        results[0].count,
        statistics.median(result.seconds for result in results),
        {part: statistics.median(result.cpu_s[part] for result in results) for part in parts},
    )


def report(pairs: list[tuple[Result, Result]]) -> None:
    """Print the medians and the ratio."""
    chosen = undisturbed(pairs)
    print(f"{len(chosen)} of {len(pairs)} pairs of rounds were undisturbed" + ("" if chosen else "; all are taken"))
    ceilings, hubs = zip(*(chosen or pairs), strict=True)
    ceiling, hub = _median(list(ceilings)), _median(list(hubs))
    print(_line("median ceiling", ceiling))
    print(_line("median hub", hub))
    ratios = ", ".join(f"{one.rate / other.rate:.2f}" for other, one in zip(ceilings, hubs, strict=True))
    print(f"ratio {hub.rate / ceiling.rate:.2f} (pairs: {ratios}); target {TARGET}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000, help="messages in a round, a multiple of --devices")
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1, help="that write (ingest_processes)")
    parser.add_argument("--ceiling-protocol", choices=["3.1.1", "5"], default="3.1.1", help="3.1.1 is the faster")
    parser.add_argument("--profile", type=Path, help="only one round of the hub, under cProfile (slower), into a file")
    given = parser.parse_args()
    for count in (given.count, WARM_UP):
        assert count % given.devices == 0, f"{count} messages are no multiple of --devices"
    print(machine.description(), flush=True)
    if given.profile:
        print(_line("hub, profiled", asyncio.run(profile(given))))
    else:
        report(asyncio.run(measure(given)))


if __name__ == "__main__":
    main()

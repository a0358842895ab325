# SPDX-License-Identifier: Apache-2.0
"""What the broker kept while ingest was away drains, and alerts come meanwhile: ``python -m bench.backlog``.

See README.md in this folder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg

from bench import machine
from bench.alarms import Alarms, alarm_receiver
from bench.ingest import Load, ingest_process, send
from bench.mqtt_load import device_key
from bench.paced_load import THRESHOLD
from bench.services import WATER_LEVEL, WATER_OBSERVED, Bench, Child, child, running_services
from bench.subscriptions import hub
from tests.support.receiver import Received

TARGET_S: Final = 1.0
FRESH: Final = 600  # devices that report while the others' backlog drains
_FRESH_PER_S: Final = 200.0  # every tenth crosses a threshold: within 30 s each device once, upwards
_LAST_ALERT_S: Final = 60.0
_STORED: Final = """
    select count(*) from attribute_instance i join term t on t.term_id = i.attribute_id
     where t.name = %s and i.observed_at >= %s and i.observed_at < %s
"""
_UNREAD: Final = """
    select (select coalesce(max(event_id), 0) from change_event) - last_event_id
      from change_consumer where name = 'alerts'
"""


@dataclass(slots=True)
class Fresh:
    """Crossings of devices that report now, one of each: when it was sent, and when the webhook of its station came.
    That may speak of a later reading of it, when that was seen first."""

    sent: dict[str, float] = field(default_factory=dict)
    came: dict[str, float] = field(default_factory=dict)

    def on_webhook(self, request: Received) -> int:
        """Note a webhook; answers 200."""
        alert = request.json
        self.came.setdefault(alert["entityId"], time.monotonic())
        return 200


@dataclass(frozen=True, slots=True)
class Drained:
    """When ingest was there again, when all was stored, when the alert rules had seen it; the longest queue of events
    they had."""

    began: float
    stored: float
    seen: float
    most_unread: int


async def put_rule(port: int) -> None:
    """A rule for all stations that raises and clears at once; the backlog stays below its threshold."""
    rule = {
        "name": {"ja": "計測用", "en": "Bench"},
        "entities": {"type": WATER_OBSERVED},
        "attribute": WATER_LEVEL,
        "levels": [{"stage": "caution", "threshold": THRESHOLD + 0.25}],
        "hysteresis": 0,
        "clearAfter": 0,
        "flapping": None,
    }
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:
        (await http.put("/api/v1/alert-rules/levels", json=rule)).raise_for_status()


@contextlib.asynccontextmanager
async def fresh_devices(bench: Bench, given: argparse.Namespace) -> AsyncIterator[Child]:
    """The devices that report while the backlog drains, ready to begin."""
    arguments = ["--port", str(bench.services.mqtt.port), "--user", bench.user, "--first", str(given.devices)]
    arguments += ["--devices", str(FRESH), "--rate", str(_FRESH_PER_S), "--seconds", str(given.seconds)]
    environment = {"BENCH_MQTT_PASSWORD": bench.password}
    async with child("-m", "bench.paced_load", *arguments, environment=environment) as sender:
        await sender.ready()
        yield sender


async def drain(bench: Bench, load: Load) -> Drained:
    """Watch until all of ``load`` is stored and the alert rules have seen it."""
    began, stored, most = time.monotonic(), 0.0, 0
    async with await psycopg.AsyncConnection.connect(bench.services.database_url, autocommit=True) as database:
        await database.execute("set search_path = minamo, public")
        await database.execute("set minamo.tenant = '0'")
        while True:
            row = await (await database.execute(_UNREAD)).fetchone()
            unread = int(row[0]) if row else 0
            most = max(most, unread)
            if not stored:
                row = await (await database.execute(_STORED, (WATER_LEVEL, load.start, load.end))).fetchone()
                stored = time.monotonic() if row and row[0] >= load.count else 0.0
            elif unread < _FRESH_PER_S:
                return Drained(began, stored, time.monotonic(), most)
            await asyncio.sleep(0.05)


async def run(given: argparse.Namespace) -> None:
    """One backlog."""
    load = Load(datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20), given.count, given.devices)
    fresh = Fresh()
    async with (
        running_services(given.devices + FRESH) as bench,
        alarm_receiver() as (webhook, receiver),
        hub(bench, 1, given.profile, webhook) as (port, processes),
    ):
        alarms = Alarms(f"http://127.0.0.1:{port}")

        def on_webhook(request: Received) -> int:
            alarms.on_webhook(request)
            return fresh.on_webhook(request)

        receiver.status = on_webhook
        await alarms.set_up()
        await put_rule(port)
        async with ingest_process(bench, processes=given.processes):
            await send(bench, _once_each(load, given.devices + FRESH))  # the session, and the entities
            await asyncio.sleep(1)
        await send(bench, load)
        async with (
            fresh_devices(bench, given) as sender,
            ingest_process(bench, processes=given.processes) as ingest,
            alarms.ringing(),
        ):
            sender.go()
            spent = machine.cpu_seconds([processes["work"].pid])
            drained = await drain(bench, load)
            spent = machine.cpu_seconds([processes["work"].pid]) - spent
            print(f"worker {spent:.1f} s of processor time until then", flush=True)
            memory = sum(machine.memory_mb(pid)[1] for pid in machine.family(ingest.pid))
            report = await sender.report(given.seconds + 60)
            fresh.sent = {_station(crossing): crossing["sent"] for crossing in report["crossings"]}
            await _all_came(fresh)
        say(load, drained, fresh, alarms, memory)


def _once_each(load: Load, devices: int) -> Load:
    """One message of each device, before ``load``."""
    return replace(load, devices=devices).before(devices)


def _station(crossing: dict[str, Any]) -> str:
    return f"urn:ngsi-ld:WaterObserved:{device_key(crossing['device'])}"


async def _all_came(fresh: Fresh) -> None:
    deadline = time.monotonic() + _LAST_ALERT_S
    while not fresh.came.keys() >= fresh.sent.keys() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


def say(load: Load, drained: Drained, fresh: Fresh, alarms: Alarms, memory_mb: float) -> None:
    """Print what was found; raises when an alert is missing."""
    seconds = drained.stored - drained.began
    print(f"{load.count} messages stored within {seconds:.1f} s: {load.count / seconds:,.0f}/s; ", end="")
    print(f"seen by the alert rules after {drained.seen - drained.began:.1f} s, at most {drained.most_unread} unread")
    print(f"ingest (PSS) {memory_mb:.0f} MB")
    missing = fresh.sent.keys() - fresh.came.keys()
    assert not missing, f"{len(missing)} of {len(fresh.sent)} alerts of fresh readings are missing"
    meanwhile = [fresh.came[key] - at for key, at in fresh.sent.items() if at < drained.seen]
    afterwards = [fresh.came[key] - at for key, at in fresh.sent.items() if at >= drained.seen]
    _latencies("by MQTT, meanwhile", meanwhile)
    _latencies("by MQTT, afterwards", afterwards)
    _latencies("by HTTP, all of it", alarms.latencies())


def _latencies(name: str, seconds: list[float]) -> None:
    if seconds:
        figures = "  ".join(f"{rank} {value * 1000:,.0f}" for rank, value in machine.percentiles(seconds).items())
        print(f"{name:20} {len(seconds)} alerts, ms: {figures}   target p99 below {TARGET_S * 1000:.0f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="messages in the backlog, a multiple of --devices")
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--processes", type=int, default=1, help="that write (ingest_processes)")
    parser.add_argument("--seconds", type=float, default=30.0, help="for which fresh readings are sent")
    parser.add_argument("--profile", type=Path, help="the worker under cProfile (slower), into a file")
    given = parser.parse_args()
    assert given.count % given.devices == 0, f"{given.count} messages are no multiple of --devices"
    print(machine.description(), flush=True)
    asyncio.run(run(given))


if __name__ == "__main__":
    main()

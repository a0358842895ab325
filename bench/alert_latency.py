# SPDX-License-Identifier: Apache-2.0
"""From a sensor's PUBLISH to the alert, in a whole hub under an even load: ``python -m bench.alert_latency``.

The alert is taken at both ends that staff and systems have: the stream of events and a webhook. See README.md in this
folder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from api.embedded.mosquitto_files import HUB_USER
from bench import machine
from bench.mqtt_load import device_key
from bench.paced_load import THRESHOLD
from bench.services import WATER_LEVEL, WATER_OBSERVED, child
from tests.support.hub_process import HubProcess, hub_process
from tests.support.receiver import Received, Receiver

TARGET_S: Final = 1.0
_LAST_ALERT_S: Final = 30.0  # longest wait for the alerts of the last readings
_ENTITY: Final = "urn:ngsi-ld:WaterObserved:"
_BULK_ANSWER_S: Final = 0.05  # that the receiver of bulk takes for each notification

# An alert: entity and time of the reading that decided.
Key = tuple[str, str]


@dataclass(slots=True)
class Arrivals:
    """When each alert came, by how it came (CLOCK_MONOTONIC)."""

    events: dict[Key, float] = field(default_factory=dict)
    webhooks: dict[Key, float] = field(default_factory=dict)

    def on_webhook(self, request: Received) -> int:
        """Note a webhook; answers 200."""
        self.webhooks.setdefault(_key(request.json), time.monotonic())
        return 200

    async def follow(self, url: str, connected: asyncio.Event) -> None:
        """Note what comes by the event stream until cancelled."""
        async with (
            httpx.AsyncClient(timeout=None, trust_env=False) as http,  # noqa: S113 - it is a stream
            http.stream("GET", f"{url}/api/v1/alerts/stream") as response,
        ):
            async for line in response.aiter_lines():
                if line.startswith("retry:"):
                    connected.set()
                if line.startswith("data:"):
                    self.events.setdefault(_key(json.loads(line[5:])), time.monotonic())

    async def wait_for(self, count: int) -> None:
        """Return when so many have come by both ways, or after a while."""
        deadline = time.monotonic() + _LAST_ALERT_S
        while min(len(self.events), len(self.webhooks)) < count and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def _key(alert: dict[str, Any]) -> Key:
    return alert["entityId"], alert["observedAt"]


def rules(count: int) -> dict[str, dict[str, Any]]:
    """The first ``count`` of five: one for all stations that raises and clears at once, others that never do."""
    stages = ("standby", "caution", "evacuation_decision", "danger", "overflow")
    high = [{"stage": stage, "threshold": 10.0 + number} for number, stage in enumerate(stages)]
    rise = {"rise": {"atLeast": 20.0, "over": 600}}
    reaches = {"reaches": {"threshold": 25.0, "within": 60, "over": 600}}
    members: dict[str, dict[str, Any]] = {
        # It goes up and down all the time.
        "bench": {
            "levels": [{"stage": "caution", "threshold": THRESHOLD}],
            "hysteresis": 0,
            "clearAfter": 0,
            "flapping": None,
        },
        "levels": {"levels": high},
        "silence": {"levels": high, "noData": {"after": 3600}},
        "rise": {"levels": [{"stage": "caution", "when": rise}]},
        "both": {"levels": [{"stage": "danger", "when": {"all": [{"level": {"atLeast": 5.0}}, reaches]}}]},
    }
    common = {"name": {"ja": "計測用", "en": "Bench"}, "entities": {"type": WATER_OBSERVED}, "attribute": WATER_LEVEL}
    return {name: common | own for name, own in list(members.items())[:count]}


def register(hub: HubProcess, given: argparse.Namespace, bulk: str) -> None:
    """The devices, the rules, and those who want everything, but not now, at the address ``bulk``."""
    for number in range(given.devices):
        key = device_key(number)
        attribute = {"field": "level", "attribute": WATER_LEVEL, "unitCode": "MTR", "minimum": -5, "maximum": 30}
        document = {"name": key, "entityId": _ENTITY + key, "entityType": WATER_OBSERVED, "attributes": [attribute]}
        hub.put(f"/api/v1/devices/{key}", document)
    for name, rule in rules(given.rules).items():
        hub.put(f"/api/v1/alert-rules/{name}", rule)
    for _ in range(given.bulk):
        endpoint = {"uri": bulk, "notifierInfo": [{"key": "Minamo-Priority", "value": "bulk"}]}
        subscription = {"type": "Subscription", "entities": [{"type": WATER_OBSERVED}], "notification": {}}
        subscription["notification"] = {"endpoint": endpoint}
        hub.http.post("/ngsi-ld/v1/subscriptions", json=subscription).raise_for_status()


async def run_load(hub: HubProcess, given: argparse.Namespace) -> dict[Key, float]:
    """Send the readings; when each crossing was sent."""
    password = json.loads((hub.data / "secrets.json").read_text())["mqtt_hub_password"]
    arguments = ["--port", str(hub.mqtt_port), "--user", HUB_USER, "--devices", str(given.devices)]
    arguments += ["--rate", str(given.rate), "--seconds", str(given.seconds)]
    arguments += ["--crossing-every", str(given.crossing_every)]
    environment = {"BENCH_MQTT_PASSWORD": password}
    async with child("-m", "bench.paced_load", *arguments, environment=environment) as sender:
        await sender.ready()
        sender.go()
        report = await sender.report(given.seconds + 60)
        await sender.gone()
    return {(_ENTITY + device_key(c["device"]), c["observedAt"]): c["sent"] for c in report["crossings"]}


@contextlib.asynccontextmanager
async def following(hub: HubProcess, arrivals: Arrivals) -> AsyncIterator[None]:
    """The event stream is followed within the block."""
    connected = asyncio.Event()
    task = asyncio.create_task(arrivals.follow(hub.url, connected))
    try:
        await asyncio.wait_for(connected.wait(), 30)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Found:
    """One run: when each crossing was sent, when its alerts came, processor seconds by part, what bulk had to wait."""

    sent: dict[Key, float]
    arrivals: Arrivals
    spent: dict[str, float]
    bulk_delivered: int
    bulk_waiting: int


def _spent(hub: HubProcess) -> dict[str, float]:
    """Processor seconds of the hub process, and of its PostgreSQL and mosquitto."""
    own = machine.cpu_seconds([hub.pid])
    children = [pid for pid in machine.family(hub.pid) if pid != hub.pid]
    return {"hub": own, "servers": machine.cpu_seconds(children)}


async def measure(given: argparse.Namespace) -> Found:
    """One run."""
    arrivals = Arrivals()
    async with Receiver() as receiver, Receiver() as bulk:
        receiver.status = arrivals.on_webhook
        bulk.delay_s = _BULK_ANSWER_S
        # Bulk piles up behind its receiver on purpose; nothing is to be refused for it.
        with hub_process(alert_webhooks=f"{receiver.url}/alerts", overload_pending="10000000") as hub:
            await asyncio.to_thread(register, hub, given, f"{bulk.url}/bulk")
            async with following(hub, arrivals):
                before = _spent(hub)
                sent = await run_load(hub, given)
                await arrivals.wait_for(len(sent))
                spent = {name: value - before[name] for name, value in _spent(hub).items()}
            waiting = hub.http.get("/api/v1/subscriptions").json()["subscriptions"]
    return Found(sent, arrivals, spent, len(bulk.accepted), sum(item["pending"] for item in waiting))


def report(name: str, sent: dict[Key, float], came: dict[Key, float]) -> None:
    """Print the latencies; raises when an alert is missing or nobody asked for it."""
    assert came.keys() == sent.keys(), f"{name}: {len(came)} alerts for {len(sent)} crossings"
    latencies = machine.percentiles([came[key] - at for key, at in sent.items()])
    figures = "  ".join(f"{rank} {seconds * 1000:.0f} ms" for rank, seconds in latencies.items())
    print(f"{name:12} {len(sent)} alerts: {figures}   target p99 below {TARGET_S * 1000:.0f} ms", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--rate", type=float, default=500.0, help="readings a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--crossing-every", type=int, default=10, help="readings")
    parser.add_argument("--rules", type=int, default=1, help="for each station, up to 5")
    parser.add_argument("--bulk", type=int, default=0, help="subscriptions of everything to a slow receiver")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    print(machine.description(), flush=True)
    for _ in range(given.rounds):
        began, busy = time.monotonic(), machine.busy_seconds()
        found = asyncio.run(measure(given))
        seconds = time.monotonic() - began
        readings = given.rate * given.seconds
        cost = "  ".join(f"{name} {spent / given.seconds:.2f}" for name, spent in found.spent.items())
        each = "  ".join(f"{name} {spent / readings * 1e6:.0f}" for name, spent in found.spent.items())
        print(f"cores: {cost}; machine {(machine.busy_seconds() - busy) / seconds:.2f}; us a reading: {each}")
        if given.bulk:
            print(f"bulk: {found.bulk_delivered} delivered, {found.bulk_waiting} wait")
        report("event stream", found.sent, found.arrivals.events)
        report("webhook", found.sent, found.arrivals.webhooks)


if __name__ == "__main__":
    main()

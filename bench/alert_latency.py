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


def register(hub: HubProcess, devices: int) -> None:
    """The devices, and one rule for all of them that raises and clears at once."""
    for number in range(devices):
        key = device_key(number)
        attribute = {"field": "level", "attribute": WATER_LEVEL, "unitCode": "MTR", "minimum": -5, "maximum": 30}
        document = {"name": key, "entityId": _ENTITY + key, "entityType": WATER_OBSERVED, "attributes": [attribute]}
        hub.put(f"/api/v1/devices/{key}", document)
    rule = {
        "name": {"ja": "計測用", "en": "Bench"},
        "entities": {"type": WATER_OBSERVED},
        "attribute": WATER_LEVEL,
        "levels": [{"stage": "caution", "threshold": THRESHOLD}],
        "hysteresis": 0,
        "clearAfter": 0,
        "flapping": None,  # it goes up and down all the time
    }
    hub.put("/api/v1/alert-rules/bench", rule)


async def run_load(hub: HubProcess, given: argparse.Namespace) -> dict[Key, float]:
    """Send the readings; when each crossing was sent."""
    password = json.loads((hub.data / "secrets.json").read_text())["mqtt_hub_password"]
    arguments = ["--port", str(hub.mqtt_port), "--user", HUB_USER, "--devices", str(given.devices)]
    arguments += ["--rate", str(given.rate), "--seconds", str(given.seconds)]
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


async def measure(given: argparse.Namespace) -> tuple[dict[Key, float], Arrivals, float]:
    """One run: when each crossing was sent, when its alerts came, processor seconds of the hub process."""
    arrivals = Arrivals()
    async with Receiver() as receiver:
        receiver.status = arrivals.on_webhook
        with hub_process(alert_webhooks=f"{receiver.url}/alerts") as hub:
            await asyncio.to_thread(register, hub, given.devices)
            async with following(hub, arrivals):
                spent = machine.cpu_seconds([hub.pid])
                sent = await run_load(hub, given)
                await arrivals.wait_for(len(sent))
                spent = machine.cpu_seconds([hub.pid]) - spent
    return sent, arrivals, spent


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
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    print(machine.description(), flush=True)
    for _ in range(given.rounds):
        began, busy = time.monotonic(), machine.busy_seconds()
        sent, arrivals, spent = asyncio.run(measure(given))
        seconds = time.monotonic() - began
        print(f"hub {spent / given.seconds:.2f} cores; machine {(machine.busy_seconds() - busy) / seconds:.2f} cores")
        report("event stream", sent, arrivals.events)
        report("webhook", sent, arrivals.webhooks)


if __name__ == "__main__":
    main()

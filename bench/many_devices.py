# SPDX-License-Identifier: Apache-2.0
"""Memory of ingest that knows many devices: ``python -m bench.many_devices``. See README.md in this folder."""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import UTC, datetime, timedelta

from bench import machine
from bench.ingest import Load, hub_round, ingest_process
from bench.services import Bench, Child, running_services


def memory_mb(process: Child) -> float:
    """PSS of a process and all its children."""
    return sum(machine.memory_mb(pid)[1] for pid in machine.family(process.pid))


async def at_rest(bench: Bench, given: argparse.Namespace) -> None:
    """How long the start takes, and what the registry alone needs."""
    began = time.monotonic()
    async with ingest_process(bench, processes=given.processes) as process:
        ready = time.monotonic() - began
        await asyncio.sleep(given.rest)
        print(f"ingest ready within {ready:.1f} s; at rest (PSS) {memory_mb(process):.0f} MB", flush=True)


async def run(given: argparse.Namespace) -> None:
    """The registry alone, then a reading of each device, and another one."""
    async with running_services(given.devices) as bench:
        print(f"{given.devices} devices", flush=True)
        await at_rest(bench, given)
        load = Load(datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20), 2 * given.devices, given.devices)
        found: list[float] = []
        result = await hub_round(
            bench, load, processes=given.processes, at_end=lambda process: found.append(memory_mb(process))
        )
        print(f"after three readings of each (PSS) {found[0]:.0f} MB; {result.rate:,.0f} messages/s", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=1, help="that write (ingest_processes)")
    parser.add_argument("--rest", type=float, default=10.0, help="seconds between ready and the measurement")
    given = parser.parse_args()
    print(machine.description(), flush=True)
    asyncio.run(run(given))


if __name__ == "__main__":
    main()

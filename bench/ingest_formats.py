# SPDX-License-Identifier: Apache-2.0
"""Ingest by format of the devices, with one and with two processes that write: ``python -m bench.ingest_formats``.

See README.md in this folder.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from bench import machine
from bench.device_formats import FORMATS
from bench.ingest import WARM_UP, Load, Result, hub_round
from bench.services import running_services


async def measure(given: argparse.Namespace) -> AsyncIterator[tuple[str, int, list[Result]]]:
    """The rounds of each format with each number of processes."""
    async with running_services(given.devices, given.format) as bench:
        await bench.make_log_files()
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20)
        for form in given.format:
            for processes in given.processes:
                results = []
                for _ in range(given.rounds):
                    load = Load(start, given.count, given.devices, form)
                    results.append(await hub_round(bench, load, processes=processes))
                    start = load.end + timedelta(minutes=1)
                yield form, processes, results


def line(form: str, processes: int, results: list[Result]) -> str:
    """The median rate, and the least processor time of a message: others can only add to it."""
    rate = statistics.median(result.rate for result in results)
    spent = {part: min(result.cpu_s[part] / result.count for result in results) for part in ("ingest", "postgres")}
    disturbed = sum(result.disturbed for result in results)
    note = f"   ({disturbed} of {len(results)} rounds disturbed)" if disturbed else ""
    cost = "  ".join(f"{part} {seconds * 1e6:.1f} us" for part, seconds in spent.items())
    return f"{form:15} {processes} processes {rate:8,.0f} messages/s   {cost} a message{note}"


async def run(given: argparse.Namespace) -> None:
    """Measure and print."""
    async for form, processes, results in measure(given):
        print(line(form, processes, results), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000, help="messages in a round, a multiple of --devices")
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", choices=FORMATS, action="append", help="may be given again; by default all")
    parser.add_argument("--processes", type=int, action="append", help="may be given again; by default 1 and 2")
    given = parser.parse_args()
    given.format = given.format or list(FORMATS)
    given.processes = given.processes or [1, 2]
    for count in (given.count, WARM_UP):
        assert count % given.devices == 0, f"{count} messages are no multiple of --devices"
    print(machine.description(), flush=True)
    asyncio.run(run(given))


if __name__ == "__main__":
    main()

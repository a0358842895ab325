# SPDX-License-Identifier: Apache-2.0
"""Memory of a hub at rest: ``python -m bench.memory``. See README.md in this folder."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Final

from bench import machine
from tests.support.hub_process import HubProcess, hub_process

TARGET_MB: Final = 200


def measure(hub: HubProcess) -> dict[str, tuple[float, float]]:
    """(RSS, PSS) in MB of the hub, of the sum of all PostgreSQL processes, and of mosquitto.

    The RSS of PostgreSQL counts its shared memory once for each process; the PSS counts it once.
    """
    servers = {name: machine.family(hub.child_pid(name)) for name in ("postgres", "mosquitto")}
    found = {"hub": machine.memory_mb(hub.pid)}
    for name, pids in servers.items():
        parts = [machine.memory_mb(pid) for pid in pids if Path(f"/proc/{pid}").exists()]
        found[name] = sum(rss for rss, _ in parts), sum(pss for _, pss in parts)
    return found


def main() -> None:
    """Start a hub several times, let it rest, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rest", type=float, default=10.0, help="seconds between ready and the measurement")
    given = parser.parse_args()
    print(machine.description(), flush=True)
    rounds = []
    for _ in range(given.rounds):
        with hub_process() as hub:
            time.sleep(given.rest)
            rounds.append(measure(hub))
    for name in rounds[0]:
        rss, pss = (statistics.median(found[name][kind] for found in rounds) for kind in (0, 1))
        target = f"; target below {TARGET_MB}" if name == "hub" else ""
        print(f"{name:10} RSS {rss:6.0f} MB   PSS {pss:6.0f} MB{target}", flush=True)


if __name__ == "__main__":
    main()

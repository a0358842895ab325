# SPDX-License-Identifier: Apache-2.0
"""``./run bench``: all benchmarks one after the other, or those named (``ingest``, ``http_api`` ...)."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "ingest",
    "ingest_formats",
    "backlog",
    "many_devices",
    "http_api",
    "subscriptions",
    "alert_latency",
    "alert_rules",
    "memory",
    "history",
    "evolutions",
    "history_import",
    "quality",
)
ALIASES = {"import": "history_import"}


def main(names: list[str]) -> int:
    """Run each in a process of its own; returns how many failed."""
    names = [ALIASES.get(name, name) for name in names]
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"{unknown[0]} is none of {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    commands = [[sys.executable, "-m", f"bench.{name}"] for name in names or BENCHMARKS]
    return sum(subprocess.run(command, check=False).returncode != 0 for command in commands)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

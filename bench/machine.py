# SPDX-License-Identifier: Apache-2.0
"""What the kernel says about processes and the machine: processor time, memory, what it is."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_KIB_PER_MB: Final = 1000 * 1000 / 1024  # megabytes of 1,000,000 bytes, as the target is given


def description() -> str:
    """``2 cores (AMD EPYC ...), Debian GNU/Linux 12, Python 3.11.7, load 0.5``."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "unknown")
    system = next((line for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME=")), "=?")
    name = system.split("=")[1].strip('"')
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores ({model}), {name}, Python {platform.python_version()}, load at the start {load:.1f}"


def family(pid: int) -> list[int]:
    """``pid`` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
            except OSError:
                continue
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time, user and system, of processes and of the children they have waited for."""
    total = 0
    for pid in pids:
        try:
            total += sum(int(field) for field in _stat(pid)[11:15])
        except OSError:
            continue
    return total / _TICKS_PER_S


def busy_seconds() -> float:
    """Processor time that the whole machine has spent, or that was stolen from it (by other guests of its host)."""
    user, nice, system, _idle, _wait, interrupts, soft_interrupts, stolen = map(
        int, _lines("/proc/stat")[0].split()[1:9]
    )
    return (user + nice + system + interrupts + soft_interrupts + stolen) / _TICKS_PER_S


def memory_mb(pid: int) -> tuple[float, float]:
    """(RSS, PSS) of a process in megabytes. PSS divides shared pages among those who share them."""
    members = {line.split(":")[0]: line.split()[1] for line in _lines(f"/proc/{pid}/smaps_rollup") if " kB" in line}
    return int(members["Rss"]) / _KIB_PER_MB, int(members["Pss"]) / _KIB_PER_MB


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and max (nearest rank)."""
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]

    return {"p50": statistics.median(ordered), "p95": rank(0.95), "p99": rank(0.99), "max": ordered[-1]}


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (the second, the name, may hold blanks)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()

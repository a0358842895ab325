# SPDX-License-Identifier: Apache-2.0
"""Temporary data folders that servers under other users can reach (pytest's own ones are closed to them)."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a file system, not a file
_ROOM: Final = 2 * 1024**3  # bytes: several times what the databases of a test run need


@contextmanager
def temporary_folder(*, in_memory: bool = False) -> Iterator[Path]:
    """A folder with mode 0755 that is gone afterwards; ``in_memory`` where the machine has the room."""
    base = _MEMORY if in_memory and _has_room(_MEMORY) else None
    path = Path(tempfile.mkdtemp(prefix="minamo-test-", dir=base))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _has_room(memory: Path) -> bool:
    """Whether this file system in memory can be filled so far without bringing the machine into need."""
    try:
        return min(shutil.disk_usage(memory).free, _available_memory()) > _ROOM
    except OSError:
        return False


def _available_memory() -> int:
    """Bytes that programs could still take, as the kernel estimates; 0 when it does not tell."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port

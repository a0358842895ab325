# SPDX-License-Identifier: Apache-2.0
"""The configuration file of the embedded PostgreSQL. Written anew at each start; ``operator.conf`` beside it is the
operator's own and wins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from api.embedded.programs import PostgresPrograms

_MIB: Final = 1024 * 1024
_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def server_settings(
    programs: PostgresPrograms,
    *,
    socket_folder: Path,
    port: int,
    timescaledb: bool,
    shared_buffers_mb: int | None,
    options: Mapping[str, str],
) -> str:
    """The text of ``postgresql.conf``."""
    memory_mb = machine_memory_mb()
    buffers_mb = shared_buffers_mb or min(max(memory_mb // 32, 64), 512)
    values = {
        "cluster_name": "minamo",
        "listen_addresses": "",
        "port": str(port),
        "unix_socket_directories": _in_list(str(socket_folder)),
        "unix_socket_permissions": "0700",
        "max_connections": "60",
        "shared_buffers": f"{buffers_mb}MB",
        "effective_cache_size": f"{max(memory_mb // 2, buffers_mb)}MB",
        "work_mem": "8MB",
        "maintenance_work_mem": "64MB",
        "max_wal_size": "1GB",
        "min_wal_size": "1GB",  # a flood finds the files of the log that the last one made: filling new ones is work
        "wal_compression": "lz4" if programs.has_lz4 and programs.version >= 15 else "on",
        "default_toast_compression": "lz4" if programs.has_lz4 else "pglz",
        # An acknowledged reading is durable: no commit returns before its log is on disk.
        "synchronous_commit": "on",
        "checkpoint_timeout": "10min",
        "random_page_cost": "1.1",
        "jit": "off",  # statements are short; compiling them costs more than it gains
        "max_locks_per_transaction": "256",  # a statement over the whole history locks each partition
        "autovacuum_naptime": "20s",  # the current state is updated all the time
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_checkpoints": "off",
        "lc_messages": "C",
    }
    if timescaledb:
        values |= {
            "shared_preload_libraries": "timescaledb",
            "timescaledb.telemetry_level": "off",  # nothing of ours calls home
            "timescaledb.max_background_workers": "8",
            "max_worker_processes": "20",
        }
    lines = [
        "# Written by Minamo at each start. Your own settings go into operator.conf in this folder; they win.",
        *(f"{name} = {_quoted(value)}" for name, value in (values | dict(options)).items()),
        "include_if_exists = 'operator.conf'",
    ]
    return "\n".join(lines) + "\n"


def machine_memory_mb() -> int:
    """Memory of the machine, or of the container when that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = int(_CGROUP_LIMIT.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        limit = total
    return min(total, limit) // _MIB


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _in_list(value: str) -> str:
    """An item of a list-valued setting: commas, blanks and capital letters in it survive within double quotes."""
    return '"' + value.replace('"', '""') + '"'

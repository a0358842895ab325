# SPDX-License-Identifier: Apache-2.0
"""A role of the hub as a process of its own on a test's database: to be killed, or to be one of several."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from .folders import free_port

_READY_WITHIN_S = 60.0


class WorkProcess:
    """A running worker, or another role."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def children(self) -> list[int]:
        """The processes it has started, oldest first."""
        return [
            int(pid) for pid in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        ]

    def kill(self) -> None:
        """SIGKILL, at once."""
        self._process.kill()

    async def end(self) -> None:
        """Ask it to end, if it still runs, and wait until it has."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()


@asynccontextmanager
async def work_process(database_url: str, role: str = "work", **settings: str) -> AsyncIterator[WorkProcess]:
    """A worker, or another role, that is ready; ``settings`` differ from the defaults."""
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINAMO_")}
    given = {"database_url": database_url, "delivery_backoff_max_s": "1", "log_level": "warning", **settings}
    environment = inherited | {f"MINAMO_{name.upper()}": value for name, value in given.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api.cli", role, "--health-port", str(port), env=environment
    )
    worker = WorkProcess(process)
    try:
        await _ready(process, f"http://127.0.0.1:{port}/readyz")
        yield worker
    finally:
        await worker.end()


async def _ready(process: asyncio.subprocess.Process, url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(_READY_WITHIN_S):
        while True:
            assert process.returncode is None, f"the process ended with {process.returncode}"
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url)).is_success:
                    return
            await asyncio.sleep(0.05)

# SPDX-License-Identifier: Apache-2.0
"""Other processes seen from outside: is it alive, whose is it, wait until it is gone, end it.

Used for servers that an earlier hub left running: they are not our children, so they are recognised by facts of
``/proc`` (never by a process id from a file alone: ids are reused) and watched through a pidfd.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

StopSteps = Sequence[tuple[signal.Signals, float]]
"""Signals to send one after the other, each with the seconds to wait for the end before the next."""

_POLL_S: Final = 0.05


def is_alive(pid: int) -> bool:
    """Whether the process runs. One that ended and was not collected by its parent (a zombie) does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"


def working_folder(pid: int) -> Path | None:
    """The current folder of a process, or None when it ended or belongs to somebody else."""
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd"))  # noqa: PTH115 - the link may be to a folder that is gone
    except OSError:
        return None


def program_name(pid: int) -> str:
    """The file name of the program a process runs; empty when it ended or belongs to somebody else."""
    try:
        # " (deleted)" follows when a package upgrade replaced the file.
        return Path(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")).name  # noqa: PTH115
    except OSError:
        return ""


def arguments(pid: int) -> list[str]:
    """The command line of a process; empty when it ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def all_pids() -> Iterator[int]:
    """The ids of all processes at this moment."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def working_in(folder: Path, program: str) -> list[int]:
    """Living processes of ``program`` whose current folder is ``folder``.

    Each PostgreSQL process works in its data folder; somebody's shell that happens to be there is not meant.
    """
    wanted = folder.resolve()
    return [pid for pid in all_pids() if working_folder(pid) == wanted and _runs(pid, program)]


def started_with(argument: str, program: str) -> list[int]:
    """Living processes of ``program`` with ``argument`` (a path that only we use) on their command line."""
    return [pid for pid in all_pids() if argument in arguments(pid) and _runs(pid, program)]


def _runs(pid: int, program: str) -> bool:
    return program_name(pid) == program and is_alive(pid)


async def wait_for_end(pid: int) -> None:
    """Return when the process has ended; it need not be our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:  # an old kernel, or a sandbox that does not let us
        while is_alive(pid):  # noqa: ASYNC110 - nothing tells us, so we have to look
            await asyncio.sleep(_POLL_S)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def end_processes(pids: Iterable[int], steps: StopSteps) -> bool:
    """End processes by the steps given; True when all are gone.

    The caller has made sure that they are ours. Signals are sent through pidfds where possible, so that an id that
    is reused between check and signal is not hit.
    """
    remaining = [pid for pid in pids if is_alive(pid)]
    for number, seconds in steps:
        for pid in remaining:
            _send(pid, number)
        waiting = [asyncio.create_task(wait_for_end(pid)) for pid in remaining]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        remaining = [pid for pid in remaining if is_alive(pid)]
        if not remaining:
            return True
    return not remaining


def _send(pid: int, number: signal.Signals) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:
        os.kill(pid, number)
        return
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)

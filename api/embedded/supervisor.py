# SPDX-License-Identifier: Apache-2.0
"""Keeps one child process running: start, wait until it answers, watch, start again with growing pauses, stop.

Children get a session of their own, so that Ctrl-C in the terminal reaches the hub only and the hub stops them in
order. They write to a log file, not to a pipe: a pipe would fill up and block them when the hub is busy, and break
when it dies.

Should the hub be ended with SIGKILL, the kernel sends each child the signal of a clean stop (PR_SET_PDEATHSIG, set by
``setpriv`` between fork and exec: running Python there, as ``preexec_fn`` does, can deadlock in a process with
threads). That is a convenience, not what recovery rests on: the next start looks for what was left over in any case.
The kernel means the *thread* that forked, so a supervisor has to run in a thread that lives as long as the hub:
the main one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Final, Protocol

from api.embedded.processes import StopSteps, end_processes, wait_for_end
from api.embedded.texts import StartFailed, Text
from api.embedded.users import SystemUser
from api.logs import get_logger

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 30.0
SETTLED_AFTER_S: Final = 60.0  # a run of this length was a good one: the pauses begin small again
LOG_LIMIT_BYTES: Final = 10 * 1024 * 1024
LOG_CHECK_S: Final = 60.0
_LOG_TAIL_LINES: Final = 15

log = get_logger(__name__)


class ChildState(StrEnum):
    """Where a supervised process is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run: command, user, folder, environment, and how to stop it."""

    command: tuple[str, ...]
    user: SystemUser
    folder: Path
    log_file: Path
    stop_steps: StopSteps
    environment: Mapping[str, str] = field(default_factory=dict)


class Service(Protocol):
    """One kind of server, as the supervisor sees it."""

    @property
    def name(self) -> str:
        """Short name for logs and status."""

    @property
    def start_timeout_s(self) -> float:
        """How long a living process may take until it answers."""

    async def prepare(self) -> Launch:
        """Clean up what an earlier run left, write what the server reads; runs before each start and restart."""

    async def answers(self) -> bool:
        """Whether the server does its work now."""


class Supervisor:
    """Runs one service from :meth:`start` to :meth:`stop`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._child: subprocess.Popen[bytes] | None = None
        self._launch: Launch | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.state = ChildState.STOPPED
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The id of the running child."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def start(self) -> None:
        """Start and return when the service answers. Raises StartFailed; nothing is left running then."""
        self.state = ChildState.STARTING
        try:
            await self._run_once()
        except BaseException:
            await self._end_child()
            self.state = ChildState.STOPPED
            raise
        self._watcher = asyncio.create_task(self._watch(), name=f"watch {self._service.name}")

    async def stop(self) -> None:
        """Stop for good; returns when the process is gone. May be called at any time, also twice."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        await self._end_child()
        self.state = ChildState.STOPPED

    def send_signal(self, number: signal.Signals) -> bool:
        """Send a signal to the running child; False when there is none now."""
        if self._child is None or self._child.poll() is not None:
            return False
        self._child.send_signal(number)
        return True

    async def _run_once(self) -> None:
        launch = await self._service.prepare()
        self._launch = launch
        await asyncio.to_thread(rotate_log, launch.log_file)
        log_start = launch.log_file.stat().st_size if launch.log_file.exists() else 0
        self._child = _spawn(launch)
        started = time.monotonic()
        while not await self._service.answers():
            ended = self._child.poll() is not None
            if ended or time.monotonic() - started > self._service.start_timeout_s:
                raise StartFailed(self._failure(launch, ended, log_start))
            await asyncio.sleep(0.02 if time.monotonic() - started < 1 else 0.2)
        self.state = ChildState.RUNNING
        log.info("child_started", child=self._service.name, pid=self._child.pid)

    def _failure(self, launch: Launch, ended: bool, log_start: int) -> Text:
        code = self._child.returncode if self._child else None
        en = f"ended with code {code}" if ended else f"did not answer in {self._service.start_timeout_s:.0f} s"
        ja = f"が終了しました（コード {code}）" if ended else "が時間内に応答しません"
        tail = log_tail(launch.log_file, log_start)
        name = self._service.name
        return Text(f"{name} {ja}: {launch.log_file}\n{tail}", f"{name} {en}: {launch.log_file}\n{tail}")

    async def _watch(self) -> None:
        """Start the child again whenever it ends, until cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            await self._wait_for_child()
            if time.monotonic() - began > SETTLED_AFTER_S:
                pause = FIRST_PAUSE_S
            code = self._child.returncode if self._child else None
            self.state = ChildState.RESTARTING
            log.error("child_ended", child=self._service.name, code=code, restart_in_s=pause)
            while True:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                try:
                    await self._run_once()
                    self.restarts += 1
                    break
                except Exception as error:  # noqa: BLE001 - whatever it was, the next try may succeed
                    await self._end_child()
                    log.error("child_restart_failed", child=self._service.name, error=str(error), next_try_in_s=pause)

    async def _wait_for_child(self) -> None:
        """Return when the child has ended; meanwhile keep its log file from growing without limit."""
        child, launch = self._child, self._launch
        assert child is not None and launch is not None  # noqa: S101 - set by _run_once
        ending = asyncio.create_task(wait_for_end(child.pid))
        try:
            while not (await asyncio.wait({ending}, timeout=LOG_CHECK_S))[0]:
                await asyncio.to_thread(rotate_log, launch.log_file)
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
        child.wait()

    async def _end_child(self) -> None:
        child, launch = self._child, self._launch
        if child is None or launch is None:
            return
        if child.poll() is None:
            await _finish(end_processes([child.pid], launch.stop_steps))
            child.wait(timeout=5)
            log.info("child_stopped", child=self._service.name, code=child.returncode)
        self._child = None


async def _finish(work: Coroutine[None, None, object]) -> None:
    """Carry ``work`` to its end even when we are cancelled meanwhile (a second Ctrl-C), then be cancelled.

    Half-stopped servers would be left behind otherwise. The steps of stopping bound the time.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


def _spawn(launch: Launch) -> subprocess.Popen[bytes]:
    """Run the command as the right user, in a session of its own, tied to our life where ``setpriv`` is there.

    subprocess and not asyncio's: uvloop's version cannot change the user, and the pidfd does the waiting.
    """
    launch.log_file.parent.mkdir(parents=True, exist_ok=True)
    wrapper, identity = _wrapper(launch)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": "UTC", **launch.environment}
    with _open_log(launch.log_file) as output:
        return subprocess.Popen(
            [*wrapper, *launch.command],
            cwd=launch.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
        )


def _wrapper(launch: Launch) -> tuple[list[str], SystemUser | None]:
    """A command to put in front, and the user to become when that command does not do it."""
    change = None if launch.user.is_current else launch.user
    program = shutil.which("setpriv")
    if program is None:
        return [], change
    first_signal = launch.stop_steps[0][0]
    options = ["--pdeathsig", first_signal.name.removeprefix("SIG")]
    if change is not None:
        # The user has to change before the death signal is set, or the kernel forgets it; setpriv does so.
        options += [f"--reuid={change.uid}", f"--regid={change.gid}", "--clear-groups"]
    return [program, *options], None


def _open_log(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    return os.fdopen(descriptor, "wb", buffering=0)


def rotate_log(path: Path, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Move a log that grew past the limit to ``<name>.1``.

    Copied and emptied, not renamed: the child keeps its descriptor, and because that appends, it goes on at the start.
    """
    if path.exists() and path.stat().st_size > limit_bytes:
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)


def log_tail(path: Path, start: int = 0) -> str:
    """The last lines that were written after position ``start``."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
    except OSError:
        return ""

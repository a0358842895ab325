# SPDX-License-Identifier: Apache-2.0
"""The supervisor, with small programs in the place of servers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from api.embedded import supervisor as supervisor_module
from api.embedded.processes import StopSteps, is_alive
from api.embedded.supervisor import ChildState, Launch, Supervisor, log_tail, rotate_log
from api.embedded.texts import StartFailed
from api.embedded.users import current_user

SLEEPER = "import pathlib, time; pathlib.Path('ready').touch(); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER


class Program:
    """A service whose process says that it is ready with a file."""

    name = "program"
    start_timeout_s = 5.0

    def __init__(
        self, folder: Path, code: str, steps: StopSteps = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
    ) -> None:
        self.folder = folder
        self.code = code
        self.steps = steps
        self.starts = 0

    async def prepare(self) -> Launch:
        self.starts += 1
        (self.folder / "ready").unlink(missing_ok=True)
        command = (sys.executable, "-c", self.code)
        return Launch(command, current_user(), self.folder, self.folder / "log", self.steps)

    async def answers(self) -> bool:
        return (self.folder / "ready").exists()


async def until_running(supervisor: Supervisor, restarts: int) -> None:
    async with asyncio.timeout(10):
        while supervisor.restarts < restarts or supervisor.state is not ChildState.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_PAUSE_S", 0.01)


async def test_it_runs_until_stopped(tmp_path: Path) -> None:
    supervisor = Supervisor(Program(tmp_path, SLEEPER))
    await supervisor.start()
    pid = supervisor.pid
    assert pid is not None
    assert is_alive(pid)
    await supervisor.stop()
    assert (supervisor.pid, supervisor.state, is_alive(pid)) == (None, ChildState.STOPPED, False)


async def test_a_child_that_is_killed_is_started_again(tmp_path: Path) -> None:
    program = Program(tmp_path, SLEEPER)
    supervisor = Supervisor(program)
    await supervisor.start()
    first = supervisor.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until_running(supervisor, restarts=1)
    assert supervisor.pid != first
    assert program.starts == 2
    await supervisor.stop()


async def test_it_goes_on_trying_when_a_restart_fails(tmp_path: Path) -> None:
    program = Program(tmp_path, SLEEPER)
    supervisor = Supervisor(program)
    await supervisor.start()
    program.code = "raise SystemExit(3)"
    assert supervisor.pid is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while program.starts < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert supervisor.state is ChildState.RESTARTING
    program.code = SLEEPER
    await until_running(supervisor, restarts=1)
    await supervisor.stop()


async def test_a_first_start_that_fails_shows_the_end_of_the_log(tmp_path: Path) -> None:
    supervisor = Supervisor(Program(tmp_path, "raise SystemExit('disk is full')"))
    with pytest.raises(StartFailed, match=r"ended with code 1(?s:.*)disk is full"):
        await supervisor.start()
    assert supervisor.pid is None


async def test_a_child_that_never_answers_is_ended(tmp_path: Path) -> None:
    program = Program(tmp_path, "import time; time.sleep(60)")
    program.start_timeout_s = 0.2
    supervisor = Supervisor(program)
    with pytest.raises(StartFailed, match="did not answer"):
        await supervisor.start()
    assert supervisor.pid is None


async def test_a_child_that_ignores_the_first_signal_is_ended_by_the_next(tmp_path: Path) -> None:
    supervisor = Supervisor(Program(tmp_path, STUBBORN, ((signal.SIGTERM, 0.1), (signal.SIGKILL, 5.0))))
    await supervisor.start()
    pid = supervisor.pid
    await supervisor.stop()
    assert pid is not None
    assert not is_alive(pid)


async def test_stopping_is_finished_even_when_cancelled(tmp_path: Path) -> None:
    supervisor = Supervisor(Program(tmp_path, STUBBORN, ((signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0))))
    await supervisor.start()
    pid = supervisor.pid
    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0.1)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert pid is not None
    assert not is_alive(pid)
    await supervisor.stop()


def test_a_long_log_is_moved_aside_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as child:
        child.write(b"x" * 11)
        rotate_log(path, limit_bytes=10)
        child.write(b"new")
    assert path.read_bytes() == b"new"
    assert (tmp_path / "log.1").read_bytes() == b"x" * 11


def test_the_tail_begins_at_this_start(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("earlier run\nthis run\n")
    assert log_tail(tmp_path / "log", len("earlier run\n")) == "this run"

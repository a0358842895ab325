# SPDX-License-Identifier: Apache-2.0
"""The processes that write readings, when one process alone does not do (``ingest_processes``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from dataclasses import dataclass
from functools import partial
from typing import Final

from api.intake.ingest_parts import count_commit
from ingest.dispatch import Dispatcher

_STREAM_BYTES: Final = 1 << 20  # of the socket's buffers: what one turn of the receiver sends to a writer
_END_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Writer:
    """A :class:`~ingest.dispatch.WriterProcess`."""

    process: Process
    stream: socket.socket

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    async def end(self) -> None:
        """Wait until it has ended, as it does when the stream does; not for ever."""
        self.stream.close()
        try:
            async with asyncio.timeout(_END_S):
                await self.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


def make_dispatcher(count: int, database_url: str) -> Dispatcher:
    """Shares readings among ``count`` processes that write to the database at ``database_url``."""
    return Dispatcher(count, partial(_start, database_url), count_commit)


async def _start(database_url: str, _number: int) -> _Writer:
    """Start a writer with the settings of this process."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _STREAM_BYTES)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api.cli", "ingest-writer", "--stream", str(theirs.fileno())),
            env={**os.environ, "MINAMO_DATABASE_URL": database_url},
            pass_fds=(theirs.fileno(),),
            stdin=DEVNULL,
            start_new_session=True,  # Ctrl-C is for the receiver
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return _Writer(process, ours)

# SPDX-License-Identifier: Apache-2.0
"""An application behind a real HTTP server on a free port, for what goes on while it is read: streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn

from api.app import create_app, make_readers
from api.hub import Hub
from context_store.deliveries.outbox import KEPT_CHANNEL
from context_store.listener import Listener
from support.waiting import eventually


@asynccontextmanager
async def served(hub: Hub) -> AsyncIterator[str]:
    """The address of the hub's API, as one process of it serves it."""
    readers = make_readers(hub)
    listener = Listener(hub.database, {KEPT_CHANNEL: readers.wake})
    config = uvicorn.Config(
        create_app(hub, readers=readers), port=0, log_config=None, lifespan="off", ws="websockets-sansio"
    )
    server = _Server(config)
    tasks = [asyncio.create_task(work) for work in (listener.run(), readers.run(), server.serve())]
    try:
        await eventually(lambda: server.started)
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await tasks[-1]
        for task in tasks[:-1]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Signals are the test run's."""

    def capture_signals(self):  # type: ignore[no-untyped-def]
        from contextlib import nullcontext

        return nullcontext()

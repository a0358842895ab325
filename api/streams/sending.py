# SPDX-License-Identifier: Apache-2.0
"""Sending a stream for as long as the client is there and takes what it gets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


async def until_either_ends(first: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]) -> None:
    """Run both until one ends; the other is cancelled. What the ended one raised is raised."""
    tasks = [asyncio.create_task(first), asyncio.create_task(second)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class EventStream(Response):
    """Server-sent events. A client that does not take what it is sent within ``stall_s`` is cut off: it comes back and
    goes on where it was.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], *, stall_s: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames
        self._stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI wants it
        """Send until the frames end or the client goes."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            with contextlib.suppress(TimeoutError):
                await until_either_ends(self._send(send), _disconnected(receive))
        finally:
            await self._frames.aclose()  # type: ignore[attr-defined]

    async def _send(self, send: Send) -> None:
        async for frame in self._frames:
            async with asyncio.timeout(self._stall_s):
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

# SPDX-License-Identifier: Apache-2.0
"""Waiting that can always be cancelled."""

from __future__ import annotations

import asyncio
import contextlib


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Return when ``event`` is set or the time is over.

    Trap: ``asyncio.wait_for`` of Python 3.11 swallows a cancellation that comes just when the event is set, and the
    loop that was told to end goes on for ever.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()

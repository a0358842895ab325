# SPDX-License-Identifier: Apache-2.0
"""Waiting that can always be cancelled, and work that lets others work."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

_ITEMS_AT_ONCE: Final = 8


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Return when ``event`` is set or the time is over.

    Trap: ``asyncio.wait_for`` of Python 3.11 swallows a cancellation that comes just when the event is set, and the
    loop that was told to end goes on for ever.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def let_others_work(number: int) -> None:
    """Called for each item of a long list, by its ``number``: now and then the other tasks of the loop have their turn.

    Without it a batch of a thousand changes keeps alerts waiting until it is through.
    """
    if number % _ITEMS_AT_ONCE == _ITEMS_AT_ONCE - 1:
        await asyncio.sleep(0)

# SPDX-License-Identifier: Apache-2.0
"""Waiting for work without missing that it is time to end."""

from __future__ import annotations

import asyncio
import time

import pytest

from api.workers.waiting import wait_at_most


async def test_it_ends_with_the_event() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, event.set)
    begun = time.monotonic()
    await wait_at_most(event, 10)
    assert time.monotonic() - begun < 5


async def test_it_ends_with_the_time() -> None:
    await wait_at_most(asyncio.Event(), 0.01)


async def test_cancellation_is_not_lost_when_the_event_is_set_at_the_same_time() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(wait_at_most(event, 10))
    await asyncio.sleep(0)
    event.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

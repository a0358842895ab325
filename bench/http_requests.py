# SPDX-License-Identifier: Apache-2.0
"""So many HTTP requests as a scenario has, by so many clients, each with its next when the last is answered."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from typing import Final

_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


async def take(port: int, paths: Sequence[str], *, clients: int) -> tuple[float, list[float]]:
    """Seconds for all of ``paths`` and for each answer; raises ``AssertionError`` for one that is not 2xx."""
    waiting = iter(paths)
    begun = time.perf_counter()
    taken = await asyncio.gather(*(_client(port, waiting) for _ in range(clients)))
    return time.perf_counter() - begun, [seconds for several in taken for seconds in several]


async def _client(port: int, waiting: Iterator[str]) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    taken = []
    for path in waiting:
        begun = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None and head.startswith(b"HTTP/1.1 2"), head
        await reader.readexactly(int(length[1]))
        taken.append(time.perf_counter() - begun)
    writer.close()
    return taken

# SPDX-License-Identifier: Apache-2.0
"""Updates of entities at an even pace over the NGSI-LD API, in a process of its own (see subscriptions.py).

Update n writes n as the level of entity ``n % entities``. At the end it tells when each was sent (CLOCK_MONOTONIC,
which all processes share), how many were refused, and how far it fell behind its pace.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
import uvloop

from bench.subscription_classes import CLASSES, entity_id, watched

_CONNECTIONS: Final = 64
_LONGEST_ANSWER_S: Final = 60.0


@dataclass(slots=True)
class Sent:
    """What became of the updates."""

    at: dict[int, float] = field(default_factory=dict)  # by number, those that were accepted
    seconds: list[float] = field(default_factory=list)  # until the answer
    refused: int = 0
    late_s: float = 0.0


def request(number: int, entities: int) -> bytes:
    """The bytes of one update."""
    entity = number % entities
    attribute = watched(entity) if entity % len(CLASSES) == CLASSES.index("attribute") else "level"
    body = orjson.dumps({attribute: {"type": "Property", "value": number}})
    head = f"PATCH /ngsi-ld/v1/entities/{entity_id(entity)}/attrs HTTP/1.1\r\nHost: hub\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _connection(port: int, entities: int, queue: asyncio.Queue[int | None], sent: Sent) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (number := await queue.get()) is not None:
        began = time.monotonic()
        writer.write(request(number, entities))
        async with asyncio.timeout(_LONGEST_ANSWER_S):
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().find(b"content-length:")
            if length >= 0:
                await reader.readexactly(int(head[length + 15 : head.index(b"\r", length)]))
        if head.startswith(b"HTTP/1.1 204"):
            sent.at[number] = began
            sent.seconds.append(time.monotonic() - began)
        else:
            sent.refused += 1
    writer.close()


async def run(given: argparse.Namespace) -> Sent:
    """Send for so many seconds, beginning with update ``given.first``."""
    sent, queue = Sent(), asyncio.Queue[int | None]()
    workers = [asyncio.create_task(_connection(given.port, given.entities, queue, sent)) for _ in range(_CONNECTIONS)]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    begin = time.monotonic()
    for position in range(int(given.rate * given.seconds)):
        due = begin + position / given.rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        sent.late_s = max(sent.late_s, time.monotonic() - due)
        queue.put_nowait(given.first + position)
    for _ in workers:
        queue.put_nowait(None)
    await asyncio.gather(*workers)
    return sent


def main() -> None:
    """Wait for the word, send, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--entities", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--report", type=Path, required=True, help="where to")
    given = parser.parse_args()
    sent = uvloop.run(run(given))
    report = {"at": list(sent.at.items()), "seconds": sent.seconds, "refused": sent.refused, "late": sent.late_s}
    given.report.write_bytes(orjson.dumps(report))
    print("done", flush=True)


if __name__ == "__main__":
    main()
